"""hawkBit's Management API: shapes, codes, and what its calls become here."""
import hashlib
import os
import re
import time

import pytest
import requests

from harness.mgmt import BASIC, NO_BROKER, Mgmt, Target


@pytest.fixture
def server(build, tmp_path):
    from harness import Server
    s = Server(build, tmp_path / "server", 1883, config={**BASIC, **NO_BROKER})
    yield s
    s.stop()


@pytest.fixture
def mgmt(server):
    return Mgmt(server.url)


def wait(test, what, timeout=20):
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        got = test()
        if got:
            return got
        time.sleep(0.05)
    raise AssertionError(what)


# ---- who ----

def test_root_is_open_and_the_rest_is_not(server, mgmt):
    assert requests.head(server.url + "/", timeout=10).status_code < 400
    for auth in (None, ("admin", "wrong"), ("other", "admin"), ("admin", "")):
        r = requests.get(server.url + "/rest/v1/targets", auth=auth, timeout=10)
        assert (r.status_code, r.content) == (401, b"") and r.headers["WWW-Authenticate"].startswith("Basic ")
    assert mgmt.get("userinfo") == {"tenant": "DEFAULT", "username": "admin"}


def test_passwords_are_tokens_with_their_roles(server):
    viewer = server.post("/tokens", {"name": "reader", "kind": "api", "role": "viewer"})["token"]
    m = Mgmt(server.url, ("DEFAULT\\anybody", viewer))
    assert m.get("targets")["total"] == 0
    m.refused("POST", "targets", 403, "insufficientPermission", json=[{"controllerId": "a", "name": "a"}])
    m.refused("PUT", "system/configs/pollingTime", 403, "insufficientPermission", json={"value": "00:01:00"})
    assert Mgmt(server.url, ("x", server.token)).get("userinfo")["username"] == "admin"
    token = server.post("/tokens", {"name": "gone", "kind": "api", "role": "viewer"})
    server.call("DELETE", f"/tokens/{token['id']}")
    Mgmt(server.url, ("x", token["token"])).call("GET", "targets", 401)


def test_what_is_changed_is_audited(server, mgmt):
    mgmt.targets("a")
    mgmt.call("PUT", "system/configs/pollingTime", json={"value": "00:01:00"})
    mgmt.call("PUT", "system/configs/authentication.gatewaytoken.key", json={"value": "very-secret"})
    entries = server.items("/audit")
    assert {"device.create", "setting.set"} <= {e["action"] for e in entries} and {e["who"] for e in entries if e["action"] == "setting.set"} == {"admin"}
    assert "very-secret" not in str(entries)


# ---- settings ----

def test_settings(server, mgmt):
    for key, value in (("pollingTime", "00:00:30"), ("pollingOverdueTime", "00:03:00"), ("authentication.targettoken.enabled", True),
                       ("authentication.gatewaytoken.enabled", True), ("authentication.gatewaytoken.key", "abc"),
                       ("authentication.header.enabled", True), ("authentication.header.authority", "aa,bb")):
        mgmt.call("PUT", f"system/configs/{key}", json={"value": value})
        got = mgmt.get(f"system/configs/{key}")
        assert got["value"] == value and got["global"] is False, got
    server.restart()
    again = Mgmt(server.url)
    assert again.get("system/configs")["pollingTime"]["value"] == "00:00:30"
    again.call("DELETE", "system/configs/pollingTime", 204)
    assert again.get("system/configs/pollingTime")["value"] == "00:05:00"
    again.refused("GET", "system/configs/nothing", 400, "configKeyInvalid")
    for key, value in (("pollingTime", "00:00:10"), ("pollingTime", "5 minutes"), ("pollingOverdueTime", "24:00:00"), ("maintenanceWindowPollCount", 0),
                       ("authentication.targettoken.enabled", "perhaps"), ("pollingTime", "00:05:00, x==y -> 1")):
        again.refused("PUT", f"system/configs/{key}", 400, "configValueInvalid", json={"value": value})
    again.call("PUT", "system/configs/pollingTime", json={"value": "00:05:00~10%, attribute.site==a -> 00:00:30~5%, id==b -> 00:01:00"})
    again.call("PUT", "system/configs", json={"pollingTime": "00:02:00", "authentication.header.enabled": False})
    assert again.get("system/configs/pollingTime")["value"] == "00:02:00"
    again.refused("PUT", "system/configs", 400, "configKeyInvalid", json={"pollingTime": "00:03:00", "nothing": 1})
    assert again.get("system/configs/pollingTime")["value"] == "00:02:00"  # all or none


# ---- targets ----

