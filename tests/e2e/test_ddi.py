"""hawkBit's DDI as its clients use it, row by row of what they demand: codes, headers and bodies as bytes on a socket."""
import hashlib
import json
import random
import re
import socket
import ssl
import subprocess
import time

import pytest

from harness.ddi import Ddi, read_reply
from harness.process import wait_for

CONTENT = random.Random(5).randbytes(5000)
FILE = "app-1.0.0-any.tflite"
TOKEN = "secret-1"


def register(server, device="dev1", token=TOKEN, **more):
    server.post("/devices", {"id": device, "hardware": "rpi", "protocol": "ddi", "token": token, **more})
    return Ddi(server, device, token)


def catalog(server, versions=("1.0.0", "2.0.0", "3.0.0"), kind="firmware"):
    server.add_model("app", kind=kind)
    for version in versions:
        server.add_version("app", version, {"*": CONTENT if version == "1.0.0" else CONTENT + version.encode()})
        server.add_release(f"app-{version}", {"app": version})


def start(server, version="1.0.0", device=None, **more):
    spec = {"name": f"to {version}", "release": f"app-{version}", "start": True, "stages": [{"percent": 100}], "soak_ms": 0,
            "success": {"percent": 100}, "timeout_ms": 60000, "retries": 0, "error": {"percent": 50, "min_count": 1, "action": "pause"}}
    spec.update(more)
    if device:
        spec["filter"] = f"id=={device}"
    return server.rollout(**spec)["id"]


def deployment(server, rollout, device="dev1"):
    return [d for d in server.items(f"/rollouts/{rollout}/deployments") if d["device"] == device][-1]


def wait_state(server, rollout, *states, device="dev1", timeout=15):
    wait_for(lambda: deployment(server, rollout, device)["state"] in states, timeout, lambda: f"{states}: {deployment(server, rollout, device)}", 0.05)


def history(d, action, kind="deploymentBase"):
    return d.get(f"{kind}/{action}?actionHistory=-1").json()["actionHistory"]


def error(reply, status, code):
    assert reply.status == status, reply
    assert reply.header("Content-Type") == "application/json"
    body = reply.json()
    assert set(body) == {"exceptionClass", "errorCode", "message"} and body["errorCode"] == code, body


def empty(reply, status=200):
    assert (reply.status, reply.body, reply.header("Content-Length"), reply.header("Content-Type")) == (status, b"", "0", None), reply


NOT_FOUND = "hawkbit.server.error.repo.entityNotFound"


@pytest.fixture
def fleet(server):
    catalog(server)
    return server


# ---- c.0, c.1: the base resource ----

def test_a_poll_byte_for_byte(server):
    d = register(server)
    reply = d.get()
    base = f"http://127.0.0.1:{server.port}/DEFAULT/controller/v1/dev1"
    assert reply.body == (b'{"config":{"polling":{"sleep":"00:05:00"}},"_links":{"configData":{"href":"%s/configData"}}}' % base.encode())
    assert reply.status == 200 and reply.reason == "OK"
    assert reply.header("Content-Type") == "application/hal+json" and reply.header("Content-Length") == str(len(reply.body))
    assert re.fullmatch(r'"[0-9a-f]{16}"', reply.header("ETag"))
    assert len(reply.headers) <= 5, "Zephyr has room for few"
    empty(d.put("configData", {"data": {"a": "b"}}))
    reply = d.get()
    assert reply.body == b'{"config":{"polling":{"sleep":"00:05:00"}}}', "asked once: an ever-present link makes Zephyr loop"
    again = d.get(headers=[("If-None-Match", reply.header("ETag"))])
    assert again.status == 304 and again.body == b"" and again.header("ETag") == reply.header("ETag")
    assert d.get(headers=[("If-None-Match", '"other"')]).status == 200
    assert d.get(headers=[("Accept", "application/json")]).header("Content-Type") == "application/json"
    assert d.get(headers=[("Accept", "application/hal+json, application/json")]).header("Content-Type") == "application/hal+json"


def test_tenant_in_any_case_and_no_other(server):
    register(server)
    for tenant, status in (("DEFAULT", 200), ("default", 200), ("Default", 200), ("other", 401)):
        assert Ddi(server, "dev1", TOKEN, tenant=tenant).get().status == status
    href = Ddi(server, "dev1", TOKEN, tenant="default").links()["configData"]
    assert "/default/controller/v1/" in href, "links as the client writes them"


def test_keep_alive_of_a_client_that_polls(server):
    d = register(server)
    with d.connect() as sock:
        replies = [d.raw("GET", "", sock=sock).body for _ in range(50)]
    assert len(set(replies)) == 1


def test_unknown_paths_and_methods(server):
    d = register(server)
    error(d.get("nothing"), 404, NOT_FOUND)
    error(d.get("deploymentBase/x"), 404, NOT_FOUND)
    error(d.get("deploymentBase/99999999999999999999"), 404, NOT_FOUND)
    reply = d.raw("DELETE", "configData")
    assert reply.status == 405 and reply.header("Allow") == "PUT"
    error(d.send("PUT", "configData", b"{broken"), 400, "hawkbit.server.error.rest.body.notReadable")
    assert d.raw("PUT", "configData", [("Content-Type", "application/cbor")], b"\xa0").status == 415
    assert d.send("PUT", "configData", b" " * 70000).status == 413


# ---- c.2: configData ----

def test_config_data_modes(server):
    d = register(server)
    for mode, data, after in (
            (None, {"a": "1", "b": "2"}, {"a": "1", "b": "2"}), ("merge", {"b": None, "c": "3"}, {"a": "1", "c": "3"}),
            ("replace", {"x": "9"}, {"x": "9"}), ("merge", {"y": 5, "z": True}, {"x": "9", "y": "5", "z": "true"}),
            ("remove", {"y": "", "z": "whatever"}, {"x": "9"})):
        document = {"data": data, "id": "", "time": "20200101T101500", "status": {"result": {"finished": "success"}, "execution": "closed", "details": []}}
        if mode:
            document["mode"] = mode
        empty(d.put("configData", document))
        assert server.get("/devices/dev1")["attributes"] == after
    for document in ({"data": []}, {}, {"data": {"a": {}}}, {"mode": "add", "data": {}}, {"data": {"k" * 129: "v"}}, {"data": {"k": "v" * 257}}, {"data": {"": "v"}}):
        error(d.put("configData", document), 400, "hawkbit.server.error.rest.body.notReadable")
    empty(d.put("configData", {"mode": "replace", "data": {f"k{i}": "v" for i in range(100)}}))
    error(d.put("configData", {"data": {"one-more": "v"}}), 429, "hawkbit.server.error.quota.tooManyEntries")
    assert len(server.get("/devices/dev1")["attributes"]) == 100, "what was refused left nothing"


