"""Offloading: simulated devices send hard inferences to an operator's endpoint, and the server keeps the rate at its target."""
import os
import subprocess

import pytest

from harness.process import wait_for
from harness.server import ApiError

FLEET = {"connect_rate": 500, "interval": "100ms", "factory_release": "kws-1.0.0", "factory_model": "kws=1.0.0", "quiet": True}
POLICY = {"endpoint": "https://ml.example.org/kws", "target_rate": 0.1, "margin": 0.15, "audit": 0.02, "link": "bad", "budget": 1000000,
          "fit_every_ms": 1000}
PATH = "/models/kws/offload"


def classes(server):
    return {c["hardware"]: c for c in server.get(PATH)["classes"] if c["version"] == "1.0.0"}


def start(server, make_sim, devices, **more):
    if not server.request("GET", "/models/kws").ok:
        server.add_model("kws")
    return make_sim(server, devices, enrol=server.enrolment_token(more.get("prefix", "sim-")), **{**FLEET, **more})


def test_the_rate_converges_in_both_classes_and_survives_a_kill(server, make_sim, tell):
    sim = start(server, make_sim, 60, classes="esp32s3:1,jetson:1", endpoint="0.97/0.004")
    server.call("PUT", PATH, POLICY)
    sim.wait_connected(60)
    first = {}

    def begun():
        for hardware, c in classes(server).items():
            if c["fits"] == 0 and c["inferences"] > 500:
                first.setdefault(hardware, c["hard_rate"])
        now = classes(server)
        return len(first) == 2 and all(c["fits"] >= 1 for c in now.values())
    wait_for(begun, 40, lambda: str(classes(server)), interval=0.1)
    assert first["esp32s3"] > 0.15 and first["jetson"] < 0.03  # far off, one on each side
    server.kill9()
    before = None
    server.start()
    before = classes(server)
    assert len(before) == 2 and all(c["fits"] >= 1 for c in before.values())  # what was fitted is still there

    def settled():
        now = classes(server)
        return all(c["why"] == "stays" and c["inferences"] > 10000 and 0.08 <= c["rate"] <= 0.12 for c in now.values()) and len(now) == 2
    wait_for(settled, 60, lambda: str(classes(server)), interval=0.2)
    now = classes(server)
    for hardware, c in now.items():
        tell(f"{hardware}: from {100 * first[hardware]:.1f} % to {100 * c['rate']:.1f} % in {c['fits']} steps, margin {c['margin']}, "
             f"agreement {c['agreement']:.2f}, of sure ones {c['sure_agreement']:.2f}, cost {c['cost_per_sent']:.4f}")
        assert 0.3 < c["agreement"] < c["sure_agreement"] < 1
        assert c["cost_per_sent"] == pytest.approx(0.004, rel=0.1)
        assert c["cost_per_inference"] == pytest.approx(0.004 * (c["rate"] + 0.02 * (1 - c["hard_rate"])), rel=0.15)
    assert now["esp32s3"]["margin"] < 0.06 and now["jetson"]["margin"] > 0.25
    assert not server.items("/alerts", status="firing")
    assert server.metrics()["aviary_offload_classes"] == 2
    # the policy goes: devices hear of it and stop
    server.call("DELETE", PATH)
    assert server.request("GET", PATH).status_code == 404

    def quiet(seen=[]):
        seen.append(sim.status()["offload_sent"])
        return len(seen) > 3 and seen[-1] == seen[-4]
    wait_for(quiet, 15, lambda: "nothing is sent any more", interval=0.3)


def test_bounds_raise_alerts_and_a_better_endpoint_ends_them(server, make_sim):
    sim = start(server, make_sim, 20, classes="jetson:1", endpoint="0.1/0.5")
    server.call("PUT", PATH, {**POLICY, "margin": 0.32, "audit": 0.05, "agreement_min": 0.6})
    sim.wait_connected(20)
    resource = "models/kws/offload/jetson/1.0.0"

    def firing():
        return {a["kind"]: a for a in server.items("/alerts", status="firing") if a["resource"] == resource}
    wait_for(lambda: "offload.agreement" in firing(), 30, lambda: str(classes(server)), interval=0.2)
    alert = firing()["offload.agreement"]
    assert alert["data"]["bound"] == 0.6 and alert["data"]["value"] < 0.3 and "disagrees" in alert["summary"]
    assert classes(server)["jetson"]["alerts"] == ["offload.agreement"]
    sim.stop()
    # a bound that no margin keeps: audits alone send more than it allows
    server.call("PUT", PATH, {**POLICY, "margin": 0.32, "audit": 0.2, "agreement_min": 0.6, "rate_max": 0.12, "cost_max": 0.01})
    good = start(server, make_sim, 20, prefix="good-", classes="jetson:1", endpoint="0.97/0.5")
    good.wait_connected(20)
    wait_for(lambda: set(firing()) == {"offload.rate", "offload.cost"}, 40, lambda: f"{firing()} {classes(server)}", interval=0.2)
    server.call("DELETE", PATH)
    assert firing() == {}


