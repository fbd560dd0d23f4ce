"""The main job with real parts: a bad version is caught on its canary and taken back, a good one goes to everybody."""
import json

import pytest

from harness import tiny_model
from harness.process import wait_for

DEVICES = 200
GATES = [{"metric": "accuracy"}, {"metric": "latency_ms"}, {"metric": "silence"}]
VERSIONS = ("1.0.0", "1.1.0", "1.2.0")


def prepare(server, versions=VERSIONS, payload=2000):
    server.add_model("kws")
    for version in versions:
        server.add_version("kws", version, {"esp32s3": tiny_model(f"{version} s3", payload=payload), "*": tiny_model(f"{version} any", payload=payload)})
        server.add_release(f"kws-{version}", {"kws": version})


def start_fleet(server, make_sim, devices=DEVICES, **options):
    token = server.enrolment_token()
    settings = dict(enrol=token, factory_release="kws-1.0.0", factory_model="kws=1.0.0", factory_counter=1, interval="250ms",
                    report_retry="2s", self_test="100ms", regions="eu,us", quiet=True)
    settings.update(options)
    sim = make_sim(server, devices, **settings)
    sim.wait_connected(devices)
    wait_for(lambda: server.running() == {"kws-1.0.0": devices}, 30, lambda: f"all enrolled: {server.running()}")
    return sim


def wait_baseline(server, devices, timeout=30):
    """Until a dry run finds a baseline on every device."""
    def ready():
        plan = server.request("POST", "/rollouts", spec("1.1.0"), params={"dryRun": "true"})
        return plan.status_code == 200 and plan.json()["target"]["without_baseline"] == 0
    wait_for(ready, timeout, "every device has a baseline", 0.3)


def spec(version, **more):
    settings = {"name": f"kws {version}", "release": f"kws-{version}", "start": True,
                "stages": [{"percent": 12}, {"percent": 50}, {"percent": 100}], "success": {"percent": 95},
                "error": {"percent": 30, "min_count": 5, "action": "revert"}, "soak_ms": 2000, "timeout_ms": 10000, "retries": 3,
                "gates": GATES, "judge": {"reports_planned": 64}}
    settings.update(more)
    return settings


def role_of(server, rollout):
    """{device: "canary" or "control"} of the first stage"""
    return {m["device"]: "canary" if m["canary"] else "control" for m in server.items(f"/rollouts/{rollout}/blocks", stage=0)}


def test_bad_version_is_reverted_and_controls_are_never_touched(server, make_sim):
    prepare(server)
    start_fleet(server, make_sim, seed=1, effect="kws=1.2.0:accuracy-0.10,latency*1.3")
    wait_baseline(server, DEVICES)
    rollout = server.rollout(**spec("1.2.0"))["id"]
    state = server.wait_rollout(rollout, ("reverted", "finished", "paused"), 90)
    assert state["status"] == "reverted", json.dumps(state)[:2000]
    wait_for(lambda: server.running() == {"kws-1.0.0": DEVICES}, 20, lambda: f"all are back: {server.running()}")
    roles = role_of(server, rollout)
    touched = {d["device"] for d in server.items(f"/rollouts/{rollout}/deployments") if d["state"] != "cancelled"}
    assert touched and touched <= {d for d, role in roles.items() if role == "canary"}
    looks = server.get(f"/rollouts/{rollout}/verdicts")["items"]
    assert any(look["verdict"] == "revert" and look["p"] <= look["alpha_look"] for look in looks)
    alerts = server.items("/alerts", kind="gate.verdict")
    assert alerts and "reverted" in alerts[0]["summary"]
    refused = server.request("POST", "/rollouts", spec("1.2.0"))
    assert refused.status_code == 409 and "reverted" in refused.json()["detail"]


def test_good_version_reaches_everybody(server, make_sim):
    prepare(server)
    start_fleet(server, make_sim, seed=7)
    wait_baseline(server, DEVICES)
    rollout = server.rollout(**spec("1.1.0"))["id"]
    state = server.wait_rollout(rollout, ("reverted", "finished", "paused"), 120)
    assert state["status"] == "finished", json.dumps(state)[:2000]
    wait_for(lambda: server.running() == {"kws-1.1.0": DEVICES}, 20, lambda: f"all have it: {server.running()}")


def test_install_failures_revert(server, make_sim):
    prepare(server)
    sim = start_fleet(server, make_sim, devices=60, fault="crashloop=0.9@kws=1.1.0")
    rollout = server.rollout(**spec("1.1.0", gates=[], retries=0))["id"]
    state = server.wait_rollout(rollout, ("reverted", "finished", "paused"), 60)
    assert state["status"] == "reverted"
    wait_for(lambda: server.running() == {"kws-1.0.0": 60}, 20, lambda: f"all are back: {server.running()}")
    wait_for(lambda: sim.status()["fell_back"] > 0, 5, "agents fell back by themselves")
    assert server.items("/alerts", kind="install.failed")


@pytest.mark.parametrize("fault", ["duplicate=0.3", "corrupt=0.5", "flapping=0.2", "wrongclock=0.3", "cut=0.3"])
def test_a_rollout_survives_field_faults(server, make_sim, fault):
    prepare(server)
    start_fleet(server, make_sim, devices=60, fault=fault, seed=3)
    rollout = server.rollout(**spec("1.1.0", gates=[], success={"percent": 90}, retries=10, timeout_ms=4000))["id"]
    state = server.wait_rollout(rollout, ("reverted", "finished", "paused"), 90)
    assert state["status"] == "finished", json.dumps(state)[:2000]


SEEDS = range(1, 21)
FEW = 100
SHORT = {"stages": [{"percent": 16}, {"percent": 100}], "soak_ms": 1000}


@pytest.mark.parametrize("seed", SEEDS)
def test_no_wrong_outcome_with_a_bad_version(server, make_sim, seed):
    prepare(server)
    start_fleet(server, make_sim, devices=FEW, seed=seed, effect="kws=1.2.0:accuracy-0.10,latency*1.3")
    wait_baseline(server, FEW)
    rollout = server.rollout(**spec("1.2.0", **SHORT))["id"]
    state = server.wait_rollout(rollout, ("reverted", "finished", "paused"), 60)
    assert state["status"] == "reverted", json.dumps(state)[:2000]
    wait_for(lambda: server.running() == {"kws-1.0.0": FEW}, 20, lambda: f"all are back: {server.running()}")


@pytest.mark.parametrize("seed", SEEDS)
def test_no_wrong_outcome_with_a_good_version(server, make_sim, seed):
    prepare(server)
    start_fleet(server, make_sim, devices=FEW, seed=seed)
    wait_baseline(server, FEW)
    rollout = server.rollout(**spec("1.1.0", **SHORT))["id"]
    state = server.wait_rollout(rollout, ("reverted", "finished", "paused"), 60)
    assert state["status"] == "finished", json.dumps(state)[:2000]
    wait_for(lambda: server.running() == {"kws-1.1.0": FEW}, 20, lambda: f"all have it: {server.running()}")
