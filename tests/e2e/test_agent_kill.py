"""kill -9 of real agents at random moments of their updates: after each, the device would boot a complete, verified release.

The server here is a few lines of Python that sign and serve as docs/protocol.md says, so that the agent is checked against the
protocol and not against our own server. AGENT_KILLS says how many kills (1000), AGENT_SEED the seed.
"""
import base64
import hashlib
import http.server
import json
import os
import random
import subprocess
import threading
import time

import paho.mqtt.client as mqtt
import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

KILLS = int(os.environ.get("AGENT_KILLS", "1000"))
SEED = int(os.environ.get("AGENT_SEED", "1"))
AGENTS = 8
DOMAIN = b"aviary-manifest-v1\0"
HEAD_BYTES = 1024
CHUNK, CHUNK_PAUSE_S = 32768, 0.004


def sha256(data):
    return hashlib.sha256(data).hexdigest()


class Fleet:
    """Key, artifacts, and per device what it should do next."""

    def __init__(self, broker_port):
        self.key = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
        self.public = self.key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
        make = random.Random(7)
        self.blobs = {}
        self.models = []
        for version in ("1.0.0", "2.0.0", "3.0.0"):
            data = make.randbytes(make.randrange(200_000, 300_000))
            self.blobs[sha256(data)] = data
            self.models.append((version, sha256(data)))
        shared = make.randbytes(40_000)
        self.blobs[sha256(shared)] = shared
        self.shared = sha256(shared)
        self.counter = 10
        self.releases = {}   # (name, counter) that were ever offered
        self.devices = {}
        self.lock = threading.Lock()
        self.unknown_running = []
        self.ended = {"succeeded": 0, "failed": 0, "rejected": 0, "cancelled": 0}
        self.reasons = {}
        self.partial_requests = 0
        self.client = mqtt.Client()
        self.client.on_connect = lambda c, *_: c.subscribe("aviary/v1/+/report", 1)
        self.client.on_message = self.on_report
        self.client.connect("127.0.0.1", broker_port)
        self.client.loop_start()

    def add_device(self, device):
        with self.lock:
            self.devices[device] = {"rev": 0, "number": 0, "attempt": 1, "ack": None, "pinned": None, "stopped": False}
            self.next_deployment(device)

    def next_deployment(self, device):
        d = self.devices[device]
        d["number"] += 1
        d["attempt"] = 1
        self.counter += 1
        version, digest = self.models[d["number"] % len(self.models)]
        manifest = json.dumps({"format": "aviary-manifest-1", "release": f"kws-{version}", "counter": self.counter, "created": 1700000000000,
                               "expires": 0, "components": [
                                   {"kind": "model", "name": "kws", "version": version, "artifacts": [
                                       {"hardware": "linux", "sha256": digest, "size_bytes": len(self.blobs[digest]), "file": "kws.tflite"}]},
                                   {"kind": "firmware", "name": "app", "version": "5.0", "artifacts": [
                                       {"hardware": "*", "sha256": self.shared, "size_bytes": len(self.blobs[self.shared]), "file": "app.bin"}]}],
                               "config": {}}, separators=(",", ":")).encode()
        self.releases[(f"kws-{version}", self.counter)] = manifest
        d["release"] = {"name": f"kws-{version}", "counter": self.counter, "manifest": base64.b64encode(manifest).decode(),
                        "signature": base64.b64encode(self.key.sign(DOMAIN + manifest)).decode(), "key_id": sha256(self.public)[:16],
                        "artifacts": [{"sha256": s, "size_bytes": len(self.blobs[s]), "url": f"/device/v1/{device}/artifacts/{s}"}
                                      for s in (digest, self.shared)]}
        self.set_document(device)

    def set_document(self, device):
        d = self.devices[device]
        d["rev"] += 1
        d["document"] = json.dumps({"device": device, "rev": d["rev"],
                                    "deployment": {"id": f"d-{d['number']}", "attempt": d["attempt"], "action": "install", "timeout_ms": 60000},
                                    "release": d["release"], "config": {}, "report_interval_ms": 60000}).encode()
        d["etag"] = sha256(d["document"])[:16]
        self.publish(device)

    def publish(self, device):
        d = self.devices[device]
        hint = {"rev": d["rev"], "etag": d["etag"], "url": f"/device/v1/{device}/desired"}
        if d["ack"]:
            hint["ack"] = d["ack"]
        self.client.publish(f"aviary/v1/{device}/desired", json.dumps(hint), qos=1, retain=True)

    def on_report(self, _client, _userdata, message):
        device = message.topic.split("/")[2]
        report = json.loads(message.payload)
        with self.lock:
            d = self.devices.get(device)
            if not d:
                return
            d["ack"] = [report["boot"], report["seq"]]
            running = report.get("running", {})
            if running.get("release") not in (None, "factory") and (running["release"], running["counter"]) not in self.releases:
                self.unknown_running.append(running)
            work = report.get("deployment", {})
            if work.get("id") == f"d-{d['number']}" and work["attempt"] == d["attempt"] and work["state"] in self.ended:
                self.ended[work["state"]] += 1
                if work["state"] != "succeeded":
                    self.reasons[work.get("reason")] = self.reasons.get(work.get("reason"), 0) + 1
                    d["attempt"] += 1
                    self.set_document(device)
                    return
                if not d["stopped"]:
                    self.next_deployment(device)
                    return
            self.publish(device)

    def stop(self):
        self.client.loop_stop()
        self.client.disconnect()


