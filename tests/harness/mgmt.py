"""hawkBit's Management API of a server, and a device that speaks its DDI."""
import hashlib

import requests

BASIC = {"mgmt": {"basic": "admin:" + hashlib.sha256(b"admin").hexdigest()}}
NO_BROKER = {"mqtt": {"host": ""}}


class Mgmt:
    def __init__(self, url, auth=("admin", "admin")):
        self.url, self.auth = url, auth

    def call(self, method, path, status=None, **options):
        """The answer's JSON (None: no body); `status`: exactly that, else any 2xx."""
        options.setdefault("timeout", 60)
        r = requests.request(method, f"{self.url}/rest/v1/{path}", auth=self.auth, **options)
        good = r.status_code == status if status else 200 <= r.status_code < 300
        assert good, f"{method} {path}: {r.status_code} {r.text[:400]}"
        self.last = r
        return r.json() if r.content and "json" in r.headers.get("Content-Type", "") else None

    def get(self, path, status=200, **params):
        return self.call("GET", path, status, params=params or None)

    def post(self, path, body=None, status=None, **options):
        return self.call("POST", path, status, json=body, **options)

    def refused(self, method, path, status, code, **options):
        body = self.call(method, path, status, **options)
        assert body["errorCode"] == "hawkbit.server.error." + code and body["exceptionClass"].startswith("org.eclipse.hawkbit.") and body["message"], body
        return body

    def pages(self, path, limit=50, **params):
        out = []
        while True:
            page = self.get(path, offset=len(out), limit=limit, **params)
            assert page["size"] == len(page["content"]) <= limit
            out += page["content"]
            if len(out) >= page["total"] or not page["content"]:
                assert len(out) == page["total"]
                return out

    # ---- whole deeds ----
    def module(self, name, version="1.0", files=None, kind="os"):
        made = self.post("softwaremodules", [{"name": name, "version": version, "type": kind}], 201)[0]["id"]
        for file_name, data in (files or {}).items():
            self.post(f"softwaremodules/{made}/artifacts", status=201, files={"file": (file_name, data)})
        return made

    def set(self, name, version="1.0", modules=(), kind="os"):
        return self.post("distributionsets", [{"name": name, "version": version, "type": kind, "modules": [{"id": m} for m in modules]}], 201)[0]["id"]

    def ready_set(self, name, data=b"firmware"):
        return self.set(name, modules=[self.module("module of " + name, files={"fw.bin": data})])

    def targets(self, *ids):
        self.post("targets", [{"controllerId": i, "name": i} for i in ids], 201)

    def assign(self, ds, *targets, **how):
        return self.post(f"distributionsets/{ds}/assignedTargets", [{"id": t, **how} for t in targets])


class Target:
    """A device of DDI, as little of it as tests of the other side need."""

    def __init__(self, mgmt, name):
        self.name = name
        self.base = f"{mgmt.url}/DEFAULT/controller/v1/{name}"
        self.session = requests.Session()
        self.session.headers["Authorization"] = "TargetToken " + mgmt.get(f"targets/{name}")["securityToken"]

    def poll(self):
        r = self.session.get(self.base, timeout=30)
        assert r.status_code == 200, r.text
        return r.json()

    def attributes(self, data):
        assert self.session.put(self.base + "/configData", json={"mode": "merge", "data": data}, timeout=30).status_code == 200

    def offer(self):
        link = self.poll().get("_links", {}).get("deploymentBase")
        return self.session.get(link["href"], timeout=30).json() if link else None

    def feedback(self, action, execution, finished="none", details=()):
        r = self.session.post(f"{self.base}/deploymentBase/{action}/feedback", timeout=30,
                              json={"status": {"execution": execution, "result": {"finished": finished}, "details": list(details)}})
        assert r.status_code == 200, r.text

    def install(self, finished="success"):
        offer = self.offer()
        self.feedback(offer["id"], "closed", finished, ["said by the device"])
        return int(offer["id"])
