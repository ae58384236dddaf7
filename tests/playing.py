"""Batches of states, steps, frames and episodes for tests of games; each program is compiled once."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, PartitionSpec

from podarcade import plugins
from podarcade.envs.environment import Environment
from podarcade.envs.games import RULES
from podarcade.envs.tasks import Task

GAMES = [name for name in plugins.names("games") if not issubclass(plugins.find("games", name), Task)]
LEVELS = ("easy", "medium", "hard")
BATCH, STEPS = 8, 40  # of rollouts with frames
MANY, LONG = 128, 300  # of rollouts without frames: one shape, so that each environment is compiled once

every_game = pytest.mark.parametrize("name", GAMES)
every_level = pytest.mark.parametrize("level", LEVELS)
both_rules = pytest.mark.parametrize("rules", RULES)


@functools.cache
def make(name, level="easy", rules="strict", obs_size=128):
    game = plugins.find("games", name)
    return game(obs_size=obs_size, rules=rules, **game.LEVELS[level])


@functools.cache
def compiled(game, method):
    """Return the compiled `draw` or `step` of a game for a batch; every step splits the same key."""
    if method == "draw":
        return jax.jit(jax.vmap(game.draw))
    step = jax.vmap(game.step)
    return jax.jit(lambda state, action: step(state, action, jax.random.split(jax.random.key(0), len(action))))


def step(game, state, action):
    """Return (state, reward[B], terminal[B]) in NumPy of one step of a batch; one action for all, or one for each."""
    action = np.broadcast_to(np.asarray(action, np.int32), len(state.time))
    return jax.tree.map(np.asarray, compiled(game, "step")(state, action))


def draw(game, states, partial):
    """Return the frames of up to 136 states in NumPy; the batch is padded, so that `draw` is compiled once."""
    count = len(states.time)
    fill = lambda leaf: np.resize(np.asarray(leaf), (136, *np.shape(leaf)[1:]))  # noqa: E731
    flags = np.broadcast_to(partial, count)
    return np.asarray(compiled(game, "draw")(jax.tree.map(fill, states), fill(flags)))[:count]


def differing(game, one, two, partial):
    """Return where the frames of two batches of states differ, bool[B]."""
    frames = [draw(game, state, partial) for state in (one, two)]
    return (frames[0] != frames[1]).any((1, 2, 3))


@functools.cache
def starts(game):
    return jax.tree.map(np.asarray, jax.jit(jax.vmap(game.reset))(jax.random.split(jax.random.key(0), 4096)))


def fresh(game, count=1):
    """Return `count` states at time 0, taken from one large batch, so that `reset` is compiled once."""
    return jax.tree.map(lambda leaf: leaf[:count], starts(game))


def copies(state, count):
    """Return `count` copies of the first state of a batch."""
    return jax.tree.map(lambda leaf: np.broadcast_to(leaf[0], (count, *leaf.shape[1:])), state)


def run(game, state, actions):
    """Play the game alone from a batch of one to its first terminal step: (last state, rewards, terminals)."""
    rewards, ends = [], []
    for action in actions:
        state, reward, terminal = step(game, state, action)
        rewards.append(float(reward[0]))
        ends.append(bool(terminal[0]))
        if ends[-1]:
            break
    return state, rewards, ends


@functools.cache
def player(environment, frames, devices=1):
    """Return the program of `play`; `frames` is True, False, or a function that reduces a batch of frames."""

    def play(keys, partial, actions):
        def step(state, action):
            state, time_step = jax.vmap(environment.step)(state, action)
            kept = frames(time_step.observation) if callable(frames) else time_step.observation if frames else None
            return state, (state, time_step.replace(observation=kept))

        # With `over` set, the first step resets: the game is drawn, and compiled, in one place only.
        state = jax.vmap(environment.reset)(keys, partial)[0]
        return jax.lax.scan(step, state.replace(over=jnp.ones_like(partial)), actions)[1]

    if devices == 1:
        return jax.jit(play)
    mesh = jax.make_mesh((devices,), ("data",), (AxisType.Auto,), devices=jax.devices()[:devices])
    batch, later = PartitionSpec("data"), PartitionSpec(None, "data")
    return jax.jit(jax.shard_map(play, mesh=mesh, in_specs=(batch, batch, later), out_specs=later))


def play(environment, actions, partial=None, frames=False, seed=0, devices=1):
    """Return (EnvState[T + 1, B], TimeStep[T + 1, B]) of actions[T, B], in NumPy."""
    actions = np.concatenate([np.zeros_like(actions[:1]), actions]).astype(np.int32)
    keys = jax.random.split(jax.random.key(seed), actions.shape[1])
    partial = np.zeros(actions.shape[1], bool) if partial is None else partial
    return jax.tree.map(np.asarray, player(environment, frames, devices)(keys, partial, actions))


def random_actions(steps, batch, seed=0):
    return np.random.default_rng(seed).integers(0, 5, (steps, batch))


@functools.lru_cache(maxsize=2)
def mixed(name, level, rules):
    """Play at random and keep frames; every second environment is the partial twin."""
    game = make(name, level, rules)
    return game, *play(Environment(game), random_actions(STEPS, BATCH), np.arange(BATCH) % 2 == 1, frames=True)


def fingerprint(frames):
    """Return a position-dependent checksum of each frame, uint32[B]."""
    words = frames.reshape(frames.shape[0], -1).astype(jnp.uint32)
    return jnp.sum(words * (2 * jnp.arange(words.shape[1], dtype=jnp.uint32)[None] + 1), 1, dtype=jnp.uint32)


def episodes(step):
    """Return (returns[B], lengths[B]) of the first episode of each environment."""
    over = step.terminal | step.truncated
    assert over.any(0).all(), "an episode did not end"
    length = over.argmax(0)
    within = np.arange(len(over))[:, None] <= length
    return (step.reward * within).sum(0), length


@functools.cache
def random_episodes(game, count=2048, seed=1):
    """Return (returns[count], lengths[count]) of uniformly random play of the game alone, cut at its limit."""
    step, reset = jax.vmap(game.step), jax.vmap(game.reset)

    def one_step(carry):
        state, key, alive, total, length = carry
        key, action_key, step_key = jax.random.split(key, 3)
        action = jax.random.randint(action_key, (count,), 0, 5)
        state, reward, terminal = step(state, action, jax.random.split(step_key, count))
        total, length = total + reward * alive, length + alive
        within = True if game.time_limit is None else state.time < game.time_limit
        return state, key, alive & ~terminal & within, total, length

    @jax.jit
    def play(key):
        state = reset(jax.random.split(key, count))
        carry = (state, key, jnp.ones(count, bool), jnp.zeros(count), jnp.zeros(count, jnp.int32))
        return jax.lax.while_loop(lambda carry: carry[2].any() & (carry[4].max() < 3100), one_step, carry)[2:]

    alive, total, length = jax.tree.map(np.asarray, play(jax.random.key(seed)))
    assert not alive.any(), "an episode did not end"
    return total, length


@functools.cache
def redrawer(game):
    """Return another program that draws latents[STEPS, BATCH]: in rows of five, sequentially."""

    def redraw(latent):
        flat = jax.tree.map(lambda leaf: leaf.reshape(-1, 5, *leaf.shape[2:]), latent)
        frames = jax.lax.map(jax.vmap(Environment(game).draw), flat)
        return frames.reshape(STEPS, BATCH, *frames.shape[2:])

    return jax.jit(redraw)
