"""What goes wrong in the world: brokers that die, devices that flood or lie, disks that fill, requests that are garbage."""
import contextlib
import json
import os
import random
import re
import signal
import sqlite3
import subprocess
import threading
import time

import paho.mqtt.client as mqtt
import pytest
import requests

from harness import tiny_model
from harness.process import wait_for
from harness.telemetry_log import stored_reports


class Publisher:
    """Speaks for devices, and counts the messages whose PUBACK came."""

    def __init__(self, port, name):
        self.client = mqtt.Client(client_id=name, clean_session=True)
        self.client.max_inflight_messages_set(500)
        self.client.max_queued_messages_set(0)
        self.sent, self.taken, self.lock = 0, [], threading.Lock()
        self.client.on_publish = self.on_publish
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()

    def on_publish(self, client, userdata, mid):
        self.taken.append(mid)

    def send(self, device, topic, payload):
        text = payload if isinstance(payload, (str, bytes)) else json.dumps(payload)
        self.client.publish(f"aviary/v1/{device}/{topic}", text, qos=1)
        with self.lock:
            self.sent += 1

    def report(self, device, seq, boot="b1", **metrics):
        self.send(device, "telemetry", {"boot": boot, "seq": seq, "metrics": metrics or {"x": 1}})

    def wait_taken(self, timeout=30):
        wait_for(lambda: len(self.taken) >= self.sent, timeout, lambda: f"the broker takes everything; {self.sent - len(self.taken)} wait")

    def stop(self):
        self.client.disconnect()
        self.client.loop_stop()


@pytest.fixture
def make_publisher(broker):
    publishers = []

    def make():
        publishers.append(Publisher(broker.port, f"test-{os.getpid()}-{len(publishers)}"))
        return publishers[-1]
    yield make
    for publisher in publishers:
        publisher.stop()


def add_devices(server, *names):
    lines = "\n".join(json.dumps({"id": name, "hardware": "esp32s3"}) for name in names)
    server.call("POST", "/devices:bulk", data=lines, headers={"Content-Type": "application/x-ndjson"})


def wait_connected(server):
    wait_for(lambda: server.metrics()["aviary_mqtt_connected"] == 1, 30, "connected to the broker")
    time.sleep(0.2)  # and subscribed


def refusals(server):
    return {name.split('"')[1]: int(n) for name, n in server.metrics().items() if name.startswith("aviary_ingest_refused_total")}


def prepare_rollout(server, make_sim, devices, **options):
    server.add_model("kws")
    for version in ("1.0.0", "1.1.0"):
        server.add_version("kws", version, {"*": tiny_model(version, payload=2000)})
        server.add_release(f"kws-{version}", {"kws": version})
    sim = make_sim(server, devices, enrol=server.enrolment_token(), factory_release="kws-1.0.0", factory_model="kws=1.0.0", factory_counter=1,
                   interval="250ms", report_retry="1s", self_test="100ms", regions="eu,us", quiet=True, **options)
    sim.wait_connected(devices)
    wait_for(lambda: server.running() == {"kws-1.0.0": devices}, 30, lambda: f"all enrolled: {server.running()}")
    return sim


def start_rollout(server, **more):
    return server.rollout(**{"name": "kws", "release": "kws-1.1.0", "filter": "attribute.region=in=(eu,us)", "start": True, "stages": [{"percent": 20}, {"percent": 100}],
                             "soak_ms": 1000, "timeout_ms": 5000, "retries": 10, "success": {"percent": 95}, **more})["id"]


# ---- the broker ----

