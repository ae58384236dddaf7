"""Scripted players: what policies without and with memory can earn on each task.

One module for each task, named like its file, with functions of the task that return players:

    memoryless(task) -> Player       the best known policy on the partial twin without memory and previous action
    with_action(task) -> Player      optional: the best known memoryless policy that also sees its previous action
    memory(task) -> Player           the best known policy with memory

Their returns are lower bounds of what such policies can earn, and exact where a docstring says so.

Players of games with pixels do not read frames. Each of their modules has a function

    seen(state) -> NamedTuple        everything that the partial frame of a latent state shows, under strict rules

and their players, with memory or without, act on that alone: a test compares it with the frames.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from podarcade.envs.environment import Environment
from podarcade.envs.games import Game


@dataclasses.dataclass(frozen=True, eq=False)
class Player:
    """A policy for one environment.

    Attributes:
      act: (memory, observation, previous action, key) -> (memory, action). The previous action is `actions.none()` at a
        start. A memoryless player has the memory () and returns it.
      initial: memory at the start of an episode, a tree of arrays.
      sees_reward: whether `act` also receives the previous reward, float32[], after the previous action.
      twin: "partial" or "full". On a task whose twin is a history, a policy on the full twin earns what a policy with
        memory can earn on the partial one.
      sees: what `act` receives as its observation, a function of the latent state; None for the twin's observation.
    """

    act: Callable[..., tuple[Any, jax.Array]]
    initial: Any = ()
    sees_reward: bool = False
    twin: str = "partial"
    sees: Callable[[Any], Any] | None = None


class Episodes(NamedTuple):
    """Whole episodes of a player.

    Attributes:
      returns: undiscounted, float32[episodes].
      lengths: int32[episodes].
    """

    returns: np.ndarray
    lengths: np.ndarray

    @property
    def mean(self) -> float:
        """Mean return."""
        return float(self.returns.mean())

    @property
    def error(self) -> float:
        """Standard error of the mean return."""
        return float(self.returns.std(ddof=1) / np.sqrt(len(self.returns)))


def random(game: Game) -> Player:
    """Return the player that acts uniformly at random."""
    return Player(lambda memory, seen, previous, key: (memory, game.actions.sample(key)), sees=lambda state: ())


def play(game: Game, player: Player, episodes: int, seed: int = 0) -> Episodes:
    """Play whole episodes, all at once.

    Args:
      game: what to play.
      player: who plays it.
      episodes: number of episodes.
      seed: of their starts and of everything random in them.
    """
    returns, lengths = _program(game, player, episodes)(jax.random.key(seed))
    return Episodes(np.asarray(returns), np.asarray(lengths))


def _program(game: Game, player: Player, episodes: int) -> Callable:
    environment = Environment(game, partial=player.twin == "partial")

    def view(env, timestep):
        seen = jax.vmap(player.sees)(env.latent.game) if player.sees else timestep.observation
        return seen, timestep.reward

    def act_and_step(state):
        env, (seen, reward), memory, previous, keys, over = state
        keys, act_keys = jnp.moveaxis(jax.vmap(lambda key: jax.random.split(key))(keys), 1, 0)
        inputs = (seen, previous, *([reward] if player.sees_reward else []))
        memory, action = jax.vmap(player.act)(memory, *inputs, act_keys)
        after, timestep = jax.vmap(environment.step)(env, action.astype(game.actions.dtype))
        # An episode that is over stays as it is.
        env = jax.tree.map(lambda new, old: jnp.where(over.reshape(-1, *[1] * (new.ndim - 1)), old, new), after, env)
        return env, view(env, timestep), memory, action, keys, env.over

    def episodes_of(key):
        reset_key, act_key = jax.random.split(key)
        env, timestep = jax.vmap(environment.reset)(jax.random.split(reset_key, episodes))
        memory = jax.tree.map(lambda x: jnp.repeat(jnp.asarray(x)[None], episodes, axis=0), player.initial)
        keys = jax.random.split(act_key, episodes)
        state = env, view(env, timestep), memory, game.actions.none(episodes), keys, env.over
        env, *_ = jax.lax.while_loop(lambda state: ~jnp.all(state[-1]), act_and_step, state)
        return env.episode_return, env.episode_length

    return jax.jit(episodes_of)
