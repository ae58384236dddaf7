"""Evaluation: whole episodes on the game and on its twin, side by side in one program."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from podarcade.algorithms import Algorithm
from podarcade.anakin import rollout, sharding
from podarcade.envs.environment import Environment
from podarcade.types import Actors

TWINS = ("full", "partial")


@dataclasses.dataclass(frozen=True)
class Evaluator:
    """Plays one whole episode in each of `episodes` lanes of either twin.

    One episode a lane, so that short ones are not over-represented. Lane i of both twins has the same
    keys: the comparison is paired. A player whose episode is over goes on with a lane that none has begun.

    Attributes:
      algorithm: acts.
      environment: whose game is played; its own twin does not matter.
      mesh: devices, ("seed", "data"); the data axis divides 2 x `episodes`.
      episodes: per twin and seed.
      players: episodes that a device plays at once, for each seed; 0: a quarter of them on a CPU, elsewhere all. It
        changes the time that an evaluation takes, and nothing else.
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
                f"evaluation.episodes={self.episodes} on two twins does not divide by {data} data devices; "
                f"use {-(-self.episodes // data) * data or data}"
            )

    def compile(self, params: Any) -> Callable[[Any, jax.Array, jax.Array], dict[str, jax.Array]]:
        """(params [S, ...], key uint32[2], exploration float32[]) -> {"return_full": float32[S], ...}."""
        mapped = sharding.map_over(self.mesh, self._evaluate, (P("seed"), P(), P()), P("seed"))
        key, exploration = jax.ShapeDtypeStruct((2,), jnp.uint32), jax.ShapeDtypeStruct((), jnp.float32)
        return jax.jit(mapped).lower(params, key, exploration).compile()

    def _evaluate(self, params: Any, key: jax.Array, exploration: jax.Array) -> dict[str, jax.Array]:
        lanes = 2 * self.episodes // self.mesh.shape["data"]
        index = sharding.shard_index() * lanes + jnp.arange(lanes)
        partial = index % 2 == 1
        actors = _lane_actors(self.algorithm, self.environment, key, index // 2, partial)
        returns, lengths = self._first_episodes(params, sharding.vary(actors, sharding.AXES), exploration)
        results = {}
        for name, member in zip(TWINS, (~partial, partial), strict=True):
            sums = [jnp.sum(jnp.where(member, values, 0)) for values in (returns, lengths, jnp.ones_like(lengths))]
            total, length, episodes = sharding.total(sums)
            results[f"return_{name}"] = total / episodes
            results[f"length_{name}"] = length / episodes
        return results

    def _first_episodes(self, params: Any, first: Actors, exploration: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Return float32[lanes] and length int32[lanes] of one episode of each of the fresh actors."""
        lanes = first.start.shape[0]
        players = sharding.vary(jnp.arange(self._players(lanes)), sharding.AXES)

        def step(state):
            actors, lane, following, returns, lengths = state
            observation = rollout.draw(self.environment, actors)
            actors, _, _, counts = rollout.advance(
                self.algorithm, self.environment, params, actors, observation, exploration
            )
            over = counts.episodes > 0
            returns = returns.at[lane].add(counts.returns, mode="drop")
            lengths = lengths.at[lane].add(counts.lengths, mode="drop")
            # Whose episode is over begins the next that nobody has begun; what is played past the last is dropped.
            lane = jnp.where(over, following + jnp.cumsum(over) - 1, lane)
            fresh = jax.tree.map(lambda x: x.at[lane].get(mode="clip"), first.replace(carry=None))
            # The memory is left as it is: the start that comes next resets it.
            actors = _choose(over, fresh, actors.replace(carry=None)).replace(carry=actors.carry)
            return actors, lane, following + jnp.sum(over), returns, lengths

        nothing = first.start & False
        actors = jax.tree.map(lambda x: x[: len(players)], first)
        state = actors, players, players[-1] + 1, nothing.astype(jnp.float32), nothing.astype(int)
        *_, returns, lengths = jax.lax.while_loop(lambda state: jnp.any(state[1] < lanes), step, state)
        return returns, lengths

    def _players(self, lanes: int) -> int:
        if self.players:
            return min(self.players, lanes)
        # A CPU pays for every frame, so none is played on for nothing; an accelerator pays for every step.
        return -(-lanes // 4) if self.mesh.devices.flat[0].platform == "cpu" else lanes


@jax.vmap
def _choose(over: jax.Array, fresh: Actors, last: Actors) -> Actors:
    """The fresh actor of each lane whose episode is over, elsewhere the last one."""
    return jax.tree.map(lambda new, old: jnp.where(over, new, old), fresh, last)


def _lane_actors(algorithm: Algorithm, environment: Environment, key: jax.Array, lane: jax.Array, partial: jax.Array):
    fold = jax.vmap(lambda i: jax.random.key_data(jax.random.fold_in(jax.random.wrap_key_data(key), i)))
    return rollout.start_actors(algorithm, environment, fold(lane), partial)


def play(
    algorithm: Algorithm, environment: Environment, params: Any, key: jax.Array, limit: int, starts: int = 16
) -> dict[str, tuple[np.ndarray, float, bool]]:
    """Play one greedy episode on each twin from the same start: a typical one, the median of several starts.

    Args:
      algorithm: acts.
      environment: is played.
      params: of one seed, without a leading axis.
      key: uint32[2].
      limit: most steps.
      starts: how many are played; returned is the one with the (lower) median of the return summed over both twins.

    Returns:
      {"full": (uint8[n, side, side, 3], return, whether the episode ended within the limit), "partial": ...}.
    """
    lane = jnp.arange(2 * starts)

    def record(params, key):
        actors = _lane_actors(algorithm, environment, key, lane // 2, lane % 2 == 1)

        def step(state, _):
            actors, observation, _, counts = rollout.advance(algorithm, environment, params, *state, jnp.float32(0.0))
            return (actors, observation), (actors.env, counts.episodes)

        _, (envs, ends) = jax.lax.scan(step, (actors, rollout.draw(environment, actors)), None, limit)
        return actors.env, envs, ends

    first, envs, ends = jax.device_get(jax.jit(record)(params, key))
    last = np.where(ends.any(axis=0), ends.argmax(axis=0), limit - 1)
    returns = envs.episode_return[last, lane]
    typical = 2 * int(np.argsort(returns.reshape(starts, 2).sum(axis=1), kind="stable")[(starts - 1) // 2])
    draw = jax.jit(jax.vmap(environment.draw))
    clips = {}
    for index, name in enumerate(TWINS, start=typical):
        latents = jax.tree.map(lambda a, b, i=index: np.concatenate([a[None, i], b[:, i]]), first.latent, envs.latent)
        frames = np.asarray(draw(latents))[: last[index] + 2]
        clips[name] = frames, float(returns[index]), bool(ends[:, index].any())
    return clips
