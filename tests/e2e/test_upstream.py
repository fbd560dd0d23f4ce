"""Upstreams: new versions of a model come by themselves, are checked, and go out as canaries."""
import hashlib
import json
import time

import pytest

from harness import tiny_model
from harness.process import wait_for
from harness.receivers import make_ca
from harness.upstream import Publisher, Upstream


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return make_ca(tmp_path_factory.mktemp("ca"))


@pytest.fixture
def upstream(authority):
    up = Upstream(authority[1])
    yield up
    up.stop()


@pytest.fixture
def publisher(upstream, tmp_path):
    return Publisher(upstream, tmp_path)


@pytest.fixture
def allowed(authority, tmp_path):
    (tmp_path / "local").mkdir()
    return {"upstreams": {"allow": "127.0.0.0/8, ::1", "ca_file": authority[0], "directories": tmp_path / "local"}}


def follow(server, upstream, publisher=None, **more):
    body = {"name": "up", "model": "kws", "kind": "index", "url": upstream.url + "/index.json", "interval_ms": 1000, "policy": {"action": "release"}}
    if publisher:
        body["public_key"] = publisher.public
    body.update(more)
    return server.post("/upstreams", body)


def version_of(server, version, name="up"):
    return next((v for v in server.items(f"/upstreams/{name}/versions") if v["version"] == version), {})


def edit(server, **changes):
    return server.call("PATCH", "/upstreams/up", changes, headers={"If-Match": "*"})


def wait_status(server, version, status, timeout=20, name="up"):
    wait_for(lambda: version_of(server, version, name).get("status") == status, timeout,
             lambda: f"{version} is {status}: {version_of(server, version, name)} {server.get('/upstreams/' + name)}\n" + server.process.tail(10), 0.05)
    return version_of(server, version, name)


def wait_fault(server, fault, timeout=20):
    wait_for(lambda: server.get("/upstreams/up")["fault"] == fault, timeout, lambda: f"{fault}: {server.get('/upstreams/up')}", 0.05)
    alerts = [a for a in server.items("/alerts", kind="upstream." + fault) if a["status"] == "firing"]
    assert len(alerts) == 1 and alerts[0]["resource"] == "upstreams/up", alerts
    return server.get("/upstreams/up")


def releases(server):
    return sorted(r["name"] for r in server.items("/releases"))


def test_a_signed_index_becomes_a_release(make_server, upstream, publisher, allowed):
    server = make_server(config=allowed)
    publisher.publish("1.0.0", {"esp32s3": tiny_model("one"), "*": tiny_model("any")}, notes="first", quality={"top1": 0.9})
    follow(server, upstream, publisher)
    wait_status(server, "1.0.0", "done")
    assert releases(server) == ["kws-1.0.0"]
    artifacts = server.items("/models/kws/versions/1.0.0/artifacts")
    assert {a["hardware"]: a["facts_state"] for a in artifacts} == {"esp32s3": "read", "*": "read"}
    assert artifacts[0]["declared"]["quality"] == {"top1": 0.9}
    seen = len(upstream.requests)
    wait_for(lambda: len(upstream.requests) >= seen + 2, 10, "it is asked again")
    assert all(r[2] == 304 for r in upstream.requests[seen:]), "with If-None-Match"


# ---- the whole way ----

DEVICES = 200
GATES = [{"metric": "accuracy"}, {"metric": "latency_ms"}, {"metric": "silence"}]
ROLLOUT = {"stages": [{"percent": 16}, {"percent": 100}], "success": {"percent": 95}, "error": {"percent": 30, "min_count": 5, "action": "revert"},
           "soak_ms": 1000, "timeout_ms": 10000, "retries": 3, "gates": GATES, "judge": {"reports_planned": 64}}
NEEDS = {"requires": {"arena_bytes": 50000}}


def contents(text):
    return {"esp32s3": tiny_model(text + " s3", payload=2000), "nrf52": (tiny_model(text + " nrf", payload=2000), NEEDS),
            "stm32u5": (tiny_model(text + " u5", payload=2000), NEEDS)}


