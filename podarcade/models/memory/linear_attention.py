"""Linear attention and the (gated) delta rule: a matrix of key-value associations, in chunked parallel form.

    Sₜ = αₜ Sₜ₋₁ + kₜ vₜᵀ                           additive, without β
    Sₜ = αₜ (I - βₜ kₜ kₜᵀ) Sₜ₋₁ + βₜ kₜ vₜᵀ        the delta rule: overwrites the value stored under kₜ
    yₜ = Sₜᵀ qₜ                                     S in R^(dk × dv)

This recurrence covers linear attention (Katharopoulos et al. 2020), the delta rule (Schlag et al. 2021; Yang et al.
2024) and the gated delta rule (Yang, Kautz, Hatamizadeh 2024, arXiv 2412.06464).

A chunk of C steps is one affine map of its initial state S₀. Let the rows of Q, K, V be time, b the running sum of
log α within the chunk, Γᵢⱼ = exp(bᵢ - bⱼ) where j ≤ i and no start separates them, 0 elsewhere, and γᵢ = exp(bᵢ)
where no start precedes or equals i, 0 elsewhere. The values that are actually written are then (the WY form)

    V' = U - W S₀,   (I + A) [U, W] = diag(β) [V, diag(γ) K],   A the strict lower triangle of diag(β) (K Kᵀ ⊙ Γ)

or V' = V without β, and

    Y  = ((Q Kᵀ) ⊙ Γ) V' + diag(γ) Q S₀
    S' = γ_C S₀ + Kₑᵀ V',                           Kₑ = diag(Γ_C) K

Only V' and S' depend on the previous chunk.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from podarcade.models.memory import scan
from podarcade.models.memory.resets import fill_nan, running_max, zero_non_finite, zero_where
from podarcade.models.memory.triangular_inverse import unit_lower_inverse
from podarcade.models.platform import platform

FORMS = ("sequential", "chunked")

# e⁻⁶⁰ = 1e-26 vanishes beside a number of order one in float32. The bound keeps sums over a chunk, and the gradients
# through them, finite when a gate is fully closed.
MIN_LOG_DECAY = -60.0

# Reduced precision in these products, the default on a GPU, would make acting and learning two different functions.
_matmul = functools.partial(jnp.matmul, precision=jax.lax.Precision.HIGHEST)


class Steps(NamedTuple):
    """Inputs of every step: q, k [T, B, H, dk], v [T, B, H, dv], start [T, B], log α and β [T, B, H] or None."""

    query: jax.Array
    key: jax.Array
    value: jax.Array
    start: jax.Array
    log_decay: jax.Array | None
    beta: jax.Array | None


def default_form() -> str:
    """Return the form that `form="auto"` selects; see benchmarks/results/memory-*.json."""
    return "chunked"


def default_chunk() -> int:
    """Return the chunk length that `chunk=0` selects on this backend; accelerators prefer larger products."""
    return 32 if platform() == "cpu" else 64


def linear_attention(
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    start: jax.Array,
    initial: jax.Array,
    *,
    log_decay: jax.Array | None = None,
    beta: jax.Array | None = None,
    form: str = "auto",
    chunk: int = 0,
) -> tuple[jax.Array, jax.Array]:
    """Apply linear attention, or the delta rule where β is given, to a segment of time.

        Sₜ = αₜ (I - βₜ kₜ kₜᵀ) Sₜ₋₁ + βₜ kₜ vₜᵀ    or    Sₜ = αₜ Sₜ₋₁ + kₜ vₜᵀ    without β
        yₜ = Sₜᵀ qₜ

    A start sets Sₜ₋₁ to zero. Keys may have any norm; the delta rule is stable where 0 ≤ βₜ |kₜ|² ≤ 2. A segment of
    one step is always computed by the recurrence itself.

    Args:
      query: float32[T, B, H, dk].
      key: float32[T, B, H, dk].
      value: float32[T, B, H, dv].
      start: bool[T, B].
      initial: S₀, float32[B, H, dk, dv].
      log_decay: log αₜ ≤ 0, float32[T, B, H], clipped to -60 from below; None for αₜ = 1.
      beta: βₜ, float32[T, B, H]; None for the additive recurrence.
      form: one of FORMS, or "auto" for `default_form`; all compute the same function.
      chunk: maximum number of steps in a chunk, 0 for `default_chunk`; T is split into chunks of equal length.

    Returns:
      S_T float32[B, H, dk, dv], and y float32[T, B, H, dv].

    Raises:
      ValueError: unknown form, or a negative chunk length.
    """
    form, chunk = resolve_form(form), chunk or default_chunk()
    if chunk < 0:
        raise ValueError(f"memory.chunk={chunk}; expected a number of steps >= 1, or 0 for the backend's default")
    log_decay = None if log_decay is None else jnp.maximum(log_decay, MIN_LOG_DECAY)
    steps = Steps(query, key, value, start, log_decay, beta)
    if len(start) == 1:
        final, y = _step(initial, jax.tree.map(lambda part: part[0], steps))
        return final, y[None]
    (steps, initial), bad_state, bad_query = _zero_non_finite_steps(steps, initial)
    final, y = _sequential(steps, initial) if form == "sequential" else _chunked(steps, initial, chunk)
    return fill_nan(final, bad_state[-1]), fill_nan(y, bad_state | bad_query)


def resolve_form(form: str) -> str:
    """Return the named form, or the default for "auto".

    Raises:
      ValueError: unknown form.
    """
    return scan.resolve_form(form, FORMS, default_form())


def _step(state: jax.Array, step: Steps) -> tuple[jax.Array, jax.Array]:
    """Advance the recurrence by one step, as written above; `step` has no time axis."""
    state = zero_where(step.start, state)
    if step.log_decay is not None:
        state = jnp.exp(step.log_decay)[..., None, None] * state
    written = step.value
    if step.beta is not None:
        stored = jnp.sum(step.key[..., None] * state, axis=-2)
        written = step.beta[..., None] * (written - stored)
    state = state + step.key[..., None] * written[..., None, :]
    return state, jnp.sum(step.query[..., None] * state, axis=-2)


def _sequential(steps: Steps, initial: jax.Array) -> tuple[jax.Array, jax.Array]:
    return jax.lax.scan(_step, initial, steps)


def _chunked(steps: Steps, initial: jax.Array, chunk: int) -> tuple[jax.Array, jax.Array]:
    length = len(steps.start)
    number = -(-length // chunk)
    query, key, value, start, log_decay, beta = _split_into_chunks(steps, number)
    gamma, from_state = _chunk_decays(start, log_decay)
    last_keys, w = gamma[..., -1, :, None] * key, None
    if beta is not None:
        system = jnp.tril(beta[..., None] * _matmul(key, key.mT) * gamma, -1)
        right = beta[..., None] * jnp.concatenate([value, from_state[..., None] * key], axis=-1)
        value, w = jnp.split(_matmul(unit_lower_inverse(system), right), [value.shape[-1]], axis=-1)

    def next_chunk(state, chunk):
        decay, last_keys, u, w = chunk
        written = u if w is None else u - _matmul(w, state)
        return decay[..., None, None] * state + _matmul(last_keys.mT, written), (state, written)

    chunks = from_state[..., -1], last_keys, value, w
    if number == 1:
        final, outputs = next_chunk(initial, jax.tree.map(lambda part: part[0], chunks))
        states, written = (part[None] for part in outputs)
    else:
        final, (states, written) = jax.lax.scan(next_chunk, initial, chunks)
    scores = _matmul(query, key.mT) * gamma
    y = _matmul(scores, written) + _matmul(from_state[..., None] * query, states)
    y = jnp.moveaxis(y, 3, 1)  # [n, C, B, H, dv]
    return final, y.reshape(-1, *y.shape[2:])[:length]


def _split_into_chunks(steps: Steps, number: int) -> Steps:
    """Split time into chunks, [T, B, H, ...] -> [number, B, H, C, ...], and start [T, B] -> [number, B, C].

    The last chunk is padded with steps that change nothing. Chunks are as short as possible: 129 steps in 3 chunks
    are 3 times 43.
    """

    def split(part):
        return jnp.moveaxis(scan.split_time(part, number), 1, min(3, part.ndim))

    return jax.tree.map(split, steps)


def _chunk_decays(start: jax.Array, log_decay: jax.Array | None) -> tuple[jax.Array, jax.Array]:
    """Return the decay Γ from step j to step i, [n, B, H, C, C], and γ from the initial state to step i, [n, B, H, C].

    H is 1 without a decay. A difference of running sums would lose the small decays that follow a large one (near
    1000 float32 keeps four decimals), so each interval is summed separately, as a product with triangular masks.
    """
    time = jnp.arange(start.shape[-1], dtype=jnp.int32)
    until = time[:, None] >= time[None]
    # A matrix product instead of a cumulative sum, which compilers recompute for every element that uses it.
    total = until.T.astype(jnp.float32)
    segment = _matmul(start.astype(jnp.float32), total)[:, :, None]  # [n, B, 1, C]
    seen = (segment[..., :, None] == segment[..., None, :]) & until[None, None, None]
    fresh = segment == 0
    if log_decay is None:
        return seen.astype(jnp.float32), fresh.astype(jnp.float32)
    after = (time[:, None] > time[None]).astype(jnp.float32)
    between = _matmul(jnp.where(until[None, None, None], log_decay[..., None, :], 0.0), after)
    # All terms are log decays <= 0, so the exponentials that the select discards do not overflow either.
    return jnp.where(seen, jnp.exp(between), 0.0), jnp.where(fresh, jnp.exp(_matmul(log_decay, total)), 0.0)


def _zero_non_finite_steps(steps: Steps, initial: jax.Array) -> tuple[tuple[Steps, jax.Array], jax.Array, jax.Array]:
    """Replace non-finite steps by zeros; return bool[T, B], where they affect the state, and where the query."""
    gates = [gate for gate in (steps.log_decay, steps.beta) if gate is not None]
    (key, value, *gates), bad = zero_non_finite(steps.key, steps.value, *gates)
    (query,), bad_query = zero_non_finite(steps.query)
    (state,), bad_carry = zero_non_finite(initial[None])
    log_decay = None if steps.log_decay is None else gates.pop(0)
    beta = None if steps.beta is None else gates.pop(0)
    # A bad step affects the state until the next start. The carry is at time 0.
    time = jnp.arange(1, len(bad) + 1, dtype=jnp.int32)[:, None]
    last_bad = running_max(jnp.where(bad, time, jnp.where(bad_carry, 0, -1)))
    last_start = running_max(jnp.where(steps.start, time, 0))
    steps = Steps(query, key, value, steps.start, log_decay, beta)
    return (steps, state[0]), last_bad >= last_start, bad_query


def project_heads(x: jax.Array, heads: int, features: int, name: str) -> jax.Array:
    """Project x [T, B, width] without bias, in the dtype of x, to float32[T, B, heads, features].

    Raises:
      ValueError: fewer than one head, or than one feature per head.
    """
    if heads < 1 or features < 1:
        raise ValueError(f"memory.heads={heads} with {features} features each; expected both >= 1")
    flat = nn.Dense(heads * features, use_bias=False, dtype=x.dtype, name=name)(x)
    return flat.reshape(*x.shape[:2], heads, features).astype(jnp.float32)


def project_qkv(x: jax.Array, heads: int, features: int) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Project x [T, B, width] to queries, keys and values, float32[T, B, heads, features] each; see `project_heads`."""
    query, key, value = (project_heads(x, heads, features, name) for name in ("query", "key", "value"))
    return query, key, value


def merge_heads(y: jax.Array, width: int, dtype: jnp.dtype) -> jax.Array:
    """Project all heads [T, B, heads, features] to [T, B, width] by the layer `out`, in `dtype`."""
    return nn.Dense(width, dtype=dtype, name="out")(y.reshape(*y.shape[:2], -1).astype(dtype))


def l2_normalise(x: jax.Array) -> jax.Array:
    """Return x / |x| over the last axis; finite at x = 0, and so is its gradient."""
    return x * jax.lax.rsqrt(jnp.sum(x**2, axis=-1, keepdims=True) + 1e-6)


def append_one(x: jax.Array) -> jax.Array:
    """Return [x, 1] on the last axis."""
    return jnp.concatenate([x, jnp.ones_like(x[..., :1])], axis=-1)
