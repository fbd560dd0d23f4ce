"""The real agent over TLS: Mosquitto that asks for a client certificate, https of the daemon itself, and a proxy before it that asks for one."""
import datetime
import ipaddress
import json
import os
import socket
import ssl
import threading

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from harness import TINY_CAPABILITIES, tiny_model
from harness.process import Process, free_port, port_answers, wait_for
from harness.server import Server

BROKER_CONFIG = """\
listener {port} 127.0.0.1
allow_anonymous true
cafile {folder}/ca.pem
certfile {folder}/server.pem
keyfile {folder}/server.key
require_certificate true
use_identity_as_username true
log_type error
log_type warning
log_type notice
"""


class Authority:
    """A CA in a folder: name.pem and name.key for each certificate it gives."""

    def __init__(self, folder, name="ca"):
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.name = folder, name
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.certificate = self.make(name, self.key, None, x509.BasicConstraints(ca=True, path_length=0))

    def make(self, name, key, issuer, *extensions):
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        now = datetime.datetime.utcnow()
        builder = (x509.CertificateBuilder().subject_name(subject).issuer_name(issuer or subject).public_key(key.public_key())
                   .serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(1))
                   .not_valid_after(now + datetime.timedelta(30)))
        for extension in extensions:
            builder = builder.add_extension(extension, critical=False)
        certificate = builder.sign(self.key, hashes.SHA256())
        (self.folder / f"{name}.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        (self.folder / f"{name}.key").write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                                                                    serialization.NoEncryption()))
        return certificate

    def give(self, name):
        self.make(name, ec.generate_private_key(ec.SECP256R1()), self.certificate.subject,
                  x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]))