def make_handler(fleet):
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_):
            pass

        def answer(self, status, body=b"", headers=()):
            self.send_response(status)
            for name, value in headers:
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            for at in range(0, len(body), CHUNK):
                self.wfile.write(body[at:at + CHUNK])
                if len(body) > CHUNK:
                    time.sleep(CHUNK_PAUSE_S)

        def handle(self):
            try:
                super().handle()
            except (BrokenPipeError, ConnectionResetError):
                pass  # the agent was killed

        def do_GET(self):
            _, _, _, device, what, *rest = self.path.split("/")
            if not self.headers.get("Authorization", "").startswith(f"Bearer {device}:"):
                self.answer(401)
            elif what == "desired":
                with fleet.lock:
                    d = fleet.devices[device]
                    document, etag = d["document"], f'"{d["etag"]}"'
                if self.headers.get("If-None-Match") == etag:
                    self.answer(304, headers=[("ETag", etag)])
                else:
                    self.answer(200, document, [("ETag", etag), ("Content-Type", "application/json")])
            else:
                blob = fleet.blobs[rest[0]]
                wanted = self.headers.get("Range")
                if not wanted:
                    self.answer(200, blob)
                    return
                fleet.partial_requests += 1
                start = int(wanted.removeprefix("bytes=").removesuffix("-"))
                self.answer(206, blob[start:], [("Content-Range", f"bytes {start}-{len(blob) - 1}/{len(blob)}")])

    return Handler


def check_slot(fleet, folder):
    """A whole, signed release lies in this directory: looked at without any of our own code. Returns (name, counter)."""
    sealed = (folder / "release").read_bytes()
    assert sealed[:4] == b"AVRL"
    parts, manifest_len = int.from_bytes(sealed[6:8], "little"), int.from_bytes(sealed[8:12], "little")
    signature, manifest = sealed[20:84], sealed[HEAD_BYTES:HEAD_BYTES + manifest_len]
    try:
        fleet.key.public_key().verify(signature, DOMAIN + manifest)
    except InvalidSignature:
        pytest.fail(f"{folder}: the manifest is not signed")
    wanted = {a["sha256"] for c in json.loads(manifest)["components"] for a in c["artifacts"]}
    stored = set()
    for i in range(parts):
        at = 84 + 40 * i
        digest, size = sealed[at:at + 32].hex(), int.from_bytes(sealed[at + 32:at + 40], "little")
        data = (folder / f"part-{i}").read_bytes()
        assert len(data) == size and sha256(data) == digest, f"{folder}/part-{i}: {len(data)} of {size} bytes, or another hash"
        stored.add(digest)
    assert stored == wanted
    named = json.loads(manifest)
    return named["release"], named["counter"]


