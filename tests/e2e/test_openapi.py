"""openapi.json against what is served: every operation is called, and what comes back has the declared status, type and members."""
import hashlib
import json
import re
import sqlite3
import time

import jsonschema
import pytest
import requests

from harness.process import wait_for
from test_rollout import prepare, spec, start_fleet, wait_baseline


class Caller:
    """Calls operations by their templates, holds each reply against the description, and keeps count of what was called."""

    def __init__(self, server):
        self.server = server
        self.api = requests.get(server.url + "/openapi.json", timeout=5).json()
        self.called = set()

    def __call__(self, method, template, body=None, *names, status=None, **options):
        operation = self.api["paths"][template][method.lower()]
        path = template
        for name in names:
            path = re.sub(r"{\w+}", str(name), path, count=1)
        assert "{" not in path, f"names are missing: {path}"
        if body is not None:
            schema = operation["requestBody"]["content"]["application/json"]["schema"]
            jsonschema.validate(body, schema)
        for parameter in operation["parameters"]:
            if parameter["in"] == "header" and parameter.get("required"):
                options.setdefault("headers", {}).setdefault(parameter["name"], "*")
        known = {p["name"] for p in operation["parameters"] if p["in"] == "query"}
        assert set(options.get("params", {})) <= known, f"{method} {template}: {options['params']}"
        r = self.server.request(method, path, body, **options)
        self.called.add((method.upper(), template))
        return self.check(operation, r, status)

    def check(self, operation, r, status):
        media = r.headers.get("Content-Type", "").split(";")[0]
        text = "" if media == "text/event-stream" else r.text[:500]  # that one has no end
        where = f"{r.request.method} {r.url}: {r.status_code} {text}"
        assert str(r.status_code) in operation["responses"], where
        assert status is None or r.status_code == status, where
        content = operation["responses"][str(r.status_code)].get("content")
        if content is None:
            assert not r.content, where
            return None
        assert media in content, where
        if media != "application/json":
            return r
        document = r.json()
        try:
            jsonschema.validate(document, content[media]["schema"])
        except jsonschema.ValidationError as fault:
            raise AssertionError(f"{where}\n{list(fault.absolute_path)}: {fault.message[:600]}") from None
        return document


API = "/api/v1"


def call_health(call):
    device = "sim-00001"
    check = call("POST", API + "/health/checks", {"name": "room", "kind": "storage", "operator": "gt", "threshold": 9}, status=201)["id"]
    command = call("POST", API + "/health/checks/{id}/run", {"device": device}, check, status=201)["id"]
    end = time.monotonic() + 20
    while not call("GET", API + "/devices/{device}/health", None, device)["items"]:
        assert time.monotonic() < end, "the device answers"
        time.sleep(0.1)
    assert len(call("GET", API + "/health/matrix")["items"]) == 1
    assert call("GET", API + "/commands/{id}", None, command)["answered"] == 1
    call("GET", API + "/commands/{id}/devices", None, command)
    call("GET", API + "/devices/{device}/commands", None, device)
    call("GET", API + "/health/checks")
    call("GET", API + "/health/checks/{id}", None, check)
    call("PATCH", API + "/health/checks/{id}", {"threshold": 90}, check)
    call("DELETE", API + "/health/checks/{id}", None, check)
    command = call("POST", API + "/commands", {"kind": "report_now", "device": device}, status=201)["id"]
    call("GET", API + "/commands")
    assert call("POST", API + "/commands/{id}/cancel", None, command)["progress"] == "cancelled"


def call_offloading(call):
    path, end = API + "/models/{model}/offload", time.monotonic() + 20
    call("PUT", path, {"endpoint": "https://ml.example.org/kws", "target_rate": 0.1, "rssi_dbm": -120, "cost_max": 1, "rate_max": None}, "kws")
    while not call("GET", path, None, "kws")["classes"]:
        assert time.monotonic() < end, "a device has the policy"
        time.sleep(0.1)
    call("DELETE", path, None, "kws")


