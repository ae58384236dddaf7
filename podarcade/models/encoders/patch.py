"""A small encoder of matrix products only, for machines without an accelerator."""

import itertools

import jax
import jax.numpy as jnp
from flax import linen as nn

from podarcade.models.encoders import Encoder, check_side


class PatchEncoder(Encoder):
    """A quarter of the pixels, then patches, groups of patches, and the whole picture, each through one dense layer.

    The frame is averaged down to 64 x 64 and cut in 16 x 16 patches, each mapped to `patch_features`; 4 x 4 of
    them make a group, mapped to `group_features`; the 16 groups together make `features`. Weights are shared over
    patches and over groups. 1.2 M multiply-adds a frame, a thirtieth of the paper's at 128 pixels. Strokes one
    pixel wide blur, but are not lost.

    Attributes:
      patch_features: width of the first layer.
      group_features: width of the second layer.
      features: width of the result.
      dtype: of the second and the third product. The first is float32 in any case: the sum of a block has 10 to 12
        binary digits, bfloat16 has 8. (Cut in two parts it would fit, and cost as much memory and time.)
    """

    patch_features: int = 32
    group_features: int = 64
    features: int = 256

    @nn.compact
    def __call__(self, frames: jax.Array) -> jax.Array:
        """uint8[N, side, side, 3] -> float32[N, features]."""
        count, side = frames.shape[0], frames.shape[-2]
        check_side(side)
        block = side // 64
        # Strided slices, since XLA:CPU takes ten times as long to reduce a reshaped frame.
        offsets = itertools.product(range(block), repeat=2)
        x = sum(frames[:, i::block, j::block].astype(jnp.uint16) for i, j in offsets)
        # Groups, their patches, rows of those: one shuffle of pixels, and none of features.
        x = x.reshape(count, 4, 4, 4, 4, 4, 4 * 3).transpose(0, 1, 4, 2, 5, 3, 6).reshape(count * 256, 4 * 4 * 3)
        x = x.astype(jnp.float32) / (255.0 * block**2)
        x = nn.relu(nn.Dense(self.patch_features, name="patch", dot_general=_product)(x))
        x = x.reshape(count * 16, -1)
        x = nn.relu(nn.Dense(self.group_features, name="group", dot_general=self._product)(x))
        return nn.Dense(self.features, name="picture", dot_general=self._product)(x.reshape(count, -1))

    def _product(self, x: jax.Array, kernel: jax.Array, dimensions, precision=None) -> jax.Array:
        # Cast here and not by Dense: its bias, and the sum over frames that is the bias's gradient, stay float32.
        product = _product(x.astype(self.dtype), kernel.astype(self.dtype), dimensions, precision)
        return product.astype(jnp.float32)


def _product(x: jax.Array, kernel: jax.Array, dimensions, precision=None) -> jax.Array:
    # Turned twice, so that the kernel's gradient is (gᵀ x)ᵀ: XLA:CPU takes twice as long for xᵀ g, and would make it
    # of the other without the barrier.
    return jax.lax.dot_general(x, jax.lax.optimization_barrier(kernel.T).T, dimensions, precision)
