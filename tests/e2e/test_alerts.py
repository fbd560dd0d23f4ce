"""Alerts end to end: a storm under kill -9, silences and rules from the command line, a rule on history."""
import json
import sqlite3
import time

import pytest

from harness.process import wait_for
from test_ctl import LOCAL, REFUSED, USAGE, Ctl
from test_telemetry import Publisher, add_devices

DEVICES = 300


@pytest.fixture
def publisher(broker):
    p = Publisher(broker.port)
    yield p
    p.stop()


@pytest.fixture
def ctl(build, tmp_path, server):
    return Ctl(build, tmp_path, server)


def rows(server, sql):
    with sqlite3.connect(f"file:{server.state}/fleet.db?mode=ro", uri=True) as db:
        return db.execute(sql).fetchall()


def everybody(server, **params):
    items, cursor = [], None
    while True:
        page = server.request("GET", "/alerts", params={"limit": 1000, **params, **({"cursor": cursor} if cursor else {})}).json()
        items += page["items"]
        cursor = page.get("next")
        if not cursor:
            return items


def test_storm_is_told_of_once_and_nothing_is_lost(server, publisher):
    add_devices(server, DEVICES)
    rule = server.post("/alert-rules", {"name": "hot", "metric": "temperature_c", "threshold": 60, "clear": 50, "severity": "critical"})
    time.sleep(1.2)
    for device in range(DEVICES):
        publisher.telemetry(f"dev-{device}", 1, {"temperature_c": 90})
    for _ in range(5):
        time.sleep(0.2)
        server.kill9()
        server.start()

    def all_fire():
        return {a["resource"] for a in everybody(server, status="firing", kind="metric.threshold") if a["resource"].startswith("devices/")}

    wait_for(lambda: len(all_fire()) == DEVICES, 30, lambda: f"all alerts, {len(all_fire())} fire")
    cohort = wait_for(lambda: everybody(server, status="firing", resource="cohorts/esp32s3/"), 5, "the alert of the cohort")[0]
    assert cohort["data"]["storm"] and cohort["severity"] == "critical" and cohort["rule"] == rule["id"]
    assert len(everybody(server, inhibited="true")) == DEVICES
    assert everybody(server, inhibited="false", status="firing") == [cohort]
    # those before the guard acted, and the cohort's: kills do not make it forget whom it has counted
    assert rows(server, "SELECT count(*) FROM alert WHERE is_told = 1") == [(51,)]
    for device in range(DEVICES):
        publisher.telemetry(f"dev-{device}", 3, {"temperature_c": 55})
    time.sleep(1)
    assert len(all_fire()) == DEVICES  # not below the clear threshold
    for device in range(DEVICES):
        publisher.telemetry(f"dev-{device}", 4, {"temperature_c": 20})
    wait_for(lambda: not all_fire(), 30, "their end")


def test_silences_by_hand(server, ctl, publisher):
    add_devices(server, 1)
    ctl.run("rule", "create", "hot", "--metric", "t", "--threshold", 60, "--label", "team=a", "--summary", "{{device}} burns at {{value}}")
    time.sleep(1.2)
    publisher.telemetry("dev-0", 1, {"t": 61})
    wait_for(lambda: everybody(server, status="firing"), 5, "the alert")
    assert "dev-0 burns at 61" in ctl.out("alert", "list", "--status", "firing", "--metric", "t")
    made = ctl.json("alert", "silence", "label.team=a", "resource!=rollouts/*", "--for", "1h", "--comment", "known")
    assert made["matchers"][1] == {"name": "resource", "value": "rollouts/*", "negate": True} and made["expires_at"] - made["begins_at"] in range(3500000, 3600001)
    assert everybody(server)[0]["silenced_by"] == made["id"]
    assert "known" in ctl.out("alert", "silences", "--active", "true")
    server.kill9()
    server.start()
    assert everybody(server, silenced="true") and not everybody(server, silenced="false")
    ctl.run("alert", "expire", made["id"])
    assert everybody(server, silenced="false") and ctl.json("alert", "silences")["items"][0]["status"] == "expired"
    ctl.run("alert", "silence", "nothing", code=USAGE)
    assert "/matchers/0/name" in ctl.run("alert", "silence", "colour=red", code=REFUSED).stderr


def test_rule_on_history(server, ctl, publisher, tmp_path):
    add_devices(server, 2)
    for seq in range(1, 11):
        for device in (0, 1):
            publisher.telemetry(f"dev-{device}", seq, {"t": 90 if seq > 5 else 20})
        time.sleep(0.1)
    publisher.wait_acknowledged(20)
    file = tmp_path / "rule.json"
    file.write_text(json.dumps({"name": "hot", "metric": "t", "threshold": 60, "filter": "attribute.region==eu", "samples_over": 2, "samples_of": 3}))
    wait_for(lambda: ctl.json("rule", "test", file, "--from", "-1h")["samples"] == 20, 5, "the reports are in the log")
    result = ctl.json("rule", "test", file, "--from", "-1h")
    assert [a["device"] for a in result["alerts"]] == ["dev-1"] and result["devices_seen"] == 2 and result["complete"]
    assert everybody(server) == []
    assert result["history_from"] > result["from"]  # the log is younger than an hour
    file.write_text(json.dumps({"name": "hot", "kind": "gate"}))
    result = ctl.json("rule", "test", file, "--from", "-1h")
    assert result["alerts"] == [] and result["history_from"] > result["from"] and result["complete"]
    file.write_text(json.dumps({"name": "hot", "kind": "gate", "samples_over": 1, "samples_of": 2}))
    assert "/rule/samples_over" in ctl.run("rule", "test", file, code=REFUSED).stderr
    file.write_text("{")
    ctl.run("rule", "test", file, code=LOCAL)
