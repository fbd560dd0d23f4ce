"""Releases in shadow on the device side: the real agent and simulated devices against a few lines of Python that sign and serve as
docs/protocol.md says, so that what they say is checked against the protocol and not against our own server.
"""
import base64
import json
import subprocess
import time

import paho.mqtt.client as mqtt
import pytest

from test_agent_kill import fleet, http_port, sha256  # pylint: disable=unused-import  # noqa: F401

WAIT_S = 30


def wait_for(what, find, timeout_s=WAIT_S):
    until = time.monotonic() + timeout_s
    while time.monotonic() < until:
        found = find()
        if found:
            return found
        time.sleep(0.05)
    pytest.fail(f"{what} did not come within {timeout_s} s")


class Watch:
    """What devices said: their last reports, every telemetry report."""

    def __init__(self, port):
        self.reports, self.telemetry = {}, {}
        self.client = mqtt.Client()
        self.client.on_connect = lambda c, *_: c.subscribe([("aviary/v1/+/report", 1), ("aviary/v1/+/telemetry", 1)])
        self.client.on_message = self.take
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()

    def take(self, _client, _userdata, message):
        _, _, device, kind = message.topic.split("/")
        said = json.loads(message.payload)
        if kind == "report":
            self.reports[device] = said
        else:
            self.telemetry.setdefault(device, []).append(said)

    def deployment(self, device):
        return self.reports.get(device, {}).get("deployment", {})

    def is_at(self, device, number, state):
        work = self.deployment(device)
        return work.get("id") == number and work.get("state") == state


@pytest.fixture
def watch(broker):
    w = Watch(broker.port)
    yield w
    w.client.loop_stop()
    w.client.disconnect()


def publish(fleet, device, **members):
    d = fleet.devices[device]
    d["rev"] += 1
    d["document"] = json.dumps({"device": device, "rev": d["rev"], "config": {}, "report_interval_ms": 300, **members}).encode()
    d["etag"] = sha256(d["document"])[:16]
    fleet.publish(device)


def add(fleet, device):
    """A device that was asked to install kws-2.0.0 and is asked nothing more."""
    fleet.add_device(device)
    fleet.devices[device]["stopped"] = True


def next_release(fleet, device):
    """The next version (3.0.0), signed; and the one that is to run."""
    with fleet.lock:
        running = fleet.devices[device]["release"]
        fleet.next_deployment(device)
        return running, fleet.devices[device]["release"]


def offer_shadow(fleet, device, number, attempt=1):
    running, shadow = fleet.devices[device]["pair"]
    with fleet.lock:
        publish(fleet, device, release=running, shadow={"id": number, "attempt": attempt, "timeout_ms": 60000, "release": shadow})


def hold_back(fleet, device):
    """Makes the pair without any device seeing the install in between."""
    with fleet.lock:
        d, kept = fleet.devices[device], fleet.publish
        fleet.publish = lambda _device: None
    running, shadow = next_release(fleet, device)
    d["pair"] = (running, shadow)
    d["number"] -= 1
    fleet.publish = kept


class Agent:
    def __init__(self, build, tmp_path, broker, fleet, http_port, command):
        self.dir = tmp_path / "dev-1"
        self.metrics, self.shadow_metrics = tmp_path / "metrics", tmp_path / "shadow-metrics"
        self.metrics.write_text("accuracy 0.9\nbattery 0.5\n")
        self.shadow_metrics.write_text("accuracy 0.7\n")
        key = tmp_path / "key.pub"
        key.write_text(base64.b64encode(fleet.public).decode() + "\n")
        self.command = [str(build / "aviary-agent"), "--device", "dev-1", "--hardware", "linux", "--key", str(key), "--state-dir", str(self.dir),
                        "--broker-port", str(broker.port), "--server", f"http://127.0.0.1:{http_port}", "--retry", "40ms",
                        "--metrics", str(self.metrics), "--shadow-metrics", str(self.shadow_metrics), "--shadow-command", command]
        self.log = open(tmp_path / "agent.log", "ab")
        self.process = None
        self.start()

    def start(self):
        self.process = subprocess.Popen(self.command, stderr=self.log)

    def stop(self):
        self.process.kill()
        self.process.wait()


@pytest.fixture
def make_agent(build, tmp_path, broker, fleet, http_port):
    made = []

    def make(command):
        made.append(Agent(build, tmp_path, broker, fleet, http_port, command))
        return made[-1]
    yield make
    for agent in made:
        agent.stop()
        agent.log.close()


def installed(fleet, watch, make_agent, command):
    add(fleet, "dev-1")
    agent = make_agent(command)
    wait_for("the install", lambda: watch.is_at("dev-1", "d-1", "succeeded"))
    hold_back(fleet, "dev-1")
    return agent


