"""Switches of observability: drop, recovery and final difference of synthetic runs with hand numbers."""

import json

import numpy as np
import pytest

from podarcade import compare
from podarcade.build import build
from podarcade.configuration import command_line
from podarcade.reporting import results, statistics, switch
from podarcade.runtime.run_files import planned_frames


def row(variant, observability, full, partial, seeds=(0, 1), twin="partial", **changes):
    """A run of 4 calls of 100 frames, of which 90 are real steps, evaluated after each; curves are [5][S]."""
    config = {
        "seed": seeds[0], "seeds": len(seeds), "frames": 400, "num_envs": 10, "updates_per_call": 2,
        "algorithm": {"name": "pqn", "rollout_length": 5}, "memory": {"name": "gru"}, "network": {"width": 8},
        "environment": {"observability": observability}, "evaluation": {"every": 1, "episodes": 64}, **changes,
    }  # fmt: skip
    curve = {"frames": [90.0 * index for index in range(5)], "full": full, "partial": partial}
    task = {"game": "tmaze", "level": "easy", "twin": twin}
    about = {"task": task, "variant": variant, "seeds": list(seeds), "random": -1.0, "memory_parameters": 100}
    about |= {"seconds": 1.0, "frames_per_second": 1.0, "config": config}
    return about | results.from_curve(curve, twin, 0.0)


FULL = [[0, 0], [0.5, 0.6], [0.9, 1.0], [0.8, 0.8], [0.7, 0.7]]
PARTIAL = [[0, 0], [0, 0], [0.1, 0.3], [0.4, 0.9], [0.9, 0.6]]


def switched(seeds=(0, 1), **changes):
    return row("later", "full,partial@200", FULL, PARTIAL, seeds, **changes)


def control(seeds=(0, 1), ends=(1.0, 0.9), **changes):
    rising = [[end * index / 4 for end in ends] for index in range(5)]
    return row("never", "partial", FULL, rising, seeds, **changes)


def test_a_switch_has_the_hand_numbers():
    (found,), lines = switch.analyse([switched(), control()], 0.0)
    assert not lines and (found.task, found.variant, found.control) == ("tmaze-easy", "later", "never")
    assert (found.old, found.new, found.frames, found.left, found.seeds) == ("full", "partial", 180, 180, (0, 1))
    np.testing.assert_allclose(found.drop, [0.9 - 0.1, 1.0 - 0.3])
    # From the random policy's -1: 0.95 of the way is 0.9 to a control of 1, 0.805 to one of 0.9.
    np.testing.assert_allclose(found.recovery, [180, 90])
    np.testing.assert_allclose(found.difference, [0.9 - 1.0, 0.6 - 0.9])


def test_the_way_back_is_measured_on_the_full_twin():
    late = row("later", "partial,full@200", PARTIAL, FULL, twin="full")
    (found,), _ = switch.analyse([late, control(), row("never", "full", FULL, PARTIAL, twin="full")], 0.0)
    assert (found.old, found.new) == ("partial", "full")
    np.testing.assert_allclose(found.drop, [0.9 - 0.1, 1.0 - 0.3])
    np.testing.assert_allclose(found.difference, [0.9 - 0.7, 0.6 - 0.7])


def test_a_run_may_never_recover_and_a_control_may_have_learnt_nothing():
    frames, returns = np.asarray([100.0, 150.0, 200.0]), np.asarray([[1.0, 0, 0], [0.4, 0, 0.96], [0.5, 0, 0]])
    found = switch.recovery(frames, returns, np.asarray([1.0, -1.0, 1.0]), -1.0)
    assert found[0] == np.inf, "the return at the switch is not a recovery"
    assert np.isnan(found[1]) and found[2] == 50


def test_seeds_are_paired_by_number():
    (found,), _ = switch.analyse([switched(), control((1, 2), (0.9, 0.2))], 0.0)
    assert found.seeds == (1,) and found.unpaired == (0, 2)
    np.testing.assert_allclose(found.difference, [0.6 - 0.9])
    text = switch.table([found], [])
    assert "unpaired seeds 0, 2 left out" in text and "-0.300" in text and "[" not in text
    _, (line,) = switch.analyse([switched(), control((5, 6))], 0.0)
    assert line == "tmaze-easy later: its control never shares no seed with it"