def test_targets(mgmt):
    made = mgmt.post("targets", [{"controllerId": "a", "name": "A", "securityToken": "ieHai3du7gee7aPhojeth4ong", "description": "first", "new": 1},
                                 {"controllerId": "b", "name": "B"}], 201)
    assert [t["controllerId"] for t in made] == ["a", "b"] and len(made[1]["securityToken"]) == 32
    a = mgmt.get("targets/a")
    assert (a["name"], a["description"], a["securityToken"], a["updateStatus"]) == ("A", "first", "ieHai3du7gee7aPhojeth4ong", "unknown")
    assert a["_links"]["self"]["href"] == mgmt.url + "/rest/v1/targets/a" and {"createdAt", "createdBy", "lastModifiedAt", "lastModifiedBy"} <= set(a)
    assert mgmt.get("targets/a/attributes") == {}
    mgmt.call("GET", "targets/a/assignedDS", 204)
    mgmt.refused("POST", "targets", 409, "repo.entityAlreadyExists", json=[{"controllerId": "c", "name": "c"}, {"controllerId": "a", "name": "a"}])
    mgmt.refused("GET", "targets/c", 404, "repo.entityNotFound")  # all or none
    mgmt.refused("POST", "targets", 400, "repo.constraintViolation", json=[{"name": "no id"}])
    mgmt.refused("POST", "targets", 400, "repo.constraintViolation", json=[{"controllerId": "../x", "name": "x"}])
    mgmt.refused("POST", "targets", 400, "rest.body.notReadable", data=b"[{", headers={"Content-Type": "application/json"})
    mgmt.refused("POST", "targets", 400, "rest.body.notReadable", json=["a"])
    mgmt.call("PUT", "targets/a", json={"name": "AA", "description": "second", "requestAttributes": True})
    a = mgmt.get("targets/a")
    assert (a["name"], a["description"], a["requestAttributes"]) == ("AA", "second", True)
    device = Target(mgmt, "a")
    device.attributes({"site": "x", "n": "1"})
    a = mgmt.get("targets/a")
    assert mgmt.get("targets/a/attributes") == {"site": "x", "n": "1"} and a["updateStatus"] == "registered" and a["requestAttributes"] is False
    assert a["pollStatus"]["overdue"] is False and a["lastControllerRequestAt"] == a["pollStatus"]["lastRequestAt"] > 0
    mgmt.call("DELETE", "targets/a", 200)
    mgmt.refused("GET", "targets/a", 404, "repo.entityNotFound")
    mgmt.refused("DELETE", "targets/a", 404, "repo.entityNotFound")


def test_lists_of_targets(server, mgmt):
    mgmt.post("targets", [{"controllerId": f"d{i:02}", "name": f"Name {99 - i}"} for i in range(30)], 201)
    Target(mgmt, "d07").attributes({"site": "x"})
    assert [t["controllerId"] for t in mgmt.pages("targets", 7)] == [f"d{i:02}" for i in range(30)]
    assert [t["controllerId"] for t in mgmt.get("targets", sort="name:ASC", limit=2)["content"]] == ["d29", "d28"]
    assert [t["controllerId"] for t in mgmt.get("targets", sort="controllerId:DESC", offset=28, limit=5)["content"]] == ["d01", "d00"]
    for q, want in (("controllerId==d0*", 10), ("controllerid=in=(d01,d02)", 2), ("name=='Name 90'", 1), ("attribute.site==x", 1),
                    ("attribute.site==x or controllerId==d08", 2), ("(id==d01,id==d02) and name!='Name 98'", 1), ("lastControllerRequestAt=le=${NOW_TS}", 1),
                    ("lastcontrollerrequestat=lt=${OVERDUE_TS}", 0), ("createdAt=GT=0", 30)):
        assert mgmt.get("targets", q=q)["total"] == want, q
    mgmt.refused("GET", "targets?q=nothing==1", 400, "rest.param.rsqlInvalidField")
    mgmt.refused("GET", "targets?q=name=", 400, "rest.param.rsqlParamSyntax")
    mgmt.refused("GET", "targets?sort=nothing:ASC", 400, "rest.param.invalidField")
    mgmt.refused("GET", "targets?sort=name:UP", 400, "rest.param.invalidDirection")
    mgmt.refused("GET", "targets?sort=name", 400, "rest.param.sortParamSyntax")
    assert mgmt.get("targets", limit=100000, unknown=1)["size"] == 30 and mgmt.get("targets", limit=-1, offset=-5)["size"] == 30


# ---- modules and files ----

