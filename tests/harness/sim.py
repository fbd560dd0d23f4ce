"""aviary-sim: devices in one process."""
import json
import pathlib

from .process import Process, wait_for


class Sim:
    """options: command-line options without dashes, underscores for dashes; a list repeats the option, True is a flag."""

    def __init__(self, build, folder, server, devices, **options):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.status_path = self.folder / "sim.json"
        command = [pathlib.Path(build) / "aviary-sim", "--broker", f"127.0.0.1:{server.broker_port}", "--http", server.url,
                   "--devices", devices, "--status", self.status_path]
        for name, value in options.items():
            for one in value if isinstance(value, list) else [value]:
                command.append("--" + name.replace("_", "-"))
                if one is not True:
                    command.append(str(one))
        self.process = Process(command, self.folder / "sim.log")

    def status(self):
        try:
            return json.loads(self.status_path.read_text())
        except (FileNotFoundError, ValueError):
            return {}

    def wait_connected(self, count, timeout=60):
        def there():
            if not self.process.is_running():
                raise RuntimeError("aviary-sim ended:\n" + self.process.tail())
            return self.status().get("connected", 0) >= count
        wait_for(there, timeout, lambda: f"{count} simulated devices connected: {self.status()}\n" + self.process.tail(5))

    def stop(self):
        return self.process.stop()

    def kill9(self):
        return self.process.kill9()
