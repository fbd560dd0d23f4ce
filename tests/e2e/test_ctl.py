"""aviaryctl against a real daemon, and what it does without one: the offline judge, signatures, restore, documents written from its tables."""
import csv
import io
import json
import os
import pty
import re
import shutil
import socket
import subprocess
import threading
import time

import pytest

from harness import tiny_model
from harness.process import wait_for

REFUSED, USAGE, CONNECTION, NOT_FOUND, UNDONE, LOCAL, TIMEOUT = 1, 2, 3, 4, 5, 6, 7


class Ctl:
    """Runs the program; the answer has code, out, err."""

    def __init__(self, build, folder, server=None, **env):
        self.program = build / "aviaryctl"
        self.env = {"PATH": os.environ["PATH"], "HOME": str(folder), **env}
        if server:
            self.env.update(AVIARY_URL=server.url, AVIARY_TOKEN=server.token)

    def start(self, *words, **options):
        return subprocess.Popen([str(w) for w in (self.program, *words)], env=self.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                stdin=options.pop("stdin", subprocess.DEVNULL), **options)

    def run(self, *words, code=0, input=None, env=None, timeout=60):
        done = subprocess.run([str(w) for w in (self.program, *words)], env={**self.env, **(env or {})}, capture_output=True, text=True, input=input,
                              timeout=timeout)
        assert done.returncode == code, f"{words}: {done.returncode}, not {code}\n{done.stdout}\n{done.stderr}"
        return done

    def out(self, *words, **options):
        return self.run(*words, **options).stdout

    def json(self, *words, **options):
        return json.loads(self.out(*words, "--json", **options))


@pytest.fixture
def local(build, tmp_path):
    return Ctl(build, tmp_path)


@pytest.fixture
def http_server(make_server):
    return make_server(config={"mqtt": {"host": ""}})


@pytest.fixture
def ctl(build, tmp_path, http_server):
    return Ctl(build, tmp_path, http_server)


# ---- the offline judge: vectors of the judge's design ----

def table(blocks, canary=0):
    out = io.StringIO()
    w = csv.writer(out)
    w.writerow(["block", "device", "canary", "score"])
    for b, scores in enumerate(blocks):
        for i, score in enumerate(scores):
            w.writerow([b, f"d{b}-{i}", int(i == canary), score])
    return out.getvalue()


def judge(local, tmp_path, text, *options, code=0):
    path = tmp_path / "canary.csv"
    path.write_text(text)
    done = local.run("judge", path, *options, code=code)
    return json.loads(done.stdout) if code == 0 else done.stderr


@pytest.mark.parametrize("blocks, s, fraction, p", [
    ([[5, 1, 0, 2], [3, 3, 1, 0], [7, 2, 2, 4]], 15, "1/32", 0.03125),
    ([[1, 0, 0, 0, 0]] * 3, 3, "1/125", 0.008),
    ([[1, 0, 0, 0, 0]] * 3 + [[0, 1, 0, 0, 0]], 3, "17/625", 0.0272),
    ([[2, -1, -1], [1, 1, -2], [0, 0, 0], [3, -3, 0]], 6, "2/27", 2 / 27),
    ([[0, 0, 0]] * 5, 0, "1/1", 1),
    ([[-3, 1, 1, 1]] * 2, -6, "1/1", 1),
])
def test_judge_integers(local, tmp_path, blocks, s, fraction, p):
    v = judge(local, tmp_path, table(blocks), "--integer")
    assert (v["S"], v["p_fraction"], v["x"]) == (s, fraction, blocks)
    assert v["p"] == pytest.approx(p, rel=1e-12) and v["scale"] is None


A = [[.021, .008, -.020, -.001], [.018, .004, -.010, -.008], [.015, -.012, -.002, -.017], [.012, -.013, .001, .014],
     [.026, .012, -.017, .006], [.006, -.014, .002, .007]]


def test_judge_scores(local, tmp_path):
    v = judge(local, tmp_path, table(A), "--scores")
    assert v["x"] == [[16, 4, -21, -4], [18, 5, -7, -5], [20, -4, 4, -9], [5, -18, -5, 7], [15, 3, -23, -3], [2, -16, -2, 3]]
    assert (v["S"], v["p_fraction"], v["p"]) == (76, "1/1024", 1 / 1024)
    assert v["scale"] == pytest.approx(0.0088956, abs=1e-12)
    assert v["verdict"] == "revert" and v["opinion"] == "harm"


