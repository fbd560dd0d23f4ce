"""Mixed fleets: simulated devices of our agent and of hawkBit's DDI in the same rollouts, canaries, gates and reverts."""
import collections
import json
import subprocess

import pytest

from harness.process import wait_for
from test_rollout import prepare, spec, start_fleet, wait_baseline

DEVICES = 60
DDI = 24


def configure(server, **values):
    for key, value in values.items():
        server.session.put(f"{server.url}/rest/v1/system/configs/{key}", json={"value": value}, auth=("", server.token)).raise_for_status()


@pytest.fixture
def plant(server):
    prepare(server)
    configure(server, minPollingTime="00:00:01", pollingTime="00:00:01")
    return server


def start_mixed(server, make_sim, devices=DEVICES, ddi="40%", **options):
    sim = start_fleet(server, make_sim, devices=devices, ddi=ddi, **{"api_token": server.token, **options})
    wait_able(server)
    return sim


def wait_able(server):
    def told():
        return [d["id"] for d in server.items("/devices") if not server.get(f"/devices/{d['id']}/reported")["capabilities"]]
    wait_for(lambda: not told(), 10, lambda: f"what they can do is known of all but {told()}", 0.3)


def kinds(server):
    return {d["id"]: d["protocol"] for d in server.items("/devices")}


def running(server):
    """{(protocol, release): number}"""
    return dict(collections.Counter((d["protocol"], (d.get("running") or {}).get("release")) for d in server.items("/devices")))


def everywhere(release, devices=DEVICES, ddi=DDI):
    return {("aviary", release): devices - ddi, ("ddi", release): ddi}


@pytest.mark.parametrize("words", [["--ddi", "11"], ["--ddi", "101%"], ["--ddi", "-1"], ["--ddi", "x"], ["--ddi", ""],
                                   ["--ddi", "5", "--gateway", "a", "--api-token", "b"]])
def test_wrong_words(build, words):
    done = subprocess.run([build / "aviary-sim", *words], capture_output=True, text=True, timeout=10)
    assert done.returncode == 2 and words[-2] in done.stderr, done


def test_a_good_version_reaches_both_kinds(plant, make_sim):
    """With power cuts and wrong bytes in downloads."""
    sim = start_mixed(plant, make_sim, seed=7, fault=["cut=0.5", "corrupt=0.3"])
    assert running(plant) == everywhere("kws-1.0.0")
    told = [d for d in plant.items("/devices") if d["protocol"] == "ddi"]
    assert all(d["online"] and d["attributes"]["region"] in ("eu", "us") and d["hardware"] == d["attributes"]["hardware"] for d in told)
    wait_baseline(plant, DEVICES)
    rollout = plant.rollout(**spec("1.1.0", retries=6))["id"]
    state = plant.wait_rollout(rollout, ("reverted", "finished", "paused"), 90)
    assert state["status"] == "finished", json.dumps(state)[:2000]
    wait_for(lambda: running(plant) == everywhere("kws-1.1.0"), 20, lambda: running(plant))
    wait_for(lambda: sim.status()["running"] == {"kws-1.1.0": DEVICES}, 5, sim.status)
    after = sim.status()
    assert after["ddi_polls"] > 2 * DDI and after["ddi_resumed"] > 0 and after["power_cuts"] > 0, after


def test_a_bad_version_goes_back_on_both_kinds(plant, make_sim, tmp_path):
    log = tmp_path / "devices.log"
    start_mixed(plant, make_sim, seed=1, ddi="50%", effect="kws=1.2.0:accuracy-0.15,latency*1.5", log=log)
    half = DEVICES // 2
    wait_baseline(plant, DEVICES)
    rollout = plant.rollout(**spec("1.2.0", stages=[{"percent": 25}, {"percent": 100}]))["id"]
    state = plant.wait_rollout(rollout, ("reverted", "finished", "paused"), 90)
    assert state["status"] == "reverted", json.dumps(state)[:2000]
    wait_for(lambda: running(plant) == everywhere("kws-1.0.0", ddi=half), 20, lambda: running(plant))
    kind = kinds(plant)
    back = collections.Counter(kind[d["device"]] for d in plant.items(f"/rollouts/{rollout}/deployments") if d["state"] == "reverted")
    assert back["aviary"] > 0 and back["ddi"] > 0, back

    def installed():
        return collections.Counter(e["detail"] for e in map(json.loads, log.read_text().splitlines()) if e["event"] == "ddi.installed")
    # Whoever may have had the bad version is sent back, also where it was stopped before it installed it.
    wait_for(lambda: installed()["1.0.0"] == back["ddi"] and 0 < installed()["1.2.0"] <= back["ddi"], 5, lambda: (installed(), back))


