"""The catalog over HTTP: uploads that are cut, killed, wrong; downloads in ranges; what is signed; what a device reaches."""
import base64
import hashlib
import http.client
import json
import random
import subprocess
import threading
import time

import pytest
import requests

from harness.process import wait_for

MIB = 1 << 20


def declare(server, data, version="1.0.0", hardware="*", model="kws"):
    if server.request("GET", f"/models/{model}").status_code == 404:
        server.add_model(model)
    if server.request("GET", f"/models/{model}/versions/{version}").status_code == 404:
        server.post(f"/models/{model}/versions", {"version": version})
    return server.post(f"/models/{model}/versions/{version}/artifacts",
                       {"hardware": hardware, "file_name": "größe 1.tflite", "size_bytes": len(data),
                        "sha256": hashlib.sha256(data).hexdigest()})["id"]


def put(server, artifact, data, first=None, total=None):
    headers = {} if first is None else {"Content-Range": f"bytes {first}-{first + len(data) - 1}/{total}"}
    return server.request("PUT", f"/artifacts/{artifact}/content", data=data, headers=headers)


def begin_put(server, artifact, data, send, first=0):
    """Sends `send` bytes of a longer body on a bare connection and leaves it there."""
    c = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    c.putrequest("PUT", f"/api/v1/artifacts/{artifact}/content")
    c.putheader("Authorization", "Bearer " + server.token)
    c.putheader("Content-Length", str(len(data) - first))
    c.putheader("Content-Range", f"bytes {first}-{len(data) - 1}/{len(data)}")
    c.endheaders()
    c.send(data[first:first + send])
    return c


def received(server, artifact):
    return server.get(f"/artifacts/{artifact}")["received_bytes"]


def wait_received(server, artifact, at_least, timeout=10):
    end = time.monotonic() + timeout
    while received(server, artifact) < at_least:
        assert time.monotonic() < end, "bytes that were sent did not arrive"
        time.sleep(0.02)


def test_upload_whole_and_download_in_ranges(server):
    data = random.Random(1).randbytes(300_000)
    artifact = declare(server, data)
    info = server.get(f"/artifacts/{artifact}")
    assert info["state"] == "uploading" and info["upload"] == f"/api/v1/artifacts/{artifact}/content" and "content" not in info
    assert server.request("GET", f"/artifacts/{artifact}/content").status_code == 404
    answer = put(server, artifact, data)
    assert answer.status_code == 200 and answer.json()["state"] == "ready"
    whole = server.request("GET", f"/artifacts/{artifact}/content")
    etag = '"' + hashlib.sha256(data).hexdigest() + '"'
    assert whole.content == data and whole.headers["ETag"] == etag
    assert "filename*=UTF-8''gr%C3%B6%C3%9Fe%201.tflite" in whole.headers["Content-Disposition"]
    for asked, start, end in (("0-0", 0, 1), ("1000-", 1000, None), ("-7", len(data) - 7, None), ("299999-999999", 299_999, None)):
        part = server.request("GET", f"/artifacts/{artifact}/content", headers={"Range": "bytes=" + asked})
        assert part.status_code == 206 and part.content == data[start:end]
    assert server.request("GET", f"/artifacts/{artifact}/content", headers={"Range": "bytes=300000-"}).status_code == 416
    assert server.request("GET", f"/artifacts/{artifact}/content", headers={"If-None-Match": etag}).status_code == 304
    head = server.request("HEAD", f"/artifacts/{artifact}/content")
    assert head.status_code == 200 and head.headers["Content-Length"] == "300000" and head.content == b""
    again = put(server, artifact, data)
    assert again.status_code == 409 and "never change" in again.json()["detail"]


def test_parts_and_offsets(server):
    data = random.Random(2).randbytes(100_000)
    artifact = declare(server, data)
    first = put(server, artifact, data[:40_000], 0, len(data))
    assert first.status_code == 200 and first.json()["state"] == "uploading" and first.json()["received_bytes"] == 40_000
    wrong = put(server, artifact, data[30_000:], 30_000, len(data))
    assert wrong.status_code == 416 and "40000" in wrong.json()["detail"]
    for header in ("bytes 40000-39999/100000", "bytes 40000-100000/100000", "bytes */x", "40000-", "bytes 40000-50000/100000"):
        answer = server.request("PUT", f"/artifacts/{artifact}/content", data=data[40_000:], headers={"Content-Range": header})
        assert answer.status_code == 400, header
    other_total = server.request("PUT", f"/artifacts/{artifact}/content", data=b"x", headers={"Content-Range": "bytes 40-40/99"})
    assert other_total.status_code == 422
    assert put(server, artifact, b"short").status_code == 422  # whole, but of another length
    assert received(server, artifact) == 40_000
    assert put(server, artifact, data[40_000:], 40_000, len(data)).json()["state"] == "ready"