def call_devices(call):
    call("POST", API + "/devices", {"id": "d1", "name": "n", "hardware": "esp32s3", "attributes": {"a": "b"}, "tags": ["t"]}, status=201)
    call("POST", API + "/devices:bulk", data='{"id":"d2","hardware":"x"}\n{"id":1}\n', headers={"Content-Type": "application/x-ndjson"})
    assert call("GET", API + "/devices", params={"limit": 1, "total": "true"})["total"] >= 2
    call("GET", API + "/devices/{device}", None, "d1")
    call("PATCH", API + "/devices/{device}", {"name": "m"}, "d1")
    call("PUT", API + "/devices/{device}/desired", {"a": 1}, "d1")
    assert call("PATCH", API + "/devices/{device}/desired", {"b": 2}, "d1") == {"a": 1, "b": 2}
    call("GET", API + "/devices/{device}/desired", None, "d1")
    call("GET", API + "/devices/{device}/reported", None, "d1")
    secret = call("POST", API + "/devices/{device}/credential", None, "d1", status=201)["secret"]
    headers = {"Authorization": f"Bearer d1:{secret}"}
    call("GET", "/device/v1/{device}/desired", None, "d1", headers=headers)
    call("GET", "/device/v1/key")
    call("DELETE", API + "/devices/{device}/credential", None, "d1")
    call("POST", API + "/groups", {"name": "g", "filter": "hardware==x"}, status=201)
    call("POST", API + "/groups", {"name": "h"}, status=201)
    call("GET", API + "/groups")
    call("GET", API + "/groups/{group}", None, "g")
    call("PATCH", API + "/groups/{group}", {"filter": "hardware==y"}, "g")
    call("POST", API + "/groups/{group}/members", {"add": ["d1"]}, "h")
    assert len(call("GET", API + "/groups/{group}/members", None, "h")["items"]) == 1
    call("DELETE", API + "/groups/{group}", None, "g")
    call("DELETE", API + "/devices/{device}", None, "d2")


