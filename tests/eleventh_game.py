"""A game as a user would add it: one file on the plug-in path."""

import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from podarcade.envs.games import Game
from podarcade.envs.rendering import canvas

PAGE, LAMP, OFF, INK = (20, 24, 40), (255, 180, 0), (60, 66, 90), (235, 235, 235)


@struct.dataclass
class LampsState:
    """16 bytes."""

    lit: jax.Array  # int32[] number of the lit lamp
    time: jax.Array  # int32[]
    score: jax.Array  # int32[] right answers


@dataclasses.dataclass(frozen=True)
class Lamps(Game):
    """Four lamps, one of which is lit when an episode begins.

    An action 0 to 3 that equals the number of the lit lamp pays 1 / `max_steps` and lights the next lamp. The episode
    is truncated after `max_steps` steps, which is terminal under published rules. The partial twin shows the lamps at
    time 0 only.
    """

    max_steps: int = 12

    LEVELS: ClassVar[dict[str, dict[str, Any]]] = {
        "easy": {"max_steps": 12},
        "medium": {"max_steps": 24},
        "hard": {"max_steps": 48},
    }

    def reset(self, key):
        return LampsState(jax.random.randint(key, (), 0, 4), time=jnp.int32(0), score=jnp.int32(0))

    def step(self, state, action, key):
        right = action == state.lit
        new = LampsState((state.lit + right) % 4, state.time + 1, state.score + right)
        over = jnp.asarray(False) if self.rules == "strict" else new.time >= self.max_steps
        return new, jnp.where(right, 1 / self.max_steps, 0.0).astype(jnp.float32), over

    def draw(self, state, partial):
        scale = self.obs_size // canvas.GRID
        page = canvas.rows(canvas.enlarge(canvas.page(PAGE, PAGE, 96, "LAMPS", INK), scale))
        atlas = np.stack([canvas.enlarge(canvas.blank(24, 24, colour), scale) for colour in (OFF, LAMP)])
        lit = (jnp.arange(4) == state.lit) & (~partial | (state.time == 0))
        lamps = canvas.Part(50, 16, canvas.tiles(atlas, lit[None].astype(jnp.int32)))
        return canvas.compose(page, [canvas.number(state.score, PAGE, INK, scale), lamps])
