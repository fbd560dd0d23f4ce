"""Debian's swupdate, unmodified, installs real updates over DDI: success, failure, cancelling, a cut download, reboots; a bad canary goes back."""
import hashlib
import json
import random
import socket
import threading
import time

import pytest

from harness.process import wait_for
from harness.swupdate import BAD, Signer, SwUpdate, make_swu
from harness.wire import Publisher

TOKEN = "swupdate-token"


@pytest.fixture(scope="module")
def signer(tmp_path_factory):
    return Signer(tmp_path_factory.mktemp("signer"))


class Plant:
    """A server with updates of the system `os`, and devices that take them."""

    def __init__(self, server, signer, folder):
        self.server, self.signer, self.folder, self.devices = server, signer, folder, []
        self.proxies = []
        self.contents = {}
        for key, value in (("minPollingTime", "00:00:01"), ("pollingTime", "00:00:01")):
            server.session.put(f"{server.url}/rest/v1/system/configs/{key}", json={"value": value}, auth=("", server.token)).raise_for_status()
        server.add_model("os", kind="firmware")

    def add(self, version, size=200_000, signer=None, spoil=False):
        """A release of `size` random bytes that begin with its version; `spoil`: a byte of them is another one than what was signed."""
        content = f"{version}\n".encode() + random.Random(version).randbytes(size)
        update = bytearray(make_swu(signer or self.signer, version, content))
        if spoil:
            update[update.index(content[:20]) + size // 2] ^= 1
        self.contents[version] = content
        self.server.post("/models/os/versions", {"version": version})
        artifact = self.server.post(f"/models/os/versions/{version}/artifacts", {
            "hardware": "*", "file_name": f"os-{version}.swu", "size_bytes": len(update), "sha256": hashlib.sha256(update).hexdigest()})
        self.server.session.put(f"{self.server.url}/api/v1/artifacts/{artifact['id']}/content", data=bytes(update), timeout=30).raise_for_status()
        self.server.add_release(f"os-{version}", {"os": version})

    def device(self, name="sw-1", url=None, start=True, **more):
        self.server.post("/devices", {"id": name, "hardware": "rpi", "protocol": "ddi", "token": TOKEN})
        device = SwUpdate(self.folder / name, self.signer, url or self.server.url, name, TOKEN, **more)
        self.devices.append(device)
        return device.start() if start else device

    def proxy(self, **how):
        self.proxies.append(Proxy(self.server.port, **how))
        return self.proxies[-1]

    def rollout(self, version, **more):
        spec = {"name": f"to {version}", "release": f"os-{version}", "start": True, "stages": [{"percent": 100}], "soak_ms": 0, "timeout_ms": 60000,
                "retries": 0, "error": {"percent": 50, "min_count": 1, "action": "pause"}}
        return self.server.rollout(**{**spec, **more})["id"]

    def deployment(self, rollout, device="sw-1"):
        """Of a rollout that has just begun there may be none yet."""
        return ([{"state": None}] + [d for d in self.server.items(f"/rollouts/{rollout}/deployments") if d["device"] == device])[-1]

    def wait_state(self, rollout, *states, device="sw-1", timeout=15):
        def there():
            return self.deployment(rollout, device)["state"] in states
        wait_for(there, timeout, lambda: f"{states}: {self.deployment(rollout, device)}\n{self.devices[0].process.tail(60)}")
        return self.deployment(rollout, device)

    def running(self, device="sw-1"):
        return (self.server.get(f"/devices/{device}")["running"] or {}).get("release")

    def mgmt(self, method, path):
        return self.server.session.request(method, f"{self.server.url}/rest/v1/{path}", auth=("", self.server.token), timeout=10)

    def actions(self, device="sw-1"):
        """Oldest first."""
        reply = self.mgmt("GET", f"targets/{device}/actions?sort=id:ASC")
        assert reply.status_code == 200, reply.text
        return sorted(reply.json()["content"], key=lambda a: a["id"])

    def said(self, action, device="sw-1"):
        reply = self.mgmt("GET", f"targets/{device}/actions/{action}/status?offset=0&limit=50&sort=id:ASC")
        assert reply.status_code == 200, reply.text
        return [(entry["type"], entry["messages"]) for entry in reply.json()["content"]]

    def install(self, version, device):
        rollout = self.rollout(version, filter=f"id=={device.device}")
        wait_for(device.wants_reboot, 15, lambda: device.process.tail(60))
        device.reboot()
        self.wait_state(rollout, "succeeded", device=device.device)
        self.server.wait_rollout(rollout, ("finished",), 10)
        return rollout


class Proxy:
    """Forwards TCP. Of what the server sends: cuts a connection after `after` bytes, `cuts_left` times; `rate` bytes a second of each. Links name what the
    client calls, so that downloads pass here, too."""

    def __init__(self, port, after=None, cuts_left=0, rate=None):
        self.target, self.after, self.cuts_left, self.rate, self.cuts, self.requests = port, after, cuts_left, rate, 0, []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self.target))
            threading.Thread(target=self.pump, args=(client, server, self.take_request), daemon=True).start()
            threading.Thread(target=self.pump, args=(server, client, self.take_reply), daemon=True).start()

    def take_request(self, data, passed):
        self.requests.append(data)
        return True

    def take_reply(self, data, passed):
        if self.cuts_left > 0 and passed > self.after:
            self.cuts_left -= 1
            self.cuts += 1
            return False
        if self.rate:
            time.sleep(len(data) / self.rate)
        return True

    def pump(self, source, sink, take):
        passed = 0
        try:
            while data := source.recv(8192):
                passed += len(data)
                if not take(data, passed):
                    break
                sink.sendall(data)
        except OSError:
            pass
        for end in (source, sink):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def close(self):
        self.listener.close()


