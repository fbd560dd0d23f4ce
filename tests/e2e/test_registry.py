"""Devices and groups over HTTP: what operators do, what is refused and how it is told, bulk, pages, restarts."""
import hashlib
import json
import re
import time

import paho.mqtt.client as mqtt
import pytest

from harness.process import wait_for


@pytest.fixture
def http_server(make_server):
    return make_server(config={"mqtt": {"host": ""}})


@pytest.fixture
def bulk_server(make_server):
    return make_server(config={"mqtt": {"host": ""}})


def bulk(server, lines, **options):
    return server.call("POST", "/devices:bulk", data=lines, headers={"Content-Type": "application/x-ndjson"}, timeout=120, **options)


def refused(server, status, method, path, body=None, **options):
    response = server.request(method, path, body, **options)
    assert response.status_code == status, response.text
    assert response.headers["Content-Type"] == "application/problem+json"
    problem = response.json()
    assert problem["status"] == status and problem["title"]
    return problem


def etag(server, path):
    return server.request("GET", path).headers["ETag"]


def test_life_of_a_device(http_server):
    s = http_server
    made = s.request("POST", "/devices", {"id": "dev-1", "name": "Tür 7", "hardware": "esp32s3",
                                          "attributes": {"region": "eu", "floor": 3, "new": True}, "tags": ["beta", "alpha"]})
    assert made.status_code == 201, made.text
    assert made.headers["Location"] == "/api/v1/devices/dev-1"
    assert made.headers["ETag"] == '"1"'
    d = made.json()
    assert d["attributes"] == {"region": "eu", "floor": "3", "new": "true"}
    assert d["tags"] == ["alpha", "beta"]
    assert d["online"] is False and "last_seen_at" not in d and d["has_credential"] is False
    assert s.get("/devices/dev-1") == d
    assert s.request("GET", "/devices/dev-1", headers={"If-None-Match": '"1"'}).status_code == 200  # presence may differ

    refused(s, 428, "PATCH", "/devices/dev-1", {"name": "x"})
    refused(s, 412, "PATCH", "/devices/dev-1", {"name": "x"}, headers={"If-Match": '"9"'})
    d = s.call("PATCH", "/devices/dev-1", {"attributes": {"floor": None, "room": "a"}, "tags": []}, headers={"If-Match": '"1"'})
    assert d["attributes"] == {"region": "eu", "new": "true", "room": "a"} and d["tags"] == [] and d["name"] == "Tür 7"
    assert d["revision"] == 2
    refused(s, 412, "DELETE", "/devices/dev-1", headers={"If-Match": '"1"'})
    assert s.call("DELETE", "/devices/dev-1") == {"deleted": "dev-1", "did": "took part in no rollout"}
    refused(s, 404, "GET", "/devices/dev-1")
    actions = [(a["action"], a["before"] is None, a["after"] is None) if "before" in a and "after" in a else (a["action"],)
               for a in s.items("/audit", resource="devices/dev-1")]
    assert [a[0] for a in actions] == ["device.delete", "device.update", "device.create"]


@pytest.mark.parametrize("body, status, pointer", [
    ({"hardware": "h"}, 422, "/id"),
    ({"id": "a"}, 422, "/hardware"),
    ({"id": "../../etc/passwd", "hardware": "h"}, 422, "/id"),
    ({"id": "a" * 65, "hardware": "h"}, 422, "/id"),
    ({"id": 7, "hardware": "h"}, 422, "/id"),
    ({"id": "a", "hardware": "h", "colour": "red"}, 422, "/colour"),
    ({"id": "a", "hardware": "h", "attributes": {"x": {"y": 1}}}, 422, "/attributes"),
    ({"id": "a", "hardware": "h", "attributes": {"bad name": "x"}}, 422, "/attributes"),
    ({"id": "a", "hardware": "h", "tags": ["fine", "not fine"]}, 422, "/tags/1"),
    ({"id": "a", "hardware": "h", "tags": [f"t{i}" for i in range(33)]}, 422, "/tags"),
    ({"id": "a", "hardware": "h", "name": "x\u0007"}, 422, "/name"),
])
def test_what_is_refused_is_named(http_server, body, status, pointer):
    problem = refused(http_server, status, "POST", "/devices", body)
    assert problem["pointer"].startswith(pointer), problem
    assert http_server.get("/devices", total="true")["total"] == 0


