#!/usr/bin/python3
"""Measures the agent core built for a microcontroller, and fails above a budget or when it needs more than the listed functions.

  flash  text + read-only data + initialised data of the whole core, with the helpers that the compiler adds (64-bit division, double)
  RAM    initialised and zeroed data, one struct agent, the buffer of memory_borrow, and the deepest path of calls: the frames along
         it, from -fcallgraph-info=su. A call through a port counts as nothing: what your own functions need comes on top. The core does
         not recurse; where the call graph has a cycle, or a frame without a bound, this fails.
"""
import argparse
import pathlib
import re
import subprocess
import sys

TOOLS = "arm-none-eabi-"


def run(tool, *arguments):
    return subprocess.run([TOOLS + tool, *map(str, arguments)], check=True, capture_output=True, text=True).stdout


def budget(readme, name):
    """(flash, ram) in bytes, from the row of the README's table."""
    row = re.search(rf"^\| {re.escape(name)}[ ,][^|]*\| (\d+) KiB \| (\d+) KiB \|$", readme.read_text(), re.M)
    if not row:
        sys.exit(f"{readme}: no budget for {name}")
    return int(row[1]) * 1024, int(row[2]) * 1024


def undefined(core):
    return {line.split()[-1] for line in run("nm", "-u", core).splitlines()}


def sections(core):
    """(flash, ram) of the sections."""
    text, data, bss = map(int, run("size", core).splitlines()[1].split()[:3])
    return text + data, data + bss


def sizes_of(path):
    return {name: int(size, 16) for _, size, _, name in (line.split() for line in run("nm", "-S", path).splitlines())}


def read_graph(folder):
    """Frames and calls of all functions; names of static functions are qualified by their file."""
    frames, calls = {}, {}
    for path in sorted(folder.rglob("*.ci")):
        for line in path.read_text().splitlines():
            node = re.match(r'node: \{ title: "([^"]*)" label: "([^"]*)"', line)
            edge = re.match(r'edge: \{ sourcename: "([^"]*)" targetname: "([^"]*)"', line)
            if node:
                size = re.search(r"(\d+) bytes \((\w+)\)", node[2])
                if size:
                    if size[2] != "static":
                        sys.exit(f"{node[1]}: a frame without a bound ({size[2]})")
                    frames[node[1]] = int(size[1])
            elif edge:
                calls.setdefault(edge[1], set()).add(edge[2])
    return frames, calls


def deepest(frames, calls):
    """(bytes, path) of the deepest path of calls."""
    known, active = {}, []

    def depth(name):
        if name in active:
            sys.exit("recursion: " + " -> ".join(active[active.index(name):] + [name]))
        if name not in known:
            active.append(name)
            below = max((depth(c) for c in calls.get(name, ()) if c in frames), default=(0, []))
            known[name] = (frames[name] + below[0], [name] + below[1])
            active.pop()
        return known[name]
    return max(depth(name) for name in frames)


def main():
    options = argparse.ArgumentParser()
    options.add_argument("folder", type=pathlib.Path, help="core.o, sizes.o and *.ci of one build")
    options.add_argument("--name", required=True)
    options.add_argument("--allowed", type=pathlib.Path, required=True)
    options.add_argument("--readme", type=pathlib.Path, required=True, help="where the budgets stand")
    o = options.parse_args()
    o.flash, o.ram = budget(o.readme, o.name)
    allowed = {line for line in o.allowed.read_text().split("\n") if line and not line.startswith("#")}
    more = undefined(o.folder / "core.o") - allowed
    if more:
        sys.exit(f"{o.name}: the core needs what is not in {o.allowed}: {' '.join(sorted(more))}")
    flash, static = sections(o.folder / "core.o")
    sizes = sizes_of(o.folder / "sizes.o")
    stack, path = deepest(*read_graph(o.folder))
    agent, memory = sizes["size_of_agent"], sizes["size_of_memory"]
    ram = static + agent + memory + stack
    print(f"{o.name}: flash {flash} of {o.flash} bytes, RAM {ram} of {o.ram} bytes (data {static}, struct agent {agent}, borrowed memory {memory}, "
          f"stack {stack})")
    print(f"  deepest: {' '.join(p.rsplit(':', 1)[-1] for p in path)}")
    if flash > o.flash or ram > o.ram:
        sys.exit(f"{o.name}: above the budget")


if __name__ == "__main__":
    main()
