"""The vocabulary: what flows between environment, rollout, learner and host.

Axes are named in comments: S seeds, L or T time, B environments. Every array
of a running program is one of these fields.
"""

from collections.abc import Callable
from typing import Any

import jax
from flax import struct

Pytree = Any


@struct.dataclass
class TimeStep:
    """What an agent receives at one moment.

    `reward`, `terminal` and `truncated` tell of the step that led here. When
    either flag is set the observation is the true last one of its episode; the
    next step starts a new episode and ignores its action.
    """

    observation: jax.Array  # uint8[side, side, 3] a frame, or float32[D]
    reward: jax.Array  # float32[]
    terminal: jax.Array  # bool[]  the episode ended for good: no value beyond
    truncated: jax.Array  # bool[]  the time limit cut it: value goes on
    start: jax.Array  # bool[]  first observation of an episode


@struct.dataclass
class Latent:
    """All that a frame is drawn from: under a kilobyte where a frame has 49."""

    game: Pytree  # the game's own state
    partial: jax.Array  # bool[]  which twin is drawn


@struct.dataclass
class EnvState:
    """One environment between two steps."""

    latent: Latent
    over: jax.Array  # bool[]  the episode ended here: the next step resets
    key: jax.Array  # uint32[2]  this environment's own stream
    episode_return: jax.Array  # float32[]  undiscounted, of the running episode
    episode_length: jax.Array  # int32[]  steps taken in the running episode
    last_return: jax.Array  # float32[]  of the last finished episode, 0 before there is one


@struct.dataclass
class Trajectory:
    """A stretch of experience, time-major, of B environments.

    Slot t holds what the agent saw (`latent`, or `observation` once drawn), what
    the step that led there paid, and the action chosen there. So the reward of
    `action[t]` is `reward[t + 1]`. Where `terminal[t] | truncated[t]` the action
    was ignored and the transition out of t is no experience.
    """

    latent: Pytree  # Latent[L, B], or None once drawn
    observation: jax.Array | None  # uint8[L, B, side, side, 3] | float32[L, B, D]
    action: jax.Array  # int32[L, B]
    previous: jax.Array  # int32[L, B]  action before the slot, -1 at a start
    reward: jax.Array  # float32[L, B]
    terminal: jax.Array  # bool[L, B]
    truncated: jax.Array  # bool[L, B]
    start: jax.Array  # bool[L, B]
    carry: Pytree  # [B, ...]  the memory before slot 0
    prepared: Pytree = None  # float32[T, B]  of the T slots that are learnt from, what `Algorithm.prepare` made of them
    importance: jax.Array | None = None  # float32[B]  weight of a replayed sequence

    def map_slots(self, function: Callable[[jax.Array], jax.Array]) -> "Trajectory":
        """Applies a function to all that there is of every slot; what there is of sequences stays."""
        rest = {"carry": self.carry, "prepared": self.prepared, "importance": self.importance}
        return jax.tree.map(function, self.replace(**dict.fromkeys(rest))).replace(**rest)

    def slots(self, first: int, last: int | None) -> "Trajectory":
        """Some of the slots, with what there is of the whole."""
        return self.map_slots(lambda x: x[first:last])


@struct.dataclass
class Learner:
    """What learns: replicated over environments, one per seed."""

    params: Pytree
    target: Pytree  # what `Algorithm.follow` has trail behind the parameters, None where nothing does
    opt_state: Pytree
    key: jax.Array  # uint32[2]  shuffles and noise inside the loss
    updates: jax.Array  # int32[]  updates done


@struct.dataclass
class Actors:
    """What acts: one per environment."""

    env: EnvState
    reward: jax.Array  # float32[]  of the current time step
    terminal: jax.Array  # bool[]
    truncated: jax.Array  # bool[]
    start: jax.Array  # bool[]
    previous: jax.Array  # int32[]  last action, -1 at a start
    carry: Pytree  # memory before the current time step
    key: jax.Array  # uint32[2]  exploration
    history: Trajectory | None  # [B, H, ...]  the slots before the current one, which warm the memory up


@struct.dataclass
class State:
    """The whole run: what is donated, sharded and saved.

    Leaves of `learner` lead with [S], of `actors` and `replay` with [S, B].
    """

    learner: Learner
    actors: Actors
    replay: Pytree  # experience of earlier updates, None where nothing is replayed
