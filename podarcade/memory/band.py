"""What looks at the last few steps only: short convolutions, stacks, attention through a sliding window.

A step never sees past its window nor past the last start; the carry holds what the next steps still see.
"""

import jax
import jax.numpy as jnp

from podarcade.memory.restarts import segments


def recent(carry: jax.Array, x: jax.Array, start: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The last k steps at every step, x_{t-k+1} .. x_t, with zeros for the steps before a start.

    Args:
      carry: the k - 1 steps before, float32[B, k - 1, F], newest last.
      x: [T, B, F].
      start: bool[T, B].

    Returns:
      The new carry, and the windows [T, B, k, F], newest last, in the carry's dtype.
    """
    past = carry.shape[1]
    steps = jnp.concatenate([jnp.swapaxes(carry, 0, 1), x.astype(carry.dtype)])
    segment = segments(start)
    segment_of = jnp.concatenate([jnp.zeros((past, *segment.shape[1:]), segment.dtype), segment])
    which = jnp.arange(x.shape[0])[:, None] + jnp.arange(past + 1)[None, :]  # [T, k]
    seen = jnp.swapaxes(segment_of[which], 1, 2) == segment[:, :, None]  # [T, B, k]
    windows = jnp.where(seen[..., None], jnp.swapaxes(steps[which], 1, 2), 0.0)
    return windows[-1, :, 1:], windows


def causal_convolution(windows: jax.Array, kernel: jax.Array, bias: jax.Array | None = None) -> jax.Array:
    """A convolution over time of every feature by itself: y_t = Σⱼ kernelⱼ ⊙ windows_tⱼ + bias.

    Args:
      windows: of `recent`, [T, B, k, F].
      kernel: [k, F]; its last row meets the present step.
      bias: [F], or none.

    Returns:
      [T, B, F].
    """
    y = jnp.sum(windows * kernel[None, None], axis=2)
    return y if bias is None else y + bias[None, None]