def test_order_of_rows_does_not_matter(local, tmp_path):
    lines = table(A).splitlines()
    assert judge(local, tmp_path, "\n".join([lines[0], *reversed(lines[1:])]), "--scores") == judge(local, tmp_path, table(A), "--scores")


COUNTS = [(930, 445, 910, 456, 950, 473, 900, 452), (880, 418, 905, 455, 870, 436, 915, 452), (960, 462, 955, 476, 940, 472, 925, 465),
          (890, 425, 900, 449, 935, 466, 905, 455), (920, 441, 875, 440, 930, 463, 945, 474)]


def counts(metric="accuracy", extra=""):
    rows = ["block,device,canary,metric,baseline_n,baseline_sum,n,sum"]
    for b, values in enumerate(COUNTS):
        for i in range(4):
            rows.append(f"{b},dev{b}{i},{'true' if i == 0 else 'false'},{metric},1000,{values[2 * i]},500,{values[2 * i + 1]}")
    return "\n".join(rows) + "\n" + extra


def test_judge_counts(local, tmp_path):
    v = judge(local, tmp_path, counts(), "--alpha", "0.01")
    assert v["x"] == [[32, -3, 3, -5], [32, -10, -7, 7], [32, 4, -4, -5], [32, -1, 1, -8], [32, -6, 4, -4]]
    assert (v["S"], v["p_fraction"], v["verdict"]) == (160, "1/1024", "revert")
    assert v["scale"] == pytest.approx(0.00778365, abs=1e-12)
    assert v["effect"] == pytest.approx(0.04, abs=0.005)
    assert v["n_min"] == 4  # 4^-4 < 0.01 < 4^-3
    assert v["p_ni"] is None


def test_judge_options(local, tmp_path):
    assert judge(local, tmp_path, counts(), "--alpha-look", "0.0001")["verdict"] == "inconclusive"  # p of 1/1024 only holds
    held = judge(local, tmp_path, counts(), "--alpha-look", "0.0001", "--hold-p", "0.0001")
    assert held["verdict"] == "pass" and held["n_min"] == 7
    assert judge(local, tmp_path, counts(), "--margin", "0.1")["p"] > 0.5
    better = judge(local, tmp_path, counts(), "--worse", "up", "--ni-margin", "0.02")
    assert better["S"] == -160 and better["p_ni"] <= 0.05 and better["opinion"] == "not_worse" and better["verdict"] == "pass"
    worse = judge(local, tmp_path, counts(), "--alpha-look", "1e-9", "--hold-p", "0", "--ni-margin", "0.02")
    assert worse["verdict"] == "inconclusive" and worse["p_ni"] > 0.9
    two = judge(local, tmp_path, counts() + counts("agreement").split("\n", 1)[1], "--weight", "accuracy=3", "--weight", "agreement=1")
    assert [g["metric"] for g in two["gates"]] == ["accuracy", "agreement"]
    assert [g["alpha_look"] for g in two["gates"]] == pytest.approx([0.0075, 0.0025])
    paired = judge(local, tmp_path, "block,device,canary,score\n" + "".join(f"{i},d{i},1,{3 + i % 2}\n" for i in range(8)), "--integer", "--paired")
    assert paired["p_fraction"] == "1/256" and paired["S"] == 28


@pytest.mark.parametrize("blocks, controls, silent, silent_controls, p", [(20, 9, 3, 0, 1e-3), (20, 31, 3, 0, 3.05176e-5), (50, 99, 3, 0, 1e-6),
                                                                          (50, 99, 3, 5, 5.39333e-5)])
def test_judge_silence(local, tmp_path, blocks, controls, silent, silent_controls, p):
    rows = ["block,device,canary,metric,baseline_n,baseline_sum,n,sum"]
    for b in range(blocks):
        for i in range(controls + 1):
            is_silent = b < silent if i == 0 else silent <= b < silent + silent_controls and i == 1
            rows.append(f"{b},d{b}-{i},{int(i == 0)},silence,0,0,1,{int(is_silent)}")
    v = judge(local, tmp_path, "\n".join(rows), "--kind", "silence")
    assert v["S"] == silent and v["p"] == pytest.approx(p, rel=1e-5)


