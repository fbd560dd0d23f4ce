"""`make bench-plan`: how long the daemon's loop is held by a rollout over a large fleet, phase by phase.

A fleet that has reported for a day (tests/bench/seed_fleet.c), the real daemon and a real broker on free loopback ports. Each phase shows the
longest hold (how long one iteration of the loop let events wait), the most processor time of one iteration, how many holds were longer
than the bound, and what the daemon spent. Holds are the daemon's own figures, from /metrics. Other processes on the machine lengthen
holds; processor time tells them apart. The exit status is 1 when a hold is longer than --bound-ms (--print: never; --cpu: by processor time).
"""
import argparse
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from harness import Broker, Server, tiny_model  # noqa: E402
from harness.process import wait_for  # noqa: E402
from harness.wire import Publisher  # noqa: E402

TICKS = os.sysconf("SC_CLK_TCK")
OLD, NEW = "kws-1.0.0", "kws-1.1.0"
ENDED = ("finished", "reverted", "cancelled", "aborted", "error")


class Phase:
    """What the loop's figures were between two scrapes."""

    def __init__(self, bench, name):
        self.bench, self.name, self.note = bench, name, ""

    def __enter__(self):
        self.before = self.bench.metrics()
        self.bench.longest = (0.0, "")
        self.bench.longest_cpu = 0.0
        self.cpu_s, self.began = self.bench.cpu_s(), time.monotonic()
        return self

    def __exit__(self, kind, value, trace):
        if kind is not None and kind is not TimeoutError:
            return False
        wall_s, cpu_s = time.monotonic() - self.began, self.bench.cpu_s() - self.cpu_s
        after = self.bench.metrics()
        longest, what = self.bench.longest
        row = {"phase": self.name, "wall_s": round(wall_s, 3), "cpu_s": round(cpu_s, 2), "hold_ms": round(1000 * longest, 2), "what": what,
               "cpu_ms": round(1000 * self.bench.longest_cpu, 2),
               "over_20ms": int(self._slow(after) - self._slow(self.before)),
               "commit_ms": round(1000 * self._per(after, "aviary_commit_seconds"), 2), "note": self.note}
        if kind is TimeoutError:
            row["note"] = f"{self.note} gave up: {str(value).splitlines()[0][:200]}".strip()
        self.bench.add(row)
        return kind is TimeoutError

    @staticmethod
    def _slow(m):
        return m["aviary_loop_hold_seconds_count"] - m['aviary_loop_hold_seconds_bucket{le="0.02"}']

    def _per(self, after, name):
        count = after[name + "_count"] - self.before[name + "_count"]
        return (after[name + "_sum"] - self.before[name + "_sum"]) / count if count else 0.0


