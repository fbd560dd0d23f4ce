"""aviaryctl detect on real series: causal, honest with bad input, and it finds what is labelled."""
import json
import pathlib
import subprocess
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "bench"))
import detect_nab  # noqa: E402


def run(build, text, *options):
    return subprocess.run([str(build / "aviaryctl"), "detect", *options], input=text, text=True, capture_output=True)


@pytest.mark.parametrize("options", [(), ("--compact",)])
def test_a_cut_file_has_the_same_scores(build, shared, options):
    path = shared / "data/nab/realKnownCause/ec2_request_latency_system_failure.csv"
    lines = path.read_text().splitlines(keepends=True)
    whole = run(build, "".join(lines), *options).stdout.splitlines()
    assert len(whole) == len(lines)
    for cut in (2, 12, 700, 2000, len(lines) - 1):
        assert run(build, "".join(lines[:cut]), *options).stdout.splitlines() == whole[:cut]


@pytest.mark.parametrize("options", [(), ("--compact",)])
def test_what_comes_later_changes_no_score(build, shared, options):
    for path in sorted((shared / "data/nab").glob("*/*.csv")):
        assert detect_nab.is_prefix(build, path, options), path


@pytest.fixture(scope="module")
def standard(build, shared):
    """standard(form, change): the benchmark's standard score of the shared files."""
    root, known = shared / "data/nab", {}
    files = sorted(json.loads((root / "windows.json").read_text()).items())

    def score(form, change=""):
        if (form, change) not in known:
            how = {"options": detect_nab.FORMS[form], "change": detect_nab.CHANGES[change]}
            points = [p for name, spans in files for p in detect_nab.weigh(name, detect_nab.detect(build, root / name, **how), spans)]
            known[form, change] = detect_nab.all_profiles(points, files)["standard"][0]
        return known[form, change]
    return score


@pytest.mark.parametrize("form, bar", list(zip(detect_nab.FORMS, (80, 72))))
def test_score_of_the_shared_files(standard, tell, form, bar):
    tell(f"{form}: {standard(form):.2f}")
    assert standard(form) >= bar


@pytest.mark.parametrize("form", detect_nab.FORMS)
@pytest.mark.parametrize("change, points", list(zip(list(detect_nab.CHANGES)[1:], (detect_nab.AFFINE_POINTS, 5, detect_nab.SHIFT_POINTS))))
def test_units_noise_and_clock_matter_little(standard, tell, form, change, points):
    """One of these twenty windows is worth up to five points: that much the noise may take here."""
    tell(f"{form}{change}: {standard(form, change):.2f}")
    assert abs(standard(form, change) - standard(form)) <= points


def test_rows_and_values_come_back_as_they_were(build, shared):
    for path in sorted((shared / "data/nab").glob("*/*.csv")):
        lines = path.read_text().splitlines()
        out = run(build, "\n".join(lines) + "\n").stdout.splitlines()
        assert out[0] == "timestamp,value,anomaly_score"
        assert [line.rsplit(",", 1)[0] for line in out[1:]] == lines[1:]
        assert all(0 <= float(line.rsplit(",", 1)[1]) <= 1 for line in out[1:])


def test_labelled_windows_are_found(build, shared, tell):
    """Of the windows of these files most hold an event, and there are few events elsewhere."""
    windows = json.loads((shared / "data/nab/windows.json").read_text())
    hit = missed = outside = rows = 0
    for name, spans in windows.items():
        points = detect_nab.weigh(name, detect_nab.detect(build, shared / "data/nab" / name), spans)
        found = {window for score, _, window in points if score > 0.5 and window}
        hit, missed = hit + len(found), missed + len(spans) - len(found)
        outside += sum(score > 0.5 and window is None for score, _, window in points)
        rows += len(points)
    tell(f"{hit} of {hit + missed} labelled windows hold an event; {outside} events in {rows} rows elsewhere")
    assert hit >= 0.8 * (hit + missed)
    assert outside <= 50


def test_what_is_no_value_is_told_and_nothing_is_lost(build):
    done = run(build, "timestamp,value\n2026-01-01 00:00:00,1\n2026-01-01 00:05:00,nan\n2026-01-01T00:10:00Z,inf\n1767225900,2\n")
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) == 5
    assert "2 values are not finite" in done.stderr


@pytest.mark.parametrize("line, words", [("2026-01-01 00:00:00", "two columns"), ("2026-01-01 00:00:00,1,2", "two columns"),
                                         ("yesterday,1", "timestamp"), ("2026-01-01 25:00:00,1", "timestamp"), ("5,abc", "not a number"), ("5,", "not a number")])
def test_bad_rows_are_refused_with_their_line(build, line, words):
    done = run(build, f"timestamp,value\n5,1\n{line}\n")
    assert done.returncode == 6
    assert "line 3" in done.stderr and words in done.stderr
