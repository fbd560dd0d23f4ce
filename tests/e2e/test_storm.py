"""A storm through the daemon, the short form of `make bench-storm`: few notifications, and kills lose no transition."""
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "bench"))

import bench_storm  # noqa: E402

DEVICES, KILLS = 3000, 5


@pytest.fixture
def storm(build, tmp_path):
    made = bench_storm.Storm(build, tmp_path, DEVICES, seconds=3, wait_ms=4000)
    yield made
    made.close()


def test_a_storm_is_told_of_once_and_kills_lose_nothing(storm, tell):
    storm.strike()
    assert storm.table["notifications"] <= 3 and storm.table["of single devices"] == 0, storm.table
    storm.strike_under_kills(KILLS)
    wrong = storm.judge()
    tell(", ".join(f"{name} {value}" for name, value in storm.table.items()))
    assert not wrong, wrong