def test_config_data_tells_hardware_and_the_release_before(server):
    catalog(server)
    d = register(server)
    empty(d.put("configData", {"data": {"hardware": "imx8", "release": "app-1.0.0"}}))
    device = server.get("/devices/dev1")
    assert device["hardware"] == "imx8" and device["running"]["release"] == "app-1.0.0"


def test_config_data_tells_what_the_device_can_do(server):
    d = register(server)
    empty(d.put("configData", {"data": {"capability.runtime": "tflm", "capability.arena_bytes": "65536", "capability.ops": "CONV_2D@3, RELU@1", "capability.ops.2": "ADD@2",
                                        "capability.input": '{"type":"int8"}', "serial": "7"}}))
    assert server.get("/devices/dev1")["capabilities"] == {"runtime": "tflm", "arena_bytes": 65536, "ops": ["CONV_2D@3", "RELU@1", "ADD@2"], "input": {"type": "int8"}}
    empty(d.put("configData", {"data": {"capability.arena_bytes": "1024"}}))
    assert server.get("/devices/dev1")["capabilities"]["arena_bytes"] == 1024
    empty(d.put("configData", {"data": {"capability.input": "{broken", "capability.": "x"}}))
    assert server.get("/devices/dev1")["capabilities"]["input"] == "{broken", "a text that is no object: the capability counts as unknown"


# ---- c.3, c.4: deployments ----

def test_document_byte_for_byte(fleet):
    d = register(fleet)
    start(fleet)
    path = d.wait_link("deploymentBase")
    assert re.fullmatch(r"/DEFAULT/controller/v1/dev1/deploymentBase/11\?c=-?\d+", path)
    reply = d.get(path)
    digest = {name: hashlib.new(name, CONTENT).hexdigest() for name in ("sha1", "md5", "sha256")}
    href = f"http://127.0.0.1:{fleet.port}/DEFAULT/controller/v1/dev1/softwaremodules/1/artifacts/{FILE}"
    assert reply.body.decode() == (
        '{"id":"11","deployment":{"download":"forced","update":"forced","chunks":[{"part":"os","version":"1.0.0","name":"app","artifacts":['
        f'{{"filename":"{FILE}","hashes":{{"sha1":"{digest["sha1"]}","md5":"{digest["md5"]}","sha256":"{digest["sha256"]}"}},"size":5000,'
        f'"_links":{{"download-http":{{"href":"{href}"}},"md5sum-http":{{"href":"{href}.MD5SUM"}}}}}}]}}]}}}}')
    assert reply.header("Content-Type") == "application/hal+json" and re.fullmatch(r'"[0-9a-f]{16}"', reply.header("ETag"))
    assert d.get(path, [("If-None-Match", reply.header("ETag"))]).status == 304
    assert len(reply.body) < 1100, "Zephyr's buffer"
    assert b"\\/" not in reply.body


def test_part_of_models_is_an_application(server):
    catalog(server, kind="model")
    d = register(server)
    start(server)
    assert d.get(d.wait_link("deploymentBase")).json()["deployment"]["chunks"][0]["part"] == "bApp"


FEEDBACK = [("proceeding", "RUNNING"), ("scheduled", "RUNNING"), ("resumed", "RUNNING"), ("rejected", "WARNING"), ("download", "DOWNLOAD"),
            ("downloaded", "DOWNLOADED")]


def test_feedback_that_ends_nothing(fleet):
    d = register(fleet)
    rollout = start(fleet)
    path = d.wait_link("deploymentBase")
    d.get(path)
    for execution, status in FEEDBACK:
        empty(d.feedback(11, execution, details=[f"{execution} now"]))
        told = history(d, 11)
        assert told["status"] == status and told["messages"][0] == f"{execution} now", told
        assert d.wait_link("deploymentBase") == path, "the link follows the action, not what was said"
    assert told["messages"] == [f"{row[0]} now" for row in reversed(FEEDBACK)], "newest first, and not what the server wrote"
    assert deployment(fleet, rollout)["state"] == "installing"


def test_history_is_asked_for(fleet):
    d = register(fleet)
    start(fleet)
    d.get(d.wait_link("deploymentBase"))
    for i in range(3):
        d.feedback(11, "proceeding", details=[f"step {i}"], code=i)
    assert "actionHistory" not in d.get("deploymentBase/11").json()
    assert "actionHistory" not in d.get("deploymentBase/11?actionHistory=0").json()
    assert d.get("deploymentBase/11?actionHistory=1").json()["actionHistory"] == {
        "status": "RUNNING", "messages": ["step 2", "Device reported status code: 2"]}
    assert len(history(d, 11)["messages"]) == 6
    error(d.get("deploymentBase/11?actionHistory=x"), 400, "hawkbit.server.error.rest.body.notReadable")


@pytest.mark.parametrize("finished", ["success", "none"])
def test_closed_well(fleet, finished):
    d = register(fleet)
    d.put("configData", {"data": {"a": "b"}})
    rollout = start(fleet)
    d.wait_link("deploymentBase")
    empty(d.feedback(11, "closed", finished))
    links = d.links()
    assert set(links) == {"installedBase", "configData"}, "attributes are asked for again"
    assert links["installedBase"].endswith("/installedBase/11")
    assert fleet.wait_rollout(rollout, ("finished",), 15)
    device = fleet.get("/devices/dev1")
    assert device["running"]["release"] == "app-1.0.0" and device["running"]["firmware"] == "1.0.0"
    empty(d.feedback(11, "closed", "success"), 410)
    error(d.get("deploymentBase/11"), 404, NOT_FOUND)
    installed = d.get("installedBase/11")
    assert installed.status == 200 and installed.json()["id"] == "11" and "deployment" in installed.json()
    assert history(d, 11, "installedBase") == {"status": "FINISHED", "messages": []}


def test_closed_badly(fleet):
    d = register(fleet)
    rollout = start(fleet)
    d.wait_link("deploymentBase")
    empty(d.feedback(11, "closed", "failure", details=["no space left"]))
    d.wait_no_link("deploymentBase")
    told = deployment(fleet, rollout)
    assert (told["state"], told["reason"]) == ("failed", "no space left")
    empty(d.feedback(11, "proceeding"), 410)
    assert history(d, 11, "installedBase")["status"] == "ERROR"
    assert "installedBase" not in d.links()


def test_the_device_cancels(fleet):
    d = register(fleet)
    rollout = start(fleet)
    d.wait_link("deploymentBase")
    empty(d.feedback(11, "canceled"))
    assert deployment(fleet, rollout)["state"] == "cancelled"
    error(d.get("installedBase/11"), 404, NOT_FOUND)