def test_wrong_bytes_are_dropped_and_the_right_ones_taken(server):
    data = random.Random(3).randbytes(50_000)
    artifact = declare(server, data)
    answer = put(server, artifact, bytes(50_000))
    assert answer.status_code == 422 and "SHA-256" in answer.json()["detail"]
    info = server.get(f"/artifacts/{artifact}")
    assert info["state"] == "failed" and info["received_bytes"] == 0
    assert list((server.state / "uploads").iterdir()) == []
    assert put(server, artifact, data).json()["state"] == "ready"


def test_cut_upload_goes_on(server):
    data = random.Random(4).randbytes(5 * MIB)
    artifact = declare(server, data)
    connection = begin_put(server, artifact, data, 2 * MIB)
    wait_received(server, artifact, 2 * MIB)
    connection.close()
    at = received(server, artifact)
    assert at == 2 * MIB
    stuck = begin_put(server, artifact, data, MIB, first=at)  # a client that is gone without a sign
    wait_received(server, artifact, 3 * MIB)
    at = received(server, artifact)
    assert put(server, artifact, data[at:], at, len(data)).json()["state"] == "ready"
    stuck.close()
    assert server.request("GET", f"/artifacts/{artifact}/content").content == data


def test_memory_does_not_grow_with_an_upload(make_server):
    server = make_server(wrapper=["/usr/bin/env", "ASAN_OPTIONS=quarantine_size_mb=1"])  # a sanitizer would keep what was freed

    def peak():
        status = open(f"/proc/{server.process.pid}/status").read()
        return int(status.split("VmHWM:")[1].split()[0])
    small = random.Random(5).randbytes(MIB)
    put(server, declare(server, small), small)
    before = peak()
    data = small * 256
    artifact = declare(server, data, version="2.0.0")
    assert put(server, artifact, data).json()["state"] == "ready"
    hasher = hashlib.sha256()
    with server.request("GET", f"/artifacts/{artifact}/content", stream=True) as answer:
        for block in answer.iter_content(MIB):
            hasher.update(block)
    assert hasher.digest() == hashlib.sha256(data).digest()
    assert peak() - before < 8 * 1024, "KiB above the peak of a small upload"


def test_killed_at_random_moments_and_gone_on(make_server):
    server = make_server(config={"storage": {"upload_sync": "1MiB"}})
    data = random.Random(6).randbytes(48 * MIB)
    rng = random.Random(7)
    for round_number in range(6):
        artifact = declare(server, data, version=f"{round_number}.0.0")
        kills = 0
        while True:
            info = server.get(f"/artifacts/{artifact}")
            if info["state"] == "ready":
                break
            at = info["received_bytes"]
            sender = threading.Thread(target=send_quietly, args=(server, artifact, data, at))
            if kills < 3:
                killer = threading.Timer(rng.uniform(0.0, 0.35), server.kill9)
                killer.start()
                sender.start()
                killer.join()
                sender.join()
                server.start()
                kills += 1
            else:
                sender.start()
                sender.join()
        assert hashlib.sha256(server.request("GET", f"/artifacts/{artifact}/content").content).digest() == hashlib.sha256(data).digest()
        server.call("DELETE", f"/artifacts/{artifact}")
    assert list((server.state / "uploads").iterdir()) == []


def send_quietly(server, artifact, data, at):
    headers = {"Content-Range": f"bytes {at}-{len(data) - 1}/{len(data)}" if at < len(data) else f"bytes */{len(data)}",
               "Authorization": "Bearer " + server.token}
    try:
        requests.put(f"http://127.0.0.1:{server.port}/api/v1/artifacts/{artifact}/content", data=data[at:], headers=headers, timeout=30)
    except requests.RequestException:
        pass  # it was killed


def test_no_room_is_said_at_once(make_server):
    server = make_server(config={"storage": {"reserve": "1024GiB"}})
    artifact = declare(server, b"content")
    answer = put(server, artifact, b"content")
    assert answer.status_code == 503 and answer.json()["title"] == "storage is full"
    assert server.get("/models/kws")["name"] == "kws"  # everything else goes on


