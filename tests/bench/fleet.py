"""A seeded fleet (tests/bench/seed_fleet.c) behind a real broker and the real daemon, on free loopback ports."""
import pathlib
import subprocess
import time

from harness import Broker, Server
from .measure import rss_bytes


class Fleet:
    """`kept`: a folder where the seeded state stays between runs; NULL: none."""

    def __init__(self, build, folder, devices, kept=None, config=None):
        self.devices = devices
        state = folder / "server" / "state"
        state.parent.mkdir(parents=True)
        self._seed(build, state, kept and pathlib.Path(kept))
        self.broker = Broker(folder / "broker")
        began = time.monotonic()
        self.server = Server(build, folder / "server", self.broker.port, start_timeout=180,
                             config=config or {"limits": {"reports_per_second": 0, "commands_per_second": 0}})
        self.pid = self.server.process.pid
        self.ready_s = time.monotonic() - began
        print(f"{devices} devices; ready after {self.ready_s:.1f} s, {self.resident():.0f} bytes resident a device", flush=True)

    def _seed(self, build, state, kept):
        if kept and kept.exists():
            subprocess.run(["cp", "-a", "--reflink=auto", kept, state], check=True)
            return
        done = subprocess.run([build / "bench" / "seed_fleet", state, str(self.devices)], check=True, capture_output=True, text=True)
        print(done.stdout.strip(), flush=True)
        if kept:
            subprocess.run(["cp", "-a", "--reflink=auto", state, kept], check=True)

    def resident(self):
        return rss_bytes(self.pid) / self.devices

    def stop(self):
        self.server.stop()
        self.broker.stop()
