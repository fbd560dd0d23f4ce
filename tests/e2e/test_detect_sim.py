"""Simulated devices that fail: each alert names its cause, and the healthy ones are left alone."""
from harness.process import wait_for

COMMON = {"connect_rate": 200, "interval": "1s", "factory_release": "kws-1.0.0", "factory_model": "kws=1.0.0"}


def test_a_fleet_with_faults(server, make_sim):
    token = server.enrolment_token()
    faults = {"ok": {}, "nan": {"fault": "nan=1"}, "loop": {"effect": "kws=1.0.0:crash=1"}, "gone": {}}
    sims = {name: make_sim(server, 3, name=name, prefix=name + "-", enrol=token, **COMMON, **more) for name, more in faults.items()}
    for sim in sims.values():
        sim.wait_connected(3)

    def causes():
        found = {}
        for a in server.items("/api/v1/alerts", status="firing"):
            found.setdefault(a["resource"].removeprefix("devices/"), set()).add(a["kind"])
        return found

    def of(name, kind):
        return {f"{name}-{i:05}": {kind} for i in (1, 2, 3)}
    wanted = {**of("nan", "model_corrupt"), **of("loop", "reboot_loop")}
    wait_for(lambda: causes() == wanted, 30, lambda: str(causes()))
    corrupt = [a for a in server.items("/api/v1/alerts", status="firing", kind="model_corrupt")]
    assert all(a["severity"] == "critical" and a["data"]["kind"] == "nan" for a in corrupt)
    assert {e["name"]: e["value"] for e in corrupt[0]["data"]["evidence"]}["nan_outputs"] == 50
    sims["gone"].kill9()
    silent = {d for d in of("gone", "")}
    wait_for(lambda: {d for d, kinds in causes().items() if any("silent" in k for k in kinds)} == silent, 40, lambda: str(causes()))
    assert not [d for d in causes() if d.startswith("ok-")]
    assert server.metrics()['aviary_state_bytes{kind="head"}'] / 12 == 112
