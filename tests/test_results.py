"""Results of comparisons: what is read off a run's records, pooled seeds, and what the table says of its numbers."""

import copy
import itertools
import json
import pathlib

import numpy as np
import pytest

from podarcade.envs import bounds
from podarcade.envs.environment import environment_names
from podarcade.reporting import results, statistics, tables

RECORDED = pathlib.Path(__file__).parent.parent / "benchmarks" / "results"


def records(returns, twin="partial", frames=100):
    """Records of a run of some seeds, evaluated at 0, 100, 200, ... frames; returns are [n][S]."""
    other = "full" if twin == "partial" else "partial"
    return [
        {"frames": [frames * index] * len(row), "seconds": 2.0 * index, f"eval/return_{twin}": row,
         f"eval/return_{other}": [0.5] * len(row), f"random/return_{twin}": [-1.0] * len(row)}
        for index, row in enumerate(returns)
    ]  # fmt: skip


def config(seed=0, seeds=2, **more):
    return {
        "seed": seed, "seeds": seeds, "memory": {"name": "none"}, "network": {"width": 8},
        "evaluation": {"episodes": 64}, **more,
    }  # fmt: skip


def row(variant="plain", returns=((0, 0), (0.1, 0.3)), game="tetris", twin="partial", **more):
    task = {"game": game, "level": "easy", "twin": twin}
    about = config(seeds=len(returns[0]), **more)
    return results.row(task, variant, about, records([list(one) for one in returns], twin), 0.1)


def test_a_summary_is_of_the_last_evaluations():
    found = results.summary(records([[0, 0], [1, 3], [2, 4], [3, 5]]), "partial", last=0.5)
    assert found["end"] == [2.5, 4.5] and found["mean"] == 3.5 and found["best"] == [3, 5]
    assert found["area"] == pytest.approx((0 + 2) / 2 / 3 + (2 + 3) / 2 / 3 + (3 + 4) / 2 / 3)
    assert (found["other_twin"], found["random"], found["start"], found["frames"]) == (0.5, -1.0, 0.0, 300)
    # Both seeds' frames, in the seconds of both.
    assert found["frames_per_second"] == 300 * 2 / 6.0
    assert "evaluation_seconds" not in found
    _, low, high, _ = statistics.interval([2.5, 4.5])
    assert found["interval"] == [low, high] and low < 2.5 and high > 4.5


def test_a_summary_is_over_the_same_frames_however_often_a_run_was_evaluated():
    """Both returns rise by 1 in 100 frames: over the last half of 800 they are 6 in the mean."""
    often = results.summary(records([[i, i] for i in range(9)], frames=100), "partial", last=0.5)
    seldom = results.summary(records([[2 * i, 2 * i] for i in range(5)], frames=200), "partial", last=0.5)
    assert often["mean"] == seldom["mean"] == 6.0 and often["end"] == seldom["end"] == [6.0, 6.0]


def test_the_time_of_evaluations_is_added_up():
    timed = [record | {"eval/seconds": 0.5} for record in records([[0, 0], [1, 3], [2, 4]])]
    timed[0]["random/seconds"] = 2.0
    assert results.summary(timed, "partial", last=0.1)["evaluation_seconds"] == 3.5


def test_fresh_starts_and_sampled_actions_are_kept_where_a_run_has_them():
    several = records([[0, 0], [1, 3], [2, 4]])
    assert not {"fresh", "sampled"} & results.summary(several, "partial", last=0.5).keys()
    for record, value in zip(several, (0, 1, 2), strict=True):
        record["eval/sampled_return_partial"] = [value, 10 * value]
    several[-1] |= {"final/return_partial": [5, 6], "final/return_full": [7, 8]}
    found = results.summary(several, "partial", last=0.5)
    assert found["fresh"] == [5, 6] and found["sampled"] == [1.5, 15.0]


def test_one_seed_is_a_number_and_has_no_interval():
    single = [
        {key: value[0] if isinstance(value, list) else value for key, value in r.items()} for r in records([[0], [2]])
    ]
    found = results.summary(single, "partial", last=0)
    assert found["end"] == [2.0] and found["interval"] is None


