"""Variants: profiles are learned, the next rollout chooses by class, an operator's wish wins, and kills change nothing."""
import hashlib
import json
import os
import pathlib
import random
import subprocess

import pytest

from harness import tiny_model
from harness.ddi import Ddi
from harness.process import wait_for
from harness.server import ApiError

CLASSES = ("esp32s3", "nrf52")
DEVICES = 6  # of each class
FASTER = {"esp32s3": "float", "nrf52": "int8"}


def add_variants(server, version, variants):
    """variants: {name: bytes}; for any hardware."""
    server.post("/models/kws/versions", {"version": version})
    for name, data in variants.items():
        artifact = server.post(f"/models/kws/versions/{version}/artifacts",
                               {"hardware": "*", "variant": name, "file_name": f"kws-{name}.tflite", "size_bytes": len(data),
                                "sha256": hashlib.sha256(data).hexdigest(), "declared": {"quality": {"top1": 0.9 if name == "float" else 0.85}}})
        server.call("PUT", f"/artifacts/{artifact['id']}/content", data=data)


def release(server, name, version, **objective):
    body = {"name": name, "components": [{"model": "kws", "version": version}]}
    return server.post("/releases", {**body, "objective": objective} if objective else body)


def roll_out(server, name):
    rollout = server.rollout(name=name, release=name, filter="", start=True, stages=[{"percent": 100}], soak_ms=200, timeout_ms=20000, retries=3)["id"]
    return rollout, lambda: server.wait_rollout(rollout, ("finished",), 60)


def ids(prefix):
    return [f"{prefix}-{i:05d}" for i in range(DEVICES)]


def all_devices(server):
    return {d["id"]: d["hardware"] for d in server.get("/devices?limit=1000")["items"]}


def handed_out(server, device, name):
    return server.get(f"/devices/{device}/explain?release={name}")["components"][0].get("handed_out")


def running_hash(server, device):
    return server.get(f"/devices/{device}/reported")["running"]["hashes"]["kws"]


def start_fleet(server, make_sim, variants):
    server.add_model("kws")
    server.add_version("kws", "1.0.0", {"*": tiny_model("1.0.0")})
    server.add_release("kws-1.0.0", {"kws": "1.0.0"})
    add_variants(server, "2.0.0", variants)
    release(server, "first", "2.0.0")
    token = server.enrolment_token()
    sims = []
    for name in CLASSES:
        slow = hashlib.sha256(variants["int8" if FASTER[name] == "float" else "float"]).hexdigest()[:12]
        sims.append(make_sim(server, DEVICES, name=name, enrol=token, factory_release="kws-1.0.0", factory_model="kws=1.0.0", factory_counter=1,
                             interval="200ms", report_retry="1s", self_test="50ms", classes=f"{name}:1", prefix=f"{name}-",
                             effect=[f"kws=2.0.0#{slow}:latency*4,energy*4"], quiet=True))
    wait_for(lambda: server.running() == {"kws-1.0.0": 2 * DEVICES}, 60, lambda: f"all enrolled: {server.running()}")
    return sims


def learned(server, least):
    rows = server.get("/profiles?model=kws&version=2.0.0&source=learned")["items"]
    good = {(r["hardware"], r["variant"]): r for r in rows if r["samples"] >= least}
    return good if len(good) == 4 else None