def paired(watch, device="dev-1"):
    return [t for t in watch.telemetry.get(device, []) if "shadow" in t]


def test_agent_runs_a_command_in_shadow(make_agent, fleet, watch, tmp_path):
    out = tmp_path / "out"
    agent = installed(fleet, watch, make_agent, f'test -s model-kws && echo "$$ $AVIARY_SHADOW $AVIARY_RELEASE" >{out} && exec sleep 600')
    assert watch.reports["dev-1"]["running"]["release"] == "kws-2.0.0"
    assert not paired(watch)
    offer_shadow(fleet, "dev-1", "d-901")
    wait_for("the shadow", lambda: watch.is_at("dev-1", "d-901", "succeeded"))
    said = wait_for("pairs", lambda: paired(watch))[0]
    assert said["shadow"] == {"id": "d-901", "metrics": {"accuracy": 0.7}}
    assert said["metrics"] == {"accuracy": 0.9, "battery": 0.5} and said["version"] == "2.0.0"
    assert watch.reports["dev-1"]["running"]["release"] == "kws-2.0.0"
    assert (agent.dir / "current").readlink().name == "slot-a"
    pid, shadow, release = wait_for("the command", lambda: out.read_text().split())
    assert (shadow, release) == ("1", "kws-3.0.0")
    assert json.loads((agent.dir / "slot-b" / "manifest.json").read_bytes())["release"] == "kws-3.0.0"

    agent.stop()  # power goes; what ran goes on without a download
    partial, asked = fleet.partial_requests, len(watch.telemetry["dev-1"])
    out.unlink()
    agent.start()
    wait_for("the command again", lambda: out.exists() and out.read_text())
    wait_for("pairs again", lambda: [t for t in watch.telemetry["dev-1"][asked:] if "shadow" in t])
    assert fleet.partial_requests == partial
    status = json.loads(subprocess.run([*agent.command, "--status"], capture_output=True, text=True, check=True).stdout)
    assert status["release"] == "kws-2.0.0" and status["deployment"] == {"id": "d-901", "attempt": 1, "state": "succeeded", "shadow": True}

    pid = int(out.read_text().split()[0])
    with fleet.lock:
        publish(fleet, "dev-1", release=fleet.devices["dev-1"]["pair"][0])
    wait_for("its end", lambda: watch.is_at("dev-1", "d-901", "cancelled"))
    wait_for("the command's end", lambda: subprocess.run(["kill", "-0", str(pid)], stderr=subprocess.DEVNULL, check=False).returncode != 0)
    before = len(watch.telemetry["dev-1"])
    wait_for("more telemetry", lambda: len(watch.telemetry["dev-1"]) > before + 1)
    assert "shadow" not in watch.telemetry["dev-1"][-1]


def test_command_that_ends_is_a_crash(make_agent, fleet, watch, tmp_path):
    starts = tmp_path / "starts"
    agent = installed(fleet, watch, make_agent, f"echo x >>{starts}; sleep 0.2; exit 3")
    offer_shadow(fleet, "dev-1", "d-901")
    wait_for("the failure", lambda: watch.is_at("dev-1", "d-901", "failed"))
    assert watch.deployment("dev-1")["reason"] == "the command in shadow ended with 3"
    agent.stop()
    agent.start()
    wait_for("a report of the next boot", lambda: watch.reports["dev-1"]["seq"] <= 2)
    time.sleep(1)
    assert starts.read_text() == "x\n"  # not again within this attempt
    offer_shadow(fleet, "dev-1", "d-901", attempt=2)
    wait_for("the next attempt", lambda: starts.read_text() == "x\nx\n")


def test_options_go_together(build, tmp_path):
    (tmp_path / "key").write_bytes(bytes(32))
    for options in (["--shadow-command", "true"], ["--shadow-metrics", "x"], ["--shadow-command", "true", "--shadow-metrics", "x"]):
        ran = subprocess.run([str(build / "aviary-agent"), "--device", "d", "--hardware", "h", "--key", str(tmp_path / "key"), *options],
                             capture_output=True, text=True, check=False, timeout=20)
        assert ran.returncode == 2 and "go together" in ran.stderr


# ---- simulated devices ----

@pytest.fixture
def run_sim(build, tmp_path, broker, fleet, http_port):
    running = []

    def run(devices, *options):
        key = tmp_path / "key.hex"
        key.write_text(fleet.public.hex() + "\n")
        status = tmp_path / "status.json"
        names = [f"sim-{i:05d}" for i in range(1, devices + 1)]
        running.append(subprocess.Popen(
            [str(build / "aviary-sim"), "--devices", str(devices), "--broker", f"127.0.0.1:{broker.port}", "--http", f"http://127.0.0.1:{http_port}",
             "--key", str(key), "--classes", "linux:1", "--status", str(status), "--self-test", "50ms", "--interval", "200ms", "--quiet", *options]))
        for name in names:
            add(fleet, name)
        return names, status
    yield run
    for process in running:
        process.terminate()
        process.wait()


