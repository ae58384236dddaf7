"""The Encoder contract: from pixels to features."""

import jax
from flax import linen as nn


class Encoder(nn.Module):
    """One pixel encoder; a subclass lives in a file of its own. Works for frames of 128 and of 256 pixels."""

    def __call__(self, frames: jax.Array) -> jax.Array:
        """uint8[N, side, side, 3] -> float[N, features]."""
        raise NotImplementedError


def check_side(side: int, sides: tuple[int, ...] = (128, 256)) -> None:
    """Raises ValueError where frames have a side that no encoder is made for."""
    if side not in sides:
        raise ValueError(f"frames of {side} pixels; there are {', '.join(map(str, sides))}")
