"""Models that are understood: facts read at the upload, refusals with the place, and a gate wherever a device could be given what it cannot run."""
import hashlib
import json
import struct
import subprocess
import time

import paho.mqtt.client as mqtt
import pytest

from harness import tiny_model
from harness.process import wait_for

CLASSES = "esp32s3:50,nrf52:30,jetson:20"


def declare(server, data, model="kws", version="1.0.0", hardware="*", name="m.tflite", **more):
    for path, body in ((f"/models/{model}", {"name": model}), (f"/models/{model}/versions/{version}", {"version": version})):
        if server.request("GET", path).status_code == 404:
            server.post(path.rsplit("/", 1)[0], body)
    return server.post(f"/models/{model}/versions/{version}/artifacts",
                       {"hardware": hardware, "file_name": name, "size_bytes": len(data), "sha256": hashlib.sha256(data).hexdigest(), **more})["id"]


def put(server, artifact, data):
    return server.request("PUT", f"/artifacts/{artifact}/content", data=data)


def upload(server, data, **options):
    artifact = declare(server, data, **options)
    answer = put(server, artifact, data)
    assert answer.status_code == 200, answer.text
    return answer.json()


def ctl(build, server, *words, code=0):
    done = subprocess.run([build / "aviaryctl", "--url", server.url, *map(str, words)], capture_output=True, text=True, timeout=60,
                          env={"PATH": "/usr/bin:/bin", "AVIARY_TOKEN": server.token})
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


class Device:
    """A device that says what the test wants it to say."""

    def __init__(self, server, name, token, hardware="esp32s3"):
        self.server, self.name, self.seq, self.hardware = server, name, 0, hardware
        self.secret = hashlib.sha256(name.encode()).hexdigest()
        self.client = mqtt.Client(client_id=f"aviary-{name}")
        self.client.connect("127.0.0.1", server.broker_port)
        self.client.loop_start()
        self.send("status", {"online": True, "boot": "b1"})
        self.report(enrol={"token": token, "secret_sha256": hashlib.sha256(self.secret.encode()).hexdigest(), "hardware": hardware})

    def send(self, topic, body):
        self.client.publish(f"aviary/v1/{self.name}/{topic}", json.dumps(body), qos=1).wait_for_publish(10)

    def report(self, **members):
        self.seq += 1
        self.send("report", {"boot": "b1", "seq": self.seq, **members})

    def desired(self):
        answer = self.server.session.get(f"{self.server.url}/device/v1/{self.name}/desired",
                                         headers={"Authorization": f"Bearer {self.name}:{self.secret}"}, timeout=20)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def close(self):
        self.client.loop_stop()
        self.client.disconnect()


CAN = {"runtime": "tflm", "runtime_version": "2023.1", "ops": ["RELU@1", "ADD"], "accelerators": [], "slot_bytes": 1 << 20, "arena_bytes": 65536,
       "input": {"type": "any"}}


@pytest.fixture
def make_device(server):
    token = server.enrolment_token()
    devices = []

    def make(name, capabilities=None, **options):
        d = Device(server, name, token, **options)
        devices.append(d)
        if capabilities is not None:
            d.report(capabilities=capabilities)
        wait_for(lambda: server.request("GET", f"/devices/{name}").status_code == 200 and
                 server.get(f"/devices/{name}")["capabilities"] == (capabilities or {}), 20, f"{name} is registered")
        return d
    yield make
    for d in devices:
        d.close()


# ---- facts ----

def test_facts_are_there_when_the_upload_ends(server, build, tmp_path):
    data = tiny_model("a", width=24)
    made = upload(server, data, variant="float32", declared={"format": "tflite", "requires": {"arena_bytes": 50000, "link": ["wifi"]},
                                                             "quality": {"top1": 0.9, "evaluated_on": "sha256:00"}})
    assert made["facts_state"] == "read" and made["variant"] == "float32" and made["declared"]["quality"]["top1"] == 0.9
    assert made["summary"]["format"] == "tflite" and made["summary"]["inputs"] == ["float32 [1,24]"] and made["summary"]["operators"] == 1
    assert made["requires"]["arena_bytes"] == 50000 and made["requires"]["link"] == ["wifi"]  # the stricter of both
    assert made["requires"]["ops"] == ["RELU@1"] and made["requires"]["flash_slot_bytes"] == len(data)
    facts = server.get(f"/artifacts/{made['id']}/facts")
    path = tmp_path / "m.tflite"
    path.write_bytes(data)
    offline = json.loads(subprocess.run([build / "aviaryctl", "--json", "model", "inspect", path], capture_output=True, check=True).stdout)
    assert facts == offline and facts["head_bytes"] == made["summary"]["head_bytes"]


