"""aviaryctl import hawkbit: from a second daemon's Management API, and from a server that fails in every way it can."""
import hashlib
import http.server
import json
import os
import re
import socket
import subprocess
import threading
import urllib.parse

import pytest

from harness import Server
from harness.mgmt import BASIC, NO_BROKER, Mgmt, Target


@pytest.fixture
def make(build, tmp_path):
    servers = []

    def start(name):
        servers.append(Server(build, tmp_path / name, 1883, config={**BASIC, **NO_BROKER}))
        return servers[-1]
    yield start
    for s in servers:
        s.stop()


@pytest.fixture
def move(build, tmp_path):
    password = tmp_path / "password"
    password.write_text("admin\n")

    def run(to, url, *options, code=0):
        done = subprocess.run([build / "aviaryctl", "import", "hawkbit", url, "--password-file", password, "--json", "--attempts", "4", *map(str, options)],
                              env={**os.environ, "AVIARY_URL": to.url, "AVIARY_TOKEN": to.token}, capture_output=True, text=True, timeout=120)
        assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
        run.stderr = done.stderr
        return json.loads(done.stdout) if done.stdout else None
    return run


def counts(summary):
    return {k: (v["moved"], v["there"], v["before"], v["refused"]) for k, v in summary.items() if isinstance(v, dict)}


def test_one_daemon_moves_into_another(make, move, tmp_path):
    source, target = make("source"), make("target")
    a, b = Mgmt(source.url), Mgmt(target.url)
    data = os.urandom(2_500_000)
    fw = a.module("Core system", "1.0", {"core.bin": data, "extra (1).bin": b"more"})
    app = a.module("App", "2.1.0", {"app.bin": b"app"}, "application")
    a.set("Both", "7", [fw, app], "os_app")
    a.post("targettags", [{"name": "Beta Testers", "colour": "red"}])
    tag = a.get("targettags")["content"][0]["id"]
    a.post("targetfilters", {"name": "Site X", "query": "attribute.site==x"})
    a.post("targets", [{"controllerId": f"dev-{i}", "name": f"Device {i}", "securityToken": f"token-{i}"} for i in range(7)])
    Target(a, "dev-3").attributes({"site": "x", "hardware": "board-2"})
    a.post(f"targettags/{tag}/assigned", ["dev-1", "dev-3"])

    would = move(target, source.url, "--dry-run")
    assert counts(would) == {"tags": (1, 0, 0, 0), "modules": (2, 0, 0, 0), "sets": (1, 0, 0, 0), "filters": (1, 0, 0, 0), "targets": (7, 0, 0, 0)}
    assert b.get("targets")["total"] == b.get("softwaremodules")["total"] == 0
    state = tmp_path / "state"
    done = move(target, source.url, "--state", state, "--page", 2)
    assert counts(done) == counts(would) and done["artifacts"] == 3 and "targets: 7 of 7" in move.stderr
    assert [(m["name"], m["version"], m["type"]) for m in b.get("softwaremodules")["content"]] == [("Core system", "1.0", "os"), ("App", "2.1.0", "application")]
    files = {f["providedFilename"]: f["hashes"]["sha256"] for m in b.get("softwaremodules")["content"] for f in b.get(f"softwaremodules/{m['id']}/artifacts")}
    assert files == {n: hashlib.sha256(d).hexdigest() for n, d in (("core.bin", data), ("extra (1).bin", b"more"), ("app.bin", b"app"))}
    moved = b.get("distributionsets")["content"][0]
    assert (moved["name"], moved["version"], moved["type"], len(moved["modules"])) == ("Both", "7", "os_app", 2)
    assert b.get("targetfilters")["content"][0]["query"] == "attribute.site==x"
    assert [b.get(f"targets/dev-{i}")["securityToken"] for i in range(7)] == [f"token-{i}" for i in range(7)]
    assert b.get("targets/dev-3/attributes") == {"site": "x", "hardware": "board-2"} and target.get("/devices/dev-3")["hardware"] == "board-2"
    our_tag = b.get("targettags")["content"][0]
    assert our_tag["colour"] == "red" and {t["controllerId"] for t in b.get(f"targettags/{our_tag['id']}/assigned")["content"]} == {"dev-1", "dev-3"}
    assert Target(b, "dev-1").poll()["config"]["polling"]["sleep"]  # the device needs nothing new but the address

    assert counts(move(target, source.url, "--state", state))["targets"] == (0, 0, 7, 0)
    again = move(target, source.url)  # without its memory: everything is there
    assert counts(again) == {"tags": (0, 1, 0, 0), "modules": (0, 2, 0, 0), "sets": (0, 1, 0, 0), "filters": (0, 1, 0, 0), "targets": (0, 7, 0, 0)}
    assert again["artifacts"] == 0 and len(target.items("/models")) == 2


