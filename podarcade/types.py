"""Data types that flow between environment, rollout, learner and host.

Axes are named in comments: S seeds, T or L time, B environments. Types that only one package uses live there.
"""

from collections.abc import Callable
from typing import Any

import jax
from flax import struct

Pytree = Any


@struct.dataclass
class TimeStep:
    """Output of one environment step, as the agent receives it.

    `reward`, `terminal` and `truncated` describe the step that led here. Where either flag is set, `observation` is
    the true final observation of its episode; the next step starts a new episode and ignores its action.
    """

    observation: jax.Array | None  # uint8[side, side, 3] frame or float32[D]; None where it is redrawn when needed
    reward: jax.Array  # float32[]
    terminal: jax.Array  # bool[]  the episode terminated: no value beyond
    truncated: jax.Array  # bool[]  the time limit cut the episode: bootstrap from the final observation
    start: jax.Array  # bool[]  first observation of an episode


@struct.dataclass
class Latent:
    """Everything a frame is drawn from: under 1 KB, where a 128-pixel frame takes 49 KB."""

    game: Pytree  # state of the game
    partial: jax.Array  # bool[]  whether the partially observable twin is drawn


@struct.dataclass
class EnvState:
    """State of one environment between two steps."""

    latent: Latent
    over: jax.Array  # bool[]  the episode ended here: the next step resets
    key: jax.Array  # uint32[...]  PRNG key data of this environment
    episode_return: jax.Array  # float32[]  undiscounted return of the running episode
    episode_length: jax.Array  # int32[]  steps taken in the running episode
    last_return: jax.Array  # float32[]  return of the last finished episode, 0 before there is one


@struct.dataclass
class Slots:
    """A stretch of experience of B environments, time-major.

    Slot t holds what the agent saw (`latent`, or `observation` once drawn), the outcome of the step that led there,
    and the action chosen there. The reward of `action[t]` is therefore `reward[t + 1]`. Where
    `terminal[t] | truncated[t]` the environment ignores the action, and the transition out of t is masked.
    """

    latent: Latent | None  # [L, B], None once drawn
    observation: jax.Array | None  # uint8[L, B, side, side, 3] or float32[L, B, D], None until drawn
    action: jax.Array  # int32[L, B], or float32[L, B, A] for continuous actions
    previous_action: jax.Array  # likewise, action of the slot before; -1 or zeros at a start
    reward: jax.Array  # float32[L, B]
    terminal: jax.Array  # bool[L, B]
    truncated: jax.Array  # bool[L, B]
    start: jax.Array  # bool[L, B]
    extras: Pytree = None  # [L, B]  what the algorithm records when it acts, see `Algorithm.act`

    def map(self, function: Callable[[jax.Array], jax.Array]) -> "Slots":
        """Apply a function to every array."""
        return jax.tree.map(function, self)


@struct.dataclass
class Batch:
    """Training sequences: slots, and what belongs to each sequence as a whole."""

    slots: Slots
    carry: Pytree  # [B, ...]  recurrent state before slot 0
    prepared: Pytree = None  # [T, B]  result of `Algorithm.prepare` for the T training slots
    importance: jax.Array | None = None  # float32[B]  importance weights of replayed sequences

    def time_slice(self, start: int, stop: int | None) -> "Batch":
        """Return the batch with slots [start:stop] only; `carry`, `prepared` and `importance` are kept as they are."""
        return self.replace(slots=self.slots.map(lambda x: x[start:stop]))


@struct.dataclass
class Learner:
    """Learner state of one seed, replicated over the data axis."""

    params: dict[str, Pytree]  # one entry per parameter group
    target: Pytree  # target-network parameters, None for algorithms without any
    opt_state: Pytree
    key: jax.Array  # uint32[...]  PRNG key data for sampling training sequences
    updates: jax.Array  # int32[]  completed updates


@struct.dataclass
class Actors:
    """Actor state of B environments."""

    env: EnvState
    timestep: TimeStep  # current time step, without its observation
    previous_action: jax.Array  # int32[B] or float32[B, A]  last action; -1 or zeros at a start
    carry: Pytree  # recurrent state before the current time step
    key: jax.Array  # uint32[B, ...]  PRNG key data for exploration
    history: Batch | None  # [B, H, ...]  the H slots before the current one, environment-major


@struct.dataclass
class State:
    """Training state of all seeds: what is donated, sharded and checkpointed.

    Leaves of `learner` lead with [S], leaves of `actors` and `replay` with [S, B].
    """

    learner: Learner
    actors: Actors
    replay: Pytree  # replay buffer, None for on-policy algorithms
