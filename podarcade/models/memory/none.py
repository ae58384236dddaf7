"""Memoryless control: the identity, or a residual MLP of matched size."""

from typing import ClassVar

import jax
from flax import linen as nn

from podarcade.models.memory import Memory


class NoMemory(Memory):
    """The identity yₜ = xₜ, or yₜ = xₜ + W₂ gelu(W₁ xₜ) to match the parameters of a memory layer.

    The memoryless agent is the same trainer, trunk and head with this layer in place of a memory, so that two runs
    differ in memory only. Experiments do not show it the previous action (`network.inputs="o"`), which a policy could
    use as a memory of one step.

    Attributes:
      hidden: hidden units, 0 for the identity.
    """

    SIZE: ClassVar[str] = "hidden"

    hidden: int = 0

    def initial(self, batch: int) -> tuple:
        """Return an empty carry."""
        return ()

    @nn.compact
    def __call__(self, carry: tuple, x: jax.Array, start: jax.Array) -> tuple[tuple, jax.Array]:
        """Map x [T, B, width] to y [T, B, width], each step on its own."""
        if not self.hidden:
            return carry, x
        hidden = nn.gelu(nn.Dense(self.hidden, dtype=x.dtype, name="enter")(x))
        return carry, x + nn.Dense(self.width, dtype=x.dtype, name="out")(hidden)