def test_what_is_less_than_the_file_needs_is_told(server):
    made = upload(server, tiny_model("b"), declared={"requires": {"flash_slot_bytes": 10}})
    assert len(made["summary"]["conflicts"]) == 1 and "declared 10" in made["summary"]["conflicts"][0]


def test_variants_of_one_class(server):
    a, b = tiny_model("a"), tiny_model("b")
    upload(server, a, variant="int8")
    upload(server, b, variant="float32")
    again = server.request("POST", "/models/kws/versions/1.0.0/artifacts",
                           {"hardware": "*", "file_name": "x", "size_bytes": 1, "sha256": "0" * 64, "variant": "int8"})
    assert again.status_code == 409 and "variant int8" in again.json()["detail"]
    assert server.request("POST", "/models/kws/versions/1.0.0/artifacts", {"hardware": "*", "file_name": "x", "size_bytes": 1, "sha256": "0" * 64,
                                                                          "declared": {"requires": {"ops": 7}}}).json()["detail"]


def hostile(name):
    data = bytearray(tiny_model(name, payload=100000))
    root = struct.unpack_from("<I", data, 0)[0]
    if name == "root":
        struct.pack_into("<I", data, 0, 0xfffffff0)
    elif name == "vtable":
        struct.pack_into("<i", data, root, 0x7fffff00)
    elif name == "count":  # the vector of subgraphs says that it has a thousand million
        vtable = root - struct.unpack_from("<i", data, root)[0]
        field = root + struct.unpack_from("<H", data, vtable + 4 + 4)[0]
        struct.pack_into("<I", data, field + struct.unpack_from("<I", data, field)[0], 0x40000000)
    else:
        del data[len(data) // 40:]
    return bytes(data)


@pytest.mark.parametrize("how", ["root", "vtable", "count", "cut"])
def test_hostile_bytes_are_refused_in_milliseconds(server, tell, how):
    data = hostile(how)
    artifact = declare(server, data)
    start = time.monotonic()
    answer = put(server, artifact, data)
    took = time.monotonic() - start
    assert answer.status_code == 422 and "tflite" in answer.json()["detail"] and " at byte " in answer.json()["detail"], answer.text
    info = server.get(f"/artifacts/{artifact}")
    assert info["state"] == "failed" and info["facts_state"] == "refused" and " at byte " in info["facts_error"]
    assert server.request("GET", f"/artifacts/{artifact}/facts").status_code == 404
    refused = server.request("POST", "/releases", {"name": "r", "components": [{"model": "kws", "version": "1.0.0"}]})
    assert refused.status_code == 409
    tell(f"{how}: refused in {1000 * took:.0f} ms, with the upload")
    assert took < 2  # a loaded machine; the reader itself takes microseconds (unit tests)


def test_a_file_that_lies_is_caught(server):
    data = tiny_model("lie")
    for declared, words in (("onnx", "tflite"), ("acme", "tflite")):
        artifact = declare(server, data, version="1.0.0" if declared == "onnx" else "1.1.0", declared={"format": declared})
        answer = put(server, artifact, data)
        assert answer.status_code == 422 and words in answer.json()["detail"], answer.text
    blob = b"not a model at all" * 10
    artifact = declare(server, blob, version="2.0.0", declared={"format": "tflite"})
    assert put(server, artifact, blob).status_code == 422
    opaque = upload(server, blob, version="2.1.0")
    assert opaque["facts_state"] == "opaque" and "requires" not in opaque
    needs = upload(server, blob, version="2.2.0", declared={"format": "acme", "requires": {"accelerators": ["npu"]}})
    assert needs["facts_state"] == "opaque" and needs["requires"]["accelerators"] == ["npu"]
    firmware = b"\x00\x00\x00\x00TFL3" + bytes(100)
    server.add_model("fw", kind="firmware")
    assert upload(server, firmware, model="fw")["facts_state"] == "opaque"


def test_what_was_not_read_is_read_after_a_kill(server):
    import sqlite3
    made = upload(server, tiny_model("old"))
    server.kill9()
    db = sqlite3.connect(server.folder / "state" / "fleet.db")
    db.execute("UPDATE artifact SET facts_state = 'reading', facts = NULL, facts_summary = NULL, requires = NULL")
    db.commit()
    db.close()
    server.start()
    wait_for(lambda: server.get(f"/artifacts/{made['id']}")["facts_state"] == "read", 10, "it is read again")
    again = server.get(f"/artifacts/{made['id']}")
    assert again["requires"] == made["requires"] and again["summary"] == made["summary"]


# ---- the gate ----

def test_hardware_classes_that_a_release_leaves_out(server, make_device, build):
    make_device("can", CAN)
    make_device("small", {**CAN, "arena_bytes": 100}, hardware="nrf52")
    make_device("silent", None, hardware="nrf52")
    data = tiny_model("gate")
    upload(server, data)
    release = server.add_release("r1", {"kws": "1.0.0"})
    left = {(r["hardware"], r["verdict"]): r for r in release["left_out"]}
    assert set(left) == {("nrf52", "no"), ("nrf52", "unknown")}
    assert [r["reason"] for r in left["nrf52", "no"]["reasons"]] == [f"arena_bytes: needs {server.get('/artifacts/1')['requires']['arena_bytes']}"]
    assert "unknown: arena_bytes" in [r["reason"] for r in left["nrf52", "unknown"]["reasons"]]
    assert server.get("/releases/r1")["left_out"] == release["left_out"]
    assert "left_out" not in server.items("/releases")[0]
    check = server.get("/releases/r1/check")
    assert (check["devices"], check["yes"], check["no"], check["unknown"], check["excluded"]) == (3, 1, 1, 1, 2)
    assert server.get("/releases/r1/check", filter="hardware==esp32s3")["classes"] == [
        {"hardware": "esp32s3", "verdict": "yes", "devices": 1, "reasons": []}]
    table = ctl(build, server, "release", "check", "r1", "--filter", "hardware==nrf52")
    assert "arena_bytes: needs" in table and "0 of 2 devices can run it; 1 cannot, of 1 it is not known." in table
    assert json.loads(ctl(build, server, "--json", "release", "check", "r1")) == check


def test_unknown_may_be_allowed(make_server):
    server = make_server(config={"models": {"unknown": "allow"}})
    server.post("/devices", {"id": "d", "hardware": "esp32s3"})
    upload(server, tiny_model("x"))
    release = server.add_release("r1", {"kws": "1.0.0"})
    assert release["left_out"] == []
    check = server.get("/releases/r1/check")
    assert (check["unknown"], check["excluded"]) == (1, 0)
    assert server.call("POST", "/rollouts", {"name": "x", "release": "r1", "stages": [{"percent": 100}]}, params={"dryRun": "true"})[
        "target"]["devices"] == 1


def test_a_plan_counts_who_is_left_out_and_refuses_an_empty_stage(server, make_device, build, tmp_path):
    for i in range(3):
        make_device(f"can-{i}", CAN)
    for i in range(5):
        make_device(f"small-{i}", {**CAN, "arena_bytes": 100})
    upload(server, tiny_model("plan"))
    server.add_release("r1", {"kws": "1.0.0"})
    spec = {"name": "x", "release": "r1", "stages": [{"count": 2}, {"percent": 100}]}
    target = server.call("POST", "/rollouts", spec, params={"dryRun": "true"})["target"]
    assert (target["matched"], target["devices"], target["excluded"], target["incompatible"]) == (8, 3, 5, [])
    assert [(r["hardware"], r["verdict"], r["devices"]) for r in target["excluded_by"]] == [("esp32s3", "no", 5)]
    assert target["excluded_by"][0]["reasons"][0]["devices"] == 5
    path = tmp_path / "spec.json"
    path.write_text(json.dumps(spec))
    words = ctl(build, server, "rollout", "create", path, "--dry-run")
    assert "5 devices of hardware esp32s3 are left out: they cannot run it." in words and "arena_bytes: needs" in words
    empty = server.request("POST", "/rollouts", {**spec, "stages": [{"count": 3}, {"percent": 100}]})
    assert empty.status_code == 422 and empty.json()["pointer"] == "/stages/1"
    assert "would be empty: 5 of 8 devices cannot run the release: arena_bytes: needs" in empty.json()["detail"]
    nobody = server.request("POST", "/rollouts", {**spec, "filter": "id==small-*"})
    assert nobody.status_code == 422 and "5 cannot run it: arena_bytes: needs" in nobody.json()["detail"]
    named = server.request("POST", "/rollouts", {**spec, "devices": ["small-1", "small-2"], "stages": [{"count": 2}, {"percent": 100}]})
    assert named.status_code == 422 and "the canary would be empty" in named.json()["detail"] and "has 100" in named.json()["detail"]


def test_a_device_that_cannot_any_more_is_let_go(server, make_device):
    devices = [make_device(f"d-{i}", CAN) for i in range(3)]
    upload(server, tiny_model("change"))
    server.add_release("r1", {"kws": "1.0.0"})
    rollout = server.rollout(name="x", release="r1", stages=[{"count": 2}, {"percent": 100}], start=True, timeout_ms=60000, soak_ms=100,
                             error={"percent": 10, "min_count": 1, "action": "revert"})["id"]
    wait_for(lambda: sum("deployment" in d.desired() for d in devices) == 2, 20, "two are offered it")
    offered = next(d for d in devices if "deployment" in d.desired())
    offered.report(capabilities={**CAN, "ops": ["ADD"]})
    wait_for(lambda: "deployment" not in offered.desired(), 20, "it is not offered any more")
    rows = {r["device"]: r for r in server.items(f"/rollouts/{rollout}/deployments")}
    assert rows[offered.name]["state"] == "cancelled" and "op RELU@1: not provided" in rows[offered.name]["reason"]
    # who waits is looked at when it is offered
    waiting = next(d for d in devices if d.name not in rows)
    waiting.report(capabilities={**CAN, "slot_bytes": 10})
    other = next(d for d in devices if d.name in rows and d is not offered)
    doc = other.desired()
    deployment = doc["deployment"]
    other.report(deployment={"id": deployment["id"], "attempt": deployment["attempt"], "state": "succeeded"},
                 running={"release": "r1", "counter": doc["release"]["counter"], "models": {"kws": "1.0.0"}})
    state = server.wait_rollout(rollout, ("finished", "reverted", "paused"), 40)
    assert state["status"] == "finished", json.dumps(state)[:2000]  # nothing counted as an error
    assert server.items("/alerts", kind="install.failed") == []
    assert "deployment" not in waiting.desired()


def test_real_models_are_refused_for_what_they_are(server, make_sim, shared):
    models = shared / "data" / "models"
    if not models.is_dir():
        pytest.skip("SKIP: ../shared/data/models is absent")
    sim = make_sim(server, 20, enrol=server.enrolment_token(), classes=CLASSES, quiet=True, report_retry="2s")
    sim.wait_connected(20)
    wait_for(lambda: server.get("/devices", total="true", limit=1)["total"] == 20, 20, "all are registered")
    wait_for(lambda: all("runtime" in d["capabilities"] for d in server.items("/devices")), 20, "all have said what they can do")
    good = upload(server, (models / "kws_ref_model.tflite").read_bytes())
    assert good["summary"]["head_bytes"] == 16000 and good["summary"]["macs"] == 2656768
    assert server.add_release("good", {"kws": "1.0.0"})["left_out"] == []
    upload(server, (models / "kws_ref_model_float32.tflite").read_bytes(), version="2.0.0")
    left = {r["hardware"]: r for r in server.add_release("hybrid", {"kws": "2.0.0"})["left_out"]}
    assert set(left) == {"esp32s3", "nrf52"}  # the others run TensorFlow Lite, which can
    for row in left.values():
        assert row["verdict"] == "no" and "hybrid quantisation: not run by tflm" in [r["reason"] for r in row["reasons"]]
    upload(server, (models / "person_detect_vela.tflite").read_bytes(), version="3.0.0")
    left = server.add_release("vela", {"kws": "3.0.0"})["left_out"]
    assert {r["hardware"] for r in left} == {"esp32s3", "nrf52", "jetson"}
    assert all("custom operator ethos-u: no accelerator provides it" in [x["reason"] for x in r["reasons"]] for r in left)
    refused = server.request("POST", "/rollouts", {"name": "v", "release": "vela", "stages": [{"percent": 100}]})
    assert refused.status_code == 422 and "ethos-u" in refused.json()["detail"]


def test_the_simulator_says_what_it_is_told_to(server, make_sim, tmp_path):
    path = tmp_path / "can.json"
    path.write_text(json.dumps({"nrf52": {"accelerators": ["ethos-u55"], "arena_bytes": None}, "*": {"runtime": "onnxruntime"}}))
    sim = make_sim(server, 6, enrol=server.enrolment_token(), classes="nrf52,esp32s3", capabilities=path, quiet=True)
    sim.wait_connected(6)
    wait_for(lambda: server.get("/devices", total="true", limit=1)["total"] == 6, 20, "all are registered")
    wait_for(lambda: all(d["capabilities"] for d in server.items("/devices")), 20, "all have said what they can do")
    for d in server.items("/devices"):
        c = d["capabilities"]
        assert c["runtime"] == ("tflm" if d["hardware"] == "nrf52" else "onnxruntime") and len(c["ops"]) > 30
        assert ("arena_bytes" in c) == (d["hardware"] == "esp32s3")