def totals(path):
    """The status file, which is replaced whole; {} before the first."""
    return json.loads(path.read_text()) if path.exists() else {}


def share(reports, part):
    """Right answers of all, in reports that are pairs."""
    cells = [(part(t))["accuracy"] for t in reports]
    return sum(c["k"] for c in cells) / sum(c["n"] for c in cells)


def test_a_worse_version_shows_in_shadow_only(run_sim, fleet, watch):
    names, status = run_sim(12, "--effect", "kws=3.0.0:accuracy-0.2,latency*1.5")
    for name in names:
        wait_for("the install", lambda n=name: watch.is_at(n, "d-1", "succeeded"))
        hold_back(fleet, name)
        offer_shadow(fleet, name, "d-901")
    for name in names:
        wait_for("pairs", lambda n=name: len(paired(watch, n)) >= 5)
    pairs = [t for n in names for t in paired(watch, n)]
    alone = [t for n in names for t in watch.telemetry[n] if "shadow" not in t and t.get("version") == "2.0.0"]
    new, old = share(pairs, lambda t: t["shadow"]["metrics"]), share(pairs, lambda t: t["metrics"])
    assert 0.15 < old - new < 0.25
    assert abs(old - share(alone, lambda t: t["metrics"])) < 0.1  # what devices act on is as it was
    for t in pairs:  # the same draws: each pair by itself, and nothing but what the version does
        assert t["shadow"]["metrics"]["accuracy"]["k"] <= t["metrics"]["accuracy"]["k"]
        slow, fast = (sorted(int(k) for k in m["latency_ms"]["sketch"]) for m in (t["shadow"]["metrics"], t["metrics"]))
        assert 9 <= slow[0] - fast[0] <= 12  # ln 1.5 in steps of a sketch
        assert "temperature_c" in t["metrics"] and "temperature_c" not in t["shadow"]["metrics"]
        assert t["version"] == "2.0.0" and t["shadow"]["id"] == "d-901"
    seen = wait_for("the status", lambda: (s := totals(status)).get("shadow") == {"kws-3.0.0": 12} and s)
    assert seen["running"] == {"kws-2.0.0": 12}
    for name in names:
        with fleet.lock:
            publish(fleet, name, release=fleet.devices[name]["pair"][0])
    wait_for("their end", lambda: totals(status)["shadow"] == {})


def test_shadows_crash_and_classes_cannot(run_sim, fleet, watch):
    (name,), _ = run_sim(1, "--fault", "shadowcrash=1@kws=3.0.0")
    wait_for("the install", lambda: watch.is_at(name, "d-1", "succeeded"))
    assert watch.reports[name].get("capabilities", {"shadow": True})["shadow"] is True
    hold_back(fleet, name)
    offer_shadow(fleet, name, "d-901")
    wait_for("the crash", lambda: watch.is_at(name, "d-901", "failed"))
    assert watch.reports[name]["running"]["release"] == "kws-2.0.0"


def test_classes_without_shadow(run_sim, fleet, watch):
    (name,), _ = run_sim(1, "--shadow", "esp32s3,jetson")
    first = wait_for("a report", lambda: watch.reports.get(name))
    assert "shadow" not in first.get("capabilities", {})
    wait_for("the install", lambda: watch.is_at(name, "d-1", "succeeded"))
    hold_back(fleet, name)
    offer_shadow(fleet, name, "d-901")
    wait_for("the refusal", lambda: watch.is_at(name, "d-901", "rejected"))


def test_same_files_signed_anew(run_sim, fleet, watch):
    """What controls of a sham rollout are asked: the release that they run, with a higher counter."""
    (name,), status = run_sim(1)
    wait_for("the install", lambda: watch.is_at(name, "d-1", "succeeded"))
    counter = watch.reports[name]["running"]["counter"]
    seen = wait_for("the status", lambda: (s := totals(status)).get("confirmed") == 1 and s)
    with fleet.lock:
        fleet.devices[name]["number"] += len(fleet.models) - 1  # the same version again
        fleet.next_deployment(name)
    wait_for("the install again", lambda: watch.is_at(name, f"d-{1 + len(fleet.models)}", "succeeded"))
    assert watch.reports[name]["running"]["release"] == "kws-2.0.0" and watch.reports[name]["running"]["counter"] > counter
    again = wait_for("the status", lambda: (s := totals(status)).get("confirmed") == 2 and s)
    assert again["downloads"] == seen["downloads"]  # copied from the slot in use
