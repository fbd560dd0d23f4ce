#!/usr/bin/python3
"""Rules of the house that a compiler does not know: layers, foreign headers, purity of core, SQL only in store, scripts, documents.

Prints every breach with file and line; exits 1 when there is one. Each rule is a function that yields (place, text).
"""
import pathlib
import re
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]

LAYERS = {
    "base": {"base"},
    "core": {"base", "core"},
    "store": {"base", "core", "store"},
    "service": {"base", "core", "store", "service"},
    "net": {"base", "net"},
    "api": {"base", "core", "service", "net", "api"},
    "agent": {"agent"},
}
# headers of single modules that a layer may see besides
EXTRA = {"agent": {"base/jpull.h"}}
# The store's row types are part of what services hand to the API; the functions behind them are not called there.
ROWS = re.compile(r"store/[a-z]+_store\.h")
PROGRAMS = ["aviaryd", "aviaryctl", "aviary-agent", "aviary-sim"]

FOREIGN = {
    "cjson/cJSON.h": {"src/base/json.c"},
    "openssl/": {"src/base/crypto.c", "src/net/"},
    "sqlite3.h": {"src/store/", "include/store/"},
    "uv.h": {"src/net/", "include/net/"},
    "microhttpd.h": {"src/net/", "include/net/"},
    "mosquitto.h": {"src/net/", "include/net/"},
    "curl/": {"src/net/", "include/net/"},
    "systemd/": {"src/net/"},
    "ini.h": {"src/aviaryd/", "src/aviary-agent/", "src/aviaryctl/"},
}
IMPURE = re.compile(r"(?<![>.\w])(malloc|calloc|realloc|free|printf|fprintf|fopen|time|clock_gettime|gettimeofday|rand|random|getenv)\s*\(")
SQL = re.compile(r'"\s*(SELECT|INSERT INTO|UPDATE|DELETE FROM|CREATE TABLE|PRAGMA)\b')
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^">]+)[">]')


def tracked(*suffixes):
    """Files that git knows or would add; without git, all files outside build."""
    try:
        names = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\n")
    except (OSError, subprocess.CalledProcessError):
        names = [str(p.relative_to(ROOT)) for p in ROOT.rglob("*") if p.is_file() and "build" not in p.parts]
    return sorted(n for n in names if n and n.endswith(suffixes) and (ROOT / n).is_file())


def lines(name):
    return enumerate((ROOT / name).read_text(encoding="utf-8").split("\n"), 1)


def includes(name):
    for number, line in lines(name):
        found = INCLUDE.match(line)
        if found:
            yield number, found.group(1) == "<", found.group(2)


def layer_of(name):
    parts = name.split("/")
    return parts[1] if parts[0] in ("src", "include") and len(parts) > 2 and parts[1] in LAYERS else None


def check_layers():
    for name in tracked(".c", ".h"):
        layer = layer_of(name)
        if not layer:
            continue
        for number, is_system, target in includes(name):
            if is_system or "/" not in target:
                continue
            top = target.split("/")[0]
            if layer == "api" and ROWS.fullmatch(target):
                yield f"{name}:{number}", f"api may not include {target}: ask a service"
            elif top not in LAYERS[layer] and target not in EXTRA.get(layer, ()):
                yield f"{name}:{number}", f"{layer} may not include {target}"


def check_foreign():
    for name in tracked(".c", ".h"):
        if name.startswith("tests/"):
            continue
        for number, is_system, target in includes(name):
            for prefix, allowed in FOREIGN.items():
                if is_system and (target == prefix or (prefix.endswith("/") and target.startswith(prefix))):
                    if not any(name == a or (a.endswith("/") and name.startswith(a)) for a in allowed):
                        yield f"{name}:{number}", f"<{target}> is not for this room"


def check_core_is_pure():
    for name in tracked(".c"):
        if name.startswith("src/core/") or name.startswith("src/agent/"):
            for number, line in lines(name):
                code = re.sub(r'"[^"]*"|/\*.*?\*/|//.*', "", line)
                if IMPURE.search(code) and not code.lstrip().startswith("*"):
                    yield f"{name}:{number}", f"not pure: {line.strip()[:60]}"


def check_sql_only_in_store():
    for name in tracked(".c", ".h"):
        if name.startswith(("src/store/", "tests/")):
            continue
        for number, line in lines(name):
            if SQL.search(line):
                yield f"{name}:{number}", "SQL belongs into store/"


def check_headers():
    for name in tracked(".h"):
        if not name.startswith("include/"):
            continue
        text = (ROOT / name).read_text(encoding="utf-8")
        if not text.startswith("/*"):
            yield name, "a header begins with a comment that says what it is"
        guard = "AVIARY_" + re.sub(r"[/.]", "_", name[len("include/"):]).upper()
        if f"#ifndef {guard}" not in text:
            yield name, f"guard must be {guard}"


def check_text():
    own = "tests/lint/run.py"
    for name in tracked(".c", ".h", ".py", ".sh", ".sql", ".md", ".conf", ".service", ".yaml", "Makefile", "Dockerfile", ".1", ".5", ".8"):
        if name == own:
            continue
        for number, line in lines(name):
            if line.rstrip() != line:
                yield f"{name}:{number}", "trailing white space"
            if re.search(r"(?<![\w.])/(work|root|farm)/", line):
                yield f"{name}:{number}", "a path of one machine"
            if re.search(r"\b(TODO|FIXME|XXX)\b", line):
                yield f"{name}:{number}", "unfinished"


def check_scripts():
    scripts = [n for n in tracked(".sh", ".ci/run", ".ci/install", "sql/embed")]
    for script in scripts:
        run = subprocess.run(["sh", "-n", str(ROOT / script)], capture_output=True, text=True)
        if run.returncode:
            yield script, run.stderr.strip()
    if shutil.which("shellcheck") and scripts:
        run = subprocess.run(["shellcheck", "-f", "gcc", *scripts], cwd=ROOT, capture_output=True, text=True)
        for line in run.stdout.splitlines():
            yield tuple(line.split(" ", 1))


def check_python():
    for name in tracked(".py"):
        try:
            compile((ROOT / name).read_text(encoding="utf-8"), name, "exec")
        except SyntaxError as fault:
            yield f"{name}:{fault.lineno}", fault.msg


def check_yaml():
    import yaml
    for name in tracked(".yaml"):
        try:
            yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))
        except yaml.YAMLError as fault:
            yield name, str(fault).split("\n")[0]


def check_man_pages():
    if not shutil.which("man"):
        return
    for name in tracked(".1", ".5", ".8"):
        run = subprocess.run(["man", "--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z", str(ROOT / name)], capture_output=True, text=True)
        for line in run.stderr.splitlines():
            yield name, line


def check_links():
    for name in tracked(".md"):
        for number, line in lines(name):
            for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", line):
                if not (ROOT / name).parent.joinpath(target).exists():
                    yield f"{name}:{number}", f"there is no {target}"


RULES = [check_layers, check_foreign, check_core_is_pure, check_sql_only_in_store, check_headers, check_text, check_scripts, check_python, check_yaml,
         check_man_pages, check_links]


def main():
    passed = failed = 0
    for rule in RULES:
        breaches = list(rule())
        for place, text in breaches:
            print(f"{place}: {text}")
        passed += not breaches
        failed += bool(breaches)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