def test_malformed_bodies(http_server):
    for data in (b"{", b"[]", b'{"id":"a","id":"b","hardware":"h"}', b'{"id":"\xff","hardware":"h"}', b"", b"null"):
        response = http_server.request("POST", "/devices", data=data, headers={"Content-Type": "application/json"})
        assert response.status_code in (400, 422), (data, response.text)
    assert http_server.request("POST", "/devices", data=b"{}", headers={"Content-Type": "text/plain"}).status_code == 415


def test_lists_filters_and_pages(http_server):
    s = http_server
    lines = "".join(json.dumps({"id": f"d{i:03}", "hardware": ["esp32", "nrf52"][i % 2], "name": f"n{i % 7}",
                                "attributes": {"region": ["eu", "us", "ap"][i % 3]}, "tags": ["odd"] if i % 2 else []}) + "\n"
                    for i in range(250))
    assert bulk(s, lines)["created"] == 250

    def ids(**params):
        return [d["id"] for d in s.items("/devices", **params)]
    assert ids(limit=7) == [f"d{i:03}" for i in range(250)]
    assert ids(sort="-id", limit=33) == [f"d{i:03}" for i in reversed(range(250))]
    assert len(ids(filter="attribute.region==eu;tag==odd")) == len([i for i in range(250) if i % 3 == 0 and i % 2])
    assert len(ids(filter="attribute.region=in=(eu,us),hardware==nrf52")) == len([i for i in range(250) if i % 3 < 2 or i % 2])
    assert ids(filter="id==d24*") == [f"d{i}" for i in range(240, 250)]
    assert ids(filter="lastSeen=gt=2020-01-01T00:00:00Z") == []
    assert len(ids(filter="createdAt=gt=now-1h")) == 250
    names = [d["name"] for d in s.items("/devices", sort="name", limit=10)]
    assert names == sorted(names) and len(names) == 250
    page = s.get("/devices", filter="hardware==esp32", total="true", limit=3)
    assert page["total"] == 125 and len(page["items"]) == 3
    assert "offset" not in page

    for query in ("filter=hardware", "filter=nothing==1", "sort=secret", "limit=0", "limit=1001", "cursor=abc", "offset=3",
                  "total=maybe", "filter=lastSeen==yesterday", "cursor=" + page["next"] + "&sort=name"):
        refused(s, 400, "GET", "/devices?" + query)
    refused(s, 404, "GET", "/devices?group=nobody")


def test_bulk_tells_what_it_did(bulk_server):
    s = bulk_server
    lines = [
        '{"id":"a","hardware":"h"}', '', '{"id":"b","hardware":"h","attributes":{"x":1}}\r', '{"id":"bad id","hardware":"h"}', '{', '[1]',
        '{"id":"c"}', '{"id":"d","hardware":"h","x":1}', '{"id":"e","hardware":"h","name":"' + "x" * 40000 + '"}', '   ',
        '{"id":"a","hardware":"h","tags":["t"]}', '{"id":"a","hardware":"h","tags":["t"]}', '{"id":"f","hardware":"h"}',
    ]
    for pieces in (1, 7, 1000000):
        text = "\n".join(lines).encode()
        chunks = (text[i:i + pieces] for i in range(0, len(text), pieces))
        reply = bulk(s, chunks)  # chunked transfer: pieces arrive as they are sent
        assert reply["lines"] == 11 and reply["refused"] == 6, reply
        assert [(e["line"], e.get("pointer")) for e in reply["errors"]] == [(4, "/id"), (5, None), (6, None), (7, "/hardware"), (8, "/x"), (9, None)]
        if pieces == 1:
            assert (reply["created"], reply["updated"], reply["unchanged"]) == (3, 1, 1)
        else:
            assert (reply["created"], reply["updated"], reply["unchanged"]) == (0, 0, 5)
    assert {d["id"] for d in s.items("/devices")} == {"a", "b", "f"}
    many = "\n".join('{"id":"%d x","hardware":"h"}' % i for i in range(300))
    reply = bulk(s, many)
    assert reply["refused"] == 300 and len(reply["errors"]) == 100


def rss_kib(pid):
    with open(f"/proc/{pid}/status") as f:
        return int(re.search(r"VmRSS:\s+(\d+)", f.read())[1])


