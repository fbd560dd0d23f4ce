"""kill -9 of the daemon at random moments of rollouts under load: nothing that was acknowledged is lost, and every rollout ends as it would have."""
import itertools
import json
import random
import shutil
import sqlite3
import threading
import time

import requests

from harness import tiny_model
from harness.process import wait_for
from harness.telemetry_log import stored_reports

KILLS = 200
DEVICES = 100
SEED = 20240
STARTUP_SHARE = 0.15   # of the kills strike before the daemon is ready again
COPY_EVERY = 20        # kills: then what is left on disk is copied and checked as it lies there
FLEET = "attribute.region=in=(eu,us)"
GATES = [{"metric": "accuracy"}, {"metric": "latency_ms"}, {"metric": "silence"}]
VERSIONS = [f"1.{n}.0" for n in range(46)]    # more than are needed
BAD = {v for n, v in enumerate(VERSIONS) if n % 3} - set(VERSIONS[:2])  # two of three


def patient(action, timeout=60):
    """Repeats an action, which must be idempotent, until no kill cuts it off."""
    end = time.monotonic() + timeout
    while True:
        try:
            response = action()
            if response.status_code != 503:
                return response
        except requests.RequestException:
            pass
        assert time.monotonic() < end, "no answer between the kills"
        time.sleep(0.02)


class Api:
    """REST from one thread while the daemon comes and goes on the same port."""

    def __init__(self, server):
        self.base = server.url + "/api/v1"
        self.session = requests.Session()
        self.session.headers["Authorization"] = "Bearer " + server.token

    def get(self, path, **params):
        response = patient(lambda: self.session.get(self.base + path, params=params, timeout=10))
        assert response.status_code == 200, response.text
        return response.json()

    def post(self, path, body, key=None, **params):
        headers = {"Idempotency-Key": key} if key else {}
        return patient(lambda: self.session.post(self.base + path, json=body, params=params, headers=headers, timeout=10))

    def running(self):
        """{release: devices of the fleet that say they run it}"""
        counts, cursor = {}, {}
        while True:
            page = self.get("/devices", filter=FLEET, limit=1000, **cursor)
            for device in page["items"]:
                release = (device.get("running") or {}).get("release")
                counts[release] = counts.get(release, 0) + 1
            if not page.get("next"):
                return counts
            cursor = {"cursor": page["next"]}


class Worker(threading.Thread):
    """A thread that hands its failure over to the test."""

    def __init__(self):
        super().__init__(daemon=True)
        self.failure = None
        self.stop = threading.Event()
        self.start()

    def run(self):
        try:
            self.work()
        except BaseException as failure:  # noqa: B902  whatever it is, the test has to see it
            self.failure = failure

    def end(self, timeout=60):
        self.stop.set()
        self.join(timeout)
        assert not self.is_alive(), "a worker does not end"
        self.check()

    def check(self):
        if self.failure:
            raise self.failure


class Writer(Worker):
    """Registers devices one after another and remembers which ones were answered 201."""

    def __init__(self, server):
        self.url, self.token = server.url + "/api/v1/devices", server.token
        self.acknowledged, self.asked, self.cut = [], 0, 0
        super().__init__()

    def work(self):
        session = requests.Session()
        session.headers["Authorization"] = "Bearer " + self.token
        while not self.stop.is_set():
            name = f"written-{self.asked:06}"
            self.asked += 1
            try:
                response = session.post(self.url, json={"id": name, "hardware": "pi", "name": "n" * 40}, timeout=10)
                if response.status_code == 201:
                    self.acknowledged.append(name)
                else:
                    assert response.status_code == 503, response.text
            except requests.RequestException:
                self.cut += 1
                time.sleep(0.02)
            self.stop.wait(0.005)