class Proxy:
    """Ends TLS, asks for a client certificate, and passes the bytes on: as a reverse proxy in front of the daemon."""

    def __init__(self, pki, port):
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(pki / "server.pem", pki / "server.key")
        self.context.load_verify_locations(pki / "ca.pem")
        self.context.verify_mode = ssl.CERT_REQUIRED
        self.behind = port
        self.names, self.refused = set(), 0
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                raw, _ = self.socket.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(raw,), daemon=True).start()

    def serve(self, raw):
        raw.settimeout(10)
        try:
            front = self.context.wrap_socket(raw, server_side=True)
        except (ssl.SSLError, OSError):
            self.refused += 1
            raw.close()
            return
        self.names |= {value for part in front.getpeercert()["subject"] for _, value in part}
        back = socket.create_connection(("127.0.0.1", self.behind), timeout=10)
        for source, sink in ((front, back), (back, front)):
            threading.Thread(target=self.pump, args=(source, sink), daemon=True).start()

    @staticmethod
    def pump(source, sink):
        try:
            while data := source.recv(65536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except (OSError, ssl.SSLError):
            pass

    def stop(self):
        self.socket.close()


@pytest.fixture
def pki(tmp_path):
    authority = Authority(tmp_path / "pki")
    for name in ("server", "daemon", "dev-1"):
        authority.give(name)
    Authority(tmp_path / "pki", "other").give("stranger")
    return tmp_path / "pki"


@pytest.fixture
def tls_broker(pki):
    port = free_port()
    config = BROKER_CONFIG.format(port=port, folder=pki) + ("user root\n" if os.geteuid() == 0 else "")
    (pki / "mosquitto.conf").write_text(config)
    process = Process(["/usr/sbin/mosquitto", "-c", pki / "mosquitto.conf"], pki / "mosquitto.log")
    process.port = port
    wait_for(lambda: port_answers(port), 10, lambda: process.tail())
    yield process
    process.stop()


@pytest.fixture
def server(build, tmp_path, pki, tls_broker):
    s = Server(build, tmp_path / "server", tls_broker.port, config={
        "http": {"listen_tls": "127.0.0.1:0", "tls_certificate": pki / "server.pem", "tls_key": pki / "server.key"},
        "devices": {"manifest_life": "30d"},
        "mqtt": {"tls_ca": pki / "ca.pem", "tls_certificate": pki / "daemon.pem", "tls_key": pki / "daemon.key"}})
    s.tls_port = int((s.folder / "ports").read_text().splitlines()[1].rsplit(":", 1)[1])
    s.add_model("kws")
    for version in ("1.0.0", "1.1.0"):
        s.add_version("kws", version, {"*": tiny_model(version, payload=100_000)})
        s.add_release(f"kws-{version}", {"kws": version})
    yield s
    s.stop()


@pytest.fixture
def start_agent(build, tmp_path, pki, server, tls_broker):
    agents = []
    token = server.enrolment_token()

    def start(*options, port=None):
        key = tmp_path / "key.json"
        key.write_bytes(server.session.get(server.url + "/device/v1/key", timeout=10).content)
        agents.append(Process([build / "aviary-agent", "--device", "dev-1", "--hardware", "linux", "--key", key, "--state-dir", tmp_path / "agent",
                               "--server", f"https://127.0.0.1:{port or server.tls_port}", "--broker-port", tls_broker.port, "--enrol-token", token,
                               "--factory-release", "kws-1.0.0", "--factory-models", "kws=1.0.0", "--factory-counter", "1", "--retry", "100ms",
                               "--capabilities", json.dumps(TINY_CAPABILITIES), "--log-level", "debug", *options], tmp_path / f"agent-{len(agents)}.log"))
        return agents[-1]
    yield start
    for agent in agents:
        agent.stop()


def trusting(pki, name="dev-1"):
    return ["--server-ca", pki / "ca.pem", "--broker-ca", pki / "ca.pem", "--client-certificate", pki / f"{name}.pem", "--client-key",
            pki / f"{name}.key"]


def roll_out(server):
    return server.rollout(name="kws 1.1.0", release="kws-1.1.0", start=True, stages=[{"percent": 100}], gates=[], soak_ms=200, timeout_ms=30000,
                          retries=0)["id"]


def is_enrolled(server):
    return server.request("GET", "/devices/dev-1").status_code == 200


def test_update_over_tls(server, start_agent, pki, tls_broker, tmp_path):
    agent = start_agent(*trusting(pki))
    wait_for(lambda: is_enrolled(server), 20, lambda: agent.tail() + tls_broker.tail())
    roll_out(server)
    wait_for(lambda: server.running() == {"kws-1.1.0": 1}, 30, lambda: agent.tail())
    manifest = json.loads((tmp_path / "agent/current/manifest.json").read_bytes())
    assert manifest["expires"] - manifest["created"] == 30 * 86400000
    assert "u'dev-1'" in tls_broker.log() and "u'daemon'" in tls_broker.log()  # the broker knows them by their certificates


def test_https_that_asks_for_a_certificate(server, start_agent, pki):
    proxy = Proxy(pki, server.port)
    try:
        agent = start_agent(*trusting(pki), port=proxy.port)
        wait_for(lambda: is_enrolled(server), 20, lambda: agent.tail())
        roll_out(server)
        wait_for(lambda: server.running() == {"kws-1.1.0": 1}, 30, lambda: agent.tail())
        assert proxy.names == {"dev-1"} and proxy.refused == 0
    finally:
        proxy.stop()


def test_broker_of_another_authority(server, start_agent, pki, tls_broker):
    agent = start_agent("--server-ca", pki / "ca.pem", "--broker-ca", pki / "other.pem")
    wait_for(lambda: "event=mqtt.disconnected" in agent.log(), 10, lambda: agent.tail())
    assert "certificate verify failed" in agent.log() and not is_enrolled(server)


def test_broker_refuses_a_stranger(server, start_agent, pki, tls_broker):
    agent = start_agent(*trusting(pki, "stranger"))
    wait_for(lambda: "event=mqtt.disconnected" in agent.log(), 10, lambda: agent.tail())
    wait_for(lambda: "certificate verify failed" in tls_broker.log(), 10, lambda: tls_broker.tail())
    assert not is_enrolled(server)


def test_server_of_another_authority(server, start_agent, pki):
    """Neither the document nor a file is taken from somebody who is not who he should be; what runs goes on."""
    agent = start_agent(*trusting(pki), "--server-ca", pki / "other.pem")
    wait_for(lambda: is_enrolled(server), 20, lambda: agent.tail())
    roll_out(server)
    wait_for(lambda: agent.log().count("event=http.failed") >= 2, 20, lambda: agent.tail())
    assert server.running() == {"kws-1.0.0": 1} and "certificate" in agent.log()


def test_certificate_without_key(start_agent, pki):
    agent = start_agent("--client-certificate", pki / "dev-1.pem")
    wait_for(lambda: not agent.is_running(), 10, lambda: agent.tail())
    assert "--client-certificate and --client-key go together" in agent.log()
