"""A game with pixels that cannot be played without memory: a T-maze, as a user would add it."""

import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from flax import struct

from podarcade.envs.games import Game
from podarcade.envs.rendering import canvas

PAGE, PANEL, INK, CUE, PATH = (20, 24, 40), (40, 46, 70), (235, 235, 235), (255, 180, 0), (90, 200, 140)


@struct.dataclass
class CueState:
    time: jax.Array
    score: jax.Array
    side: jax.Array  # int32[]  0 left, 1 right


@dataclasses.dataclass(frozen=True)
class Cue(Game):
    """A lamp on the left or on the right shows which way to turn `corridor` steps later.

    The frame shows the lamp in the upper corner of its side, and the distance walked as a bar. In the last step action
    2 turns left and 3 right, which pays 1 on the side of the lamp. In earlier steps every action but 0 costs 0.1: a
    memoryless agent could otherwise store the cue in its previous action, which it observes; that costs more than
    the 0.5 that it gains. The partial twin hides the lamp after time 0.
    """

    corridor: int = 8

    LEVELS: ClassVar[dict[str, dict[str, Any]]] = {"easy": {"corridor": 8}, "medium": {"corridor": 16}}
    RETURNS: ClassVar[tuple[float, float]] = (-1.5, 1.0)

    @property
    def time_limit(self):
        return self.corridor

    def reset(self, key):
        side = jax.random.bernoulli(key).astype(jnp.int32)
        return CueState(time=jnp.int32(0), score=jnp.int32(0), side=side)

    def step(self, state, action, key):
        last = state.time == self.corridor - 1
        right = last & (action == 2 + state.side)
        state = state.replace(time=state.time + 1, score=state.score + right)
        return state, jnp.where(last, right, -0.1 * (action != 0)).astype(jnp.float32), last

    def draw(self, state, partial):
        scale = self.obs_size // canvas.GRID
        page = canvas.rows(canvas.enlarge(canvas.page(PAGE, PANEL, 96, "CUE", INK), scale))
        lit = (~partial | (state.time == 0)) & (jnp.arange(2) == state.side)
        lamps = [self._block(lit[side], CUE, 24, 24, scale) for side in range(2)]
        gone = (jnp.arange(96 * scale) < state.time * (96 * scale) // self.corridor)[None, :, None]
        bar = jnp.where(gone, jnp.array(PATH, jnp.uint8)[None, None], jnp.array(PANEL, jnp.uint8)[None, None])
        parts = [
            canvas.number(state.score, PAGE, INK, scale),
            canvas.Part(20, 16, lamps[0]),
            canvas.Part(20, 88, lamps[1]),
            canvas.Part(70, 16, jnp.repeat(bar.reshape(1, -1), 8 * scale, axis=0)),
        ]
        return canvas.compose(page, parts)

    def _block(self, lit, colour, height, width, scale):
        colour = jnp.where(lit, jnp.array(colour, jnp.uint8), jnp.array(PANEL, jnp.uint8))
        return jnp.tile(colour, (height * scale, width * scale))