def test_devices_that_register_themselves_and_confirm(plant, make_sim):
    """By a gateway's token; the rollout waits for the word of each device."""
    configure(plant, **{"authentication.gatewaytoken.enabled": True, "authentication.gatewaytoken.key": "let-me-in"})
    start_mixed(plant, make_sim, devices=8, ddi="4", api_token=[], gateway="let-me-in")
    assert collections.Counter(kinds(plant).values()) == {"ddi": 4, "aviary": 4}
    state = plant.wait_rollout(plant.rollout(**spec("1.1.0", gates=[], delivery={"confirm": True}))["id"], ("finished", "paused", "reverted"), 40)
    assert state["status"] == "finished", json.dumps(state)[:2000]
    assert running(plant) == everywhere("kws-1.1.0", 8, 4)


def test_what_goes_wrong_on_ddi_devices(make_server, make_sim):
    """Each by its deadline: an update that never ends, one that fails in its self-test, and one that is downloaded without end."""
    server = make_server(config={"ddi": {"downloads_max": 3}})
    prepare(server)
    configure(server, minPollingTime="00:00:01", pollingTime="00:00:01")
    common = dict(devices=4, ddi="100%", regions="eu")
    start_mixed(server, make_sim, prefix="again-", fault="redownload=1@kws=1.1.0", name="again", **common)
    token = server.enrolment_token("second")
    sims = [make_sim(server, 2, name=name, prefix=f"{name}-", ddi="2", api_token=server.token, enrol=token, factory_release="kws-1.0.0",
                     factory_model="kws=1.0.0", factory_counter=1, interval="250ms", self_test="100ms", quiet=True, fault=f"{name}=1@kws=1.1.0")
            for name in ("stuck", "crashloop")]
    for sim in sims:
        sim.wait_connected(2)
    wait_for(lambda: server.running() == {"kws-1.0.0": 8}, 20, server.running)
    wait_able(server)
    rollout = server.rollout(**spec("1.1.0", gates=[], retries=0, stages=[{"percent": 100}], timeout_ms=8000,
                                    error={"percent": 90, "min_count": 8, "action": "pause"}))["id"]
    wait_for(lambda: len(server.items("/alerts", kind="device.redownloads")) == 4, 20, lambda: server.items("/alerts"))
    alert = server.items("/alerts", kind="device.redownloads")[0]
    assert alert["resource"].startswith("devices/again-") and "again and again" in alert["summary"], alert

    def ends():
        return {d["device"]: (d["state"], d["reason"]) for d in server.items(f"/rollouts/{rollout}/deployments")}
    wait_for(lambda: all(state in ("failed", "timed_out", "timeout") for state, _ in ends().values()), 30, ends)
    assert all("crashed in its self-test" in reason for device, (_, reason) in ends().items() if device.startswith("crashloop"))
    assert running(server) == {("ddi", "kws-1.0.0"): 8}


def test_what_is_under_way_is_cancelled_before_the_way_back(plant, make_sim):
    sim = start_mixed(plant, make_sim, devices=6, ddi="6", fault="stuck=1@kws=1.1.0")
    rollout = plant.rollout(**spec("1.1.0", gates=[], stages=[{"percent": 100}], timeout_ms=60000))["id"]
    wait_for(lambda: sim.status()["states"].get("ddi stuck") == 6, 20, sim.status)
    plant.post(f"/rollouts/{rollout}/revert")
    plant.wait_rollout(rollout, ("reverted",), 20)

    def is_over():
        now = sim.status()
        return now["ddi_cancelled"] == now["confirmed"] == 6 and now["states"] == {"ddi idle": 6}
    wait_for(is_over, 5, sim.status)
    assert running(plant) == {("ddi", "kws-1.0.0"): 6}
