#!/usr/bin/python3
"""make demo: the main job of Aviary on one machine, in plain words and in under three minutes.

Starts a private broker, a fresh server and 500 simulated devices in three hardware classes; a good model version goes to everybody, a bad
one is caught on its canary and taken back. Exits 1 when the outcome is wrong. KEEP: leaves everything running and says how to play with it.
"""
import argparse
import collections
import os
import pathlib
import shutil
import signal
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

from harness import Broker, Server, Sim, tiny_model  # noqa: E402
from harness.process import wait_for  # noqa: E402

DEVICES = 500
DDI = 50  # of them: devices with hawkBit's device API
INTERVAL = "500ms"
EFFECT = "kws=1.2.0:accuracy-0.08,latency*1.25"
CLASSES = "esp32s3:50,nrf52:30,jetson:20"
GATES = [{"metric": "accuracy"}, {"metric": "latency_ms", "kind": "quantile", "quantile": 0.95}, {"metric": "silence"}]
STARTED = time.monotonic()


def say(text=""):
    print(f"[{time.monotonic() - STARTED:5.1f} s] {text}" if text else "", flush=True)


def pick_model(args, version):
    """The variants of a version: {hardware: bytes}. A user's own file stands for all of them, with the version at its end so that they differ."""
    if args.model:
        return {"*": pathlib.Path(args.model).read_bytes() + f"\0aviary demo {version}".encode()}
    return {"esp32s3": tiny_model(f"kws {version} for esp32s3", payload=40000),
            "*": tiny_model(f"kws {version} for all others", payload=20000)}


def rollout_spec(version):
    return {"name": f"kws {version}", "release": f"kws-{version}", "start": True,
            "stages": [{"name": "canary", "percent": 8}, {"name": "wave 1", "percent": 40}, {"name": "wave 2", "percent": 100}],
            "success": {"percent": 95}, "error": {"percent": 20, "min_count": 5, "action": "revert"},
            "soak_ms": 5000, "timeout_ms": 20000, "retries": 2, "gates": GATES,
            "judge": {"warmup_ms": 500, "reports_planned": 64}}


class Narrator:
    """Tells the events of a rollout once each."""

    def __init__(self, server, rollout):
        self.server, self.rollout, self.seen = server, rollout, 0
        self.states = collections.Counter()

    def tell(self):
        for event in self.server.items(f"/rollouts/{self.rollout}/events"):
            if event["id"] <= self.seen:
                continue
            self.seen = event["id"]
            self.tell_event(event["kind"], event["data"])

    def tell_event(self, kind, data):
        if kind == "rollout.draw":
            say(f"  {data['name']}: drawn by lot: {data['devices']} devices get it now, "
                + (f"{data['controls']} more are their controls, in {data['blocks']} blocks" if data["judged"] else "nobody is left to compare with"))
        elif kind == "rollout.stage":
            say(f"  {data['name']} is {data['status']}: {data['reason']}")
        elif kind == "rollout.status":
            say(f"  rollout is {data['status']}: {data['reason']}")
        elif kind == "verdict":
            say(f"  VERDICT {data['verdict'].upper()} at look {data['look']} after {data['reports']} reports: {data['reason']}")
            say(f"    {data['text']}")
            say(f"    chance of ever reverting a harmless rollout: at most {data['alpha_bound']:g}; guarantee: {data['guarantee']}")


def play(server, version, wanted, timeout):
    rollout = server.rollout(**rollout_spec(version))["id"]
    narrator = Narrator(server, rollout)
    end = time.monotonic() + timeout
    while True:
        state = server.get(f"/rollouts/{rollout}")
        narrator.tell()
        if state["status"] in ("finished", "reverted", "stopped", "paused"):
            break
        if time.monotonic() > end:
            raise SystemExit(f"the rollout of {version} is still {state['status']} after {timeout} s: {state['reason']}")
        time.sleep(0.25)
    if state["status"] != wanted:
        raise SystemExit(f"the rollout of {version} ended {state['status']}, expected {wanted}: {state['reason']}")
    return rollout


