"""Staleness: the same slot by slot in loops, and the program's output."""

import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from builders import pqn, updater
from probes import Probe

from benchmarks import staleness
from podarcade.types import Batch

SMOKE = f"{pathlib.Path(__file__).parent.parent}/configs/pqn_lru.py:preset=smoke"
MID_EPISODE = Probe(length=17)  # after three updates of 8 steps the last 11 slots begin, and do not end, in an episode


def states_of(training, updates):
    """The states after each of some updates of one seed, and the one before them."""
    state = training.init(jnp.zeros(1, jnp.int32))
    program, kept = training.compile(state, 1), []
    for _ in range(updates):
        kept.append(jax.device_get(state))
        state, _ = program(state)
    return [jax.tree.map(lambda x: x[0], state) for state in (*kept, state)]


@pytest.mark.slow
def test_it_equals_acting_slot_by_slot_from_each_memory():
    algorithm = pqn("gru", rollout_length=8, burn_in=3, learning_rate=0.03)
    training = updater(MID_EPISODE, algorithm, num_envs=8)
    before, between, after = states_of(training, 3)[-3:]
    found = staleness.Squares(*map(np.asarray, staleness.compare(training, [before, between, after])))
    params, past, window = after.learner.params, between.actors.history, after.actors.history

    def play(params, carry, history, slots):
        frames = jax.vmap(jax.vmap(training.environment.draw))(history.slots.latent)
        drawn, values = history.slots.replace(latent=None, observation=frames), []
        for t in slots:
            carry, value = algorithm.apply(params, Batch(drawn.map(lambda x, t=t: x[None, :, t]), carry))
            values.append(value[0])
        return carry, np.stack(values)

    fresh, _ = play(params, past.carry, past, range(8))
    stored, _ = play(before.learner.params, past.carry, past, range(8))
    memories = [algorithm.initial(8), stored, window.carry]  # The update itself left the recomputed one there.
    values = [play(params, carry, window, range(11))[1] for carry in (fresh, *memories)]
    unbroken = ~np.logical_or.accumulate(window.slots.start, axis=1).T
    for name, ours, memory in zip(staleness.MEMORIES, found.difference, values[1:], strict=True):
        theirs = [np.square(memory[k] - values[0][k])[unbroken[k]].sum() for k in range(11)]
        np.testing.assert_allclose(ours, theirs, rtol=2e-3, atol=1e-7, err_msg=name)
        assert ours[0] > 1e-6, "it is not stale at all"
    assert found.count.tolist() == (2 * unbroken.sum(1)).tolist() and found.count[-1] < found.count[0]
    advantage = values[0] - values[0].mean(-1, keepdims=True)
    np.testing.assert_allclose(found.advantage / found.total, np.square(advantage).mean(), rtol=1e-3)


def test_slots_that_nothing_reaches_are_null():
    found = staleness.Squares(np.array([[8.0, 0.0]]), np.array([2, 0]), np.float32(6.0), np.float32(6.0))
    assert staleness._numbers(found.staleness()) == [[2.0, None]]


@pytest.mark.slow  # what is measured is tested above; this is the way there
def test_a_run_is_measured_at_its_shares(tmp_path, capsys):
    path = tmp_path / "staleness.json"
    arguments = [f"--config={SMOKE}", "--games=cartpole", "--override=config.seeds=2", "--override=config.frames=512"]
    staleness.main(["staleness", *arguments, "--at=0.6", "--updates=1", f"--json={path}"])
    text, result = capsys.readouterr().out, json.loads(path.read_text())
    (row,) = result["rows"]
    assert row["game"] == "CartPoleEasy" and f"{row['game']:20}" in text
    assert row["share"] == (5 + 2) / 8, "five updates reach 0.6, the next is the one before that which is measured"
    assert np.shape(row["staleness"]["recomputed"]) == (2, 8 + 2)
    assert row["staleness"]["recomputed"][0][0] > 0
    assert 0 < row["unbroken"][0] <= 1


def test_the_picture_has_games_one_below_the_other_and_shares_side_by_side(tmp_path):
    values = {name: [[2.0, 1.0, 0.5], [1.0, 0.25, None]] for name in staleness.MEMORIES}
    rows = [
        {"game": game, "twin": "partial", "share": share, "staleness": values}
        for game, share in (("one", 0.25), ("one", 0.5), ("other", 0.25))
    ]
    figure = staleness.picture(rows)
    panels = figure.axes
    titles = [panel.get_title() for panel in panels]
    assert titles == [
        "one, partial: 25% of the run",
        "one, partial: 50% of the run",
        "other, partial: 25% of the run",
        "",
    ]
    assert [len(panel.lines) for panel in panels] == [10, 10, 10, 0], "three of each memory, and the scale"
    np.testing.assert_array_equal(panels[0].lines[2].get_ydata(), [1.5, 0.625, np.nan])
    figure.savefig(tmp_path / "picture.png")
    assert (tmp_path / "picture.png").stat().st_size > 10_000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--at=half"], "--at=half; expected shares of the run, as 0.25,0.5"),
        (["--at=1.5"], "expected shares in (0, 1] and updates >= 1"),
        (["--updates=0"], "expected shares in (0, 1] and updates >= 1"),
        (["--games=chess"], "chess"),
        (["--override=config.algorithm.carry_init=zero"], "algorithm.carry_init=recomputed"),
        (["--override=config.memory.name=none"], "memory"),
        (["--quick"], "unrecognized arguments: --quick"),
    ],
)
def test_errors_are_one_line(arguments, message, capsys):
    with pytest.raises(SystemExit) as error:
        staleness.main(["staleness", f"--config={SMOKE}", *arguments])
    assert message in str(error.value) and str(error.value).startswith("error: ") and "\n" not in str(error.value)
    assert not capsys.readouterr().out, "it was found before anything was printed"
