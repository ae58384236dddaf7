"""Probe games: tasks without pixels, each of which tests one thing."""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp
from flax import struct

from podarcade.actions import Discrete
from podarcade.envs.games import Game


@struct.dataclass
class ProbeState:
    time: jax.Array
    score: jax.Array
    cue: jax.Array  # float32[]  -1 or 1, drawn at reset


@dataclasses.dataclass(frozen=True)
class Probe(Game):
    """Episodes of `length` steps; `pays` selects the reward of the last one.

    The observation is (cue, time is 0, time is length - 1); `blind` hides the cue after the first.
    """

    length: int = 1
    pays: str = "one"  # one: always 1; action: 1 for action 1; match: 1 if the action matches the cue
    blind: bool = False
    endless: bool = False  # the episode ends at the time limit instead of a terminal state
    always: bool = False  # every step pays, not only the last one

    actions: ClassVar = Discrete(2)

    @property
    def time_limit(self):
        return self.length if self.endless else None

    def reset(self, key):
        cue = jnp.where(jax.random.bernoulli(key), 1.0, -1.0)
        return ProbeState(time=jnp.int32(0), score=jnp.int32(0), cue=cue)

    def step(self, state, action, key):
        last = state.time == self.length - 1
        right = {"one": True, "action": action == 1, "match": (action == 1) == (state.cue > 0)}[self.pays]
        reward = jnp.where((last | self.always) & right, 1.0, 0.0)
        terminal = last & (not self.endless)
        return state.replace(time=state.time + 1, score=state.score + (reward > 0)), reward, terminal

    def draw(self, state, partial):
        seen = jnp.where((state.time == 0) | ~(partial | self.blind), state.cue, 0.0)
        return jnp.stack([seen, state.time == 0, state.time == self.length - 1]).astype(jnp.float32)