def test_versions_in_order_page_by_page(server):
    server.add_model("m")
    order = ["1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-alpha.beta", "1.0.0-beta.2", "1.0.0-beta.11", "1.0.0-rc.1", "1.0.0", "1.9.0", "1.10.0"]
    for version in random.Random(8).sample(order, len(order)):
        server.post("/models/m/versions", {"version": version})
    assert [v["version"] for v in server.items("/models/m/versions", limit=2)] == order[::-1]
    assert [v["version"] for v in server.items("/models/m/versions", limit=4, sort="version")] == order
    assert server.get("/models/m/versions", total="true", limit=1)["total"] == len(order)


@pytest.mark.parametrize("body,pointer", [
    ({"name": "../x"}, "/name"), ({"name": "a", "kind": "music"}, "/kind"), ({"name": 3}, "/name"), ({"name": "a", "nmae": 1}, "/nmae"), ({}, "/name"),
])
def test_bad_models(server, body, pointer):
    answer = server.request("POST", "/models", body)
    assert answer.status_code == 422 and answer.json()["pointer"] == pointer


def test_edit_needs_the_revision(server):
    server.add_model("m")
    assert server.request("PATCH", "/models/m", {"description": "x"}).status_code == 428
    assert server.request("PATCH", "/models/m", {"description": "x"}, headers={"If-Match": '"9"'}).status_code == 412
    etag = server.request("GET", "/models/m").headers["ETag"]
    answer = server.request("PATCH", "/models/m", {"description": "x"}, headers={"If-Match": etag})
    assert answer.status_code == 200 and answer.json()["description"] == "x" and answer.headers["ETag"] != etag


def verify_signature(folder, key, message, signature):
    """By OpenSSL's program, which knows nothing of ours."""
    (folder / "key.der").write_bytes(bytes.fromhex("302a300506032b6570032100") + key)  # RFC 8410: SubjectPublicKeyInfo of Ed25519
    (folder / "message").write_bytes(message)
    (folder / "signature").write_bytes(signature)
    done = subprocess.run(["openssl", "pkeyutl", "-verify", "-pubin", "-keyform", "DER", "-inkey", folder / "key.der", "-rawin",
                           "-in", folder / "message", "-sigfile", folder / "signature"], capture_output=True, timeout=20)
    return done.returncode == 0


def test_releases_are_signed_and_keep_what_they_hold(server, tmp_path):
    for name, kind in (("kws", "model"), ("boot", "firmware")):
        server.add_model(name, kind)
        server.add_version(name, "1.0.0", {"*": name.encode(), "esp32s3": name.encode() + b"-s3"})
    made = server.add_release("r1", {"kws": "1.0.0", "boot": "1.0.0"}, {"threshold": 0.5})
    assert made["counter"] == 1 and [c["model"] for c in made["components"]] == ["boot", "kws"]
    signed = server.get("/releases/r1/manifest")
    key = server.get("/device/v1/key")
    public = base64.b64decode(key["public_key"])
    assert key["alg"] == "ed25519" and key["key_id"] == signed["key_id"] == hashlib.sha256(public).hexdigest()[:16]
    manifest = base64.b64decode(signed["manifest"])
    signature = base64.b64decode(signed["signature"])
    assert verify_signature(tmp_path, public, b"aviary-manifest-v1\0" + manifest, signature)
    assert not verify_signature(tmp_path, public, manifest, signature)
    content = json.loads(manifest)
    assert content["release"] == "r1" and content["config"] == {"threshold": 0.5} and content["expires"] == 0
    kws = content["components"][1]
    assert kws["kind"] == "model" and {a["hardware"]: a["size_bytes"] for a in kws["artifacts"]} == {"*": 3, "esp32s3": 6}
    assert (server.state / "keys" / "release.key").stat().st_mode & 0o777 == 0o600
    artifact = server.items("/models/kws/versions/1.0.0/artifacts")[0]["id"]
    for path in (f"/artifacts/{artifact}", "/models/kws/versions/1.0.0", "/models/kws"):
        assert server.request("DELETE", path).status_code == 409
    assert server.request("DELETE", "/releases/r1").status_code == 204
    assert server.request("DELETE", f"/artifacts/{artifact}").status_code == 204


