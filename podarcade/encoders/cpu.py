"""A small encoder of matrix products only, for machines without an accelerator."""

import jax
import jax.numpy as jnp
from flax import linen as nn

from podarcade.encoders import Encoder, check_side


class PatchEncoder(Encoder):
    """Patches, then groups of patches, then the whole picture, each through one dense layer.

    The frame is cut in 16 x 16 patches, each mapped to `patch_features`; 4 x 4 of them make a
    group, mapped to `group_features`; the 16 groups together make `features`. Weights are shared
    over patches and over groups. 2.4 M multiply-adds a frame of 128 pixels, a sixteenth of the paper's.

    Attributes:
      patch_features: width of the first layer.
      group_features: width of the second layer.
      features: width of the result.
    """

    patch_features: int = 32
    group_features: int = 64
    features: int = 256

    @nn.compact
    def __call__(self, frames: jax.Array) -> jax.Array:
        """uint8[N, side, side, 3] -> float32[N, features]."""
        count, side = frames.shape[0], frames.shape[-2]
        check_side(side)
        patch = side // 16
        x = frames.reshape(count, 16, patch, 16, patch * 3).transpose(0, 1, 3, 2, 4)
        x = x.reshape(count, 16, 16, patch * patch * 3).astype(jnp.float32) / 255.0
        x = nn.relu(nn.Dense(self.patch_features, name="patch")(x))
        x = x.reshape(count, 4, 4, 4, 4, -1).transpose(0, 1, 3, 2, 4, 5).reshape(count, 4, 4, -1)
        x = nn.relu(nn.Dense(self.group_features, name="group")(x))
        return nn.Dense(self.features, name="picture")(x.reshape(count, -1))