@pytest.fixture
def plant(server, signer, tmp_path):
    p = Plant(server, signer, tmp_path / "devices")
    yield p
    for end in p.proxies:
        end.close()
    for device in p.devices:
        device.stop()


def test_an_update_is_installed_and_confirmed_after_the_reboot(plant):
    plant.add("1.0.0")
    device = plant.device(attributes={"board": "b-7"})
    rollout = plant.rollout("1.0.0")
    wait_for(device.wants_reboot, 15, lambda: device.process.tail(60))
    assert device.installed() == plant.contents["1.0.0"]
    wait_for(lambda: plant.deployment(rollout)["state"] == "installing", 5, lambda: plant.deployment(rollout))
    time.sleep(1.2)  # it polls again, and waits for its reboot
    assert plant.deployment(rollout)["state"] == "installing" and plant.running() is None
    device.reboot()
    plant.wait_state(rollout, "succeeded")
    plant.server.wait_rollout(rollout, ("finished",), 10)
    told = plant.server.get("/devices/sw-1")
    assert told["running"]["release"] == "os-1.0.0" and told["attributes"] == {"board": "b-7"} and told["online"]
    action = plant.actions()[-1]
    assert action["status"] in ("finished", "pending") or action["detailStatus"] == "finished"
    said = plant.said(action["id"])
    assert said[-1] == ("finished", ["Update Installed."]) and "retrieved" in [kind for kind, _ in said]
    assert sum("Target downloads" in text for _, messages in said for text in messages) == 1


def test_a_broken_update_fails_and_is_tried_again(plant):
    plant.add("1.0.0", spoil=True)
    plant.add("1.1.0", signer=Signer(plant.folder / "stranger"))
    device = plant.device()
    rollout = plant.rollout("1.0.0", retries=1)
    failed = plant.wait_state(rollout, "failed", timeout=25)
    assert failed["attempt"] == 2 and len(plant.actions()) == 2
    for action in plant.actions():
        said = plant.said(action["id"])
        assert said[-1][0] == "error" and any("HASH mismatch" in text for _, messages in said for text in messages), said
    plant.server.wait_rollout(rollout, ("paused",), 10)
    stranger = plant.rollout("1.1.0", delivery={"supersede": True})
    plant.wait_state(stranger, "failed")
    assert not device.wants_reboot() and plant.running() is None


def test_a_restart_that_went_wrong_is_a_failure(plant):
    plant.add("1.0.0")
    plant.add("2.0.0")
    device = plant.device()
    plant.install("1.0.0", device)
    rollout = plant.rollout("2.0.0", error={"percent": 50, "min_count": 1, "action": "revert"})
    wait_for(device.wants_reboot, 15, lambda: device.process.tail(60))
    device.reboot(BAD)
    plant.wait_state(rollout, "failed", "reverting", "reverted", "revert_failed")
    assert plant.running() == "os-1.0.0"


def test_cancelled_before_it_began_and_during_the_download(plant):
    plant.add("1.0.0", size=1_500_000)
    device = plant.device(start=False, url=plant.proxy(rate=150_000).url)
    pending = plant.rollout("1.0.0")
    plant.wait_state(pending, "offered")
    first = plant.actions()[-1]["id"]
    assert plant.mgmt("DELETE", f"targets/sw-1/actions/{first}").status_code == 204
    device.start()
    plant.wait_state(pending, "cancelled")
    assert plant.said(first)[-1][0] == "canceled" and device.installed() == b""
    active = plant.rollout("1.0.0", delivery={"supersede": True})
    plant.wait_state(active, "downloading", "installing")
    second = plant.actions()[-1]["id"]
    assert second != first
    wait_for(lambda: any("Target downloads" in text for _, messages in plant.said(second) for text in messages), 10, lambda: plant.said(second))
    assert plant.mgmt("DELETE", f"targets/sw-1/actions/{second}").status_code == 204
    began = time.monotonic()
    plant.wait_state(active, "cancelled", timeout=20)
    assert time.monotonic() - began < 9, "not at the end of ten seconds of download"
    assert plant.said(second)[-1][0] == "canceled" and device.installed() != plant.contents["1.0.0"] and not device.wants_reboot()


