"""`podarcade.probe`: how many seeds one program should train."""

import json

import pytest

from podarcade import probe
from podarcade.runtime.signals import DONE, ERROR


def rows(rates):
    return [{"seeds": seeds, "frames_per_second": rate} for seeds, rate in rates.items()]


@pytest.mark.parametrize(
    ("rates", "chosen"),
    [
        ({1: 100, 4: 300, 16: 900}, 16),
        ({1: 100, 4: 90, 16: 80}, 1),  # one after the other
        ({1: 100, 4: 300, 16: 305}, 4),  # as fast within a few per cent, and smaller
        ({1: 100, 4: 300, 16: 250}, 4),
    ],
)
def test_the_fastest_program_is_chosen(rates, chosen):
    assert probe.best(rows(rates)) == chosen


def test_command(tmp_path, capsys):
    path = tmp_path / "probe.json"
    arguments = ["--config=configs/ppo.py:game=repeat_first,memory=none,preset=smoke", f"--json={path}"]
    assert probe.main(["probe", *arguments, "--sizes=2,1", "--repeats=2"]) == DONE
    found = json.loads(path.read_text())
    assert [row["seeds"] for row in found["rows"]] == [1, 2]
    assert all(0 < row["low"] <= row["frames_per_second"] <= row["high"] for row in found["rows"])
    assert f"fastest: {found['best']} seed" in capsys.readouterr().out


@pytest.mark.parametrize("sizes", ["", "0", "1,x"])
def test_bad_sizes_are_one_line(sizes, capsys):
    arguments = ["--config=configs/ppo.py:game=repeat_first,memory=none,preset=smoke", f"--sizes={sizes}"]
    assert probe.main(["probe", *arguments]) == ERROR
    assert "error: " in capsys.readouterr().err