def test_modules(server, mgmt):
    a = mgmt.post("softwaremodules", [{"name": "Test Module", "version": "1.0", "type": "os", "vendor": "v", "description": "d"}], 201)[0]
    b, c = mgmt.module("Test Module", "1.0.0"), mgmt.module("Test Module", "1.0", kind="application")
    assert (a["name"], a["version"], a["type"], a["vendor"], a["description"], a["deleted"]) == ("Test Module", "1.0", "os", "v", "d", False)
    assert [m["id"] for m in mgmt.get("softwaremodules")["content"]] == [a["id"], b, c]
    mgmt.refused("POST", "softwaremodules", 409, "repo.entityAlreadyExists", json=[{"name": "Test Module", "version": "1.0", "type": "os"}])
    mgmt.refused("POST", "softwaremodules", 404, "repo.entityNotFound", json=[{"name": "x", "version": "1", "type": "runtime"}])
    mgmt.refused("POST", "softwaremodules", 400, "repo.constraintViolation", json=[{"name": "", "version": "1", "type": "os"}])
    versions = {v["version"] for v in server.items("/models/Test-Module/versions")}
    assert "1.0.0" in versions and len(versions) == 2  # two texts that give the same SemVer
    mgmt.call("PUT", f"softwaremodules/{a['id']}", json={"description": "new", "vendor": "w"})
    assert mgmt.get(f"softwaremodules/{a['id']}")["description"] == "new"
    for q, want in (("type==os", 2), ("name==Test*;version==1.0", 2), ("vendor==w", 1), ("id==%d" % c, 1)):
        assert mgmt.get("softwaremodules", q=q)["total"] == want, q
    assert [m["version"] for m in mgmt.get("softwaremodules", sort="version:DESC", q="type==os")["content"]] == ["1.0.0", "1.0"]
    mgmt.call("DELETE", f"softwaremodules/{b}", 200)
    mgmt.call("DELETE", f"softwaremodules/{b}", 200)  # once for each of its files, by some clients
    mgmt.refused("GET", f"softwaremodules/{b}", 404, "repo.entityNotFound")
    assert mgmt.module("Test Module", "1.0.0") > 0
    assert [t["key"] for t in mgmt.get("softwaremoduletypes")["content"]] == ["os", "application"]
    assert {t["key"] for t in mgmt.get("distributionsettypes")["content"]} == {"os", "app", "os_app"}


def test_files(server, mgmt):
    module, data = mgmt.module("m"), os.urandom(3_000_001)
    sums = {"md5sum": hashlib.md5(data).hexdigest(), "sha1sum": hashlib.sha1(data).hexdigest().upper(), "sha256sum": hashlib.sha256(data).hexdigest()}
    where = f"softwaremodules/{module}/artifacts"
    made = mgmt.post(where, status=201, files={"file": ("über \"b\".bin", data)}, data=sums)
    assert made["hashes"] == {"md5": sums["md5sum"], "sha1": sums["sha1sum"].lower(), "sha256": sums["sha256sum"]} and made["size"] == len(data)
    assert made["providedFilename"].startswith("über ")
    got = requests.get(made["_links"]["download"]["href"], auth=mgmt.auth, timeout=30)
    assert got.content == data and got.headers["ETag"] == f'"{made["hashes"]["sha1"]}"'
    part = requests.get(made["_links"]["download"]["href"], auth=mgmt.auth, headers={"Range": "bytes=10-19"}, timeout=30)
    assert part.status_code == 206 and part.content == data[10:20]
    assert mgmt.get(f"{where}/{made['id']}")["id"] == made["id"] and len(mgmt.get(where)) == 1
    for algorithm, code in (("md5", 32), ("sha1", 40), ("sha256", 64)):
        mgmt.refused("POST", f"{where}?filename=x.bin&{algorithm}sum={'0' * code}", 400, f"artifact.uploadFailed.checksum.{algorithm}.match", files={"file": data})
    mgmt.post(where + "?filename=other.bin", status=201, files={"file": data})
    mgmt.refused("POST", where + "?filename=other.bin", 409, "repo.entityAlreadyExists", files={"file": data})
    assert [a["providedFilename"] for a in mgmt.get(where)] == [made["providedFilename"], "other.bin"]
    mgmt.refused("POST", where, 400, "rest.body.notReadable", files={"other": data})
    mgmt.refused("POST", where, 400, "rest.body.notReadable", files={"file": b""})
    mgmt.refused("POST", where, 400, "rest.body.notReadable", data=b"--x\r\nnonsense", headers={"Content-Type": "multipart/form-data; boundary=x"})
    mgmt.refused("POST", where, 415, "rest.mediaType", data=b"x", headers={"Content-Type": "text/plain"})
    mgmt.refused("POST", where + "?filename=a/b", 400, "repo.constraintViolation", files={"file": b"x"})
    mgmt.refused("POST", "softwaremodules/999/artifacts", 404, "repo.entityNotFound", files={"file": b"x"})
    mgmt.call("DELETE", f"{where}/{made['id']}", 200)
    mgmt.refused("GET", f"{where}/{made['id']}", 404, "repo.entityNotFound")
    assert not [p for p in os.listdir(server.state / "uploads")]


