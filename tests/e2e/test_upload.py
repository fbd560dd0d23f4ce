"""A gigabyte in constant memory, cut on its way in and killed on its way in, and out again in pieces."""
import hashlib
import http.client
import os
import shutil
import threading
import time

import pytest
import requests

from harness.process import wait_for

MIB = 1 << 20
GIB = 1 << 30
BLOCK = hashlib.sha256(b"aviary").digest() * (MIB // 32)  # one block that is repeated: nothing of the body is kept here either


def digest(size):
    sha = hashlib.sha256()
    for _ in range(size // MIB):
        sha.update(BLOCK)
    return sha.hexdigest()


def declare(server, size, sha256, version):
    if server.request("GET", "/models/big").status_code == 404:
        server.add_model("big")
    server.post("/models/big/versions", {"version": version})
    return server.post(f"/models/big/versions/{version}/artifacts",
                       {"hardware": "*", "file_name": "big.tflite", "size_bytes": size, "sha256": sha256})["id"]


def resident_kib(server):
    with open(f"/proc/{server.process.pid}/status") as status:
        fields = dict(line.split(":", 1) for line in status)
    return int(fields["VmRSS"].split()[0])


class Watch(threading.Thread):
    """The largest resident size of the daemon while something happens."""

    def __init__(self, server):
        super().__init__(daemon=True)
        self.server, self.peak, self.is_over = server, 0, threading.Event()
        self.start()

    def run(self):
        while not self.is_over.wait(0.02):
            try:
                self.peak = max(self.peak, resident_kib(self.server))
            except (OSError, KeyError):
                return

    def end(self):
        self.is_over.set()
        self.join()
        return self.peak


def send_from(server, artifact, size, first, stop_at=None, on_bytes=None):
    """PUT of bytes [first, size) block by block; hangs up without a word after `stop_at`. Returns the response, or None where it was cut."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    connection.putrequest("PUT", f"/api/v1/artifacts/{artifact}/content")
    connection.putheader("Authorization", "Bearer " + server.token)
    connection.putheader("Content-Length", str(size - first))
    connection.putheader("Content-Range", f"bytes {first}-{size - 1}/{size}")
    connection.endheaders()
    at = first
    try:
        while at < (stop_at or size):
            piece = BLOCK[at % MIB:][:size - at]
            connection.send(piece)
            at += len(piece)
            if on_bytes:
                on_bytes(at)
        if stop_at:
            return None
        response = connection.getresponse()
        response.body = response.read()
        return response
    except OSError:
        return None
    finally:
        connection.close()


def received(server, artifact):
    return server.get(f"/artifacts/{artifact}")["received_bytes"]


def settled(server, artifact):
    """received_bytes once it does not grow any more: the bytes of a cut connection are still being read."""
    last = [-1]

    def quiet():
        now = received(server, artifact)
        last[0], before = now, last[0]
        return now == before
    wait_for(quiet, 20, "the rest of the cut upload is taken", interval=0.2)
    return last[0]


def test_a_gigabyte_in_constant_memory_cut_killed_and_downloaded(server, tmp_path, tell):
    if shutil.disk_usage(tmp_path).free < 3 * GIB:
        pytest.skip("SKIP: less than 3 GiB free")
    sha256, started = digest(GIB), time.monotonic()
    small = declare(server, MIB, digest(MIB), "0.1.0")
    assert send_from(server, small, MIB, 0).status == 200
    artifact = declare(server, GIB, sha256, "1.0.0")
    before = resident_kib(server)

    watch = Watch(server)
    assert send_from(server, artifact, GIB, 0, stop_at=200 * MIB) is None  # the line is cut
    at = settled(server, artifact)
    assert 0 < at <= 200 * MIB
    killer = threading.Event()

    def kill_at(sent):
        if sent > 600 * MIB and not killer.is_set():
            killer.set()
            server.kill9()
    growth = [watch.peak - before]
    assert send_from(server, artifact, GIB, at, on_bytes=kill_at) is None  # the daemon is killed
    growth.append(watch.end() - before)
    server.start()
    resumed = received(server, artifact)
    assert at <= resumed <= 601 * MIB + MIB

    before, watch = resident_kib(server), Watch(server)
    response = send_from(server, artifact, GIB, resumed)
    assert response.status == 200 and b'"ready"' in response.body
    growth.append(watch.end() - before)
    uploaded = time.monotonic() - started

    before, watch, sha = resident_kib(server), Watch(server), hashlib.sha256()
    with server.request("GET", f"/artifacts/{artifact}/content", stream=True) as download:
        assert download.status_code == 200 and int(download.headers["Content-Length"]) == GIB
        for piece in download.iter_content(MIB):
            sha.update(piece)
    growth.append(watch.end() - before)
    assert sha.hexdigest() == sha256
    tell(f"1 GiB: cut at {at // MIB} MiB, killed, resumed at {resumed // MIB} MiB, up in {uploaded:.1f} s; "
         f"the daemon grew by at most {max(growth)} KiB")
    assert max(growth) < 32 * 1024
    blob = server.state / "blobs" / sha256[:2] / sha256
    assert blob.stat().st_size == GIB and list((server.state / "uploads").iterdir()) == []

    # What a device with a bad line does: pieces, and nothing where it has all.
    etag = f'"{sha256}"'
    tail = server.request("GET", f"/artifacts/{artifact}/content", headers={"Range": f"bytes={GIB - 5}-"})
    assert tail.status_code == 206 and tail.content == BLOCK[-5:] and tail.headers["Content-Range"] == f"bytes {GIB - 5}-{GIB - 1}/{GIB}"
    middle = server.request("GET", f"/artifacts/{artifact}/content", headers={"Range": f"bytes={700 * MIB + 3}-{700 * MIB + 12}"})
    assert middle.status_code == 206 and middle.content == BLOCK[3:13]
    assert server.request("GET", f"/artifacts/{artifact}/content", headers={"If-None-Match": etag}).status_code == 304
    assert server.request("GET", f"/artifacts/{artifact}/content", headers={"If-None-Match": "W/" + etag}).status_code == 304
    changed = server.request("GET", f"/artifacts/{artifact}/content", headers={"Range": "bytes=5-6", "If-Range": '"something else"'}, stream=True)
    assert changed.status_code == 200  # the piece would be one of another file
    changed.close()


def test_wrong_bytes_leave_nothing(server):
    artifact = declare(server, 4 * MIB, digest(5 * MIB), "1.0.0")
    response = send_from(server, artifact, 4 * MIB, 0)
    assert response.status == 422 and b"SHA-256" in response.body
    assert response.headers["Content-Type"] == "application/problem+json"
    assert server.get(f"/artifacts/{artifact}")["state"] == "failed"
    assert [p for p in (server.state / "blobs").rglob("*") if p.is_file()] == []
    assert list((server.state / "uploads").iterdir()) == []
    assert server.request("GET", f"/artifacts/{artifact}/content").status_code == 404


def test_uploads_side_by_side_do_not_hinder_the_rest(server):
    """Eight slow clients in the middle of their bodies: requests are answered meanwhile, and each upload lands whole."""
    size, count = 8 * MIB, 8
    sha256 = digest(size)
    artifacts = [declare(server, size, sha256, f"{n}.0.0") for n in range(count)]
    slowest, results = [0.0], {}

    def send(artifact):
        results[artifact] = send_from(server, artifact, size, 0, on_bytes=lambda at: time.sleep(0.05))
    threads = [threading.Thread(target=send, args=(a,)) for a in artifacts]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        begin = time.monotonic()
        assert server.request("GET", "/models/big").status_code == 200
        slowest[0] = max(slowest[0], time.monotonic() - begin)
        time.sleep(0.01)
    assert all(results[a].status == 200 for a in artifacts)
    assert slowest[0] < 2
    assert len([p for p in (server.state / "blobs").rglob("*") if p.is_file()]) == 1  # the same bytes are kept once


def test_hostile_names_and_ranges(server):
    server.add_model("big")
    server.post("/models/big/versions", {"version": "1.0.0"})
    url = "/models/big/versions/1.0.0/artifacts"
    good = {"hardware": "*", "file_name": "a.tflite", "size_bytes": 10, "sha256": hashlib.sha256(b"0123456789").hexdigest()}
    for change, pointer in (({"file_name": "../../etc/passwd"}, "/file_name"), ({"file_name": "a/b"}, "/file_name"), ({"file_name": ".."}, "/file_name"),
                            ({"file_name": "a\nb"}, "/file_name"), ({"file_name": ""}, "/file_name"), ({"hardware": "../x"}, "/hardware"),
                            ({"sha256": "../" + "0" * 61}, "/sha256"), ({"sha256": "00"}, "/sha256"), ({"size_bytes": 0}, "/size_bytes"),
                            ({"size_bytes": -1}, "/size_bytes"), ({"size_bytes": 1 << 60}, "/size_bytes"), ({"size_bytes": 1.5}, "/size_bytes"),
                            ({"path": "x"}, "/path")):
        response = server.request("POST", url, {**good, **change})
        assert response.status_code == 422 and response.json()["pointer"] == pointer, (change, response.text)
    artifact = server.post(url, good)["id"]
    assert server.request("PUT", f"/artifacts/{artifact}/content", data=b"0123456789").status_code == 200
    for asked, status in (("bytes=10-", 416), ("bytes=5-4", 200), ("bytes=-0", 416), ("lines=1-2", 200), ("bytes=a-b", 200), ("bytes=0-0", 206),
                          ("bytes=99999999999999999999-", 416)):
        response = server.request("GET", f"/artifacts/{artifact}/content", headers={"Range": asked})
        assert response.status_code == status, (asked, response.status_code)
    for path in ("/artifacts/..%2f..%2fkeys%2frelease.key/content", "/artifacts/%2e%2e/content", "/artifacts/1%00/content", "/artifacts/-1/content",
                 "/artifacts/99999999999999999999/content"):
        response = requests.get(server.url + "/api/v1" + path, headers={"Authorization": "Bearer " + server.token}, timeout=10)
        assert response.status_code in (400, 404), (path, response.status_code)
        assert os.fsencode("-----") not in response.content