class Fake(http.server.BaseHTTPRequestHandler):
    """A hawkBit that cuts, stumbles and pads: `faults` is a list of what happens to the next requests whose path fits."""
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def do_GET(self):
        path, _, query = self.path.partition("?")
        self.server.asked.append(self.path)
        params = dict(urllib.parse.parse_qsl(query))
        for fault in list(self.server.faults):
            if re.search(fault[0], path):
                self.server.faults.remove(fault)
                return self.fail(fault[1], path)
        if self.headers.get("Authorization") != "Basic YWRtaW46YWRtaW4=":
            return self.reply(401, b"")
        blob = re.fullmatch(r"/rest/v1/softwaremodules/\d+/artifacts/\d+/download", path)
        if blob:
            return self.send_blob()
        found = self.server.data.get(path)
        if found is None:
            return self.reply(404, b'{"errorCode":"x"}')
        if "offset" in params and isinstance(found, list):
            offset, limit = int(params["offset"]), int(params["limit"])
            part = found[offset:offset + limit]
            found = {"content": part, "total": len(found), "size": len(part)}
        self.reply(200, json.dumps(found).encode())

    def reply(self, status, body, announced=None, headers=()):
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(announced if announced is not None else len(body)))
        self.end_headers()
        self.wfile.write(body)
        if announced is not None and announced > len(body):
            self.hang_up()

    def hang_up(self):
        self.wfile.flush()
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def send_blob(self):
        blob, start = self.server.blob, 0
        asked = re.match(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if asked and self.server.ranges:
            start = int(asked[1])
            return self.reply(206, blob[start:], headers=[("Content-Range", f"bytes {start}-{len(blob) - 1}/{len(blob)}")])
        self.reply(200, blob)

    def fail(self, how, path):
        if how == "cut":
            self.hang_up()
        elif how == "half":
            self.reply(200, self.server.blob[:len(self.server.blob) // 2] if "download" in path else b'{"content":[', 10 ** 6 if "download" not in path
                       else len(self.server.blob))
        elif how == "html":
            self.reply(200, b"<html>try later</html>")
        elif how == "other":
            self.reply(200, bytes(len(self.server.blob)))
        elif how == "empty":
            self.reply(200, json.dumps({"content": [], "total": 5, "size": 0}).encode())
        else:
            self.reply(int(how), b"")


@pytest.fixture
def fake():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Fake)
    server.daemon_threads = True
    server.asked, server.faults, server.ranges, server.blob = [], [], True, os.urandom(400_000)
    hashes = {"sha1": hashlib.sha1(server.blob).hexdigest(), "md5": hashlib.md5(server.blob).hexdigest(), "sha256": hashlib.sha256(server.blob).hexdigest()}
    module = {"id": 31, "name": "fw", "version": "1.0", "type": "os"}
    targets = [{"controllerId": f"t{i}", "name": f"T{i}", "securityToken": f"tok{i}"} for i in range(25)]
    v1 = "/rest/v1/"
    server.data = {
        v1 + "targettags": [{"id": 5, "name": "five"}], v1 + "targettags/5/assigned": [{"controllerId": "t1"}, {"controllerId": "gone"}],
        v1 + "softwaremodules": [module], v1 + "softwaremodules/31/artifacts": [{"id": 9, "providedFilename": "fw.bin", "size": len(server.blob), "hashes": hashes}],
        v1 + "distributionsets": [{"id": 2, "name": "set", "version": "1", "type": "os", "modules": [module]}],
        v1 + "targetfilters": [{"id": 3, "name": "good", "query": "name==T*"}, {"id": 4, "name": "bad", "query": "assignedds.name==x"}],
        v1 + "targets": targets, **{f"{v1}targets/t{i}/attributes": {"n": str(i)} for i in range(25)},
    }
    threading.Thread(target=server.serve_forever, daemon=True).start()
    server.url = f"http://127.0.0.1:{server.server_address[1]}"
    yield server
    server.shutdown()


def check_all_there(target, fake):
    b = Mgmt(target.url)
    assert b.get("targets", limit=1)["total"] == 25 and b.get("targets/t7/attributes") == {"n": "7"} and b.get("targets/t24")["securityToken"] == "tok24"
    files = b.get(f"softwaremodules/{b.get('softwaremodules')['content'][0]['id']}/artifacts")
    assert [f["hashes"]["sha256"] for f in files] == [hashlib.sha256(fake.blob).hexdigest()]
    assert [t["controllerId"] for t in b.get(f"targettags/{b.get('targettags')['content'][0]['id']}/assigned")["content"]] == ["t1"]
    assert b.get("distributionsets")["total"] == 1 and [f["name"] for f in b.get("targetfilters")["content"]] == ["good"]


def test_a_source_that_stumbles(make, move, fake):
    target = make("target")
    fake.faults += [("targettags$", "cut"), ("softwaremodules$", "500"), ("softwaremodules$", "html"), ("artifacts$", "half"), ("download", "half"),
                    ("download", "503"), ("distributionsets$", "429"), ("targets$", "cut"), ("attributes$", "500"), ("t9/attributes$", "cut")]
    done = move(target, fake.url, "--page", 10, code=1)  # a filter cannot be moved: it is said, the rest is done
    assert counts(done) == {"tags": (1, 0, 0, 0), "modules": (1, 0, 0, 0), "sets": (1, 0, 0, 0), "filters": (1, 0, 0, 1), "targets": (25, 0, 0, 0)}
    assert "bad" in move.stderr and "assignedds.name" in move.stderr and fake.faults == []
    check_all_there(target, fake)


def test_a_source_without_ranges_is_asked_from_the_beginning(make, move, fake):
    target = make("target")
    fake.ranges = False
    fake.faults.append(("download", "half"))
    move(target, fake.url, "--what", "modules")
    assert sum("download" in p for p in fake.asked) == 2


@pytest.mark.parametrize("where, how", [("targets$", "500"), ("t13/attributes$", "500"), ("download", "500"), ("distributionsets$", "cut"), ("targets$", "empty"),
                                        ("targetfilters$", "html")])
def test_a_run_that_was_cut_goes_on(make, move, fake, tmp_path, where, how):
    target, state = make("target"), tmp_path / "state"
    fake.faults += [(where, how)] * (1 if how == "empty" else 12)  # more than there are attempts: the run ends
    move(target, fake.url, "--state", state, "--page", 10, code=3 if how != "empty" else 1)
    before = len(fake.asked)
    with open(state, "a") as f:
        f.write("targets\tt2")  # as a crash leaves a line
    fake.faults.clear()
    move(target, fake.url, "--state", state, "--page", 10, code=1)
    check_all_there(target, fake)
    noted = {line.split("\t")[1] for line in state.read_text().splitlines() if line.startswith("targets\t") and line.count("\t") == 2}
    assert noted == {f"t{i}" for i in range(25)}
    if where == "t13/attributes$":  # what was noted is not asked for again
        assert sum(bool(re.search(r"softwaremodules/31", p)) for p in fake.asked[before:]) == 0


def test_other_bytes_are_refused(make, move, fake):
    target = make("target")
    fake.faults.append(("download", "other"))
    done = move(target, fake.url, "--what", "modules", code=1)
    assert done["modules"]["refused"] == 1 and "other bytes" in move.stderr
    module = Mgmt(target.url).get("softwaremodules")["content"][0]["id"]
    assert Mgmt(target.url).get(f"softwaremodules/{module}/artifacts") == []
    assert counts(move(target, fake.url, "--what", "modules"))["modules"] == (0, 1, 0, 0)  # the next run brings it


def test_wrong_arguments(make, move, fake, tmp_path):
    target = make("target")
    move(target, "ftp://x", code=2)
    move(target, fake.url, "--what", "everything", code=2)
    (tmp_path / "other").write_text("aviary-import-1\thttp://elsewhere\n")
    move(target, fake.url, "--state", tmp_path / "other", code=6)
    (tmp_path / "no").write_text("something else\n")
    move(target, fake.url, "--state", tmp_path / "no", code=6)
    move(target, fake.url, "--user", "nobody", code=1)
    assert Mgmt(target.url).get("targets")["total"] == 0
