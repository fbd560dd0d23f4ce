"""What surrounds the daemon: the unit's sandbox, the image and the composition, manual pages, packages, what devices are asked to keep."""
import os
import pathlib
import re
import shutil
import signal
import subprocess

import pytest
import yaml

from harness.process import wait_for

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAMS = ("aviaryd", "aviaryctl", "aviary-agent", "aviary-sim")


def packages(section):
    text = (ROOT / ".ci/packages").read_text().split(f"# [{section}]")[1].split("# [")[0]
    return set(re.findall(r"^([a-z0-9.+-]+):", text, re.M))


def test_the_unit_is_sealed():
    if not shutil.which("systemd-analyze"):
        pytest.skip("SKIP: no systemd-analyze here")
    run = subprocess.run(["systemd-analyze", "security", "--offline=true", "--no-pager", ROOT / "systemd/aviaryd.service"],
                         capture_output=True, text=True, timeout=30)
    level = re.search(r"Overall exposure level for aviaryd.service: ([0-9.]+)", run.stdout)
    assert level, run.stdout[-500:] + run.stderr
    print(f"systemd-analyze security: {level.group(1)}")
    assert float(level.group(1)) <= 2.0
    unit = (ROOT / "systemd/aviaryd.service").read_text()
    for line in ("Type=notify", "DynamicUser=yes", "StateDirectory=aviary", "ProtectSystem=strict", "NoNewPrivileges=yes"):
        assert line + "\n" in unit
    assert re.search(r"^WatchdogSec=\d+$", unit, re.M)


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_image_has_every_library(build, program):
    """What the programs link directly comes from packages that the last stage installs, or from the C library."""
    if not (build / program).exists():
        pytest.skip(f"SKIP: {program} is not built")
    last = (ROOT / "Dockerfile").read_text().split("\nFROM ")[-1]
    needed = re.findall(r"NEEDED\s+(\S+)", subprocess.run(["objdump", "-p", build / program], capture_output=True, text=True, check=True).stdout)
    assert "libc.so.6" in needed
    where = {}
    for line in subprocess.run(["ldd", build / program], capture_output=True, text=True, check=True).stdout.splitlines():
        if "=>" in line:
            where[line.split()[0]] = line.split()[2]
    for library in needed:
        if library.startswith(("libc.", "libm.", "libpthread.", "libgcc_s.", "libasan.", "libubsan.", "libgcov.", "ld-linux")):
            continue
        real = pathlib.Path(where[library]).resolve()
        owner = subprocess.run(["dpkg", "-S", f"*/{real.name}"], capture_output=True, text=True).stdout.split(":")[0]
        assert owner and re.search(rf"\s{re.escape(owner)}\s", last), f"{program} needs {library} of {owner or 'no package'}"


def test_the_image_is_built_from_the_tree():
    text = (ROOT / "Dockerfile").read_text()
    for word in re.findall(r"^COPY ([^-\s]\S*) ", text, re.M):
        assert (ROOT / word).exists(), word
    assert "build" in (ROOT / ".dockerignore").read_text().split()  # objects of another system are not taken for its own
    assert re.search(r"^USER (?!root)\S+", text.split("\nFROM ")[-1], re.M)


