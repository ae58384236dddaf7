"""The Encoder contract: from pixels to features."""

import jax
from flax import linen as nn

DTYPES = ("float32", "bfloat16")


class Encoder(nn.Module):
    """One pixel encoder; a subclass lives in a file of its own. Works for frames of 128 and of 256 pixels.

    Attributes:
      dtype: of products and of what is kept for the backward pass, "float32" or "bfloat16". Products of bfloat16
        are summed in float32 and rounded once, on tensor cores as on a CPU; so are the gradients of what they multiply,
        parameters too, which are then float32 again. Parameters, the adding of biases and the result are float32 in
        either case, and so is all that comes after.

    Raises:
      ValueError: there is no such dtype.
    """

    dtype: str = "float32"

    def __post_init__(self):
        if self.dtype not in DTYPES:
            raise ValueError(f"encoder.dtype={self.dtype!r}; there are {', '.join(DTYPES)}")
        super().__post_init__()

    def __call__(self, frames: jax.Array) -> jax.Array:
        """uint8[N, side, side, 3] -> float32[N, features]."""
        raise NotImplementedError


def check_side(side: int, sides: tuple[int, ...] = (128, 256)) -> None:
    """Raises ValueError where frames have a side that no encoder is made for."""
    if side not in sides:
        raise ValueError(f"frames of {side} pixels; there are {', '.join(map(str, sides))}")
