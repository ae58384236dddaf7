"""Batched inverses of unit lower triangular matrices of a chunk's size, by matrix products."""

import functools

import jax
import jax.numpy as jnp

BLOCK = 16

_matmul = functools.partial(jnp.matmul, precision=jax.lax.Precision.HIGHEST)


@jax.custom_vjp
def unit_lower_inverse(strict: jax.Array) -> jax.Array:
    """Return (I + A)⁻¹ for strictly lower triangular matrices A.

    Diagonal blocks of 16 are inverted by substitution, all at once; two consecutive inverses then combine into one of
    twice the size,

        [P 0; M Q]⁻¹ = [P⁻¹ 0; -Q⁻¹ M P⁻¹ Q⁻¹].

    Library triangular solvers process small matrices one at a time, and on a CPU with threads that wait for each
    other. The product (I - A)(I + A²)(I + A⁴)..., equal in exact arithmetic, loses all digits when a key repeats: the
    powers of A grow like binomial coefficients before they cancel.

    Args:
      strict: A, float32[..., C, C]; zero on and above the diagonal.

    Returns:
      float32[..., C, C] with ones on the diagonal.
    """
    size = strict.shape[-1]
    count = -(-size // BLOCK)
    padding = count * BLOCK - size
    strict = jnp.pad(strict, [(0, 0)] * (strict.ndim - 2) + [(0, padding)] * 2)
    diagonal = [strict[..., low : low + BLOCK, low : low + BLOCK] for low in range(0, size, BLOCK)]
    inverses = _substitute(jnp.stack(diagonal))
    return _merge(strict, list(inverses))[..., :size, :size]


def _forward(strict):
    inverse = unit_lower_inverse(strict)
    return inverse, inverse


def _backward(inverse, cotangent):
    """Return ∂A = -Xᵀ G Xᵀ below the diagonal, 0 elsewhere, for X = (I + A)⁻¹ with cotangent G."""
    return (-jnp.tril(_matmul(inverse.mT, _matmul(cotangent, inverse.mT)), -1),)


unit_lower_inverse.defvjp(_forward, _backward)


def _substitute(strict: jax.Array) -> jax.Array:
    """Compute (I + A)⁻¹ by forward substitution, one column of A at a time; row j is final when its turn comes."""
    lead = (1,) * (strict.ndim - 2)
    identity = jnp.eye(BLOCK, dtype=strict.dtype).reshape(*lead, BLOCK, BLOCK)

    def eliminate(column, inverse):
        # Selected by a product with a mask: a dynamic slice of the batch is slower than reading all of it.
        chosen = (jnp.arange(BLOCK, dtype=jnp.int32) == column).astype(strict.dtype).reshape(*lead, 1, BLOCK)
        below = jnp.sum(strict * chosen, axis=-1, keepdims=True)
        row = jnp.sum(inverse * chosen.mT, axis=-2, keepdims=True)
        return inverse - below * row

    # Adding zeros like A makes the loop's state vary over devices as A does, which shard_map requires.
    return jax.lax.fori_loop(0, BLOCK - 1, eliminate, jnp.zeros_like(strict) + identity)


def _merge(strict: jax.Array, inverses: list[jax.Array]) -> jax.Array:
    """Return the inverse of a matrix from the inverses of its diagonal blocks."""
    if len(inverses) == 1:
        return inverses[0]
    half = len(inverses) // 2
    cut = half * BLOCK
    upper = _merge(strict[..., :cut, :cut], inverses[:half])
    lower = _merge(strict[..., cut:, cut:], inverses[half:])
    between = -_matmul(lower, _matmul(strict[..., cut:, :cut], upper))
    zeros = jnp.zeros_like(between.mT)
    return jnp.concatenate(
        [jnp.concatenate([upper, zeros], axis=-1), jnp.concatenate([between, lower], axis=-1)], axis=-2
    )