def test_uploads_are_bounded(build, tmp_path):
    from harness import Server
    server = Server(build, tmp_path / "small", 1883, config={**BASIC, **NO_BROKER, "storage": {"artifact_size": "1MiB"}})
    try:
        mgmt = Mgmt(server.url)
        module = mgmt.module("m")
        mgmt.refused("POST", f"softwaremodules/{module}/artifacts", 429, "quota.fileSizeExceeded", files={"file": bytes(1_200_000)})
        mgmt.post(f"softwaremodules/{module}/artifacts", status=201, files={"file": bytes(1 << 20)})
        assert not os.listdir(server.state / "uploads")
    finally:
        server.stop()


# ---- sets ----

def test_sets(server, mgmt):
    os_module, app = mgmt.module("fw", files={"f": b"1"}), mgmt.module("app", kind="application")
    ds = mgmt.set("My set (1.5)", modules=[os_module], kind="os_app")
    got = mgmt.get(f"distributionsets/{ds}")
    assert (got["name"], got["version"], got["type"], got["complete"], got["locked"]) == ("My set (1.5)", "1.0", "os_app", True, False)
    assert [m["id"] for m in got["modules"]] == [os_module]
    mgmt.refused("POST", "distributionsets", 409, "repo.entityAlreadyExists", json=[{"name": "My set (1.5)", "version": "1.0", "type": "os"}])
    mgmt.refused("POST", "distributionsets", 400, "distributionset.modules.unsupported", json=[{"name": "x", "version": "1", "type": "os", "modules": [{"id": app}]}])
    mgmt.refused("POST", "distributionsets", 404, "repo.entityNotFound", json=[{"name": "x", "version": "1", "type": "os", "modules": [{"id": 999}]}])
    mgmt.post(f"distributionsets/{ds}/assignedSM", [{"id": app}])
    assert mgmt.get(f"distributionsets/{ds}/assignedSM", q="type==application")["total"] == 1
    mgmt.targets("t")
    mgmt.refused("POST", f"distributionsets/{ds}/assignedTargets", 400, "distributionset.incomplete", json=[{"id": "t"}])  # app has no file
    mgmt.call("DELETE", f"distributionsets/{ds}/assignedSM/{app}", 200)
    empty = mgmt.set("empty", kind="os")
    assert mgmt.get(f"distributionsets/{empty}")["complete"] is False
    mgmt.refused("POST", f"distributionsets/{empty}/assignedTargets", 400, "distributionset.incomplete", json=[{"id": "t"}])
    assert mgmt.get("distributionsets", q="complete==true")["total"] == 1 and mgmt.get("distributionsets", q="name==em*")["total"] == 1
    mgmt.call("PUT", f"distributionsets/{empty}", json={"name": "vacuum", "description": "nothing"})
    assert mgmt.get(f"distributionsets/{empty}")["name"] == "vacuum"
    mgmt.call("DELETE", f"distributionsets/{empty}", 200)
    mgmt.refused("GET", f"distributionsets/{empty}", 404, "repo.entityNotFound")
    assert mgmt.assign(ds, "t")["assigned"] == 1
    assert mgmt.get(f"distributionsets/{ds}")["locked"] is True and mgmt.get(f"softwaremodules/{os_module}")["locked"] is True
    mgmt.refused("POST", f"distributionsets/{ds}/assignedSM", 423, "locked", json=[{"id": app}])
    file = mgmt.get(f"softwaremodules/{os_module}/artifacts")[0]["id"]
    mgmt.refused("DELETE", f"softwaremodules/{os_module}/artifacts/{file}", 423, "locked")
    for path in (f"distributionsets/{ds}", f"softwaremodules/{os_module}"):  # used: hidden, and deleting again is no error
        mgmt.call("DELETE", path, 200)
        mgmt.call("DELETE", path, 200)
        assert mgmt.get(path)["deleted"] is True
    assert mgmt.get("distributionsets")["total"] == 0 and [m["id"] for m in mgmt.get("softwaremodules")["content"]] == [app]
    assert server.items("/releases") == []


