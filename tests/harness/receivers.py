"""Receivers of notifications: an HTTP(S) server that answers as it is told, a small SMTP server, Debian's Alertmanager."""
import asyncio
import base64
import hashlib
import hmac
import http.server
import json
import pathlib
import ssl
import subprocess
import threading
import time

import requests

from .process import Process, free_port, port_answers, wait_for


def make_ca(folder):
    """(ca.pem, chain with key of localhost and 127.0.0.1), made by openssl."""
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)

    def openssl(*args):
        subprocess.run(["openssl", *map(str, args)], check=True, capture_output=True)
    ca, ca_key, key, request, cert, extra = (folder / n for n in ("ca.pem", "ca.key", "key.pem", "request.pem", "cert.pem", "extra.cnf"))
    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", ca_key, "-out", ca, "-days", "2",
            "-subj", "/CN=test CA", "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=keyCertSign")
    openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key, "-out", request, "-subj", "/CN=localhost")
    extra.write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
    openssl("x509", "-req", "-in", request, "-CA", ca, "-CAkey", ca_key, "-CAcreateserial", "-out", cert, "-days", "2", "-extfile", extra)
    both = folder / "both.pem"
    both.write_text(cert.read_text() + key.read_text())
    return ca, both


class WebReceiver:
    """answer(n, request): (status, {header: value}) of the n-th request from 0, after as long as it likes. Keeps what came and was answered 2xx."""

    def __init__(self, answer=None, certificate=None, port=0):
        self.requests = []   # all: (monotonic, headers, body bytes, status, path)
        self.answer = answer or (lambda n, request: (200, {}))
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                with outer.lock:
                    n = outer.count
                    outer.count += 1
                came = time.monotonic()
                status, headers = outer.answer(n, self)
                outer.requests.append((came, dict(self.headers), body, status, self.path))
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *args):
                pass

        class Http(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *args):
                pass
        self.lock, self.count = threading.Lock(), 0
        self.server = Http(("127.0.0.1", port), Handler)
        self.scheme = "http"
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
            self.scheme = "https"
        self.port = self.server.server_address[1]
        self.url = f"{self.scheme}://localhost:{self.port}/hook"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True)
        self.thread.start()

    def taken(self):
        """Bodies that were answered 2xx, in order."""
        return [json.loads(body) for _, _, body, status, _ in list(self.requests) if 200 <= status < 300]

    def close(self):
        self.server.shutdown()
        self.server.server_close()


def is_signed(headers, body, secret):
    """The check of docs/notifications.md."""
    signed = headers["X-Aviary-Timestamp"].encode() + b"." + body
    wanted = hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()
    return hmac.compare_digest(wanted, headers["X-Aviary-Signature"]) and abs(time.time() - int(headers["X-Aviary-Timestamp"])) < 300


class MailServer:
    """SMTP with STARTTLS, or TLS from the first byte (smtps), and AUTH PLAIN; refuse: {recipient: reply line}. Keeps (from, [to], message text, was TLS,
    user), and the number of connections that spoke SMTP at all."""

    def __init__(self, certificate=None, refuse=None, user=None, password=None, smtps=False, host="127.0.0.1"):
        self.smtps, self.spoken = smtps, 0
        self.mails, self.refuse, self.user, self.password = [], refuse or {}, user, password
        self.context = None
        if certificate:
            self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.context.load_cert_chain(certificate)
        self.loop = asyncio.new_event_loop()
        started = threading.Event()

        async def serve():
            self.server = await asyncio.start_server(self.talk, host, 0, ssl=self.context if smtps else None)
            self.port = self.server.sockets[0].getsockname()[1]
            started.set()

        def run():
            self.loop.run_until_complete(serve())
            self.loop.run_forever()
        self.thread = threading.Thread(target=run, daemon=True)
        self.thread.start()
        assert started.wait(5)

    async def talk(self, reader, writer):
        try:
            await self.session(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
            pass
        finally:
            writer.close()

    async def session(self, reader, writer):
        state = {"from": None, "to": [], "tls": writer.get_extra_info("ssl_object") is not None, "user": None}

        def say(line):
            writer.write(line.encode() + b"\r\n")
        say("220 test")
        while True:
            line = (await reader.readline()).decode().rstrip("\r\n")
            if not line:
                return
            verb = line.upper()
            if verb.startswith("EHLO"):
                self.spoken += 1
                say("250-test")
                if self.context and not state["tls"]:
                    say("250-STARTTLS")
                if self.user:
                    say("250-AUTH PLAIN")
                say("250 8BITMIME")
            elif verb == "STARTTLS":
                say("220 go on")
                await writer.drain()
                transport = await self.loop.start_tls(writer.transport, writer.transport.get_protocol(), self.context, server_side=True)
                reader._transport = writer._transport = transport
                state["tls"] = True
            elif verb.startswith("AUTH PLAIN"):
                given = line.split(" ")[2] if line.count(" ") == 2 else ""
                if not given:
                    say("334 ")
                    given = (await reader.readline()).decode().strip()
                _, name, password = base64.b64decode(given).decode().split("\0")
                state["user"] = name if (name, password) == (self.user, self.password) else None
                say("235 ok" if state["user"] else "535 no")
            elif verb.startswith("MAIL FROM:"):
                state["from"], state["to"] = line[10:].split(">")[0].strip(" <"), []
                say("530 log in" if self.user and not state["user"] else "250 ok")
            elif verb.startswith("RCPT TO:"):
                to = line[8:].strip(" <>")
                state["to"].append(to)
                say(self.refuse.get(to, "250 ok"))
            elif verb == "DATA":
                say("354 go on")
                lines = []
                while (text := (await reader.readline()).decode().rstrip("\r\n")) != ".":
                    lines.append(text[1:] if text.startswith(".") else text)
                self.mails.append((state["from"], list(state["to"]), "\n".join(lines), state["tls"], state["user"]))
                say("250 taken")
            elif verb == "QUIT":
                say("221 bye")
                await writer.drain()
                return
            else:
                say("502 what")
            await writer.drain()

    def close(self):
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(5)


class Alertmanager:
    """Debian's prometheus-alertmanager on free loopback ports, with nobody to tell."""

    def __init__(self, folder):
        folder = pathlib.Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.yml").write_text("route:\n  receiver: none\nreceivers:\n- name: none\n")
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.process = Process(["prometheus-alertmanager", f"--config.file={folder}/config.yml", f"--storage.path={folder}/data",
                                f"--web.listen-address=127.0.0.1:{self.port}", "--cluster.listen-address="], folder / "alertmanager.log")
        wait_for(lambda: port_answers(self.port), 20, lambda: "Alertmanager listens\n" + self.process.tail())

    def alerts(self):
        return requests.get(self.url + "/api/v2/alerts", timeout=5).json()

    def stop(self):
        self.process.stop()
