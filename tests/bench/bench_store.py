"""`make bench-store`: `POST /api/v1/devices` with a durable answer over 32 connections, against SQLite writing the same rows.

The reference (tests/bench/store_bare.c) writes to a copy of the same database, on the same file system: once with a commit a batch of 32, once with one
a write. Writes a second, by turns.
"""
import argparse
import pathlib
import sqlite3
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from bench.bench_http import load  # noqa: E402
from bench.fleet import Fleet  # noqa: E402
from bench.measure import Table, cpu_s  # noqa: E402


def copy(database, path):
    with sqlite3.connect(database) as source, sqlite3.connect(path) as target:
        source.backup(target)
    source.close()
    target.close()


def bare(build, database, writes, batch):
    return float(subprocess.run([build / "bench" / "store_bare", database, str(writes), str(batch)], check=True, capture_output=True, text=True).stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", default="build")
    parser.add_argument("--devices", type=int, default=100000, help="that are there already")
    parser.add_argument("--writes", type=int, default=10000, help="a run")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--fleet", help="where the seeded fleet is kept between runs")
    parser.add_argument("--json")
    options = parser.parse_args()
    table = Table("store", options.json)
    build = pathlib.Path(options.build).resolve()
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        fleet = Fleet(build, folder, options.devices, options.fleet)
        server = fleet.server
        token = "Authorization: Bearer " + server.token
        database = folder / "bare.db"
        copy(server.state / "fleet.db", database)
        rows = []
        try:
            for n in range(options.runs + 1):
                batched = bare(build, database, options.writes, 32)
                single = bare(build, database, max(200, options.writes // 20), 1)
                body = '{"id":"new-%d-%%d","hardware":"esp32","attributes":{"region":"eu"},"tags":["bench"]}' % n
                cpu = cpu_s(server.process.pid)
                done = load(build, server.port, "/api/v1/devices", options.writes, 0, token, body=body)
                assert done["other"] == 0, done
                used = (cpu_s(server.process.pid) - cpu) / options.writes * 1e6
                if n > 0:  # the first warms
                    rows.append((options.writes / done["seconds"], batched, single, used, done["p99_us"] / 1000))
                time.sleep(0.5)
            column = list(zip(*rows))
            table.add("POST of a device, against one commit for 32", "1/s", column[0], column[1], bar=0.5, at_least=True)
            table.add("POST of a device, against one commit for each", "1/s", column[0], column[2], bar=6, at_least=True)
            table.add("POST of a device", "us CPU", column[3])
            table.add("POST of a device, p99", "ms", column[4])
        finally:
            fleet.stop()
    return table.close()


if __name__ == "__main__":
    sys.exit(main())
