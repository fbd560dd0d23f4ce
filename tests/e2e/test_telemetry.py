"""Telemetry over MQTT, into the log, out by queries; alerts; and that nothing is lost that the broker believes delivered."""
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time

import paho.mqtt.client as mqtt
import pytest

import test_rollout
from harness.process import wait_for

# The daemon with SIGXFSZ ignored, so that a file size limit is an error of write(), as a full disk is.
FULL_DISK_WRAPPER = [sys.executable, "-c", "import os, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); os.execv(sys.argv[1], sys.argv[1:])"]


class Publisher:
    """One MQTT client that speaks for many devices and knows which messages the broker has taken."""

    def __init__(self, port):
        self.client = mqtt.Client(client_id=f"test-{random.getrandbits(32):x}", clean_session=True)
        self.client.max_inflight_messages_set(1000)
        self.client.max_queued_messages_set(0)
        self.acknowledged = 0
        self.lock = threading.Lock()
        self.client.on_publish = self._on_publish
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()

    def _on_publish(self, client, userdata, mid):
        with self.lock:
            self.acknowledged += 1

    def send(self, device, topic, payload, retain=False):
        text = payload if isinstance(payload, (str, bytes)) else json.dumps(payload)
        return self.client.publish(f"aviary/v1/{device}/{topic}", text, qos=1, retain=retain)

    def telemetry(self, device, seq, metrics, boot="b1", **more):
        return self.send(device, "telemetry", {"boot": boot, "seq": seq, "metrics": metrics, **more})

    def wait_acknowledged(self, count, timeout=60):
        wait_for(lambda: self.acknowledged >= count, timeout, lambda: f"{count} taken by the broker, {self.acknowledged} are")

    def stop(self):
        self.client.disconnect()
        self.client.loop_stop()


@pytest.fixture
def publisher(broker):
    p = Publisher(broker.port)
    yield p
    p.stop()


def add_devices(server, count):
    lines = "\n".join(json.dumps({"id": f"dev-{i}", "hardware": "esp32s3", "attributes": {"region": "eu" if i % 2 else "us"}}) for i in range(count))
    server.call("POST", "/devices:bulk", data=lines, headers={"Content-Type": "application/x-ndjson"}, timeout=60)


def stored(server, metric="x", **params):
    """How many reports with the metric are in the log."""
    now = int(time.time() * 1000)
    rows = server.get("/telemetry", metric=metric, aggregate="reports", **{"from": now - 3600_000, "to": now + 60_000, **params})["items"]
    return sum(r["reports"] for r in rows)


def refusals(server):
    return {k.split('"')[1]: v for k, v in server.metrics().items() if k.startswith("aviary_ingest_refused_total")}


def test_reports_come_back(server, publisher):
    add_devices(server, 4)
    for device in range(4):
        for seq in range(1, 11):
            publisher.telemetry(f"dev-{device}", seq, {"accuracy": {"n": 50, "k": 40 + device}, "latency_ms": {"sketch": {"57": 3, "75": 1}},
                                                       "battery": 0.5, "energy_mj": {"n": 50, "sum": 100}, "classes": {"hist": [1, 2, 3]}},
                                model="kws", version="1.0.0" if device < 2 else "1.1.0")
    wait_for(lambda: stored(server, "battery") == 40, 10, "40 reports in the log")

    span = {"from": int(time.time() * 1000) - 60_000}
    row = server.get("/telemetry", metric="accuracy", aggregate="count,sum,mean,min,max,p50", **span)["items"][0]
    assert row["count"] == 2000 and row["sum"] == 10 * (40 + 41 + 42 + 43)
    assert row["mean"] == pytest.approx(0.83) and row["min"] == 0.8 and row["max"] == 0.86 and row["p50"] is None
    row = server.get("/telemetry", metric="latency_ms", aggregate="p50,p95,count", device="dev-1", **span)["items"][0]
    gamma = 1.02 / 0.98
    assert row["count"] == 40
    assert row["p50"] == pytest.approx(2 * gamma ** 57 / (1 + gamma)) and row["p95"] == pytest.approx(2 * gamma ** 75 / (1 + gamma))

    by_version = server.get("/telemetry", metric="accuracy", aggregate="mean,reports", by="version", **span)["items"]
    assert [(r["version"], r["reports"]) for r in by_version] == [("1.0.0", 20), ("1.1.0", 20)]
    assert stored(server, "battery", filter="attribute.region==eu") == 20
    assert stored(server, "battery", filter="attribute.region==mars") == 0
    assert stored(server, "battery", model="kws", version="1.1.0") == 20

    points = server.get("/telemetry", metric="classes", device="dev-3", raw="true", limit=3)["items"]
    assert [p["seq"] for p in points] == [10, 9, 8] and points[0]["value"] == {"hist": [1, 2, 3]} and points[0]["kind"] == "hist"
    names = {m["name"]: m for m in server.get("/telemetry/metrics")["items"]}
    assert set(names) == {"accuracy", "latency_ms", "battery", "energy_mj", "classes"} and names["latency_ms"]["kind"] == "sketch"
    assert server.get("/devices/dev-2")["last_seen_at"] > span["from"]


