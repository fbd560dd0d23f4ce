"""`make bench-poll`: processor time of a DDI device's poll, against a bare libmicrohttpd on libuv that gives a constant answer of the same size.

100,000 registered devices that are idle, polled at random by their tokens over 32 keep-alive connections with one request in flight each. Reference and
subject run by turns. What counts is requests at equal processor time: at least half of the reference's. Says also whether a poll asked the database.
"""
import argparse
import json
import pathlib
import sqlite3
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from bench.bench_http import Bare, load, run  # noqa: E402
from bench.measure import Table  # noqa: E402
from harness import Broker, Server  # noqa: E402
from harness.process import wait_for  # noqa: E402

LINES = 20000  # a request of registrations


def register(server, devices):
    for first in range(0, devices, LINES):
        lines = "\n".join(json.dumps({"id": f"dev-{i}", "hardware": "ddi", "protocol": "ddi", "token": "bench-token"})
                          for i in range(first, min(first + LINES, devices)))
        answer = server.session.post(server.url + "/api/v1/devices:bulk", data=lines, headers={"Content-Type": "application/x-ndjson"}, timeout=300)
        assert answer.status_code == 200 and answer.json()["created"] == min(LINES, devices - first), answer.text[:300]


def settle(server):
    """Everybody has told its attributes: the answer of a device that has nothing to do."""
    server.stop()
    with sqlite3.connect(server.state / "fleet.db") as db:
        db.execute("UPDATE device SET wants_attributes = 0")
    db.close()
    server.start(120)


def is_quiet(server):
    before = server.metrics()['aviary_commits_total{result="ok"}']
    time.sleep(2)
    return server.metrics()['aviary_commits_total{result="ok"}'] - before <= 4


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", default="build")
    parser.add_argument("--devices", type=int, default=100000)
    parser.add_argument("--requests", type=int, default=100000, help="a run")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--json")
    options = parser.parse_args()
    table = Table("poll", options.json)
    build = pathlib.Path(options.build).resolve()
    with tempfile.TemporaryDirectory() as folder:
        broker = Broker(pathlib.Path(folder) / "broker")
        server = Server(build, pathlib.Path(folder) / "server", broker.port, config={"ddi": {"busy_polls": 0}})
        bare = None
        try:
            register(server, options.devices)
            settle(server)
            token = "Authorization: TargetToken bench-token"
            path = "/DEFAULT/controller/v1/dev-%d"
            one = server.session.get(server.url + path % 7, headers={"Authorization": token.split(": ")[1]}, timeout=10)
            assert one.status_code == 200 and one.text == '{"config":{"polling":{"sleep":"00:05:00"}}}', one.text
            bare = Bare(build, one)
            load(build, server.port, path, 4 * options.devices, options.devices, token)  # everybody is there
            wait_for(lambda: is_quiet(server), 300, lambda: "their presence is written", 2)
            pairs, before = [], server.metrics()
            for n in range(options.runs + 1):
                reference = run(build, bare.pid, bare.port, path, options.requests, options.devices, token)
                subject = run(build, server.process.pid, server.port, path, options.requests, options.devices, token)
                if n > 0:  # the first warms
                    pairs.append((subject, reference))
            after = server.metrics()
            polls = after["aviary_ddi_polls_total"] - before["aviary_ddi_polls_total"]
            asked = after["aviary_ddi_refreshed_total"] - before["aviary_ddi_refreshed_total"]
            table.add("poll", "us CPU", [s[0] for s, _ in pairs], [r[0] for _, r in pairs], bar=2.0, note=f"{len(one.content)} bytes")
            table.add("polls at equal processor time", "1/cpu s", [1e6 / s[0] for s, _ in pairs], [1e6 / r[0] for _, r in pairs], bar=0.5, at_least=True)
            table.add("poll", "1/s", [s[1] for s, _ in pairs], [r[1] for _, r in pairs])
            table.add("polls that asked the database", "of all", [asked / polls], bar=0, note=f"{polls:.0f} polls")
        finally:
            if bare:
                bare.stop()
            server.stop()
            broker.stop()
    return table.close()


if __name__ == "__main__":
    started = time.monotonic()
    code = main()
    print(f"{time.monotonic() - started:.0f} s")
    sys.exit(code)
