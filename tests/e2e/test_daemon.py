"""The daemon itself: configuration, start and stop, signals, TLS, durability, a full disk, backup, events, errors."""
import concurrent.futures
import datetime
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import ssl
import subprocess
import time

import pytest
import requests

from harness.process import wait_for

ROOT = pathlib.Path(__file__).resolve().parents[2]


def run(build, *arguments, timeout=20):
    return subprocess.run([build / "aviaryd", *map(str, arguments)], capture_output=True, text=True, timeout=timeout)


def device(server, name, **more):
    return server.post("/devices", {"id": name, "hardware": "esp32s3", **more})


# ---- configuration ----

def test_shipped_configuration_is_the_table(build):
    printed = run(build, "--print-config")
    assert printed.returncode == 0
    assert printed.stdout == (ROOT / "config/aviaryd.conf").read_text()
    again = run(build, "--config", ROOT / "config/aviaryd.conf", "--print-config")
    assert again.stdout == printed.stdout
    assert run(build, "--config", ROOT / "config/aviaryd.conf", "--check-config").returncode == 0


def test_manual_names_every_key_and_its_default(build):
    manual = (ROOT / "docs/man/aviaryd.conf.5").read_text().replace("\\-", "-")
    keys = re.findall(r"^(\w+) =(.*)$", run(build, "--print-config").stdout, re.M)
    assert len(keys) > 40
    for key, value in keys:
        value = value.strip()
        assert (f'.BR {key} " = {value}"' if value else f".B {key}\n") in manual, key


@pytest.mark.parametrize("text, complaint", [
    ("[http]\nlisten = 1.2.3.4\n", "2: listen in [http]"),
    ("[http]\nlisten =\n", "both empty"),
    ("[http]\nlisten_tls = 127.0.0.1:0\n", "needs tls_certificate"),
    ("[http]\nno_such_key = 1\n", "2: there is no key no_such_key in [http]"),
    ("[limits]\njobs = 9\n\njobs = 10\n", "4: jobs in [limits] is given twice"),
    ("[mqtt]\nport = 70000\n", "from 1 to 65535"),
    ("[storage]\nraw_age = soon\n", "a duration as"),
    ("[storage]\nreserve = 12 monkeys\n", "a size as"),
    ("[log]\nlevel = loud\n", "error, warn, info or debug"),
    ("nonsense\n", "neither a [section]"),
    ("[log]\nlevel = info" + " " * 300 + "\n", "longer than"),
])
def test_wrong_configuration_is_explained(build, tmp_path, text, complaint):
    path = tmp_path / "wrong.conf"
    path.write_text(text)
    result = run(build, "--config", path, "--check-config")
    assert result.returncode == 2
    assert complaint in result.stderr
    assert str(path) in result.stderr


def test_all_mistakes_are_told_at_once(build, tmp_path):
    path = tmp_path / "wrong.conf"
    path.write_text("[http]\nlisten = x\nfoo = 1\n[log]\nlevel = y\n")
    assert len(run(build, "--config", path, "--check-config").stderr.splitlines()) == 3


def test_missing_configuration_and_wrong_arguments(build, tmp_path):
    assert run(build, "--config", tmp_path / "none.conf", "--check-config").returncode == 2
    assert run(build, "--nonsense").returncode == 2
    assert run(build, "stray").returncode == 2
    assert run(build, "--version").stdout.startswith("aviaryd ")


def test_password_is_not_printed(build, tmp_path):
    path = tmp_path / "a.conf"
    path.write_text("[mqtt]\npassword = hunter2hunter2\n")
    assert "hunter2" not in run(build, "--config", path, "--print-config").stdout


# ---- start and stop ----

def test_state_directory_is_private_and_locked(server, build):
    for path in server.state.rglob("*"):  # the directory itself was made by the test
        assert path.stat().st_mode & 0o077 == 0, path
    second = run(build, "--config", server.write_config(), "--state-dir", server.state)
    assert second.returncode == 1
    assert "in use by another aviaryd" in second.stderr


