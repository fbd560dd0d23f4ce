"""`make bench-artifact`: processor time for a gigabyte of artifacts, 4 clients, against nginx with sendfile. Files of 5 MB and of 200 MB, by turns."""
import argparse
import os
import pathlib
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from bench.bench_http import load  # noqa: E402
from bench.measure import Table, cpu_s  # noqa: E402
from harness import Broker, Server  # noqa: E402
from harness.process import Process, free_port, port_answers, wait_for  # noqa: E402

NGINX = "/usr/sbin/nginx"
CONFIG = """\
worker_processes 1;
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 256; }}
http {{
  access_log off;
  sendfile on;
  tcp_nopush on;
  keepalive_requests 1000000;
  client_body_temp_path {folder}/a; proxy_temp_path {folder}/b; fastcgi_temp_path {folder}/c; uwsgi_temp_path {folder}/d; scgi_temp_path {folder}/e;
  server {{ listen 127.0.0.1:{port}; root {folder}/files; }}
}}
"""


class Nginx:
    def __init__(self, folder):
        self.port = free_port()
        (folder / "files").mkdir(parents=True)
        (folder / "nginx.conf").write_text(CONFIG.format(folder=folder, port=self.port) + ("user root;\n" if os.geteuid() == 0 else ""))
        self.process = Process([NGINX, "-p", folder, "-c", folder / "nginx.conf"], folder / "nginx.log")
        wait_for(lambda: port_answers(self.port), 10, lambda: "nginx listens\n" + self.process.tail())

    def pids(self):
        """Master and worker."""
        return [self.process.pid] + [int(p) for p in subprocess.run(["pgrep", "-P", str(self.process.pid)], capture_output=True, text=True, check=False).stdout.split()]

    def stop(self):
        self.process.stop()


def run(build, pids, port, path, requests, *headers):
    """Seconds of processor time a gigabyte."""
    before = sum(cpu_s(p) for p in pids)
    done = load(build, port, path, requests, 0, *headers, connections=4)
    assert done["other"] == 0, done
    used = sum(cpu_s(p) for p in pids) - before
    time.sleep(0.2)
    return used / done["bytes"] * 1e9


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", default="build")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--gigabytes", type=float, default=2.0, help="a run")
    parser.add_argument("--json")
    options = parser.parse_args()
    if not pathlib.Path(NGINX).exists():
        print(f"SKIP: {NGINX} is absent (package nginx-light)")
        return 0
    table = Table("artifact", options.json)
    build = pathlib.Path(options.build).resolve()
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        broker = Broker(folder / "broker")
        server = Server(build, folder / "server", broker.port)
        nginx = Nginx(folder / "nginx")
        token = "Authorization: Bearer " + server.token
        server.add_model("blob", "firmware")
        try:
            for n, megabytes in enumerate((5, 200)):
                data = os.urandom(1 << 20) * megabytes
                (folder / "nginx" / "files" / f"f{n}").write_bytes(data)
                server.add_version("blob", f"1.0.{n}", {"*": data})
                artifact = server.items(f"/models/blob/versions/1.0.{n}/artifacts")[0]["id"]
                path = f"/api/v1/artifacts/{artifact}/content"
                requests = max(4, int(options.gigabytes * 1000 / megabytes))
                pairs = []
                for k in range(options.runs + 1):
                    reference = run(build, nginx.pids(), nginx.port, f"/f{n}", requests)
                    subject = run(build, [server.process.pid], server.port, path, requests, token)
                    if k > 0:
                        pairs.append((subject, reference))
                table.add(f"artifact of {megabytes} MB, 4 clients", "s CPU/GB", [s for s, _ in pairs], [r for _, r in pairs], bar=1.1)
        finally:
            nginx.stop()
            server.stop()
            broker.stop()
    return table.close()


if __name__ == "__main__":
    sys.exit(main())
