"""Upstreams: new versions of a model come by themselves, are checked, and go out as canaries."""
import hashlib
import json
import time

import pytest

from harness import tiny_model
from harness.process import wait_for
from harness.receivers import make_ca
from harness.upstream import Publisher, Upstream
from test_openapi import Caller


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
    server.post("/upstreams/up/check", params={"now": "true"})  # it backs off
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
    could = {row["hardware"]: (row["devices"], row["able"], row.get("reason")) for row in plan["fleet"]}
    assert could["esp32s3"] == (able, able, None), could
    assert could["nrf52"][1:] == could["stm32u5"][1:] == (0, "arena_bytes: needs 50000"), could
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


# ---- refusals ----

def one(text="one"):
    return {"*": tiny_model(text, payload=2000)}


def test_what_is_not_to_be_believed_is_refused_by_kind(make_server, upstream, publisher, allowed):
    server = make_server(config=allowed)
    publisher.publish("1.0.0", one())
    follow(server, upstream, publisher)
    wait_status(server, "1.0.0", "done")

    good, versions, published = upstream.files["/index.json"], list(publisher.versions), publisher.published
    publisher.write(is_signed=False)
    wait_fault(server, "signature")
    stranger = Publisher(upstream, publisher.key.parent / "..")  # another key
    upstream.files["/index.json"] = json.dumps(stranger.sign("aviary-index-1", json.dumps(publisher.index()).encode())).encode()
    wait_fault(server, "signature")
    publisher.versions = versions + [publisher.record("1.1.0", one("two"))]
    publisher.published = published - 2
    publisher.write()
    assert "was seen before" in wait_fault(server, "replay")["reason"]
    publisher.published = published + 10
    publisher.versions = [publisher.record("1.1.0", one("two"))]
    publisher.write()
    assert "1.0.0 was published and is not there" in wait_fault(server, "shrunk")["reason"]
    publisher.versions = [publisher.record("1.0.0", one("other"))]
    publisher.write()
    assert "1.0.0 has other contents" in wait_fault(server, "changed")["reason"]
    upstream.files["/index.json"] = b"{" * 3000
    wait_fault(server, "document")
    upstream.files["/index.json"] = b" " * (4 << 20) + b"x"
    wait_fault(server, "too_large")
    upstream.status["/index.json"] = 500
    wait_fault(server, "unreachable")
    del upstream.status["/index.json"]
    upstream.redirects["/index.json"] = "/index.json"
    wait_fault(server, "redirect")
    upstream.redirects["/index.json"] = "http://localhost/index.json"
    server.post("/upstreams/up/check", params={"now": "true"})
    wait_for(lambda: "no https" in server.get("/upstreams/up")["reason"], 10, "a redirect to http")
    upstream.redirects["/index.json"] = "https://10.255.255.1/index.json"
    wait_fault(server, "address")
    upstream.redirects["/index.json"] = "https://169.254.169.254/latest"
    server.post("/upstreams/up/check", params={"now": "true"})
    wait_for(lambda: server.get("/upstreams/up")["fault"] == "address", 10, "metadata services are not called")
    assert [v["version"] for v in server.items("/upstreams/up/versions")] == ["1.0.0"] and releases(server) == ["kws-1.0.0"]

    upstream.redirects.clear()
    upstream.redirects["/index.json"] = "/moved/index.json"
    upstream.files["/moved/index.json"] = good
    edit(server, interval_ms=1000)  # it is looked at at once
    wait_for(lambda: server.get("/upstreams/up")["state"] == "ok", 10, lambda: f"{server.get('/upstreams/up')}")
    kinds = {a["kind"]: a["status"] for a in server.items("/alerts") if a["kind"].startswith("upstream.")}
    assert set(kinds) == {"upstream." + k for k in ("signature", "document", "replay", "shrunk", "changed", "too_large", "unreachable", "redirect", "address")}
    wait_for(lambda: not [a for a in server.items("/alerts", status="firing") if a["kind"].startswith("upstream.")], 10, "all are resolved")
    assert "aviary_upstream_failures_total" in server.request("GET", "/metrics").text