def test_a_hundred_thousand_in_one_request(bulk_server):
    s = bulk_server
    count = 100_000

    def lines():
        for start in range(0, count, 500):
            yield "".join('{"id":"dev-%06d","name":"Device %d","hardware":"%s","attributes":{"region":"%s","site":"s%d"},"tags":["factory"]}\n'
                          % (i, i, ("esp32", "esp32s3", "nrf52")[i % 3], ("eu", "us")[i % 2], i % 100)
                          for i in range(start, start + 500)).encode()
    start = time.monotonic()
    reply = bulk(s, lines())
    first = time.monotonic() - start
    assert (reply["created"], reply["refused"]) == (count, 0)
    start = time.monotonic()
    reply = bulk(s, lines())
    second = time.monotonic() - start
    assert reply["unchanged"] == count
    start = time.monotonic()
    page = s.get("/devices", filter="attribute.site==s7;hardware==nrf52", sort="-id", limit=50, total="true")
    listed = time.monotonic() - start
    assert page["total"] == len([i for i in range(count) if i % 100 == 7 and i % 3 == 2])
    print(f"\n100,000 devices registered in {first:.1f} s, again in {second:.1f} s, filtered page with total in {listed * 1000:.0f} ms, "
          f"resident {rss_kib(s.process.pid) // 1024} MiB")
    assert first < 30 and second < 30 and listed < 2
    start = time.monotonic()
    s.restart()
    print(f"restarted in {time.monotonic() - start:.1f} s")
    assert s.get("/devices", total="true", limit=1)["total"] == count


def test_a_cut_bulk_request_keeps_whole_lines(bulk_server):
    s = bulk_server

    def lines():
        for i in range(100):
            yield ('{"id":"c%03d","hardware":"h"}\n' % i).encode()
        yield b'{"id":"half'
        raise ConnectionError("the operator's laptop lid closes")
    with pytest.raises(Exception):
        bulk(s, lines())
    s.kill9()
    s.start()
    found = [d["id"] for d in s.items("/devices")]
    assert found == [f"c{i:03}" for i in range(len(found))]
    assert "half" not in found


def test_twins(http_server):
    s = http_server
    s.post("/devices", {"id": "a", "hardware": "h"})
    path = "/devices/a/desired"
    assert s.get(path) == {}
    refused(s, 428, "PUT", path, {"a": 1})
    first = etag(s, path)
    answer = s.request("PUT", path, {"wifi": {"ssid": "x", "psk": "y"}, "rate": 5}, headers={"If-Match": first})
    assert answer.status_code == 200 and answer.headers["ETag"] != first
    refused(s, 412, "PUT", path, {}, headers={"If-Match": first})
    s.call("PATCH", path, data=json.dumps({"wifi": {"psk": None}, "mode": "night"}),
           headers={"If-Match": answer.headers["ETag"], "Content-Type": "application/merge-patch+json"})
    assert s.get(path) == {"wifi": {"ssid": "x"}, "rate": 5, "mode": "night"}
    assert s.get("/devices/a")["desired_rev"] == 2
    refused(s, 413, "PUT", path, {"a": "x" * 17000}, headers={"If-Match": "*"})
    refused(s, 422, "PUT", path, [1], headers={"If-Match": "*"})
    refused(s, 400, "PUT", path, data=b"", headers={"If-Match": "*", "Content-Type": "application/json"})
    assert s.get("/devices/a/reported") == {"running": {}, "capabilities": {}}
    s.restart()
    assert s.get(path) == {"wifi": {"ssid": "x"}, "rate": 5, "mode": "night"}


def test_credentials(http_server):
    s = http_server
    s.post("/devices", {"id": "a", "hardware": "h"})
    made = s.post("/devices/a/credential")
    assert re.fullmatch("[0-9a-f]{64}", made["secret"])
    assert s.get("/devices/a")["has_credential"] is True

    def desired(device, secret):
        return s.request("GET", f"/device/v1/{device}/desired", headers={"Authorization": f"Bearer {device}:{secret}"}).status_code
    assert desired("a", made["secret"]) == 200
    assert desired("a", "0" * 64) == 401
    assert desired("nobody", made["secret"]) == 401
    assert s.request("DELETE", "/devices/a/credential").status_code == 204
    assert desired("a", made["secret"]) == 401
    assert made["secret"] not in json.dumps(s.items("/audit"))