def test_a_cut_download_is_resumed(plant):
    plant.add("1.0.0", size=3_000_000)
    proxy = plant.proxy(after=1_000_000, cuts_left=2)
    device = plant.device(url=proxy.url)
    plant.install("1.0.0", device)
    assert proxy.cuts == 2 and device.installed() == plant.contents["1.0.0"]
    ranges = [line for data in proxy.requests for line in data.split(b"\r\n") if line.lower().startswith(b"range: bytes=")]
    begins = [int(line.split(b"=")[1].split(b"-")[0]) for line in ranges]
    assert len(begins) == 2 and 900_000 < begins[0] < begins[1] < 3_000_000, ranges
    action = plant.actions()[-1]["id"]
    assert sum("Target downloads" in text for _, messages in plant.said(action) for text in messages) == 1, "a resumed download is the same one"


class Boards(threading.Thread):
    """Five boards: restarts each one that has installed something, and tells by MQTT how well it does with what it
    runs: what was installed when it started."""

    def __init__(self, plant, devices, accuracy):
        super().__init__(daemon=True)
        self.plant, self.devices, self.accuracy, self.is_over = plant, devices, accuracy, threading.Event()
        self.random, self.seq, self.failure = random.Random(3), 0, None
        self.ran = {d: [self.version(d)] for d in devices}  # in order
        self.wires = {d: Publisher(plant.server.broker_port, f"aviary-{d.device}") for d in devices}
        self.start()

    @staticmethod
    def version(device):
        return device.installed().split(b"\n", 1)[0].decode()

    def report(self, device):
        version = self.ran[device][-1]
        right = sum(self.random.random() < self.accuracy[version] for _ in range(100))
        body = {"ts": int(time.time() * 1000), "boot": "side", "seq": self.seq, "model": "os", "version": version, "metrics": {"accuracy": {"n": 100, "k": right}}}
        self.wires[device].publish([(f"aviary/v1/{device.device}/telemetry", json.dumps(body))])

    def run(self):
        try:
            while not self.is_over.wait(0.2):
                self.seq += 1
                for device in self.devices:
                    if device.wants_reboot():
                        device.reboot()
                        self.ran[device].append(self.version(device))
                    self.report(device)
        except Exception as e:  # noqa: BLE001 - told by the test
            self.failure = e

    def end(self):
        self.is_over.set()
        self.join(10)
        for wire in self.wires.values():
            wire.close()


def test_a_bad_canary_of_five_goes_back(plant):
    plant.add("1.0.0")
    plant.add("2.0.0")
    devices = [plant.device(f"sw-{i}") for i in range(1, 6)]
    first = plant.rollout("1.0.0")
    for device in devices:
        wait_for(device.wants_reboot, 20, lambda: device.process.tail(60))
        device.reboot()
    plant.server.wait_rollout(first, ("finished",), 15)
    boards = Boards(plant, devices, {"1.0.0": 0.92, "2.0.0": 0.70})
    gates = {"gates": [{"metric": "accuracy"}], "judge": {"control": "self", "controls_max": 6, "reports_planned": 16}, "soak_ms": 1500}
    try:
        def has_past():
            plan = plant.server.request("POST", "/rollouts", {"name": "dry", "release": "os-2.0.0", "stages": [{"percent": 100}], **gates},
                                        params={"dryRun": "true"})
            return plan.status_code == 200 and plan.json()["self"]["without_windows"] == 0 and plan.json()["self"]["windows"] == 6
        wait_for(has_past, 30, "a past of every device", 0.3)
        rollout = plant.rollout("2.0.0", **gates)
        state = plant.server.wait_rollout(rollout, ("reverted", "finished", "paused"), 60)
        assert state["status"] == "reverted", json.dumps(state)[:2000]
        assert state["stages"][0]["deployments"] == {"reverted": 5}
    finally:
        boards.end()
        assert boards.failure is None, boards.failure
    looks = plant.server.get(f"/rollouts/{rollout}/verdicts")["items"]
    assert any(look["verdict"] == "revert" for look in looks)
    for device in devices:
        assert device.installed() == plant.contents["1.0.0"], device.device
        actions = plant.actions(device.device)
        assert len(actions) == 3 and actions[-1]["forceType"] == "forced", actions
        assert plant.running(device.device) == "os-1.0.0"
        assert boards.ran[device] == ["1.0.0", "2.0.0", "1.0.0"], "installed, and installed again"
