"""Episodes of tasks with given actions and, for cards, a given order of the deck; random play cut into episodes."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from podarcade.envs.tasks import cards


class Replay(NamedTuple):
    """Steps of P episodes in NumPy; `reward[t]` and `terminal[t]` follow action t, the rest precedes it."""

    state: object  # [T + 1, P]
    full: np.ndarray  # float32[T + 1, P, D]
    partial: np.ndarray  # float32[T + 1, P, D]
    reward: np.ndarray  # float32[T, P]
    terminal: np.ndarray  # bool[T, P]


def replay(task, actions, start=None):
    """Steps of `task.step` with actions [P, T, ...], from one start state or `reset`; ends do not restart anything."""
    actions = jnp.asarray(actions, task.actions.dtype)

    def one(state, action_and_key):
        action, key = action_and_key
        new, reward, terminal = task.step(state, action, key)
        return new, (state, reward, terminal)

    def episode(actions, key):
        state = task.reset(key) if start is None else start
        state = jax.tree.map(jnp.asarray, state)
        last, (states, reward, terminal) = jax.lax.scan(one, state, (actions, jax.random.split(key, actions.shape[0])))
        states = jax.tree.map(lambda each, end: jnp.concatenate([each, end[None]]), states, last)
        draw = jax.vmap(task.draw, (0, None))
        return states, draw(states, False), draw(states, True), reward, terminal

    program = jax.jit(jax.vmap(episode, out_axes=1))
    keys = jax.random.split(jax.random.key(0), len(actions))
    return Replay(*jax.tree.map(np.asarray, program(actions, keys)))


def deal_in_order(monkeypatch, deck):
    """Make every deck of the size of `deck`, a sequence of kinds, come in its order."""
    order = jnp.asarray(deck, jnp.int8)

    def deal(key, left):
        dealt = len(order) - jnp.sum(left.astype(jnp.int32), axis=-1)
        kind = jnp.where(dealt < len(order), order[jnp.minimum(dealt, len(order) - 1)], left.shape[-1])
        return kind.astype(jnp.int8), left - jax.nn.one_hot(kind, left.shape[-1], dtype=left.dtype)

    monkeypatch.setattr(cards, "deal", deal)


def episodes(play):
    """Yield (environment, slice of its time steps) for each episode of random play, the last ones cut short."""
    for env in range(play.start.shape[1]):
        firsts = np.flatnonzero(play.start[:, env])
        for first, end in zip(firsts, [*firsts[1:], len(play.start)], strict=True):
            yield env, slice(first, end)


def first_returns(play):
    """Returns of the first episode of each environment of random play."""
    return np.where(np.cumsum(play.start, axis=0) == 1, play.reward, 0).sum(axis=0)


def assert_injective(play, *names):
    """Assert that states that differ in one of these fields have different full observations."""
    latent = [np.ascontiguousarray(getattr(play.state, name)).reshape(play.start.size, -1) for name in names]
    seen = [row.tobytes() for row in play.full.reshape(play.start.size, -1)]
    both = {(row, *(part[index].tobytes() for part in latent)) for index, row in enumerate(seen)}
    assert len(set(seen)) > 1000 and len(both) == len(set(seen))


def assert_mean(returns, expected, tolerance=0.0):
    """Assert that the mean of returns is within 4 standard errors and a tolerance of the expected one."""
    error = returns.std(ddof=1) / np.sqrt(len(returns))
    assert abs(returns.mean() - expected) <= 4 * error + tolerance, (
        f"{returns.mean():.4f} ± {error:.4f}, not {expected}"
    )
