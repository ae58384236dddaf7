"""Memoryless players found by search: tables from what the frame shows to chances of the actions.

Without memory a game need not have a deterministic best policy, nor one that is best for every start, so the search
climbs the mean return of stochastic tables: natural policy gradient (Kakade 2001), which for a softmax table adds the
advantage of each action to its logit. Advantages are Monte Carlo estimates over whole episodes, so that nothing is
assumed of what the frame hides.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from benchmarks.bounds import Player
from podarcade.envs.games import Game

LEAST = -6.0  # of a log chance: every action stays possible during the search
VISITS = 20.0  # advantages of entries with fewer visits than this are shrunk towards 0


def player(game: Game, seen: Callable, index: Callable, size: int, **search_arguments: Any) -> Player:
    """Return the player that `search` finds."""
    logits = search(game, seen, index, size, **search_arguments)

    def act(memory, seen, previous, key):
        return memory, jax.random.categorical(key, logits[index(seen)]).astype(jnp.int32)

    return Player(act, sees=seen)


def search(
    game: Game,
    seen: Callable,
    index: Callable,
    size: int,
    iterations: int = 150,
    rate: float = 6.0,
    episodes: int = 4096,
    seed: int = 0,
) -> jax.Array:
    """Return the log chances float32[size, actions] of a table that has climbed the mean return from uniform play.

    Args:
      game: a game with discrete actions.
      seen: what the player sees of a latent state.
      index: the entry of the table for what is seen, int32[] below `size`.
      size: number of entries.
      iterations: number of steps of the search.
      rate: of these steps, in standard deviations of the return to come.
      episodes: number of episodes of each step.
      seed: of their starts and actions.
    """
    uniform = jnp.full((size, game.actions.n), -jnp.log(jnp.float32(game.actions.n)))

    def improve(_, carry):
        logits, key = carry
        key, play_key = jax.random.split(key)
        entries, actions, returns, live = play(game, seen, index, logits, episodes, play_key)
        total, visits = (jnp.zeros(logits.shape).at[entries, actions].add(what) for what in (returns * live, live))
        mean = total.sum(axis=1) / jnp.maximum(visits.sum(axis=1), 1)
        advantage = (total - visits * mean[:, None]) / (visits + VISITS)
        spread = jnp.sqrt(jnp.sum(live * (returns - mean[entries]) ** 2) / jnp.sum(live))
        logits = jax.nn.log_softmax(logits + rate * advantage / (spread + 1e-6))
        return jnp.maximum(logits, LEAST), key

    return jax.jit(lambda key: jax.lax.fori_loop(0, iterations, improve, (uniform, key))[0])(jax.random.key(seed))


def play(game, seen, index, logits, episodes, key):
    """Play by the log chances of a table.

    Returns:
      Entries and actions, int32[T, B], returns to come and flags of running episodes, float32[T, B].
    """
    reset_key, key = jax.random.split(key)
    states = jax.vmap(game.reset)(jax.random.split(reset_key, episodes))

    def step(carry, key):
        states, over = carry
        act_key, step_key = jax.random.split(key)
        entries = jax.vmap(lambda state: index(seen(state)))(states)
        actions = jax.random.categorical(act_key, logits[entries]).astype(jnp.int32)
        new, rewards, terminal = jax.vmap(game.step)(states, actions, jax.random.split(step_key, episodes))
        live = (~over).astype(jnp.float32)
        return (new, over | terminal), (entries, actions, rewards * live, live)

    over = jnp.zeros(episodes, bool)
    _, (entries, actions, rewards, live) = jax.lax.scan(step, (states, over), jax.random.split(key, game.max_steps))
    return entries, actions, jnp.cumsum(rewards[::-1], axis=0)[::-1], live
