"""`make bench-storm`: 100,000 devices of a cohort fail within a minute, through the real broker and daemon to a real HTTP receiver.

First without kills: how many notifications, when the first one, how long the loop is held. Then each device is well and fails again, while the daemon
is killed (kill -9) again and again, at random points. At the end every transition has to be in the database once: each device's first
failure, its end, and the second one; nothing waits to be told; both databases are whole. The exit status is 1 when something is lost.
"""
import argparse
import json
import pathlib
import random
import sqlite3
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from harness import Broker, Server  # noqa: E402
from harness.process import wait_for  # noqa: E402
from harness.receivers import WebReceiver  # noqa: E402
from harness.wire import Publisher  # noqa: E402

CONFIG = {"notify": {"allow": "127.0.0.0/8, ::1"}, "limits": {"reports_per_second": 0, "commands_per_second": 0}}
CONNECTIONS = 4
MANY = 2000  # devices of one registration


class Storm:
    def __init__(self, build, folder, devices, seconds, wait_ms=30000, seed=4):
        self.devices, self.seconds, self.pace = devices, seconds, random.Random(seed)
        self.receiver = WebReceiver()
        self.broker = Broker(pathlib.Path(folder) / "broker")
        self.server = Server(build, pathlib.Path(folder) / "server", self.broker.port, config=CONFIG, start_timeout=120)
        self.wires = [Publisher(self.broker.port, f"storm-{n}") for n in range(CONNECTIONS)]
        self.kills, self.longest, self.longest_cpu, self.table = 0, (0.0, ""), 0.0, {}
        for first in range(0, devices, MANY):
            lines = "".join(json.dumps({"id": f"dev-{i}", "hardware": "esp32s3"}) + "\n" for i in range(first, min(first + MANY, devices)))
            self.server.call("POST", "/devices:bulk", data=lines, headers={"Content-Type": "application/x-ndjson"}, timeout=120)
        self.server.post("/receivers", {"name": "hook", "type": "webhook", "url": self.receiver.url, "wait_ms": wait_ms})
        self.server.post("/alert-rules", {"name": "hot", "metric": "temperature_c", "threshold": 60, "severity": "critical"})
        self.order = list(range(devices))
        self.pace.shuffle(self.order)

    def close(self):
        for wire in self.wires:
            wire.close()
        self.server.stop()
        self.broker.stop()
        self.receiver.close()

    def report(self, seq, value, devices):
        """One report of each; returns when the broker has all of them."""
        for n, wire in enumerate(self.wires):
            wire.publish((f"aviary/v1/dev-{d}/telemetry", f'{{"boot":"b","seq":{seq},"metrics":{{"temperature_c":{value}}}}}')
                         for d in devices[n::CONNECTIONS])

    def rows(self, sql, database="fleet"):
        db = sqlite3.connect(f"file:{self.server.state}/{database}.db?mode=ro", uri=True, timeout=30)
        try:
            return db.execute(sql).fetchall()
        finally:
            db.close()

    def found(self):
        """(fired, resolved) of devices."""
        return self.rows("SELECT count(*), count(resolved_at) FROM alert WHERE kind = 'metric.threshold' AND resource LIKE 'devices/%'")[0]

    def note_holds(self):
        m = self.server.metrics()
        for key, seconds in m.items():
            if key.startswith('aviary_loop_longest_hold_seconds{since="start"'):
                self.longest = max(self.longest, (seconds, key.split('what="')[1].split('"')[0]))
        self.longest_cpu = max(self.longest_cpu, m['aviary_loop_longest_cpu_seconds{since="start"}'])
        return int(m["aviary_loop_hold_seconds_count"] - m['aviary_loop_hold_seconds_bucket{le="0.02"}'])

    # ---- without kills ----
    def strike(self):
        began = time.monotonic()
        chunk = max(self.devices // 200, 100)
        for first in range(0, self.devices, chunk):
            self.report(1, 90, self.order[first:first + chunk])
            time.sleep(max(0.0, began + self.seconds * (first + chunk) / self.devices - time.monotonic()))
        failed_s = time.monotonic() - began
        wait_for(lambda: self.found()[0] >= self.devices, 120, lambda: f"{self.devices} alerts, {self.found()[0]} fire", 0.5)
        fired_s = time.monotonic() - began
        wait_for(lambda: self.receiver.requests, 60, "a notification", 0.2)
        first_s = self.receiver.requests[0][0] - began
        time.sleep(max(2.0, min(30.0, first_s)))  # whoever is told one by one would be told by now
        over = self.note_holds()
        bodies = self.receiver.taken()
        alone = sum(a["resource"].startswith("devices/") for b in bodies for a in b["alerts"])
        self.table |= {"devices": self.devices, "failed within s": round(failed_s, 1), "all alerts after s": round(fired_s, 1),
                       "first notification after s": round(first_s, 1), "notifications": len(self.receiver.requests), "of single devices": alone,
                       "longest hold ms": round(1000 * self.longest[0], 1), "of": self.longest[1], "most processor ms": round(1000 * self.longest_cpu, 1),
                       "holds over 20 ms": over}

    # ---- with kills ----
    def kill(self):
        time.sleep(self.pace.random() * 0.3)
        self.server.kill9()
        self.kills += 1
        self.server.start(120)

    def strike_under_kills(self, kills):
        began = time.monotonic()
        reports = [(2, 20, d) for d in self.order] + [(3, 91, d) for d in self.order]
        per_kill = -(-len(reports) // kills)
        for first in range(0, len(reports), per_kill):
            part = reports[first:first + per_kill]
            for seq, value in ((2, 20), (3, 91)):
                self.report(seq, value, [d for s, _, d in part if s == seq])
            self.kill()
        wanted = (2 * self.devices, self.devices)
        try:
            wait_for(lambda: self.found() == wanted, 120, lambda: f"{self.found()} alerts", 0.5)
        except TimeoutError:
            pass  # judge says what is missing
        wait_for(lambda: self.rows("SELECT count(*) FROM notice") == [(0,)], 60, "all notices are taken", 0.2)
        self.table |= {"kills": self.kills, "seconds with kills": round(time.monotonic() - began, 1)}

    def judge(self):
        """What is lost, or there twice; {} where nothing is."""
        fired, resolved = self.found()
        per_device = "SELECT resource, count(*) AS n, count(resolved_at) AS r FROM alert WHERE kind = 'metric.threshold' AND resource LIKE 'devices/%' GROUP BY resource"
        good = self.rows(f"SELECT count(*) FROM ({per_device}) WHERE n = 2 AND r = 1")[0][0]
        wait_for(lambda: self.rows("SELECT count(*) FROM delivery WHERE status = 'pending'") == [(0,)], 60, "nothing is on its way", 0.2)
        written = {f"{key}:{seq}" for key, seq in self.rows("SELECT key, seq FROM delivery")}
        got = {headers["Idempotency-Key"] for _, headers, _, status, _ in self.receiver.requests if status == 200}
        self.server.stop()
        whole = [self.rows("PRAGMA integrity_check", name)[0][0] for name in ("fleet", "telemetry")]
        self.table |= {"transitions expected": 3 * self.devices, "transitions found": fired + resolved, "devices with each of them once": good,
                       "notifications in all": len(written), "lost": self.devices - good}
        wrong = {"transitions": (fired, resolved)} if (fired, resolved) != (2 * self.devices, self.devices) else {}
        wrong |= {"devices": good} if good != self.devices else {}
        wrong |= {"integrity": whole} if whole != ["ok", "ok"] else {}
        wrong |= {"notifications": sorted(written ^ got)} if written != got else {}
        return wrong


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--build", default="build")
    p.add_argument("--devices", type=int, default=100000)
    p.add_argument("--seconds", type=float, default=50)
    p.add_argument("--kills", type=int, default=100)
    o = p.parse_args()
    with tempfile.TemporaryDirectory(prefix="aviary-storm-") as folder:
        storm = Storm(pathlib.Path(o.build).resolve(), folder, o.devices, o.seconds)
        try:
            storm.strike()
            few = storm.table["notifications"] <= 3 and storm.table["of single devices"] == 0 and storm.table["first notification after s"] <= 60
            for name, value in storm.table.items():
                print(f"{name:34} {value}", flush=True)
            shown = len(storm.table)
            wrong = {}
            if o.kills > 0:
                storm.strike_under_kills(o.kills)
                wrong = storm.judge()
            for name, value in list(storm.table.items())[shown:]:
                print(f"{name:34} {value}", flush=True)
        finally:
            storm.close()
    print("wrong:", wrong if wrong or few else "notifications")
    return 1 if wrong or not few else 0


if __name__ == "__main__":
    sys.exit(main())