def test_feedback_that_is_refused(fleet):
    d = register(fleet)
    other = register(fleet, "dev2", "secret-2")
    start(fleet, device="dev1")
    d.wait_link("deploymentBase")
    error(d.feedback(12, "closed", "success"), 404, NOT_FOUND)
    error(other.feedback(11, "closed", "success"), 404, NOT_FOUND)
    error(other.get("deploymentBase/11"), 404, NOT_FOUND)
    for document in ({}, {"status": {}}, {"status": {"execution": "done"}}, {"status": {"execution": "closed", "result": {"finished": "maybe"}}},
                     {"status": {"execution": "closed", "result": 1}}, {"status": {"execution": "closed", "code": "x"}}, {"status": {"execution": "closed", "details": {}}},
                     {"timestamp": "now", "status": {"execution": "closed"}}):
        error(d.post("deploymentBase/11/feedback", document), 400, "hawkbit.server.error.rest.body.notReadable")
    empty(d.post("deploymentBase/11/feedback", {"id": 11, "time": "20200101T101500", "unknown": [{}], "status": {
        "execution": "proceeding", "result": {"finished": "none", "progress": {"cnt": 2, "of": 5}}, "details": "x"}}))
    assert history(d, 11)["messages"] == ["x"], "a scalar stands for a list"
    error(d.feedback(11, "proceeding", details=["m"] * 51), 429, "hawkbit.server.error.quota.tooManyEntries")


def test_long_and_many_entries(fleet):
    d = register(fleet)
    start(fleet)
    d.wait_link("deploymentBase")
    empty(d.feedback(11, "proceeding", details=["ä" * 400]))
    assert history(d, 11)["messages"] == ["ä" * 256], "512 bytes, whole characters"
    with d.connect() as sock:
        body = json.dumps({"status": {"execution": "proceeding", "result": {"finished": "none"}}}).encode()
        statuses = [d.raw("POST", "deploymentBase/11/feedback", [("Content-Type", "application/json")], body, sock=sock).status for _ in range(1005)]
    assert statuses.count(429) > 0 and statuses == [200] * statuses.count(200) + [429] * statuses.count(429)
    assert 990 <= statuses.count(200) <= 1000


def test_action_numbers_suit_every_client(fleet):
    """At least 11, never a multiple of ten (Zephyr #89530), numbers of 32 bits, texts in JSON."""
    devices = [register(fleet, f"d{i:02}", "t") for i in range(25)]
    start(fleet)
    actions = []
    for d in devices:
        path = d.wait_link("deploymentBase")
        actions.append(d.get(path).json()["id"])
    assert all(isinstance(a, str) for a in actions)
    numbers = sorted(int(a) for a in actions)
    assert numbers[0] == 11 and not [n for n in numbers if n % 10 == 0] and len(set(numbers)) == 25 and numbers[-1] < 2**31


# ---- delivery: soft, timeforced, downloadonly, maintenance ----

@pytest.mark.parametrize("delivery,download,update", [({"type": "forced"}, "forced", "forced"), ({"type": "soft"}, "attempt", "attempt"),
                                                      ({"type": "downloadonly"}, "forced", "skip")])
def test_handling(fleet, delivery, download, update):
    d = register(fleet)
    rollout = start(fleet, delivery=delivery)
    told = d.get(d.wait_link("deploymentBase")).json()["deployment"]
    assert (told["download"], told["update"]) == (download, update) and "maintenanceWindow" not in told
    empty(d.feedback(11, "downloaded"))
    if delivery["type"] == "downloadonly":
        assert fleet.wait_rollout(rollout, ("finished",), 15)
        assert "deploymentBase" not in d.links() and "installedBase" not in d.links(), "nothing was installed"
        assert "release" not in fleet.get("/devices/dev1")["running"]
    else:
        assert "deploymentBase" in d.links()


def test_timeforced(fleet):
    d = register(fleet)
    start(fleet, delivery={"type": "timeforced", "forced_at": int(time.time() * 1000) + 2500})
    before = d.wait_link("deploymentBase")
    assert d.get(before).json()["deployment"]["update"] == "attempt"
    wait_for(lambda: d.wait_link("deploymentBase") != before, 10, lambda: "c changes when it is forced", 0.1)
    assert d.get(before).json()["deployment"]["update"] == "forced", "the server ignores c"


def schedule(seconds, day=None, week="?"):
    t = time.gmtime(time.time() + seconds)
    return f"{t.tm_sec} {t.tm_min} {t.tm_hour} {day or t.tm_mday} {t.tm_mon} {week} {t.tm_year}"


def test_maintenance_window(fleet):
    d = register(fleet)
    rollout = start(fleet, delivery={"maintenance": {"schedule": schedule(4), "duration": "00:00:03", "timezone": "+00:00"}})
    closed = d.wait_link("deploymentBase")
    told = d.get(closed).json()["deployment"]
    assert (told["maintenanceWindow"], told["download"], told["update"]) == ("unavailable", "forced", "skip")
    assert d.poll()["config"]["polling"]["sleep"] == "00:00:30", "a third of what is left, but not below the least"
    file = d.path_of(told["chunks"][0]["artifacts"][0]["_links"]["download-http"]["href"])
    assert d.get(file).status == 200, "it may be downloaded"
    wait_for(lambda: d.get(closed).json()["deployment"]["maintenanceWindow"] == "available", 10, lambda: "it opens", 0.1)
    assert d.get(closed).json()["deployment"]["update"] == "forced" and d.wait_link("deploymentBase") != closed
    cancel = d.wait_link("cancelAction", 10)
    assert cancel.endswith("/cancelAction/11"), "it has lapsed: asked to stop"
    empty(d.feedback(11, "closed", "success", kind="cancelAction"))
    assert deployment(fleet, rollout)["state"] == "cancelled"


def test_closed_window_withholds_from_those_who_would_take_it_for_success(fleet):
    """SWUpdate closes an update that is told to skip as a success."""
    d = register(fleet, attributes={"ddi.closed_window": "withhold"})
    start(fleet, delivery={"maintenance": {"schedule": schedule(3, "?", "*"), "duration": "01:00:00", "timezone": "Z"}})
    other = register(fleet, "dev2", "secret-2")
    other.poll()
    time.sleep(1)
    assert "deploymentBase" not in d.links()
    assert d.get(d.wait_link("deploymentBase", 10)).json()["deployment"]["update"] == "forced"


# ---- c.5: cancelling ----

def offered(server, **more):
    d = register(server)
    rollout = start(server, **more)
    d.get(d.wait_link("deploymentBase"))
    return d, rollout