def test_questions_that_make_no_sense(server):
    for params in ({}, {"metric": "1 x"}, {"metric": "x", "from": 5, "to": 5}, {"metric": "x", "aggregate": "median"}, {"metric": "x", "by": "device"},
                   {"metric": "x", "raw": "true"}, {"metric": "x", "step_ms": 1, "from": 0, "to": 10**12}, {"metric": "x", "step_ms": -1},
                   {"metric": "x", "filter": "a=="}, {"metric": "x", "colour": "red"}):
        assert server.request("GET", "/telemetry", params=params).status_code in (400, 422), params
    assert server.request("GET", "/telemetry", params={"metric": "x", "device": "nobody"}).status_code == 404


def test_cohorts_of_a_rollout(server, make_sim):
    test_rollout.prepare(server)
    test_rollout.start_fleet(server, make_sim, devices=60, seed=2)
    test_rollout.wait_baseline(server, 60)
    begin = int(time.time() * 1000)
    rollout = server.rollout(**test_rollout.spec("1.1.0", stages=[{"percent": 20}, {"percent": 100}], soak_ms=20000))["id"]
    wait_for(lambda: server.get(f"/rollouts/{rollout}")["status"] == "running", 20, "it runs")
    wait_for(lambda: server.running().get("kws-1.1.0"), 20, "a canary runs the new version")
    time.sleep(1)
    roles = test_rollout.role_of(server, rollout)

    def asked(**params):
        rows = server.get("/telemetry", metric="accuracy", aggregate="reports", by="version", **{"from": begin, "rollout": rollout, **params})["items"]
        return {r["version"]: r["reports"] for r in rows}

    assert "1.1.0" in asked(role="canary", stage=0) and set(asked(role="control", stage=0)) == {"1.0.0"}
    end = int(time.time() * 1000) - 500  # what is on its way to the disk now counts for neither
    by_hand = sum(stored(server, "accuracy", device=d, **{"from": begin, "to": end}) for d, role in roles.items() if role == "control")
    assert sum(asked(role="control", stage=0, to=end).values()) == by_hand > 0
    assert sum(asked(to=end).values()) >= sum(asked(role="canary", to=end).values()) > 0
    for params in ({"rollout": rollout, "role": "control"}, {"rollout": rollout, "role": "x"}, {"stage": 0}, {"rollout": rollout, "device": "dev-0"}):
        assert server.request("GET", "/telemetry", params={"metric": "accuracy", **params}).status_code == 400, params
    assert server.request("GET", "/telemetry", params={"metric": "accuracy", "rollout": 999}).status_code == 404