class Director(Worker):
    """One rollout after the other, good and bad ones, until it is told to stop; the one that runs then goes on to its end."""

    def __init__(self, server):
        self.api = Api(server)
        self.current, self.rollouts = "kws-1.0.0", []
        super().__init__()

    def work(self):
        for version in VERSIONS[1:]:
            if len(self.rollouts) >= 2 and self.stop.is_set():
                return
            self.play(version)
        raise AssertionError("more versions are needed for so many kills")

    def play(self, version):
        spec = {"name": f"kws {version}", "release": f"kws-{version}", "filter": FLEET, "start": True,
                "stages": [{"percent": 16}, {"percent": 50}, {"percent": 100}], "success": {"percent": 95},
                "error": {"percent": 30, "min_count": 5, "action": "revert"}, "soak_ms": 3000, "timeout_ms": 20000, "retries": 5,
                "gates": GATES, "judge": {"reports_planned": 48, "warmup_ms": 1500}}
        self.until(lambda: self.has_baseline(spec), 60, "every device has a baseline")
        made = self.api.post("/rollouts", spec, key=f"rollout of {version}")
        assert made.status_code == 201, made.text
        rollout, wanted = made.json()["id"], "reverted" if version in BAD else "finished"
        started = time.monotonic()
        state = self.until(lambda: self.final_state(rollout), 120, f"the end of the rollout of {version}")
        assert state["status"] == wanted, json.dumps(state)[:3000]
        if wanted == "finished":
            self.current = f"kws-{version}"
        self.rollouts.append((rollout, version, wanted, time.monotonic() - started))
        self.until(lambda: self.api.running() == {self.current: DEVICES}, 60, f"all devices run {self.current}")

    def has_baseline(self, spec):
        plan = self.api.post("/rollouts", spec, dryRun="true")
        return plan.status_code == 200 and plan.json()["target"]["without_baseline"] == 0

    def final_state(self, rollout):
        state = self.api.get(f"/rollouts/{rollout}")
        assert state["status"] not in ("paused", "stopped"), json.dumps(state)[:3000]
        return state if state["status"] in ("finished", "reverted") else None

    def until(self, condition, timeout, what):
        def told():
            return f"{what}; {self.api.running()} {json.dumps(self.api.get('/rollouts', sort='-id', limit=1)['items'])[:2000]}"
        return wait_for(condition, timeout, told, interval=0.2)


def kill_at_random(server, rng, workers, watch):
    """KILLS times. Returns how many struck a daemon that was not ready yet."""
    early = 0
    for kill in range(1, KILLS + 1):
        if rng.random() < STARTUP_SHARE:
            time.sleep(rng.uniform(0, 0.12))
            early += 1
        else:
            server.wait_ready()
            time.sleep(rng.uniform(0.02, 0.8))
        for worker in workers:
            worker.check()
        server.kill9()
        if kill % COPY_EVERY == 0:
            watch(kill)
        server.launch()
    server.wait_ready()
    return early


def check_databases(state):
    """What SQLite and our own rules say of a state directory that no daemon has open."""
    for name in ("fleet.db", "telemetry.db"):
        with sqlite3.connect(state / name) as db:
            assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)], name
            assert db.execute("PRAGMA foreign_key_check").fetchall() == [], name
    with sqlite3.connect(state / "fleet.db") as db:
        counted = db.execute("SELECT rollout, stage, state, count(*) FROM deployment GROUP BY 1, 2, 3 ORDER BY 1, 2, 3").fetchall()
        kept = db.execute("SELECT rollout, stage, state, n FROM stage_count WHERE n > 0 ORDER BY 1, 2, 3").fetchall()
        assert counted == kept
        assert db.execute("SELECT count(*) FROM (SELECT 1 FROM deployment GROUP BY rollout, device HAVING count(*) > 1)").fetchone() == (0,)
        wrong = db.execute("SELECT a.device, a.deployment, d.device, r.status FROM active_deployment a JOIN deployment d ON d.id = a.deployment "
                           "JOIN rollout r ON r.id = d.rollout WHERE d.device <> a.device OR r.status IN ('finished', 'stopped')").fetchall()
        assert wrong == []
        # A stage that began has its devices. One whose rows were being written when the server died has some, and nobody was told yet.
        for rollout, stage, planned, started, have, told in db.execute(
                "SELECT s.rollout, s.stage, s.planned, s.started_at, (SELECT count(*) FROM deployment d WHERE d.rollout = s.rollout AND d.stage = s.stage), "
                "(SELECT count(*) FROM deployment d WHERE d.rollout = s.rollout AND d.stage = s.stage AND d.state <> 'waiting') FROM stage s"):
            assert have > 0 if started else told == 0, (rollout, stage, planned, started, have, told)


