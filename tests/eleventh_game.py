"""A game as a stranger would add it: this file, put on the plug-in path, and nothing else."""

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

    lit: jax.Array  # int32[] which of the four lamps
    time: jax.Array  # int32[]
    score: jax.Array  # int32[] right answers


@dataclasses.dataclass(frozen=True)
class Lamps(Game):
    """Four lamps; one is lit when an episode begins.

    Action 0 to 3 that is the lit lamp's number pays 1 / `max_steps`, then the next lamp is lit. Truncated after `max_steps`;
    under published rules that is an end. The partial twin shows lamps at time 0 only. Reward memory length: O(n).
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