def test_newer_schema_is_refused(server, build):
    server.stop()
    import sqlite3
    with sqlite3.connect(server.state / "fleet.db") as db:
        db.execute("PRAGMA user_version = 999")
    result = run(build, "--config", server.write_config(), "--state-dir", server.state)
    assert result.returncode == 1
    assert "newer version" in result.stderr


def test_sigterm_finishes_held_requests(server):
    """Writes go on while the daemon is told to stop: each that was answered is there afterwards."""
    acknowledged = []

    def write(i):
        session = requests.Session()
        for j in range(200):
            try:
                r = session.post(f"{server.url}/api/v1/devices", json={"id": f"d{i}-{j}", "hardware": "x"},
                                 headers={"Authorization": "Bearer " + server.token}, timeout=10)
            except requests.RequestException:
                return
            if r.status_code == 201:
                acknowledged.append(f"d{i}-{j}")
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        futures = [pool.submit(write, i) for i in range(8)]
        wait_for(lambda: len(acknowledged) > 50, 20, "writes go on")
        begin = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - begin < 15
        for f in futures:
            f.result()
    server.start()
    there = {d["id"] for d in server.items("/devices")}
    assert set(acknowledged) <= there


def test_kill9_loses_no_acknowledged_write(server):
    for round_ in range(5):
        acknowledged = []

        def write(i):
            session = requests.Session()
            for j in range(1000):
                name = f"r{round_}-{i}-{j}"
                try:
                    r = session.post(f"{server.url}/api/v1/devices", json={"id": name, "hardware": "x"},
                                     headers={"Authorization": "Bearer " + server.token}, timeout=10)
                except requests.RequestException:
                    return
                if r.status_code == 201:
                    acknowledged.append(name)
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            futures = [pool.submit(write, i) for i in range(4)]
            wait_for(lambda: len(acknowledged) > 20, 20, "writes go on")
            server.kill9()
            for f in futures:
                f.result()
        server.start()
        there = {d["id"] for d in server.items("/devices")}
        assert set(acknowledged) <= there


def test_sighup_reloads_what_can_be_reloaded(server):
    server.config = {"log": {"requests": "yes"}, "http": {"max_connections": 99}}
    server.write_config()
    os.kill(server.process.pid, signal.SIGHUP)
    wait_for(lambda: "event=reload.done" in server.process.log(), 5, "reloaded")
    assert "http.max_connections" in server.process.log()
    server.get("/stats")
    wait_for(lambda: "event=http.request" in server.process.log(), 5, "requests are logged")


def test_sighup_refuses_a_broken_file(server):
    path = server.write_config()
    path.write_text("[log]\nlevel = loud\n")
    os.kill(server.process.pid, signal.SIGHUP)
    wait_for(lambda: "event=reload.refused" in server.process.log(), 5, "refused")
    assert server.get("/stats")["version"]


def test_systemd_is_told(build, tmp_path, broker, make_server):
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
        s.bind(path)
        s.settimeout(10)
        server = make_server(wrapper=["env", f"NOTIFY_SOCKET={path}", "WATCHDOG_USEC=400000"])
        told = ""
        while "READY=1" not in told or told.count("WATCHDOG=1") < 3:
            told += s.recv(4096).decode() + "\n"
        os.kill(server.process.pid, signal.SIGHUP)
        while "RELOADING=1" not in told:
            told += s.recv(4096).decode() + "\n"
        server.stop()
        while "STOPPING=1" not in told:
            told += s.recv(4096).decode() + "\n"


