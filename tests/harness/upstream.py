"""An upstream of models: HTTPS with ranges, ETags and redirects, and the documents that it serves."""
import base64
import hashlib
import http.server
import json
import pathlib
import socket
import ssl
import subprocess
import threading
import time
import urllib.parse


class Upstream:
    """files: {path: bytes}; redirects: {path: location}; rate: bytes a second of contents, 0: no limit. Keeps requests as (path, headers, status)."""

    def __init__(self, certificate):
        self.files, self.redirects, self.requests = {}, {}, []
        self.rate, self.status, self.header, self.has_ranges = 0, {}, None, True
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                outer.answer(self)

            def log_message(self, *args):
                pass

        class Http(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *args):
                pass
        self.server = Http(("127.0.0.1", 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.port = self.server.server_address[1]
        self.url = f"https://localhost:{self.port}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True)
        self.thread.start()

    def answer(self, request):
        path = request.path
        bare = urllib.parse.unquote(path.split("?")[0])

        def head(status, **fields):
            self.requests.append((path, dict(request.headers), status))
            request.send_response(status)
            for name, value in fields.items():
                request.send_header(name.replace("_", "-"), value)
        def empty(status, **fields):
            head(status, Content_Length="0", **fields)
            request.end_headers()
        if self.header and request.headers.get(self.header[0]) != self.header[1]:
            return empty(401)
        if bare in self.status:
            return empty(self.status[bare])
        if bare in self.redirects:
            return empty(302, Location=self.redirects[bare])
        data = self.listing(path) if "list-type=2" in path else self.files.get(path, self.files.get(bare))
        if data is None:
            return empty(404)
        etag = '"' + hashlib.sha256(data).hexdigest()[:16] + '"'
        if request.headers.get("If-None-Match") == etag:
            return empty(304, ETag=etag)
        first = 0
        if request.headers.get("Range") and self.has_ranges:
            first = int(request.headers["Range"].split("=")[1].split("-")[0])
            if first >= len(data):
                return empty(416)
            head(206, Content_Range=f"bytes {first}-{len(data) - 1}/{len(data)}", ETag=etag, Content_Length=str(len(data) - first))
        else:
            head(200, ETag=etag, Content_Length=str(len(data)))
        request.end_headers()
        step = max(1, self.rate // 20) if self.rate else 1 << 20
        for at in range(first, len(data), step):
            request.wfile.write(data[at:at + step])
            if self.rate:
                time.sleep(0.05)

    def listing(self, path):
        """As S3's ListObjectsV2, two keys a page."""
        query = urllib.parse.parse_qs(path.split("?", 1)[1])
        prefix = query.get("prefix", [""])[0]
        keys = sorted(k[len("/bucket/"):] for k in self.files if k.startswith("/bucket/" + prefix))
        at = int(query.get("continuation-token", ["0"])[0])
        rows = "".join(f"<Contents><Key>{k}</Key><LastModified>x</LastModified><ETag>&quot;{hashlib.md5(self.files['/bucket/' + k]).hexdigest()}"
                       f"&quot;</ETag><Size>{len(self.files['/bucket/' + k])}</Size></Contents>" for k in keys[at:at + 2])
        more = at + 2 < len(keys)
        return (f'<?xml version="1.0" encoding="UTF-8"?>\n<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>bucket</Name>'
                f"<IsTruncated>{'true' if more else 'false'}</IsTruncated>{rows}"
                + (f"<NextContinuationToken>{at + 2}</NextContinuationToken>" if more else "") + "</ListBucketResult>").encode()

    def asked(self, path):
        return [r for r in self.requests if r[0] == path]

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


class Publisher:
    """Versions of a model on an Upstream, signed with an Ed25519 key made by openssl."""

    def __init__(self, upstream, folder, model="kws"):
        self.upstream, self.model, self.versions, self.published = upstream, model, [], 1000
        self.key = pathlib.Path(folder) / "publisher.pem"
        subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", self.key], check=True, capture_output=True)
        self.public = subprocess.run(["openssl", "pkey", "-in", self.key, "-pubout"], check=True, capture_output=True, text=True).stdout

    def sign(self, domain, payload):
        """As docs/upstreams.md shows it."""
        signed = self.key.parent / "to-sign"
        signed.write_bytes(domain.encode() + b"\0" + payload)
        signature = subprocess.run(["openssl", "pkeyutl", "-sign", "-rawin", "-inkey", self.key, "-in", signed], check=True, capture_output=True).stdout
        return {"format": "aviary-signed-1", "payload": base64.b64encode(payload).decode(), "signature": base64.b64encode(signature).decode()}

    def record(self, version, contents, **more):
        """contents: {hardware: bytes or (bytes, {requires, quality, ...})}"""
        artifacts = []
        for hardware, data in contents.items():
            data, extra = data if isinstance(data, tuple) else (data, {})
            path = f"/files/{self.model}-{version}-{hardware.replace('*', 'any')}.tflite"
            self.upstream.files[path] = data
            artifacts.append({"hardware": hardware, "url": path, "size_bytes": len(data), "sha256": hashlib.sha256(data).hexdigest(), **extra})
        return {"model": self.model, "version": version, "artifacts": artifacts, **more}

    def publish(self, version, contents, **more):
        self.versions.append(self.record(version, contents, **more))
        self.write()

    def index(self):
        return {"format": "aviary-index-1", "model": self.model, "published": self.published, "versions": self.versions}

    def write(self, is_signed=True):
        self.published += 1
        payload = json.dumps(self.index()).encode()
        self.upstream.files["/index.json"] = json.dumps(self.sign("aviary-index-1", payload)).encode() if is_signed else payload
