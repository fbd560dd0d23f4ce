"""Detection in the daemon: each fault raises its cause, nobody else is accused, and what was unusual is listed.

Devices send a day and a half of reports that waited in them (their own time, five minutes apart), so that what pages has learned.
"""
import random
import time

import pytest

from harness.process import wait_for
from test_telemetry import Publisher

STEPS = 330
CADENCE_S = 300
FAULTY = 50  # reports: what is not a matter of one report is held against a sum


@pytest.fixture
def publisher(broker):
    p = Publisher(broker.port)
    yield p
    p.stop()


class Device:
    def __init__(self, name, begin_s):
        self.name, self.seq, self.boot, self.at_s = name, 0, 1, begin_s
        self.random = random.Random(name)

    def metrics(self, fault=None):
        r = self.random
        temperature = r.gauss(40, 0.7) + (45 if fault == "hot" else 0)
        latency = r.gauss(20, 0.4) * (2.2 if fault in ("hot", "slow") else 1)
        confidence = r.gauss(0.8, 0.01) - (0.4 if fault == "corrupt" else 0)
        classes = [0, r.randint(370, 400), 0] if fault == "corrupt" else [r.randint(190, 210), r.randint(110, 130), r.randint(70, 80)]
        return {"latency_ms": {"n": 400, "sum": 400 * latency}, "temperature_c": temperature, "battery": 0.9,
                "link_rssi_dbm": r.gauss(-60, 1), "confidence": {"n": 400, "sum": 400 * confidence}, "classes": {"hist": classes}}

    def report(self, fault=None):
        self.seq += 1
        self.at_s += CADENCE_S
        self.boot += fault == "reboot"
        return {"boot": f"b{self.boot}", "seq": self.seq, "ts": self.at_s * 1000, "model": "kws", "version": "1.4.1", "metrics": self.metrics(fault)}


def alerts(server):
    return {(a["kind"], a["resource"]) for a in server.items("/api/v1/alerts", status="firing")}


def test_each_fault_has_its_cause(server, publisher):
    begin_s = int(time.time()) - (STEPS + FAULTY + 5) * CADENCE_S
    devices = [Device(f"dev-{i}", begin_s) for i in range(8)]
    for d in devices:
        server.post("/api/v1/devices", {"id": d.name, "hardware": "esp32s3"})
    sent = 0
    for _ in range(STEPS // 10):
        for d in devices:
            publisher.send(d.name, "telemetry", [d.report() for _ in range(10)])
            sent += 10
    wait_for(lambda: server.metrics().get("aviary_detect_reports_total", 0) >= sent, 60, "reports through detection")
    assert alerts(server) == set(), "a healthy fleet raises nothing"

    faults = {"dev-1": ("corrupt", "model_corrupt"), "dev-2": ("hot", "thermal_throttle"), "dev-3": ("reboot", "reboot_loop"),
              "dev-4": ("slow", "hardware_degraded")}
    for _ in range(FAULTY):
        for d in devices:
            publisher.send(d.name, "telemetry", d.report(faults.get(d.name, (None,))[0]))
            sent += 1
    wait_for(lambda: server.metrics()["aviary_detect_reports_total"] >= sent, 60, "reports through detection")
    expected = {(cause, f"devices/{name}") for name, (_, cause) in faults.items()}
    wait_for(lambda: expected <= alerts(server), 20, lambda: f"{expected - alerts(server)} to fire, {alerts(server)} do")
    healthy = {resource for _, resource in alerts(server)} & {f"devices/dev-{i}" for i in (0, 5, 6, 7)}
    assert healthy == set()

    corrupt = next(a for a in server.items("/api/v1/alerts", status="firing") if a["kind"] == "model_corrupt")
    assert corrupt["severity"] == "critical" and corrupt["data"]["cause"] == "model_corrupt" and corrupt["data"]["evidence"]
    ranked = server.get("/api/v1/anomalies", limit=60)["items"]
    assert {"dev-1", "dev-2", "dev-4"} <= {r["device"] for r in ranked if r["peak"] > 0.5}
    assert {r["metric"] for r in server.get("/api/v1/anomalies", device="dev-2", least=50)["items"]} >= {"temperature_c", "latency_ms"}
    assert [r["peak"] for r in ranked] == sorted((r["peak"] for r in ranked), reverse=True)
    span = {"from": int(time.time() * 1000) - 600_000}
    wait_for(lambda: server.get("/api/v1/telemetry", metric="anomaly.temperature_c", device="dev-2", raw="true", **span)["items"], 10, "scores on disk")
    scores = server.get("/api/v1/telemetry", metric="anomaly.temperature_c", aggregate="count,max", device="dev-2", **span)["items"]
    assert scores[0]["count"] >= 1 and 0.5 < scores[0]["max"] <= 1
    cohorts = {c["name"]: c for c in server.get("/api/v1/detect/cohorts")["items"]}
    assert cohorts["esp32s3/kws-1.4.1"]["parent"] == "esp32s3" and cohorts["esp32s3/kws-1.4.1"]["reports"] == sent
    one = server.get("/api/v1/detect/devices/dev-3")
    assert "reboot_loop" in one["causes"] and one["refused"] == {"types": 0, "metrics": 0, "clocks": 0, "values": 0}

    # after a kill all of it is there, and nobody is accused twice
    before = len(server.items("/api/v1/alerts"))
    server.kill9()
    server.start()
    again = server.get("/api/v1/detect/devices/dev-3")
    assert again == one
    assert len(server.items("/api/v1/alerts")) == before