@pytest.mark.parametrize("forgets", [False, True], ids=["keeps its state", "forgets everything"])
def test_broker_dies_in_a_rollout(make_server, make_sim, broker, forgets):
    """A broker that comes back, with or without what it kept for us: the daemon answers all the time, and the rollout goes on to its end."""
    server = make_server(config={"mqtt": {"backoff": "1s"}})
    sim = prepare_rollout(server, make_sim, 40)
    rollout = start_rollout(server)
    wait_for(lambda: server.get(f"/rollouts/{rollout}")["status"] == "running", 10, "it runs")
    if forgets:
        broker.process.kill9()
        (broker.folder / "mosquitto.db").unlink(missing_ok=True)
    else:
        broker.stop()
    wait_for(lambda: server.metrics()["aviary_mqtt_connected"] == 0, 10, "the daemon notices")
    slowest, end = 0.0, time.monotonic() + 2
    while time.monotonic() < end:
        begin = time.monotonic()
        server.get(f"/rollouts/{rollout}")
        server.post("/devices", {"id": f"meanwhile-{begin}", "hardware": "pi"})
        slowest = max(slowest, time.monotonic() - begin)
    assert slowest < 1.5
    broker.start()
    wait_connected(server)
    sim.wait_connected(40, 30)
    state = server.wait_rollout(rollout, ("finished", "reverted", "paused"), 90)
    assert state["status"] == "finished", state["reason"]
    before = server.metrics()["aviary_ingest_reports_total"]
    wait_for(lambda: server.metrics()["aviary_ingest_reports_total"] > before + 40, 10, "telemetry flows again")


# ---- devices that flood or lie ----

def test_a_flood_harms_only_its_sender(make_server, make_publisher, tell):
    server = make_server(config={"limits": {"reports_per_second": 10, "reports_burst": 100}})
    good = [f"good-{i}" for i in range(20)]
    add_devices(server, "mad", *good)
    wait_connected(server)
    mad, calm = make_publisher(), make_publisher()
    flood, begin = 20000, time.monotonic()
    flooding = threading.Thread(target=lambda: [mad.report("mad", seq) for seq in range(1, flood + 1)])
    flooding.start()
    slowest = 0.0
    for seq in range(1, 41):
        for device in good:
            calm.report(device, seq)
        at = time.monotonic()
        server.get("/devices/mad")
        slowest = max(slowest, time.monotonic() - at)
        time.sleep(0.1)
    flooding.join()
    calm.wait_taken()
    mad.wait_taken(60)
    wait_for(lambda: server.metrics()["aviary_ingest_messages_total"] >= flood + 800, 60, lambda: f"all are read; {server.metrics()}", 0.2)
    seconds = time.monotonic() - begin
    refused = refusals(server)
    server.stop()
    stored = stored_reports(server.state)
    of_mad = sum(1 for device, _, _ in stored if device == "mad")
    tell(f"{flood} reports of one device: {of_mad} stored, {refused['flood']} refused; a GET took at most {1000 * slowest:.0f} ms meanwhile")
    assert {r for r in stored if r[0] != "mad"} == {(device, "b1", seq) for device in good for seq in range(1, 41)}
    assert 100 <= of_mad <= 100 + 10 * seconds + 1
    assert refused["flood"] == flood - of_mad
    assert slowest < 1.5


HIST = {"hist": [1] * 257}
GOOD = {"boot": "b1", "seq": 1, "metrics": {"x": 1}}
SKETCH = {"sketch": {str(k): 1 for k in range(335)}}


def metrics(**values):
    return {**GOOD, "metrics": values}


