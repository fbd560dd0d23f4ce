"""`make bench-http`: processor time of REST requests, against a bare libmicrohttpd on libuv that gives a constant answer of the same size.

GET of one device (1 KB or so of JSON, bearer token, random devices), 32 connections with one request in flight each. Reference and subject run by turns.
"""
import argparse
import json
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


def load(build, port, path, requests, ids, *headers, connections=32, per_second=0):
    command = [build / "bench" / "http_load", str(port), path, str(requests), str(connections), str(ids), str(per_second), *headers]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def run(build, pid, port, path, requests, ids, *headers):
    """(microseconds of processor time a request, requests a second)"""
    before = cpu_s(pid)
    done = load(build, port, path, requests, ids, *headers)
    assert done["other"] == 0, done
    used = cpu_s(pid) - before
    time.sleep(0.2)
    return used / requests * 1e6, requests / done["seconds"]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", default="build")
    parser.add_argument("--devices", type=int, default=1000000)
    parser.add_argument("--requests", type=int, default=50000, help="a run")
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
        path = "/api/v1/devices/dev-%d"
        bare = Bare(build, server.request("GET", "/devices/dev-7"))
        try:
            pairs = []
            for n in range(options.runs + 1):
                reference = run(build, bare.pid, bare.port, path, options.requests, options.devices)
                subject = run(build, server.process.pid, server.port, path, options.requests, options.devices, token)
                if n > 0:  # the first warms
                    pairs.append((subject, reference))
            table.add("GET of one device", "us CPU", [s[0] for s, _ in pairs], [r[0] for _, r in pairs], bar=1.6)
            table.add("GET of one device", "1/s", [s[1] for s, _ in pairs], [r[1] for _, r in pairs])
        finally:
            bare.stop()
            fleet.stop()
    return table.close()


if __name__ == "__main__":
    sys.exit(main())
