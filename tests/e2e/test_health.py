"""Commands and health checks: real broker, real daemon, real agent, simulated devices."""
import time

import pytest

from harness import tiny_model
from harness.process import wait_for
from test_agent_server import Agent

SIM = {"connect_rate": 200, "interval": "1s", "factory_release": "kws-1.0.0", "factory_model": "kws=1.0.0"}


@pytest.fixture
def fleet(server, make_sim):
    token = server.enrolment_token()

    def make(count, name, **more):
        sim = make_sim(server, count, name=name, enrol=token, prefix=name + "-", **{**SIM, **more})
        sim.wait_connected(count)
        wait_for(lambda: sum(d["id"].startswith(name) and d["online"] for d in server.items("/devices")) == count, 30, f"{name} are known")
        return sim
    return make


def command(server, **spec):
    return server.post("/commands", {"kind": "check", "params": {"check": "connectivity"}, **spec})["id"]


def wait_command(server, number, timeout=30, **counts):
    def there():
        shown = server.get(f"/commands/{number}")
        return shown if all(shown[k] == v for k, v in counts.items()) else None
    return wait_for(there, timeout, lambda: f"{counts}: {server.get(f'/commands/{number}')}\n{server.items(f'/commands/{number}/devices')[:3]}")


def firing(server, check, kind=None):
    return {a["resource"].split("/")[1] for a in server.items("/alerts", status="firing", kind=kind or f"health.{check}")}


def results(server, device, check):
    return next((r for r in server.get(f"/devices/{device}/health")["items"] if r["check"] == check), None)


def test_answered_expired_and_an_offline_device(server, fleet):
    sim = fleet(5, "dev")
    number = command(server, filter="")
    shown = wait_command(server, number, answered=5)
    assert shown["progress"] == "done"
    rows = server.items(f"/commands/{number}/devices", state="answered")
    assert len(rows) == 5 and all(r["answer"]["pass"] and r["sent_at"] <= r["ended_at"] <= r["deadline_at"] for r in rows)
    wait_command(server, command(server, device="dev-00002"), answered=1)
    assert server.get("/devices/dev-00002/commands")["items"][0]["state"] == "answered"
    sim.kill9()
    wait_for(lambda: not any(d["online"] for d in server.items("/devices")), 20, "all are offline")
    late = command(server, filter="", timeout_ms=1500)
    patient = command(server, filter="", timeout_ms=60000)
    cancelled = command(server, filter="", timeout_ms=60000)
    wait_command(server, late, queued=0, expired=5)
    assert server.post(f"/commands/{cancelled}/cancel")["progress"] == "cancelled"
    wait_command(server, cancelled, failed=5, queued=0)
    wait_command(server, patient, queued=5)
    fleet(5, "dev")
    wait_command(server, patient, answered=5)
    wait_command(server, late, expired=5, answered=0)


def test_kill9_loses_no_command(server, fleet):
    sim = fleet(30, "dev")
    slow = command(server, filter="", rate=10)
    time.sleep(1)
    server.kill9()
    server.start()
    assert server.get(f"/commands/{slow}")["progress"] in ("spreading", "waiting")
    wait_command(server, slow, answered=30, timeout=40)
    assert len(server.items(f"/commands/{slow}/devices")) == 30
    sim.kill9()
    wait_for(lambda: not any(d["online"] for d in server.items("/devices")), 20, "all are offline")
    waiting = command(server, filter="", timeout_ms=60000)
    wait_command(server, waiting, queued=30)
    server.kill9()
    server.start()
    fleet(30, "dev")
    wait_command(server, waiting, answered=30)


def test_pace(server, fleet):
    fleet(30, "dev")
    began = time.monotonic()
    number = command(server, filter="", rate=15)
    wait_command(server, number, answered=30)
    assert 1.5 < time.monotonic() - began < 10


def update(server, count):
    server.add_model("kws")
    for version in ("1.0.0", "1.1.0"):
        server.add_version("kws", version, {"*": tiny_model(version, payload=20_000)})
        server.add_release(f"kws-{version}", {"kws": version})
    rollout = server.rollout(name="all", release="kws-1.1.0", start=True, stages=[{"percent": 100}], gates=[], soak_ms=200, timeout_ms=30000)["id"]
    assert server.wait_rollout(rollout, ("finished", "paused", "reverted"), 60)["status"] == "finished"
    wait_for(lambda: server.running().get("kws-1.1.0") == count, 20, lambda: str(server.running()))


def test_a_corrupt_model_is_found_by_its_hash(server, fleet):
    fleet(6, "good")
    fleet(2, "bad", fault="rot=1")
    update(server, 8)
    check = server.post("/health/checks", {"name": "model", "kind": "model_hash", "severity": "critical"})["id"]
    number = server.post(f"/health/checks/{check}/run")["id"]
    wait_command(server, number, answered=8)
    cause = "model_hash_mismatch"
    wait_for(lambda: firing(server, "model", cause) == {"bad-00001", "bad-00002"}, 10, lambda: str(firing(server, "model", cause)))
    assert firing(server, "model") == set()  # one alert, not two
    assert results(server, "good-00001", "model")["pass"]
    bad = results(server, "bad-00001", "model")
    assert not bad["pass"] and bad["detail"] == "stored bytes differ from the manifest" and not bad["tagged"]
    server.kill9()
    server.start()
    assert results(server, "bad-00001", "model")["firing"]
    mismatched = server.items("/alerts", status="firing", kind=cause)
    assert {(a["resource"], a["severity"]) for a in mismatched} == {("devices/bad-00001", "critical"), ("devices/bad-00002", "critical")}
    assert sum(r["failing"] for r in server.get("/health/matrix", check="model")["items"]) == 2
    server.call("DELETE", f"/health/checks/{check}")
    wait_for(lambda: not firing(server, "model", cause), 10, "alerts of a deleted check end")
    assert server.get("/health/checks")["items"] == []


