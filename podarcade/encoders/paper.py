"""The convolutional encoder of the POPGym Arcade papers."""

import jax
import jax.numpy as jnp
from flax import linen as nn

from podarcade.encoders import Encoder, check_side

# (kernel side, stride, channels, pool side, pool stride); no pooling where the pool side is 1.
LAYERS = {
    128: ((5, 2, 64, 2, 2), (3, 2, 128, 2, 2), (3, 2, 256, 3, 1), (1, 1, 512, 1, 1)),
    256: ((7, 2, 64, 2, 2), (3, 2, 128, 2, 2), (3, 2, 256, 2, 2), (3, 2, 512, 1, 1)),
}


class PaperEncoder(Encoder):
    """Four convolutions without padding, leaky ReLU and max-pooling, to 512 features.

    505,472 parameters and 37.8 M multiply-adds a frame at 128 pixels, 1,558,656 and 229 M at 256
    (POPGym Arcade, appendix on architectures). Inputs are divided by 255; there is no normalisation inside.
    The division is done to the first kernel: whole numbers to 255 are exact in bfloat16, their quotients are not.

    Attributes:
      convolution: "xla" (cuDNN on a GPU), "matmul" (patches times one matrix: 30 to 80 times
        faster on a CPU inside a scan) or "auto", which picks by the default backend. Same parameters,
        same function.
      dtype: of all convolutions, and of the pools between them.
    """

    convolution: str = "auto"

    @nn.compact
    def __call__(self, frames: jax.Array) -> jax.Array:
        """uint8[N, side, side, 3] -> float32[N, 512]."""
        check_side(frames.shape[-2])
        x = frames.astype(self.dtype)
        for index, (side, stride, channels, pool, pool_stride) in enumerate(LAYERS[frames.shape[-2]]):
            kernel = self.param(f"kernel_{index}", nn.initializers.lecun_normal(), (side, side, x.shape[-1], channels))
            bias = self.param(f"bias_{index}", nn.initializers.zeros, (channels,))
            kernel = kernel / 255.0 if index == 0 else kernel
            # Float32 between a convolution and its pool: the bias's gradient is a sum over all pixels of all frames.
            x = self._convolve(x, kernel.astype(self.dtype), stride).astype(jnp.float32)
            x = nn.leaky_relu(x + bias[None, None, None], 0.01).astype(self.dtype)
            if pool > 1:
                x = nn.max_pool(x, (pool, pool), (pool_stride, pool_stride))
        return x.reshape(x.shape[0], -1).astype(jnp.float32)

    def _convolve(self, x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
        form = self.convolution
        if form == "auto":
            form = "matmul" if jax.default_backend() == "cpu" else "xla"
        if form == "matmul":
            return matmul_convolution(x, kernel, stride)
        if form != "xla":
            raise ValueError(f"convolution={form!r}; there are auto, matmul, xla")
        return jax.lax.conv_general_dilated(
            x, kernel, (stride, stride), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )


def matmul_convolution(x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    """A convolution without padding, as strided slices side by side times one matrix.

    Args:
      x: float[N, H, W, C].
      kernel: float[side, side, C, features].
      stride: of both axes.

    Returns:
      float[N, (H - side) // stride + 1, (W - side) // stride + 1, features].
    """
    side = kernel.shape[0]
    high = [(size - side) // stride * stride + 1 for size in x.shape[1:3]]
    patches = [
        x[:, row : row + high[0] : stride, column : column + high[1] : stride]
        for row in range(side)
        for column in range(side)
    ]
    patches = patches[0] if side == 1 else jnp.concatenate(patches, axis=-1)
    return patches @ kernel.reshape(-1, kernel.shape[-1])