def test_budgets_and_poor_links_hold_devices_back(server, make_sim):
    server.add_model("kws")
    server.call("PUT", PATH, {**POLICY, "margin": 1, "audit": 0, "budget": 7, "fit_every_ms": 3600000, "rssi_dbm": -82})
    # each inference is hard: seven an hour leave each device, and no more
    few = start(server, make_sim, 10, prefix="few-", classes="jetson:1")
    few.wait_connected(10)
    poor = start(server, make_sim, 10, prefix="poor-", classes="nrf52:1", fault="poorlink=1")
    poor.wait_connected(10)
    wait_for(lambda: few.status()["offload_kept"] > 5000 and poor.status()["offload_kept"] > 5000, 40,
             lambda: f"{few.status()} {poor.status()}", interval=0.2)
    assert few.status()["offload_sent"] == 70
    assert poor.status()["offload_sent"] == 0
    wait_for(lambda: set(classes(server)) == {"jetson", "nrf52"} and classes(server)["jetson"]["sent"] == 70, 10, lambda: str(classes(server)))
    now = classes(server)
    assert now["nrf52"]["sent"] == 0 and now["nrf52"]["kept"] == now["nrf52"]["inferences"] > 0
    # bytes count as well: 1000 bytes an hour are less than one inference
    server.call("PUT", PATH, {**POLICY, "margin": 1, "audit": 0, "budget": 1000, "budget_unit": "bytes_per_hour", "fit_every_ms": 3600000})
    tight = start(server, make_sim, 5, prefix="tight-", classes="esp32s3:1", endpoint="0.97/0.002/1960")
    tight.wait_connected(5)
    wait_for(lambda: tight.status()["offload_kept"] > 1000, 40, lambda: str(tight.status()), interval=0.2)
    assert tight.status()["offload_sent"] == 0


def test_a_policy_is_checked_kept_and_told(server):
    server.add_model("kws")
    server.add_model("base", kind="firmware")
    for body, pointer in (({"endpoint": "http://x.org/y", "target_rate": 0.1}, "/endpoint"), ({"endpoint": "https://x.org"}, "/target_rate"),
                          ({"endpoint": "https://x.org", "target_rate": 2}, "/target_rate"),
                          ({"endpoint": "https://x.org", "target_rate": 0.1, "budget": 2000000}, "/budget"),
                          ({"endpoint": "https://x.org", "target_rate": 0.1, "fit_every_ms": 5}, "/fit_every_ms"),
                          ({"endpoint": "https://x.org", "target_rate": 0.1, "what": 5}, "/what")):
        response = server.request("PUT", PATH, body)
        assert response.status_code == 422 and pointer in response.text, response.text
    assert server.request("PUT", "/models/base/offload", POLICY).status_code == 422
    assert server.request("PUT", "/models/none/offload", POLICY).status_code == 404
    assert server.request("GET", PATH).status_code == 404
    assert server.request("DELETE", PATH).status_code == 404
    set_ = server.call("PUT", PATH, {**POLICY, "rssi_dbm": -85, "cost_max": 0.5})
    assert set_["revision"] == 1 and set_["rssi_dbm"] == -85 and set_["classes"] == [] and "rate_max" not in set_
    assert server.call("PUT", PATH, POLICY)["revision"] == 2
    with pytest.raises(ApiError):
        server.call("DELETE", "/models/kws")  # the policy goes first
    server.restart()
    shown = server.get(PATH)
    assert shown["revision"] == 2 and "rssi_dbm" not in shown and shown["target_rate"] == 0.1
    server.call("DELETE", PATH)
    server.call("DELETE", "/models/kws")
    assert [a["action"] for a in server.items("/audit", resource="models/kws")][:4] == ["model.delete", "offload.remove", "offload.set", "offload.set"]


def test_aviaryctl_sets_shows_and_removes(server, build, make_sim):
    server.add_model("kws")

    def ctl(*words, code=0):
        done = subprocess.run([build / "aviaryctl", "offload", *words], capture_output=True, text=True, timeout=30,
                              env={"PATH": os.environ["PATH"], "AVIARY_URL": server.url, "AVIARY_TOKEN": server.token})
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr
    assert "endpoint" in ctl("set", "kws", "--target", "0.1", code=1)
    ctl("set", "kws", "--endpoint", "https://ml.example.org/kws", "--target", "0.1", "--budget", "1000000", "--per", "bytes_per_day", "--fit-every", "1h",
        "--rssi=-120", "--link", "bad", "--cost-max", "0.5")
    policy = server.get(PATH)
    assert policy["budget_unit"] == "bytes_per_day" and policy["fit_every_ms"] == 3600000 and policy["rssi_dbm"] == -120 and policy["cost_max"] == 0.5
    sim = make_sim(server, 3, enrol=server.enrolment_token(), **FLEET)
    sim.wait_connected(3)
    wait_for(lambda: server.get(PATH)["classes"], 10, "a class", interval=0.1)
    shown = ctl("show", "kws")
    assert "https://ml.example.org/kws" in shown and "HARDWARE" in shown and " 1.0.0 " in shown, shown
    ctl("remove", "kws")
    ctl("show", "kws", code=4)
