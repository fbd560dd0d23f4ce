"""`make bench-http`: processor time of REST requests, against a bare libmicrohttpd on libuv that gives a constant answer of the same size.

GET of one device (bearer token, random devices), 32 connections with one request in flight each. Reference and subject run by turns, at the same
number of requests a second. A page of 100 devices by an indexed filter is held against SQLite reading the same rows (tests/bench/list_bare.c).
"""
import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from bench.fleet import Fleet  # noqa: E402
from bench.measure import Table, cpu_s  # noqa: E402


class Bare:
    """A constant answer, as long and with as many headers as the subject's."""

    def __init__(self, build, response):
        skipped = ("content-length", "content-type", "connection", "date", "keep-alive")
        headers = [x for name, value in response.headers.items() if name.lower() not in skipped for x in (name, value)]
        self.child = subprocess.Popen([build / "bench" / "http_bare", str(len(response.content)), *headers], stdout=subprocess.PIPE, text=True)
        self.port = int(self.child.stdout.readline())
        self.pid = self.child.pid

    def stop(self):
        self.child.terminate()
        self.child.wait()


def load(build, port, path, requests, ids, *headers, connections=32, per_second=0, look_us=0, body=None):
    command = [build / "bench" / "http_load", str(port), path, str(requests), str(connections), str(ids), str(per_second), *headers]
    extra = {"LOOK_US": str(look_us), **({"POST": body} if body else {})}
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True, env={**os.environ, **extra}).stdout)


def run(build, pid, port, path, requests, ids, *headers, **how):
    """(microseconds of processor time a request, requests a second)"""
    before = cpu_s(pid)
    done = load(build, port, path, requests, ids, *headers, **how)
    assert done["other"] == 0, done
    used = cpu_s(pid) - before
    time.sleep(0.2)
    return used / requests * 1e6, requests / done["seconds"]


def list_bare(build, database, pages, ids):
    """Microseconds of processor time a page."""
    command = [build / "bench" / "list_bare", database, str(pages), str(ids)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[0])


def get_device(o, table, build, server, bare, token):
    path, how = "/api/v1/devices/dev-%d", {"per_second": o.rate, "look_us": 500}
    steady, fast = [], []
    for n in range(o.runs + 1):
        for pairs, options in ((steady, how), (fast, {})):
            reference = run(build, bare.pid, bare.port, path, o.requests, o.devices, **options)
            subject = run(build, server.process.pid, server.port, path, o.requests, o.devices, token, **options)
            if n > 0:  # the first warms
                pairs.append((subject, reference))
    table.add(f"GET of one device, {o.rate} a second", "us CPU", [s[0] for s, _ in steady], [r[0] for _, r in steady], bar=1.6)
    table.add("GET of one device, as fast as it goes", "us CPU", [s[0] for s, _ in fast], [r[0] for _, r in fast])
    table.add("GET of one device, as fast as it goes", "1/s", [s[1] for s, _ in fast], [r[1] for _, r in fast])


def list_page(o, table, build, server, token):
    path, pairs = "/api/v1/devices?filter=id=ge=dev-%d&sort=id&limit=100", []
    one = server.get("/devices", filter="id=ge=dev-7", sort="id", limit=100)
    assert len(one["items"]) == min(100, o.devices), one
    for n in range(o.runs + 1):
        reference = list_bare(build, server.state / "fleet.db", o.pages, o.devices - 200)
        subject = run(build, server.process.pid, server.port, path, o.pages, o.devices - 200, token)[0]
        if n > 0:
            pairs.append((subject, reference))
    table.add("list page of 100 devices", "us CPU", [s for s, _ in pairs], [r for _, r in pairs], bar=2.0)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", default="build")
    parser.add_argument("--devices", type=int, default=1000000)
    parser.add_argument("--requests", type=int, default=50000, help="a run")
    parser.add_argument("--rate", type=int, default=10000, help="requests a second of the steady runs")
    parser.add_argument("--pages", type=int, default=3000, help="a run")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--fleet", help="where the seeded fleet is kept between runs")
    parser.add_argument("--json")
    options = parser.parse_args()
    table = Table("http", options.json)
    build = pathlib.Path(options.build).resolve()
    with tempfile.TemporaryDirectory() as folder:
        fleet = Fleet(build, pathlib.Path(folder), options.devices, options.fleet)
        server = fleet.server
        token = "Authorization: Bearer " + server.token
        bare = Bare(build, server.request("GET", "/devices/dev-7"))
        try:
            get_device(options, table, build, server, bare, token)
            list_page(options, table, build, server, token)
        finally:
            bare.stop()
            fleet.stop()
    return table.close()


if __name__ == "__main__":
    sys.exit(main())