# (topic, payload, {reason: how often it is counted})
LIES = [
    ("telemetry", b"", {"malformed": 1}),
    ("telemetry", b"\xff\xfe\x00", {"malformed": 1}),
    ("telemetry", b'{"boot":"b1","seq":1,"metrics":{"x":1}', {"malformed": 1}),
    ("telemetry", b'{"boot":"b1","seq":1,"metrics":{"x":1}} {}', {"malformed": 1}),
    ("telemetry", b'{"boot":"\xc3\x28","seq":1,"metrics":{"x":1}}', {"malformed": 1}),
    ("telemetry", b'{"boot":"b1","seq":1,"metrics":{"x":NaN}}', {"malformed": 1}),
    ("telemetry", b'{"boot":"b1","seq":1,"metrics":{"x":1e999}}', {"malformed": 1}),
    ("telemetry", b'{"boot":"b1","seq":1,"metrics":{"x":1e13}}', {"malformed": 1}),
    ("telemetry", b'{"boot":"b1","seq":99999999999999999999,"metrics":{"x":1}}', {"malformed": 1}),
    ("telemetry", b"[" * 30000, {"malformed": 1}),
    ("telemetry", "null", {"malformed": 1}),
    ("telemetry", {"boot": "b1", "seq": 1}, {"malformed": 1}),
    ("telemetry", {"boot": "b/1", "seq": 1, "metrics": {"x": 1}}, {"malformed": 1}),
    ("telemetry", {"boot": "b" * 33, "seq": 1, "metrics": {"x": 1}}, {"malformed": 1}),
    ("telemetry", {"boot": "b1", "seq": 0, "metrics": {"x": 1}}, {"malformed": 1}),
    ("telemetry", {"boot": "b1", "seq": "1", "metrics": {"x": 1}}, {"malformed": 1}),
    ("telemetry", {**GOOD, "model": "kws"}, {"malformed": 1}),
    ("telemetry", {**GOOD, "model": "../x", "version": "1"}, {"malformed": 1}),
    ("telemetry", metrics(x="1"), {"malformed": 1}),
    ("telemetry", metrics(**{"1x": 1}), {"malformed": 1}),
    ("telemetry", metrics(**{f"m{i}": 1 for i in range(33)}), {"malformed": 1}),
    ("telemetry", metrics(x={"n": 5, "k": 6}), {"malformed": 1}),
    ("telemetry", metrics(x={"n": 0, "k": 0}), {"malformed": 1}),
    ("telemetry", metrics(x={"n": 1.5, "sum": 1}), {"malformed": 1}),
    ("telemetry", metrics(x={"sketch": {"1025": 1}}), {"malformed": 1}),
    ("telemetry", metrics(x={"sketch": {"one": 1}}), {"malformed": 1}),
    ("telemetry", metrics(x=SKETCH), {"malformed": 1}),
    ("telemetry", metrics(x=HIST), {"malformed": 1}),
    ("telemetry", metrics(x={"hist": []}), {"malformed": 1}),
    ("telemetry", metrics(x={"hist": [-1]}), {"malformed": 1}),
    ("telemetry", [{**GOOD, "boot": "b3", "seq": n} for n in range(1, 66)], {"malformed": 1}),  # 64 are taken
    ("telemetry", [metrics(x="bad"), metrics(y="bad"), {}], {"malformed": 3}),
    ("telemetry", b" " * 65537, {"too_large": 1}),
    ("telemetry", {**GOOD, "ignored": "x" * 8200}, {"too_large": 1}),
    ("report", b"{", {"malformed": 1}),
    ("report", {}, {"malformed": 1}),
    ("report", {"boot": "b", "seq": 1, "running": 7}, {"malformed": 1}),
    ("report", {"boot": "b", "seq": 1, "running": {"release": "../../x"}}, {"malformed": 1}),
    ("report", {"boot": "b", "seq": 1, "deployment": {"id": "d-1", "attempt": 1, "state": "levitating"}}, {"malformed": 1}),
    ("report", b'{"boot":"b","seq":1,"deployment":{"id":"d-1","attempt":1,"state":"failed","reason":"\xff"}}', {"malformed": 1}),
    ("report", b" " * 8193, {"too_large": 1}),
    ("report", {"boot": "b", "seq": 1, "enrol": {"token": "none", "secret_sha256": "00" * 32, "hardware": "x"}}, {"enrolment": 1}),
    ("status", b"online", {"malformed": 1}),
    ("status", {"online": "yes"}, {"malformed": 1}),
    ("status", b" " * 513, {"too_large": 1}),
]


