"""A small encoder built from matrix products only, for machines without an accelerator."""

import itertools

import jax
import jax.numpy as jnp
from flax import linen as nn

from podarcade.models.encoders import Encoder, check_side, sum_dtype


class PatchEncoder(Encoder):
    """Three dense layers on a downsampled frame: on patches, on groups of patches, and on the whole frame.

    The frame is averaged down to 64 x 64 and split into 16 x 16 patches, each mapped to `patch_features`; 4 x 4
    patches form a group, mapped to `group_features`; the 16 groups together are mapped to `features`. Patches share
    their weights, and so do groups. A frame costs 1.2 M multiply-adds, a thirtieth of `PopgymCNN` at 128 pixels.
    Strokes one pixel wide blur but remain visible.

    Attributes:
      patch_features: width of the first layer.
      group_features: width of the second layer.
      features: width of the result.
      dtype: dtype of the second and the third product. The first is always float32: the sum of a block needs 10 to 12
        bits of mantissa and bfloat16 has 8. (Splitting the sum in two would fit, at the same cost in memory and time.)
    """

    patch_features: int = 32
    group_features: int = 64
    features: int = 256

    @nn.compact
    def __call__(self, frames: jax.Array) -> jax.Array:
        """Map frames, uint8 or float32[N, side, side, 3], to features float32[N, features]."""
        count, side = frames.shape[0], frames.shape[-2]
        check_side(side)
        block = side // 64
        # Strided slices: XLA:CPU takes ten times as long to reduce a reshaped frame.
        offsets = itertools.product(range(block), repeat=2)
        x = sum(frames[:, i::block, j::block].astype(sum_dtype(frames)) for i, j in offsets)
        # Order [group, patch, pixel]: pixels are transposed once, features never.
        x = x.reshape(count, 4, 4, 4, 4, 4, 4 * 3).transpose(0, 1, 4, 2, 5, 3, 6).reshape(count * 256, 4 * 4 * 3)
        x = x.astype(jnp.float32) / (255.0 * block**2)
        x = nn.relu(nn.Dense(self.patch_features, name="patch", dot_general=_product)(x))
        x = x.reshape(count * 16, -1)
        x = nn.relu(nn.Dense(self.group_features, name="group", dot_general=self._product)(x))
        return nn.Dense(self.features, name="picture", dot_general=self._product)(x.reshape(count, -1))

    def _product(self, x: jax.Array, kernel: jax.Array, dimensions, precision=None) -> jax.Array:
        # Cast here instead of in Dense: the bias and its gradient, a sum over frames, stay float32.
        product = _product(x.astype(self.dtype), kernel.astype(self.dtype), dimensions, precision)
        return product.astype(jnp.float32)


def _product(x: jax.Array, kernel: jax.Array, dimensions, precision=None) -> jax.Array:
    # Transposed twice, so that the kernel's gradient is (gᵀ x)ᵀ. XLA:CPU takes twice as long for xᵀ g, and without the
    # barrier would simplify the former to it.
    return jax.lax.dot_general(x, jax.lax.optimization_barrier(kernel.T).T, dimensions, precision)