def test_a_draft_is_a_release_once_it_is_rolled_out(server, mgmt):
    mgmt.targets("t")
    ds = mgmt.ready_set("Draft")
    name = server.items("/releases")[0]["name"]
    assert mgmt.get(f"distributionsets/{ds}")["locked"] is False
    server.post("/rollouts", {"name": "own", "release": name, "stages": [{"percent": 100}], "start": True})
    assert mgmt.get(f"distributionsets/{ds}")["locked"] is True
    assert wait(lambda: Target(mgmt, "t").offer(), "it is offered")["deployment"]["chunks"][0]["artifacts"][0]["filename"] == "fw.bin"


# ---- assignments and actions ----

def test_an_assignment_from_its_call_to_the_end(server, mgmt):
    mgmt.targets("a", "b")
    ds = mgmt.ready_set("one")
    reply = mgmt.assign(ds, "a", "nobody")
    assert (reply["assigned"], reply["alreadyAssigned"], reply["total"]) == (1, 0, 1) and len(reply["assignedActions"]) == 1
    action = reply["assignedActions"][0]["id"]
    assert action >= 11 and action % 10 != 0
    assert mgmt.assign(ds, "a") == {"assigned": 0, "alreadyAssigned": 1, "total": 1, "assignedActions": []}
    got = mgmt.get(f"targets/a/actions/{action}")
    assert (got["type"], got["status"], got["active"], got["forceType"]) == ("update", "running", True, "forced")
    mgmt.refused("GET", f"targets/b/actions/{action}", 404, "repo.entityNotFound")
    assert mgmt.get("targets/a")["updateStatus"] == "pending" and mgmt.get("targets/a/assignedDS")["id"] == ds
    device = Target(mgmt, "a")
    assert device.install() == action
    got = mgmt.get(f"targets/a/actions/{action}")
    assert (got["type"], got["status"], got["active"]) == ("update", "finished", False)
    status = mgmt.get(f"targets/a/actions/{action}/status", offset=0, limit=50, sort="id:DESC")
    assert status["content"][0]["type"] == "finished" and status["content"][0]["messages"][0] == "said by the device"
    assert mgmt.get(f"targets/a/actions/{action}/status", sort="id:ASC", limit=1)["content"][0]["type"] == "running"
    assert mgmt.get("targets/a/installedDS")["id"] == ds and mgmt.get("targets/a")["updateStatus"] == "in_sync"
    assert [t["controllerId"] for t in mgmt.get(f"distributionsets/{ds}/installedTargets")["content"]] == ["a"]
    assert [t["controllerId"] for t in mgmt.get(f"distributionsets/{ds}/assignedTargets")["content"]] == ["a"]
    rollout = wait(lambda: [r for r in server.items("/rollouts") if r["status"] == "finished"], "the rollout ends")[0]
    assert rollout["name"].startswith("assignment ") and [s["planned"] for s in rollout["stages"]] == [1]
    assert mgmt.get("rollouts")["total"] == 0 and mgmt.get("actions", q="active==false")["total"] == 1
    mgmt.refused("DELETE", f"targets/a/actions/{action}", 405, "action.notCancelable")


def test_a_failed_install_ends_its_assignment_and_nothing_else(server, mgmt):
    mgmt.targets("a", "b")
    ds = mgmt.ready_set("one")
    mgmt.assign(ds, "a", "b")
    action = Target(mgmt, "a").install("failure")
    assert mgmt.get(f"targets/a/actions/{action}")["status"] == "error" and mgmt.get("targets/a")["updateStatus"] == "error"
    mgmt.call("GET", "targets/a/assignedDS", 204)
    Target(mgmt, "b").install()
    wait(lambda: server.items("/rollouts")[0]["status"] == "finished", "the rollout ends")
    again = mgmt.assign(ds, "a")
    assert again["assigned"] == 1 and again["assignedActions"][0]["id"] != action


def test_a_later_assignment_takes_the_device(mgmt):
    mgmt.targets("a")
    first, second = mgmt.ready_set("one"), mgmt.ready_set("two", b"two")
    old = mgmt.assign(first, "a")["assignedActions"][0]["id"]
    reply = mgmt.post("targets/a/assignedDS", {"id": second, "type": "soft", "weight": 5})
    new = reply["assignedActions"][0]["id"]
    assert reply["assigned"] == 1 and mgmt.get(f"targets/a/actions/{new}")["forceType"] == "soft" and mgmt.get(f"targets/a/actions/{new}")["weight"] == 5
    assert mgmt.get(f"targets/a/actions/{old}")["type"] == "cancel" and mgmt.get("targets/a/assignedDS")["id"] == second
    mgmt.refused("PUT", f"targets/a/actions/{new}", 400, "repo.constraintViolation", json={"forceType": "forced"})  # docs/hawkbit.md, differences
    assert mgmt.get("targets/a/actions")["content"][0]["id"] == new
    mgmt.refused("POST", "targets/a/assignedDS", 400, "repo.constraintViolation", json=[{"id": first}, {"id": second}])
    mgmt.refused("POST", "targets/a/assignedDS", 404, "repo.entityNotFound", json={"id": 999})


