"""The Numenta Anomaly Benchmark's score of `aviaryctl detect`, and how honest it is.

usage: detect_nab.py --build BUILD --nab DIR [--json FILE]

DIR is a checkout of the benchmark (its data/ and labels/ are read). Scores are computed as its documentation and paper
(Lavin and Ahmad 2015) say: a detection in a window is worth a sigmoid of its place in it, only the first counts; one
outside costs the profile's weight, less just behind a window; one threshold for all files, the best one. The
benchmark's own scorer gives the same figures.

Honest: the same with values in other units, with noise of 1 % of a file's standard deviation, and with the clock three
hours on; every file cut somewhere has the same scores up to the cut; and constants that were found on one half of the files
alone (tests/bench/nab_halves.c), scored on the other half.
"""
import argparse
import datetime
import json
import math
import pathlib
import random
import statistics
import subprocess
import sys

FORMS = {"full, 192 bytes": (), "compact, 64 bytes": ("--compact",)}
PROFILES = {"standard": (0.11, 1.0), "reward_low_FP_rate": (0.22, 1.0), "reward_low_FN_rate": (0.11, 2.0)}  # weights of FP, FN
BARS = {"standard": 75.0, "reward_low_FP_rate": 67.1, "reward_low_FN_rate": 80.5}
COMPACT_BAR, HELD_OUT_BAR, NOISE_BAR, AFFINE_POINTS, SHIFT_POINTS = 72.0, 70.0, 73.0, 2.0, 1.0
PROBATION, PROBATION_ROWS = 0.15, 5000


def sigmoid(position):
    return -1.0 if position > 3 else 2 / (1 + math.exp(5 * position)) - 1


def detect(build, path, options=(), change=None, command=None):
    """Rows (timestamp, value, score) of a file, with its own timestamps; `change` maps all (timestamp, value) before."""
    header, *lines = path.read_text().splitlines()
    rows = [line.split(",") for line in lines]
    fed = change(rows) if change else rows
    text = "\n".join([header, *map(",".join, fed)]) + "\n"
    done = subprocess.run(command or [str(build / "aviaryctl"), "detect", *options], input=text, text=True, capture_output=True, check=True)
    scores = [line.rsplit(",", 1)[1] for line in done.stdout.splitlines()[1:]]
    assert len(rows) == len(scores), f"{path}: {len(rows)} rows went in, {len(scores)} came out"
    return [(stamp, float(value), float(score)) for (stamp, value), score in zip(rows, scores)]


def other_units(rows):
    return [(stamp, repr(float(value) * 3.7 + 1000)) for stamp, value in rows]


def noisy(rows):
    """With noise of 1 % of the standard deviation of all, a file's own and the same at each call."""
    rng, spread = random.Random(f"{rows[0]}, {len(rows)} rows"), 0.01 * statistics.pstdev(float(value) for _, value in rows)
    return [(stamp, repr(float(value) + rng.gauss(0, spread))) for stamp, value in rows]


def three_hours_on(rows):
    later = datetime.timedelta(hours=3)
    return [(str(datetime.datetime.fromisoformat(stamp) + later), value) for stamp, value in rows]


CHANGES = {"": None, ", values x 3.7 + 1000": other_units, ", noise of 1 %": noisy, ", clock 3 h on": three_hours_on}


def is_prefix(build, path, options=()):
    """Whether the file, cut somewhere, has the same scores up to there."""
    whole = detect(build, path, options)
    cut = random.Random(path.name).randrange(1, len(whole))
    return detect(build, path, options, lambda rows: rows[:cut] + [(rows[cut][0], "1e30")] * (len(rows) - cut))[:cut] == whole[:cut]


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


def corpus(nab):
    """(name, windows) of every file, in the order of names."""
    return sorted(json.loads((nab / "labels/combined_windows.json").read_text()).items())


def weigh_files(build, nab, files, **how):
    return [point for name, windows in files for point in weigh(name, detect(build, nab / "data" / name, **how), windows)]


def all_profiles(points, files):
    windows = sum(len(spans) for _, spans in files)
    return {profile: best(points, windows, *weights) for profile, weights in PROFILES.items()}


def held_out(build, nab, files, form):
    """Scores of each half by the constants of the other, and of all files so with one threshold."""
    points, result = [], {}
    for learned, rest in (("even", files[1::2]), ("odd", files[0::2])):
        of_rest = weigh_files(build, nab, rest, command=[str(build / "bench/nab_halves"), learned, form])
        result[f"{form}, learned on {learned} files, scored on others"] = all_profiles(of_rest, rest)
        points += of_rest
    result[f"{form}, held out, one threshold for both halves"] = all_profiles(points, files)
    return result


def verdicts(result, cut_files):
    """(what, whether it holds) of the bars."""
    def standard(form):
        return result[form]["standard"][0]
    full, compact = FORMS
    for profile, bar in BARS.items():
        yield f"full, {profile}: at least {bar}", result[full][profile][0] >= bar
    yield f"compact, standard: at least {COMPACT_BAR}", standard(compact) >= COMPACT_BAR
    units, noise, clock = list(CHANGES)[1:]
    yield f"other units: within {AFFINE_POINTS} points", abs(standard(full + units) - standard(full)) <= AFFINE_POINTS
    yield f"noise of 1 %: at least {NOISE_BAR}", standard(full + noise) >= NOISE_BAR
    yield f"clock 3 h on: within {SHIFT_POINTS} point", abs(standard(full + clock) - standard(full)) <= SHIFT_POINTS
    halves = [scores["standard"][0] for form, scores in result.items() if form.startswith("full, learned")]
    yield f"held out: {statistics.mean(halves):.2f} in the mean, at least {HELD_OUT_BAR}", statistics.mean(halves) >= HELD_OUT_BAR
    yield f"cut files have the same scores: {cut_files}", not cut_files


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", type=pathlib.Path, required=True)
    parser.add_argument("--nab", type=pathlib.Path, required=True)
    parser.add_argument("--json", type=pathlib.Path)
    args = parser.parse_args()
    files = corpus(args.nab)
    result = {form + name: all_profiles(weigh_files(args.build, args.nab, files, options=options, change=change), files)
              for form, options in FORMS.items() for name, change in CHANGES.items()}
    for form in ("full", "compact"):
        result |= held_out(args.build, args.nab, files, form)
    print(f"{'form':52}{'standard':>10}{'low FP':>10}{'low FN':>10}{'FP':>7}{'windows hit':>13}")
    for form, scores in result.items():
        print(f"{form:52}" + "".join(f"{scores[p][0]:10.2f}" for p in PROFILES) + f"{scores['standard'][2]:7d}{scores['standard'][3]:13d}")
    if args.json:
        args.json.write_text(json.dumps(result, indent=1))
    cut = [form for form, options in FORMS.items() for name, _ in files if not is_prefix(args.build, args.nab / "data" / name, options)]
    checks = list(verdicts(result, cut))
    for what, holds in checks:
        print(f"{'kept    ' if holds else 'NOT KEPT'}  {what}")
    return 0 if all(holds for _, holds in checks) else 1


if __name__ == "__main__":
    sys.exit(main())
