"""Debian's swupdate as it is: its suricatta mode against the server's DDI, and update files that its build takes.

That build wants signed updates (CMS over sw-description), and a hardware revision that the update names. It has no boot loader here, so what it would keep
in the boot loader's environment is lost with the process: as on such devices, who starts it says how the restart went (`-c`).
"""
import hashlib
import pathlib
import subprocess

from .process import Process

BOARD = "board"
AGAIN, GOOD, BAD = "1", "2", "3"  # swupdate's -c


class Signer:
    """A key of its own for the updates of one test."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.key, self.certificate = self.folder / "key.pem", self.folder / "cert.pem"
        self.openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", self.key, "-out", self.certificate, "-days", "2", "-subj", "/CN=updates",
                     "-addext", "keyUsage=digitalSignature", "-addext", "extendedKeyUsage=emailProtection")

    @staticmethod
    def openssl(*arguments):
        subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)

    def sign(self, data):
        text, signature = self.folder / "text", self.folder / "text.sig"
        text.write_bytes(data)
        self.openssl("cms", "-sign", "-in", text, "-out", signature, "-signer", self.certificate, "-inkey", self.key, "-outform", "DER", "-nosmimecap",
                     "-binary")
        return signature.read_bytes()


def cpio(members):
    """The archive of cpio's format `crc`, which is what a .swu is."""
    def entry(number, name, data):
        fields = (number, 0o100644, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, sum(data) & 0xffffffff)
        head = b"070702" + b"".join(b"%08X" % field for field in fields) + name.encode() + b"\0"
        return head + b"\0" * (-len(head) % 4) + data + b"\0" * (-len(data) % 4)
    archive = b"".join(entry(i, name, data) for i, (name, data) in enumerate(members, 1)) + entry(0, "TRAILER!!!", b"")
    return archive + b"\0" * (-len(archive) % 512)


def make_swu(signer, version, content, path="installed.bin", revision="1.0"):
    """An update that writes `content` to `path`, which is below the folder of the device that installs it."""
    description = f"""software =
{{
	version = "{version}";
	hardware-compatibility = [ "{revision}" ];
	files: (
		{{
			filename = "content.bin";
			path = "{path}";
			sha256 = "{hashlib.sha256(content).hexdigest()}";
		}}
	);
}};
""".encode()
    return cpio([("sw-description", description), ("sw-description.sig", signer.sign(description)), ("content.bin", content)])


class SwUpdate:
    """One device. `start` is power-on, `stop` power-off. After an installation it wants a reboot (its post-update command says so); `confirm` of the next
    start tells how that went. `attributes` are what it tells about itself (configData)."""

    def __init__(self, folder, signer, url, device, token, options="", attributes=None):
        self.folder = pathlib.Path(folder)
        (self.folder / "tmp").mkdir(parents=True)
        self.signer, self.url, self.device, self.token, self.options = signer, url, device, token, options
        identify = ", ".join('{ name = "%s"; value = "%s"; }' % item for item in (attributes or {}).items())
        (self.folder / "swupdate.cfg").write_text(f"globals : {{ verbose = true; }};\nidentify : ( {identify} );\n")
        self.process = None

    def start(self, confirm=None):
        assert self.process is None or not self.process.is_running()
        server = f"-t DEFAULT -u {self.url} -i {self.device} -k {self.token} -p 1 -w 1 -m 1 {self.options}" + (f" -c {confirm}" if confirm else "")
        (self.folder / "reboot").unlink(missing_ok=True)
        self.process = Process(["env", "-C", self.folder, f"TMPDIR={self.folder}/tmp", "swupdate", "-v", "-l", "6", "-f", "swupdate.cfg",
                                "-k", self.signer.certificate, "-H", f"{BOARD}:1.0", "-p", "touch reboot", "-u", server], self.folder / "swupdate.log")
        return self

    def stop(self):
        return self.process.stop(5) if self.process else 0

    def wants_reboot(self):
        return (self.folder / "reboot").exists()

    def reboot(self, confirm=GOOD):
        self.stop()
        return self.start(confirm)

    def installed(self):
        path = self.folder / "installed.bin"
        return path.read_bytes() if path.exists() else b""

    def log(self):
        return self.process.log()
