"""Unit lower triangular systems of a chunk's size, in batches, by matrix products."""

import functools

import jax
import jax.numpy as jnp

BLOCK = 16

_product = functools.partial(jnp.matmul, precision=jax.lax.Precision.HIGHEST)


@jax.custom_vjp
def inverse(strict: jax.Array) -> jax.Array:
    """(I + A)⁻¹ of strictly lower triangular matrices A.

    Blocks of 16 on the diagonal are inverted by substitution, all at once; two inverses that follow each other on the
    diagonal make one of twice the size,

        [P 0; M Q]⁻¹ = [P⁻¹ 0; -Q⁻¹ M P⁻¹ Q⁻¹].

    The libraries' triangular solvers take small matrices one by one, and on a CPU with threads that wait for each
    other. The product (I - A)(I + A²)(I + A⁴)..., the same in exact numbers, loses all digits when
    a key is repeated: the powers of A grow as binomial coefficients do before they cancel.

    Args:
      strict: A, float32[..., C, C]; zero on and above the diagonal.

    Returns:
      float32[..., C, C], with ones on the diagonal.
    """
    size = strict.shape[-1]
    count = -(-size // BLOCK)
    fill = count * BLOCK - size
    strict = jnp.pad(strict, [(0, 0)] * (strict.ndim - 2) + [(0, fill)] * 2)
    diagonal = [strict[..., low : low + BLOCK, low : low + BLOCK] for low in range(0, size, BLOCK)]
    inverses = _substitute(jnp.stack(diagonal))
    return _merge(strict, list(inverses))[..., :size, :size]


def _forward(strict):
    found = inverse(strict)
    return found, found


def _backward(found, cotangent):
    """With X = (I + A)⁻¹, ∂A = -Xᵀ G Xᵀ where A is not zero."""
    return (-jnp.tril(_product(found.mT, _product(cotangent, found.mT)), -1),)


inverse.defvjp(_forward, _backward)


def _substitute(strict: jax.Array) -> jax.Array:
    """(I + A)⁻¹ a column of A at a time: what row j holds when its turn comes is final."""
    lead = (1,) * (strict.ndim - 2)
    identity = jnp.eye(BLOCK, dtype=strict.dtype).reshape(*lead, BLOCK, BLOCK)

    def eliminate(column, found):
        # Chosen by a product with a mask: a dynamic slice of the batch is slower than all of it.
        chosen = (jnp.arange(BLOCK) == column).astype(strict.dtype).reshape(*lead, 1, BLOCK)
        below = jnp.sum(strict * chosen, axis=-1, keepdims=True)
        row = jnp.sum(found * chosen.mT, axis=-2, keepdims=True)
        return found - below * row

    # Zeros of A's, so that the loop's state is mapped over devices as A is.
    return jax.lax.fori_loop(0, BLOCK - 1, eliminate, jnp.zeros_like(strict) + identity)


def _merge(strict: jax.Array, inverses: list[jax.Array]) -> jax.Array:
    """The inverse of a matrix from those of its blocks on the diagonal."""
    if len(inverses) == 1:
        return inverses[0]
    half = len(inverses) // 2
    cut = half * BLOCK
    upper = _merge(strict[..., :cut, :cut], inverses[:half])
    lower = _merge(strict[..., cut:, cut:], inverses[half:])
    between = -_product(lower, _product(strict[..., cut:, :cut], upper))
    nothing = jnp.zeros_like(between.mT)
    return jnp.concatenate(
        [jnp.concatenate([upper, nothing], axis=-1), jnp.concatenate([between, lower], axis=-1)], axis=-2
    )
