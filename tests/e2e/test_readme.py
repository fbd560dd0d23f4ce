"""The README's tour is run line by line against a real daemon, and `make install` puts down what packages need."""
import fcntl
import os
import pathlib
import re
import subprocess
import tempfile

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
STANDARD = "http://127.0.0.1:8080"


def tour():
    """The tour's lines, without comments, as the README has them."""
    found = re.search(r"<!-- tour:.*?-->\n```sh\n(.*?)```\n<!-- end of tour -->", (ROOT / "README.md").read_text(), re.S)
    assert found, "the README has a tour between its markers"
    return [line for line in found[1].splitlines() if line.strip() and not line.startswith("#")]


def here(line, server, folder):
    """The line for this daemon: its address, its state directory, and another place for files."""
    places = {STANDARD: server.url, "/tmp/aviary/": f"{server.state}/", "/tmp/": f"{folder}/"}
    return re.sub("|".join(map(re.escape, places)), lambda m: places[m[0]], line)


def test_every_line_of_the_tour_works(server, tmp_path):
    lines = [here(line, server, tmp_path) for line in tour()]
    assert len(lines) > 15 and any(server.url in line for line in lines)
    # A line a step, in one shell, since they build on each other; the first one that fails ends it and is told by its number.
    script = ["shopt -s expand_aliases", "set -o pipefail"]
    for number, line in enumerate(lines):
        script += [f"echo '>>> {number}'", line, f"[ $? -eq 0 ] || exit {100 + number}"]
    done = subprocess.run(["bash"], input="\n".join(script) + "\n", capture_output=True, text=True, timeout=60, cwd=tmp_path)
    failed = lines[done.returncode - 100] if done.returncode >= 100 else ""
    assert done.returncode == 0, f"{failed}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
    # What it says it does is what it did.
    answers = dict(zip(lines, re.split(r">>> \d+\n", done.stdout)[1:]))
    bulk = next(a for line, a in answers.items() if "devices:bulk" in line)
    assert re.search(r'"created":\s*1000', bulk), bulk
    assert server.get("/devices", total="true", limit=1)["total"] == 1001
    assert "door-7" in next(a for line, a in answers.items() if "filter=" in line)
    assert server.get("/rollouts/1")["status"] in ("reverting", "reverted")
    assert server.items("/models/kws/versions/1.4.2/artifacts")[0]["state"] == "ready"


def make(*arguments, **options):
    environment = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")}
    with open(pathlib.Path(tempfile.gettempdir()) / f"aviary-make-{os.getuid()}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # tests run side by side: two makes in one stale build directory would tread on each other
        return subprocess.run(["make", "--no-print-directory", *arguments], cwd=ROOT, capture_output=True, text=True, env=environment,
                              timeout=300, **options)


@pytest.fixture
def installed(build, tmp_path):
    if make("-n", "install", f"B={build}").returncode != 0 or not (build / "aviaryctl").exists():
        pytest.skip("SKIP: this build directory holds no complete build")
    target = tmp_path / "root"
    done = make("install", f"B={build}", f"DESTDIR={target}", "PREFIX=/usr")
    assert done.returncode == 0, done.stderr[-3000:]
    return target


def test_install(installed):
    for program in ("aviaryd", "aviaryctl", "aviary-agent", "aviary-sim"):
        path = installed / "usr/bin" / program
        assert path.stat().st_mode & 0o777 == 0o755
        assert subprocess.run([path, "--help"], capture_output=True, timeout=10).returncode == 0
    unit = (installed / "usr/lib/systemd/system/aviaryd.service").read_text()
    assert "/usr/bin/aviaryd" in unit and "/usr/local" not in unit
    config = installed / "etc/aviary/aviaryd.conf"
    assert subprocess.run([installed / "usr/bin/aviaryd", "--config", config, "--check-config"], capture_output=True, timeout=10).returncode == 0
    for page in (ROOT / "docs/man").glob("*.[158]"):
        assert (installed / f"usr/share/man/man{page.suffix[1:]}" / page.name).read_text() == page.read_text()
    assert {"README.md", "LICENSE", "CHANGES.md"} <= {p.name for p in (installed / "usr/share/doc/aviary").iterdir()}
    # The unit's user is dynamic, so the file is for everybody; secrets come as credentials (aviaryd.conf(5)).
    assert config.stat().st_mode & 0o777 == 0o644
    assert (installed / "usr/share/doc/aviary/docs/protocol.md").exists()
    assert "aviaryctl" in (installed / "usr/share/bash-completion/completions/aviaryctl").read_text()
    assert (installed / "usr/share/zsh/site-functions/_aviaryctl").read_text().startswith("#compdef aviaryctl")
    # Nothing but what was meant, and nothing outside.
    tops = {p.relative_to(installed).parts[:2] for p in installed.rglob("*") if p.is_file()}
    assert tops <= {("usr", "bin"), ("usr", "lib"), ("usr", "share"), ("etc", "aviary")}


def test_install_keeps_a_changed_configuration(installed, build):
    config = installed / "etc/aviary/aviaryd.conf"
    config.write_text("[log]\nlevel = debug\n")
    done = make("install", f"B={build}", f"DESTDIR={installed}", "PREFIX=/usr")
    assert done.returncode == 0, done.stderr[-3000:]
    assert config.read_text() == "[log]\nlevel = debug\n"
