"""The features of the last few steps, side by side: what stacking frames is to an agent with memory."""

from typing import ClassVar

import jax
import jax.numpy as jnp
from flax import linen as nn

from podarcade.models.memory import Memory
from podarcade.models.memory.windowed_attention import recent


class Stack(Memory):
    """yₜ = W [xₜ₋ₖ₊₁ .. xₜ] + b, with zeros for the steps before a start (Mnih et al. 2015 stack 4 frames).

    With `features`, W is two matrices with a gelu between them. The carry holds k - 1 steps,
    4 (k - 1) width bytes per environment.

    Attributes:
      frames: k, the present step included.
      features: hidden units between the stack and y; 0 for none, one matrix.
    """

    SIZE: ClassVar[str] = "features"

    frames: int = 4
    features: int = 0

    def initial(self, batch: int) -> jax.Array | tuple[()]:
        """The k - 1 steps before, float32[batch, k - 1, width], zeros; empty for one frame."""
        if self.frames < 1:
            raise ValueError(f"frames={self.frames}; at least 1, the present one")
        return jnp.zeros((batch, self.frames - 1, self.width)) if self.frames > 1 else ()

    @nn.compact
    def __call__(
        self, carry: jax.Array | tuple[()], x: jax.Array, start: jax.Array
    ) -> tuple[jax.Array | tuple[()], jax.Array]:
        """(steps before, x [T, B, width], start [T, B]) -> (steps before, y [T, B, width])."""
        y = x
        if self.frames > 1:
            carry, windows = recent(carry, x, start)
            y = windows.reshape(*x.shape[:2], self.frames * self.width).astype(x.dtype)
        if self.features:
            y = nn.gelu(nn.Dense(self.features, dtype=x.dtype, name="hidden")(y))
        return carry, nn.Dense(self.width, dtype=x.dtype, name="out")(y)