def check_rollouts(state, rollouts):
    with sqlite3.connect(state / "fleet.db") as db:
        assert db.execute("SELECT count(*) FROM rollout").fetchone() == (len(rollouts),)
        for rollout, version, wanted, _ in rollouts:
            states = dict(db.execute("SELECT state, count(*) FROM deployment WHERE rollout = ? GROUP BY 1", (rollout,)))
            if wanted == "finished":
                assert sum(states.values()) == DEVICES and states.get("succeeded", 0) >= 0.95 * DEVICES, (version, states)
            else:
                assert set(states) <= {"reverted", "failed", "cancelled"} and states.get("reverted"), (version, states)
                canaries = {d for (d,) in db.execute("SELECT device FROM block_member WHERE rollout = ? AND is_canary", (rollout,))}
                touched = {d for (d,) in db.execute("SELECT device FROM deployment WHERE rollout = ? AND state <> 'cancelled'", (rollout,))}
                assert touched <= canaries, "no control was touched"


def read_ack_log(path, after=0):
    """The reports that the broker took, leaving out the first `after` lines."""
    rows = [line.split() for line in path.read_text().splitlines()[after:]]
    assert all(len(row) == 3 for row in rows)
    return {(device, boot, int(seq)) for device, boot, seq in rows}


def test_kill9_at_200_moments_of_rollouts_under_load(make_server, make_sim, tmp_path, tell):
    server = make_server(config={"limits": {"batch_window": "10ms"}, "storage": {"checkpoint": "2s"}})
    server.add_model("kws")
    for version in VERSIONS:
        server.add_version("kws", version, {"esp32s3": tiny_model(f"{version} s3", payload=2000), "*": tiny_model(f"{version} any", payload=2000)})
        server.add_release(f"kws-{version}", {"kws": version})
    wait_for(lambda: server.metrics()["aviary_mqtt_connected"] == 1, 10, "its session is at the broker, from now on messages count")
    acks = tmp_path / "acks.txt"
    sim = make_sim(server, DEVICES, enrol=server.enrolment_token(), factory_release="kws-1.0.0", factory_model="kws=1.0.0", factory_counter=1,
                   interval="250ms", report_retry="1s", self_test="400ms", regions="eu,us", quiet=True, seed=SEED, ack_log=acks,
                   effect=[f"kws={version}:accuracy-0.05,latency*1.15" for version in sorted(BAD)])
    sim.wait_connected(DEVICES)
    wait_for(lambda: server.running() == {"kws-1.0.0": DEVICES}, 30, lambda: f"all enrolled: {server.running()}")
    time.sleep(1.5)  # what a device sent while its enrolment was under way is refused, as of an unknown device; the log is flushed twice a second
    before = len(acks.read_text().splitlines())
    copies = itertools.count(1)

    def watch(kill):
        copy = tmp_path / f"copy{next(copies)}"
        shutil.copytree(server.state, copy, ignore=shutil.ignore_patterns("blobs", "uploads", "backup"))
        check_databases(copy)
        shutil.rmtree(copy)

    started = time.monotonic()
    writer, director = Writer(server), Director(server)
    early = kill_at_random(server, random.Random(SEED), (writer, director), watch)
    killed_for = time.monotonic() - started
    director.end(180)
    writer.end()
    assert sim.stop() == 0
    reports = read_ack_log(acks, after=before)
    wait_for(lambda: server.metrics()["aviary_telemetry_queued_reports"] == 0, 10, "the queue is empty")
    wait_for(lambda: reports <= set(stored_reports(server.state)), 20,
             lambda: f"all acknowledged reports are stored; missing: {sorted(reports - set(stored_reports(server.state)))[:10]}", interval=0.5)
    there = {d["id"] for d in server.items("/devices", filter="hardware==pi")}
    assert server.stop() == 0

    stored = stored_reports(server.state)
    tell(f"{KILLS} kills in {killed_for:.0f} s, {early} of them before it was ready; {len(director.rollouts)} rollouts: "
         + ", ".join(f"{version} {wanted} in {seconds:.0f} s" for _, version, wanted, seconds in director.rollouts))
    tell(f"REST writes: {writer.asked} asked, {len(writer.acknowledged)} acknowledged, {writer.cut} cut off, "
         f"{len(set(writer.acknowledged) - there)} acknowledged ones lost")
    tell(f"telemetry: {len(reports)} reports acknowledged, {len(reports - set(stored))} of them lost, "
         f"{len(stored) - len(set(stored))} stored twice")
    assert len(writer.acknowledged) > KILLS and set(writer.acknowledged) <= there
    assert len(reports) > 10 * KILLS and reports <= set(stored)
    assert len(stored) == len(set(stored))
    check_databases(server.state)
    check_rollouts(server.state, director.rollouts)
    assert {wanted for _, _, wanted, _ in director.rollouts} == {"finished", "reverted"}
