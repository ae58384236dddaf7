"""The Encoder contract: from pixels to features."""

import jax
import jax.numpy as jnp
from flax import linen as nn

DTYPES = ("float32", "bfloat16")


class Encoder(nn.Module):
    """A pixel encoder for frames of 128 or 256 pixels. Each subclass lives in its own file.

    Frames are uint8, or float32 with values in [0, 255]. Both give the same features for the same values, and the
    gradient with respect to float frames is the true one, which saliency maps rely on: do not cast frames to an
    integer type unless they are integers.

    Attributes:
      dtype: "float32" or "bfloat16", the dtype of products and of activations stored for the backward pass. Products
        of bfloat16 accumulate in float32 and round once, on tensor cores as on a CPU; so do the gradients of their
        operands, which are cast back to float32 for parameters. Parameters, bias additions and the result are float32
        in either case.

    Raises:
      ValueError: unknown dtype.
    """

    dtype: str = "float32"

    def __post_init__(self):
        if self.dtype not in DTYPES:
            raise ValueError(f"encoder.dtype={self.dtype!r}; expected one of: {', '.join(DTYPES)}")
        super().__post_init__()

    def __call__(self, frames: jax.Array) -> jax.Array:
        """Map frames, uint8 or float32[N, side, side, 3], to features float32[N, features]."""
        raise NotImplementedError


def check_side(side: int, sides: tuple[int, ...] = (128, 256)) -> None:
    """Raise ValueError unless frames have one of the supported sides, in pixels."""
    if side not in sides:
        raise ValueError(f"frames of {side} pixels; expected one of: {', '.join(map(str, sides))}")


def sum_dtype(frames: jax.Array) -> jnp.dtype:
    """Return a dtype in which up to 257 pixels sum exactly: uint16 for uint8 frames, float32 for float frames."""
    return jnp.uint16 if frames.dtype == jnp.uint8 else jnp.float32
