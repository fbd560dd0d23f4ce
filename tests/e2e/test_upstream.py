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
