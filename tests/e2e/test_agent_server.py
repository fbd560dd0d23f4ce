"""The real agent with the real daemon: enrolment, an update, telemetry, a revert, a restart in the trial, a key that is not pinned."""
import json
import subprocess

import pytest

from harness import TINY_CAPABILITIES, tiny_model
from harness.process import Process, wait_for


class Agent:
    def __init__(self, build, folder, server, device, token, *options):
        folder.mkdir(parents=True, exist_ok=True)
        key = folder / "key.json"
        key.write_bytes(server.session.get(server.url + "/device/v1/key", timeout=10).content)
        self.folder = folder
        self.command = [build / "aviary-agent", "--device", device, "--hardware", "linux", "--key", key, "--state-dir", folder / "state",
                        "--server", server.url, "--broker-port", server.broker_port, "--enrol-token", token, "--name", "Door 7",
                        "--attributes", '{"region":"eu"}', "--capabilities", json.dumps(TINY_CAPABILITIES), "--factory-release", "kws-1.0.0",
                        "--factory-models", "kws=1.0.0", "--factory-counter", "1", "--retry", "100ms", "--log-level", "debug", *options]
        self.process = None

    def start(self):
        self.process = Process(self.command, self.folder / "agent.log")

    def status(self):
        run = subprocess.run([str(c) for c in self.command] + ["--status"], capture_output=True, text=True, timeout=20)
        assert run.returncode == 0, run.stdout + run.stderr
        return json.loads(run.stdout)

    def log(self):
        return self.process.tail(40)


@pytest.fixture
def token(server):
    server.add_model("kws")
    for version in ("1.0.0", "1.1.0"):
        server.add_version("kws", version, {"linux": tiny_model(f"{version} linux", payload=100_000), "*": tiny_model(f"{version} any")})
        server.add_release(f"kws-{version}", {"kws": version})
    return server.enrolment_token()


@pytest.fixture
def make_agent(build, tmp_path, server, token):
    agents = []

    def make(device, *options):
        agents.append(Agent(build, tmp_path / device, server, device, token, *options))
        agents[-1].start()
        wait_for(lambda: server.request("GET", f"/devices/{device}").status_code == 200, 20, lambda: f"{device} enrols\n" + agents[-1].log())
        return agents[-1]
    yield make
    for agent in agents:
        agent.process.stop()


def roll_out(server, **more):
    return server.rollout(**{"name": "kws 1.1.0", "release": "kws-1.1.0", "start": True, "stages": [{"percent": 100}], "gates": [], "soak_ms": 500,
                             "success": {"percent": 50}, "timeout_ms": 30000, "retries": 0, **more})["id"]


def test_update_telemetry_and_revert(server, make_agent, tmp_path):
    metrics = tmp_path / "metrics"
    metrics.write_text("battery 0.83\ntemperature_c 21.5\nnot-a-metric 1\nnonsense\n")
    agents = [make_agent(f"dev-{i}", "--metrics", metrics) for i in (1, 2)]
    device = server.get("/devices/dev-1")
    assert device["name"] == "Door 7" and device["attributes"] == {"region": "eu"} and device["hardware"] == "linux"
    wait_for(lambda: server.running() == {"kws-1.0.0": 2}, 20, lambda: f"{server.running()}\n{agents[0].log()}")
    rollout = roll_out(server)
    state = server.wait_rollout(rollout, ("finished", "reverted", "paused"), 60)
    assert state["status"] == "finished", json.dumps(state)[:1500] + agents[0].log()
    wait_for(lambda: server.running() == {"kws-1.1.0": 2}, 20, lambda: str(server.running()))
    slots = {a.status()["slot"] for a in agents}
    assert slots == {"slot-a"}
    assert (tmp_path / "dev-1/state/current/model-kws").read_bytes() == tiny_model("1.1.0 linux", payload=100_000)
    assert agents[0].status()["release"] == "kws-1.1.0"
    for metric, value in (("battery", 0.83), ("temperature_c", 21.5)):
        points = wait_for(lambda: server.get("/telemetry", device="dev-1", metric=metric, raw="true")["items"], 20, "telemetry is stored")
        assert str(value) in json.dumps(points[0])
    server.post(f"/rollouts/{rollout}/revert")
    wait_for(lambda: server.running() == {"kws-1.0.0": 2}, 40, lambda: f"{server.running()}\n{agents[0].log()}")
    status = agents[0].status()
    assert status["slot"] == "slot-b" and status["verified"] and status["floor"] > 1
    assert (tmp_path / "dev-1/state/current/model-kws").read_bytes() == tiny_model("1.0.0 linux", payload=100_000)


def test_restart_in_the_trial(server, make_agent, tmp_path):
    """The hook answers 10: the slot is in use after a restart only, as with a boot loader."""
    used = tmp_path / "booted"
    hook = f'test "$(cat {used} 2>/dev/null)" = "$AVIARY_SLOT" && exit 0; echo "$AVIARY_SLOT" > {used}; exit 10'
    used.write_text("factory\n")
    agent = make_agent("dev-1", "--activate-hook", hook)
    wait_for(lambda: server.running() == {"kws-1.0.0": 1}, 20, lambda: agent.log())
    roll_out(server)
    wait_for(lambda: not agent.process.is_running(), 30, lambda: agent.log())
    assert agent.process.child.returncode == 10
    assert agent.status()["trial"] and agent.status()["slot"] == "slot-a"
    agent.start()
    wait_for(lambda: server.running() == {"kws-1.1.0": 1}, 20, lambda: agent.log())
    assert not agent.status()["trial"]


def test_key_that_is_not_pinned(server, make_agent, tmp_path):
    agent = make_agent("dev-1")
    agent.process.stop()
    (tmp_path / "dev-1/key.json").write_text("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n")
    agent.start()
    rollout = roll_out(server)
    wait_for(lambda: "unknown key" in json.dumps(server.items(f"/rollouts/{rollout}/deployments")), 30, lambda: agent.log())
    assert agent.status()["slot"] == "factory"
    assert not (tmp_path / "dev-1/state/slot-a/part-0").exists()