def test_no_configuration_at_all(build, tmp_path):
    """Only --state-dir, so that the test does not write to /var/lib; the standard port may be taken, then it must say so."""
    with open(tmp_path / "log", "w") as log:
        child = subprocess.Popen([build / "aviaryd", "--state-dir", tmp_path / "s", "--port-file", tmp_path / "p"], stderr=log)
    try:
        wait_for(lambda: (tmp_path / "p").exists() or child.poll() is not None, 10, "it starts")
        text = (tmp_path / "log").read_text()
        if child.poll() is None:
            assert "127.0.0.1:8080\n" in (tmp_path / "p").read_text()
        else:
            assert child.returncode == 1 and "8080" in text
    finally:
        child.terminate()
        assert child.wait(20) in (0, 1)


# ---- TLS ----

def make_certificate(folder, name):
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.oid.NameOID.COMMON_NAME, name)])
    now = datetime.datetime.utcnow()
    certificate = (x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key())
                   .serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(1))
                   .not_valid_after(now + datetime.timedelta(30)).sign(key, hashes.SHA256()))
    (folder / "cert.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                                                       serialization.NoEncryption()))


def served_name(port):
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with socket.create_connection(("127.0.0.1", port), timeout=5) as raw, context.wrap_socket(raw) as s:
        from cryptography import x509
        der = s.getpeercert(binary_form=True)
        return x509.load_der_x509_certificate(der).subject.rfc4514_string()


def test_certificate_is_replaced_at_sighup(make_server, tmp_path):
    make_certificate(tmp_path, "first")
    server = make_server(config={"http": {"listen_tls": "127.0.0.1:0", "tls_certificate": tmp_path / "cert.pem",
                                          "tls_key": tmp_path / "key.pem"}})
    port = int((server.folder / "ports").read_text().splitlines()[1].rsplit(":", 1)[1])
    assert served_name(port) == "CN=first"
    plain = requests.get(f"https://127.0.0.1:{port}/healthz", verify=False, timeout=5)
    assert plain.status_code == 200
    make_certificate(tmp_path, "second")
    (tmp_path / "key.pem").rename(tmp_path / "away.pem")
    (tmp_path / "key.pem").write_text("no key\n")
    os.kill(server.process.pid, signal.SIGHUP)
    wait_for(lambda: "event=reload.done" in server.process.log(), 5, "reloaded")
    assert served_name(port) == "CN=first"  # a pair that is not usable changes nothing
    (tmp_path / "away.pem").rename(tmp_path / "key.pem")
    os.kill(server.process.pid, signal.SIGHUP)
    wait_for(lambda: "event=reload.certificate file=" in server.process.log(), 5, "the new pair is taken")
    assert served_name(port) == "CN=second"
    assert server.get("/stats")["version"]


# ---- a full disk ----

def test_full_disk(build, tmp_path, make_server):
    """The state directory is a file system of 8 MiB of its own. Writes get 503, reads go on, and it recovers by itself."""
    disk = tmp_path / "disk"
    disk.mkdir()
    (tmp_path / "server").mkdir()
    wrapper = ["unshare", "-rm", "sh", "-c", 'mount -t tmpfs -o size=8m tmpfs "$0" && exec "$@"', disk]
    if subprocess.run(wrapper + ["true"], capture_output=True).returncode != 0:
        pytest.skip("SKIP: no user namespaces here")
    import harness.server

    class OnDisk(harness.server.Server):
        process = None

        @property
        def state(self):
            pid = self.process.pid if self.process else None
            return pathlib.Path(f"/proc/{pid}/root{disk}/state") if pid else disk / "state"

        @state.setter
        def state(self, value):
            pass

        def start(self, timeout=30):
            shown = disk / "state"
            ports = self.folder / "ports"
            command = wrapper + [self.program, "--config", self.write_config(), "--state-dir", shown, "--port-file", ports]
            self.process = harness.server.Process(command, self.folder / "aviaryd.log")
            wait_for(lambda: ports.exists() or not self.process.is_running(), timeout, self.process.tail)
            self.port = int(ports.read_text().split()[0].rsplit(":", 1)[-1])
            self.url = f"http://127.0.0.1:{self.port}"
            self.token = (self.state / "admin.token").read_text().strip()
            self.session = requests.Session()
            self.session.headers["Authorization"] = "Bearer " + self.token
            wait_for(self._is_ready, timeout, self.process.tail)

    server = OnDisk(build, tmp_path / "server", 1)
    try:
        device(server, "before")
        ballast = server.state / "ballast"
        with open(ballast, "wb") as f:
            try:
                while True:
                    f.write(b"\0" * 65536)
                    f.flush()
            except OSError:
                pass
        statuses = []
        for i in range(400):
            r = server.request("POST", "/devices", {"id": f"full-{i}", "hardware": "x", "attributes": {"a": "n" * 200}})
            statuses.append(r.status_code)
            if r.status_code == 503:
                break
        assert statuses[-1] == 503, statuses[-5:]
        assert r.headers["Content-Type"] == "application/problem+json" and r.json()["status"] == 503
        acknowledged = {f"full-{i}" for i, status in enumerate(statuses) if status == 201}
        assert server.get("/devices/before")["id"] == "before"  # reads go on
        wait_for(lambda: server.request("GET", "/readyz").status_code == 503, 5, "it says that it is not ready")
        assert "full" in server.request("GET", "/readyz").json()["reason"]
        ballast.unlink()
        wait_for(lambda: server.request("GET", "/readyz").status_code == 200, 10, "it recovers")
        device(server, "after")
        ids = {d["id"] for d in server.items("/devices")}
        assert {"before", "after"} | acknowledged == ids  # what was refused is not there, what was acknowledged is
    finally:
        server.stop()


# ---- backup ----

def test_backup_is_a_state_directory(server, make_server):
    for i in range(20):
        device(server, f"dev-{i}")
    server.add_model("kws")
    server.add_version("kws", "1.0.0", {"*": b"model bytes" * 1000})
    server.add_release("kws-1.0.0", {"kws": "1.0.0"})
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        writes = pool.submit(lambda: [device(server, f"late-{i}") for i in range(100)])
        reply = server.post("/backup")
        writes.result()
    path = pathlib.Path(reply["path"])
    assert reply["artifacts"] == 1 and (path / "backup.json").exists()
    token, manifest = server.token, server.get("/releases/kws-1.0.0/manifest")
    server.stop()
    other = make_server("restored-empty")
    other.stop()
    shutil.rmtree(other.state)
    shutil.copytree(path, other.state)
    other.start()
    assert other.token == token
    assert {f"dev-{i}" for i in range(20)} <= {d["id"] for d in other.items("/devices")}
    assert other.get("/releases/kws-1.0.0/manifest") == manifest
    artifact = other.items("/models/kws/versions/1.0.0/artifacts")[0]
    content = other.request("GET", f"/artifacts/{artifact['id']}/content")
    assert content.content == b"model bytes" * 1000
    audit = server_audit = [a["action"] for a in other.items("/audit")]
    assert "release.create" in audit and server_audit


# ---- events ----

class Events:
    """Reads server-sent events until `count` have come, as [(id, kind, data)]."""

    def __init__(self, server, headers=None, **params):
        self.response = server.session.get(server.url + "/api/v1/events", params=params, headers=headers or {}, stream=True, timeout=20)
        assert self.response.status_code == 200, self.response.text
        assert self.response.headers["Content-Type"] == "text/event-stream"
        self.lines = self.response.iter_lines(chunk_size=1, decode_unicode=True)

    def take(self, count, timeout=30):
        out, event, end = [], {}, time.monotonic() + timeout
        for line in self.lines:
            assert time.monotonic() < end, f"{len(out)} of {count} events, the last {out[-1:]}"
            if line == "" and "event" in event:
                out.append((int(event.get("id", 0)), event["event"], json.loads(event["data"])))
                event = {}
                if len(out) == count:
                    return out
            elif line and not line.startswith(":"):
                key, value = line.split(": ", 1)
                event[key] = value
        return out


def test_events_live_and_again(server):
    live = Events(server)
    for i in range(3):
        device(server, f"dev-{i}")
    first = live.take(3)
    assert [e[2]["resource"] for e in first] == ["devices/dev-0", "devices/dev-1", "devices/dev-2"]
    assert [e[1] for e in first] == ["device.created"] * 3
    again = Events(server, {"Last-Event-ID": str(first[0][0])}).take(2)
    assert again == first[1:]
    server.restart()
    assert Events(server, after=0).take(3) == first  # from disk, with the same ids
    server.call("DELETE", "/devices/dev-1")
    assert Events(server, after=0, kind="device.deleted").take(1)[0][2]["resource"] == "devices/dev-1"
    assert [e[1] for e in Events(server, after=0, resource="devices/dev-1").take(2)] == ["device.created", "device.deleted"]


def test_many_events_are_caught_up_in_order(server):
    lines = "".join(json.dumps({"id": f"bulk-{i}", "hardware": "x"}) + "\n" for i in range(10))
    server.request("POST", "/devices:bulk", data=lines, headers={"Content-Type": "application/x-ndjson"})
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda i: device(server, f"dev-{i}"), range(1200)))
    events = Events(server, after=0, kind="device.created").take(1200)
    ids = [e[0] for e in events]
    assert ids == sorted(set(ids))