def test_an_upstream_that_is_away_is_told_after_some_failures(make_server, upstream, publisher, allowed):
    server = make_server(config=allowed)
    upstream.status["/index.json"] = 503
    follow(server, upstream, publisher, interval_ms=3600000)
    for n in range(1, 4):
        server.post("/upstreams/up/check", params={"now": "true"})
        state = server.get("/upstreams/up")
        assert state["failures"] == n and state["fault"] == "unreachable"
        assert state["next_at"] - state["checked_at"] <= 60000 * 2 ** (n - 1), "sooner than in an hour"
        assert len(server.items("/alerts", kind="upstream.unreachable")) == (n == 3)


def test_a_private_upstream_is_not_called(make_server, upstream, publisher, allowed):
    server = make_server(config={"upstreams": {"ca_file": allowed["upstreams"]["ca_file"]}})
    publisher.publish("1.0.0", one())
    follow(server, upstream, publisher)
    wait_fault(server, "address")
    assert upstream.requests == []


def test_versions_are_refused_with_the_reason(make_server, upstream, publisher, allowed):
    server = make_server(config=allowed)
    token = server.enrolment_token()
    assert token
    publisher.publish("1.0.0", one())
    follow(server, upstream, publisher)
    wait_status(server, "1.0.0", "done")

    record = publisher.record("1.1.0", one("two"))  # other bytes than the hash says
    record["artifacts"][0]["sha256"] = "0" * 64
    publisher.versions.append(record)
    publisher.write()
    assert wait_status(server, "1.1.0", "refused")["fault"] == "content"
    path = record["artifacts"][0]["url"]
    assert len(upstream.asked(path)) == 2, "once more, as the way may have been to blame"

    data = b"\x1c\0\0\0TFL3" + b"\xff" * 100
    publisher.publish("1.2.0", {"*": data})
    refused = wait_status(server, "1.2.0", "refused")
    assert refused["fault"] == "file" and "tflite" in refused["reason"]

    server.add_version("kws", "1.3.0", {"*": tiny_model("by hand")})
    publisher.publish("1.3.0", one("three"))
    refused = wait_status(server, "1.3.0", "refused")
    assert refused["fault"] == "conflict" and "another content" in refused["reason"]
    assert {a["kind"] for a in server.items("/alerts", status="firing")} >= {"upstream.conflict"}

    publisher.publish("1.4.0", {"*": (tiny_model("four"), {"requires": {"arena_bytes": "much"}})})
    assert wait_status(server, "1.4.0", "refused")["fault"] == "policy"
    publisher.publish("1.5.0", one("five"))
    wait_status(server, "1.5.0", "done")
    assert releases(server) == ["kws-1.0.0", "kws-1.5.0"]
    assert not [a for a in server.items("/alerts", status="firing") if a["kind"].startswith("upstream.")]


def test_a_worse_declared_quality_is_refused_until_the_policy_says_otherwise(make_server, make_sim, upstream, publisher, allowed):
    server = make_server(config=allowed)
    publisher.publish("1.0.0", one(), quality={"top1": 0.905, "evaluated_on": "sha256:1"})
    follow(server, upstream, publisher)
    wait_status(server, "1.0.0", "done")
    sim = make_sim(server, 3, enrol=server.enrolment_token(), factory_release="kws-1.0.0", factory_model="kws=1.0.0", interval="250ms", quiet=True)
    sim.wait_connected(3)
    wait_for(lambda: server.running() == {"kws-1.0.0": 3}, 10, "all enrolled")
    publisher.publish("1.1.0", one("two"), quality={"top1": 0.9, "evaluated_on": "sha256:1"})
    plan = server.post("/upstreams/up/check")
    assert plan["would"] == "refuse" and "top1: 0.9 is worse than 0.905" in plan["reasons"][1], plan
    refused = wait_status(server, "1.1.0", "refused")
    assert refused["fault"] == "quality" and "against version 1.0.0" in refused["reason"]
    assert not upstream.asked(publisher.versions[1]["artifacts"][0]["url"]), "not a byte of it was fetched"
    edit(server, policy={"action": "release", "margin": 0.01})
    wait_status(server, "1.1.0", "done")


