"""No memory, as a memory: the control that Memory Bias is measured against."""

from typing import ClassVar

import jax
from flax import linen as nn

from podarcade.models.memory import Memory


class NoMemory(Memory):
    """yₜ = xₜ, or with as many parameters as a memory has: yₜ = xₜ + W₂ gelu(W₁ xₜ).

    The memoryless agent is the same trainer, trunk and head with this layer in the
    memory's place, so that two runs differ in memory alone.

    Attributes:
      hidden: features inside, 0 for the plain identity.
    """

    SIZE: ClassVar[str] = "hidden"

    hidden: int = 0

    def initial(self, batch: int) -> tuple:
        """An empty carry."""
        return ()

    @nn.compact
    def __call__(self, carry: tuple, x: jax.Array, start: jax.Array) -> tuple[tuple, jax.Array]:
        """Each step by itself: x [T, B, width] -> y [T, B, width]."""
        if not self.hidden:
            return carry, x
        inside = nn.gelu(nn.Dense(self.hidden, dtype=x.dtype, name="enter")(x))
        return carry, x + nn.Dense(self.width, dtype=x.dtype, name="out")(inside)