def test_listeners_are_limited(make_server):
    server = make_server(config={"http": {"listeners": 2}})
    held = [Events(server), Events(server)]
    assert server.request("GET", "/events").status_code == 503
    held[0].response.close()


# ---- the conventions of docs/api-guide.md ----

def test_authentication_and_roles(server):
    tokens = {role: server.post("/tokens", {"name": role, "role": role}) for role in ("viewer", "operator")}
    r = requests.get(server.url + "/api/v1/devices", timeout=5)
    assert r.status_code == 401 and r.headers["WWW-Authenticate"] == "Bearer"

    def status(role, method, path, **options):
        return requests.request(method, server.url + "/api/v1" + path, timeout=5,
                                headers={"Authorization": "bearer " + tokens[role]["token"]}, **options).status_code
    assert status("viewer", "GET", "/devices") == 200
    assert status("viewer", "POST", "/devices", json={"id": "a", "hardware": "x"}) == 403
    assert status("operator", "POST", "/devices", json={"id": "a", "hardware": "x"}) == 201
    assert status("operator", "GET", "/tokens") == 403
    server.call("DELETE", f"/tokens/{tokens['operator']['id']}")
    assert status("operator", "GET", "/devices") == 401
    assert server.request("DELETE", "/tokens/1").status_code == 409  # the last admin
    entry = server.get("/audit", resource="devices/a")["items"][0]
    assert (entry["who"], entry["role"], entry["action"]) == ("operator", "operator", "device.create")
    assert "token" not in json.dumps(server.get("/tokens")["items"][1])
    assert tokens["viewer"]["token"].encode() not in (server.state / "fleet.db-wal").read_bytes()