def test_cancel_softly_and_by_force(mgmt):
    mgmt.targets("a")
    ds = mgmt.ready_set("one")
    action = mgmt.assign(ds, "a")["assignedActions"][0]["id"]
    mgmt.call("DELETE", f"targets/a/actions/{action}", 204)
    got = mgmt.get(f"targets/a/actions/{action}")
    assert (got["type"], got["status"], got["active"]) == ("cancel", "canceling", True)
    mgmt.refused("DELETE", f"targets/a/actions/{action}", 405, "action.notCancelable")
    mgmt.call("DELETE", f"targets/a/actions/{action}?force=true", 204)
    got = mgmt.get(f"targets/a/actions/{action}")
    assert (got["type"], got["status"], got["active"]) == ("cancel", "canceled", False)
    mgmt.refused("DELETE", f"targets/a/actions/{action}?force=true", 405, "action.notForceQuitable")


def test_how_an_assignment_is_delivered(mgmt):
    mgmt.targets("a", "b", "c", "d")
    ds = mgmt.ready_set("one")
    window = {"schedule": "0 0 0 ? 1 * 2099", "duration": "00:10:00", "timezone": "+02:00"}
    reply = mgmt.post(f"distributionsets/{ds}/assignedTargets", [
        {"id": "a", "type": "downloadonly"}, {"id": "b", "maintenanceWindow": window}, {"id": "c", "type": "timeforced", "forcetime": 4102444800000},
        {"id": "d", "confirmationRequired": True}])
    assert (reply["assigned"], len(reply["assignedActions"])) == (4, 4)
    by_target = {t: mgmt.get(f"targets/{t}/actions")["content"][0] for t in "abcd"}
    assert by_target["a"]["forceType"] == "downloadonly" and by_target["b"]["maintenanceWindow"]["schedule"] == window["schedule"]
    assert by_target["b"]["maintenanceWindow"]["nextStartAt"] > time.time() * 1000
    assert (by_target["c"]["forceType"], by_target["c"]["forceTime"]) == ("timeforced", 4102444800000)
    assert by_target["d"]["status"] == "wait_for_confirmation"
    mgmt.call("PUT", f"targets/d/actions/{by_target['d']['id']}/confirmation", 204, json={"confirmation": "confirmed"})
    assert mgmt.get(f"targets/d/actions/{by_target['d']['id']}")["status"] == "running"
    other = mgmt.ready_set("two", b"2")
    mgmt.refused("POST", f"distributionsets/{other}/assignedTargets", 400, "maintenanceScheduleInvalid",
                 json=[{"id": "a", "maintenanceWindow": {"schedule": "0 0 0 ? 1 * 2099"}}])
    mgmt.refused("POST", f"distributionsets/{other}/assignedTargets", 400, "maintenanceScheduleInvalid",
                 json=[{"id": "a", "maintenanceWindow": {**window, "schedule": "every day"}}])
    mgmt.refused("POST", f"distributionsets/{other}/assignedTargets", 400, "rest.body.notReadable", json=[{"id": "a", "type": "gently"}])
    assert mgmt.get("targets/a/autoConfirm")["active"] is False
    mgmt.post("targets/a/autoConfirm/activate", {"initiator": "me", "remark": "r"})
    assert mgmt.get("targets/a/autoConfirm")["initiator"] == "me"
    mgmt.refused("POST", "targets/a/autoConfirm/activate", 409, "repo.autoConfAlreadyActive", json={})
    mgmt.post("targets/a/autoConfirm/deactivate")


def test_many_targets_at_once(server, mgmt):
    ids = [f"device-{i:04}" for i in range(600)]
    mgmt.targets(*ids)
    reply = mgmt.assign(mgmt.ready_set("one"), *ids)
    assert (reply["assigned"], len(reply["assignedActions"])) == (600, 600)
    assert len({a["id"] for a in reply["assignedActions"]}) == 600
    assert mgmt.get("actions", limit=1)["total"] == 600 and len(server.items("/rollouts")) == 1


# ---- filters, tags, rollouts ----

