"""Groups and whole releases as what is rolled out; time-outs, further attempts, an operator's retry and promote, the exponential rate, and the moves that are refused."""
import pytest

from harness.process import wait_for
from test_rollout import prepare, spec, start_fleet

OPEN = {"gates": [], "soak_ms": 200, "stages": [{"percent": 100}], "success": {"percent": 100},
        "error": {"percent": 100, "min_count": 100000, "action": "pause"}}


@pytest.fixture
def server(make_server):
    return make_server(config={"models": {"unknown": "allow"}})  # some devices here are only registered, and never say anything


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


def test_a_group_is_the_target(server):
    prepare(server)
    lines = "".join(f'{{"id":"d{i}","hardware":"esp32s3","attributes":{{"region":"{"eu" if i < 7 else "us"}"}}}}\n' for i in range(10))
    server.request("POST", "/devices:bulk", data=lines, headers={"Content-Type": "application/x-ndjson"})
    server.post("/groups", {"name": "europe", "filter": "attribute.region==eu"})
    server.post("/groups", {"name": "chosen"})
    server.post("/groups/chosen/members", {"add": ["d0", "d8"]})

    def target(**more):
        return server.call("POST", "/rollouts", spec("1.1.0", **OPEN, **more), params={"dryRun": "true"})["target"]["devices"]
    assert target(group="europe") == 7
    assert target(group="chosen") == 2
    assert target(group="chosen", filter="attribute.region==us") == 1
    refused = server.request("POST", "/rollouts", spec("1.1.0", **OPEN, group="nobody"))
    assert refused.status_code == 422 and refused.json()["pointer"] == "/group"
    rollout = server.rollout(**spec("1.1.0", **OPEN, group="chosen"))["id"]
    wait_for(lambda: sum(states(server, rollout).values()) == 2, 10, "both are drawn")
    assert {d["device"] for d in server.items(f"/rollouts/{rollout}/deployments")} == {"d0", "d8"}


def test_models_firmware_and_configuration_go_together(server, make_sim):
    prepare(server)
    server.add_model("os", kind="firmware")
    server.add_version("os", "2.0.0", {"*": b"firmware" * 500})
    server.add_model("vad")
    server.add_version("vad", "0.3.0", {"*": b"second model" * 100})
    server.add_release("whole", {"kws": "1.1.0", "vad": "0.3.0", "os": "2.0.0"}, config={"threshold": 0.7})
    start_fleet(server, make_sim, devices=6)
    rollout = server.rollout(**spec("1.1.0", **{**OPEN, "name": "whole", "release": "whole"}))["id"]
    assert server.wait_rollout(rollout, ("finished", "paused", "reverted"), 40)["status"] == "finished"
    for device in server.items("/devices"):
        assert device["running"]["release"] == "whole"
        assert device["running"]["models"] == {"kws": "1.1.0", "vad": "0.3.0"} and device["running"]["firmware"] == "2.0.0"
    server.post(f"/rollouts/{rollout}/revert")
    server.wait_rollout(rollout, ("reverted",), 20)
    wait_for(lambda: server.running() == {"kws-1.0.0": 6}, 20, "all of it went back")