class Bench:
    def __init__(self, options, folder):
        self.o, self.rows, self.seq = options, [], 1000
        self.longest, self.longest_cpu = (0.0, ""), 0.0  # of the phase
        build = pathlib.Path(options.build).resolve()
        state = folder / "server" / "state"
        self.seed(build, state)
        self.broker = Broker(folder / "broker")
        began = time.monotonic()
        self.server = Server(build, folder / "server", self.broker.port, start_timeout=120,
                             config={"limits": {"reports_per_second": 0, "commands_per_second": 0}})
        if options.priority:
            os.setpriority(os.PRIO_PROCESS, self.server.process.pid, -20)
        print(f"{options.devices} devices, {options.online} of them online; the daemon is ready after {time.monotonic() - began:.1f} s", flush=True)
        self.wire = Publisher(self.broker.port, "bench")

    def seed(self, build, state):
        kept = self.o.fleet and pathlib.Path(self.o.fleet)
        state.parent.mkdir(parents=True)
        if kept and kept.exists():
            subprocess.run(["cp", "-a", "--reflink=auto", kept, state], check=True)
            return
        done = subprocess.run([build / "bench" / "seed_fleet", state, str(self.o.devices)], check=True, capture_output=True, text=True)
        print(done.stdout.strip(), flush=True)
        if kept:
            subprocess.run(["cp", "-a", "--reflink=auto", state, kept], check=True)

    def close(self):
        self.server.stop()
        self.broker.stop()

    def cpu_s(self):
        with open(f"/proc/{self.server.process.pid}/stat") as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def add(self, row):
        self.rows.append(row)
        if len(self.rows) == 1:
            print(f"{'phase':34} {'wall s':>8} {'cpu s':>7} {'hold ms':>9} {'cpu ms':>8} {'>20 ms':>6} {'commit':>7}  longest")
        print(f"{row['phase']:34} {row['wall_s']:8.2f} {row['cpu_s']:7.2f} {row['hold_ms']:9.1f} {row['cpu_ms']:8.1f} {row['over_20ms']:6d} "
              f"{row['commit_ms']:7.2f}  {row['what']}  {row['note']}", flush=True)

    def phase(self, name):
        return Phase(self, name)

    def metrics(self):
        """Each scrape begins the daemon's "since the last scrape" anew: what it said is kept for the phase."""
        m = self.server.metrics()
        for key, seconds in m.items():
            found = re.fullmatch(r'aviary_loop_longest_hold_seconds\{since="scrape",what="(.*)"\}', key)
            if found:
                self.longest = max(self.longest, (seconds, found[1]))
        self.longest_cpu = max(self.longest_cpu, m['aviary_loop_longest_cpu_seconds{since="scrape"}'])
        return m

    # ---- devices ----
    def online(self, first, last):
        self.wire.publish((f"aviary/v1/dev-{i}/status", '{"online":true,"boot":"b0"}') for i in range(first, last))
        wait_for(lambda: self.server.get("/stats")["devices_online"] >= last, 120, "their status arrived", 0.2)

    def telemetry(self, devices, version="1.0.0", spread=5):
        """One report of each, admitted and durable."""
        before = self.metrics()["aviary_telemetry_written_reports_total"]
        self.seq += 1
        self.wire.publish((f"aviary/v1/{d}/telemetry",
                           f'{{"boot":"b0","seq":{self.seq},"model":"kws","version":"{version}","metrics":{{"accuracy":{{"n":50,"k":{42 + (n + self.seq) % spread}}}}}}}')
                          for n, d in enumerate(devices))
        wait_for(lambda: self.metrics()["aviary_telemetry_written_reports_total"] >= before + len(devices), 120, "reports are written", 0.1)

    def deployments(self, rollout, state, stage, most):
        """{device: deployment} of at most that many."""
        out, params = {}, {"limit": 1000, "state": state, "stage": stage}
        while len(out) < most:
            page = self.server.get(f"/rollouts/{rollout}/deployments", **params)
            out.update((d["device"], d) for d in page["items"])
            if not page.get("next"):
                break
            params["cursor"] = page["next"]
        return out

    def say(self, deployments, state, release, version):
        """Reports of these devices about their deployments."""
        self.seq += 1
        running = f',"running":{{"release":"{release}","counter":{self.seq},"models":{{"kws":"{version}"}}}}' if state == "succeeded" else ""
        self.wire.publish((f"aviary/v1/{device}/report",
                           f'{{"boot":"b0","seq":{self.seq}{running},"deployment":{{"id":"d-{d["id"]}","attempt":{d["attempt"]},"state":"{state}","progress":50}}}}')
                          for device, d in deployments.items())

    # ---- the rollout ----
    def stage(self, rollout, stage):
        return self.server.get(f"/rollouts/{rollout}")["stages"][stage]

    def wait_stage(self, rollout, stage, statuses, timeout):
        wait_for(lambda: self.stage(rollout, stage)["status"] in statuses, timeout,
                 lambda: f"stage {stage} begins: {[(s['status'], s['verdict']) for s in self.server.get(f'/rollouts/{rollout}')['stages']]}, "
                 f"{self.server.get(f'/rollouts/{rollout}')['reason']}", 0.1)

    def spec(self):
        o = self.o
        return {"name": "bench", "release": NEW, "start": False,
                "stages": [{"count": o.canaries}, {"percent": 10}, {"percent": 100}], "success": {"percent": 1}, "soak_ms": 1000, "timeout_ms": 3600000,
                "error": {"percent": 90, "min_count": 1000}, "gates": [{"metric": "accuracy"}, {"metric": "silence"}],
                "judge": {"reports_planned": 16, "warmup_ms": 0, "min_bake_ms": 2000, "max_bake_ms": 3600000, "controls_max": o.controls}}

    def prepare(self):
        s = self.server
        s.add_model("kws")
        for version in ("1.0.0", "1.1.0"):
            s.add_version("kws", version, {"*": tiny_model(version, payload=2000)})
            s.add_release(f"kws-{version}", {"kws": version})

    def surroundings(self):
        s, o = self.server, self.o
        with self.phase("nothing to do"):
            time.sleep(5)
        with self.phase("devices come online"):
            self.online(0, o.online)
        with self.phase("telemetry, one report each"):
            self.telemetry([f"dev-{i}" for i in range(o.online)])
        with self.phase("metrics and stats"):
            for _ in range(20):
                self.metrics()
                s.get("/stats")
        with self.phase("lists of devices"):
            s.get("/devices", limit=1000)
            s.get("/devices", limit=100, sort="-lastSeen")
        with self.phase("a filter over the fleet"):
            s.get("/devices", limit=100, filter="attribute.region==eu")
        with self.phase("bulk registration, 20,000"):
            lines = "".join(json.dumps({"id": f"bulk-{i}", "hardware": "esp32", "attributes": {"region": "eu"}}) + "\n" for i in range(o.bulk))
            s.request("POST", "/devices:bulk", data=lines, headers={"Content-Type": "application/x-ndjson"}, timeout=120).raise_for_status()
        with self.phase("the broker comes back"):
            self.wire.close()
            self.broker.stop()
            wait_for(lambda: self.metrics()["aviary_mqtt_connected"] == 0, 30, "the daemon noticed", 0.1)
            self.broker.start()
            self.wire = Publisher(self.broker.port, "bench")
            wait_for(lambda: self.metrics()["aviary_mqtt_connected"] == 1, 90, "the daemon is connected again", 0.2)
            wait_for(lambda: self.metrics()["aviary_mqtt_waiting"] == 0, 60, "devices are told", 0.2)

    def run(self):
        self.prepare()
        if not self.o.rollout_only:
            self.surroundings()
        else:
            self.online(0, self.o.online)
        if not self.o.surroundings_only:
            self.roll_out()

    def roll_out(self):
        s, o = self.server, self.o
        with self.phase("dry run") as p:
            plan = s.call("POST", "/rollouts", self.spec(), params={"dryRun": "true"}, timeout=300)
            p.note = f"{plan['target'].get('devices', plan['target'])} devices" if isinstance(plan.get("target"), dict) else ""
        with self.phase("create"):
            rollout = s.call("POST", "/rollouts", self.spec(), timeout=300)["id"]
        with self.phase("start: canary stage") as p:
            s.post(f"/rollouts/{rollout}/start", timeout=300)
            self.wait_stage(rollout, 0, ("running", "baking", "finished"), 180)
            p.note = f"{self.stage(rollout, 0).get('blocks', 0)} blocks"
        canaries = {}
        with self.phase("canaries install"):
            wait_for(lambda: len(self.deployments(rollout, "offered", 0, o.canaries)) >= o.canaries, 60, "all canaries are offered", 0.3)
            canaries = self.deployments(rollout, "offered", 0, o.canaries)
            self.say(canaries, "installing", NEW, "1.1.0")
            self.say(canaries, "succeeded", NEW, "1.1.0")
            wait_for(lambda: len(self.deployments(rollout, "succeeded", 0, o.canaries)) >= len(canaries), 60, "all have said so", 0.3)
        with self.phase("looks") as p:
            begin = time.monotonic()
            while time.monotonic() - begin < o.look_s and self.stage(rollout, 0)["status"] in ("running", "baking"):
                self.telemetry(list(canaries), "1.1.0")
                self.telemetry([f"dev-{i}" for i in range(0, o.online) if f"dev-{i}" not in canaries][:o.reporting])
            looks = s.get(f"/rollouts/{rollout}/verdicts")["items"]
            p.note = f"{len(looks)} looks, {looks[-1]['verdict'] if looks else '-'}"
        with self.phase("blocks and deployments read"):
            s.get(f"/rollouts/{rollout}/blocks", stage=0, limit=1000)
            self.deployments(rollout, "succeeded", 0, 2000)
        for stage, share in ((1, "second stage, 10 %"), (2, "last stage, 100 %")):
            with self.phase(share + ": begins") as p:
                self.promote(rollout, stage)
                self.wait_stage(rollout, stage, ("running", "baking", "finished"), 240)
            with self.phase(share + ": offers, installs"):
                few = min(o.installs, self.stage(rollout, stage)["planned"])
                wait_for(lambda: self.stage(rollout, stage)["deployments"].get("offered", 0) >= few, 120, "they are offered", 0.3)
                told = self.deployments(rollout, "offered", stage, few)
                self.say(told, "succeeded", NEW, "1.1.0")
                wait_for(lambda: len(self.deployments(rollout, "succeeded", stage, o.installs)) >= 0.99 * len(told), 120, "all have said so", 0.5)
        with self.phase("revert of everything") as p:
            s.post(f"/rollouts/{rollout}/revert", timeout=300)
            p.note = self.take_back(rollout)
        with self.phase("delete") as p:
            self.end(rollout)
            answer = s.request("DELETE", f"/rollouts/{rollout}", timeout=300)
            p.note = f"{answer.status_code}"
            wait_for(lambda: s.request("GET", f"/rollouts/{rollout}").status_code == 404, 120, "it is gone", 0.3)

    def promote(self, rollout, stage):
        """The judge is not what is measured here: an operator's word ends the stage before, if it has not ended."""
        if self.stage(rollout, stage - 1)["status"] in ("running", "baking"):
            self.server.request("POST", f"/rollouts/{rollout}/promote", {}, timeout=300)

    def take_back(self, rollout):
        """Devices that go back say so, until the rollout has ended or the time is over."""
        begin, back = time.monotonic(), 0
        while time.monotonic() - begin < self.o.revert_s:
            some = 0
            for stage in range(3):
                going = self.deployments(rollout, "reverting", stage, 5000)
                self.say(going, "succeeded", OLD, "1.0.0")
                some += len(going)
            back += some
            status = self.server.get(f"/rollouts/{rollout}")["status"]
            if status in ENDED:
                break
            time.sleep(0.5)
        return f"{back} went back, {status}"

    def end(self, rollout):
        if self.server.get(f"/rollouts/{rollout}")["status"] not in ENDED:
            self.server.request("POST", f"/rollouts/{rollout}/abort", {}, timeout=300)
            wait_for(lambda: self.server.get(f"/rollouts/{rollout}")["status"] in ENDED, 120, "it has ended", 0.5)


