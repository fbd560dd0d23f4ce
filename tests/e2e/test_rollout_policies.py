"""What operators can ask of a rollout: plans, refusals, approval, pause, abort, revert, rate, windows, late joiners, named canaries, hard stop."""
import time

import pytest

from harness.process import wait_for
from test_rollout import FEW, SHORT, prepare, spec, start_fleet, wait_baseline

QUICK = {"gates": [], "soak_ms": 300, "stages": [{"percent": 100}]}


@pytest.fixture
def small(server, make_sim):
    """A server with thirty devices that run kws-1.0.0."""
    prepare(server)
    server.sim = start_fleet(server, make_sim, devices=30)
    return server


def refused(server, body, status, pointer, words, **params):
    response = server.request("POST", "/rollouts", body, params=params)
    problem = response.json()
    assert response.status_code == status, problem
    assert response.headers["Content-Type"] == "application/problem+json"
    assert problem.get("pointer", "") == pointer, problem
    assert words in problem["detail"], problem


def finished(server, rollout, timeout=40):
    assert server.wait_rollout(rollout, ("finished", "reverted", "paused", "stopped"), timeout)["status"] == "finished"


def test_dry_run_shows_the_plan_and_stores_nothing(server, make_sim):
    prepare(server)
    start_fleet(server, make_sim, devices=FEW)
    wait_baseline(server, FEW)
    plan = server.call("POST", "/rollouts", spec("1.1.0", **SHORT), params={"dryRun": "true"})
    assert plan["target"].pop("shadow_ready") == plan["target"].pop("can_shadow") > 0
    assert plan["target"] == {"matched": FEW, "devices": FEW, "already": 0, "busy": 0, "online": FEW, "without_baseline": 0, "unknown_release": 0,
                              "incompatible": [], "excluded": 0, "excluded_by": []}
    canary = plan["stages"][0]
    assert canary["devices"] == 16 and canary["blocks"] == 16 and canary["controls_per_block"] == 5
    assert sum(s["devices"] for s in plan["stages"]) == FEW
    judge = plan["judge"]
    assert judge["guarantee"] == "exact" and judge["looks"] > 5
    by_metric = {g["metric"]: g for g in judge["gates"]}
    assert by_metric["accuracy"]["n_min"] <= 16 and by_metric["accuracy"]["can_revert"]
    assert 0 < by_metric["accuracy"]["detectable"] < 0.2
    assert by_metric["accuracy"]["detectable_from"] in ("change between halves of the baseline", "spread between devices: an upper bound")
    assert server.items("/rollouts") == []


def test_refusals_name_the_member(small):
    wait_for(lambda: "accuracy" in str(small.get("/telemetry/metrics")), 10, "telemetry is known")
    time.sleep(1.5)
    refused(small, spec("9.9.9"), 422, "/release", "no release")
    refused(small, spec("1.1.0", filter="hardware=~x"), 422, "/filter", "")
    refused(small, spec("1.1.0", gates=[{"metric": "humidity", "kind": "mean"}]), 422, "/gates/0/metric", "reports humidity")
    refused(small, spec("1.1.0", gates=[{"metric": "accuracy", "margin": -0.1}]), 422, "/gates/0/margin", "not negative")
    refused(small, spec("1.1.0", judge={"alpha": 0.7}), 422, "/judge/alpha", "")
    refused(small, spec("1.1.0", stages=[{"count": 2}, {"percent": 100}]), 422, "/stages/0", "")
    refused(small, spec("1.1.0", stages=[{"percent": 50}, {"percent": 10}]), 422, "/stages/1/percent", "cumulative")
    refused(small, spec("1.1.0", surprise=1), 422, "/surprise", "")
    refused(small, spec("1.1.0", filter="hardware==toaster", gates=[]), 422, "/filter", "no device")
    refused(small, spec("1.1.0", windows=[{"start": "25:00", "duration_ms": 60000}]), 422, "/windows/0", "HH:MM")