class Device:
    def __init__(self, number, build, tmp_path, broker, fleet, http_port):
        self.id = f"dev-{number}"
        self.random = random.Random(SEED * 1000 + number)
        self.fleet = fleet
        self.state_dir = tmp_path / self.id
        self.log = open(tmp_path / f"{self.id}.log", "ab")
        key = tmp_path / "key.pub"
        key.write_text(base64.b64encode(fleet.public).decode() + "\n")
        self.command = [str(build / "aviary-agent"), "--device", self.id, "--hardware", "linux", "--key", str(key),
                        "--state-dir", str(self.state_dir), "--broker-port", str(broker.port), "--server", f"http://127.0.0.1:{http_port}",
                        "--factory-release", "factory", "--factory-models", "kws=0.1.0", "--retry", "40ms", "--progress-step", "32KiB",
                        "--self-test", "sleep 0.03", "--log-level", "debug"]
        self.floor = 0
        self.seen = {}
        self.failure = None
        started = time.monotonic()
        self.check()
        self.start_s = min(time.monotonic() - started, 1.0)  # of a start: longer with sanitizers, or on a busy machine

    def live_and_die(self):
        agent = subprocess.Popen(self.command, stderr=self.log)
        time.sleep(self.start_s + self.random.uniform(0.04, 0.29))
        assert agent.poll() is None, f"{self.id} ended by itself with {agent.returncode}"
        agent.kill()
        agent.wait()

    def check(self):
        ran = subprocess.run([*self.command, "--status"], capture_output=True, text=True, timeout=20)
        status = json.loads(ran.stdout)
        assert ran.returncode == 0 and status["verified"] and not status["damaged"], ran.stdout + ran.stderr
        assert status["floor"] >= self.floor, "a confirmed counter was forgotten"
        self.floor = status["floor"]
        if status["slot"] == "factory":
            assert status["release"] == "factory"
        else:
            found = check_slot(self.fleet, self.state_dir / status["slot"])
            assert found == (status["release"], status["counter"])
        if status["current"]:
            check_slot(self.fleet, self.state_dir / status["current"])
        state = "trial" if status["trial"] else status.get("deployment", {}).get("state", "none")
        self.seen[state] = self.seen.get(state, 0) + 1
        return status

    def suffer(self, kills):
        try:
            for _ in range(kills):
                self.live_and_die()
                self.check()
        except BaseException as e:  # pylint: disable=broad-except  # shown by the test's own thread
            self.failure = e

    def recover(self):
        """Left alone it comes to what the server wants."""
        done = subprocess.run([*self.command, "--once"], stderr=self.log, timeout=60)
        assert done.returncode == 0
        return self.check()


@pytest.fixture
def fleet(broker):
    f = Fleet(broker.port)
    yield f
    f.stop()


@pytest.fixture
def http_port(fleet):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), make_handler(fleet))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()


@pytest.fixture
def make_device(build, tmp_path, broker, fleet, http_port):
    devices = []

    def make():
        device = Device(len(devices) + 1, build, tmp_path, broker, fleet, http_port)
        fleet.add_device(device.id)
        devices.append(device)
        return device
    yield make
    for device in devices:
        device.log.close()


def test_one_update(make_device, fleet):
    device = make_device()
    fleet.devices[device.id]["stopped"] = True
    status = device.recover()
    assert status["release"] == "kws-2.0.0" and status["slot"] == "slot-a" and status["current"] == "slot-a"
    assert status["deployment"] == {"id": "d-1", "attempt": 1, "state": "succeeded"}
    assert (device.state_dir / "current" / "model-kws").read_bytes() == fleet.blobs[fleet.models[1][1]]
    assert (device.state_dir / "current" / "firmware-app").exists()
    assert json.loads((device.state_dir / "current" / "manifest.json").read_bytes())["release"] == "kws-2.0.0"
    assert oct((device.state_dir / "secret").stat().st_mode & 0o777) == "0o600"


def test_status_of_a_device_that_never_started(make_device):
    status = make_device().check()
    assert status["slot"] == "factory" and status["models"] == {"kws": "0.1.0"} and not status["state_record"]


def test_failed_self_test_falls_back(make_device, fleet):
    device = make_device()
    fleet.devices[device.id]["stopped"] = True
    device.recover()
    marker = device.state_dir / "marker"
    device.command += ["--self-test", f"test -e {marker} && exit 0; touch {marker}; exit 3"]
    with fleet.lock:
        fleet.next_deployment(device.id)
    status = device.recover()
    assert fleet.reasons == {"the self-test ended with 3": 1}  # fell back, told why, and the second attempt was confirmed
    assert status["release"] == "kws-3.0.0" and status["deployment"]["attempt"] == 2