def test_variants_are_chosen_by_what_the_fleet_measured(make_server, make_sim, build):
    server = make_server()
    variants = {"int8": tiny_model("int8", payload=1000), "float": tiny_model("float", payload=9000)}
    start_fleet(server, make_sim, variants)
    devices = all_devices(server)
    for n, device in enumerate(sorted(devices)):  # half of each class tries each of them
        server.call("PUT", f"/devices/{device}/override", {"model": "kws", "variant": ("int8", "float")[n % 2], "reason": "to measure both"})
    _, wait = roll_out(server, "first")
    wait()
    for n, device in enumerate(sorted(devices)):
        assert handed_out(server, device, "first") == ("int8", "float")[n % 2]
    wait_for(lambda: learned(server, 400), 60, "both variants are measured on both classes")
    before = learned(server, 400)
    server.kill9()
    server.start()
    after = learned(server, 400)
    for key in before:
        assert after[key]["samples"] >= before[key]["samples"], key
        assert after[key]["devices"] == before[key]["devices"] == DEVICES // 2
    for name in CLASSES:
        slow = "int8" if FASTER[name] == "float" else "float"
        fast_row, slow_row = after[name, FASTER[name]], after[name, slow]
        assert slow_row["latency_p95_ms"] > 2 * fast_row["latency_p95_ms"] and slow_row["energy_uj"] > 2 * fast_row["energy_uj"]
        assert 0.5 < fast_row["quality"] <= 1

    # the same version again: those who have the slower one are moved, the others stay
    for device in devices:
        server.call("DELETE", f"/devices/{device}/override?model=kws")
    release(server, "second", "2.0.0", dwell_ms=0)
    report = server.get("/models/kws/versions/2.0.0/report?release=second")
    moves = {(m["hardware"], m["from"], m["to"]): m["devices"] for m in report["moves"]}
    assert moves == {("esp32s3", "int8", "float"): DEVICES // 2, ("nrf52", "float", "int8"): DEVICES // 2}
    stubborn = sorted(d for d, hardware in devices.items() if hardware == "esp32s3")[0]
    server.call("PUT", f"/devices/{stubborn}/override", {"model": "kws", "variant": "int8", "reason": "an old enclosure"})
    rollout, wait = roll_out(server, "second")
    server.kill9()
    server.start()
    wait()
    for device, hardware in devices.items():
        wanted = "int8" if device == stubborn else FASTER[hardware]
        assert handed_out(server, device, "second") == wanted, device
        sha256 = hashlib.sha256(variants[wanted]).hexdigest()
        wait_for(lambda: running_hash(server, device) == sha256, 20, f"{device} runs {wanted}")
    assert not [a for a in server.get("/alerts?limit=1000")["items"] if "hash" in a["rule"]]

    # why
    other = sorted(d for d, hardware in devices.items() if hardware == "esp32s3")[1]
    said = server.get(f"/devices/{other}/explain")
    component = said["components"][0]
    assert said["release"] == "second" and component["chosen"] == "float"
    fates = {v["variant"]: v for v in component["variants"]}
    assert fates["int8"]["fate"] in ("costlier", "dominated") and "latency" in fates["int8"]["why"]
    assert fates["int8"]["figures"]["latency_p95_ms"]["source"] == "class" and fates["float"]["figures"]["energy_uj"]["samples"] > 30
    text = ctl(build, server, "device", "explain", stubborn)
    assert "asked for by an operator" in text and "an old enclosure" in text and "override: int8" in text
    assert "float" in ctl(build, server, "profile", "list", "--hardware", "nrf52")
    assert "RETIRE" in ctl(build, server, "version", "report", "kws", "2.0.0")


def ctl(build, server, *words, expect=0):
    done = subprocess.run([pathlib.Path(build) / "aviaryctl", *words], capture_output=True, text=True, timeout=60,
                          env={**os.environ, "AVIARY_URL": server.url, "AVIARY_TOKEN": server.token})
    assert done.returncode == expect, done.stdout + done.stderr
    return done.stdout


def test_a_device_of_hawkbit_gets_the_files_of_one_variant(server):
    server.add_model("kws")
    add_variants(server, "1.0.0", {"int8": random.Random(1).randbytes(3000), "float": random.Random(2).randbytes(9000)})
    release(server, "r", "1.0.0", min_quality=0.88)
    devices = {name: Ddi(server, name, "secret") for name in ("one", "two")}
    for name in devices:
        server.post("/devices", {"id": name, "hardware": "rpi", "protocol": "ddi", "token": "secret"})
    server.call("PUT", "/devices/two/override", {"model": "kws", "variant": "int8"})
    server.rollout(name="r", release="r", filter="", start=True, stages=[{"percent": 100}], soak_ms=0, timeout_ms=60000)
    for name, size in (("one", 9000), ("two", 3000)):
        chunks = devices[name].get(devices[name].wait_link("deploymentBase")).json()["deployment"]["chunks"]
        assert [[a["size"] for a in c["artifacts"]] for c in chunks] == [[size]]


def test_a_published_table_comes_in(server, build, shared):
    table = shared / "data" / "mlperf_tiny_published.csv"
    words = ("profile", "import", str(table), "--origin", "mlperf", "--hardware", "NUCLEO-H7A3ZI-Q:stm32h7a3", "--model", "ad:anomaly,ic:image", "--mapped-only")
    said = ctl(build, server, *words)
    assert said.startswith("331 rows") and ", 0 refused" in said
    rows = json.loads(ctl(build, server, "--json", "profile", "list", "--source", "published", "--all"))
    assert rows and {r["hardware"] for r in rows} == {"stm32h7a3"} and {r["model"] for r in rows} == {"anomaly", "image"}
    assert all(r["latency_p95_ms"] > 0 for r in rows)
    assert ctl(build, server, *words) == said  # the same rows again
    assert len(json.loads(ctl(build, server, "--json", "profile", "list", "--source", "published", "--all"))) == len(rows)
    ctl(build, server, "profile", "delete", "mlperf")
    assert server.get("/profiles")["items"] == []


def test_an_objective_is_checked(server):
    server.add_model("kws")
    add_variants(server, "1.0.0", {"int8": tiny_model("a")})
    for objective, pointer in (({"order": ["speed"]}, "/objective/order/0"), ({"gain": 2}, "/objective/gain"), ({"min_qality": 1}, "/objective/min_qality")):
        with pytest.raises(ApiError) as refused:
            release(server, "r", "1.0.0", **objective)
        assert refused.value.status == 422 and refused.value.problem["pointer"] == pointer
    release(server, "r", "1.0.0", min_quality=0.9, quality="top1", order=["energy", "latency"])
    assert server.get("/releases/r")["objective"]["order"] == ["energy", "latency"]