def test_each_lie_is_counted_by_its_reason_and_nothing_else_is_lost(server, make_publisher):
    add_devices(server, "dev-1", "dev-2")
    wait_connected(server)
    liar, honest = make_publisher(), make_publisher()
    wanted, seq = dict.fromkeys(refusals(server), 0), 0
    for topic, payload, counts in LIES:
        liar.send("dev-1", topic, payload)
        for reason, n in counts.items():
            wanted[reason] += n
        seq += 1
        honest.report("dev-2", seq)
        honest.send("dev-1", "telemetry", [{"boot": "b2", "seq": seq, "metrics": {"x": 1}}, {"seq": "bad"}])  # a good one in bad company
        wanted["malformed"] += 1
        if topic != "telemetry":
            time.sleep(0.05)
        try:
            wait_for(lambda: refusals(server) == wanted, 5, "counted")
        except TimeoutError:
            got = {k: (n, wanted[k]) for k, n in refusals(server).items() if n != wanted[k]}
            pytest.fail(f"{topic} {str(payload)[:200]}: wanted {counts}; counted, wanted: {got}")
    for topic, payload in (("telemetry", GOOD), ("report", {"boot": "b", "seq": 1}), ("status", {"online": True})):
        liar.send("nobody", topic, payload)
    wait_for(lambda: refusals(server)["unknown_device"] == 3, 5, lambda: str(refusals(server)))
    for topic in ("aviary/v1/a b/telemetry", "aviary/v1/../telemetry", "aviary/v1/" + "x" * 65 + "/telemetry", "aviary/v1//telemetry"):
        liar.client.publish(topic, json.dumps(GOOD), qos=1)  # no device can have that name
    honest.report("dev-2", seq + 1)
    honest.wait_taken()
    wait_for(lambda: server.metrics()["aviary_telemetry_queued_reports"] == 0, 5, "written")
    assert server.get("/devices/dev-1")["id"] == "dev-1" and server.get("/devices", total="true")["total"] == 2
    server.stop()
    stored = set(stored_reports(server.state))
    assert {("dev-2", "b1", n) for n in range(1, seq + 2)} <= stored
    assert {("dev-1", "b2", n) for n in range(1, seq + 1)} <= stored
    assert {n for _, boot, n in stored if boot == "b3"} == set(range(1, 65))


def test_lies_about_numbers_are_counted_by_name(server, make_publisher):
    add_devices(server, "dev-1")
    wait_connected(server)
    liar = make_publisher()
    lies = [(b'{"boot":"b1","seq":1,"metrics":{"x":NaN}}', "syntax"), (metrics(x={"n": -1, "sum": 3}), "bad_count"),
            (metrics(x={"n": 5, "k": 6}), "k_above_n"), (metrics(x={"sketch": {"1025": 1}}), "bad_sketch_key")]
    for payload, _ in lies:
        liar.send("dev-1", "telemetry", payload)
    names = [f'aviary_telemetry_malformed_total{{reason="{reason}"}}' for _, reason in lies]
    wait_for(lambda: [server.metrics()[n] for n in names] == [1, 1, 1, 1], 5, lambda: str({n: server.metrics()[n] for n in names}))
    assert refusals(server)["malformed"] == 4 and server.metrics()["aviary_ingest_reports_total"] == 0


# ---- a full disk ----

@contextlib.contextmanager
def small_disk(folder, size):
    folder.mkdir()
    if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], capture_output=True).returncode != 0:
        pytest.skip("SKIP: may not mount a file system")
    # Its standard input ends with this process, whatever ends it: no test leaves a file system behind.
    keeper = subprocess.Popen(["sh", "-c", 'cat > /dev/null; umount -l "$0"', folder], stdin=subprocess.PIPE, start_new_session=True)
    try:
        yield folder
    finally:
        keeper.stdin.close()
        assert keeper.wait(10) == 0


