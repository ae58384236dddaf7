"""No memory, as a memory: the control that Memory Bias is measured against."""

import jax

from podarcade.memory import Memory


class NoMemory(Memory):
    """yₜ = xₜ.

    The memoryless agent is the same trainer, trunk and head with this layer in the
    memory's place, so that two runs differ in memory alone.
    """

    def initial(self, batch: int) -> tuple:
        """An empty carry."""
        return ()

    def __call__(self, carry: tuple, x: jax.Array, start: jax.Array) -> tuple[tuple, jax.Array]:
        """Returns x itself."""
        return carry, x
