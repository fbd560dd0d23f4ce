"""aviaryd on a state directory of its own, and its REST API."""
import hashlib
import json
import pathlib
import time

import requests

from .process import Process, wait_for


class ApiError(AssertionError):
    def __init__(self, response):
        super().__init__(f"{response.request.method} {response.url}: {response.status_code} {response.text[:600]}")
        self.status = response.status_code
        try:
            self.problem = response.json()
        except ValueError:
            self.problem = {}


class Server:
    """config: extra settings as {"section": {"key": value}}."""

    def __init__(self, build, folder, broker_port, config=None, wrapper=(), start_timeout=30):
        self.program = pathlib.Path(build) / "aviaryd"
        self.folder = pathlib.Path(folder)
        self.state = self.folder / "state"
        self.state.mkdir(parents=True, exist_ok=True)
        self.broker_port = broker_port
        self.config = config or {}
        self.wrapper = list(wrapper)
        self.port = 0
        self.process = None
        self.session = None
        self.start(start_timeout)

    # ---- life ----
    def write_config(self):
        settings = {
            "http": {"listen": f"127.0.0.1:{self.port}"},
            "mqtt": {"host": "127.0.0.1", "port": self.broker_port},
        }
        for section, values in self.config.items():
            settings.setdefault(section, {}).update(values)
        text = "".join(f"[{s}]\n" + "".join(f"{k} = {v}\n" for k, v in values.items()) for s, values in settings.items())
        path = self.folder / "aviaryd.conf"
        path.write_text(text)
        return path

    def start(self, timeout=30):
        self.launch()
        self.wait_ready(timeout)

    def launch(self):
        """The process only: it may not listen yet, or never."""
        self.ports = self.folder / "ports"
        self.ports.unlink(missing_ok=True)
        command = self.wrapper + [self.program, "--config", self.write_config(), "--state-dir", self.state, "--port-file", self.ports]
        self.process = Process(command, self.folder / "aviaryd.log")

    def wait_ready(self, timeout=30):
        wait_for(lambda: self.ports.exists() or not self.process.is_running(), timeout, lambda: "aviaryd listens\n" + self.process.tail(),
                 interval=0.01)
        if not self.process.is_running():
            raise RuntimeError("aviaryd ended:\n" + self.process.tail())
        self.port = int(self.ports.read_text().split()[0].rsplit(":", 1)[-1])
        self.url = f"http://127.0.0.1:{self.port}"
        self.token = (self.state / "admin.token").read_text().strip()
        self.session = requests.Session()
        self.session.headers["Authorization"] = "Bearer " + self.token
        wait_for(lambda: self._is_ready(), timeout, lambda: "aviaryd is ready\n" + self.process.tail(), interval=0.02)

    def _is_ready(self):
        try:
            return self.session.get(self.url + "/readyz", timeout=5).status_code == 200
        except requests.RequestException:
            return False

    def stop(self):
        return self.process.stop() if self.process else 0

    def kill9(self):
        return self.process.kill9()

    def restart(self):
        self.stop()
        self.start()

    # ---- REST ----
    def request(self, method, path, body=None, **options):
        url = self.url + (path if path.startswith("/") and not path.startswith("/v") else path)
        if not path.startswith(("/api/", "/device/", "/metrics", "/healthz", "/readyz", "/openapi")):
            url = self.url + "/api/v1" + path
        options.setdefault("timeout", 60)
        if body is not None:
            options["json"] = body
        return self.session.request(method, url, **options)

    def call(self, method, path, body=None, **options):
        response = self.request(method, path, body, **options)
        if response.status_code >= 400:
            raise ApiError(response)
        return response.json() if response.content else None

    def get(self, path, **params):
        return self.call("GET", path, params=params or None)

    def post(self, path, body=None, **options):
        return self.call("POST", path, {} if body is None else body, **options)

    def items(self, path, **params):
        """All items of a list, page by page."""
        out, params = [], {"limit": 1000, **params}
        while True:
            page = self.call("GET", path, params=params)
            out += page["items"]
            if not page.get("next"):
                return out
            params["cursor"] = page["next"]

    # ---- whole deeds ----
    def enrolment_token(self, name="factory"):
        return self.post("/tokens", {"name": name, "kind": "enrolment", "role": "enrol"})["token"]

    def add_model(self, name, kind="model"):
        return self.post("/models", {"name": name, "kind": kind})

    def add_version(self, model, version, artifacts):
        """artifacts: {hardware: bytes}"""
        self.post(f"/models/{model}/versions", {"version": version})
        for hardware, data in artifacts.items():
            file_name = f"{model}-{version}-{'any' if hardware == '*' else hardware}.tflite"
            artifact = self.post(f"/models/{model}/versions/{version}/artifacts",
                                 {"hardware": hardware, "file_name": file_name, "size_bytes": len(data),
                                  "sha256": hashlib.sha256(data).hexdigest()})
            response = self.session.put(f"{self.url}/api/v1/artifacts/{artifact['id']}/content", data=data, timeout=60)
            if response.status_code >= 400:
                raise ApiError(response)

    def add_release(self, name, components, config=None):
        return self.post("/releases", {"name": name, "components": [{"model": m, "version": v} for m, v in components.items()],
                                       "config": config or {}})

    def rollout(self, **spec):
        return self.post("/rollouts", spec)

    def wait_rollout(self, rollout, statuses, timeout, on_change=None):
        """Waits for one of the statuses; on_change(rollout) is called with each change of status or stages."""
        seen = None
        end = time.monotonic() + timeout
        while True:
            state = self.get(f"/rollouts/{rollout}")
            key = json.dumps([state["status"], state["reason"], [(s["status"], s["verdict"]) for s in state["stages"]]])
            if key != seen and on_change:
                on_change(state)
            seen = key
            if state["status"] in statuses:
                return state
            if time.monotonic() > end:
                raise TimeoutError(f"rollout {rollout} is {state['status']} ({state['reason']}) after {timeout} s:\n"
                                   + json.dumps(state["stages"], indent=1)[:3000])
            time.sleep(0.2)

    def running(self, **params):
        """{release: number of devices that say they run it}"""
        counts = {}
        for device in self.items("/devices", **params):
            release = (device.get("running") or {}).get("release")
            counts[release] = counts.get(release, 0) + 1
        return counts

    def metrics(self):
        """{name{labels}: value}"""
        text = self.session.get(self.url + "/metrics", timeout=10).text
        return {line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line and not line.startswith("#")}
