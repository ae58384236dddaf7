"""Evaluation: whole episodes on both twins of a game, side by side in one program."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from podarcade.algorithms import Algorithm, Params
from podarcade.anakin import sharding
from podarcade.anakin.rollout import advance, draw, init_actors
from podarcade.envs.environment import Environment
from podarcade.models.platform import platform
from podarcade.types import Actors

TWINS = ("full", "partial")


@dataclasses.dataclass(frozen=True)
class Evaluator:
    """Plays `episodes` whole episodes on each twin, both twins from the same starts.

    Each episode is a lane; even lanes play the full twin. A device steps `players` of its lanes in parallel; a player
    whose episode is over takes the next unplayed lane. Every lane counts once, so short episodes are not
    over-represented.

    Attributes:
      algorithm: policy to evaluate.
      environment: environment to play; its own twin is ignored.
      mesh: device mesh ("seed", "data"); the data axis divides 2 x `episodes`.
      episodes: episodes per twin and seed.
      players: episodes that a device plays at once, per seed; 0 for a quarter of them on a CPU and all of them
        elsewhere. Changes the time an evaluation takes, not its result.

    Raises:
      ValueError: `episodes` does not divide over the devices.
    """

    algorithm: Algorithm
    environment: Environment
    mesh: Mesh
    episodes: int
    players: int = 0

    def __post_init__(self):
        data = self.mesh.shape["data"]
        if self.episodes < 1 or 2 * self.episodes % data:
            raise ValueError(
                f"evaluation.episodes={self.episodes} on two twins does not divide over {data} data devices; "
                f"use {max(-(-self.episodes // data), 1) * data}"
            )

    def compile(self, params: Params) -> Callable[[Params, jax.Array, np.ndarray, jax.Array], dict[str, jax.Array]]:
        """Compile the evaluation ahead of time.

        Start i is the episode with the key `fold_in(key, i)`. Seed s plays those from `first[s]` on.

        Args:
          params: concrete or abstract parameters, leaves [S, ...].

        Returns:
          (params [S, ...], PRNG key data, first uint32[S], exploration float32[]) -> {"return": float32[S, lanes],
          "length": int32[S, lanes]}, undiscounted returns and lengths in steps; see `by_twin`.
        """
        mapped = sharding.map_over(self.mesh, self._evaluate, (P("seed"), P(), P("seed"), P()), P("seed", "data"))
        placement = NamedSharding(self.mesh, P("seed"))
        seeds = len(jax.tree.leaves(params)[0])
        key = jax.eval_shape(lambda: jax.random.key_data(jax.random.key(0)))
        first = jax.ShapeDtypeStruct((seeds,), jnp.uint32, sharding=placement)
        program = jax.jit(mapped).lower(params, key, first, jax.ShapeDtypeStruct((), jnp.float32)).compile()
        return lambda params, key, first, exploration: program(
            params, key, jax.device_put(first, placement), exploration
        )

    def _evaluate(
        self, params: Params, key: jax.Array, first: jax.Array, exploration: jax.Array
    ) -> dict[str, jax.Array]:
        lanes = 2 * self.episodes // self.mesh.shape["data"]
        index = sharding.shard_index() * lanes + jnp.arange(lanes, dtype=jnp.int32)
        start = first + (index // 2).astype(jnp.uint32)
        actors = _lane_actors(self.algorithm, self.environment, key, start, index % 2 == 1)
        returns, lengths = self._first_episodes(params, sharding.vary(actors, sharding.AXES), exploration)
        return {"return": returns, "length": lengths}

    def _first_episodes(self, params: Params, fresh: Actors, exploration: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Return the return float32[lanes] and length int32[lanes] of the first episode of each fresh actor."""
        lanes = len(fresh.previous_action)
        players = sharding.vary(jnp.arange(self._num_players(lanes), dtype=jnp.int32), sharding.AXES)

        def step(state):
            actors, lane, next_lane, returns, lengths = state
            observation = draw(self.environment, actors)
            actors, _, _, counts = advance(self.algorithm, self.environment, params, actors, observation, exploration)
            over = counts.episodes > 0
            returns = returns.at[lane].add(counts.returns, mode="drop")
            lengths = lengths.at[lane].add(counts.lengths, mode="drop")
            # A player whose episode is over starts the next unplayed lane; results past the last lane are dropped.
            lane = jnp.where(over, next_lane + jnp.cumsum(over, dtype=jnp.int32) - 1, lane)
            start = jax.tree.map(lambda x: x.at[lane].get(mode="clip"), fresh.replace(carry=None))
            # The carry is left as it is: the start that follows resets it.
            actors = _where(over, start, actors.replace(carry=None)).replace(carry=actors.carry)
            return actors, lane, next_lane + jnp.sum(over, dtype=jnp.int32), returns, lengths

        zeros = fresh.timestep.start & False
        actors = jax.tree.map(lambda x: x[: len(players)], fresh)
        state = actors, players, players[-1] + 1, zeros.astype(jnp.float32), zeros.astype(jnp.int32)
        *_, returns, lengths = jax.lax.while_loop(lambda state: jnp.any(state[1] < lanes), step, state)
        return returns, lengths

    def _num_players(self, lanes: int) -> int:
        if self.players:
            return min(self.players, lanes)
        # A CPU pays per frame, so idle lanes are avoided; an accelerator pays per step.
        return -(-lanes // 4) if platform() == "cpu" else lanes


def by_twin(lanes: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return what a compiled evaluation found as {"return_full": float64[S, episodes], "length_full": ...}."""
    return {
        f"{name}_{twin}": np.asarray(values, np.float64)[:, index::2]
        for name, values in lanes.items()
        for index, twin in enumerate(TWINS)
    }


@jax.vmap
def _where(condition: jax.Array, one: Actors, other: Actors) -> Actors:
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), one, other)


def _lane_actors(algorithm: Algorithm, environment: Environment, key: jax.Array, start: jax.Array, partial: jax.Array):
    """Return fresh actors with keys folded from the index of their start."""
    fold = jax.vmap(lambda i: jax.random.key_data(jax.random.fold_in(jax.random.wrap_key_data(key), i)))
    return init_actors(algorithm, environment, fold(start), partial)


def play(
    algorithm: Algorithm, environment: Environment, params: Any, key: jax.Array, max_steps: int, starts: int = 16
) -> dict[str, tuple[np.ndarray, float, bool]]:
    """Play greedy episodes on both twins from the same starts, and return pictures of the start of median return.

    Args:
      algorithm: policy to play.
      environment: environment to play.
      params: parameters of one seed, without a leading axis.
      key: PRNG key data.
      max_steps: steps after which recording stops.
      starts: number of starts; the one with the (lower) median of the return summed over both twins is returned.

    Returns:
      {"full": (pictures uint8[n, H, W, 3], return, whether the episode ended within `max_steps`), "partial": ...}.
    """
    first, envs, ends = jax.device_get(_record(algorithm, environment, max_steps, starts, params, key))
    last = np.where(ends.any(axis=0), ends.argmax(axis=0), max_steps - 1)
    returns = envs.episode_return[last, np.arange(2 * starts)]
    typical = 2 * int(np.argsort(returns.reshape(starts, 2).sum(axis=1), kind="stable")[(starts - 1) // 2])
    clips = {}
    for index, name in enumerate(TWINS, start=typical):
        latents = jax.tree.map(lambda a, b, i=index: np.concatenate([a[None, i], b[:, i]]), first.latent, envs.latent)
        frames = np.asarray(_render(environment, latents))[: last[index] + 2]
        clips[name] = frames, float(returns[index]), bool(ends[:, index].any())
    return clips


@functools.partial(jax.jit, static_argnums=(0, 1, 2, 3))
def _record(algorithm: Algorithm, environment: Environment, max_steps: int, starts: int, params: Any, key: jax.Array):
    """Return the first environments, [2 starts, ...], those after each step, [max_steps, ...], and which ended."""
    lane = jnp.arange(2 * starts, dtype=jnp.int32)
    actors = _lane_actors(algorithm, environment, key, lane // 2, lane % 2 == 1)

    def step(state, _):
        actors, observation, _, counts = advance(algorithm, environment, params, *state, jnp.float32(0.0))
        return (actors, observation), (actors.env, counts.episodes)

    _, (envs, ends) = jax.lax.scan(step, (actors, draw(environment, actors)), None, max_steps)
    return actors.env, envs, ends


@functools.partial(jax.jit, static_argnums=0)
def _render(environment: Environment, latents: Any) -> jax.Array:
    return jax.vmap(environment.render)(latents)