def stop(server, rollout):
    server.post(f"/rollouts/{rollout}/abort")


def test_stop_asks_by_handshake(fleet):
    d, rollout = offered(fleet)
    error(d.get("cancelAction/11"), 404, NOT_FOUND)
    error(d.feedback(11, "closed", "success", kind="cancelAction"), 405, "hawkbit.server.error.action.notcancelable")
    stop(fleet, rollout)
    path = d.wait_link("cancelAction")
    assert path == "/DEFAULT/controller/v1/dev1/cancelAction/11", "without c, and alone"
    assert "deploymentBase" not in d.links()
    error(d.get("deploymentBase/11"), 404, NOT_FOUND)
    assert d.get(path).body == b'{"id":"11","cancelAction":{"stopId":"11"}}'
    empty(d.feedback(11, "proceeding", kind="cancelAction"))
    empty(d.feedback(11, "canceled", kind="cancelAction"))
    assert "cancelAction" in d.links(), "neither ends it"
    empty(d.feedback(11, "closed", "success", kind="cancelAction", details=["stopped"]))
    assert "cancelAction" not in d.links()
    empty(d.feedback(11, "closed", "success"), 410)
    empty(d.feedback(11, "closed", "success", kind="cancelAction"))
    assert deployment(fleet, rollout)["state"] == "cancelled"


@pytest.mark.parametrize("execution,finished", [("rejected", "none"), ("closed", "failure")])
def test_a_device_that_does_not_stop_goes_on(fleet, execution, finished):
    d, rollout = offered(fleet)
    stop(fleet, rollout)
    d.wait_link("cancelAction")
    empty(d.feedback(11, execution, finished, kind="cancelAction"))
    assert set(d.links()) >= {"deploymentBase"} and "cancelAction" not in d.links()
    assert history(d, 11)["status"] == "RUNNING"
    error(d.feedback(11, "closed", "success", kind="cancelAction"), 405, "hawkbit.server.error.action.notcancelable")
    empty(d.feedback(11, "closed", "success"))
    assert fleet.get("/devices/dev1")["running"]["release"] == "app-1.0.0"
    assert deployment(fleet, rollout)["state"] == "succeeded"


def test_what_is_under_way_when_a_rollout_is_stopped_ends_by_itself(fleet):
    d, rollout = offered(fleet)
    d.feedback(11, "proceeding")
    stop(fleet, rollout)
    time.sleep(0.5)
    assert "deploymentBase" in d.links()
    empty(d.feedback(11, "closed", "success"))
    assert fleet.wait_rollout(rollout, ("stopped",), 15)


def test_a_device_that_finishes_first_wins(fleet):
    d, rollout = offered(fleet)
    stop(fleet, rollout)
    d.wait_link("cancelAction")
    empty(d.feedback(11, "closed", "success"))
    assert "cancelAction" not in d.links() and deployment(fleet, rollout)["state"] == "succeeded"
    assert fleet.get("/devices/dev1")["running"]["release"] == "app-1.0.0"


# ---- timeouts, retries, reverts ----

def test_a_timed_out_action_is_cancelled_and_comes_again_under_another_number(fleet):
    d, rollout = offered(fleet, timeout_ms=700, retries=1, error={"percent": 90, "min_count": 5, "action": "pause"})
    assert d.wait_link("cancelAction").endswith("/11")
    assert "deploymentBase" not in d.links()
    empty(d.feedback(11, "closed", "success", kind="cancelAction"))
    path = d.wait_link("deploymentBase")
    assert "deploymentBase/12" in path
    empty(d.feedback(11, "closed", "success"), 410)
    empty(d.feedback(12, "closed", "success"))
    assert fleet.wait_rollout(rollout, ("finished",), 15)


def test_late_success_of_a_timed_out_action_counts(fleet):
    d, rollout = offered(fleet, timeout_ms=500, retries=1, error={"percent": 90, "min_count": 5, "action": "pause"})
    d.wait_link("cancelAction")
    empty(d.feedback(11, "closed", "success"))
    d.wait_no_link("deploymentBase")
    assert deployment(fleet, rollout)["state"] == "succeeded"
    assert fleet.wait_rollout(rollout, ("finished",), 15)


def revert(server, rollout):
    return server.post(f"/rollouts/{rollout}/revert")


def test_revert_of_what_is_installed(fleet):
    d = register(fleet)
    first = start(fleet)
    assert d.install() == 11
    fleet.wait_rollout(first, ("finished",), 15)
    rollout = start(fleet, "2.0.0", soak_ms=60000, delivery={"type": "soft"})
    assert d.install() == 12
    revert(fleet, rollout)
    path = d.wait_link("deploymentBase")
    told = d.get(path).json()
    assert told["id"] == "13" and told["deployment"]["chunks"][0]["version"] == "1.0.0"
    assert (told["deployment"]["download"], told["deployment"]["update"]) == ("forced", "forced"), "whatever the rollout's delivery says"
    empty(d.feedback(13, "closed", "success"))
    wait_state(fleet, rollout, "reverted")
    fleet.wait_rollout(rollout, ("reverted",), 15)
    assert fleet.get("/devices/dev1")["running"]["release"] == "app-1.0.0"
    assert d.links()["installedBase"].endswith("/13")


def test_revert_of_what_is_under_way(fleet):
    d = register(fleet)
    start(fleet)
    d.install()
    time.sleep(0.5)
    rollout = start(fleet, "2.0.0", soak_ms=60000)
    d.get(d.wait_link("deploymentBase"))
    d.feedback(12, "proceeding")
    revert(fleet, rollout)
    assert d.wait_link("cancelAction").endswith("/12")
    empty(d.feedback(12, "closed", "success", kind="cancelAction"))
    assert "deploymentBase/13" in d.wait_link("deploymentBase")
    empty(d.feedback(13, "closed", "success"))
    fleet.wait_rollout(rollout, ("reverted",), 15)


def test_revert_that_the_device_outruns(fleet):
    d = register(fleet)
    start(fleet)
    d.install()
    time.sleep(0.5)
    rollout = start(fleet, "2.0.0", soak_ms=60000)
    d.get(d.wait_link("deploymentBase"))
    revert(fleet, rollout)
    d.wait_link("cancelAction")
    empty(d.feedback(12, "closed", "success"))
    assert fleet.get("/devices/dev1")["running"]["release"] == "app-2.0.0"
    assert "deploymentBase/13" in d.wait_link("deploymentBase")
    empty(d.feedback(13, "closed", "success"))
    fleet.wait_rollout(rollout, ("reverted",), 15)
    assert fleet.get("/devices/dev1")["running"]["release"] == "app-1.0.0"