@pytest.mark.parametrize("components,status,pointer", [
    ([], 422, "/components"),
    ([{"model": "none", "version": "1.0.0"}], 422, "/components/0/model"),
    ([{"model": "kws", "version": "9.0.0"}], 422, "/components/0/version"),
    ([{"model": "kws", "version": "1.0.0"}, {"model": "kws", "version": "1.0.0"}], 422, "/components/1/model"),
    ([{"model": "kws", "version": "2.0.0"}], 409, "/components/0/version"),
])
def test_bad_releases(server, components, status, pointer):
    server.add_model("kws")
    server.add_version("kws", "1.0.0", {"*": b"one"})
    server.post("/models/kws/versions", {"version": "2.0.0"})  # nothing uploaded
    answer = server.request("POST", "/releases", {"name": "r", "components": components})
    assert answer.status_code == status and answer.json()["pointer"] == pointer
    assert server.request("GET", "/releases/r").status_code == 404


def test_a_device_reaches_only_its_own(server):
    for device in ("dev-1", "dev:2"):
        server.post("/devices", {"id": device, "hardware": "esp32s3"})
    secret = {d: server.post(f"/devices/{d}/credential")["secret"] for d in ("dev-1", "dev:2")}

    def ask(path, who=None, text=None, **headers):
        if who:
            text = f"{who}:{secret[who]}"
        if text:
            headers["Authorization"] = "Bearer " + text
        return requests.get(server.url + "/device/v1" + path, headers=headers, timeout=10)

    assert ask("/dev-1/desired").status_code == 401
    assert ask("/dev-1/desired", text="dev-1:" + "0" * 64).status_code == 401
    assert ask("/dev-1/desired", text=server.token).status_code == 401
    assert ask("/dev-1/desired", who="dev:2").status_code == 403
    assert ask("/dev-1/artifacts/" + "0" * 64, who="dev:2").status_code == 403
    for device in ("dev-1", "dev:2"):
        answer = ask(f"/{device}/desired", who=device)
        assert answer.status_code == 200 and answer.json()["device"] == device and "deployment" not in answer.json()
        assert ask(f"/{device}/desired", who=device, **{"If-None-Match": answer.headers["ETag"]}).status_code == 304
    server.add_model("kws")
    server.add_version("kws", "1.0.0", {"*": b"one"})
    sha256 = hashlib.sha256(b"one").hexdigest()
    assert ask(f"/dev-1/artifacts/{sha256}", who="dev-1").status_code == 404  # it exists, but is not for this device
    for path in (f"/dev-1/artifacts/..%2f..%2fkeys%2frelease.key", "/dev-1/artifacts/x"):
        assert ask(path, who="dev-1").status_code in (400, 404)


def test_a_device_gets_the_document_and_the_file_of_its_hardware(server):
    server.post("/devices", {"id": "dev-1", "hardware": "esp32s3"})
    secret = server.post("/devices/dev-1/credential")["secret"]
    head = {"Authorization": "Bearer dev-1:" + secret}
    files = {"*": b"for any", "esp32s3": random.Random(9).randbytes(70_000)}
    server.add_model("kws")
    server.add_version("kws", "1.0.0", files)
    server.add_release("r1", {"kws": "1.0.0"})
    before = requests.get(server.url + "/device/v1/dev-1/desired", headers=head, timeout=10)
    server.rollout(name="to one", release="r1", start=True, devices=["dev-1"], stages=[{"percent": 100}])

    def offered():
        answer = requests.get(server.url + "/device/v1/dev-1/desired", headers=head, timeout=10)
        return answer if "deployment" in answer.json() else None
    answer = wait_for(offered, 10, "the deployment is offered")
    assert answer.headers["ETag"] != before.headers["ETag"] and len(answer.content) < 65536
    document = answer.json()
    assert document["deployment"]["action"] == "install" and document["deployment"]["attempt"] == 1
    release = document["release"]
    manifest = json.loads(base64.b64decode(release["manifest"]))
    assert release["name"] == manifest["release"] == "r1" and release["counter"] == manifest["counter"]
    sha256 = hashlib.sha256(files["esp32s3"]).hexdigest()
    assert release["artifacts"] == [{"sha256": sha256, "size_bytes": 70_000, "url": f"/device/v1/dev-1/artifacts/{sha256}"}]
    url = server.url + release["artifacts"][0]["url"]
    assert requests.get(url, headers=head, timeout=10).content == files["esp32s3"]
    rest = requests.get(url, headers={**head, "Range": "bytes=60000-"}, timeout=10)
    assert rest.status_code == 206 and rest.content == files["esp32s3"][60_000:]
    assert requests.get(url, timeout=10).status_code == 401
    other = url.replace(sha256, hashlib.sha256(files["*"]).hexdigest())  # of the release, but not for this hardware
    assert requests.get(other, headers=head, timeout=10).status_code == 404
    assert server.request("DELETE", "/releases/r1").status_code == 409  # a rollout names it