def test_filters(server, mgmt):
    mgmt.targets("a1", "a2", "b1")
    made = mgmt.post("targetfilters", {"name": "All of A", "query": "controllerId==a*"}, 201)
    assert (made["name"], made["query"]) == ("All of A", "controllerId==a*") and made["autoAssignDistributionSet"] is None
    group = [g for g in server.items("/groups") if g["id"] == made["id"]][0]
    assert group["filter"] == "id==a*" and {d["id"] for d in server.items(f"/groups/{group['name']}/members")} == {"a1", "a2"}
    mgmt.refused("POST", "targetfilters", 409, "repo.entityAlreadyExists", json={"name": "All of A", "query": "id==x"})
    mgmt.refused("POST", "targetfilters", 400, "rest.param.rsqlInvalidField", json={"name": "x", "query": "nothing==x"})
    mgmt.call("PUT", f"targetfilters/{made['id']}", json={"name": "B", "query": "controllerId==b*"})
    got = mgmt.get(f"targetfilters/{made['id']}")
    assert (got["name"], got["query"]) == ("B", "controllerId==b*") and mgmt.get("targetfilters", q="name==B")["total"] == 1
    mgmt.call("DELETE", f"targetfilters/{made['id']}", 200)
    mgmt.refused("GET", f"targetfilters/{made['id']}", 404, "repo.entityNotFound")


def test_tags(server, mgmt):
    mgmt.targets("a", "b")
    server.post("/devices", {"id": "c", "hardware": "x", "tags": ["known"]})
    made = mgmt.post("targettags", [{"name": "Beta Testers", "description": "d", "colour": "#fff"}], 201)[0]
    assert {t["name"] for t in mgmt.get("targettags")["content"]} == {"Beta Testers", "known"}
    mgmt.post(f"targettags/{made['id']}/assigned", ["a", "b"])
    mgmt.call("DELETE", f"targettags/{made['id']}/assigned/b", 200)
    assert [t["controllerId"] for t in mgmt.get(f"targettags/{made['id']}/assigned")["content"]] == ["a"]
    assert [t["name"] for t in mgmt.get("targets/a/tags")] == ["Beta Testers"] and server.get("/devices/a")["tags"] == ["Beta-Testers"]
    mgmt.refused("POST", f"targettags/{made['id']}/assigned", 404, "repo.entityNotFound", json=["a", "nobody"])
    mgmt.refused("POST", "targettags", 409, "repo.entityAlreadyExists", json=[{"name": "known"}])
    mgmt.call("PUT", f"targettags/{made['id']}", json={"name": "Beta", "colour": "red"})
    assert mgmt.get(f"targettags/{made['id']}")["colour"] == "red"
    mgmt.call("DELETE", f"targettags/{made['id']}", 200)
    assert server.get("/devices/a")["tags"] == []


def test_rollouts(server, mgmt):
    mgmt.targets(*[f"r{i}" for i in range(8)])
    ds = mgmt.ready_set("one")
    body = {"name": "R", "targetFilterQuery": "controllerId==r*", "distributionSetId": ds, "type": "soft",
            "groups": [{"name": "first", "targetPercentage": 25}, {"name": "half", "targetPercentage": 50}, {"name": "rest", "targetPercentage": 100}],
            "successCondition": {"condition": "THRESHOLD", "expression": "50"}, "errorCondition": {"condition": "THRESHOLD", "expression": "80"},
            "errorAction": {"action": "PAUSE", "expression": ""}}
    made = mgmt.post("rollouts", body, 201)
    assert (made["status"], made["totalTargets"], made["totalGroups"], made["type"], made["distributionSetId"]) == ("ready", 8, 3, "soft", ds)
    groups = mgmt.get(f"rollouts/{made['id']}/deploygroups")["content"]
    assert [(g["name"], g["totalTargets"], g["status"]) for g in groups] == [("first", 2, "scheduled"), ("half", 3, "scheduled"), ("rest", 3, "scheduled")]
    assert groups[0]["successCondition"] == {"condition": "THRESHOLD", "expression": "50"} and groups[0]["errorCondition"]["expression"] == "80"
    mgmt.post(f"rollouts/{made['id']}/start", status=200)
    first = wait(lambda: mgmt.get(f"rollouts/{made['id']}/deploygroups/{groups[0]['id']}/targets")["content"], "the first group begins")
    assert len(first) == 2 and wait(lambda: mgmt.get(f"rollouts/{made['id']}")["totalTargetsPerStatus"]["running"] == 2, "two are told")
    Target(mgmt, first[0]["controllerId"]).install()  # half of the group is enough
    wait(lambda: mgmt.get(f"rollouts/{made['id']}/deploygroups")["content"][1]["status"] == "running", "the second group begins")
    mgmt.post(f"rollouts/{made['id']}/pause", status=200)
    assert mgmt.get(f"rollouts/{made['id']}")["status"] == "paused" and mgmt.get("rollouts", q="status==paused")["total"] == 1
    mgmt.post(f"rollouts/{made['id']}/resume", status=200)
    mgmt.refused("POST", f"rollouts/{made['id']}/approve", 400, "rollout.illegalState")
    mgmt.call("DELETE", f"rollouts/{made['id']}", 200)
    wait(lambda: mgmt.get(f"rollouts/{made['id']}")["status"] == "stopped", "it is stopped")
    mgmt.call("DELETE", f"rollouts/{made['id']}", 200)
    mgmt.refused("GET", f"rollouts/{made['id']}", 404, "repo.entityNotFound")
    assert mgmt.post("rollouts", {**body, "name": "even", "groups": None, "amountGroups": 4, "startAt": 0}, 201)["totalGroups"] == 4
    for change, code in (({"groups": [{"targetPercentage": 50}]}, "repo.constraintViolation"), ({"dynamic": True}, "repo.constraintViolation"),
                         ({"targetFilterQuery": "nothing==1"}, "rest.param.rsqlInvalidField"), ({"startAt": 4102444800000}, "repo.constraintViolation"),
                         ({"successAction": {"action": "PAUSE"}}, "repo.constraintViolation"), ({"name": None}, "repo.constraintViolation")):
        mgmt.refused("POST", "rollouts", 400, code, json={**body, **change})
    mgmt.refused("POST", "rollouts", 404, "repo.entityNotFound", json={**body, "distributionSetId": 999})