def test_groups(http_server):
    s = http_server
    for i in range(5):
        s.post("/devices", {"id": f"d{i}", "hardware": "h", "attributes": {"region": "eu" if i < 3 else "us"}})
    made = s.request("POST", "/groups", {"name": "lab", "description": "by hand"})
    assert made.status_code == 201 and made.json()["kind"] == "static"
    refused(s, 409, "POST", "/groups", {"name": "lab"})
    assert s.post("/groups/lab/members", {"add": ["d0", "d4"]}) == {"added": 2, "removed": 0}
    assert s.post("/groups/lab/members", {"add": ["d0", "d1"], "remove": ["d4"]}) == {"added": 1, "removed": 1}
    assert refused(s, 422, "POST", "/groups/lab/members", {"add": ["d2", "nobody"]})["pointer"] == "/add/1"
    assert [d["id"] for d in s.items("/groups/lab/members")] == ["d0", "d1"]
    assert [d["id"] for d in s.items("/devices", group="lab", filter="id==d1")] == ["d1"]
    assert s.get("/groups/lab")["members"] == 2

    s.post("/groups", {"name": "europe", "filter": "attribute.region==eu"})
    assert [d["id"] for d in s.items("/groups/europe/members")] == ["d0", "d1", "d2"]
    refused(s, 409, "POST", "/groups/europe/members", {"add": ["d4"]})
    assert refused(s, 422, "POST", "/groups", {"name": "bad", "filter": "nothing==1"})["pointer"] == "/filter"
    s.call("PATCH", "/groups/europe", {"filter": "attribute.region==us"}, headers={"If-Match": etag(s, "/groups/europe")})
    assert [d["id"] for d in s.items("/groups/europe/members")] == ["d3", "d4"]
    assert [g["name"] for g in s.items("/groups")] == ["lab", "europe"]
    assert s.request("DELETE", "/groups/europe").status_code == 204
    refused(s, 404, "GET", "/groups/europe")


def test_roles_and_repeats(http_server):
    s = http_server
    viewer = s.post("/tokens", {"name": "wall", "role": "viewer"})["token"]
    as_viewer = {"Authorization": "Bearer " + viewer}
    assert s.request("GET", "/devices", headers=as_viewer).status_code == 200
    refused(s, 403, "POST", "/devices", {"id": "a", "hardware": "h"}, headers=as_viewer)
    refused(s, 403, "POST", "/devices:bulk", data=b'{"id":"a","hardware":"h"}\n', headers=as_viewer)
    refused(s, 401, "GET", "/devices", headers={"Authorization": "Bearer nonsense"})
    key = {"Idempotency-Key": "one"}
    first = s.request("POST", "/devices", {"id": "a", "hardware": "h"}, headers=key)
    again = s.request("POST", "/devices", {"id": "a", "hardware": "h"}, headers=key)
    assert first.status_code == again.status_code == 201 and first.text == again.text
    refused(s, 409, "POST", "/devices", {"id": "b", "hardware": "h"}, headers=key)
    refused(s, 409, "POST", "/devices", {"id": "a", "hardware": "h"})


# ---- over MQTT ----

class Wire:
    """A bare MQTT client: what was said on the topics of one device."""

    def __init__(self, port, device):
        self.device = device
        self.messages = []
        self.client = mqtt.Client(client_id=f"wire-{device}-{id(self)}")
        self.client.on_message = lambda _c, _u, m: self.messages.append((m.topic.rsplit("/", 1)[1], m.payload, m.retain))
        self.client.connect("127.0.0.1", port)
        self.client.subscribe(f"aviary/v1/{device}/desired", qos=1)
        self.client.loop_start()

    def send(self, topic, message, retain=False):
        text = message if isinstance(message, (bytes, str)) else json.dumps(message)
        self.client.publish(f"aviary/v1/{self.device}/{topic}", text, qos=1, retain=retain).wait_for_publish(10)

    def desired(self):
        found = [json.loads(p) for t, p, _ in self.messages if t == "desired" and p]
        return found[-1] if found else {}

    def close(self):
        self.client.disconnect()
        self.client.loop_stop()


@pytest.fixture
def wire(broker):
    wires = []

    def make(device):
        wires.append(Wire(broker.port, device))
        return wires[-1]
    yield make
    for w in wires:
        w.close()


def enrol(token, secret, seq=1, **more):
    return {"boot": "b1", "seq": seq, "enrol": {"token": token, "secret_sha256": hashlib.sha256(secret.encode()).hexdigest(),
                                                "hardware": "esp32s3", "attributes": {"region": "eu"}, "tags": ["line-3"]}, **more}