def test_metrics_need_a_token_unless_opened(make_server):
    server = make_server()
    assert requests.get(server.url + "/metrics", timeout=5).status_code == 401
    assert server.metrics()["aviary_devices"] == 0
    server.config = {"http": {"open_metrics": "yes"}}
    server.restart()
    assert requests.get(server.url + "/metrics", timeout=5).status_code == 200


def test_problems_name_what_is_wrong(server):
    def problem(status, method, path, body=None, **options):
        r = server.request(method, path, body, **options)
        assert r.status_code == status, r.text
        assert r.headers["Content-Type"] == "application/problem+json"
        assert r.json()["status"] == status and r.json()["title"]
        return r.json()
    assert problem(422, "POST", "/tokens", {"name": "x", "nmae": 1})["pointer"] == "/nmae"
    assert problem(422, "POST", "/tokens", {"name": 7})["pointer"] == "/name"
    assert problem(422, "POST", "/tokens", {})["pointer"] == "/name"
    assert problem(422, "POST", "/tokens", {"name": "x", "uses_left": 0})["pointer"] == "/uses_left"
    assert "byte 8" in problem(400, "POST", "/tokens", data=b'{"name":')["detail"]
    assert problem(400, "POST", "/tokens", data=b'{"name":"\xff"}')
    assert problem(400, "POST", "/tokens", data=b"")
    assert problem(422, "POST", "/tokens", data=b"[]")
    assert problem(413, "POST", "/tokens", data=b" " * 70000)
    assert problem(415, "POST", "/tokens", data=b"name=x", headers={"Content-Type": "application/x-www-form-urlencoded"})
    assert "limti" in problem(400, "GET", "/tokens?limti=1")["detail"]
    assert problem(400, "GET", "/tokens?limit=0")
    assert problem(400, "GET", "/tokens?cursor=abc")
    assert problem(404, "GET", "/nothing")
    assert problem(404, "GET", "/tokens/none")
    assert problem(405, "PUT", "/tokens", {})
    assert server.request("PUT", "/tokens", {}).headers["Allow"] == "GET, POST"
    assert problem(414, "GET", "/tokens?" + "x" * 9000)
    assert problem(431, "GET", "/tokens", headers={"X": "x" * 13000})


