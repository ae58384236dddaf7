"""The features of the last few steps, concatenated: frame stacking as a memory layer."""

from typing import ClassVar

import jax
import jax.numpy as jnp
from flax import linen as nn

from podarcade.models.memory import Memory
from podarcade.models.memory.windowed_attention import sliding_windows


class Stack(Memory):
    """A linear layer on the last k steps, yₜ = W [xₜ₋ₖ₊₁ .. xₜ] + b (Mnih et al. 2015 stack 4 frames).

    Steps before a start are zeros. With `features`, a hidden layer with gelu comes before W. The carry holds k - 1
    steps, 4 (k - 1) width bytes per environment. The horizon is k - 1 steps, at initialisation and after training.

    Attributes:
      frames: k, including the current step.
      features: hidden units between the stack and y; 0 for a single linear layer.
    """

    SIZE: ClassVar[str] = "features"

    frames: int = 4
    features: int = 0

    def initial(self, batch: int) -> jax.Array | tuple[()]:
        """Return zeros for the previous k - 1 steps, float32[batch, k - 1, width]; () for k = 1."""
        if self.frames < 1:
            raise ValueError(f"memory.frames={self.frames}; expected >= 1 (the current step counts)")
        return jnp.zeros((batch, self.frames - 1, self.width), jnp.float32) if self.frames > 1 else ()

    @nn.compact
    def __call__(
        self, carry: jax.Array | tuple[()], x: jax.Array, start: jax.Array
    ) -> tuple[jax.Array | tuple[()], jax.Array]:
        """Map (previous steps, x [T, B, width], start [T, B]) to (previous steps, y [T, B, width])."""
        y = x
        if self.frames > 1:
            carry, windows = sliding_windows(carry, x, start)
            y = windows.reshape(*x.shape[:2], self.frames * self.width).astype(x.dtype)
        if self.features:
            y = nn.gelu(nn.Dense(self.features, dtype=x.dtype, name="hidden")(y))
        return carry, nn.Dense(self.width, dtype=x.dtype, name="out")(y)