@pytest.mark.parametrize(
    "other",
    [
        {"memory": {"name": "lru"}}, {"frames": 500}, {"algorithm": {"name": "ppo", "rollout_length": 5}}, None,
    ],
)  # fmt: skip
def test_a_control_has_the_same_memory_and_trainer(other):
    rows = [switched()] if other is None else [switched(), control(**other)]
    found, (line,) = switch.analyse(rows, 0.0)
    assert not found and line.startswith("tmaze-easy later: no run of the same configuration that trained on the twin")
    assert f"MISSING: {line}" in switch.table(found, [line])


@pytest.mark.parametrize("schedule", ["full,0.5@200", "full,partial@100,full@200"])
def test_only_one_switch_between_the_twins_is_analysed(schedule):
    rows = [row("later", schedule, FULL, PARTIAL), control()]
    assert "expected one switch between the twins" in switch.analyse(rows, 0.0)[1][0]


def test_a_share_throughout_is_no_switch():
    assert switch.analyse([row("mixed", "0.5", FULL, PARTIAL), control()], 0.0) == ([], [])


def test_evaluations_that_are_not_the_configurations_are_refused():
    late = switched()
    late["config"]["evaluation"] = {"every": 3, "episodes": 64}  # 0, 2, 3, 4
    _, (line,) = switch.analyse([late, control(evaluation={"every": 3, "episodes": 64})], 0.0)
    assert line == "tmaze-easy later: 5 evaluations; its configuration has 4"


@pytest.mark.parametrize("every", [1, 3, 4])
@pytest.mark.parametrize("at", [1, 3, 6])
def test_the_evaluation_at_the_switch_is_the_one_that_a_run_makes(every, at):
    """Against `Run.should_evaluate`, which training asks."""
    from absl import flags

    arguments = ["--config=configs/ppo.py:preset=smoke,memory=gru,game=tmaze", f"--config.evaluation.every={every}"]
    config = command_line.load(flags.FlagValues(), ["test", *arguments])
    per_call = config.num_envs * config.algorithm.rollout_length * config.updates_per_call
    config.frames, config.environment.observability = 9 * per_call, f"full,partial@{at * per_call}"
    run = build(config)
    calls = [u for u in range(0, run.total_updates + 1, run.updates_per_call) if run.should_evaluate(u)]
    assert run.total_updates == planned_frames(config.to_dict()) // per_call * run.updates_per_call
    made = {"config": config.to_dict(), "curve": {"frames": calls}, "task": {"twin": "partial"}}
    assert calls[switch.switch_evaluation(made)] == at * run.updates_per_call


def test_the_table_says_how_many_recovered():
    (found,), lines = switch.analyse([switched(), control()], 0.0)
    (line,) = [one for one in switch.table([found], lines).splitlines() if one.startswith("tmaze-easy later")]
    drop = statistics.interval([0.8, 0.7])
    assert f"0.750 [{drop.low:.3f}, {drop.high:.3f}]" in line
    assert "full to partial at 180, control never" in line and line.endswith("2 of 2 seeds, median 90 frames")
    (found,), _ = switch.analyse([switched(), control(ends=(3.0, 3.0))], 0.0)
    assert switch.table([found], []).endswith("0 of 2 seeds, median over 180 frames")
    (found,), _ = switch.analyse([switched(), control(ends=(-1.0, -1.0))], 0.0)
    assert switch.table([found], []).endswith("the control is no better than the random policy")


def test_a_comparison_shows_its_switches(tmp_path, capsys):
    path = tmp_path / "results.json"
    path.write_text(json.dumps({"last": 0.25, "runs": [switched(), control()]}), encoding="utf-8")
    assert compare.main(["compare", f"--show={path}"]) == 0
    output = capsys.readouterr().out
    assert "observability switch: drop" in output and "2 of 2 seeds" in output and "Observability Gap" not in output
