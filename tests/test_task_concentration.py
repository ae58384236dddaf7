"""Concentration: rules, history, and the law of the cards."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from task_playing import fields, make, random_play
from task_replay import assert_injective, assert_mean, episodes, first_returns, replay

from benchmarks import bounds
from benchmarks.bounds import concentration
from podarcade.envs.tasks.concentration import FIRST

BY_COLOUR = np.arange(52) % 2


def laid_out(task, kinds):
    """A start whose cards are known: the board is that of `kinds`."""
    state = task.reset(jax.random.key(0))
    return state.replace(face=jnp.asarray(kinds + 1, jnp.int8))


def padded(*flips, length=104):
    return [*flips, *[0] * (length - len(flips))]


@pytest.fixture(scope="module")
def seen():
    """A board with alternating colours under four policies."""
    task = make("concentration")
    pairs = [card for block in range(13) for card in (4 * block, 4 * block + 2, 4 * block + 1, 4 * block + 3)]
    plans = [padded(*pairs), padded(), padded(0, 2), padded(0, 1, 2, 0, 5, 2, 7, 1)]
    return task, replay(task, plans, laid_out(task, BY_COLOUR))


def shown(task, seen, plan):
    """Cards on show at each time, as sets."""
    cells = fields(task, seen.partial[:, plan])["shown"].reshape(-1, task.count, task.types + 1)
    np.testing.assert_array_equal(cells.sum(axis=2), 1)
    return [set(np.flatnonzero(row[:, : task.types].any(axis=1))) for row in cells]


def test_all_pairs_are_found_in_the_fewest_flips(seen):
    task, play = seen
    np.testing.assert_allclose(play.reward[:52, 0].sum(), 1, atol=1e-6)
    np.testing.assert_allclose(play.reward[:52, 0], [0, 2 / 52] * 26, atol=1e-6)
    assert np.flatnonzero(play.terminal[:, 0])[0] == 51 and task.max_steps == 104


def test_flipping_one_card_for_ever(seen):
    """Card 0 twice is a failed pair; once it is matched, flipping it costs 1 / T."""
    _, play = seen
    np.testing.assert_allclose(play.reward[:, 1], [0, -2 / 104] * 52, atol=1e-6)
    np.testing.assert_allclose(play.reward[:, 2], [0, 2 / 52] + [-1 / 104] * 102, atol=1e-6)
    np.testing.assert_allclose(play.reward[:, 2].sum(), -0.942308, atol=1e-6)
    assert not play.terminal[:, 1:].any()


def test_what_is_on_show(seen):
    """A failed pair is shown until the next flip; an open card breaks the pair, wherever it comes in it."""
    task, play = seen
    # Flips 0, 1 fail; 2, 0 are a pair; 5 and the open 2 fail; 7, 1 are a pair.
    sets = [set(), {0}, {0, 1}, {2}, {0, 2}, {0, 2, 5}, {0, 2, 5}, {0, 2, 7}, {0, 1, 2, 7}, {0, 1, 2, 7}]
    assert shown(task, play, 3)[:10] == sets
    costs = [0, -2 / 104, 0, 2 / 52, 0, -2 / 104, 0, 2 / 52, -1 / 104]
    np.testing.assert_allclose(play.reward[:9, 3], costs, atol=1e-6)
    full = fields(task, play.full[:, 3])
    np.testing.assert_array_equal(full["second"][:10, 0], [0, 1, 0, 1, 0, 1, 0, 1, 0, 0])
    np.testing.assert_array_equal(full["matched"].sum(axis=1)[:10], [0, 0, 0, 0, 2, 2, 2, 2, 4, 4])


@pytest.mark.parametrize("level", ["easy", "hard"])
def test_history(level):
    """The hidden block follows from the flips and what they showed."""
    task = make("concentration", level)
    play = random_play(task)
    hidden, part = fields(task, play.full), fields(task, play.partial)
    cells = part["shown"].reshape(*play.start.shape, task.count, task.types + 1)
    kinds = np.where(cells[..., -1] > 0, -1, cells[..., : task.types].argmax(axis=-1))
    for env, steps in list(episodes(play))[:48]:
        known, matched, first = np.full(task.count, -1), np.zeros(task.count, bool), None
        for step in range(steps.start, steps.stop):
            if step > steps.start:
                card = play.action[step - 1, env]
                assert known[card] in (-1, kinds[step, env, card])
                known[card] = kinds[step, env, card]
                if first is None:
                    first = None if matched[card] else card
                else:
                    if card != first and not matched[card] and known[card] == known[first]:
                        matched[[card, first]] = True
                    first = None
            remembered = np.where(kinds[step, env] < 0, known, -1)
            expected = (remembered[:, None] == np.arange(task.types)).reshape(-1)
            np.testing.assert_array_equal(hidden["remembered"][step, env], expected)
            np.testing.assert_array_equal(hidden["matched"][step, env], matched)
            assert hidden["second"][step, env, 0] == (first is not None)
    assert_injective(play, "face", "status")


def test_every_kind_is_dealt_its_number_of_times():
    """Turning over all cards in order is a shuffle: exact counts, and the chance of two equal neighbours."""
    task = make("concentration", "hard")

    @jax.jit
    @jax.vmap
    def turned_over(key):
        def flip(state, card_and_key):
            return task.step(state, *card_and_key)[0], None

        return jax.lax.scan(flip, task.reset(key), (jnp.arange(52), jax.random.split(key, 52)))[0].face

    faces = np.asarray(turned_over(jax.random.split(jax.random.key(0), 2000)))
    assert ((faces[..., None] == np.arange(1, 14)).sum(axis=1) == 4).all()
    for one, other in ((0, 1), (0, 51), (50, 51)):
        same = (faces[:, one] == faces[:, other]).mean()
        assert abs(same - 3 / 51) < 4 * np.sqrt(3 / 51 * 48 / 51 / 2000)
    shares = (faces[:, 0, None] == np.arange(1, 14)).mean(axis=0)
    assert (np.abs(shares - 1 / 13) < 4.5 * np.sqrt(12 / 13**2 / 2000)).all()


def test_returns():
    task = make("concentration")
    assert_mean(first_returns(random_play(task)), -0.192)
    assert_mean(bounds.play(task, concentration.memoryless(task), 300).returns, 0.454)
    played = bounds.play(task, concentration.memory(task), 300)
    assert_mean(played.returns, 0.8137)
    assert (played.lengths < task.max_steps).mean() > 0.9


def test_unknown_cards_change_nothing_and_break_the_pair():
    task = make("concentration")
    play = replay(task, [[-1, 99, 0, 52, 0, 2]], laid_out(task, BY_COLOUR))
    np.testing.assert_allclose(play.reward[:, 0], [0, 0, 0, -2 / 104, 0, 2 / 52], atol=1e-6)
    assert (play.state.status[3, 0] == FIRST).sum() == 1 and not (play.state.status[4, 0] == FIRST).any()


def test_sizes_and_parameters():
    for level, size, observation, limit in (
        ("easy", 112, 313, 104),
        ("medium", 216, 625, 208),
        ("hard", 112, 1457, 104),
    ):
        task = make("concentration", level)
        state = jax.eval_shape(task.reset, jax.random.key(0))
        assert sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(state)) == size
        assert jax.eval_shape(task.draw, state, np.bool_(True)).shape == (observation,) and task.max_steps == limit
    with pytest.raises(ValueError, match="types=4; expected a divisor of 26 with decks=1"):
        make("concentration", types=4)