def test_the_composition_fits_the_programs(build, tmp_path):
    services = yaml.safe_load((ROOT / "compose.yaml").read_text())
    assert set(services["services"]) == {"mosquitto", "aviaryd", "devices"}
    for volume in services["services"]["mosquitto"]["volumes"]:
        assert (ROOT / volume.split(":")[0]).exists(), volume
    config = tmp_path / "aviaryd.conf"
    config.write_text(services["configs"]["aviaryd"]["content"])
    checked = subprocess.run([build / "aviaryd", "--config", config, "--check-config"], capture_output=True, text=True, timeout=10)
    assert checked.returncode == 0, checked.stderr
    script = services["services"]["devices"]["command"][0]
    known = subprocess.run([build / "aviary-sim", "--help"], capture_output=True, text=True, timeout=10).stdout
    used = re.findall(r"(--[a-z-]+) ", script.split("aviary-sim", 1)[1])
    assert len(used) >= 5
    for option in used:
        assert option in known, option
    write_broker(tmp_path, ROOT / "config/compose-mosquitto.conf")
    broker = subprocess.Popen(["/usr/sbin/mosquitto", "-c", tmp_path / "m.conf"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        with pytest.raises(subprocess.TimeoutExpired):
            print(broker.communicate(timeout=1)[0])  # it would end at once with a directive that it does not know
    finally:
        broker.kill()
        broker.wait()


def write_broker(folder, source):
    """A copy of the broker's configuration that runs here: another port, another folder."""
    from harness.process import free_port
    text = re.sub(r"^listener 1883.*", f"listener {free_port()} 127.0.0.1", source.read_text(), flags=re.M)
    text = re.sub(r"^persistence_location .*", f"persistence_location {folder}/", text, flags=re.M)
    (folder / "m.conf").write_text(text + ("\nuser root\n" if os.geteuid() == 0 else ""))


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_program_has_its_manual(build, program):
    """A page that renders without a warning and names every long option of --help; aviaryctl's commands have a test of their own."""
    pages = list((ROOT / "docs/man").glob(program + ".[18]"))
    assert len(pages) == 1
    rendered = subprocess.run(["man", "--warnings", "-E", "UTF-8", "-l", "-Tutf8", pages[0]], capture_output=True, text=True,
                              env={**os.environ, "MANWIDTH": "200", "MAN_KEEP_FORMATTING": "0"}, timeout=30)
    assert rendered.stderr == "" and len(rendered.stdout) > 1000
    text = re.sub(".\b", "", rendered.stdout).replace("‐", "-").replace("−", "-")
    assert "EXIT STATUS" in text
    if not (build / program).exists():
        pytest.skip(f"SKIP: {program} is not built")
    said = subprocess.run([build / program, "--help"], capture_output=True, text=True, timeout=10)
    options = set(re.findall(r"--[a-z][a-z-]+", said.stdout + said.stderr))
    assert options or program == "aviaryctl"
    assert [o for o in sorted(options) if o not in text] == []


def test_packages_are_all_listed(build):
    """What the Makefile asks pkg-config for, and what the programs run with, stands in .ci/packages."""
    build_packages = packages("build")
    names = re.search(r"^PKGS\s*=\s*(.*)$", (ROOT / "Makefile").read_text(), re.M).group(1).split()
    for name in names:
        file = subprocess.run(["pkg-config", "--variable=pcfiledir", name], capture_output=True, text=True, check=True).stdout.strip()
        owner = subprocess.run(["dpkg", "-S", f"{pathlib.Path(file).resolve()}/{name}.pc"], capture_output=True, text=True).stdout.split(":")[0]
        assert owner in build_packages, f"{name}: {owner}"
    assert {"mosquitto", "curl"} <= packages("run")
    imported = {m for p in (ROOT / "tests").rglob("*.py") for m in re.findall(r"^\s*(?:import|from) (\w+)", p.read_text(), re.M)}
    needs = {"requests": "python3-requests", "pytest": "python3-pytest", "paho": "python3-paho-mqtt", "yaml": "python3-yaml",
             "cryptography": "python3-cryptography", "jsonschema": "python3-jsonschema"}
    for module, package in needs.items():
        assert module not in imported or package in packages("test"), package


def test_devices_are_asked_to_keep_an_interval(make_server):
    server = make_server(config={"devices": {"report_interval": "90s"}})
    server.post("/devices", {"id": "d1", "hardware": "x"})
    secret = server.post("/devices/d1/credential")["secret"]

    def interval():
        return server.call("GET", "/device/v1/d1/desired", headers={"Authorization": f"Bearer d1:{secret}"}).get("report_interval_ms")
    assert interval() == 90000
    server.config = {}
    server.write_config()
    os.kill(server.process.pid, signal.SIGHUP)
    wait_for(lambda: interval() is None, 5, "devices keep their own")
