"""What the benchmarks of hot paths share: processor time of a process, medians with their spread, rows for people and for `make bench-compare`.

A figure is a list of one number a run. Subject and reference run in turn, and what counts is their ratio run by run: the machine's mood is in both.
"""
import json
import os
import pathlib
import statistics
import subprocess

TICKS = os.sysconf("SC_CLK_TCK")


def cpu_s(pid):
    """User and system time of all threads so far; in nanosecond steps where the kernel tells them, and no thread has ended."""
    try:
        total = 0
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/schedstat") as f:
                total += int(f.read().split()[0])
        return total / 1e9
    except (OSError, ValueError, IndexError):
        with open(f"/proc/{pid}/stat") as f:
            fields = f.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICKS


def rss_bytes(pid):
    with open(f"/proc/{pid}/statm") as f:
        return int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def spread(values):
    """(median, least, most)"""
    return statistics.median(values), min(values), max(values)


class Table:
    """Rows of one benchmark: printed as they come, written to a file at the end."""

    def __init__(self, name, path=None):
        self.name, self.path, self.rows = name, path, []

    def add(self, what, unit, subject, reference=None, bar=None, at_least=False, note=""):
        """subject, reference: one value a run, in pairs. The bar is for the ratio where there is a reference, else for the value."""
        value, low, high = spread(subject)
        row = {"what": what, "unit": unit, "median": value, "least": low, "most": high, "runs": len(subject), "note": note}
        text = f"{what:58} {value:12.4g} {unit:9} [{low:.4g}, {high:.4g}]"
        judged = value
        if reference:
            ratio, r_low, r_high = spread([s / r for s, r in zip(subject, reference)])
            row.update(reference=spread(reference)[0], ratio=ratio, ratio_least=r_low, ratio_most=r_high)
            text += f"  against {row['reference']:.4g}: {ratio:.3f} [{r_low:.3f}, {r_high:.3f}]"
            judged = ratio
        if bar is not None:
            row.update(bar=bar, holds=bool(judged >= bar if at_least else judged <= bar))
            text += f"  bar {'>=' if at_least else '<='} {bar}: {'holds' if row['holds'] else 'MISSED'}"
        print(text + (f"  ({note})" if note else ""), flush=True)
        self.rows.append(row)

    def close(self):
        """Writes the file; 0 when every bar holds."""
        if self.path:
            commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False).stdout.strip()
            pathlib.Path(self.path).write_text(json.dumps({"bench": self.name, "commit": commit, "rows": self.rows}, indent=1) + "\n")
        return 0 if all(row.get("holds", True) for row in self.rows) else 1