def where_they_are(server):
    counts = server.running()
    say("  fleet: " + ", ".join(f"{n} devices run {release}" for release, n in sorted(counts.items(), key=str)))
    return counts


def expect_all(server, release, within=20):
    wait_for(lambda: server.running() == {release: DEVICES}, within, lambda: f"all {DEVICES} devices run {release}, but: {server.running()}")


def tell_how_to_play(server):
    auth = f"-H 'Authorization: Bearer {server.token}'"
    say()
    print(f"URL    {server.url}\nTOKEN  {server.token}\n\nTry:\n"
          f"  curl -s {auth} '{server.url}/api/v1/devices?limit=3'\n"
          f"  curl -s {auth} '{server.url}/api/v1/devices?filter=hardware==esp32s3;attribute.region==eu&limit=3'\n"
          f"  curl -s {auth} '{server.url}/api/v1/rollouts'\n"
          f"  curl -s {auth} '{server.url}/api/v1/rollouts/2/verdicts'\n"
          f"  curl -sN {auth} '{server.url}/api/v1/events'\n\nCtrl-C ends everything.", flush=True)


def run(args, folder):
    broker = server = sim = None
    try:
        say(f"starting a broker, a server and {DEVICES} devices of three hardware classes; {DDI} of them speak hawkBit's device API")
        broker = Broker(folder / "broker")
        server = Server(args.build, folder / "server", broker.port)
        server.add_model("kws")
        for version in ("1.0.0", "1.1.0", "1.2.0"):
            server.add_version("kws", version, pick_model(args, version))
            server.add_release(f"kws-{version}", {"kws": version})
        say("model kws has three versions of two variants each, and a signed release of each")
        for key, value in (("minPollingTime", "00:00:01"), ("pollingTime", "00:00:01")):
            server.session.put(f"{server.url}/rest/v1/system/configs/{key}", json={"value": value}, auth=("", server.token)).raise_for_status()
        token = server.enrolment_token()
        sim = Sim(args.build, folder / "sim", server, DEVICES, ddi=DDI, api_token=server.token, enrol=token, classes=CLASSES, regions="eu,us", factory_release="kws-1.0.0",
                  factory_model="kws=1.0.0", factory_counter=1, interval=INTERVAL, report_retry="3s", effect=EFFECT, quiet=True)
        sim.wait_connected(DEVICES, 30)
        wait_for(lambda: server.running() == {"kws-1.0.0": DEVICES}, 30, "all devices are enrolled")
        say(f"{DEVICES} devices have enrolled themselves and run kws-1.0.0; collecting a baseline")
        time.sleep(5)
        say("rolling out kws-1.1.0, which is as good as the old one")
        play(server, "1.1.0", "finished", 70)
        expect_all(server, "kws-1.1.0")
        where_they_are(server)
        say("collecting a baseline under kws-1.1.0")
        time.sleep(5)
        say("rolling out kws-1.2.0, which recognises 8 of 100 words less and is slower; nobody touches a key from here")
        bad = play(server, "1.2.0", "reverted", 60)
        expect_all(server, "kws-1.1.0")
        where_they_are(server)
        had_it = server.items(f"/rollouts/{bad}/deployments", state="reverted")
        say(f"DONE: {len(had_it)} of {DEVICES} devices ever had the bad version, all of them are back, and the good one is everywhere")
        if args.keep:
            tell_how_to_play(server)
            signal.sigwait({signal.SIGINT, signal.SIGTERM})
        return 0
    except (TimeoutError, RuntimeError, AssertionError) as fault:
        say(f"WRONG: {fault}")
        if server:
            print(server.process.tail(20))
        return 1
    finally:
        for part in (sim, server, broker):
            if part:
                part.stop()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", default="build")
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--model", default="", help="a model file of your own")
    args = parser.parse_args()
    if args.keep:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    folder = pathlib.Path(tempfile.mkdtemp(prefix="aviary-demo-"))
    try:
        code = run(args, folder)
    finally:
        if os.environ.get("DEMO_FOLDER") != "keep":
            shutil.rmtree(folder, ignore_errors=True)
        else:
            print(folder)
    sys.exit(code)


if __name__ == "__main__":
    main()