@pytest.mark.parametrize("text, options, words", [
    ("block,device,canary\n", ["--scores"], "missing: score"),
    ("block,device,canary,score,colour\n", ["--scores"], "no such column: colour"),
    ("block,device,canary,score\n1,a,1,x\n", ["--scores"], ":2: score x"),
    ("block,device,canary,score\n1,a,1,nan\n", ["--scores"], ":2: score nan"),
    ("block,device,canary,score\n1,a,1,1\n1,b,1,2\n", ["--scores"], "exactly one canary"),
    ("block,device,canary,score\n1,a,1,1\n1,b,0,2\n1,b,0,2\n", ["--scores"], "twice"),
    ("block,device,canary,score\n1,a,1,1.5\n1,b,0,2\n", ["--integer"], "integer"),
    ("block,device,canary,score\n", ["--scores"], "no rows"),
    ("", [], "empty"),
    (counts(extra="9,x,1,accuracy,10,5,10,11\n9,y,0,accuracy,10,5,10,5\n"), [], "0 <= sum <= n"),
])
def test_judge_refuses(local, tmp_path, text, options, words):
    assert words in judge(local, tmp_path, text, *options, code=LOCAL)


def test_judge_refuses_options(local, tmp_path):
    assert "below 0.5" in judge(local, tmp_path, counts(), "--alpha", "0.7", code=USAGE)
    assert "either" in judge(local, tmp_path, table(A), "--scores", "--integer", code=USAGE)
    assert "from 0" in judge(local, tmp_path, counts(), "--margin", "-1", code=USAGE)


# ---- arguments, connection, configuration ----

@pytest.mark.parametrize("words, said", [
    (["nothing"], "no such command: nothing"),
    (["device"], "device wants a command"),
    (["device", "fly"], "device has no command fly"),
    (["device", "show"], "usage: aviaryctl device show DEVICE"),
    (["device", "show", "a", "b"], "usage:"),
    (["device", "list", "--limt", "5"], "device list has no option --limt"),
    (["device", "list", "--limit", "five"], "an integer is wanted"),
    (["device", "list", "--limit"], "--limit wants N"),
    (["device", "list", "--limit", "1", "--limit", "2"], "given twice"),
    (["rollout", "create", "--soak", "soon"], "a duration"),
    (["rollout", "create", "--gate", "accuracy:margn=1"], "kind, worse, quantile, margin"),
    (["rollout", "create", "--stage", "many"], "PERCENT%"),
    (["token", "create", "x", "--role", "king"], "one of viewer operator admin enrol"),
    (["--url", "ftp://x", "stats"], "http or https"),
])
def test_wrong_arguments_are_named(local, words, said):
    assert said in local.run(*words, code=USAGE).stderr


def test_no_server_is_a_code_of_its_own(local):
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        assert "http://127.0.0.1" in local.run("--url", f"http://127.0.0.1:{s.getsockname()[1]}", "stats", code=CONNECTION).stderr


def test_where_the_connection_comes_from(build, tmp_path, http_server):
    bare = Ctl(build, tmp_path)
    conf = tmp_path / ".config" / "aviary" / "ctl.conf"
    conf.parent.mkdir(parents=True)
    assert "a token is wanted" in bare.run("--url", http_server.url, "stats", code=REFUSED).stderr
    conf.write_text(f"# mine\nurl = {http_server.url}/\ntoken = {http_server.token}\n")
    conf.chmod(0o644)
    assert "others may read it" in bare.run("stats").stderr
    conf.chmod(0o600)
    assert bare.run("stats").stderr == ""
    conf.write_text(f"url = http://127.0.0.1:1\ntoken_file = {http_server.state / 'admin.token'}\n")
    bare.run("stats", code=CONNECTION)
    bare.run("stats", env={"AVIARY_URL": http_server.url})
    bare.run("--url", http_server.url, "stats")
    bare.run("--url", http_server.url, "stats", env={"AVIARY_TOKEN": "wrong"}, code=REFUSED)
    conf.write_text("colour = red\n")
    assert "ctl.conf:1: no such key: colour" in bare.run("stats", code=USAGE).stderr


# ---- documents from the tables ----

ROOT_FILES = [("config/completion/aviaryctl.bash", ["completion", "bash"]), ("config/completion/_aviaryctl", ["completion", "zsh"])]