def test_bad_reports_harm_nobody(make_server, broker, publisher):
    server = make_server(config={"limits": {"reports_per_second": 1, "reports_burst": 50, "metrics": 4}})
    add_devices(server, 3)
    wait_for(lambda: server.metrics()["aviary_mqtt_connected"] == 1, 10, "both lines are connected")
    time.sleep(0.5)  # and subscribed: what comes before is nobody's
    good = {"boot": "b1", "seq": 1, "metrics": {"x": 1}}
    publisher.send("dev-0", "telemetry", [good, {"boot": "b1", "seq": -2, "metrics": {"x": 1}}, {"seq": 3}, {**good, "seq": 4}])
    publisher.send("dev-0", "telemetry", b"\xff\xfe{")
    publisher.send("dev-0", "telemetry", "{" * 1000)
    publisher.send("dev-0", "telemetry", b"")
    publisher.send("dev-0", "telemetry", "[" + "1," * 40000 + "1]")
    publisher.send("nobody", "telemetry", good)
    publisher.send("dev-0", "telemetry", good)  # a duplicate
    publisher.send("dev-0", "telemetry", {**good, "seq": 5, "ts": 12345})  # 1970
    publisher.send("dev-0", "report", "{}")
    publisher.send("dev-0", "report", {"boot": "b", "seq": 1, "enrol": {"token": "wrong", "secret_sha256": "0" * 64, "hardware": "esp32s3"}})
    publisher.send("new-1", "report", {"boot": "b", "seq": 1, "enrol": {"token": "wrong", "secret_sha256": "0" * 64, "hardware": "esp32s3"}})
    publisher.send("dev-0", "status", "online")
    publisher.send("dev-1", "telemetry", {"boot": "b1", "seq": 1, "metrics": {f"m{i}": 1 for i in range(10)}})  # more names than there is room
    for seq in range(1, 101):
        publisher.telemetry("dev-2", seq, {"x": 2})
    wait_for(lambda: stored(server, device="dev-2") >= 50 and refusals(server)["flood"] > 0, 10, "the flood")
    assert stored(server, device="dev-0") == 3
    assert 50 <= stored(server, device="dev-2") <= 60
    wait_for(lambda: refusals(server)["malformed"] >= 6, 5, lambda: str(refusals(server)))
    counts = refusals(server)
    assert counts["unknown_device"] == 1 and counts["duplicate"] == 1 and counts["names"] == 1 and counts["too_large"] == 1
    assert counts["enrolment"] == 2 and counts["flood"] >= 40
    assert server.metrics()["aviary_ingest_clock_wrong_total"] == 1
    assert len(server.get("/telemetry/metrics")["items"]) == 4
    assert "ingest.refused" in server.process.log()
    assert server.request("GET", "/devices/new-1").status_code == 404


def test_one_device_with_a_thousand_metrics(make_server, broker, publisher):
    server = make_server(config={"limits": {"metrics": 200}})
    add_devices(server, 4)
    for seq in range(1, 4):  # at once: refused as a whole, and somebody is told
        publisher.send("dev-0", "telemetry", {"boot": "b", "seq": seq, "metrics": {f"x{i}": 1 for i in range(1000)}})
    publisher.send("dev-0", "telemetry", {"boot": "b", "seq": 4, "metrics": {f"x{i}": 1 for i in range(40)}})
    for n in range(100):  # one after the other: the names that one device may bring, and no more
        publisher.telemetry("dev-1", n + 1, {f"y{10 * n + i}": 1 for i in range(10)})
    for n in range(4):
        publisher.telemetry("dev-2", n + 1, {f"z{30 * n + i}": 1 for i in range(16)})
    wait_for(lambda: stored(server, "z105", device="dev-2") == 1, 10, "reports of others")
    names = [m["name"] for m in server.get("/telemetry/metrics")["items"]]
    assert sum(n[0] == "y" for n in names) == 64 and sum(n[0] == "z" for n in names) == 64 and len(names) == 128
    counts = refusals(server)
    assert counts["too_large"] == 3 and counts["malformed"] == 1 and counts["new_names"] == 94 and counts["names"] == 0
    assert server.metrics()['aviary_telemetry_malformed_total{reason="too_many_metrics"}'] == 1
    fired = wait_for(lambda: [a for a in server.get("/alerts", kind="device.refused", status="firing")["items"] if a["resource"] == "devices/dev-1"], 10, "the alert")
    assert "[limits] new_names" in fired[0]["summary"] and fired[0]["data"]["reason"] == "new_names"
    fired = wait_for(lambda: [a for a in server.get("/alerts", kind="device.refused", status="firing")["items"] if a["resource"] == "devices/dev-0"], 10, "the alert")
    assert fired[0]["data"]["reason"] in ("too_large", "malformed") and fired[0]["data"]["refused"] >= 3
    assert len(server.get("/alerts", kind="device.refused")["items"]) == 2
    assert any("reason=too_large" in line and "dev-0" in line for line in server.process.log().splitlines())


