"""The Numenta Anomaly Benchmark's score of `aviaryctl detect`.

usage: detect_nab.py --build BUILD --nab DIR [--json FILE]

DIR is a checkout of the benchmark (its data/ and labels/ are read). Scores are computed as its documentation and paper
(Lavin and Ahmad 2015) say: a detection in a window is worth a sigmoid of its place in it, only the first counts; one
outside costs the profile's weight, less just behind a window; one threshold for all files, the best one. The
benchmark's own scorer gives the same figures.
"""
import argparse
import json
import math
import pathlib
import subprocess
import sys

PROFILES = {"standard": (0.11, 1.0), "reward_low_FP_rate": (0.22, 1.0), "reward_low_FN_rate": (0.11, 2.0)}  # weights of FP, FN
BARS = {"standard": 75.0, "reward_low_FP_rate": 67.1, "reward_low_FN_rate": 80.5}
PROBATION, PROBATION_ROWS = 0.15, 5000


def sigmoid(position):
    return -1.0 if position > 3 else 2 / (1 + math.exp(5 * position)) - 1


def detect(build, path, options=(), change=None):
    """Rows (timestamp, value, score) of a file; `change` maps each input line."""
    lines = path.read_text().splitlines()
    if change:
        lines = [lines[0]] + [change(line) for line in lines[1:]]
    done = subprocess.run([str(build / "aviaryctl"), "detect", *options], input="\n".join(lines) + "\n", text=True, capture_output=True, check=True)
    rows = [line.split(",") for line in done.stdout.splitlines()[1:]]
    assert len(rows) == len(lines) - 1, f"{path}: {len(lines) - 1} rows went in, {len(rows)} came out"
    return [(stamp, float(value), float(score)) for stamp, value, score in rows]


def weigh(name, rows, windows):
    """(score, worth, window or None) of each row after the probation; worth is unweighted, 1 = the start of a window."""
    at = {row[0][:19]: i for i, row in enumerate(rows)}
    spans = [(at[a[:19]], at[b[:19]]) for a, b in windows]
    probation = min(math.floor(PROBATION * len(rows)), PROBATION * PROBATION_ROWS)
    out, last = [], None
    for i, (_, _, score) in enumerate(rows):
        inside = next((span for span in spans if span[0] <= i <= span[1]), None)
        if inside:
            worth = sigmoid(-(inside[1] - i + 1) / (inside[1] - inside[0] + 1)) / sigmoid(-1.0)
        else:
            last = max((span for span in spans if span[1] < i), default=None)
            worth = -1.0 if last is None else sigmoid((i - last[1]) / (last[1] - last[0]))
        if i >= probation:
            out.append((score, worth, (name, inside) if inside else None))
    return out


def best(points, windows, false_positive, false_negative):
    """The best threshold's (normalised score, threshold, false positives, windows hit)."""
    value = {}
    total = -false_negative * windows
    top = (total, 1.1, 0, 0)
    outside = 0
    points = sorted(points, key=lambda p: -p[0])
    for i, (score, worth, window) in enumerate(points):
        if window is None:
            total += worth * false_positive
            outside += 1
        elif worth > value.get(window, -false_negative):
            total += worth - value.get(window, -false_negative)
            value[window] = worth
        if (i + 1 == len(points) or points[i + 1][0] != score) and total > top[0]:
            top = (total, score, outside, len(value))
    return 100 * (top[0] + false_negative * windows) / (windows * (1 + false_negative)), *top[1:]


def score_corpus(build, nab, options=(), change=None, only=None):
    labels = json.loads((nab / "labels/combined_windows.json").read_text())
    points, windows = [], 0
    for name in sorted(labels):
        if only and name not in only:
            continue
        points += weigh(name, detect(build, nab / "data" / name, options, change), labels[name])
        windows += len(labels[name])
    return {profile: best(points, windows, *weights) for profile, weights in PROFILES.items()}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", type=pathlib.Path, required=True)
    parser.add_argument("--nab", type=pathlib.Path, required=True)
    parser.add_argument("--json", type=pathlib.Path)
    args = parser.parse_args()
    forms = {"full, 168 bytes": (), "compact, 56 bytes": ("--compact",)}
    result = {form: score_corpus(args.build, args.nab, options) for form, options in forms.items()}

    def scaled(line):
        stamp, value = line.split(",")
        return f"{stamp},{float(value) * 3.7 + 1000!r}"
    result["full, values x 3.7 + 1000"] = score_corpus(args.build, args.nab, (), scaled)
    print(f"{'form':28}{'standard':>10}{'low FP':>10}{'low FN':>10}{'FP':>7}{'windows hit':>13}")
    for form, scores in result.items():
        print(f"{form:28}" + "".join(f"{scores[p][0]:10.2f}" for p in PROFILES) + f"{scores['standard'][2]:7d}{scores['standard'][3]:13d}")
    if args.json:
        args.json.write_text(json.dumps(result, indent=1))
    full = result["full, 168 bytes"]
    return 0 if all(full[p][0] >= BARS[p] for p in PROFILES) else 1


if __name__ == "__main__":
    sys.exit(main())