def test_a_revert_that_fails_is_offered_again(fleet):
    d = register(fleet)
    start(fleet)
    d.install()
    time.sleep(0.5)
    rollout = start(fleet, "2.0.0", soak_ms=60000)
    d.install()
    revert(fleet, rollout)
    d.get(d.wait_link("deploymentBase"))
    empty(d.feedback(13, "closed", "failure"))
    assert "deploymentBase/14" in d.wait_link("deploymentBase")
    empty(d.feedback(14, "closed", "success"))
    fleet.wait_rollout(rollout, ("reverted",), 15)


def test_nobody_knows_what_it_ran(fleet):
    d, rollout = offered(fleet, soak_ms=60000)
    empty(d.feedback(11, "closed", "success"))
    revert(fleet, rollout)
    wait_state(fleet, rollout, "not_revertible")
    alerts = [a for a in fleet.items("/alerts") if a["kind"] == "deployment.not_revertible"]
    assert [a["resource"] for a in alerts] == ["devices/dev1"]
    assert "deploymentBase" not in d.links()


def test_what_it_said_it_ran_is_where_it_goes_back_to(fleet):
    d = register(fleet)
    assert d.put("installedBase", {"name": "app-1.0.0", "version": "1.0.0"}).status == 201
    empty(d.put("installedBase", {"name": "app-1.0.0", "version": "1.0.0"}), 200)
    assert d.put("installedBase", {"name": "x"}).status == 400
    rollout = start(fleet, "2.0.0", soak_ms=60000)
    assert d.install() == 11
    revert(fleet, rollout)
    d.get(d.wait_link("deploymentBase"))
    empty(d.feedback(12, "closed", "success"))
    fleet.wait_rollout(rollout, ("reverted",), 15)
    assert fleet.get("/devices/dev1")["running"]["release"] == "app-1.0.0"


def test_supersede(fleet):
    d, first = offered(fleet)
    second = start(fleet, "2.0.0", delivery={"supersede": True})
    assert d.wait_link("cancelAction").endswith("/11")
    empty(d.feedback(11, "closed", "success", kind="cancelAction"))
    path = d.wait_link("deploymentBase")
    assert d.get(path).json()["deployment"]["chunks"][0]["version"] == "2.0.0"
    d.install()
    assert deployment(fleet, first)["state"] == "cancelled"
    fleet.wait_rollout(second, ("finished",), 15)


# ---- c.6: confirmation ----

def test_confirmation(fleet):
    d = register(fleet)
    rollout = start(fleet, timeout_ms=800, delivery={"confirm": True})
    path = d.wait_link("confirmationBase")
    assert re.fullmatch(r"/DEFAULT/controller/v1/dev1/confirmationBase/11\?c=-?\d+", path)
    told = d.get(path).json()
    assert told["id"] == "11" and told["confirmation"]["chunks"][0]["version"] == "1.0.0"
    error(d.get("deploymentBase/11"), 404, NOT_FOUND)
    error(d.feedback(11, "proceeding"), 404, NOT_FOUND)
    base = d.get("confirmationBase").json()
    assert base["autoConfirm"] == {"active": False} and set(base["_links"]) == {"activateAutoConfirm", "confirmationBase"}
    time.sleep(1.2)
    assert "confirmationBase" in d.links(), "whoever has to decide may take time"
    empty(d.post("confirmationBase/11/feedback", {"confirmation": "denied", "details": ["not now"]}))
    assert "confirmationBase" in d.links()
    error(d.post("confirmationBase/11/feedback", {"confirmation": "perhaps"}), 400, "hawkbit.server.error.rest.body.notReadable")
    error(d.post("confirmationBase/12/feedback", {"confirmation": "confirmed"}), 404, NOT_FOUND)
    empty(d.post("confirmationBase/11/feedback", {"confirmation": "confirmed", "code": 0, "details": ["yes"]}))
    error(d.post("confirmationBase/11/feedback", {"confirmation": "confirmed"}), 404, NOT_FOUND)
    assert "deploymentBase/11" in d.wait_link("deploymentBase")
    error(d.get("confirmationBase/11"), 404, NOT_FOUND)
    empty(d.feedback(11, "closed", "success"))
    empty(d.post("confirmationBase/11/feedback", {"confirmation": "confirmed"}), 410)
    fleet.wait_rollout(rollout, ("finished",), 15)


def test_confirming_by_itself(fleet):
    d = register(fleet)
    start(fleet, delivery={"confirm": True})
    d.wait_link("confirmationBase")
    empty(d.post("confirmationBase/activateAutoConfirm", {"initiator": "me", "remark": "always"}))
    error(d.post("confirmationBase/activateAutoConfirm", {}), 409, "hawkbit.server.error.repo.autoConfAlreadyActive")
    told = d.get("confirmationBase").json()
    assert told["autoConfirm"]["active"] and told["autoConfirm"]["initiator"] == "me" and told["autoConfirm"]["activatedAt"] > 0
    assert set(told["_links"]) == {"deactivateAutoConfirm"}
    assert d.install() == 11, "what waited is confirmed"
    empty(d.raw("POST", "confirmationBase/deactivateAutoConfirm"))
    assert d.get("confirmationBase").json()["autoConfirm"] == {"active": False}


# ---- c.7: artifacts ----