def test_nobody_can_run_it(make_server, make_sim, upstream, publisher, allowed, tmp_path):
    server = make_server(config=allowed)
    server.add_model("kws")
    server.add_version("kws", "1.0.0", one("base"))
    server.add_release("kws-1.0.0", {"kws": "1.0.0"})
    small = tmp_path / "capabilities.json"
    small.write_text(json.dumps({"*": {"arena_bytes": 1000}}))
    sim = make_sim(server, 3, classes="esp32s3:1", enrol=server.enrolment_token(), factory_release="kws-1.0.0", factory_model="kws=1.0.0",
                   capabilities=small, interval="250ms", quiet=True)
    sim.wait_connected(3)
    publisher.publish("1.1.0", {"*": (tiny_model("two"), NEEDS)})
    follow(server, upstream, publisher, policy={"action": "rollout"})
    refused = wait_status(server, "1.1.0", "refused")
    assert refused["fault"] == "incompatible" and "arena_bytes" in refused["reason"] and refused["fleet"][0]["devices"] == 3
    Caller(server)("GET", "/api/v1/upstreams/{upstream}/versions", None, "up", status=200)
    Caller(server)("POST", "/api/v1/upstreams/{upstream}/check", None, "up", status=200)
    assert releases(server) == ["kws-1.0.0"] and server.items("/rollouts") == []


def test_the_index_may_be_unsigned_where_its_versions_are_signed(make_server, upstream, publisher, allowed):
    server = make_server(config=allowed)
    publisher.versions = [publisher.sign("aviary-version-1", json.dumps(publisher.record("1.0.0", one())).encode())]
    publisher.write(is_signed=False)
    follow(server, upstream, publisher)
    wait_status(server, "1.0.0", "done")
    publisher.versions.append(publisher.record("1.1.0", one("two")))
    publisher.write(is_signed=False)
    wait_fault(server, "signature")
    publisher.versions[1] = publisher.sign("aviary-version-1", json.dumps({**publisher.record("1.1.0", one("two")), "model": "other"}).encode())
    publisher.write(is_signed=False)
    wait_fault(server, "document")


# ---- other kinds ----