def fill(path, leave):
    """Takes all but `leave` bytes of the disk."""
    with open(path, "wb", buffering=0) as ballast:
        for size in (1 << 20, 65536, 4096):
            with contextlib.suppress(OSError):
                while ballast.write(bytes(size)) == size:
                    pass
        ballast.truncate(max(0, ballast.tell() - leave))


def test_full_disk_under_load(tmp_path, make_server, make_publisher, tell):
    """REST writes, telemetry and a device's report meet a full disk. What was acknowledged is there at the end, and no one had to help."""
    with small_disk(tmp_path / "server", "48m") as disk:
        server = make_server("server", config={"storage": {"reserve": "1MiB"}})
        devices = [f"dev-{i}" for i in range(20)]
        add_devices(server, *devices)
        wait_connected(server)
        token, publisher = server.enrolment_token(), make_publisher()
        acknowledged, statuses, stop = [], {}, threading.Event()

        def write():
            session, n = requests.Session(), 0
            session.headers["Authorization"] = "Bearer " + server.token
            while not stop.is_set():
                n += 1
                response = session.post(server.url + "/api/v1/devices", json={"id": f"w-{n}", "hardware": "pi", "name": "n" * 100}, timeout=20)
                statuses[response.status_code] = statuses.get(response.status_code, 0) + 1
                if response.status_code == 201:
                    acknowledged.append(f"w-{n}")
                else:
                    assert response.headers["Content-Type"] == "application/problem+json" and response.json()["status"] == 503
                    time.sleep(0.01)
                time.sleep(0.001)

        def load(first):
            for seq in range(first, first + 100):
                for device in devices:
                    publisher.report(device, seq, **{f"metric_{i}": seq for i in range(8)})
                time.sleep(0.01)
        writing = threading.Thread(target=write)
        writing.start()
        load(1)
        fill(disk / "ballast", 300_000)
        load(101)
        publisher.send("late-1", "report", {"boot": "b1", "seq": 1, "enrol": {"token": token, "secret_sha256": "ab" * 32, "hardware": "pi"}})
        wait_for(lambda: 503 in statuses, 30, "writes are refused")
        wait_for(lambda: server.metrics()["aviary_telemetry_write_failures_total"] > 0, 30, "telemetry is not written")
        before = len(acknowledged)
        for _ in range(20):  # reads go on
            assert server.get("/devices/dev-1")["id"] == "dev-1"
            assert server.request("GET", "/devices", params={"limit": 100, "filter": "hardware==esp32s3"}).status_code == 200
        wait_for(lambda: server.request("GET", "/readyz").status_code == 503, 10, "it says that it is not ready", 0.005)
        assert server.process.is_running()
        refused = statuses[503]
        (disk / "ballast").unlink()
        wait_for(lambda: len(acknowledged) > before + 50, 30, "it recovers by itself")
        wait_for(lambda: server.request("GET", "/readyz").status_code == 200, 10, "and says so")
        wait_for(lambda: server.request("GET", "/devices/late-1").status_code == 200, 30, "the device's report came again")
        load(201)
        stop.set()
        writing.join()
        publisher.wait_taken()
        wanted = {(device, "b1", seq) for device in devices for seq in range(1, 301)}
        wait_for(lambda: wanted <= set(stored_reports(server.state)), 30, lambda: f"{len(wanted - set(stored_reports(server.state)))} reports are missing", 0.5)
        ids = {d["id"] for d in server.items("/devices", filter="hardware==pi")}
        assert set(acknowledged) <= ids
        server.kill9()
        server.start()
        assert {d["id"] for d in server.items("/devices", filter="hardware==pi")} == ids
        stored = stored_reports(server.state)
        assert len(stored) == len(set(stored)) and wanted <= set(stored)
        assert server.stop() == 0
        for name in ("fleet.db", "telemetry.db"):
            with sqlite3.connect(server.state / name) as db:
                assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        tell(f"full disk: {len(acknowledged)} writes acknowledged and there, {refused} refused with 503, {len(wanted)} reports kept")