def test_artifact(fleet):
    d, _ = offered(fleet)
    path = f"softwaremodules/1/artifacts/{FILE}"
    sha1 = hashlib.sha1(CONTENT).hexdigest()
    reply = d.get(path)
    assert reply.status == 200 and reply.body == CONTENT
    for name, value in (("Content-Disposition", f"attachment;filename={FILE}"), ("ETag", f'"{sha1}"'), ("Accept-Ranges", "bytes"),
                        ("Content-Type", "application/octet-stream"), ("X-Content-Type-Options", "nosniff"), ("Content-Length", "5000")):
        assert reply.header(name) == value
    modified = reply.header("Last-Modified")
    assert re.fullmatch(r"[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT", modified)
    head = d.raw("HEAD", path)
    assert head.status == 200 and head.header("Content-Length") == "5000" and head.body == b""
    etag = f'"{sha1}"'
    for headers, status, content_range, body in (
            ([("Range", "bytes=0-99")], 206, "bytes 0-99/5000", CONTENT[:100]),
            ([("Range", "bytes=4990-")], 206, "bytes 4990-4999/5000", CONTENT[4990:]),
            ([("Range", "bytes=-7")], 206, "bytes 4993-4999/5000", CONTENT[-7:]),
            ([("Range", "bytes=4990-9999")], 206, "bytes 4990-4999/5000", CONTENT[4990:]),
            ([("Range", "bytes=5000-")], 416, "bytes */5000", b""), # rauc relies on it
            ([("Range", "bytes=9000-9001")], 416, "bytes */5000", b""),
            ([("Range", "bytes=5-1")], 200, None, CONTENT),
            ([("Range", "lines=1-2")], 200, None, CONTENT),
            ([("Range", "bytes=0-9"), ("If-Range", etag)], 206, "bytes 0-9/5000", CONTENT[:10]),
            ([("Range", "bytes=0-9"), ("If-Range", '"other"')], 200, None, CONTENT),
            ([("Range", "bytes=0-9"), ("If-Range", modified)], 206, "bytes 0-9/5000", CONTENT[:10]),
            ([("Range", "bytes=0-9"), ("If-Range", "Mon, 01 Jan 2001 00:00:00 GMT")], 200, None, CONTENT),
            ([("If-Match", etag)], 200, None, CONTENT), ([("If-Match", "*")], 200, None, CONTENT),
            ([("If-Match", '"other"')], 412, None, b""), ([("If-None-Match", etag)], 304, None, b"")):
        reply = d.get(path, headers)
        assert (reply.status, reply.header("Content-Range"), reply.body) == (status, content_range, body), (headers, reply)
    sums = d.get(path + ".MD5SUM")
    assert sums.body == f"{hashlib.md5(CONTENT).hexdigest()}  {FILE}".encode() and sums.header("Content-Type") == "text/plain"
    assert sums.header("Content-Disposition") == f"attachment;filename={FILE}.MD5SUM"
    listed = d.get("softwaremodules/1/artifacts").json()
    assert listed == d.get("deploymentBase/11").json()["deployment"]["chunks"][0]["artifacts"]
    for wrong in (f"softwaremodules/2/artifacts/{FILE}", "softwaremodules/1/artifacts/other.bin", "softwaremodules/2/artifacts", "softwaremodules/x/artifacts"):
        error(d.get(wrong), 404, NOT_FOUND)


def test_several_ranges(fleet):
    d, _ = offered(fleet)
    reply = d.get(f"softwaremodules/1/artifacts/{FILE}", [("Range", "bytes=0-3, 100-101,-2,9000-")])
    assert reply.status == 206
    boundary = re.fullmatch(r"multipart/byteranges; boundary=(\S+)", reply.header("Content-Type"))[1]
    part = "--{}\r\nContent-Type: application/octet-stream\r\nContent-Range: bytes {}/5000\r\n\r\n"
    wanted = b"\r\n".join(part.format(boundary, where).encode() + data for where, data in (
        ("0-3", CONTENT[:4]), ("100-101", CONTENT[100:102]), ("4998-4999", CONTENT[-2:]))) + f"\r\n--{boundary}--\r\n".encode()
    assert reply.body == wanted
    many = ",".join(f"{i}-{i}" for i in range(40))
    assert d.get(f"softwaremodules/1/artifacts/{FILE}", [("Range", f"bytes={many}")]).status == 200, "too many: everything"


def test_artifacts_only_while_they_are_to_be_installed(fleet):
    d, rollout = offered(fleet)
    other = register(fleet, "dev2", "secret-2")
    path = f"softwaremodules/1/artifacts/{FILE}"
    error(other.get(path), 404, NOT_FOUND)
    stop(fleet, rollout)
    d.wait_link("cancelAction")
    error(d.get(path), 404, NOT_FOUND)
    empty(d.feedback(11, "closed", "success", kind="cancelAction"))
    error(d.get(path), 404, NOT_FOUND)


def test_a_full_download_is_noted_and_a_resumed_one_is_not(fleet):
    d, rollout = offered(fleet)
    path = f"softwaremodules/1/artifacts/{FILE}"
    d.get(path, [("Range", "bytes=10-")])
    assert history(d, 11)["status"] == "RETRIEVED" and deployment(fleet, rollout)["state"] == "offered"
    d.get(path)
    assert history(d, 11)["status"] == "DOWNLOAD" and deployment(fleet, rollout)["state"] == "downloading"


def test_downloads_without_a_word_raise_an_alert(make_server):
    server = make_server(config={"ddi": {"downloads_max": 3}})
    catalog(server)
    d, _ = offered(server)

    def alerts():
        return [a for a in server.items("/alerts") if a["kind"] == "device.redownloads" and a["status"] == "firing"]
    for i in range(4):
        assert not alerts()
        d.get(f"softwaremodules/1/artifacts/{FILE}")
    assert [a["resource"] for a in alerts()] == ["devices/dev1"]
    empty(d.feedback(11, "proceeding"))
    assert not alerts()


# ---- c.8: who may ----

def test_target_tokens(server):
    register(server)
    for auth, status in ((f"TargetToken {TOKEN}", 200), (f"TargetToken {TOKEN}  \t", 200), (f"targettoken   {TOKEN}", 200), ("TargetToken secret-2", 401),
                         (f"TargetToken {TOKEN}x", 401), ("TargetToken ", 401), (None, 401), (f"GatewayToken {TOKEN}", 401), (f"Bearer {server.token}", 401),
                         (f"Basic {TOKEN}", 401)):
        reply = Ddi(server, "dev1", auth=auth).get()
        assert reply.status == status, auth
        if status == 401:
            empty(reply, 401)
    empty(Ddi(server, "nobody", TOKEN).get(), 401)
    empty(Ddi(server, "a b", TOKEN).raw("GET", "/DEFAULT/controller/v1/a%20b"), 401)
    server.post("/devices", {"id": "mqtt1", "hardware": "rpi"})
    empty(Ddi(server, "mqtt1", TOKEN).get(), 401)


def test_a_device_reaches_only_its_own(server):
    register(server)
    register(server, "dev2", "secret-2")
    empty(Ddi(server, "dev2", TOKEN).get(), 401)
    empty(Ddi(server, "dev2", TOKEN).put("configData", {"data": {"a": "b"}}), 401)
    assert server.get("/devices/dev2")["attributes"] == {}


def test_a_token_is_shown_once_and_kept_sealed(server):
    shown = server.post("/devices", {"id": "dev9", "hardware": "rpi", "protocol": "ddi"})
    token = shown["token"]
    assert re.fullmatch(r"[A-Za-z0-9_-]{32}", token)
    assert "token" not in server.get("/devices/dev9")
    assert Ddi(server, "dev9", token).get().status == 200
    server.restart()
    assert Ddi(server, "dev9", token).get().status == 200
    server.stop()
    for name in server.state.glob("fleet.db*"):
        assert token.encode() not in name.read_bytes()