def test_activation_hook(make_device, fleet):
    device = make_device()
    fleet.devices[device.id]["stopped"] = True
    log = device.state_dir / "hook.log"
    device.command += ["--activate-hook", f'echo "$AVIARY_SLOT $AVIARY_RELEASE $AVIARY_TRIAL $(pwd)" >> {log}']
    device.recover()
    assert log.read_text().splitlines() == [f"factory factory 0 {device.state_dir}", f"slot-a kws-2.0.0 1 {device.state_dir}/slot-a",
                                            f"slot-a kws-2.0.0 0 {device.state_dir}/slot-a"]


def test_two_agents_do_not_share_a_directory(make_device):
    device = make_device()
    first = subprocess.Popen(device.command, stderr=device.log)
    try:
        end = time.monotonic() + 10
        while not (device.state_dir / "secret").exists() and time.monotonic() < end:
            time.sleep(0.02)
        second = subprocess.run(device.command, capture_output=True, text=True, timeout=10)
        assert second.returncode == 2 and "another aviary-agent" in second.stderr
    finally:
        first.terminate()
        assert first.wait(10) == 0


@pytest.mark.parametrize("arguments, message", [
    (["--device", "a/b"], "--device"), (["--hardware", ""], "--hardware"), (["--key", "/nonexistent"], "/nonexistent"),
    (["--self-test-timeout", "never"], "--self-test-timeout"), (["--colour", "red"], "--colour"), (["--retry"], "needs a value"),
    (["--tags", "{}"], "--tags"), (["--factory-models", "kws"], "--factory-models"), (["--server", "ftp://x"], "--server"),
    (["--config", "/nonexistent"], "/nonexistent"), (["spare"], "spare"), (["--log-level", "loud"], "--log-level")])
def test_bad_options(build, tmp_path, arguments, message):
    key = tmp_path / "key.pub"
    key.write_bytes(bytes(32))
    ran = subprocess.run([build / "aviary-agent", "--device", "dev-1", "--hardware", "linux", "--key", key, "--state-dir", tmp_path / "state", *arguments],
                         capture_output=True, text=True, timeout=10)
    assert ran.returncode == 2 and message in ran.stderr and ran.stdout == ""


def test_configuration_file(build, tmp_path):
    config, program = tmp_path / "agent.conf", build / "aviary-agent"
    (tmp_path / "key.pub").write_text("# ours\n" + base64.b64encode(bytes(32)).decode() + "\n")
    config.write_text("# a comment\nhardware = from-file\nname = Door 7\nlog-level = error\n")
    ran = subprocess.run([program, "--config", str(config), "--device", "dev-9", "--key", str(tmp_path / "key.pub"),
                          "--state-dir", str(tmp_path), "--status"], capture_output=True, text=True, timeout=10)
    assert ran.returncode == 0 and json.loads(ran.stdout)["device"] == "dev-9"
    config.write_text("colour = red\n")
    ran = subprocess.run([program, "--config", str(config)], capture_output=True, text=True, timeout=10)
    assert ran.returncode == 2 and "colour" in ran.stderr


def test_kill_at_random_moments(make_device, fleet, capsys):
    devices = [make_device() for _ in range(AGENTS)]
    share = [KILLS // AGENTS + (i < KILLS % AGENTS) for i in range(AGENTS)]
    threads = [threading.Thread(target=d.suffer, args=(n,)) for d, n in zip(devices, share)]
    started = time.monotonic()
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    took_s = time.monotonic() - started
    for d in devices:
        if d.failure:
            raise d.failure
    ended = dict(fleet.ended)
    with fleet.lock:
        for d in devices:
            fleet.devices[d.id]["stopped"] = True
    for d in devices:
        status = d.recover()
        assert status["release"] == fleet.devices[d.id]["release"]["name"] and status["deployment"]["state"] == "succeeded"
    seen = {}
    for d in devices:
        for state, n in d.seen.items():
            seen[state] = seen.get(state, 0) + n
    with capsys.disabled():
        print(f"\n{KILLS} kills of {AGENTS} agents in {took_s:.0f} s: every device had a complete, verified release; "
              f"killed in {seen}; attempts that ended: {ended}; {fleet.partial_requests} downloads continued by range; {fleet.reasons}")
    assert not fleet.unknown_running
    assert ended["succeeded"] >= KILLS // 50, "updates must get through, or the kills hit nothing"
    assert fleet.partial_requests >= KILLS // 50