# ---- start and stop ----

@pytest.mark.parametrize("name", ["fleet.db", "telemetry.db"])
def test_database_of_a_newer_schema(server, name):
    server.post("/devices", {"id": "dev-1", "hardware": "pi"})
    assert server.stop() == 0
    with sqlite3.connect(server.state / name) as db:
        version = db.execute("PRAGMA user_version").fetchone()[0]
        db.execute(f"PRAGMA user_version = {version + 1}")
    with pytest.raises(RuntimeError):
        server.start()
    assert server.process.child.returncode == 1
    told = server.process.tail(5)
    assert name in told and f"schema {version + 1}" in told and "newer version" in told
    with sqlite3.connect(server.state / name) as db:  # it was left as it is
        assert db.execute("PRAGMA user_version").fetchone() == (version + 1,)
        db.execute(f"PRAGMA user_version = {version}")
    server.start()
    assert server.get("/devices/dev-1")["id"] == "dev-1"


def test_a_second_daemon_is_refused_and_the_first_goes_on(server, build):
    second = subprocess.run([build / "aviaryd", "--config", server.write_config(), "--state-dir", server.state], capture_output=True, text=True, timeout=20)
    assert second.returncode == 1 and "in use" in second.stderr and str(server.state) in second.stderr
    server.post("/devices", {"id": "dev-1", "hardware": "pi"})
    server.kill9()
    server.start()  # a lock of the dead holds nobody back
    assert server.get("/devices/dev-1")["id"] == "dev-1"


def test_database_that_is_garbage_is_said(server):
    server.stop()
    for name in ("fleet.db-wal", "fleet.db-shm"):
        (server.state / name).unlink(missing_ok=True)
    (server.state / "fleet.db").write_bytes(b"this is not a database, and long enough to be read as one " * 100)
    with pytest.raises(RuntimeError):
        server.start()
    assert server.process.child.returncode == 1 and "fleet.db" in server.process.tail(3)


def test_sigterm_under_load(server, make_sim, tmp_path, tell):
    """Devices report, a rollout runs, an upload and a listener hang: it ends in time, with 0, and what it took is there."""
    acks = tmp_path / "acks.txt"
    sim = prepare_rollout(server, make_sim, 100, ack_log=acks)
    time.sleep(1.2)
    before = len(acks.read_text().splitlines())
    rollout = start_rollout(server, rate={"per_minute": 60})
    listener = server.session.get(server.url + "/api/v1/events", stream=True, timeout=30)
    upload = begin_upload(server)
    time.sleep(1)
    begin = time.monotonic()
    assert server.stop() == 0
    seconds = time.monotonic() - begin
    tell(f"SIGTERM under load: {seconds:.2f} s to the end")
    assert seconds < 14  # the drain of hanging requests (10 s) and a little
    listener.close()
    upload.close()
    server.start()
    assert server.get(f"/artifacts/{upload.artifact}")["received_bytes"] == 10
    assert server.wait_rollout(rollout, ("finished", "running"), 10)
    sim.stop()
    reports = {tuple(line.split()) for line in acks.read_text().splitlines()[before:]}
    assert reports

    def missing():
        return reports - {(device, boot, str(seq)) for device, boot, seq in stored_reports(server.state)}
    wait_for(lambda: not missing(), 20, lambda: f"lost: {sorted(missing())[:5]}", 0.5)


def begin_upload(server):
    """An upload of 1 MiB that stops after 10 bytes."""
    import http.client
    server.post("/models/kws/versions", {"version": "9.0.0"})
    artifact = server.post("/models/kws/versions/9.0.0/artifacts", {"hardware": "*", "file_name": "f", "size_bytes": 1 << 20, "sha256": "0" * 64})
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    connection.putrequest("PUT", f"/api/v1/artifacts/{artifact['id']}/content")
    connection.putheader("Authorization", "Bearer " + server.token)
    connection.putheader("Content-Length", str(1 << 20))
    connection.endheaders()
    connection.send(b"0123456789")
    connection.artifact = artifact["id"]
    return connection