def test_failures_in_the_heat_are_tagged_and_page_nobody(server, fleet):
    limit = server.post("/health/checks", {"name": "slow", "kind": "limit", "metric": "latency_ms", "operator": "gt", "threshold": 1, "every_ms": 1})
    fleet(8, "hot", fault="hot=1", classes="jetson:1")
    hot = wait_for(lambda: [r for r in server.get("/health/matrix", check="slow")["items"] if r["cell"].startswith("hot")], 20, "hot results")
    assert {r["hardware"] for r in hot} == {"jetson"} and {(r["model"], r["version"]) for r in hot} == {("kws", "1.0.0")}
    wait_for(lambda: sum(r["failing"] for r in server.get("/health/matrix", check="slow")["items"]) == 8, 20, "all of them fail")
    shown = results(server, "hot-00001", "slow")
    assert not shown["pass"] and shown["tagged"] and "hot" in shown["cell"] and not shown["firing"]
    # the same limit where nothing excuses it: everybody pages
    server.post("/health/checks", {"name": "strict", "kind": "limit", "metric": "latency_ms", "operator": "gt", "threshold": 1, "contexts": {}})
    wait_for(lambda: len(firing(server, "strict")) == 8, 20, lambda: str(firing(server, "strict")))
    assert firing(server, "slow") == set()
    # what passes resolves
    strict = next(c for c in server.get("/health/checks")["items"] if c["name"] == "strict")
    server.call("PATCH", f"/health/checks/{strict['id']}", {"threshold": 1e6}, headers={"If-Match": f'"{strict["revision"]}"'})
    wait_for(lambda: not firing(server, "strict"), 20, lambda: str(firing(server, "strict")))
    check = server.post("/health/checks", {"name": "golden", "kind": "inference"})["id"]
    wait_command(server, server.post(f"/health/checks/{check}/run", {"filter": "hardware==jetson"})["id"], answered=8)
    shown = results(server, "hot-00002", "golden")
    assert not shown["pass"] and shown["tagged"] and shown["detail"] == "the output is not the expected one"
    assert firing(server, "golden") == set()
    assert limit["contexts"] == {"temperature_c": 60, "battery": 0.2, "link_rssi_dbm": -85}


def test_schedule_and_report_now(server, fleet):
    fleet(4, "dev", interval="1h")
    check = server.post("/health/checks", {"name": "room", "kind": "storage", "operator": "lt", "threshold": 2_000_000, "every_ms": 60000})
    wait_for(lambda: len(firing(server, "room")) == 4, 45, lambda: str(server.get("/commands")["items"][:1]))
    assert results(server, "dev-00001", "room")["value"] == 1 << 20
    assert server.get(f"/health/checks/{check['id']}")["next_at"] > time.time() * 1000
    server.post("/health/checks", {"name": "slow", "kind": "limit", "metric": "latency_ms", "operator": "gt", "threshold": 1, "contexts": {}})
    check = next(c for c in server.get("/health/checks")["items"] if c["name"] == "slow")
    wait_command(server, server.post(f"/health/checks/{check['id']}/run")["id"], answered=4)
    wait_for(lambda: len(firing(server, "slow")) == 4, 20, "reports came at once")


def test_the_real_agent(build, server, tmp_path):
    server.add_model("kws")
    for version in ("1.0.0", "1.1.0"):
        server.add_version("kws", version, {"*": tiny_model(version, payload=100_000)})
        server.add_release(f"kws-{version}", {"kws": version})
    agent = Agent(build, tmp_path / "dev-1", server, "dev-1", server.enrolment_token(), "--check-command", 'test "$AVIARY_CHECK" = custom')
    agent.start()
    try:
        wait_for(lambda: server.request("GET", "/devices/dev-1").status_code == 200, 20, agent.log)
        rollout = server.rollout(name="all", release="kws-1.1.0", start=True, stages=[{"percent": 100}], gates=[], soak_ms=200, timeout_ms=30000)["id"]
        assert server.wait_rollout(rollout, ("finished", "paused", "reverted"), 60)["status"] == "finished", agent.log()

        def run(check):
            number = command(server, device="dev-1", params={"check": check})
            wait_command(server, number, answered=1)
            return server.items(f"/commands/{number}/devices")[0]["answer"]
        assert run("model_hash") == {"pass": True}
        assert run("custom")["pass"] and not run("inference")["pass"]
        assert run("storage")["value"] > 0 and run("memory")["value"] > 0
        part = tmp_path / "dev-1/state/slot-a/part-0"
        data = bytearray(part.read_bytes())
        data[1000] ^= 1
        part.write_bytes(data)
        assert run("model_hash") == {"pass": False, "detail": "stored bytes differ from the manifest"}
    finally:
        agent.process.stop()