def call_catalog(call):
    data = b"bytes" * 100
    call("POST", API + "/models", {"name": "extra", "kind": "model"}, status=201)
    call("GET", API + "/models", params={"total": "true"})
    call("GET", API + "/models/{model}", None, "extra")
    call("PATCH", API + "/models/{model}", {"description": "x"}, "extra")
    call("POST", API + "/models/{model}/versions", {"version": "1.0.0"}, "extra", status=201)
    call("GET", API + "/models/{model}/versions", None, "extra")
    call("GET", API + "/models/{model}/versions/{version}", None, "extra", "1.0.0")
    artifacts = API + "/models/{model}/versions/{version}/artifacts"
    new = {"hardware": "*", "file_name": "a.bin", "size_bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    artifact = call("POST", artifacts, new, "extra", "1.0.0", status=201)["id"]
    call("GET", artifacts, None, "extra", "1.0.0")
    call("PUT", API + "/artifacts/{artifact}/content", None, artifact, data=data)
    call("GET", API + "/artifacts/{artifact}", None, artifact)
    call("GET", API + "/artifacts/{artifact}/facts", None, artifact)
    assert call("GET", API + "/artifacts/{artifact}/content", None, artifact).content == data
    call("POST", API + "/releases", {"name": "extra-1", "components": [{"model": "extra", "version": "1.0.0"}], "config": {"k": 1}}, status=201)
    call("GET", API + "/releases")
    call("GET", API + "/releases/{release}", None, "extra-1")
    call("GET", API + "/releases/{release}/check", None, "extra-1")
    call("GET", API + "/releases/{release}/manifest", None, "extra-1")
    call("DELETE", API + "/releases/{release}", None, "extra-1")
    call("DELETE", API + "/artifacts/{artifact}", None, artifact)
    call("DELETE", API + "/models/{model}/versions/{version}", None, "extra", "1.0.0")
    call("DELETE", API + "/models/{model}", None, "extra")


def call_rollouts(call, server):
    call("POST", API + "/rollouts", spec("1.2.0"), params={"dryRun": "true"}, status=200)
    rollout = call("POST", API + "/rollouts", spec("1.2.0", retries=0), status=201)["id"]
    one = API + "/rollouts/{rollout}"
    wait_for(lambda: call("GET", one + "/verdicts", None, rollout)["items"], 60, "the judge has looked")
    server.wait_rollout(rollout, ("reverted", "finished", "paused"), 90)
    call("GET", API + "/rollouts", params={"status": "reverted"})
    call("GET", one, None, rollout)
    call("GET", one + "/stages", None, rollout)
    call("GET", one + "/deployments", None, rollout, params={"limit": 5, "stage": 0})
    call("GET", one + "/blocks", None, rollout)
    call("GET", one + "/events", None, rollout)
    call("POST", one + "/{action}", None, rollout, "revert")
    idle = call("POST", API + "/rollouts", spec("1.1.0", start=False), status=201)["id"]
    call("DELETE", one, None, idle)
    device = call("GET", one + "/deployments", None, rollout, params={"limit": 1})["items"][0]["device"]
    secret = server.post(f"/devices/{device}/credential")["secret"]
    headers = {"Authorization": f"Bearer {device}:{secret}"}
    document = call("GET", "/device/v1/{device}/desired", None, device, headers=headers)
    file = document["release"]["artifacts"][0]
    assert len(call("GET", "/device/v1/{device}/artifacts/{sha256}", None, device, file["sha256"], headers=headers).content) == file["size_bytes"]


def call_selection(call):
    table = b"hardware,model,variant,latency_ms,accuracy\nesp32s3,kws,int8,10,0.8\nesp32s3,kws,float,20,0.9\n"
    taken = call("POST", API + "/profiles/import", None, params={"origin": "mine"}, data=table, headers={"Content-Type": "text/csv"})
    assert taken["taken"] == 2 and taken["errors"] == []
    rows = call("GET", API + "/profiles", params={"contexts": "true"})["items"]
    assert {r["source"] for r in rows} == {"learned", "published"}
    call("DELETE", API + "/profiles/published/{origin}", None, "mine")
    device = call.server.items("/devices")[0]["id"]
    call("PUT", API + "/devices/{device}/override", {"model": "kws", "variant": "int8", "reason": "why not"}, device)
    assert len(call("GET", API + "/devices/{device}/override", None, device)["items"]) == 1
    said = call("GET", API + "/devices/{device}/explain", None, device)["components"][0]
    assert not said["override"]["there_is_such"] and said["variants"]
    call("DELETE", API + "/devices/{device}/override", None, device, params={"model": "kws"})
    report = call("GET", API + "/models/{model}/versions/{version}/report", None, "kws", "1.1.0")
    assert report["variants"] and report["classes"]


def call_upstreams(call):
    """What versions look like: test_upstream.py."""
    call("POST", API + "/upstreams", {"name": "up", "model": "elsewhere", "kind": "index", "url": "https://upstream.invalid/index.json", "secret": "s",
                                      "interval_ms": 3600000, "policy": {"action": "rollout", "margin": 0.01, "rollout": {"soak_ms": 1000}}}, status=201)
    call("GET", API + "/upstreams")
    call("GET", API + "/upstreams/{upstream}", None, "up")
    call("PATCH", API + "/upstreams/{upstream}", {"alert_after": 5}, "up")
    call("POST", API + "/upstreams/{upstream}/check", None, "up", status=200)
    call("GET", API + "/upstreams/{upstream}/versions", None, "up")
    call("DELETE", API + "/upstreams/{upstream}", None, "up")


def call_receivers(call):
    made = call("POST", API + "/receivers", {"name": "pager", "type": "webhook", "url": "https://receiver.invalid/", "secret": "s",
                                             "matchers": [{"name": "kind", "value": "none"}]}, status=201)["id"]
    call("GET", API + "/receivers")
    call("GET", API + "/receivers/{id}", None, made)
    call("PATCH", API + "/receivers/{id}", {"title": "{{status}}"}, made)
    delivery = call("POST", API + "/receivers/{id}/test", None, made)["id"]
    call("GET", API + "/deliveries", params={"receiver": made, "limit": 3})
    call("GET", API + "/deliveries/{id}", None, delivery)
    with sqlite3.connect(call.server.state / "fleet.db", timeout=10) as db:  # as if it had been given up
        db.execute("UPDATE delivery SET status = 'dead', done_at = 1 WHERE id = ?", (delivery,))
    call("POST", API + "/deliveries/{id}/resend", None, delivery)
    call("DELETE", API + "/receivers/{id}", None, made)


def call_watching(call):
    now = int(time.time() * 1000)
    row = call("GET", API + "/telemetry", params={"metric": "accuracy", "from": now - 600000, "by": "version", "aggregate": "mean,count,p50"})["items"][0]
    assert row["p50"] is None and 0 < row["mean"] < 1
    call("GET", API + "/telemetry", params={"metric": "accuracy", "from": now - 600000, "raw": "true", "device": call.server.items("/devices")[0]["id"], "limit": 3})
    call("GET", API + "/telemetry/metrics")
    assert call("GET", API + "/anomalies", params={"limit": 3})["items"]
    assert call("GET", API + "/detect/cohorts")["items"][0]["thresholds"]
    call("GET", API + "/detect/devices/{device}", None, call.server.items("/devices")[0]["id"])
    alerts = call("GET", API + "/alerts")["items"]
    call("GET", API + "/alerts/{id}", None, alerts[0]["id"])
    call("POST", API + "/alerts/{id}/acknowledge", None, alerts[0]["id"])
    entry = call("GET", API + "/audit", params={"action": "alert.acknowledge"})["items"][0]
    assert entry["before"]["acknowledged_by"] is None and entry["after"]["acknowledged_by"] == "admin"
    rule = call("POST", API + "/alert-rules", {"name": "hot", "metric": "temperature_c", "threshold": 80}, status=201)["id"]
    call("GET", API + "/alert-rules")
    call("GET", API + "/alert-rules/{id}", None, rule)
    call("PATCH", API + "/alert-rules/{id}", {"threshold": 90}, rule)
    call("DELETE", API + "/alert-rules/{id}", None, rule)
    tried = call("POST", API + "/alert-rules/test", {"rule": {"name": "low", "metric": "accuracy", "operator": "lt", "threshold": 2}, "from": now - 600000,
                                                     "to": now})
    assert tried["complete"] and tried["fired"] == len(tried["alerts"]) > 0 and tried["devices_fired"] <= tried["devices_seen"]
    silence = call("POST", API + "/silences", {"matchers": [{"name": "kind", "value": "gate.*"}], "expires_at": now + 600000, "comment": "known"}, status=201)
    assert silence["author"] == "admin" and silence["status"] == "active"
    call("GET", API + "/silences")
    call("GET", API + "/silences/{id}", None, silence["id"])
    call("GET", API + "/alerts", params={"silenced": "true"})
    call("POST", API + "/silences/{id}/expire", None, silence["id"])
    call("GET", API + "/audit")
    call("GET", API + "/stats")
    token = call("POST", API + "/tokens", {"name": "x"}, status=201)["id"]
    call("GET", API + "/tokens")
    call("GET", API + "/tokens/{id}", None, token)
    call("DELETE", API + "/tokens/{id}", None, token)
    call("POST", API + "/backup", status=201)
    call("GET", API + "/events", params={"after": 0}, stream=True).close()


@pytest.fixture
def busy(server, make_sim):
    prepare(server)
    start_fleet(server, make_sim, devices=60, effect="kws=1.2.0:accuracy-0.20")
    wait_baseline(server, 60)
    return server


def test_every_operation_answers_as_described(busy):
    call = Caller(busy)
    for path in ("/healthz", "/readyz", "/metrics", "/openapi.json"):
        call("GET", path)
    call_health(call)
    call_receivers(call)
    call_upstreams(call)
    call_devices(call)
    call_catalog(call)
    call_rollouts(call, busy)
    call_selection(call)
    call_offloading(call)
    call_watching(call)
    described = {(m.upper(), path) for path, methods in call.api["paths"].items() for m in methods}
    assert call.called == described


def schemas(node):
    """All JSON Schemas of the document."""
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "schema":
                yield value
            else:
                yield from schemas(value)
    elif isinstance(node, list):
        for value in node:
            yield from schemas(value)


def test_description_is_whole(server):
    """The rules of OpenAPI 3.1 that a table could break: unique ids, parameters that are declared, references that resolve, no empty schema."""
    api = requests.get(server.url + "/openapi.json", timeout=5).json()
    assert set(api) <= {"openapi", "info", "servers", "paths", "webhooks", "components", "security", "tags", "externalDocs"}
    assert api["info"]["title"] and api["info"]["version"]
    for schema in schemas(api):
        jsonschema.Draft202012Validator.check_schema(schema)
    for reference in re.findall(r'"\$ref": "#/([^"]+)"', json.dumps(api)):
        node = api
        for part in reference.split("/"):
            node = node[part]
    for path, methods in api["paths"].items():
        assert path.startswith("/") and set(methods) <= {"get", "put", "post", "patch", "delete", "head"}, path
        for method, operation in methods.items():
            names = [(p["name"], p["in"]) for p in operation["parameters"]]
            assert len(names) == len(set(names)), path
            assert all(p["required"] for p in operation["parameters"] if p["in"] == "path"), path
            assert any(re.fullmatch("2..", status) for status in operation["responses"]), path
            assert method in ("post", "put", "patch") or "requestBody" not in operation, path
            for media, content in operation.get("requestBody", {}).get("content", {}).items():
                assert media != "application/json" or content["schema"], path
            for response in operation["responses"].values():
                for media, content in response.get("content", {}).items():
                    assert media != "application/json" or content["schema"].get("properties") or "openapi" in path or path.split("/")[-1] in (
                        "desired", "reported"), (path, method)
