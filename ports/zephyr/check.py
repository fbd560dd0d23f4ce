#!/usr/bin/python3
"""The Zephyr module without Zephyr: its files parse, name what exists, and build every source of the core; with an SDK it is built."""
import os
import pathlib
import re
import shutil
import subprocess
import sys

import yaml

PORTS = pathlib.Path(__file__).resolve().parents[1]
ROOT = PORTS.parent
# what may stand at the begin of a line of Kconfig that is not help text
KCONFIG = re.compile(r'(config|menuconfig) [A-Z][A-Z0-9_]*|(if|depends on|select) [A-Z][A-Z0-9_]*|endif|help|(bool|int|string)( ".*")?'
                     r"|range \d+ \d+|default (\d+|y|n)|#.*|$")


def fail(text):
    sys.exit(f"ports/zephyr: {text}")


def check_module():
    module = yaml.safe_load((PORTS / "zephyr/module.yml").read_text())
    if module.get("name") != "aviary-agent" or set(module) != {"name", "build"}:
        fail("module.yml: name and build are expected")
    if not (PORTS / module["build"]["cmake"] / "CMakeLists.txt").is_file() or not (PORTS / module["build"]["kconfig"]).is_file():
        fail("module.yml names files that do not exist")


def check_kconfig():
    """Returns {option: (low, high)} of the integers, and all options."""
    options, ranges, current, helping = set(), {}, None, False
    for number, line in enumerate((PORTS / "zephyr/Kconfig").read_text().splitlines(), 1):
        if helping and (line.startswith("\t  ") or not line):
            continue
        helping = False
        if not KCONFIG.fullmatch(line.strip()):
            fail(f"Kconfig:{number}: {line.strip()}")
        words = line.split()
        if words and words[0] == "config":
            current = words[1]
            options.add(current)
        elif words and words[0] == "range":
            ranges[current] = (int(words[1]), int(words[2]))
        elif words and words[0] == "default" and current in ranges and not ranges[current][0] <= int(words[1]) <= ranges[current][1]:
            fail(f"Kconfig:{number}: the default is out of its range")
        helping = line.strip() == "help"
    header = (ROOT / "include/agent/agent.h").read_text()
    for option, (_, high) in ranges.items():
        limit = re.search(rf"#define {option.replace('AVIARY_', '')} (\d+)", header)
        if not limit or int(limit[1]) != high:
            fail(f"Kconfig: the range of {option} does not end at the protocol's limit")
    return options


def check_cmake(options):
    text = (PORTS / "zephyr/CMakeLists.txt").read_text()
    listed = re.findall(r"\$\{AVIARY\}/(\S+\.c)", text)
    wanted = sorted(str(p.relative_to(ROOT)) for p in (ROOT / "src/agent").glob("*.c")) + ["src/base/jpull.c"]
    if listed != wanted:
        fail(f"CMakeLists.txt does not list the core's sources: {sorted(set(listed) ^ set(wanted)) or 'another order'}")
    unknown = set(re.findall(r"CONFIG_(\w+)", text + (PORTS / "zephyr/sample/prj.conf").read_text())) - options - {"MAIN_STACK_SIZE", "ASSERT"}
    if unknown:
        fail(f"options that Kconfig does not have: {unknown}")
    sample = (PORTS / "zephyr/sample/CMakeLists.txt").read_text()
    for name in re.findall(r"\$\{PORTS\}/(\S+\.(?:c|py))", sample):
        if not (PORTS / name).is_file():
            fail(f"sample: {name} does not exist")


def build():
    if not os.environ.get("ZEPHYR_BASE") or not shutil.which("west"):
        print("zephyr: module and sample are in order; SKIP: not built, there is no SDK (west, ZEPHYR_BASE)")
        return
    folder = ROOT / "build/zephyr"
    subprocess.run(["west", "build", "-p", "-b", "qemu_cortex_m3", "-d", folder, PORTS / "zephyr/sample", "--",
                    f"-DZEPHYR_EXTRA_MODULES={PORTS}"], check=True)
    print("zephyr: module and sample are built")


if __name__ == "__main__":
    check_module()
    check_cmake(check_kconfig())
    build()