def test_a_version_is_canaried_reverted_and_left_alone_until_the_next_one(make_server, make_sim, upstream, publisher, allowed, tmp_path):
    server = make_server(config=allowed)
    server.add_model("kws")
    server.add_version("kws", "1.0.0", {"*": tiny_model("1.0.0 any", payload=2000)})
    server.add_release("kws-1.0.0", {"kws": "1.0.0"})
    small = tmp_path / "capabilities.json"
    small.write_text(json.dumps({"nrf52": {"arena_bytes": 20000}, "stm32u5": {"arena_bytes": 30000}}))
    sim = make_sim(server, DEVICES, classes="esp32s3:80,nrf52:10,stm32u5:10", capabilities=small, enrol=server.enrolment_token(),
                   factory_release="kws-1.0.0", factory_model="kws=1.0.0", factory_counter=1, interval="250ms", report_retry="2s",
                   self_test="100ms", quiet=True, seed=1, effect="kws=1.1.0:accuracy-0.10,latency*1.3")
    sim.wait_connected(DEVICES)
    wait_for(lambda: server.running() == {"kws-1.0.0": DEVICES}, 30, lambda: f"all enrolled: {server.running()}")
    able = len(server.items("/devices", filter="hardware==esp32s3"))
    publisher.publish("1.1.0", contents("bad"))
    follow(server, upstream, publisher, policy={"action": "rollout", "rollout": ROLLOUT}, enabled=False)
    wait_for(lambda: server.get("/devices", limit=1000)["items"][0]["running"], 5, "devices report")
    time.sleep(8)  # baselines
    plan = server.post("/upstreams/up/check")
    assert (plan["would"], plan["version"], plan["dry_run"]) == ("rollout", "1.1.0", True), plan
    assert server.items("/upstreams/up/versions") == [] and not [m for m in server.items("/models/kws/versions") if m["version"] == "1.1.0"]
    edit(server, enabled=True)

    wait_status(server, "1.1.0", "rolling", 30)
    told = {row["hardware"]: row for row in version_of(server, "1.1.0")["fleet"]}
    assert told["esp32s3"]["verdict"] == "yes" and told["esp32s3"]["devices"] == able
    assert "arena_bytes: needs 50000" in json.dumps(told["nrf52"]) and "arena_bytes: needs 50000" in json.dumps(told["stm32u5"])
    bad = wait_status(server, "1.1.0", "reverted", 90)
    rollout = server.get(f"/rollouts/{bad['rollout']}")
    assert rollout["status"] == "reverted"
    touched = {d["device"] for d in server.items(f"/rollouts/{bad['rollout']}/deployments") if d["state"] != "cancelled"}
    assert touched and touched <= {d["id"] for d in server.items("/devices", filter="hardware==esp32s3")}
    state = server.get("/upstreams/up")
    assert (state["state"], state["stopped_version"]) == ("stopped", "1.1.0")
    assert "a newer one is waited for" in next(a["summary"] for a in server.items("/alerts", kind="upstream.reverted") if a["status"] == "firing")
    wait_for(lambda: server.running() == {"kws-1.0.0": DEVICES}, 20, lambda: f"all are back: {server.running()}")

    seen = len(upstream.asked("/index.json"))
    wait_for(lambda: len(upstream.asked("/index.json")) >= seen + 3, 15, "it is looked at again")
    assert [v["status"] for v in server.items("/upstreams/up/versions")] == ["reverted"] and len(server.items("/rollouts")) == 1

    publisher.publish("1.2.0", contents("good"))
    wait_status(server, "1.2.0", "done", 120)
    wait_for(lambda: server.running() == {"kws-1.0.0": DEVICES - able, "kws-1.2.0": able}, 20, lambda: f"{server.running()}")
    assert server.get("/upstreams/up")["state"] == "ok"
    assert not [a for a in server.items("/alerts", kind="upstream.reverted") if a["status"] == "firing"]
    assert len(server.items("/rollouts")) == 2 and releases(server) == ["kws-1.0.0", "kws-1.1.0", "kws-1.2.0"]