@pytest.mark.parametrize("path, words", ROOT_FILES)
def test_completion_files_are_what_the_program_writes(local, request, path, words):
    assert (request.config.rootpath / path).read_text() == local.out(*words)


def test_manual_page_lists_every_command(local, request):
    assert local.out("help", "--man") in (request.config.rootpath / "docs/man/aviaryctl.1").read_text()


@pytest.mark.parametrize("words, expected", [
    (["ro"], {"rollout"}), (["rollout", "wa"], {"watch"}), (["rollout", "create", "--on-error", ""], {"revert", "pause"}),
    (["--url", "http://x", "model", "d"], {"delete"}), (["device", "list", "--fil"], {"--filter"}), (["completion", ""], {"bash", "zsh"}),
])
def test_bash_completes(request, words, expected):
    file = request.config.rootpath / "config/completion/aviaryctl.bash"
    script = f'source {file}; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _aviaryctl; printf "%s\\n" "${{COMPREPLY[@]}}"'
    done = subprocess.run(["bash", "-c", script, "-", "aviaryctl", *words], capture_output=True, text=True, timeout=20)
    assert done.stderr == "" and set(done.stdout.split()) == expected


def test_help(local):
    text = local.out("help")
    for group in ("device", "rollout", "judge", "restore", "completion"):
        assert re.search(rf"^  {group} ", text, re.M)
    assert "--dry-run" in local.out("rollout", "create", "--help") and "explain ROLLOUT" in local.out("help", "rollout")
    assert local.out("version") == local.out("--version")


# ---- resources ----

def test_devices(ctl, http_server, tmp_path):
    ctl.run("device", "add", "dev-1", "--hardware", "esp32s3", "--name", "Tür 7", "--attribute", "region=eu", "--attribute", "floor=3", "--tag", "beta")
    assert ctl.json("device", "show", "dev-1")["attributes"] == {"region": "eu", "floor": "3"}
    ctl.run("device", "edit", "dev-1", "--attribute", "floor=", "--attribute", "room=a")
    ctl.run("device", "tag", "dev-1", "--add", "new", "--remove", "beta")
    device = http_server.get("/devices/dev-1")
    assert device["attributes"] == {"region": "eu", "room": "a"} and device["tags"] == ["new"] and device["name"] == "Tür 7"
    lines = "".join(json.dumps({"id": f"bulk-{i:04}", "hardware": "nrf52", "name": "語" if i == 0 else "x"}) + "\n" for i in range(1500))
    path = tmp_path / "devices.ndjson"
    path.write_text(lines)
    assert "1500 created" in ctl.out("device", "import", path)
    again = ctl.run("device", "import", "-", input=lines.splitlines()[0] + "\n{\"id\":\"bad id\",\"hardware\":\"h\"}\n", code=REFUSED)
    assert "1 unchanged" in again.stdout and "line 2 at /id" in again.stderr
    page = ctl.json("device", "list")
    assert len(page["items"]) == 100 and page["next"]
    assert len(ctl.json("device", "list", "--all", "--filter", "hardware==nrf52")) == 1500
    ids = ctl.out("device", "list", "--all", "--quiet", "--sort", "id").split()
    assert len(ids) == 1501 and ids == sorted(ids)
    rows = ctl.run("device", "list", "--limit", "2", "--filter", "hardware==nrf52")
    head, first, second = rows.stdout.splitlines()
    assert head.split()[:3] == ["ID", "NAME", "HARDWARE"] and "--all" in rows.stderr
    assert first.index("nrf52") == second.index("nrf52") - 1  # one character that is two columns wide
    assert ctl.json("device", "desired", "dev-1", "--put", '{"a":1,"b":{"c":2}}') == {"a": 1, "b": {"c": 2}}
    assert ctl.json("device", "desired", "dev-1", "--merge", "-", input='{"b":{"c":null,"d":3}}') == {"a": 1, "b": {"d": 3}}
    assert re.fullmatch("[0-9a-f]{64}", ctl.json("device", "credential", "dev-1")["secret"])
    ctl.run("device", "credential", "dev-1", "--forget")
    ctl.run("group", "create", "lab")
    assert ctl.json("group", "change", "lab", "--add", "dev-1", "--add", "bulk-0001")["added"] == 2
    assert ctl.out("group", "members", "lab", "--quiet").split() == ["dev-1", "bulk-0001"]
    ctl.run("device", "delete", "dev-1")
    assert "no device" in ctl.run("device", "show", "dev-1", code=NOT_FOUND).stderr
    assert ctl.json("audit", "--action", "device.delete")["items"][0]["resource"] == "devices/dev-1"