def test_sigterm_twice_does_not_wait(server, make_sim):
    server.add_model("kws")
    upload = begin_upload(server)
    time.sleep(0.2)
    os.kill(server.process.pid, signal.SIGTERM)
    time.sleep(0.3)
    begin = time.monotonic()
    assert server.stop() == 0
    assert time.monotonic() - begin < 3
    upload.close()


# ---- requests that are garbage ----

GARBAGE = [b"", b"{", b"}", b"nul", b'{"a":}', b'{"name":"\xff\xfe"}', b'{"name":"\xed\xa0\x80"}', b'{"a":1e99999}', b"\x00\x01\x02", b"[" * 20000, b'{"a":' * 5000,
           b"[]", b"7", b'"text"', b"null", b'{"\\u0000":1}', b'{"name":"a\\u0000b"}', b'{"name":"\\ud800"}']


def json_routes(server):
    """(method, path with something in the place of each parameter, schema) of every route that takes a JSON body."""
    for path, methods in requests.get(server.url + "/openapi.json", timeout=5).json()["paths"].items():
        for method, operation in methods.items():
            body = operation.get("requestBody", {}).get("content", {}).get("application/json")
            if body and path.startswith("/api/"):
                yield method.upper(), re.sub(r"{\w+}", "1", path), body["schema"]


def problem_of(response, statuses):
    assert response.status_code in statuses, f"{response.request.method} {response.url} {response.request.body!r:.200}: {response.status_code} {response.text[:300]}"
    assert response.headers["Content-Type"] == "application/problem+json"
    problem = response.json()
    assert problem["status"] == response.status_code and problem["title"]
    return problem


def test_garbage_gets_a_problem_on_every_route(server):
    """No garbage makes a 5xx, an answer without a reason, or a change."""
    routes = list(json_routes(server))
    assert len(routes) > 15
    headers = {"Content-Type": "application/json", "If-Match": '"1"'}
    for method, path, _ in routes:
        for body in GARBAGE:
            response = server.session.request(method, server.url + path, data=body, headers=headers, timeout=10)
            if response.status_code not in (404, 405):
                assert body != b"" or response.status_code < 500
            if body in (b"", b"null") and response.status_code < 300:
                continue  # a body that may be left out
            problem_of(response, (400, 404, 409, 412, 413, 415, 422, 428))
    for path in ("/devices", "/models", "/releases", "/groups", "/rollouts"):
        assert server.items(path) == []
    assert server.process.is_running() and server.metrics()['aviary_http_requests_total{code="5xx"}'] == 0


WRONG = {"string": [7, [], {}, True], "integer": ["7", 1.5, [], {}, True], "number": ["7", [], {}], "boolean": ["true", 1, []], "array": [7, "x", {}], "object": [7, "x", []]}


def types_of(schema):
    kind = schema.get("type", "string" if "enum" in schema else None)
    return kind if isinstance(kind, list) else [kind]


def test_wrong_types_and_unknown_members_name_their_place(server):
    checked = 0
    for method, path, schema in json_routes(server):
        if "properties" not in schema or method != "POST":
            continue
        response = server.request(method, path, {"no_such_member": 1})
        if response.status_code == 404:
            continue  # of a resource that is not there
        assert problem_of(response, (422,))["pointer"] == "/no_such_member"
        for name, member in schema["properties"].items():
            kinds = types_of(member)
            for value in (v for v in WRONG.get(kinds[0], []) if not (isinstance(v, bool) and "boolean" in kinds)):
                problem = problem_of(server.request(method, path, {name: value}), (422,))
                assert problem["pointer"].split("/")[1] == name, (method, path, name, value, problem)
                checked += 1
    assert checked > 100


