"""Stages in shadow with real parts: a bad version is found while nobody runs it, a good one goes on to everybody; and shams."""
import json
import subprocess
import time

import pytest

from harness.process import wait_for
from test_rollout import DEVICES, GATES, prepare, role_of, spec, start_fleet, wait_baseline

SHADOW = {"stages": [{"mode": "shadow", "count": 40}, {"percent": 12}, {"percent": 50}, {"percent": 100}]}
FEW = {"stages": [{"mode": "shadow", "count": 40}, {"percent": 16}, {"percent": 100}], "soak_ms": 1000}


def stage(server, rollout, at=0):
    return server.get(f"/rollouts/{rollout}")["stages"][at]


def in_shadow(sim):
    return sum(sim.status().get("shadow", {}).values())


def wait_in_shadow(server, sim, rollout, count, timeout=30):
    wait_for(lambda: in_shadow(sim) >= count, timeout, lambda: f"{count} run it in shadow: {sim.status()} {json.dumps(stage(server, rollout))}", 0.05)


def ever_installed(server, rollout):
    """Devices that were told to install the release of the rollout, or to go back from it."""
    return [d for d in server.items(f"/rollouts/{rollout}/deployments") if d["kind"] == "install"]


def explain(build, server, rollout):
    run = subprocess.run([build / "aviaryctl", "rollout", "explain", str(rollout)], capture_output=True, text=True, timeout=30,
                         env={"AVIARY_URL": server.url, "AVIARY_TOKEN": server.token, "HOME": str(server.folder)})
    assert run.returncode == 0, run.stderr
    return " ".join(run.stdout.split())


def test_a_bad_version_is_found_in_shadow_and_nobody_ever_runs_it(server, make_sim, build):
    prepare(server)
    sim = start_fleet(server, make_sim, seed=1, effect="kws=1.2.0:accuracy-0.10,latency*1.3")
    wait_baseline(server, DEVICES)
    rollout = server.rollout(**spec("1.2.0", **SHADOW))["id"]
    seen = set()
    state = server.wait_rollout(rollout, ("reverted", "finished", "paused"), 90, lambda _: seen.update(server.running()))
    assert state["status"] == "reverted", json.dumps(state)[:2000]
    assert "in shadow" in state["reason"]
    assert seen <= {"kws-1.0.0"} and server.running() == {"kws-1.0.0": DEVICES}
    assert ever_installed(server, rollout) == []
    assert not any("started_at" in s for s in state["stages"][1:])
    shadows = server.items(f"/rollouts/{rollout}/deployments")
    assert len(shadows) == 40 and {d["kind"] for d in shadows} == {"shadow"}
    looks = server.get(f"/rollouts/{rollout}/verdicts")["items"]
    assert {look["data"]["metric"] for look in looks} == {"accuracy", "latency_ms"}  # one device falls silent with both versions
    assert any(look["verdict"] == "revert" and look["p"] <= look["alpha_look"] for look in looks)
    wait_for(lambda: sim.status().get("shadows", 0) >= 40, 20, lambda: f"40 ran it in shadow: {sim.status()}")
    wait_for(lambda: in_shadow(sim) == 0, 20, lambda: f"nobody runs it in shadow any more: {sim.status()}")
    text = explain(build, server, rollout)
    for words in ("ran kws-1.2.0 beside the release that each of them had", "nobody acted on what it said", "On the same inputs the new release is worse",
                  "No device runs the release"):
        assert words in text, text


def test_a_good_version_passes_its_shadow_and_goes_live(server, make_sim):
    prepare(server)
    sim = start_fleet(server, make_sim, devices=100, seed=7)
    wait_baseline(server, 100)
    rollout = server.rollout(**spec("1.1.0", **FEW))["id"]
    wait_in_shadow(server, sim, rollout, 40)
    assert server.running() == {"kws-1.0.0": 100}
    state = server.wait_rollout(rollout, ("reverted", "finished", "paused"), 120)
    assert state["status"] == "finished", json.dumps(state)[:2000]
    assert state["stages"][0]["verdict"] == "pass"
    wait_for(lambda: server.running() == {"kws-1.1.0": 100}, 20, lambda: f"all have it: {server.running()}")
    assert in_shadow(sim) == 0
    assert len(ever_installed(server, rollout)) == 100