def test_problems_name_the_member(ctl):
    error = ctl.run("device", "add", "bad id", "--hardware", "x", code=REFUSED).stderr
    assert "invalid value (422)" in error and "at /id" in error
    ctl.run("model", "create", "kws")
    assert "409" in ctl.run("model", "create", "kws", code=REFUSED).stderr


def test_text_from_the_server_cannot_control_the_terminal(ctl, http_server):
    http_server.post("/models", {"name": "kws", "description": "a\u009b31mb\u202ec"})
    out = ctl.out("model", "list") + ctl.out("model", "show", "kws")
    assert "\u009b" not in out and "\u202e" not in out and "a\ufffd31mb\ufffdc" in out


def test_colours_only_where_they_are_seen(ctl):
    ctl.run("model", "create", "kws")
    assert "\033" not in ctl.out("model", "list") and "\033[1m" in ctl.out("model", "list", "--colour", "always")
    main, child = pty.openpty()
    process = subprocess.Popen([ctl.program, "model", "list"], env={**ctl.env, "COLUMNS": "60"}, stdout=child, stderr=child, stdin=subprocess.DEVNULL)
    os.close(child)
    process.wait(20)
    text = os.read(main, 10000).decode()
    os.close(main)
    assert "\033[1m" in text


def test_tokens_and_roles(ctl, build, tmp_path, http_server):
    token = ctl.json("token", "create", "watcher", "--role", "viewer", "--expires", "2099-01-01T00:00:00Z")
    viewer = Ctl(build, tmp_path, http_server)
    viewer.env["AVIARY_TOKEN"] = token["token"]
    viewer.run("model", "list")
    assert "403" in viewer.run("model", "create", "x", code=REFUSED).stderr
    ctl.run("token", "revoke", token["id"])
    assert "401" in viewer.run("model", "list", code=REFUSED).stderr
    assert ctl.json("health")["status"] == "ready"


def test_idempotency_key(ctl):
    first = ctl.json("rule", "create", "hot", "--metric", "temperature_c", "--threshold", "80", "--for", "1m", "--idempotency-key", "k1")
    assert ctl.json("rule", "create", "hot", "--metric", "temperature_c", "--threshold", "80", "--for", "1m", "--idempotency-key", "k1") == first
    assert first["for_ms"] == 60000 and first["threshold"] == 80
    ctl.run("rule", "edit", first["id"], "--threshold", "-5.5", "--operator", "lt")
    assert [(r["threshold"], r["operator"]) for r in ctl.json("rule", "list", "--all")] == [(-5.5, "lt")]
    ctl.run("rule", "delete", first["id"])


# ---- files ----

@pytest.fixture
def model_file(tmp_path):
    path = tmp_path / "kws any.tflite"
    path.write_bytes(tiny_model("1.0.0", payload=3_000_000))
    return path


def add_version(ctl, version="1.0.0"):
    ctl.run("model", "create", "kws")
    ctl.run("version", "create", "kws", version, "--notes", "first")


class Cutter:
    """Passes bytes on to the server and cuts the first connection that uploads, after so many."""

    def __init__(self, port, after):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        self.port, self.left, self.cuts = port, after, 0
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self.port))
            threading.Thread(target=self.pump, args=(client, server, True), daemon=True).start()
            threading.Thread(target=self.pump, args=(server, client, False), daemon=True).start()

    def pump(self, source, target, is_up):
        try:
            while data := source.recv(16384):
                if is_up and self.cuts == 0:
                    self.left -= len(data)
                    if self.left < 0:
                        self.cuts += 1
                        break
                target.sendall(data)
        except OSError:
            pass
        for s in (source, target):
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