def parse():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--build", default="build", help="directory of the built programs")
    p.add_argument("--devices", type=int, default=1000000)
    p.add_argument("--online", type=int, default=100000, help="how many are connected")
    p.add_argument("--canaries", type=int, default=2000)
    p.add_argument("--controls", type=int, default=4, help="at most so many controls in each block")
    p.add_argument("--reporting", type=int, default=20000, help="devices besides the canaries that report while the judge looks")
    p.add_argument("--installs", type=int, default=10000, help="how many devices of the later stages say that they installed")
    p.add_argument("--bulk", type=int, default=20000)
    p.add_argument("--look-s", type=float, default=30)
    p.add_argument("--revert-s", type=float, default=120)
    p.add_argument("--rollout-only", action="store_true", help="without what else holds the loop")
    p.add_argument("--surroundings-only", action="store_true", help="without a rollout")
    p.add_argument("--fleet", help="a directory that keeps the seeded fleet for the next run")
    p.add_argument("--folder", help="where to work; default: a temporary directory that is removed")
    p.add_argument("--json", help="write the table there")
    p.add_argument("--bound-ms", type=float, default=20)
    p.add_argument("--cpu", action="store_true", help="judge by processor time: for machines with other work")
    p.add_argument("--priority", action="store_true", help="the daemon before all other processes (needs root): for machines with other work")
    p.add_argument("--print", action="store_true", help="exit with 0 whatever was measured")
    o = p.parse_args()
    o.online = min(o.online, o.devices)
    return o


def main():
    o = parse()
    folder = pathlib.Path(o.folder or tempfile.mkdtemp(prefix="aviary-bench-"))
    bench = None
    try:
        bench = Bench(o, folder)
        bench.run()
    finally:
        if bench:
            bench.close()
            if o.json:
                pathlib.Path(o.json).write_text(json.dumps({"devices": o.devices, "online": o.online, "canaries": o.canaries, "phases": bench.rows}, indent=1))
            held = [line for line in bench.server.process.log().splitlines() if "loop.held" in line]
            print("\n".join(held[-20:]))
        if not o.folder:
            shutil.rmtree(folder, ignore_errors=True)
    over = [row["phase"] for row in bench.rows if row["cpu_ms" if o.cpu else "hold_ms"] > o.bound_ms]
    if over:
        print(f"longer than {o.bound_ms:g} ms: {', '.join(over)}")
    return 1 if over and not o.print else 0


if __name__ == "__main__":
    sys.exit(main())