def test_body_of_unknown_length_is_bounded(server):
    r = server.session.post(server.url + "/api/v1/tokens", data=iter([b" " * 1000] * 100), timeout=10)
    assert r.status_code == 413 and r.json()["status"] == 413


def test_repeats_are_answered_again(server):
    key = {"Idempotency-Key": "order 66"}
    body = {"id": "dev-1", "hardware": "x"}
    first = server.request("POST", "/devices", body, headers=key)
    again = server.request("POST", "/devices", body, headers=key)
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.content == again.content and first.headers["ETag"] == again.headers["ETag"]
    assert first.headers["Location"] == again.headers["Location"]
    assert server.request("POST", "/devices", body).status_code == 409  # without the key
    assert server.request("POST", "/devices", {"id": "dev-2", "hardware": "x"}, headers=key).status_code == 409
    server.kill9()
    server.start()
    assert server.request("POST", "/devices", body, headers=key).content == first.content
    secret = server.request("POST", "/tokens", {"name": "x"}, headers={"Idempotency-Key": "t"})
    assert secret.status_code == 201
    assert server.request("POST", "/tokens", {"name": "x"}, headers={"Idempotency-Key": "t"}).status_code == 409
    assert len(server.items("/tokens")) == 2
    assert server.request("POST", "/devices", {"id": "d", "hardware": "x"}, headers={"Idempotency-Key": "k" * 129}).status_code == 400


def test_etags(server):
    device(server, "dev-1")
    got = server.request("GET", "/devices/dev-1")
    tag = got.headers["ETag"]
    model = server.request("POST", "/models", {"name": "kws"}).json()["name"]
    known = server.request("GET", f"/models/{model}").headers["ETag"]
    assert server.request("GET", f"/models/{model}", headers={"If-None-Match": known}).status_code == 304
    assert server.request("PATCH", "/devices/dev-1", {"name": "n"}).status_code == 428
    assert server.request("PATCH", "/devices/dev-1", {"name": "n"}, headers={"If-Match": '"999"'}).status_code == 412
    changed = server.request("PATCH", "/devices/dev-1", {"name": "n"}, headers={"If-Match": tag})
    assert changed.status_code == 200 and changed.headers["ETag"] != tag
    head = server.request("HEAD", "/devices/dev-1")
    assert head.status_code == 200 and head.headers["ETag"] == changed.headers["ETag"] and not head.content


