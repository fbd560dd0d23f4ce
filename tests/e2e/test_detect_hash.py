"""A device that runs other bytes than the released model's: told at once, with both hashes, without any health check declared."""
import hashlib

import pytest

from harness import tiny_model
from harness.process import wait_for
from test_telemetry import Publisher

KIND = "model_hash_mismatch"


def releases(server, versions):
    server.add_model("kws")
    for version in versions:
        server.add_version("kws", version, {"*": tiny_model(version, payload=20_000)})
        server.add_release(f"kws-{version}", {"kws": version})


def firing(server):
    return {a["resource"]: a for a in server.items("/api/v1/alerts", status="firing", kind=KIND)}


def test_devices_whose_model_was_replaced(server, make_sim):
    releases(server, ("1.0.0", "1.1.0"))
    token = server.enrolment_token()
    for name, more in (("good", {}), ("bad", {"fault": "swapped=1@kws=1.1.0"})):
        make_sim(server, 2, name=name, prefix=name + "-", enrol=token, connect_rate=200, interval="1s", factory_release="kws-1.0.0",
                 factory_model="kws=1.0.0", **more).wait_connected(2)
    wait_for(lambda: len(server.items("/api/v1/devices")) == 4, 20, "all are known")

    rollout = server.rollout(name="all", release="kws-1.1.0", start=True, stages=[{"percent": 100}], gates=[], soak_ms=200, timeout_ms=30000)["id"]
    wait_for(lambda: set(firing(server)) == {"devices/bad-00001", "devices/bad-00002"}, 20, lambda: str(firing(server)))
    alert = firing(server)["devices/bad-00001"]
    assert alert["severity"] == "critical"
    data = alert["data"]
    assert data["model"] == "kws" and data["release"] == "kws-1.1.0" and len(data["got"]) == 64
    assert int(data["got"], 16) ^ int(data["expected"], 16) == 1 << 248  # one bit of the first byte
    assert server.get(f"/api/v1/rollouts/{rollout}")["status"] not in ("finished", "reverted")  # its stage is held


@pytest.fixture
def publisher(broker):
    p = Publisher(broker.port)
    yield p
    p.stop()


def test_it_is_over_when_the_right_model_runs(server, publisher):
    releases(server, ("1.0.0",))
    right, seq = hashlib.sha256(tiny_model("1.0.0", payload=20_000)).hexdigest(), 0
    server.post("/api/v1/devices", {"id": "dev-1", "hardware": "esp32s3"})

    def say(sha256, release="kws-1.0.0"):
        nonlocal seq
        seq += 1
        publisher.send("dev-1", "report", {"boot": "b1", "seq": seq, "running": {
            "release": release, "counter": 1, "models": {"kws": "1.0.0"}, "hashes": {"kws": sha256}}})
    say(right)
    say("0" * 64, release="unknown")
    say("0" * 64)
    wait_for(lambda: "devices/dev-1" in firing(server), 10, "the alert fires")
    assert firing(server)["devices/dev-1"]["data"]["expected"] == right
    say(right)
    wait_for(lambda: not firing(server), 10, "the alert is resolved")
    assert [a["status"] for a in server.items("/api/v1/alerts", kind=KIND)] == ["resolved"]