def test_records_without_their_beginning_are_refused():
    for some in ([], records([[0, 0], [1, 3]])[1:]):
        for record in some:
            del record["random/return_partial"]
        with pytest.raises(ValueError, match="lacks its first record; remove the run's folder"):
            results.summary(some, "partial", last=0)


def test_returns_are_normalised_as_published():
    assert results.normalised(0.5, "tetris") == 0.75
    assert results.normalised(0.6, "breakout") == 1.0
    assert results.normalised(0.6, "cartpole") == 0.6


def test_a_curve_is_kept_with_both_twins():
    assert row()["curve"] == {"frames": [0, 100], "partial": [[0, 0], [0.1, 0.3]], "full": [[0.5, 0.5], [0.5, 0.5]]}


def test_the_end_of_a_kept_curve_is_computed_again():
    kept = row()["curve"]
    whole = results.final_statistics(kept, "partial", last=1)
    assert whole["end"] == [0.05, 0.15] and whole["mean"] == pytest.approx(0.1) and whole["other_twin"] == 0.5
    assert results.final_statistics(kept, "partial", last=0)["end"] == [0.1, 0.3]


def test_earlier_results_are_read_with_seeds_and_without_their_bands(tmp_path):
    path = tmp_path / "earlier.json"
    old = copy.deepcopy(row(seed=4)) | {"band": [0.1, 0.3]}
    del old["seeds"], old["interval"]
    path.write_text(json.dumps({"last": 0.1, "runs": [old]}), encoding="utf-8")
    assert results.read_rows(path) == ([row(seed=4)], 0.1)
    assert results.read_rows(path, last=1)[0][0]["mean"] == pytest.approx(0.1)
    for text, message in (
        (json.dumps({"runs": [{"variant": "a"}]}), "has no curves for a; train them again"),
        ('{"rows": []}', "is not a result of a comparison"),
        ("{", "is not a result of a comparison"),
    ):
        path.write_text(text, encoding="utf-8")
        with pytest.raises(ValueError, match=message):
            results.read_rows(path)
    with pytest.raises(ValueError, match="is not a result of a comparison"):
        results.read_rows(tmp_path / "missing.json")


def test_pooled_seeds_are_distinct():
    first, more = row(returns=((0, 0), (0.1, 0.3))), row(returns=((0, 0, 0), (0.3, 0.5, 0.7)), seed=1)
    (found,), lines = results.pooled([first, more], 0.1)
    assert found["seeds"] == [0, 1, 2, 3] and found["end"] == [0.1, 0.3, 0.5, 0.7]
    assert found["interval"] == list(statistics.interval([0.1, 0.3, 0.5, 0.7])[1:3])
    assert lines == ["tetris-easy-partial plain: dropped the second result of seeds 1"]
    for one, fresh in ((first, [7.0, 8.0]), (more, [9.0, 10.0, 11.0])):
        one["fresh"] = fresh
    assert results.pooled([first, more], 0.1)[0][0]["fresh"] == [7.0, 8.0, 10.0, 11.0]
    del more["fresh"]
    assert "fresh" not in results.pooled([first, more], 0.1)[0][0]
    (same,), lines = results.pooled([first, first], 0.1)
    assert same == first and lines == ["tetris-easy-partial plain: dropped the second result of seeds 0, 1"]


def test_what_cannot_be_pooled_is_refused():
    with pytest.raises(ValueError, match="two configurations are called 'plain' on tetris-easy-partial"):
        results.pooled([row(), row(seed=2, num_envs=8)], 0.1)
    with pytest.raises(ValueError, match="evaluated at different times"):
        results.pooled([row(), row(returns=((0,), (1,), (2,)), seed=2)], 0.1)
    assert len(results.pooled([row(), row(game="cartpole"), row("other")], 0.1)[0]) == 3


def test_repeated_seeds_under_another_name_are_found():
    rows = [row("one"), row("again"), row("later", seed=2), row("other", num_envs=8)]
    assert results.repeated(rows) == [
        "'again' repeats seeds 0, 1 of 'one', the same configuration, on tetris-easy-partial: do not pool them"
    ]


