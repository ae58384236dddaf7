"""The convolutional encoder of the POPGym Arcade papers."""

import functools
import math

import jax
import jax.numpy as jnp
from flax import linen as nn

from podarcade.models.encoders import Encoder, check_side

# (kernel side, stride, channels, pool side); the one pool whose stride is published as 1 has a single window.
LAYERS = {
    128: ((5, 2, 64, 2), (3, 2, 128, 2), (3, 2, 256, 3), (1, 1, 512, 1)),
    256: ((7, 2, 64, 2), (3, 2, 128, 2), (3, 2, 256, 2), (3, 2, 512, 1)),
}


INITIALISERS = ("lecun_normal", "uniform")


class PopgymCNN(Encoder):
    """Four convolutions without padding, leaky ReLU and max-pooling, to 512 features.

    505,472 parameters and 37.8 M multiply-adds a frame at 128 pixels, 1,558,656 and 229 M at 256
    (POPGym Arcade, appendix on architectures). Inputs are divided by 255; there is no normalisation inside.
    The division is done to the first kernel: whole numbers to 255 are exact in bfloat16, their quotients are not.

    Attributes:
      convolution: "xla" (cuDNN on a GPU), "matmul" (patches times one matrix: 30 to 80 times
        faster on a CPU inside a scan) or "auto", which picks by the default backend. Same parameters,
        same function.
      initialiser: "lecun_normal" with biases of zero, or "uniform" on ±1/√n for both, n the inputs of a channel, as in
        the released networks: features begin a seventh as large.
      dtype: of all convolutions, and of the pools between them.

    Raises:
      ValueError: there is no such initialiser.
    """

    convolution: str = "auto"
    initialiser: str = "lecun_normal"

    def __post_init__(self):
        if self.initialiser not in INITIALISERS:
            raise ValueError(f"encoder.initialiser={self.initialiser!r}; there are {', '.join(INITIALISERS)}")
        super().__post_init__()

    @nn.compact
    def __call__(self, frames: jax.Array) -> jax.Array:
        """uint8[N, side, side, 3] -> float32[N, 512]."""
        check_side(frames.shape[-2])
        x = frames.astype(self.dtype)
        for index, (side, stride, channels, pool) in enumerate(LAYERS[frames.shape[-2]]):
            shape = side, side, x.shape[-1], channels
            begin_kernel, begin_bias = nn.initializers.lecun_normal(), nn.initializers.zeros
            if self.initialiser == "uniform":
                begin_kernel = begin_bias = uniform(math.prod(shape[:-1]))
            kernel = self.param(f"kernel_{index}", begin_kernel, shape)
            bias = self.param(f"bias_{index}", begin_bias, (channels,))
            kernel = kernel / 255.0 if index == 0 else kernel
            # Bias and leaky ReLU keep the order of numbers: after the pool they are the same, on a quarter of them.
            # They are in float32, for the bias's gradient is a sum over all pixels of all frames.
            x = max_pool(self._convolve(x, kernel.astype(self.dtype), stride), pool).astype(jnp.float32)
            x = nn.leaky_relu(x + bias[None, None, None], 0.01).astype(self.dtype)
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


def uniform(inputs: int) -> nn.initializers.Initializer:
    """Uniform on ±1/√inputs: how the weights, and the biases, of the released networks begin."""

    def draw(key, shape, dtype=jnp.float32):
        return jax.random.uniform(key, shape, dtype, -(inputs**-0.5), inputs**-0.5)

    return draw


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
    return _product(patches, kernel.reshape(-1, kernel.shape[-1]))


@jax.custom_vjp
def _product(patches: jax.Array, matrix: jax.Array) -> jax.Array:
    """[N, H, W, K] @ [K, features]."""
    return patches @ matrix


def _product_backward(kept, gradient: jax.Array):
    patches, matrix = kept
    rows, slopes = (x.reshape(len(x), -1, x.shape[-1]) for x in (patches, gradient))
    if matrix.size > sum(matrix.shape) * rows.shape[1]:
        return gradient @ matrix.T, jnp.einsum("npk,npf->kf", rows, slopes)
    # The matrix's gradient of each frame is smaller than what it is made of: a product per frame, then their sum, is
    # four times as fast on a CPU as one very long product.
    return gradient @ matrix.T, jnp.einsum("npk,npf->nkf", rows, slopes).sum(axis=0)


_product.defvjp(lambda patches, matrix: (patches @ matrix, (patches, matrix)), _product_backward)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def max_pool(x: jax.Array, side: int) -> jax.Array:
    """Maxima of windows side by side, float[N, H, W, C] -> float[N, H // side, W // side, C].

    Rows and columns that fill no window are left out. The gradient goes to the first of equals, row by row, as that of
    `nn.max_pool` does, whose backward pass is twenty times slower on a CPU.
    """
    return _windows(x, side).max(axis=(2, 4))


def _windows(x: jax.Array, side: int) -> jax.Array:
    """[N, H // side, side, W // side, side, C]."""
    count, high, wide, channels = x.shape
    whole = x[:, : high // side * side, : wide // side * side]
    return whole.reshape(count, high // side, side, wide // side, side, channels)


def _places(side: int) -> jax.Array:
    """The number of each place in a window, row by row, as `_windows` has them."""
    return jnp.arange(side * side, dtype=jnp.uint8).reshape(1, 1, side, 1, side, 1)


def _pool_forward(x: jax.Array, side: int):
    windows, best = _windows(x, side), max_pool(x, side)
    is_best = windows == best[:, :, None, :, None]
    winner = jnp.where(is_best, _places(side), jnp.uint8(side * side)).min(axis=(2, 4))
    return best, (winner, x[:0])


def _pool_backward(side: int, kept, gradient: jax.Array):
    winner, like = kept
    count, high, wide, channels = winner.shape
    places = jnp.where(winner[:, :, None, :, None] == _places(side), gradient[:, :, None, :, None], 0)
    whole = places.reshape(count, high * side, wide * side, channels)
    left = [
        (0, 0),
        *((0, size - filled) for size, filled in zip(like.shape[1:3], whole.shape[1:3], strict=True)),
        (0, 0),
    ]
    return (jnp.pad(whole, left),)


max_pool.defvjp(_pool_forward, _pool_backward)