def test_a_device_registers_itself(server, wire):
    secret = "ab" * 32
    token = server.post("/tokens", {"name": "line 3", "kind": "enrolment", "role": "enrol", "uses_left": 1})["token"]
    w = wire("self-1")
    w.send("report", enrol("not a token", secret))
    w.send("report", enrol(token, secret, running={"release": "factory", "counter": 3, "models": {"kws": "1.0.0"}},
                           capabilities={"slot_bytes": 1 << 20}))
    wait_for(lambda: w.desired().get("ack") == ["b1", 1], 20, lambda: f"the report is acknowledged: {w.messages}\n{server.process.tail()}")
    d = server.get("/devices/self-1")
    assert d["attributes"] == {"region": "eu"} and d["tags"] == ["line-3"] and d["has_credential"] and d["hardware"] == "esp32s3"
    assert d["running"] == {"release": "factory", "counter": 3, "models": {"kws": "1.0.0"}}
    assert server.get("/devices/self-1/reported")["capabilities"] == {"slot_bytes": 1 << 20}
    assert len(w.messages[-1][1]) <= 200
    assert w.desired()["url"] == "/device/v1/self-1/desired" and w.desired()["rev"] == d["desired_rev"]
    assert [d["id"] for d in server.items("/devices", filter="model.kws==1.0.0;release==factory")] == ["self-1"]

    as_device = {"Authorization": f"Bearer self-1:{secret}"}
    assert server.request("GET", "/device/v1/self-1/desired", headers=as_device).status_code == 200

    # The token is used up: another device stays out, and so does somebody else under the same name.
    other = wire("self-2")
    other.send("report", enrol(token, secret))
    w.send("report", enrol(token, "cd" * 32, seq=2))
    w.send("report", {"boot": "b1", "seq": 3})
    wait_for(lambda: w.desired().get("ack") == ["b1", 3], 20, lambda: f"the third report is acknowledged: {w.messages}")
    refused(server, 404, "GET", "/devices/self-2")
    assert server.request("GET", "/device/v1/self-1/desired", headers=as_device).status_code == 200


def test_presence_is_seen(server, wire):
    server.post("/devices", {"id": "p-1", "hardware": "h"})
    w = wire("p-1")
    w.send("status", {"online": True, "boot": "b1"}, retain=True)
    wait_for(lambda: server.get("/devices/p-1")["online"], 20, "the device is online")
    assert server.get("/devices", filter="online==true;lastSeen=gt=now-1m", total="true")["total"] == 1
    server.restart()
    wait_for(lambda: server.get("/devices/p-1")["online"], 20, "its retained status is heard again")
    w.send("status", {"online": False}, retain=True)
    wait_for(lambda: not server.get("/devices/p-1")["online"], 20, "the device is offline")
    assert server.get("/devices/p-1")["last_seen_at"] > 0


def test_a_changed_twin_is_told_and_a_deleted_device_is_erased(server, broker, wire):
    server.post("/devices", {"id": "t-1", "hardware": "h"})
    secret = server.post("/devices/t-1/credential")["secret"]
    w = wire("t-1")
    server.call("PUT", "/devices/t-1/desired", {"rate": 5}, headers={"If-Match": "*"})
    wait_for(lambda: w.desired().get("rev") == 1, 20, "the device is told")
    document = server.request("GET", w.desired()["url"], headers={"Authorization": f"Bearer t-1:{secret}"})
    assert document.json()["config"] == {"rate": 5} and document.json()["rev"] == 1
    assert document.headers["ETag"] == '"%s"' % w.desired()["etag"]
    wait_for(lambda: server.get("/devices/t-1")["sent_rev"] == 1, 20, "the broker has it")
    w.send("status", {"online": True, "boot": "b1"}, retain=True)
    late = wire("t-1")  # a second connection under another name sees what is retained
    wait_for(lambda: late.desired().get("rev") == 1 and late.messages[0][2], 20, "the message is retained")
    server.call("DELETE", "/devices/t-1")
    wait_for(lambda: late.messages[-1][1] == b"", 20, lambda: f"the retained message is erased: {late.messages}")


def test_deleting_a_device_in_a_rollout(server):
    for i in range(4):
        server.post("/devices", {"id": f"r-{i}", "hardware": "esp32"})
    server.add_model("fw", "firmware")
    server.add_version("fw", "1.0.0", {"*": b"these devices said nothing of what they can run"})
    server.add_release("kws-1", {"fw": "1.0.0"})
    rollout = server.rollout(name="first", release="kws-1", start=True, stages=[{"percent": 100}], gates=[], judge={"controls": False})
    wait_for(lambda: server.get("/devices/r-0").get("deployment"), 30, lambda: "it is offered\n" + json.dumps(server.get(f"/rollouts/{rollout['id']}")))
    problem = refused(server, 409, "DELETE", "/devices/r-0")
    assert str(rollout["id"]) in problem["detail"] and "force" in problem["detail"]
    done = server.call("DELETE", "/devices/r-0?force=true")
    assert done["rollout"] == rollout["id"] and "cancelled" in done["did"]
    refused(server, 404, "GET", "/devices/r-0")
    assert len(server.items(f"/rollouts/{rollout['id']}/deployments")) == 3
    server.restart()
    assert server.get(f"/rollouts/{rollout['id']}")["status"] == "running"