def test_a_directory(make_server, upstream, allowed):
    server = make_server(config=allowed)
    root = allowed["upstreams"]["directories"] / "kws"
    data = tiny_model("local", payload=600_000)

    def put(version, url="kws.tflite"):
        (root / version).mkdir(parents=True)
        (root / version / "kws.tflite").write_bytes(data)
        (root / version / "version.json").write_text(json.dumps({"version": version, "artifacts": [
            {"hardware": "*", "url": url, "size_bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}]}))
    put("1.0.0")
    refused = server.request("POST", "/upstreams", {"name": "x", "model": "kws", "kind": "directory", "url": str(root.parent.parent)})
    assert refused.status_code == 422 and "directories" in refused.text
    follow(server, upstream, kind="directory", url=str(root))
    wait_status(server, "1.0.0", "done")
    (root / "1.1.0").mkdir()
    (root / "1.1.0" / "kws.tflite").symlink_to("/etc/passwd")
    (root / "1.1.0" / "version.json").write_text((root / "1.0.0" / "version.json").read_text().replace("1.0.0", "1.1.0"))
    wait_for(lambda: version_of(server, "1.1.0").get("fault") == "address", 10, lambda: f"{version_of(server, '1.1.0')}")
    (root / "1.1.0" / "kws.tflite").unlink()
    (root / "1.1.0" / "kws.tflite").write_bytes(data)
    wait_status(server, "1.1.0", "done")
    put("1.2.0", "../1.0.0/kws.tflite")
    wait_fault(server, "document")


def test_a_bucket_with_a_token_in_a_header(make_server, upstream, publisher, allowed):
    server = make_server(config=allowed)
    upstream.header = ("X-Token", "s3cret")

    def put(version, text):
        data = tiny_model(text)
        record = {"model": "kws", "version": version, "artifacts": [{"hardware": "*", "url": "kws.tflite", "size_bytes": len(data),
                  "sha256": hashlib.sha256(data).hexdigest()}]}
        upstream.files[f"/bucket/kws/{version}/kws.tflite"] = data
        upstream.files[f"/bucket/kws/{version}/version.json"] = json.dumps(publisher.sign("aviary-version-1", json.dumps(record).encode())).encode()
    put("1.0.0", "one")
    put("1.1.0", "two")
    upstream.files["/bucket/other/9.9.9/version.json"] = b"x"
    follow(server, upstream, publisher, kind="s3", url=upstream.url + "/bucket", prefix="kws/", auth="header", user="X-Token", secret="s3cret",
           alert_after=1)
    wait_status(server, "1.1.0", "done")
    assert {v["version"]: v["status"] for v in server.items("/upstreams/up/versions")} == {"1.0.0": "seen", "1.1.0": "done"}
    assert "s3cret" not in json.dumps(server.get("/upstreams/up")) + json.dumps(server.items("/audit"))
    put("1.0.0", "changed")
    wait_fault(server, "changed")
    upstream.header = ("X-Token", "other")
    assert "401" in wait_fault(server, "unreachable")["reason"]


def proxy_to(upstream, other):
    """The upstream as the HTTPS face of another server."""
    answer = upstream.answer

    def forward(request):
        reply = other.session.get(other.url + request.path, headers={k: v for k, v in request.headers.items() if k in ("Authorization", "Range")},
                                  timeout=20)
        if "Authorization" not in request.headers:
            reply.status_code, reply._content = 401, b""
        request.send_response(reply.status_code)
        request.send_header("Content-Length", str(len(reply.content)))
        if "Content-Range" in reply.headers:
            request.send_header("Content-Range", reply.headers["Content-Range"])
        request.end_headers()
        request.wfile.write(reply.content)
    upstream.answer = forward
    return answer


@pytest.mark.parametrize("kind", ["aviary", "hawkbit"])
def test_another_server(make_server, upstream, allowed, kind):
    other = make_server(name="other")
    other.add_model("kws")
    other.add_version("kws", "1.0.0", {"*": tiny_model("one")})
    proxy_to(upstream, other)
    server = make_server(config=allowed)
    auth = {"auth": "bearer", "secret": other.token} if kind == "aviary" else {"auth": "basic", "user": "admin", "secret": other.token}
    follow(server, upstream, kind=kind, url=upstream.url, **auth)
    wait_status(server, "1.0.0", "done")
    other.add_version("kws", "1.1.0", {"*": tiny_model("two")})
    wait_status(server, "1.1.0", "done")
    assert releases(server) == ["kws-1.0.0", "kws-1.1.0"]


# ---- the way of contents ----

def test_a_secret_stays_with_its_origin(make_server, authority, upstream, publisher, allowed):
    server = make_server(config=allowed)
    mirror = Upstream(authority[1])
    try:
        upstream.header = ("Authorization", "Bearer s3cret")
        publisher.publish("1.0.0", one())
        path = publisher.versions[0]["artifacts"][0]["url"]
        mirror.files["/mirror"] = upstream.files[path]
        upstream.redirects[path] = mirror.url + "/mirror"
        follow(server, upstream, publisher, secret="s3cret")
        wait_status(server, "1.0.0", "done")
        assert upstream.asked(path)[0][1]["Authorization"] == "Bearer s3cret"
        assert len(mirror.requests) == 1 and "Authorization" not in mirror.requests[0][1]
    finally:
        mirror.stop()


def test_contents_longer_or_shorter_than_told(make_server, upstream, publisher, allowed):
    server = make_server(config=allowed)
    publisher.publish("1.0.0", one())
    path, whole = publisher.versions[0]["artifacts"][0]["url"], one()["*"]
    upstream.files[path] = whole + b"x" * 100000
    follow(server, upstream, publisher)
    wait_for(lambda: version_of(server, "1.0.0").get("fault") == "too_large", 20, lambda: f"{version_of(server, '1.0.0')}", 0.05)
    upstream.files[path] = whole[:1000]
    wait_for(lambda: version_of(server, "1.0.0").get("fault") in ("unreachable", "content"), 20, lambda: f"{version_of(server, '1.0.0')}", 0.05)
    upstream.files[path] = whole
    wait_status(server, "1.0.0", "done", 30)


# ---- kills ----

def test_a_server_without_ranges_sends_all_of_it_again(make_server, upstream, publisher, allowed):
    server = make_server(config={**allowed, "storage": {"upload_sync": "64KiB"}})
    upstream.rate, upstream.has_ranges = 1_500_000, False
    publisher.publish("1.0.0", {"*": tiny_model("large", payload=1_500_000)})
    path = publisher.versions[0]["artifacts"][0]["url"]
    follow(server, upstream, publisher)
    wait_for(lambda: upstream.asked(path) and server.items("/models/kws/versions/1.0.0/artifacts")[0]["received_bytes"] >= 300_000, 20, "some came", 0.02)
    server.kill9()
    server.start()
    upstream.rate = 0
    wait_status(server, "1.0.0", "done", 30)
    assert "Range" in upstream.asked(path)[-1][1] and upstream.asked(path)[-1][2] == 200


def test_a_download_goes_on_after_a_kill(make_server, upstream, publisher, allowed):
    server = make_server(config={**allowed, "storage": {"upload_sync": "64KiB"}})
    data = tiny_model("large", payload=3_000_000)
    upstream.rate = 1_500_000
    publisher.publish("1.0.0", {"*": data})
    path = publisher.versions[0]["artifacts"][0]["url"]
    follow(server, upstream, publisher)
    for wanted, end in ((400_000, server.kill9), (1_200_000, server.stop)):
        wait_for(lambda: (server.items("/models/kws/versions/1.0.0/artifacts") if upstream.asked(path) else [{"received_bytes": 0}])[0][
            "received_bytes"] >= wanted, 20, f"{wanted} bytes came", 0.02)
        assert end() in (0, None, -9)
        server.start()
    upstream.rate = 0
    wait_status(server, "1.0.0", "done", 30)
    firsts = [int(r[1].get("Range", "bytes=0-")[6:-1]) for r in upstream.asked(path)]
    assert firsts[0] == 0 and firsts == sorted(firsts) and firsts[1] >= 300_000 and firsts[-1] >= 1_000_000, firsts
    assert len(server.items("/models/kws/versions")) == 1 and releases(server) == ["kws-1.0.0"]


def test_nothing_is_done_twice_whenever_it_is_killed(make_server, make_sim, upstream, publisher, allowed):
    server = make_server(config=allowed)
    server.add_model("kws")
    server.add_version("kws", "1.0.0", one("base"))
    server.add_release("kws-1.0.0", {"kws": "1.0.0"})
    sim = make_sim(server, 10, enrol=server.enrolment_token(), factory_release="kws-1.0.0", factory_model="kws=1.0.0", factory_counter=1,
                   interval="250ms", report_retry="1s", self_test="50ms", quiet=True)
    sim.wait_connected(10)
    follow(server, upstream, publisher, policy={"action": "rollout", "rollout": {**ROLLOUT, "gates": [], "stages": [{"percent": 100}], "soak_ms": 200}})
    for n in range(1, 7):
        version = f"1.{n}.0"
        publisher.publish(version, one(version))
        server.post("/upstreams/up/check", params={"now": "true"})
        time.sleep(0.07 * n)  # somewhere between its steps
        server.kill9()
        server.start()
        wait_status(server, version, "done", 40)
    names = releases(server)
    assert names == ["kws-1.0.0"] + [f"kws-1.{n}.0" for n in range(1, 7)]
    rollouts = [r["release"] for r in server.items("/rollouts")]
    assert sorted(rollouts) == names[1:], rollouts
    done = [a for a in server.items("/audit", action="version.create")]
    assert len(done) == 7


def test_aviaryctl(make_server, upstream, publisher, allowed, build):
    import subprocess
    server = make_server(config=allowed)
    publisher.publish("1.0.0", one())

    def ctl(*args):
        done = subprocess.run([build / "aviaryctl", "--url", server.url, *args], capture_output=True, text=True, timeout=20,
                              env={"AVIARY_TOKEN": server.token})
        assert done.returncode == 0, done.stderr
        return done.stdout
    ctl("upstream", "add", "up", "--model", "kws", "--kind", "index", "--from", upstream.url + "/index.json", "--public-key", publisher.public,
        "--interval", "1h", "--action", "release")
    told = json.loads(ctl("--json", "upstream", "check", "up"))
    assert (told["would"], told["version"], told["dry_run"]) == ("release", "1.0.0", True)
    ctl("upstream", "check", "up", "--now")
    wait_status(server, "1.0.0", "done")
    assert "1.0.0" in ctl("upstream", "versions", "up") and "index" in ctl("upstream", "list")
    ctl("upstream", "edit", "up", "--enabled", "false")
    assert json.loads(ctl("--json", "upstream", "show", "up"))["state"] == "disabled"
    ctl("upstream", "remove", "up")
    assert server.items("/upstreams") == [] and releases(server) == ["kws-1.0.0"]
    assert {a["action"] for a in server.items("/audit") if a["action"].startswith("upstream.")} == {
        "upstream.create", "upstream.update", "upstream.check", "upstream.delete"}