@pytest.mark.parametrize("body, pointer", [
    ({"id": "../etc", "hardware": "pi"}, "/id"), ({"id": "a/b", "hardware": "pi"}, "/id"), ({"id": "a", "hardware": "p i"}, "/hardware"),
    ({"id": "", "hardware": "pi"}, "/id"), ({"id": "a" * 65, "hardware": "pi"}, "/id"), ({"id": "+", "hardware": "pi"}, "/id"), ({"id": "#", "hardware": "pi"}, "/id"),
    ({"id": "a", "hardware": "pi", "name": "n" * 1000}, "/name"), ({"id": "a", "hardware": "pi", "attributes": {"x": [1]}}, "/attributes"),
    ({"id": "a", "hardware": "pi", "tags": ["a", 5]}, "/tags/1"), ({"id": "a"}, "/hardware"), ({"hardware": "pi"}, "/id"),
])
def test_bad_devices_name_the_member(server, body, pointer):
    assert problem_of(server.request("POST", "/devices", body), (422,))["pointer"] == pointer
    assert server.get("/devices", total="true")["total"] == 0


@pytest.mark.parametrize("change, pointer", [
    ({"stages": [{"percent": 0}]}, "/stages/0/percent"), ({"stages": [{"percent": 50}, {"percent": 40}]}, "/stages/1/percent"),
    ({"stages": [{"percent": 50, "count": 3}]}, "/stages/0"), ({"stages": [{"percnt": 5}]}, "/stages/0/percnt"), ({"soak_ms": -1}, "/soak_ms"),
    ({"retries": 21}, "/retries"), ({"timeout_ms": 1e30}, "/timeout_ms"), ({"gates": [{"metric": "accuracy", "margin": -1}]}, "/gates/0/margin"),
    ({"gates": [{"metric": "no name"}]}, "/gates/0/metric"), ({"judge": {"alpha": 2}}, "/judge/alpha"), ({"filter": "hardware=="}, "/filter"),
    ({"windows": [{"start": "25:00", "duration_ms": 60000}]}, "/windows/0"), ({"rate": {"exponential": {"factor": 0.5}}}, "/rate/exponential/factor"),
    ({"release": "none"}, "/release"), ({"group": "none"}, "/group"), ({"error": {"action": "explode"}}, "/error/action"),
])
def test_bad_rollouts_name_the_member(server, change, pointer):
    server.add_model("kws")
    server.add_version("kws", "1.0.0", {"*": b"x"})
    server.add_release("r", {"kws": "1.0.0"})
    problem = problem_of(server.request("POST", "/rollouts", {"name": "n", "release": "r", **change}), (404, 422))
    assert problem["pointer"] == pointer
    assert server.items("/rollouts") == []


def test_random_bytes_on_the_socket(server):
    """What is no HTTP at all ends the connection, not the daemon."""
    import socket
    rng = random.Random(9)
    lines = [rng.randbytes(rng.randrange(1, 4000)) for _ in range(60)]
    lines += [b"GET / HTTP/9.9\r\n\r\n", b"GET " + b"/" * 20000 + b" HTTP/1.1\r\n\r\n", b"POST /api/v1/devices HTTP/1.1\r\nContent-Length: -5\r\n\r\n",
              b"POST /api/v1/devices HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\n", b"GET /api/v1/../../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n",
              b"POST /api/v1/devices HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", b"GET /api/v1/devices HTTP/1.1\r\n" + b"A: b\r\n" * 5000 + b"\r\n"]
    for line in lines:
        with socket.create_connection(("127.0.0.1", server.port), timeout=5) as s:
            s.settimeout(2)
            with contextlib.suppress(OSError):
                s.sendall(line)
                s.shutdown(socket.SHUT_WR)
                answer = s.recv(4096)
                assert not answer or answer.startswith(b"HTTP/1.") and b" 200 " not in answer.split(b"\r\n")[0]
    assert server.get("/stats")["version"]
