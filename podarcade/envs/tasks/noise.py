"""Noise of observations."""

import jax
import jax.numpy as jnp
import numpy as np


def normal_pair(uniform: jax.Array) -> jax.Array:
    """Return two independent standard normal numbers, float32[2], for two uniform ones in [0, 1), float32[2].

    The Box-Muller transform: √(-2 ln(1 - u₁)) (cos 2πu₂, sin 2πu₂), much cheaper on a CPU than the inverse of erf.
    """
    radius = jnp.sqrt(-2.0 * jnp.log1p(-uniform[0]))
    angle = 2 * np.pi * uniform[1]
    return radius * jnp.stack([jnp.cos(angle), jnp.sin(angle)])