def test_devices_that_cannot_are_not_chosen_and_the_plan_counts_them(server, make_sim):
    prepare(server)
    sim = start_fleet(server, make_sim, devices=100, seed=2, shadow="esp32s3", effect="kws=1.2.0:accuracy-0.10,latency*1.3")
    wait_baseline(server, 100)
    able = {d["id"] for d in server.items("/devices") if d["capabilities"].get("shadow") is True}
    assert 0 < len(able) < 100
    many = dict(FEW, stages=[{"mode": "shadow", "count": 100}, {"percent": 16}, {"percent": 100}])
    plan = server.post("/rollouts", spec("1.2.0", **many), params={"dryRun": "true"})
    assert plan["target"]["can_shadow"] == len(able) and plan["stages"][0]["devices"] == len(able)
    assert plan["stages"][0]["mode"] == "shadow" and plan["stages"][0]["blocks_needed"] <= len(able)
    assert plan["stages"][0]["guarantee"].startswith("conditional")
    rollout = server.rollout(**spec("1.2.0", **many))["id"]
    assert server.wait_rollout(rollout, ("reverted", "finished", "paused"), 90)["status"] == "reverted"
    chosen = {d["device"] for d in server.items(f"/rollouts/{rollout}/deployments")}
    assert chosen == able and ever_installed(server, rollout) == []
    wait_for(lambda: in_shadow(sim) == 0, 20, lambda: f"nobody runs it in shadow any more: {sim.status()}")


def test_nobody_can_is_refused(server, make_sim):
    prepare(server)
    start_fleet(server, make_sim, devices=40, seed=2, shadow="none")
    wait_baseline(server, 40)
    refused = server.request("POST", "/rollouts", spec("1.1.0", **FEW))
    assert refused.status_code == 422 and "shadow" in refused.text
    late = dict(FEW, stages=[{"percent": 16}, {"mode": "shadow", "count": 10}, {"percent": 100}])
    refused = server.request("POST", "/rollouts", spec("1.1.0", **late))
    assert refused.status_code == 422 and "/stages/1/mode" in refused.text


@pytest.mark.parametrize("version, end", [("1.2.0", "reverted"), ("1.1.0", "finished")])
def test_a_server_killed_in_the_middle_of_a_shadow_stage(server, make_sim, version, end):
    prepare(server)
    sim = start_fleet(server, make_sim, devices=100, seed=5, effect="kws=1.2.0:accuracy-0.10", interval="1s")
    wait_baseline(server, 100)
    rollout = server.rollout(**spec(version, **FEW))["id"]
    wait_in_shadow(server, sim, rollout, 1)
    assert stage(server, rollout)["status"] in ("running", "baking", end)  # a bad one may be found before we look
    for _ in range(3):
        server.kill9()
        server.start()
        time.sleep(0.5)
    state = server.wait_rollout(rollout, ("reverted", "finished", "paused"), 120)
    assert state["status"] == end, json.dumps(state)[:2000]
    running = "kws-1.0.0" if end == "reverted" else "kws-1.1.0"
    wait_for(lambda: server.running() == {running: 100}, 20, lambda: f"{server.running()}")
    wait_for(lambda: in_shadow(sim) == 0, 20, lambda: f"nobody runs it in shadow any more: {sim.status()}")
    if end == "reverted":
        assert ever_installed(server, rollout) == []


def test_an_abort_lets_them_go(server, make_sim):
    prepare(server)
    sim = start_fleet(server, make_sim, devices=60, seed=3)
    wait_baseline(server, 60)
    rollout = server.rollout(**spec("1.1.0", **dict(FEW, soak_ms=600000)))["id"]
    wait_in_shadow(server, sim, rollout, 40)
    server.post(f"/rollouts/{rollout}/abort")
    server.wait_rollout(rollout, ("stopped",), 20)
    wait_for(lambda: in_shadow(sim) == 0, 20, lambda: f"nobody runs it in shadow any more: {sim.status()}")
    assert server.running() == {"kws-1.0.0": 60}


def test_controls_that_install_what_they_run(server, make_sim):
    prepare(server)
    start_fleet(server, make_sim, devices=100, seed=4)
    wait_baseline(server, 100)
    sham = {"stages": [{"percent": 16}, {"percent": 100}], "soak_ms": 2000, "judge": {"reports_planned": 64, "sham": True}}
    rollout = server.rollout(**spec("1.1.0", **sham))["id"]
    wait_for(lambda: stage(server, rollout)["status"] == "finished", 60, lambda: json.dumps(server.get(f"/rollouts/{rollout}"))[:1500])
    shams = [d for d in server.items(f"/rollouts/{rollout}/deployments", stage=0) if d["kind"] == "sham"]
    roles = role_of(server, rollout)
    controls = {d for d, role in roles.items() if role == "control"}
    assert {d["device"] for d in shams} == controls and {d["state"] for d in shams} == {"succeeded"} and {d["role"] for d in shams} == {"control"}
    assert sum(stage(server, rollout)["deployments"].values()) == sum(role == "canary" for role in roles.values())  # not counted
    state = server.wait_rollout(rollout, ("reverted", "finished", "paused"), 120)
    assert state["status"] == "finished", json.dumps(state)[:2000]
    wait_for(lambda: server.running() == {"kws-1.1.0": 100}, 20, lambda: f"all have it: {server.running()}")