def test_rollouts_may_need_an_approval(server, mgmt):
    mgmt.targets("a")
    mgmt.call("PUT", "system/configs/rollout.approval.enabled", json={"value": True})
    made = mgmt.post("rollouts", {"name": "R", "targetFilterQuery": "id==a", "distributionSetId": mgmt.ready_set("one"), "amountGroups": 1}, 201)
    assert made["status"] == "waiting_for_approval"
    mgmt.refused("POST", f"rollouts/{made['id']}/approve", 400, "rollout.illegalState")  # by its author
    other = server.post("/tokens", {"name": "second", "kind": "api", "role": "operator"})["token"]
    Mgmt(server.url, ("x", other)).post(f"rollouts/{made['id']}/approve", status=200)
    assert mgmt.get(f"rollouts/{made['id']}")["status"] == "ready"


# ---- the document ----

def test_the_document_lists_what_is_served(server):
    """docs/hawkbit.md has a row for each route, and none besides."""
    import pathlib
    root = pathlib.Path(__file__).resolve().parents[2]
    routes = set()
    for source in (root / "src/api").glob("mgmt_*.c"):
        text = source.read_text()
        macros = dict(re.findall(r'^#define (\w+) (?=[\w"])(.+)$', text, re.M))

        def path(expression):
            for _ in range(5):
                expression = re.sub(r"\b[A-Z][A-Z_]*\b(?=[^\"]*(?:\"[^\"]*\"[^\"]*)*$)", lambda m: macros.get(m[0], m[0]), expression)
            expression = expression.replace("MGMT", '"/rest/v1"')
            return "".join(re.findall(r'"([^"]*)"', expression))
        for method, expression in re.findall(r'\.method = "(\w+)", \.path = ([^,]+),', text):
            routes.add((method, path(expression)))
        for expression in re.findall(r"\bREAD\(([^,]+), \"", text):
            routes.add(("GET", path(expression)))
        for method, expression in re.findall(r"\bCHANGE\(\"(\w+)\", ([^,]+), ", text):
            routes.add((method, path(expression)))
        for expression in re.findall(r"\bROW\((\"[^,]+), \"", text):
            routes.add(("GET", "/rest/v1" + path(expression)))
    routes = {r for r in routes if r[1].startswith("/rest/v1/")}
    documented = set(re.findall(r"^\| `(\w+)` \| `(/rest/v1[^`]*)` \|", (root / "docs/hawkbit.md").read_text(), re.M))
    assert len(routes) > 60
    assert documented - routes == set() and routes - documented == set()
    auth = ("admin", "admin")
    for method, path_ in sorted(routes):  # and each is there: no 404 of an unknown path, no 405
        url = server.url + re.sub(r"\{command\}", "start", re.sub(r"\{(target|key)\}", "x", re.sub(r"\{(?!command|target|key)\w+\}", "999", path_)))
        r = requests.request(method, url, auth=auth, timeout=20, json={} if method != "GET" else None)
        assert "there is nothing at this path" not in r.text and (r.status_code != 405 or "allowed here" not in r.text), (method, path_, r.text)