def test_pages_do_not_shift(server):
    for i in range(25):
        server.post("/tokens", {"name": f"t{i}"})
    seen, cursor = [], None
    while True:
        page = server.get("/tokens", limit=7, **({"cursor": cursor} if cursor else {}))
        seen += [t["id"] for t in page["items"]]
        cursor = page.get("next")
        if not cursor:
            break
        server.post("/tokens", {"name": "more"}) if len(seen) < 10 else None
    assert seen == sorted(set(seen)) and len(seen) == 27
    assert server.request("GET", "/audit?cursor=" + server.get("/tokens", limit=1)["next"]).status_code == 400


def test_openapi_describes_what_is_served(server):
    api = requests.get(server.url + "/openapi.json", timeout=5).json()
    assert api["openapi"] == "3.1.0"
    operations = [o for path in api["paths"].values() for o in path.values()]
    ids = [o["operationId"] for o in operations]
    assert len(ids) == len(set(ids)) and len(ids) > 60
    import jsonschema
    for path, methods in api["paths"].items():
        wanted = set(re.findall(r"{(\w+)}", path))
        for method, o in methods.items():
            assert {p["name"] for p in o["parameters"] if p["in"] == "path"} == wanted, path
            for content in o.get("requestBody", {}).get("content", {}).values():
                jsonschema.Draft202012Validator.check_schema(content["schema"])
            for response in o["responses"].values():
                for content in response.get("content", {}).values():
                    jsonschema.Draft202012Validator.check_schema(content["schema"])
    guide = (ROOT / "docs/api-guide.md").read_text()
    for path in re.findall(r"`(/[a-z-]+)`", guide):
        assert any(p.endswith(path) for p in api["paths"]), path


def test_every_route_without_a_token_is_refused(server):
    api = requests.get(server.url + "/openapi.json", timeout=5).json()
    for path, methods in api["paths"].items():
        for method, o in methods.items():
            if o.get("security") == [] or path.startswith("/device/"):
                continue
            r = requests.request(method.upper(), server.url + re.sub(r"{\w+}", "1", path), timeout=5)
            assert r.status_code == 401, (method, path, r.status_code)


# ---- the broker ----

def test_broker_goes_away(server, broker):
    def connected():
        return server.request("GET", "/readyz").json()["mqtt"] == "connected"
    wait_for(connected, 10, "connected")
    broker.stop()
    wait_for(lambda: not connected(), 10, "disconnected")
    device(server, "meanwhile")
    begin = time.monotonic()
    for _ in range(50):
        server.get("/devices/meanwhile")
    assert time.monotonic() - begin < 5  # nothing blocks
    broker.start()
    wait_for(connected, 30, "connected again")


# ---- what is shipped beside it ----

def test_unit_is_a_strict_sandbox():
    if not shutil.which("systemd-analyze"):
        pytest.skip("SKIP: no systemd-analyze")
    result = subprocess.run(["systemd-analyze", "security", "--offline=true", "--threshold=20", ROOT / "systemd/aviaryd.service"],
                            capture_output=True, text=True, timeout=30)
    assert result.returncode == 0, result.stdout[-400:]
    level = float(re.search(r"exposure level for aviaryd.service: ([\d.]+)", result.stdout).group(1))
    assert level <= 2.0


def test_shipped_broker_configuration_starts(tmp_path):
    from harness.process import Process, free_port, port_answers
    port = free_port()
    text = (ROOT / "config/mosquitto.conf").read_text().replace("listener 1883", f"listener {port}")
    text = text.replace("/var/lib/mosquitto/", f"{tmp_path}/") + ("user root\n" if os.geteuid() == 0 else "")
    (tmp_path / "mosquitto.conf").write_text(text)
    broker = Process(["/usr/sbin/mosquitto", "-c", tmp_path / "mosquitto.conf"], tmp_path / "log")
    wait_for(lambda: port_answers(port) or not broker.is_running(), 10, broker.tail)
    assert broker.is_running(), broker.tail()
    assert "Error" not in broker.log() and "recommended" not in broker.log()
    broker.stop()
