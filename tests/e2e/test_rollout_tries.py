"""Time-outs, further attempts, an operator's retry and promote, the exponential rate, and the moves that are refused."""
import pytest

from harness.process import wait_for
from test_rollout import prepare, spec, start_fleet

OPEN = {"gates": [], "soak_ms": 200, "stages": [{"percent": 100}], "success": {"percent": 100},
        "error": {"percent": 100, "min_count": 100000, "action": "pause"}}


def states(server, rollout):
    return server.get(f"/rollouts/{rollout}")["deployments"]


def test_a_device_that_falls_back_is_tried_again_and_no_more_often_than_asked(server, make_sim):
    prepare(server)
    start_fleet(server, make_sim, devices=6, fault="crashloop=1@kws=1.1.0")
    rollout = server.rollout(**spec("1.1.0", **OPEN, retries=2))["id"]
    wait_for(lambda: states(server, rollout) == {"failed": 6}, 40, lambda: f"all have failed: {states(server, rollout)}")
    deployments = server.items(f"/rollouts/{rollout}/deployments")
    assert {d["attempt"] for d in deployments} == {3}
    assert server.running() == {"kws-1.0.0": 6}
    alerts = server.items("/alerts", kind="install.failed")
    assert alerts


def test_an_operator_retries_what_failed(server, make_sim):
    prepare(server)
    sim = start_fleet(server, make_sim, devices=6, fault="crashloop=1@kws=1.1.0")
    rollout = server.rollout(**spec("1.1.0", gates=[], soak_ms=200, stages=[{"percent": 100}], retries=0,
                                    error={"percent": 20, "min_count": 3, "action": "pause"}))["id"]
    assert server.wait_rollout(rollout, ("paused", "reverted", "finished"), 30)["status"] == "paused"
    wait_for(lambda: states(server, rollout).get("failed", 0) + states(server, rollout).get("waiting", 0) == 6, 20, "no install is under way")
    failed = states(server, rollout)["failed"]
    sim.stop()
    server.post(f"/rollouts/{rollout}/retry")
    after = server.items(f"/rollouts/{rollout}/deployments")
    assert sum(d["attempt"] == 2 for d in after) == failed
    assert "rollout.retry" in [e["action"] for e in server.items("/audit", resource=f"rollouts/{rollout}")]


def test_devices_that_never_answer_time_out(server, make_sim):
    prepare(server)
    sim = start_fleet(server, make_sim, devices=5)
    sim.kill9()
    rollout = server.rollout(**spec("1.1.0", **OPEN, timeout_ms=700, retries=1))["id"]
    wait_for(lambda: states(server, rollout) == {"timed_out": 5}, 30, lambda: f"all timed out: {states(server, rollout)}")
    assert {d["attempt"] for d in server.items(f"/rollouts/{rollout}/deployments")} == {2}


def test_the_rate_grows_with_successes(server, make_sim):
    prepare(server)
    start_fleet(server, make_sim, devices=30)
    rate = {"exponential": {"base_per_minute": 120, "factor": 5, "max_per_minute": 6000, "increase_after_succeeded": 3}}
    rollout = server.rollout(**spec("1.1.0", gates=[], soak_ms=200, stages=[{"percent": 100}], rate=rate))["id"]
    assert server.wait_rollout(rollout, ("finished", "paused", "reverted"), 40)["status"] == "finished"
    offered = sorted(d["offered_at"] for d in server.items(f"/rollouts/{rollout}/deployments"))
    assert offered[2] - offered[0] > 600, "two a second at first"
    first, last = (offered[3] - offered[0]) / 3, (offered[29] - offered[20]) / 9
    assert last < first / 4, (first, last)


@pytest.mark.parametrize("before, refused", [
    ((), ("pause", "resume", "promote")), (("start", "abort"), ("start", "pause", "resume", "approve", "promote", "retry"))])
def test_moves_that_are_not_in_the_table(server, before, refused):
    prepare(server)
    server.post("/devices", {"id": "d1", "hardware": "esp32s3"})
    rollout = server.rollout(**spec("1.1.0", **OPEN, start=False))["id"]
    for action in before:
        server.post(f"/rollouts/{rollout}/{action}")
    if "abort" in before:
        server.wait_rollout(rollout, ("stopped",), 10)
    status = server.get(f"/rollouts/{rollout}")["status"]
    for action in refused:
        answer = server.request("POST", f"/rollouts/{rollout}/{action}", {})
        assert answer.status_code == 409 and status in answer.json()["detail"], (action, answer.text)
    assert server.get(f"/rollouts/{rollout}")["status"] == status
    assert server.request("POST", f"/rollouts/{rollout}/explode", {}).status_code == 404
