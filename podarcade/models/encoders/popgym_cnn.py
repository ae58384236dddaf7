"""The convolutional encoder of the POPGym Arcade papers."""

import functools
import math

import jax
import jax.numpy as jnp
from flax import linen as nn

from podarcade.models.encoders import Encoder, check_side
from podarcade.models.platform import platform

# (kernel side, stride, channels, pool side); the one pool with a published stride of 1 has a single window.
LAYERS = {
    128: ((5, 2, 64, 2), (3, 2, 128, 2), (3, 2, 256, 3), (1, 1, 512, 1)),
    256: ((7, 2, 64, 2), (3, 2, 128, 2), (3, 2, 256, 2), (3, 2, 512, 1)),
}

INITIALISERS = ("lecun_normal", "uniform")


class PopgymCNN(Encoder):
    """Four unpadded convolutions with leaky ReLU and max-pooling, to 512 features.

    It has 505,472 parameters and 37.8 M multiply-adds per frame at 128 pixels, 1,558,656 and 229 M at 256 (POPGym
    Arcade, appendix on architectures), and no normalisation layers. Pixels are divided by 255, by dividing the first
    kernel: integers up to 255 are exact in bfloat16, their quotients are not.

    Attributes:
      convolution: "xla" (cuDNN on a GPU), "matmul" (im2col and one matrix product: 30 to 80 times faster on a CPU
        inside a scan) or "auto", which selects by the platform. All share parameters and function.
      initialiser: "lecun_normal" with zero biases, or "uniform" on ±1/√n for both with fan-in n, as in the released
        networks: initial features are a seventh as large.
      dtype: dtype of all convolutions, and of the pools between them.

    Raises:
      ValueError: unknown initialiser, or unknown form of convolution.
    """

    convolution: str = "auto"
    initialiser: str = "lecun_normal"

    def __post_init__(self):
        if self.initialiser not in INITIALISERS:
            raise ValueError(f"encoder.initialiser={self.initialiser!r}; expected one of: {', '.join(INITIALISERS)}")
        super().__post_init__()

    @nn.compact
    def __call__(self, frames: jax.Array) -> jax.Array:
        """Map frames, uint8 or float32[N, side, side, 3], to features float32[N, 512]."""
        check_side(frames.shape[-2])
        x = frames.astype(self.dtype)
        for index, (side, stride, channels, pool) in enumerate(LAYERS[frames.shape[-2]]):
            shape = side, side, x.shape[-1], channels
            kernel_init, bias_init = nn.initializers.lecun_normal(), nn.initializers.zeros
            if self.initialiser == "uniform":
                kernel_init = bias_init = uniform(math.prod(shape[:-1]))
            kernel = self.param(f"kernel_{index}", kernel_init, shape, jnp.float32)
            bias = self.param(f"bias_{index}", bias_init, (channels,), jnp.float32)
            kernel = kernel / 255.0 if index == 0 else kernel
            # Bias and leaky ReLU are monotonic, so they commute with the pool and cost a quarter after it. They run in
            # float32, because the gradient of the bias is a sum over all pixels of all frames.
            x = max_pool(self._convolve(x, kernel.astype(self.dtype), stride), pool).astype(jnp.float32)
            x = nn.leaky_relu(x + bias[None, None, None], 0.01).astype(self.dtype)
        return x.reshape(x.shape[0], -1).astype(jnp.float32)

    def _convolve(self, x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
        form = self.convolution
        if form == "auto":
            form = "matmul" if platform() == "cpu" else "xla"
        if form == "matmul":
            return matmul_convolution(x, kernel, stride)
        if form != "xla":
            raise ValueError(f"encoder.convolution={form!r}; expected one of: auto, matmul, xla")
        return jax.lax.conv_general_dilated(
            x, kernel, (stride, stride), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )


def uniform(inputs: int) -> nn.initializers.Initializer:
    """Return the initialiser of weights and biases in the released networks: uniform on ±1/√inputs."""

    def draw(key, shape, dtype=jnp.float32):
        return jax.random.uniform(key, shape, dtype, -(inputs**-0.5), inputs**-0.5)

    return draw


def matmul_convolution(x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    """Compute an unpadded convolution as im2col by strided slices, times one matrix.

    Args:
      x: float[N, H, W, C].
      kernel: float[side, side, C, features].
      stride: stride of both spatial axes.

    Returns:
      float[N, (H - side) // stride + 1, (W - side) // stride + 1, features].
    """
    side = kernel.shape[0]
    height, width = ((size - side) // stride * stride + 1 for size in x.shape[1:3])
    patches = [
        x[:, row : row + height : stride, column : column + width : stride]
        for row in range(side)
        for column in range(side)
    ]
    patches = patches[0] if side == 1 else jnp.concatenate(patches, axis=-1)
    return _product(patches, kernel.reshape(-1, kernel.shape[-1]))


@jax.custom_vjp
def _product(patches: jax.Array, matrix: jax.Array) -> jax.Array:
    """Return [N, H, W, K] @ [K, features]."""
    return patches @ matrix


def _product_backward(residuals, cotangent: jax.Array):
    patches, matrix = residuals
    rows, cotangents = (x.reshape(len(x), -1, x.shape[-1]) for x in (patches, cotangent))
    if matrix.size > sum(matrix.shape) * rows.shape[1]:
        return cotangent @ matrix.T, jnp.einsum("npk,npf->kf", rows, cotangents)
    # The matrix gradient of a frame is smaller than the factors it is computed from: a product per frame and a sum is
    # four times as fast on a CPU as one very long product.
    return cotangent @ matrix.T, jnp.einsum("npk,npf->nkf", rows, cotangents).sum(axis=0)


_product.defvjp(lambda patches, matrix: (patches @ matrix, (patches, matrix)), _product_backward)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def max_pool(x: jax.Array, side: int) -> jax.Array:
    """Max-pool with non-overlapping windows, float[N, H, W, C] -> float[N, H // side, W // side, C].

    Rows and columns that do not fill a window are dropped. Ties send their gradient to the first maximum in row-major
    order, as in `nn.max_pool`, whose backward pass is twenty times slower on a CPU.
    """
    return _windows(x, side).max(axis=(2, 4))


def _windows(x: jax.Array, side: int) -> jax.Array:
    """Split an image into windows, [N, H, W, C] -> [N, H // side, side, W // side, side, C]."""
    count, height, width, channels = x.shape
    cropped = x[:, : height // side * side, : width // side * side]
    return cropped.reshape(count, height // side, side, width // side, side, channels)


def _window_indices(side: int) -> jax.Array:
    """Return the row-major index of each position in a window, in the layout of `_windows`."""
    return jnp.arange(side * side, dtype=jnp.uint8).reshape(1, 1, side, 1, side, 1)


def _pool_forward(x: jax.Array, side: int):
    windows, maxima = _windows(x, side), max_pool(x, side)
    is_max = windows == maxima[:, :, None, :, None]
    argmax = jnp.where(is_max, _window_indices(side), jnp.uint8(side * side)).min(axis=(2, 4))
    return maxima, (argmax, x[:0])


def _pool_backward(side: int, residuals, cotangent: jax.Array):
    argmax, like = residuals
    count, height, width, channels = argmax.shape
    scattered = jnp.where(argmax[:, :, None, :, None] == _window_indices(side), cotangent[:, :, None, :, None], 0)
    cropped = scattered.reshape(count, height * side, width * side, channels)
    dropped = [(0, size - kept) for size, kept in zip(like.shape[1:3], cropped.shape[1:3], strict=True)]
    return (jnp.pad(cropped, [(0, 0), *dropped, (0, 0)]),)


max_pool.defvjp(_pool_forward, _pool_backward)
