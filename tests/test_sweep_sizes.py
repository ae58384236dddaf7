"""How many agents one program of a sweep trains."""

import json
import types

import pytest

from podarcade.configuration import files
from podarcade.sweeps import sizes
from podarcade.sweeps.structures import Loader

FILE = "configs/ppo.py:game=tmaze,memory=gru,preset=cpu"


def row(seeds, rate, compiled=20):
    return {"seeds": seeds, "frames_per_second": rate, "compile_seconds": compiled}


@pytest.mark.parametrize(
    ("rates", "frames", "expected"),
    [
        ({1: 100, 4: 400, 16: 1600}, 1e5, 16),  # the device is never full
        ({1: 100, 4: 25, 16: 6}, 1e6, 1),  # one after the other
        ({1: 100, 4: 90, 16: 80}, 1e5, 1),  # 30 s of start-up are little beside 1,000 s of training
        ({1: 100, 4: 90, 16: 80}, 1e2, 16),  # and all that matters beside 1 s
        ({1: 100, 4: 200, 16: 150}, 1e5, 4),
    ],
)
def test_the_least_time_for_each_agent(rates, frames, expected):
    assert sizes.best([row(seeds, rate) for seeds, rate in rates.items()], frames) == expected


@pytest.mark.parametrize("frames", [1, 1e3, 1e4, 1e5, 1e9])
@pytest.mark.parametrize("slope", [0.1, 0.5, 0.9, 1.0, 1.1, 2.0])
def test_never_slower_than_one_after_the_other(frames, slope):
    """By the model, whatever was measured."""
    rows = [row(seeds, 100 * seeds ** (slope - 1)) for seeds in sizes.SIZES]
    chosen = next(one for one in rows if one["seeds"] == sizes.best(rows, frames))

    def whole(one):  # seconds for 64 agents
        return 64 / one["seeds"] * (sizes.STARTUP + one["compile_seconds"]) + 64 * frames / one["frames_per_second"]

    assert whole(chosen) <= whole(rows[0]) * (1 + 1e-12)


def structure(text=FILE, frames=500_000):
    return Loader().read(text, {"frames": str(frames)})[0]


def measured(folder, rows):
    calls = []

    def probe(structure, asked, options):
        calls.append((asked, options))
        return rows

    said = []
    return sizes.Sizes(folder, said.append, ("--cpu_devices=1",), probe), calls, said


def test_short_sweeps_are_not_measured(tmp_path):
    size_of, calls, said = measured(tmp_path, [])
    assert size_of(structure(), 5) == sizes.VECTOR_SLOTS and not calls and not said
    assert not list(tmp_path.iterdir())


def test_a_kind_is_measured_once_and_recorded(tmp_path):
    rows = [row(1, 50_000), row(4, 10_000)]
    size_of, calls, said = measured(tmp_path, rows)
    assert size_of(structure(), 200) == 1
    assert calls == [(list(sizes.SIZES), ("--cpu_devices=1",))]
    assert "frames/s by agents side by side: 1: 50,000, 4: 10,000" in said[-1]
    assert size_of(structure(FILE.replace("tmaze", "repeat_first")), 200) == 1 and len(calls) == 1
    assert size_of(structure(FILE.replace("gru", "lru")), 200) == 1 and len(calls) == 2  # another kind
    again, calls, _ = measured(tmp_path, [])
    assert again(structure(), 200) == 1 and not calls
    assert len(json.loads((tmp_path / "probe.json").read_text())) == 2


def test_without_a_measurement_the_default_remains(tmp_path):
    size_of, _, _ = measured(tmp_path, [])
    assert size_of(structure(), 200) == sizes.VECTOR_SLOTS


def test_a_damaged_record_is_one_line(tmp_path):
    (tmp_path / sizes.RECORD).write_text("{")
    with pytest.raises(ValueError, match="damaged"):
        measured(tmp_path, [])


def test_a_probe_that_fails_says_why(capsys):
    broken = types.SimpleNamespace(arguments=("--config=configs/nothing.py",))
    assert sizes.run_probe(broken, [1], ()) == []
    assert "not measured: exited with code 1" in capsys.readouterr().out


def test_a_probe_runs(tmp_path):
    small = structure(f"{files.experiments()}/ppo.py:game=repeat_first,memory=none,preset=smoke", 1000)
    (found,) = sizes.run_probe(small, [2], ("--repeats=1",))
    assert found["seeds"] == 2 and found["frames_per_second"] > 0
