"""`make bench-ingest`: processor time a QoS 1 telemetry message, and how many a second, against an empty libmosquitto subscriber.

Subject: the daemon with a registered fleet; a report of eight metrics is received, parsed, matched to its device, scored, judged, stored and
acknowledged after the commit. Reference: tests/bench/mqtt_bare.c on the same broker. Both get the same messages by turns from the same publishers
(tests/bench/mqtt_load.c), at a steady rate and as fast as the broker takes them. Nothing may be lost: the daemon's count of written reports is compared.
"""
import argparse
import json
import pathlib
import signal
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from bench.fleet import Fleet  # noqa: E402
from bench.measure import Table, cpu_s  # noqa: E402
from harness.process import wait_for  # noqa: E402

WRITTEN = "aviary_telemetry_written_reports_total"


class Bare:
    def __init__(self, build, port):
        self.child = subprocess.Popen([build / "bench" / "mqtt_bare", str(port), "bare/+/telemetry"], stdout=subprocess.PIPE, text=True)
        assert self.child.stdout.readline() == "ready\n"

    def count(self):
        self.child.send_signal(signal.SIGUSR1)
        return int(self.child.stdout.readline())

    def stop(self):
        self.child.terminate()
        self.child.wait()


class Bench:
    def __init__(self, options, folder):
        self.o, self.seq = options, 1000
        self.build = pathlib.Path(options.build).resolve()
        self.fleet = Fleet(self.build, folder, options.devices, options.fleet)
        self.server, self.broker = self.fleet.server, self.fleet.broker
        self.bare = Bare(self.build, self.broker.port)
        self.metrics = self.server.metrics

    def close(self):
        self.bare.stop()
        self.fleet.stop()

    def load(self, prefix, messages, per_second):
        self.seq += messages // self.o.devices + 1
        command = [self.build / "bench" / "mqtt_load", str(self.broker.port), prefix, str(self.o.devices), str(messages), str(per_second), "4",
                   str(self.seq), "random"]
        return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

    def run(self, pid, prefix, messages, per_second, count):
        """(microseconds of processor time a message, messages a second)"""
        before, cpu, began = count(), cpu_s(pid), time.monotonic()
        self.load(prefix, messages, per_second)
        wait_for(lambda: count() - before >= messages, 60, lambda: f"{messages} messages arrived: {count() - before}", 0.02)
        lasted, used = time.monotonic() - began, cpu_s(pid) - cpu
        assert count() - before == messages, f"{messages} sent, {count() - before} written"
        return used / messages * 1e6, messages / lasted

    def warm(self):
        """A report of each device: states that grow with the first one are there."""
        self.run(self.server.process.pid, "aviary/v1", self.o.devices, 0, lambda: int(self.metrics()[WRITTEN]))
        self.run(self.bare.child.pid, "bare", self.o.messages, 0, self.bare.count)
        print(f"each device has reported: {self.fleet.resident():.0f} bytes resident a device", flush=True)

    def pair(self, messages, per_second):
        bare = self.run(self.bare.child.pid, "bare", messages, per_second, self.bare.count)
        time.sleep(0.5)
        subject = self.run(self.server.process.pid, "aviary/v1", messages, per_second, lambda: int(self.metrics()[WRITTEN]))
        time.sleep(0.5)
        return subject, bare


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", default="build")
    parser.add_argument("--devices", type=int, default=1000000)
    parser.add_argument("--messages", type=int, default=100000, help="a run")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--rate", type=int, default=10000, help="messages a second of the steady runs")
    parser.add_argument("--fleet", help="where the seeded fleet is kept between runs")
    parser.add_argument("--json")
    options = parser.parse_args()
    table = Table("ingest", options.json)
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(options, pathlib.Path(folder))
        try:
            bench.warm()
            steady = [bench.pair(options.messages, options.rate) for _ in range(options.runs)]
            fast = [bench.pair(options.messages, 0) for _ in range(options.runs)]
            table.add(f"ingest, {options.rate} a second", "us CPU", [s[0] for s, _ in steady], [b[0] for _, b in steady], bar=1.0)
            table.add("ingest, as fast as it goes", "us CPU", [s[0] for s, _ in fast], [b[0] for _, b in fast], bar=1.0)
            table.add("sustained", "1/s", [s[1] for s, _ in fast], [b[1] for _, b in fast], bar=0.8, at_least=True)
        finally:
            bench.close()
    return table.close()


if __name__ == "__main__":
    sys.exit(main())