def test_approval_comes_from_somebody_else(small):
    rollout = small.rollout(**spec("1.1.0", approval=True, **QUICK))
    assert rollout["status"] == "waiting_for_approval"
    path = f"/rollouts/{rollout['id']}"
    assert small.request("POST", path + "/start", {}).status_code == 409
    assert small.request("POST", path + "/approve", {}).status_code == 403
    other = small.post("/tokens", {"name": "second pair of eyes", "kind": "api", "role": "operator"})["token"]
    answer = small.request("POST", path + "/approve", {}, headers={"Authorization": "Bearer " + other})
    assert answer.status_code == 200 and answer.json()["approved_by"] == "second pair of eyes"
    small.post(path + "/start")
    finished(small, rollout["id"])


def test_pause_resume_and_rate(small):
    rollout = small.rollout(**spec("1.1.0", **QUICK, rate={"per_minute": 300}))["id"]
    time.sleep(1)
    small.post(f"/rollouts/{rollout}/pause")
    counts = small.get(f"/rollouts/{rollout}")["deployments"]
    assert counts.get("waiting", 0) > 10, counts
    time.sleep(1)
    paused = small.get(f"/rollouts/{rollout}")
    assert paused["status"] == "paused" and paused["deployments"]["waiting"] == counts["waiting"]
    small.post(f"/rollouts/{rollout}/resume")
    small.post(f"/rollouts/{rollout}/resume")  # again is no error
    finished(small, rollout)


def test_abort_keeps_what_is_installed(small):
    rollout = small.rollout(**spec("1.1.0", **QUICK, rate={"per_minute": 300}))["id"]
    wait_for(lambda: small.get(f"/rollouts/{rollout}")["deployments"].get("succeeded", 0) >= 3, 20, "some have it")
    small.post(f"/rollouts/{rollout}/abort")
    state = small.wait_rollout(rollout, ("stopped",), 20)
    assert state["deployments"]["cancelled"] > 0
    assert small.running()["kws-1.1.0"] == state["deployments"]["succeeded"]
    assert small.request("POST", f"/rollouts/{rollout}/resume", {}).status_code == 409


def test_revert_by_an_operator(small):
    rollout = small.rollout(**spec("1.1.0", gates=[], soak_ms=60000, stages=[{"percent": 50}, {"percent": 100}]))["id"]
    wait_for(lambda: small.get(f"/rollouts/{rollout}")["deployments"].get("succeeded", 0) == 15, 20, "half have it")
    small.post(f"/rollouts/{rollout}/revert")
    assert small.wait_rollout(rollout, ("reverted",), 30)["deployments"]["reverted"] == 15
    wait_for(lambda: small.running() == {"kws-1.0.0": 30}, 10, "all are back")
    entries = [e["action"] for e in small.items("/audit", resource=f"rollouts/{rollout}")]
    assert "rollout.revert" in entries and "rollout.create" in entries


def test_a_closed_window_offers_nothing(small):
    days = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
    now = time.gmtime(time.time() + 7200)
    rollout = small.rollout(**spec("1.1.0", **QUICK, windows=[
        {"days": days, "start": f"{now.tm_hour:02}:00", "duration_ms": 3600000}]))["id"]
    time.sleep(1.5)
    state = small.get(f"/rollouts/{rollout}")
    assert state["deployments"] == {"waiting": 30} and "window" in state["reason"]


def test_late_joiners_get_it_too(small, make_sim):
    rollout = small.rollout(**spec("1.1.0", gates=[], soak_ms=9000, stages=[{"percent": 50}, {"percent": 100}], filter="tag!=never"))["id"]
    wait_for(lambda: small.get(f"/rollouts/{rollout}")["stages"][1]["status"] in ("running", "baking"), 30, "the last stage runs")
    late = make_sim(small, 5, prefix="late-", enrol=small.enrolment_token("late"), factory_release="kws-1.0.0", factory_model="kws=1.0.0",
                    factory_counter=1, interval="250ms", quiet=True)
    late.wait_connected(5)
    finished(small, rollout)
    wait_for(lambda: small.running() == {"kws-1.1.0": 35}, 10, lambda: f"late ones too: {small.running()}")


