"""A device that speaks hawkBit's DDI, as bytes on a socket: what a test wants to see of status, headers and body, nothing hidden."""
import json
import socket
import time


class Reply:
    def __init__(self, status, reason, headers, body):
        self.status, self.reason, self.headers, self.body = status, reason, headers, body

    def header(self, name):
        values = [v for n, v in self.headers if n.lower() == name.lower()]
        assert len(values) <= 1, (name, values)
        return values[0] if values else None

    def json(self):
        return json.loads(self.body)

    def __repr__(self):
        return f"Reply({self.status}, {self.headers}, {self.body[:300]!r})"


def read_reply(sock, method="GET"):
    data = b""
    while b"\r\n\r\n" not in data:
        more = sock.recv(65536)
        if not more:
            raise ConnectionError(f"closed after {data!r}")
        data += more
    head, body = data.split(b"\r\n\r\n", 1)
    lines = head.decode("latin-1").split("\r\n")
    version, status, reason = lines[0].split(" ", 2)
    assert version == "HTTP/1.1", lines[0]
    headers = [tuple(line.split(": ", 1)) for line in lines[1:]]
    lengths = [int(v) for n, v in headers if n.lower() == "content-length"]
    chunked = [v for n, v in headers if n.lower() == "transfer-encoding"]
    assert not chunked, "never chunked"
    wanted = 0 if method == "HEAD" or int(status) in (204, 304) else lengths[0]
    while len(body) < wanted:
        more = sock.recv(65536)
        if not more:
            raise ConnectionError(f"closed within the body, {len(body)} of {wanted} bytes")
        body += more
    assert len(body) == wanted, body
    return Reply(int(status), reason, headers, body)


class Ddi:
    """token: of the target; auth: the whole Authorization header instead. One connection a request, unless `keep`."""

    def __init__(self, server, device, token=None, auth=None, tenant="DEFAULT", host="127.0.0.1", headers=()):
        self.server, self.device, self.tenant, self.host = server, device, tenant, host
        self.auth = auth if auth is not None else f"TargetToken {token}" if token else None
        self.headers = list(headers)
        self.hidden = {}

    def base(self):
        return f"/{self.tenant}/controller/v1/{self.device}"

    def connect(self):
        return socket.create_connection((self.host, self.server.port), timeout=20)

    def raw(self, method, path, headers=(), body=b"", sock=None):
        """path: below the device, or absolute."""
        target = path if path.startswith("/") else self.base() + ("/" + path if path else "")
        fields = [("Host", f"{self.host}:{self.server.port}")] if not any(n.lower() == "host" for n, _ in headers) else []
        if self.auth is not None and not any(n.lower() == "authorization" for n, _ in headers):
            fields.append(("Authorization", self.auth))
        fields += self.headers + list(headers)
        if body or method in ("POST", "PUT"):
            fields.append(("Content-Length", str(len(body))))
        text = f"{method} {target} HTTP/1.1\r\n" + "".join(f"{n}: {v}\r\n" for n, v in fields if v is not None) + "\r\n"
        own = sock is None
        sock = sock or self.connect()
        try:
            sock.sendall(text.encode("latin-1") + body)
            return read_reply(sock, method)
        finally:
            if own:
                sock.close()

    def get(self, path="", headers=(), **more):
        return self.raw("GET", path, headers, **more)

    def send(self, method, path, document, headers=()):
        body = document if isinstance(document, bytes) else json.dumps(document).encode()
        return self.raw(method, path, [("Content-Type", "application/json"), *headers], body)

    def put(self, path, document, headers=()):
        return self.send("PUT", path, document, headers)

    def post(self, path, document, headers=()):
        return self.send("POST", path, document, headers)

    # ---- whole deeds ----
    def poll(self):
        reply = self.get()
        assert reply.status == 200, reply
        return reply.json()

    def links(self):
        return {name: link["href"] for name, link in self.poll().get("_links", {}).items()}

    def path_of(self, href):
        return "/" + href.split("//", 1)[1].split("/", 1)[1]

    def wait_link(self, name, timeout=15):
        """The path of a link, as soon as it is there."""
        end = time.monotonic() + timeout
        while True:
            links = self.links()
            if name in links:
                return self.path_of(links[name])
            assert time.monotonic() < end, f"{self.device}: no {name} in {links}"
            time.sleep(0.05)

    def wait_no_link(self, name, timeout=15):
        end = time.monotonic() + timeout
        while name in self.links():
            assert time.monotonic() < end, f"{self.device}: {name} stays"
            time.sleep(0.05)

    def feedback(self, action, execution, finished="none", details=(), kind="deploymentBase", **more):
        status = {"execution": execution, "result": {"finished": finished}, "details": list(details), **more}
        return self.post(f"{kind}/{action}/feedback", {"id": str(action), "status": status})

    def install(self, finished="success", timeout=15):
        """Waits for a deployment and carries it out; its action's number."""
        path = self.wait_link("deploymentBase", timeout)
        document = self.get(path).json()
        for chunk in document["deployment"]["chunks"]:
            for artifact in chunk["artifacts"]:
                assert self.get(self.path_of(artifact["_links"]["download-http"]["href"])).status == 200
        reply = self.feedback(document["id"], "closed", finished)
        assert reply.status == 200 and reply.body == b"", reply
        return int(document["id"])