def test_an_upload_goes_on_after_a_cut(ctl, http_server, model_file):
    add_version(ctl)
    cutter = Cutter(http_server.port, 1_000_000)
    done = ctl.run("artifact", "upload", "kws", "1.0.0", model_file, "--hardware", "esp32s3", "--json", env={"AVIARY_URL": cutter.url})
    cutter.listener.close()
    assert cutter.cuts == 1 and "goes on" in done.stderr
    artifact = json.loads(done.stdout)
    assert artifact["state"] == "ready" and artifact["size_bytes"] == model_file.stat().st_size and artifact["file_name"] == "kws any.tflite"
    assert ctl.json("artifact", "upload", "kws", "1.0.0", model_file, "--hardware", "esp32s3")["id"] == artifact["id"]  # nothing is sent twice
    other = model_file.with_name("other")
    other.write_bytes(b"other")
    assert "409" in ctl.run("artifact", "upload", "kws", "1.0.0", other, "--hardware", "esp32s3", code=REFUSED).stderr


def test_a_download_goes_on_and_is_checked(ctl, model_file, tmp_path):
    add_version(ctl)
    artifact = ctl.json("artifact", "upload", "kws", "1.0.0", model_file)
    got = tmp_path / "got"
    part = tmp_path / "got.part"
    part.write_bytes(model_file.read_bytes()[:1234567])
    ctl.run("artifact", "download", artifact["id"], got)
    assert got.read_bytes() == model_file.read_bytes() and not part.exists()
    part.write_bytes(b"x" * 1000)
    assert "other bytes" in ctl.run("artifact", "download", artifact["id"], tmp_path / "got", code=LOCAL).stderr
    assert not part.exists()
    ctl.run("artifact", "download", 999, got, code=NOT_FOUND)


def test_signatures_are_checked_without_the_server(ctl, local, http_server, model_file, tmp_path):
    add_version(ctl)
    ctl.run("artifact", "upload", "kws", "1.0.0", model_file)
    ctl.run("release", "create", "kws-1", "--component", "kws=1.0.0", "--with-config", '{"rate":5}')
    saved, key = tmp_path / "manifest.json", http_server.state / "keys/release.pub"
    ctl.run("release", "manifest", "kws-1", "--output", saved)
    assert "the signature is right: release kws-1" in local.out("release", "verify", saved, "--key", key, "--artifact", model_file)
    over_http = tmp_path / "key.json"
    over_http.write_text(http_server.request("GET", "/device/v1/key").text)
    assert local.json("release", "verify", saved, "--key", over_http)["config"] == {"rate": 5}
    assert "old manifest" in local.run("release", "verify", saved, "--key", key, "--least-counter", 99, code=LOCAL).stderr
    other = tmp_path / "other"
    other.write_bytes(b"other")
    assert "names no artifact" in local.run("release", "verify", saved, "--key", key, "--artifact", other, code=LOCAL).stderr
    document = json.loads(saved.read_text())
    document["signature"] = ("B" if document["signature"][0] == "A" else "A") + document["signature"][1:]
    saved.write_text(json.dumps(document))
    assert "WRONG" in local.run("release", "verify", saved, "--key", key, code=LOCAL).stderr


def test_backup_and_restore(ctl, local, http_server, model_file, tmp_path):
    add_version(ctl)
    ctl.run("artifact", "upload", "kws", "1.0.0", model_file)
    backup = tmp_path / "kept"
    os.rename(ctl.json("backup")["path"], backup)
    ctl.run("model", "create", "later")
    assert "stop aviaryd" in local.run("restore", backup, http_server.state, code=LOCAL).stderr
    http_server.stop()
    assert "--replace" in local.run("restore", backup, http_server.state, code=LOCAL).stderr
    local.run("restore", backup, http_server.state, "--replace")
    http_server.start()
    assert [m["name"] for m in http_server.items("/models")] == ["kws"]
    artifact = http_server.items("/models/kws/versions/1.0.0/artifacts")[0]
    content = http_server.request("GET", f"/artifacts/{artifact['id']}/content")
    assert content.content == model_file.read_bytes()
    before = [p for p in tmp_path.rglob("state.before-*") if p.is_dir()]
    assert len(before) == 1 and (before[0] / "fleet.db").exists()