def test_counters_that_run_backwards(server, publisher):
    add_devices(server, 2)
    for seq in range(1, 21):
        publisher.telemetry("dev-0", 1000 + seq, {"errors": 2, "reboot": 0, "temperature_c": 30})
    for seq in range(21, 31):
        publisher.telemetry("dev-0", 1000 + seq, {"errors": -70000, "reboot": -1, "oom": -5, "temperature_c": 30})
    for seq in range(10):  # far below what came before in this boot
        publisher.telemetry("dev-0", 100 - seq, {"temperature_c": 31})
    publisher.telemetry("dev-0", 1031, {"temperature_c": 32})
    wait_for(lambda: stored(server, "temperature_c", device="dev-0") == 31, 10, "reports")
    wait_for(lambda: server.metrics().get('aviary_detect_refused_total{reason="value"}') == 30, 10, lambda: str(server.metrics()))
    device = server.get("/detect/devices/dev-0")
    assert device["refused"]["values"] == 30
    assert refusals(server)["outdated"] == 10 and refusals(server)["duplicate"] == 0
    assert server.get("/alerts")["items"] == []


def test_report_and_status(server, publisher):
    token = server.enrolment_token()
    told = []
    publisher.client.on_message = lambda c, u, m: told.append(json.loads(m.payload) if m.payload else None)
    publisher.client.subscribe("aviary/v1/new-1/desired", qos=1)
    enrol = {"token": token, "secret_sha256": "ab" * 32, "name": "Door", "hardware": "esp32s3", "attributes": {"region": "eu"}, "tags": ["beta"]}
    report = {"boot": "b9", "seq": 1, "enrol": enrol, "running": {"release": "r1", "counter": 3, "models": {"kws": "1.0.0"}},
              "capabilities": {"runtime": "tflm"}}
    publisher.send("new-1", "report", report)
    wait_for(lambda: told and told[-1].get("ack") == ["b9", 1], 10, "the acknowledgement in /desired")
    device = server.get("/devices/new-1")
    assert device["running"]["release"] == "r1" and device["attributes"] == {"region": "eu"} and device["capabilities"] == {"runtime": "tflm"}
    before = len(told)
    publisher.send("new-1", "report", report)  # again: acknowledged, and nothing else
    wait_for(lambda: len(told) > before, 10, "the second acknowledgement")
    assert server.get("/devices/new-1")["revision"] == device["revision"]
    publisher.send("new-1", "status", {"online": True, "boot": "b9"}, retain=True)
    wait_for(lambda: server.get("/devices/new-1")["online"], 10, "online")
    publisher.send("new-1", "status", {"online": False}, retain=True)
    wait_for(lambda: not server.get("/devices/new-1")["online"], 10, "offline")


