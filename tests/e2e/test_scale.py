"""2,000 connected simulated agents through a whole rollout: what it costs the daemon."""
import os
import threading
import time

from harness import tiny_model
from harness.process import wait_for

DEVICES = 2000
RSS_MIB = 300
CORES = 1.0      # of processor time, averaged over the rollout: the loop is one thread, and telemetry's writer a second
ANSWER_S = 3.0   # a read while all of this goes on, and other tests, too
TICKS = os.sysconf("SC_CLK_TCK")


class Cost:
    """Samples the daemon's memory and processor time, and how long a request takes meanwhile."""

    def __init__(self, server):
        self.server, self.pid = server, server.process.pid
        self.rss_mib, self.slowest_s, self.answers = 0.0, 0.0, []
        self.began, self.cpu_before = time.monotonic(), self.cpu_s()
        self.is_over = threading.Event()
        self.thread = threading.Thread(target=self.sample, daemon=True)
        self.thread.start()

    def cpu_s(self):
        with open(f"/proc/{self.pid}/stat") as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def sample(self):
        session_get = self.server.session.get
        while not self.is_over.wait(0.1):
            with open(f"/proc/{self.pid}/status") as status:
                rss_kib = next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))
            self.rss_mib = max(self.rss_mib, rss_kib / 1024)
            begin = time.monotonic()
            session_get(self.server.url + "/api/v1/devices?limit=10", timeout=30).raise_for_status()
            self.answers.append(time.monotonic() - begin)

    def end(self):
        self.is_over.set()
        self.thread.join()
        self.seconds = time.monotonic() - self.began
        self.cores = (self.cpu_s() - self.cpu_before) / self.seconds
        self.answers.sort()
        self.slowest_s, self.median_s = self.answers[-1], self.answers[len(self.answers) // 2]
        return self



def is_sanitized(server):
    """An address sanitizer keeps freed memory for a while: its build's size says nothing."""
    return b"__asan_init" in server.program.read_bytes()


def told(what, cost):
    return (f"{what}: {cost.seconds:.1f} s, at most {cost.rss_mib:.0f} MiB resident, {100 * cost.cores:.0f} % of a core, "
            f"GET /devices median {1000 * cost.median_s:.1f} ms, slowest {1000 * cost.slowest_s:.0f} ms")


def test_2000_agents_through_a_rollout(server, make_sim, tell):
    server.add_model("kws")
    for version in ("1.0.0", "1.1.0"):
        server.add_version("kws", version, {"*": tiny_model(version, payload=20000)})
        server.add_release(f"kws-{version}", {"kws": version})
    cost = Cost(server)
    sim = make_sim(server, DEVICES, enrol=server.enrolment_token(), factory_release="kws-1.0.0", factory_model="kws=1.0.0", factory_counter=1,
                   interval="1s", report_retry="5s", self_test="200ms", regions="eu,us", quiet=True, seed=5, connect_rate=500)
    sim.wait_connected(DEVICES, 60)
    wait_for(lambda: server.running() == {"kws-1.0.0": DEVICES}, 60, lambda: f"all enrolled: {server.running()}", interval=0.5)
    enrolling = cost.end()

    spec = {"name": "kws to 2,000", "release": "kws-1.1.0", "start": True, "stages": [{"percent": 5}, {"percent": 30}, {"percent": 100}],
            "soak_ms": 2000, "timeout_ms": 30000, "gates": [{"metric": "accuracy"}, {"metric": "latency_ms"}, {"metric": "silence"}],
            "judge": {"reports_planned": 32}}

    def ready():
        plan = server.request("POST", "/rollouts", spec, params={"dryRun": "true"})
        return plan.status_code == 200 and plan.json()["target"]["without_baseline"] == 0
    wait_for(ready, 30, "every device has a baseline", 0.5)
    cost, stored = Cost(server), server.metrics()
    rollout = server.rollout(**spec)["id"]
    state = server.wait_rollout(rollout, ("finished", "reverted", "paused"), 120)
    rolling = cost.end()
    assert state["status"] == "finished", state["reason"]
    wait_for(lambda: server.running() == {"kws-1.1.0": DEVICES}, 30, lambda: f"all have it: {server.running()}", interval=0.5)

    cost, before = Cost(server), server.metrics()
    time.sleep(5)
    steady = cost.end()
    after = server.metrics()
    reports = after["aviary_ingest_reports_total"] - before["aviary_ingest_reports_total"]
    refused = {name: n for name, n in after.items() if name.startswith("aviary_ingest_refused_total") and "unknown_device" not in name and n > 0}
    for line in (told("2,000 agents connect and enrol", enrolling), told("a rollout in three stages", rolling), told("telemetry alone", steady)):
        tell(line)
    tell(f"{reports / steady.seconds:.0f} reports a second stored, "
         f"{after['aviary_ingest_reports_total'] - stored['aviary_ingest_reports_total']:.0f} since the rollout began")
    for part in (enrolling, rolling, steady):
        assert is_sanitized(server) or part.rss_mib < RSS_MIB
        assert part.slowest_s < ANSWER_S
    assert rolling.cores < CORES and steady.cores < CORES
    assert reports / steady.seconds > 0.8 * DEVICES
    assert refused == {}
    assert sim.process.is_running() and sim.status()["connected"] == DEVICES