def settings(server, **values):
    """By the Management API, as hawkBit's own tools do it."""
    for key, value in values.items():
        reply = server.session.put(f"{server.url}/rest/v1/system/configs/{key}", json={"value": value}, auth=("admin", server.token), timeout=20)
        assert reply.status_code < 300, (key, reply.status_code, reply.text)


def test_gateway_tokens_register(server):
    auth = "GatewayToken gateway-secret"
    empty(Ddi(server, "new1", auth=auth).get(), 401)
    settings(server, **{"authentication.gatewaytoken.enabled": True, "authentication.gatewaytoken.key": "gateway-secret"})
    empty(Ddi(server, "new1", auth="GatewayToken wrong").get(), 401)
    reply = Ddi(server, "new1", auth=auth).get()
    assert reply.status == 200 and "configData" in reply.json()["_links"]
    device = server.get("/devices/new1")
    assert (device["protocol"], device["name"], device["hardware"]) == ("ddi", "Plug and Play target: new1", "ddi")
    empty(Ddi(server, "new1", auth=auth).put("configData", {"data": {"a": "b"}}))
    settings(server, **{"authentication.targettoken.enabled": False})
    register(server)
    empty(Ddi(server, "dev1", TOKEN).get(), 401)
    assert Ddi(server, "dev1", auth=auth).get().status == 200


def test_certificate_headers_of_trusted_proxies_only(make_server):
    trusting, careful = make_server("trusting", config={"ddi": {"trusted_proxies": "127.0.0.1"}}), make_server("careful")
    for server in (trusting, careful):
        register(server)
        settings(server, **{"authentication.header.enabled": True, "authentication.header.authority": "AB12, cd34"})
    good = [("X-Controller-Id", "dev1"), ("X-Authority", "ffff, ab12")]
    empty(Ddi(careful, "dev1").get(headers=good), 401)
    for headers, status in ((good, 200), ([("X-Controller-Id", "dev1"), ("X-Authority-2", "CD34")], 200), ([("X-Controller-Id", "dev1"), ("X-Ssl-Issuer-Hash-1", "cd34")], 200),
                            ([("X-Controller-Id", "dev2"), ("X-Authority", "ab12")], 401), ([("X-Controller-Id", "dev1"), ("X-Authority", "ab1")], 401),
                            ([("X-Controller-Id", "dev1")], 401), ([("X-Authority", "ab12")], 401)):
        assert Ddi(trusting, "dev1").get(headers=headers).status == status, headers
    assert Ddi(trusting, "fresh").get(headers=[("X-Controller-Id", "fresh"), ("X-Authority", "ab12")]).status == 200
    assert trusting.get("/devices/fresh")["protocol"] == "ddi"


def test_links_name_the_server_as_the_client_sees_it(make_server):
    trusting, careful = make_server("trusting", config={"ddi": {"trusted_proxies": "127.0.0.0/8"}}), make_server("careful")
    for server in (trusting, careful):
        register(server)

    def origin(server, headers):
        return Ddi(server, "dev1", TOKEN).get(headers=headers).json()["_links"]["configData"]["href"].split("/DEFAULT")[0]
    assert origin(careful, [("Host", "upd.example:8081")]) == "http://upd.example:8081"
    assert origin(careful, [("Host", "h:1"), ("X-Forwarded-Host", "evil"), ("X-Forwarded-Proto", "https")]) == "http://h:1"
    for headers, wanted in (([("X-Forwarded-Host", "out.example")], "http://out.example"),
                            ([("X-Forwarded-Host", "out.example"), ("X-Forwarded-Proto", "https")], "https://out.example"),
                            ([("X-Forwarded-Host", "out.example, inner"), ("X-Forwarded-Port", "8443"), ("X-Forwarded-Proto", "https")], "https://out.example:8443"),
                            ([("X-Forwarded-Host", "out.example:1"), ("X-Forwarded-Port", "443"), ("X-Forwarded-Proto", "https")], "https://out.example"),
                            ([("X-Forwarded-Host", "[::1]:9000")], "http://[::1]:9000")):
        assert origin(trusting, headers) == wanted
    reply = Ddi(trusting, "dev1", TOKEN).get(headers=[("X-Forwarded-Host", 'a"b')])
    assert reply.status == 400, "nothing that ends a text gets into a link"
    catalog(trusting)
    d = Ddi(trusting, "dev1", TOKEN, headers=[("X-Forwarded-Host", "o"), ("X-Forwarded-Proto", "https")])
    start(trusting)
    wait_for(lambda: "deploymentBase" in d.links(), 10, lambda: "offered", 0.05)
    links = d.get("deploymentBase/11").json()["deployment"]["chunks"][0]["artifacts"][0]["_links"]
    assert set(links) == {"download", "md5sum"} and links["download"]["href"].startswith("https://o/DEFAULT/"), "the names of an https origin"


# ---- polling intervals ----

def sleeps(d, n=1):
    return [d.poll()["config"]["polling"]["sleep"] for _ in range(n)]


def seconds(text):
    assert len(text) == 8
    h, m, s = text.split(":")
    return int(h) * 3600 + int(m) * 60 + int(s)


def test_intervals(server):
    d = register(server, attributes={"region": "eu"})
    other = register(server, "dev2", "secret-2")
    assert sleeps(d) == ["00:05:00"]
    settings(server, pollingTime="00:10:00")
    assert sleeps(d) == ["00:10:00"]
    settings(server, pollingTime="00:10:00~20%")
    seen = {seconds(s) for d in (d, other) for s in sleeps(d, 100)}
    assert min(seen) >= 480 and max(seen) <= 720 and len(seen) > 10, "jittered"
    settings(server, pollingTime="00:10:00, attribute.region==eu -> 00:01:00, id==dev1 -> 00:02:00")
    assert sleeps(d) == ["00:01:00"] and sleeps(other) == ["00:10:00"], "the first match wins"
    server.call("PATCH", "/devices/dev1", {"attributes": {"region": "us"}}, headers={"If-Match": "*"})
    assert sleeps(d) == ["00:02:00"]


def test_under_load_they_come_less_often(make_server):
    server = make_server(config={"ddi": {"busy_polls": 20}})
    d = register(server)

    def busy():
        with d.connect() as sock:
            for _ in range(300):
                d.raw("GET", "", sock=sock)
        return seconds(sleeps(d)[0]) > 330
    wait_for(busy, 15, lambda: "stretched", 0.05)
    wait_for(lambda: seconds(sleeps(d)[0]) == 300, 40, lambda: "and again as set", 1.0)


