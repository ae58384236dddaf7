"""What an agent carries, what it leaves behind, and where it comes from."""

import dataclasses

import jax
from flax import struct

from podarcade.configuration import FrozenConfigDict
from podarcade.types import Latent, Pytree, TimeStep


@dataclasses.dataclass(frozen=True, eq=False)
class Origin:
    """Where parameters come from. All origins are equal, so that none of this is part of a compiled program."""

    config: FrozenConfigDict
    seed: int
    updates: int

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Origin)

    def __hash__(self) -> int:
        return 0


@struct.dataclass
class Carry:
    """What an agent keeps between two steps of B environments."""

    memory: Pytree  # [B, ...]  recurrent state before the next time step
    previous_action: jax.Array  # int32[B] or float32[B, A]  what the network saw last as its previous action
    action: jax.Array  # likewise, the last action


@struct.dataclass
class Trajectory:
    """T steps of B environments, time-major. The reward of `action[t]` is `timestep.reward[t + 1]`."""

    latent: Latent  # [T, B]  states, which `environment.draw` and `render` take
    timestep: TimeStep  # [T, B]  what the agent saw
    previous_action: jax.Array  # int32[T, B] or float32[T, B, A]  what the network saw of it
    action: jax.Array  # likewise
    outputs: dict[str, jax.Array]  # [T, B, ...]  see `Agent.outputs`
    carry: Carry  # [T, B, ...]  before each time step