def test_devices_without_an_earlier_release_cannot_go_back(server, make_sim):
    prepare(server)
    start = dict(enrol=server.enrolment_token(), interval="250ms", quiet=True, self_test="100ms")
    make_sim(server, 5, **start).wait_connected(5)
    wait_for(lambda: len(server.items("/devices")) == 5, 10, "enrolled")
    rollout = server.rollout(**spec("1.1.0", gates=[], soak_ms=60000, stages=[{"percent": 100}]))["id"]
    wait_for(lambda: server.get(f"/rollouts/{rollout}")["deployments"].get("succeeded", 0) == 5, 20, "all have it")
    server.post(f"/rollouts/{rollout}/revert")
    assert server.wait_rollout(rollout, ("reverted",), 20)["deployments"] == {"not_revertible": 5}
    assert len(server.items("/alerts", kind="deployment.not_revertible", status="firing")) == 5


def test_named_canaries_have_no_guarantee_and_say_so(server, make_sim):
    prepare(server)
    start_fleet(server, make_sim, devices=40)
    wait_baseline(server, 40)
    names = [d["id"] for d in server.items("/devices")][:4]
    rollout = server.rollout(**spec("1.1.0", devices=names, stages=[{"count": 4}, {"percent": 100}], soak_ms=500))
    assert rollout["guarantee"].startswith("none")
    wait_for(lambda: server.get(f"/rollouts/{rollout['id']}")["stages"][0].get("started_at"), 10, "drawn")
    drawn = {d["device"] for d in server.items(f"/rollouts/{rollout['id']}/deployments", stage=0)}
    assert drawn == set(names)


def test_bricked_canaries_trigger_the_priced_hard_stop(server, make_sim):
    prepare(server)
    sim = start_fleet(server, make_sim, devices=FEW, fault="brick=0.5@kws=1.2.0")
    wait_baseline(server, FEW)
    body = spec("1.2.0", **SHORT, timeout_ms=1500, retries=0, error={"percent": 100, "min_count": 1000}, success={"percent": 10},
                judge={"reports_planned": 64, "hard_stop": {"silent": 4}})
    body["soak_ms"] = 20000
    plan = server.call("POST", "/rollouts", body, params={"dryRun": "true"})["judge"]
    assert 0 < plan["alpha_hard_stop"] < 0.01 and plan["alpha_bound"] > plan["alpha"]
    rollout = server.rollout(**body)["id"]
    state = server.wait_rollout(rollout, ("reverting", "reverted", "finished", "paused"), 40)
    assert state["status"] in ("reverting", "reverted"), state
    assert sim.status()["bricked"] >= 4


def test_bricks_stop_it_without_waiting_for_their_time_out(server, make_sim):
    prepare(server)
    sim = start_fleet(server, make_sim, devices=FEW, fault="brick=1@kws=1.2.0")
    wait_baseline(server, FEW)
    body = spec("1.2.0", **SHORT, timeout_ms=600000, error={"percent": 100, "min_count": 1000})  # nobody is late for ten minutes
    plan = server.call("POST", "/rollouts", body, params={"dryRun": "true"})["judge"]
    assert plan["silence_rate"] == 0.01 and plan["silence_rate_from"] == "default"
    rollout = server.rollout(**body)["id"]
    state = server.wait_rollout(rollout, ("reverting", "reverted", "finished", "paused"), 30)
    assert state["status"] == "reverting" and "canaries are silent" in state["reason"], state
    assert sim.status()["bricked"] >= 2


def test_a_device_in_a_rollout_is_not_deleted_by_accident(small):
    rollout = small.rollout(**spec("1.1.0", gates=[], soak_ms=60000, stages=[{"percent": 100}]))["id"]
    wait_for(lambda: small.get(f"/rollouts/{rollout}")["deployments"], 10, "drawn")
    device = small.items(f"/rollouts/{rollout}/deployments")[0]["device"]
    assert small.request("DELETE", f"/devices/{device}").status_code == 409
    said = small.call("DELETE", f"/devices/{device}", params={"force": "true"})
    assert str(rollout) in str(said)
    assert sum(small.get(f"/rollouts/{rollout}")["deployments"].values()) == 29