def test_no_recorded_result_repeats_seeds_but_the_one_that_says_so():
    """Rows with curves of all recorded comparisons; "again" is a second run of the default's first two seeds."""
    checked = 0
    for path in sorted(RECORDED.glob("*.json")):
        content = json.loads(path.read_text(encoding="utf-8"))
        if all("curve" in one for one in content.get("runs", [{}])):
            checked += 1
            repeats = [line for line in results.repeated(results.read_rows(path)[0]) if "again, two seeds" not in line]
            assert not repeats, path
    assert checked >= 8


def test_the_table_puts_what_0_and_the_random_policy_are_worth_beside_a_normalised_return(monkeypatch):
    """A memory that learns nothing has 0.625 or 0.5 on the papers' scale."""
    known = {"MineSweeperEasy": bounds.Bounds(-1.0, -0.2, 0.8), "BreakoutEasy": bounds.Bounds(-1.0, 1.0, 1.0)}
    monkeypatch.setattr(bounds, "find", known.get)
    zero = [row("idle", returns=((0, 0), (0, 0)), game=game) for game in ("minesweeper", "breakout")]
    text = tables.table(zero, 0.25)
    (line,) = [line for line in text.splitlines() if line.startswith("idle, partial twin")]
    #                            tasks, mean, random, share of memory;  scaled mean, iqm, random, return of 0
    assert line.split()[3:] == ["2", "0.000", "-1.000", "0.200", "0.562", "0.562", "0.000", "0.562"]
    minesweeper, breakout = text.splitlines()[2:4]
    assert " -0.200   0.800   0.200 " in minesweeper and "  1.000   1.000       - " in breakout
    assert "return on the twin trained on, mean over the last 25% of the frames" in text


def test_the_table_says_what_its_intervals_are_worth():
    text = tables.table([row("one", returns=((0,), (0.5,))), row("two")], 0.25)
    assert "interval: one seed: no interval" in text
    assert f"interval: {statistics.note(2)}" in text
    assert "WARNING: unequal numbers of seeds (one: 1, two: 2) on tetris-easy-partial: no ranking" in text
    assert "mean of 64 episodes on starts that all seeds and runs share" in text and "returns / 8)" in text
    assert "WARNING: unequal" not in tables.table([row("one"), row("two", num_envs=8)], 0.25)


def test_the_table_has_a_line_per_row_with_each_seed():
    single, double = tables.table([row("one", returns=((0,), (0.5,))), row("two")], 0.25).splitlines()[2:4]
    assert single.split()[1:6] == ["one", "0", "1", "0.500", "-"]
    assert double.split()[-2:] == ["0.100", "0.300"]
    np.testing.assert_allclose([float(double.split()[index]) for index in (5, 7)], row()["interval"], atol=6e-4)


def test_bounds_are_those_of_the_level_under_strict_rules_only(monkeypatch):
    known = bounds.Bounds(-1.0, 0.5, 1.0)
    monkeypatch.setattr(bounds, "find", {"TMazeEasy": known}.get)
    section = {"name": "tmaze", "level": "easy", "rules": "strict", "corridor_length": 10}
    assert results.known_bounds(section) is known
    for change in ({"corridor_length": 20}, {"rules": "published"}, {"level": "hard"}, {"name": "my/tmaze.py"}):
        assert results.known_bounds(section | change) is None
    assert known.share(0.75) == 0.5 and known.separates
    assert bounds.Bounds(0.0, 0.99, 1.0).share(1.0) is None


def test_every_recorded_bound_is_of_an_environment_and_in_order():
    """Within the noise, memory earns at least what a memoryless policy does, and that what a random one does."""
    names = environment_names()
    for name, row in bounds.record().items():
        assert name in names
        means = [row[kind]["mean"] for kind in ("random", "memoryless", "memory") if kind in row]
        errors = [row[kind].get("error", 0) for kind in ("random", "memoryless", "memory") if kind in row]
        assert all(b - a > -4 * sum(errors) - 1e-6 for a, b in itertools.pairwise(means)), (name, means)
