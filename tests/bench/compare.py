"""`make bench-compare BASE=file.json`: what moved between two files of `make bench` (or of one bench).

Rows with a reference are compared by their ratio, the others by their value. A row "moved" when the medians differ by more than both spreads allow, that is
when the ranges from least to most do not meet. Ends with status 1 when a bar that held is missed.
"""
import json
import pathlib
import sys


def rows(path):
    document = json.loads(pathlib.Path(path).read_text())
    benches = document.get("benches", [document])
    return {(b["bench"], r["what"], r["unit"]): r for b in benches for r in b["rows"]}


def figures(row):
    return (row["ratio"], row["ratio_least"], row["ratio_most"]) if "ratio" in row else (row["median"], row["least"], row["most"])


def main():
    if len(sys.argv) != 3:
        print("usage: make bench-compare BASE=file.json [BENCH_JSON=file.json]", file=sys.stderr)
        return 2
    before, after = rows(sys.argv[1]), rows(sys.argv[2])
    lost = 0
    for key in sorted(before.keys() | after.keys()):
        name = f"{key[0]:9} {key[1]:50} {'ratio' if 'ratio' in (before.get(key) or after[key]) else key[2]:9}"
        if key not in before or key not in after:
            print(f"{name} {'new' if key in after else 'gone'}")
            continue
        (a, a_low, a_high), (b, b_low, b_high) = figures(before[key]), figures(after[key])
        moved = "moved" if a_high < b_low or b_high < a_low else ""
        if before[key].get("holds", True) and not after[key].get("holds", True):
            lost += 1
            moved += " bar lost"
        change = f"{(b / a - 1) * 100:+.0f} %" if a else ""
        print(f"{name} {a:10.4g} -> {b:10.4g} {change:>7}  {moved}")
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main())