@pytest.mark.parametrize("damage, words", [
    (lambda d: (d / "fleet.db").write_bytes((d / "fleet.db").read_bytes()[:-4096]), "is cut"),
    (lambda d: (d / "fleet.db").write_bytes(b"x" * 8192), "not a database"),
    (lambda d: (d / "backup.json").unlink(), "no whole backup"),
    (lambda d: (d / "keys/release.key").unlink(), "release.key"),
    (lambda d: next(p for p in (d / "blobs").rglob("*") if p.is_file()).write_bytes(b"other"), "damaged"),
    (lambda d: next(p for p in (d / "blobs").rglob("*") if p.is_file()).unlink(), "1 artifacts are told"),
])
def test_a_damaged_backup_is_refused(ctl, local, http_server, tmp_path, damage, words):
    small = tmp_path / "small"
    small.write_bytes(tiny_model("x"))
    add_version(ctl)
    ctl.run("artifact", "upload", "kws", "1.0.0", small)
    backup = tmp_path / "kept"
    shutil.copytree(ctl.json("backup")["path"], backup)  # not the links: damage stays here
    local.run("restore", backup, "--check")
    damage(backup)
    assert words in local.run("restore", backup, tmp_path / "new", code=LOCAL).stderr
    assert not (tmp_path / "new").exists()


# ---- rollouts ----

DEVICES = 120


@pytest.fixture
def fleet(build, tmp_path, server, make_sim):
    ctl = Ctl(build, tmp_path, server)
    ctl.run("model", "create", "kws")
    for version in ("1.0.0", "1.1.0", "1.2.0"):
        path = tmp_path / f"{version}.tflite"
        path.write_bytes(tiny_model(version, payload=2000))
        ctl.run("version", "create", "kws", version)
        ctl.run("artifact", "upload", "kws", version, path)
        ctl.run("release", "create", f"kws-{version}", "--component", f"kws={version}")
    token = ctl.json("token", "create", "factory", "--kind", "enrolment")["token"]
    sim = make_sim(server, DEVICES, enrol=token, factory_release="kws-1.0.0", factory_model="kws=1.0.0", factory_counter=1, interval="250ms",
                   report_retry="2s", self_test="100ms", seed=5, quiet=True, effect="kws=1.2.0:accuracy-0.10,latency*1.3")
    sim.wait_connected(DEVICES)
    wait_for(lambda: server.running() == {"kws-1.0.0": DEVICES}, 30, lambda: f"all enrolled: {server.running()}")
    return ctl


def options(version):
    return ["--release", f"kws-{version}", "--stage", "canary=15%", "--stage", "100%", "--gate", "accuracy", "--gate", "latency_ms:margin=0.05",
            "--gate", "silence", "--soak", "2s", "--install-timeout", "10s", "--reports-planned", "64", "--error", "30"]


def wait_baseline(ctl):
    def ready():
        done = subprocess.run([str(ctl.program), "rollout", "create", *options("1.1.0"), "--dry-run", "--json"], env=ctl.env, capture_output=True, text=True)
        return done.returncode == 0 and json.loads(done.stdout)["target"]["without_baseline"] == 0
    wait_for(ready, 30, "every device has a baseline", 0.3)


def test_a_bad_rollout_is_watched_and_explained(fleet, server):
    wait_baseline(fleet)
    plan = fleet.out("rollout", "create", *options("1.2.0"), "--dry-run")
    assert f"{DEVICES} devices match" in plan and "BLOCKS NEEDED" in plan and "Guarantee: exact" in plan
    assert fleet.json("rollout", "list")["items"] == []
    done = fleet.run("rollout", "create", *options("1.2.0"), "--start", "--watch", code=UNDONE, timeout=90)
    assert "judge: revert" in done.stdout and re.search(r"canary +\[[.]+\] reverted", done.stdout), done.stdout
    story = " ".join(fleet.out("rollout", "explain", 1).split())
    for words in ("It is reverted", "that keep the old release", "drawn at random", "worse by", "of the", "draws (p =", "so harm is shown",
                  "Error budget", "back on the release of before"):
        assert words in story, (words, story)
    looks = fleet.json("rollout", "verdicts", 1)["items"]
    harm = [look for look in looks if look["data"]["opinion"] == "harm"]
    assert harm and all(look["p"] <= look["alpha_look"] for look in harm)
    assert fleet.json("rollout", "show", 1)["status"] == "reverted"
    blocks = fleet.json("rollout", "blocks", 1, "--stage", 0, "--limit", 1000)["items"]
    deployed = fleet.json("rollout", "deployments", 1, "--all", "--state", "reverted")
    assert {d["device"] for d in deployed} <= {b["device"] for b in blocks if b["canary"]}
    assert "gate.verdict" in fleet.out("alert", "list")
    fleet.run("alert", "ack", fleet.json("alert", "list")["items"][0]["id"])
    assert "409" in fleet.run("rollout", "create", *options("1.2.0"), code=REFUSED).stderr