def test_kill_loses_nothing_that_was_acknowledged(make_server, broker, publisher):
    server = make_server(config={"limits": {"reports_per_second": 0, "batch_window": "5ms"}, "storage": {"checkpoint": "1s"}})
    devices, total, kills = 50, 12000, 8
    add_devices(server, devices)
    # The daemon's session has to exist at the broker before messages count.
    wait_for(lambda: server.metrics().get("aviary_mqtt_connected") == 1, 10, "connected")
    time.sleep(0.3)
    stop = threading.Event()

    def load():
        for i in range(total):
            publisher.telemetry(f"dev-{i % devices}", i // devices + 1, {"x": i})
            if i % 40 == 0:
                time.sleep(0.02)
            if stop.is_set():
                return

    thread = threading.Thread(target=load)
    thread.start()
    rng = random.Random(1)
    try:
        for _ in range(kills):
            time.sleep(rng.uniform(0.2, 0.8))
            server.kill9()
            server.start()
    finally:
        if sys.exc_info()[0]:
            stop.set()
        thread.join()
    publisher.wait_acknowledged(total)
    wait_for(lambda: stored(server) >= total, 30, lambda: f"{total} reports, {stored(server)} are stored; {refusals(server)}", interval=0.5)
    assert stored(server) == total  # and none twice
    for device in random.Random(2).sample(range(devices), 5):
        points = server.get("/telemetry", metric="x", device=f"dev-{device}", raw="true", limit=1000)["items"]
        assert sorted(p["seq"] for p in points) == list(range(1, total // devices + 1))
    print(f"{total} reports, {kills} kills, 0 lost, 0 doubled, {refusals(server)['duplicate']:.0f} redelivered in the last life")


def test_broker_that_goes_away(make_server, broker, publisher):
    server = make_server(config={"mqtt": {"backoff": "1s"}})
    add_devices(server, 1)
    publisher.telemetry("dev-0", 1, {"x": 1})
    wait_for(lambda: stored(server) == 1, 10, "the first report")
    broker.stop()
    wait_for(lambda: server.metrics()["aviary_mqtt_connected"] == 0, 10, "disconnected")
    assert server.get("/devices/dev-0")["id"] == "dev-0"
    broker.start()
    wait_for(lambda: server.metrics()["aviary_mqtt_connected"] == 1, 20, "connected again")
    wait_for(publisher.client.is_connected, 20, "the publisher, too")
    publisher.telemetry("dev-0", 2, {"x": 1})
    wait_for(lambda: stored(server) == 2, 10, "the second report")


def limit_files(server, size):
    subprocess.run(["prlimit", "--pid", str(server.process.pid), f"--fsize={size}:unlimited"], check=True)


def test_full_disk(make_server, publisher):
    server = make_server(wrapper=FULL_DISK_WRAPPER)
    add_devices(server, 1)
    publisher.telemetry("dev-0", 1, {"x": 1})
    wait_for(lambda: stored(server) == 1, 10, "the first report")
    limit_files(server, 1)
    for seq in range(2, 100):
        publisher.telemetry("dev-0", seq, {"x": 1})
    wait_for(lambda: server.metrics()["aviary_telemetry_write_failures_total"] > 0, 10, "a failure")
    assert server.request("POST", "/devices", {"id": "dev-9", "hardware": "esp32s3"}).status_code == 503
    assert stored(server) == 1 and server.get("/devices/dev-0")["id"] == "dev-0"  # reads go on
    limit_files(server, "unlimited")
    wait_for(lambda: stored(server) == 99, 20, lambda: f"all 99 reports, {stored(server)} are there\n" + server.process.tail(10))
    wait_for(lambda: server.request("POST", "/devices", {"id": "dev-9", "hardware": "esp32s3"}).status_code == 201, 10, "writes again")
    server.kill9()
    server.start()
    assert stored(server) == 99


def firing(server, **params):
    return server.items("/alerts", status="firing", **params)


def test_threshold_rule(server, publisher):
    add_devices(server, 3)
    made = server.request("POST", "/alert-rules", {"name": "hot", "metric": "temperature_c", "threshold": 60, "for_ms": 300,
                                                   "filter": "attribute.region==eu", "severity": "critical"})
    assert made.status_code == 201, made.text
    rule = made.json()
    assert rule["operator"] == "gt" and made.headers["ETag"] == '"1"'
    time.sleep(1.2)  # rules are read within a second
    seq = 0

    def heat(value):
        nonlocal seq
        seq += 1
        for device in ("dev-0", "dev-1"):
            publisher.telemetry(device, seq, {"temperature_c": value})

    heat(70)
    time.sleep(0.1)
    assert firing(server) == []
    time.sleep(0.4)
    heat(71)
    alert, = wait_for(lambda: [a for a in firing(server) if a["data"]["value"] == 71], 5, "the alert")
    assert alert["kind"] == "metric.threshold" and alert["resource"] == "devices/dev-1" and alert["severity"] == "critical"
    assert alert["data"]["value"] == 71 and alert["rule"] == rule["id"]
    acknowledged = server.post(f"/alerts/{alert['id']}/acknowledge")
    assert acknowledged["acknowledged_by"] and acknowledged["acknowledged_at"]
    server.kill9()
    server.start()
    assert [a["id"] for a in firing(server)] == [alert["id"]]
    heat(20)
    wait_for(lambda: not firing(server), 5, "its end")
    assert server.get(f"/alerts/{alert['id']}")["status"] == "resolved"
    events = [e for e in server.request("GET", "/alerts", params={"resource": "devices/dev-1"}).json()["items"]]
    assert len(events) == 1

    assert server.request("PATCH", f"/alert-rules/{rule['id']}", {"threshold": 10}).status_code == 428
    changed = server.request("PATCH", f"/alert-rules/{rule['id']}", {"threshold": 10, "for_ms": 0}, headers={"If-Match": '"1"'})
    assert changed.status_code == 200 and changed.json()["threshold"] == 10 and changed.json()["name"] == "hot"
    assert server.request("PATCH", f"/alert-rules/{rule['id']}", {"threshold": 9}, headers={"If-Match": '"1"'}).status_code == 412
    time.sleep(1.2)
    heat(20)
    wait_for(lambda: firing(server), 5, "the alert of the new form")
    assert server.request("DELETE", f"/alert-rules/{rule['id']}").status_code == 204
    assert server.get("/alert-rules")["items"] == []
    wait_for(lambda: not firing(server), 5, "the end of its alerts, in pieces")


def test_rules_that_make_no_sense(server):
    good = {"name": "a", "metric": "x", "threshold": 1}
    for change, pointer in (({"metric": "1x"}, "/metric"), ({"operator": "eq"}, "/operator"), ({"filter": "a=="}, "/filter"), ({"for_ms": -1}, "/for_ms"),
                            ({"severity": "bad"}, "/severity"), ({"threshold": "1"}, "/threshold"), ({"id": 5}, "/id"), ({"name": ""}, "/name")):
        response = server.request("POST", "/alert-rules", {**good, **change})
        assert response.status_code == 422 and response.json()["pointer"] == pointer, response.text
    assert server.request("POST", "/alert-rules", good).status_code == 201
    assert server.request("POST", "/alert-rules", good).status_code == 409
    assert server.request("GET", "/alerts", params={"status": "open"}).status_code == 400
    assert server.request("GET", "/alerts/99").status_code == 404
    assert server.request("POST", "/alerts/99/acknowledge", {}).status_code == 404


def test_silent_device(server, publisher):
    add_devices(server, 2)
    for seq in range(1, 12):
        for device in ("dev-0", "dev-1"):
            publisher.telemetry(device, seq, {"x": 1})
        time.sleep(0.2)
    seq = 12
    end = time.monotonic() + 12
    while time.monotonic() < end and not firing(server):  # dev-1 goes on, dev-0 does not
        publisher.telemetry("dev-1", seq, {"x": 1})
        seq += 1
        time.sleep(0.2)
    alert, = firing(server)
    assert alert["kind"] == "device.silent" and alert["resource"] == "devices/dev-0"
    publisher.telemetry("dev-0", 12, {"x": 1})
    wait_for(lambda: not firing(server, kind="device.silent", resource="devices/dev-0"), 10, "it is heard again")
