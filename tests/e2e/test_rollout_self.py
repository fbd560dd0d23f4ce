"""Fleets too small for controls: a stage of everybody, each device judged by its own past."""
import json

import pytest

from harness.process import wait_for
from test_ctl import Ctl
from test_rollout import GATES, prepare, start_fleet

FEW = 8
SELF = {"control": "self", "controls_max": 6, "reports_planned": 16}


def spec(version, **more):
    body = {"name": version, "release": f"kws-{version}", "start": True, "stages": [{"percent": 100}], "soak_ms": 2000, "timeout_ms": 10000,
            "retries": 3, "gates": GATES, "judge": SELF}
    body.update(more)
    return body


def wait_past(server):
    """Until every device has six windows of two seconds in the log."""
    def ready():
        plan = server.request("POST", "/rollouts", spec("1.1.0"), params={"dryRun": "true"})
        return plan.status_code == 200 and plan.json()["self"]["without_windows"] == 0 and plan.json()["self"]["windows"] == 6
    wait_for(ready, 40, "a past of every device", 0.3)


@pytest.fixture
def fleet(server, make_sim):
    prepare(server)
    start_fleet(server, make_sim, devices=FEW, seed=5, effect="kws=1.2.0:accuracy-0.10,latency*1.3")
    return server


def test_a_bad_version_for_everybody_at_once_is_reverted(fleet, build, tmp_path):
    young = fleet.request("POST", "/rollouts", spec("1.2.0", soak_ms=600000))
    assert young.status_code == 422 and young.json()["pointer"] in ("/judge/control", "/gates/0/metric"), young.text
    wait_past(fleet)
    plan = fleet.call("POST", "/rollouts", spec("1.2.0"), params={"dryRun": "true"})
    assert plan["judge"]["guarantee"] == "conditional on stationarity"
    assert plan["stages"] == [{**plan["stages"][0], "devices": FEW, "judged": True, "blocks": FEW, "controls_per_block": 6}]
    rollout = fleet.rollout(**spec("1.2.0"))["id"]
    state = fleet.wait_rollout(rollout, ("reverted", "finished", "paused"), 60)
    assert state["status"] == "reverted", json.dumps(state)[:2000]
    assert state["stages"][0]["deployments"] == {"reverted": FEW}
    wait_for(lambda: fleet.running() == {"kws-1.0.0": FEW}, 20, lambda: f"all are back: {fleet.running()}")
    harm = [look for look in fleet.get(f"/rollouts/{rollout}/verdicts")["items"] if look["data"]["opinion"] == "harm"]
    assert harm and all(look["data"]["guarantee"] == "conditional on stationarity" and look["p"] <= look["alpha_look"] for look in harm)
    assert all(0 < look["data"]["canaries"] <= FEW and look["data"]["controls"] > look["data"]["canaries"] for look in harm)
    alert = fleet.items("/alerts", kind="gate.verdict")[0]
    assert "earlier windows of theirs" in alert["summary"]
    told = " ".join(Ctl(build, tmp_path, fleet).out("rollout", "explain", str(rollout)).split())
    assert "own past" in told and "conditional on stationarity" in told and "in their earlier windows they stood at" in told


def test_a_good_version_reaches_everybody_at_once(fleet):
    wait_past(fleet)
    rollout = fleet.rollout(**spec("1.1.0"))["id"]
    state = fleet.wait_rollout(rollout, ("reverted", "finished", "paused"), 60)
    assert state["status"] == "finished", json.dumps(state)[:2000]
    assert state["stages"][0]["verdict"] == "pass"
    wait_for(lambda: fleet.running() == {"kws-1.1.0": FEW}, 20, lambda: f"all have it: {fleet.running()}")