def test_a_good_rollout_is_driven_by_hand(fleet, tmp_path, server):
    wait_baseline(fleet)
    file = tmp_path / "rollout.json"
    file.write_text(json.dumps({"name": "by file", "release": "kws-1.1.0", "stages": [{"percent": 50}, {"percent": 100}], "soak_ms": 500,
                                "judge": {"beta": 0.1}, "rate": {"per_minute": 600}}))
    assert fleet.out("rollout", "create", file, "--alpha", "0.02", "--stage", "20%", "--stage", "100%", "--quiet").strip() == "1"
    rollout = fleet.json("rollout", "show", 1)
    assert rollout["status"] == "ready" and rollout["name"] == "by file"
    assert (rollout["spec"]["judge"]["alpha"], rollout["spec"]["judge"]["beta"]) == (0.02, 0.1)
    assert [s["percent"] for s in rollout["spec"]["stages"]] == [20, 100]
    assert "waits for you: aviaryctl rollout start 1" in fleet.out("rollout", "explain", 1)
    follower = fleet.start("events", "--resource", "rollouts/1", "--after", 0, "--count", 6, "--timeout", "60s", "--json")
    watcher = fleet.start("rollout", "watch", 1, "--json", "--timeout", "90s")
    fleet.run("rollout", "start", 1)
    fleet.run("rollout", "pause", 1)
    assert "Nothing is offered until somebody decides" in " ".join(fleet.out("rollout", "explain", 1).split())
    fleet.run("rollout", "watch", 1, "--timeout", "300ms", code=TIMEOUT)
    fleet.run("rollout", "resume", 1)
    out, err = watcher.communicate(timeout=100)
    assert watcher.returncode == 0, err
    states = [json.loads(line) for line in out.splitlines()]
    assert states[-1]["status"] == "finished" and states[-1]["deployments"] == {"succeeded": DEVICES}
    out, err = follower.communicate(timeout=60)
    events = [json.loads(line) for line in out.splitlines()]
    assert follower.returncode == 0 and len(events) == 6 and all(e["resource"] == "rollouts/1" for e in events)
    assert f"{DEVICES} devices have it" in " ".join(fleet.out("rollout", "explain", 1).split())
    assert fleet.run("rollout", "start", 1, code=REFUSED).stderr
    fleet.run("rollout", "show", 77, code=NOT_FOUND)
    metrics = {m["name"] for m in fleet.json("telemetry", "metrics")["items"]}
    assert {"accuracy", "latency_ms"} <= metrics
    rows = fleet.json("telemetry", "query", "--metric", "accuracy", "--by", "version", "--aggregate", "mean,count", "--from", "-1h")["items"]
    assert {r["version"] for r in rows} >= {"1.0.0", "1.1.0"} and all(0.8 < r["mean"] < 1 for r in rows)
    assert "MEAN" in fleet.out("telemetry", "query", "--metric", "accuracy")


def test_watch_bridges_a_restart(fleet, server):
    fleet.run("rollout", "create", "--release", "kws-1.1.0", "--stage", "100%", "--soak", "6s", "--start")
    watcher = fleet.start("rollout", "watch", 1)
    time.sleep(1)
    server.restart()
    out, err = watcher.communicate(timeout=90)
    assert watcher.returncode == 0, out + err
    assert "finished" in out


def test_watch_draws_on_a_terminal(fleet):
    main, child = pty.openpty()
    fleet.run("rollout", "create", "--release", "kws-1.1.0", "--stage", "100%", "--soak", "1s", "--start")
    process = subprocess.Popen([fleet.program, "rollout", "watch", "1"], env=fleet.env, stdout=child, stderr=child, stdin=subprocess.DEVNULL)
    os.close(child)
    text = ""
    while True:
        try:
            data = os.read(main, 65536)
        except OSError:
            break
        if not data:
            break
        text += data.decode()
    os.close(main)
    assert process.wait(60) == 0
    assert re.search(r"\033\[\dA\r\033\[J", text) and "[########################]" in text and "\033[32m" in text