def test_presence_by_polls(server):
    settings(server, minPollingTime="00:00:01", pollingTime="00:00:01", pollingOverdueTime="00:00:01")
    d = register(server)
    assert not server.get("/devices/dev1")["online"]
    d.poll()
    assert server.get("/devices/dev1")["online"]
    wait_for(lambda: not server.get("/devices/dev1")["online"], 12, lambda: "it does not come any more", 0.2)
    d.poll()
    assert server.get("/devices/dev1")["online"]


# ---- the poll costs nothing ----

def test_a_poll_writes_nothing(server):
    """No device is worked out anew, and the database does not change, but for signs of life in bulk."""
    devices = [register(server, f"d{i}", "t") for i in range(20)]
    for d in devices:
        d.put("configData", {"data": {"a": "b"}})
        d.poll()
    time.sleep(1.5)
    before = server.metrics()
    for _ in range(25):
        for d in devices:
            d.poll()
    after = server.metrics()
    assert after["aviary_ddi_polls_total"] - before["aviary_ddi_polls_total"] == 500
    assert after["aviary_ddi_refreshed_total"] == before["aviary_ddi_refreshed_total"], "each answer from memory"


def test_state_survives_a_kill(fleet):
    d, rollout = offered(fleet)
    path = d.wait_link("deploymentBase")
    d.feedback(11, "proceeding", details=["half"])
    fleet.kill9()
    fleet.start()
    d = Ddi(fleet, "dev1", TOKEN)
    assert d.wait_link("deploymentBase") == path and history(d, 11)["messages"] == ["half"]
    revert(fleet, rollout)
    d.wait_link("cancelAction")
    fleet.kill9()
    fleet.start()
    assert d.wait_link("cancelAction").endswith("/11")


def test_both_loopback_families(make_server, build):
    server = make_server(config={"http": {"listen": "localhost:0"}})
    ports = [line.rsplit(":", 1) for line in server.ports.read_text().split()]
    assert [host for host, _ in ports] == ["127.0.0.1", "[::1]"]
    fixed = ports[0][1]
    server.stop()
    server.config["http"]["listen"] = f"localhost:{fixed}"
    server.start()
    register(server)
    for host in ("127.0.0.1", "::1"):
        with socket.create_connection((host, int(fixed)), timeout=10) as sock:
            sock.sendall(f"GET /DEFAULT/controller/v1/dev1 HTTP/1.1\r\nHost: localhost:{fixed}\r\nAuthorization: TargetToken {TOKEN}\r\n\r\n".encode())
            assert read_reply(sock).json()["_links"]["configData"]["href"] == f"http://localhost:{fixed}/DEFAULT/controller/v1/dev1/configData"


# ---- TLS client certificates ----

def certificates(folder):
    def run(*args):
        subprocess.run(["openssl", *args], cwd=folder, check=True, capture_output=True)
    for ca in ("ca", "other"):
        run("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", f"/CN={ca}", "-keyout", f"{ca}.key", "-out", f"{ca}.pem")
    for name, ca in (("localhost", "ca"), ("dev1", "ca"), ("fresh", "ca"), ("forged", "other")):
        subject = "dev1" if name == "forged" else name
        run("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", f"/CN={subject}", "-keyout", f"{name}.key", "-out", f"{name}.csr")
        run("x509", "-req", "-in", f"{name}.csr", "-CA", f"{ca}.pem", "-CAkey", f"{ca}.key", "-CAcreateserial", "-days", "2", "-out", f"{name}.pem")
    return subprocess.run(["openssl", "x509", "-in", "dev1.pem", "-noout", "-issuer_hash"], cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


def test_client_certificates(make_server, tmp_path):
    issuer = certificates(tmp_path)
    server = make_server(config={"http": {"listen_tls": "127.0.0.1:0", "tls_certificate": tmp_path / "localhost.pem", "tls_key": tmp_path / "localhost.key",
                                          "tls_client_ca": tmp_path / "ca.pem"}})
    port = int(server.ports.read_text().split()[1].rsplit(":", 1)[1])
    register(server)
    settings(server, **{"authentication.header.enabled": True, "authentication.header.authority": issuer.upper()})

    def poll(device, certificate=None, headers=()):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        if certificate:
            context.load_cert_chain(tmp_path / f"{certificate}.pem", tmp_path / f"{certificate}.key")
        d = Ddi(server, device, headers=headers)
        with context.wrap_socket(socket.create_connection(("127.0.0.1", port), timeout=20)) as sock:
            return d.raw("GET", "", [("Host", f"127.0.0.1:{port}")], sock=sock)
    reply = poll("dev1", "dev1")
    assert reply.status == 200 and reply.json()["_links"]["configData"]["href"].startswith(f"https://127.0.0.1:{port}/DEFAULT/")
    assert poll("fresh", "fresh").status == 200 and server.get("/devices/fresh")["protocol"] == "ddi", "it registers, too"
    for device, certificate in (("dev1", None), ("dev1", "fresh"), ("dev1", "forged")):
        try:
            empty(poll(device, certificate), 401)
        except (ssl.SSLError, ConnectionError):
            assert certificate == "forged", "a certificate of nobody we know may end the handshake"
    settings(server, **{"authentication.header.authority": "12345678"})
    empty(poll("dev1", "dev1"), 401)


# ---- a canary of DDI devices ----

def test_a_canary_is_reverted_by_failures(fleet):
    """Ten devices, two of them first; these fail to install, and whoever has installed goes back."""
    devices = {f"d{i:02}": register(fleet, f"d{i:02}", "t") for i in range(10)}
    start(fleet)
    for d in devices.values():
        assert d.install()
    wait_for(lambda: fleet.get("/rollouts")["items"][0]["status"] == "finished", 20, lambda: "the first is done", 0.1)
    rollout = start(fleet, "2.0.0", stages=[{"count": 4}, {"percent": 100}], error={"percent": 40, "min_count": 2, "action": "revert"})
    wait_for(lambda: len([d for d in devices.values() if "deploymentBase" in d.links()]) == 4, 20, lambda: "four are offered it", 0.1)
    chosen = [d for d in devices.values() if "deploymentBase" in d.links()]
    for n, d in enumerate(chosen):
        path = d.wait_link("deploymentBase")
        action = d.get(path).json()["id"]
        empty(d.feedback(action, "closed", "success" if n < 2 else "failure"))
    for d in chosen[:2]:
        document = d.get(d.wait_link("deploymentBase")).json()
        assert document["deployment"]["chunks"][0]["version"] == "1.0.0" and document["deployment"]["update"] == "forced"
        empty(d.feedback(document["id"], "closed", "success"))
    fleet.wait_rollout(rollout, ("reverted",), 20)
    assert fleet.running() == {"app-1.0.0": 10}
    assert not [d.device for d in devices.values() if "deploymentBase" in d.links()]
