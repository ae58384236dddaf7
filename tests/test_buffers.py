"""Buffers: windows against a numbered stream, sampling by counting, priorities by hand."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from builders import dqn, run, updater
from probes import Probe

from podarcade.algorithms.buffers import OnPolicyBuffer, ReplayBuffer, Windows
from podarcade.types import Batch, Slots

ENVIRONMENTS = 4
FAR = 1000  # between the slot numbers of two environments


def rollout(update, length, burn_in):
    """The batch of an update of a stream whose slots and carries are numbered, [W + T + 1, B]."""
    number = update * length + jnp.arange(-burn_in, length + 1)[:, None] + FAR * jnp.arange(ENVIRONMENTS)[None]
    flag = number % 5 == 0
    slots = Slots(
        latent={"number": number},
        observation=None,
        action=number,
        previous_action=number - 1,
        reward=number.astype(jnp.float32),
        terminal=flag,
        truncated=~flag,
        start=flag,
    )
    return Batch(
        slots=slots,
        carry=(number[0].astype(jnp.float32)[:, None],),
        prepared={"target": 0.5 * number[burn_in:-1]},
    )


def filled(ring, updates):
    """The ring after so many updates."""
    kept = ring.empty(jax.eval_shape(lambda: rollout(0, ring.length, ring.burn_in)))
    for update in range(updates):
        kept = ring.add(kept, rollout(update, ring.length, ring.burn_in))
    return kept


def make(**options):
    defaults = {"num_epochs": 1, "num_minibatches": 2, "capacity": 4 * ENVIRONMENTS * 3, "length": 3, "burn_in": 2}
    return ReplayBuffer(**(defaults | options))


@functools.cache
def drawn(ring, updates, steps=400):
    """Many draws of a ring after so many updates, on the host: (environment, rollout, importance), one each."""
    kept = filled(ring, updates)
    choose = jax.jit(jax.vmap(lambda key: ring.sample(key, kept, jnp.int32(0))))
    chosen = jax.device_get(choose(jax.random.split(jax.random.key(1), steps)))
    blocks = kept.priority.shape[1]
    newest = updates - 1
    number = newest - (newest - chosen.block) % blocks
    return chosen.environment.ravel(), number.ravel(), chosen.importance.ravel()


def valid_rollouts(ring, updates):
    """By the definition: the last K rollouts, of which all slots of the window are among them."""
    blocks = ring.capacity // (ENVIRONMENTS * ring.length)
    there = range(max(updates - blocks, 0), updates)
    first_slot = there[0] * ring.length
    return [number for number in there if number * ring.length - ring.prefix_length >= first_slot]


@pytest.mark.parametrize(
    ("length", "burn_in", "recompute_blocks", "blocks"),
    [(3, 2, 0, 4), (1, 1, 1, 5), (4, 4, 1, 4), (4, 0, 1, 3), (2, 0, 0, 3)],
)
def test_a_window_is_a_stretch_of_one_environments_past(length, burn_in, recompute_blocks, blocks):
    """A ring that is not full, full, and filled over and over, against the numbers of its slots."""
    ring = make(
        length=length, burn_in=burn_in, recompute_blocks=recompute_blocks, capacity=blocks * ENVIRONMENTS * length
    )
    add, look = jax.jit(ring.add), jax.jit(lambda key, kept: _look(ring, key, kept))
    kept = filled(ring, 0)
    for update in range(3 * blocks):
        kept = add(kept, rollout(update, length, burn_in))
        if valid := valid_rollouts(ring, update + 1):
            check_windows(ring, valid, *jax.device_get(look(jax.random.key(update), kept)))
    assert valid


def _look(ring, key, kept):
    chosen = ring.sample(key, kept, jnp.int32(0))
    return chosen, jax.lax.map(lambda choice: ring.gather(kept, choice), chosen)


def check_windows(ring, valid, chosen, batches):
    length = ring.length
    for step in range(len(chosen.block)):
        choice, batch = (jax.tree.map(lambda x, step=step: x[step], found) for found in (chosen, batches))
        for sequence, environment in enumerate(np.asarray(choice.environment)):
            numbers = batch.slots.latent["number"][:, sequence] - FAR * environment
            number = int(numbers[ring.prefix_length]) // length
            assert number in valid
            expected = number * length + np.arange(-ring.prefix_length, length + 1)
            np.testing.assert_array_equal(numbers, expected)
            np.testing.assert_array_equal(batch.slots.previous_action[:, sequence], batch.slots.action[:, sequence] - 1)
            np.testing.assert_array_equal(batch.slots.terminal[:, sequence], batch.slots.action[:, sequence] % 5 == 0)
            # The memory that actors had where the window begins; what was prepared, of the rollout alone.
            assert batch.carry[0][sequence, 0] == expected[0] + FAR * environment
            target = batch.prepared["target"][:, sequence]
            np.testing.assert_array_equal(target, 0.5 * batch.slots.action[ring.prefix_length : -1, sequence])


@pytest.mark.parametrize("updates", [2, 4, 9])
@pytest.mark.parametrize(
    "options", [{}, {"burn_in": 0}, {"recompute_blocks": 1}], ids=["burn-in", "none", "recomputed"]
)
def test_every_valid_window_is_drawn_equally_often_and_no_other(updates, options):
    ring = make(**options)
    environment, number, importance = drawn(ring, updates)
    valid = valid_rollouts(ring, updates)
    if not valid:
        assert not importance.any()
        return
    np.testing.assert_array_equal(importance, 1.0)
    counts = np.asarray([[np.sum((environment == e) & (number == n)) for n in valid] for e in range(ENVIRONMENTS)])
    assert counts.sum() == len(number) == 400 * 2 * 2
    expected = counts.sum() / counts.size
    assert np.abs(counts - expected).max() < 5 * np.sqrt(expected)


def test_priorities_are_drawn_by_their_power_and_importance_makes_up_for_it():
    ring = make(priority_exponent=0.5, importance_exponent=0.7, burn_in=0)
    priority = np.tile(np.asarray([1.0, 4.0, 9.0, 16.0], np.float32), (ENVIRONMENTS, 1))
    priority[2:] = 1.0
    kept = filled(ring, 4).replace(priority=jnp.asarray(priority))
    choose = jax.jit(jax.vmap(lambda key: ring.sample(key, kept, jnp.int32(0))))
    chosen = jax.device_get(choose(jax.random.split(jax.random.key(0), 2000)))
    first = chosen.environment < 2  # the first group
    shares = np.asarray([np.mean(chosen.block[first] == block) for block in range(4)])
    np.testing.assert_allclose(shares, np.asarray([1, 2, 3, 4]) / 10, atol=0.03)
    # Two environments of four windows each: q = root / 20, so n q = 0.4 root.
    expected = (0.4 * np.asarray([1, 2, 3, 4])) ** -0.7
    np.testing.assert_allclose(chosen.importance[first], expected[chosen.block[first]], rtol=1e-5)
    np.testing.assert_allclose(chosen.importance[~first], 1.0, rtol=1e-5)


def test_errors_become_priorities_and_new_windows_have_the_highest_of_their_group():
    ring = make(priority_mix=0.9)
    losses = jnp.asarray([[0.5, 2.0, 9.0], [2.0, 9.0, 9.0], [4.5, 2.0, 9.0]])
    weights = jnp.asarray([[1.0, 1.0, 0.0], [1.0, 0.0, 0.0], [1.0, 1.0, 0.0]])
    errors = ring.priorities(losses, weights)
    # |δ| = 1, 2, 3; then 2, 2 with one of 4.24 that is no experience; then nothing at all.
    np.testing.assert_allclose(errors[:2], [0.9 * 3 + 0.1 * 2, 2.0], rtol=1e-6)
    assert np.isnan(errors[2])
    kept = filled(ring, 4)
    chosen = Windows(jnp.asarray([[0, 2], [0, 3]]), jnp.asarray([[1, 2], [1, 2]]), jnp.ones((2, 2)))
    after = ring.update_priorities(kept, chosen, jnp.asarray([[5.0, 7.0], [3.0, jnp.nan]]))
    expected = np.ones((ENVIRONMENTS, 4), np.float32)
    expected[0, 1], expected[2, 2] = 5.0, 7.0  # the higher of two; what is no number changes nothing
    np.testing.assert_array_equal(after.priority, expected)
    after = ring.add(after, rollout(4, 3, 2))
    expected[:2, 0], expected[2:, 0] = 5.0, 7.0
    np.testing.assert_array_equal(after.priority, expected)


@pytest.mark.parametrize("buffer", [make(num_epochs=3), OnPolicyBuffer(3, 2)], ids=["ring", "latest"])
def test_shares_draw_what_the_whole_draws(buffer):
    whole = filled(buffer, 6) if isinstance(buffer, ReplayBuffer) else rollout(0, 3, 2)
    axis = 0 if isinstance(buffer, ReplayBuffer) else 1

    def share(tree, index):
        return jax.tree.map(lambda x: jnp.split(x, 2, axis)[index] if x.shape[axis] == ENVIRONMENTS else x, tree)

    key = jax.random.key(4)
    together = jax.tree.leaves(buffer.sample(key, whole, jnp.int32(0)))
    halves = [jax.tree.leaves(buffer.sample(key, share(whole, index), jnp.int32(index))) for index in range(2)]
    for leaf, (first, second) in zip(together, zip(*halves, strict=True), strict=True):
        offset = ENVIRONMENTS // 2 if leaf is together[0] else 0
        np.testing.assert_array_equal(leaf, np.concatenate([first, second + offset], axis=1))


def test_every_minibatch_takes_every_environment_once():
    trajectory = jax.tree.map(lambda x: jnp.tile(x, (1, 8)), rollout(0, 3, 2).replace(carry=None))
    index = np.asarray(OnPolicyBuffer(3, 4).sample(jax.random.key(0), trajectory, jnp.int32(0)))
    assert index.shape == (12, 8)
    for epoch in index.reshape(3, 32):
        np.testing.assert_array_equal(np.sort(epoch), np.arange(32))
    assert not np.array_equal(index[:4], index[4:8])


def test_the_ring_of_a_run_holds_its_episodes_to_their_last_frames():
    """Episodes of three steps and a restart, in blocks of eight slots: every block has two whole ones."""
    trainer = updater(Probe(length=3), dqn(rollout_length=8, burn_in=2, capacity=16 * 8 * 3), updates=4)
    state, _ = run(trainer, 4)
    slots, written = state.replay.slots, np.asarray(state.replay.written[0])
    assert slots.reward.shape == (1, 16, 3, 9) and (written == 4).all()
    time, terminal, start = (np.asarray(x[0]) for x in (slots.latent.game.time, slots.terminal, slots.start))
    np.testing.assert_array_equal(time, np.broadcast_to(np.arange(9) % 4, time.shape))
    np.testing.assert_array_equal(terminal, time == 3)
    np.testing.assert_array_equal(start, time == 0)
    np.testing.assert_array_equal(slots.reward[0], terminal)
    # The newest block, the fourth, lies over the first; it ends where the actors are now.
    np.testing.assert_array_equal(slots.latent.game.cue[0, :, 0, -1], state.actors.env.latent.game.cue[0])
    np.testing.assert_array_equal(slots.latent.game.cue[0, :, 2, -1], slots.latent.game.cue[0, :, 0, 0])


def test_a_million_transitions_are_small():
    """Latent, they are a three-hundredth of their frames: 49,152 bytes each."""
    algorithm = dqn(rollout_length=64, burn_in=32, capacity=1_000_000)
    state = jax.eval_shape(lambda: updater(Probe(length=3), algorithm, num_envs=16)._init_one(jnp.int32(0)))
    assert sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(state.replay)) < 0.3e9


@pytest.mark.parametrize(("options", "least"), [({}, 24), ({"burn_in": 0}, 12), ({"recompute_blocks": 1}, 36)])
def test_a_ring_for_less_than_a_window_is_an_error(options, least):
    ring = make(capacity=least - 1, **options)
    with pytest.raises(ValueError, match=f"capacity={least - 1}; expected >= {least} transitions, one window for each"):
        ring.check(ENVIRONMENTS)
    make(capacity=least, **options).check(ENVIRONMENTS)
