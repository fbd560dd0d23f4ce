#!/usr/bin/python3
"""Writes a C header with what a server would say to the demo device: a key, a desired document with a signed release, its artifact."""
import base64
import hashlib
import json
import sys

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey


def c_bytes(name, data):
    lines = [", ".join(f"0x{b:02x}" for b in data[i:i + 16]) for i in range(0, len(data), 16)]
    return f"static const unsigned char {name}[{len(data)}] = {{\n\t" + ",\n\t".join(lines) + ",\n};\n"


def document(key, artifact, attempt, counter, spoil):
    digest = hashlib.sha256(artifact).hexdigest()
    public = key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    manifest = json.dumps({"format": "aviary-manifest-1", "release": "kws-2", "counter": counter, "created": 1700000000000, "expires": 0,
                           "components": [{"kind": "model", "name": "kws", "version": "2.0.0", "artifacts": [
                               {"hardware": "demo", "sha256": digest, "size_bytes": len(artifact), "file": "kws.tflite"}]}],
                           "config": {}}, separators=(",", ":")).encode()
    signature = bytearray(key.sign(b"aviary-manifest-v1\0" + manifest))
    signature[7] ^= spoil
    return json.dumps({"device": "demo-1", "rev": attempt, "deployment": {"id": f"d-{attempt}", "attempt": 1, "action": "install", "timeout_ms": 600000},
                       "release": {"name": "kws-2", "counter": counter, "manifest": base64.b64encode(manifest).decode(),
                                   "signature": base64.b64encode(bytes(signature)).decode(), "key_id": hashlib.sha256(public).hexdigest()[:16],
                                   "artifacts": [{"sha256": digest, "size_bytes": len(artifact), "url": f"/device/v1/demo-1/artifacts/{digest}"}]},
                       "config": {}, "report_interval_ms": 60000}, separators=(",", ":")).encode()


def main():
    key = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
    artifact = bytes((i * 37 + (i >> 8)) & 255 for i in range(5000))
    out = "/* Written by ports/demo/make_document.py: the key is a public example. */\n"
    out += c_bytes("demo_key", key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw))
    out += c_bytes("demo_artifact", artifact)
    out += c_bytes("demo_forged", document(key, artifact, 1, 6, 1))
    out += c_bytes("demo_document", document(key, artifact, 2, 7, 0))
    with open(sys.argv[1], "w", encoding="ascii") as file:
        file.write(out)


if __name__ == "__main__":
    main()
