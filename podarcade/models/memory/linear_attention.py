"""The matrix memory: keys write values into a matrix, queries read it; many steps at once, as matrix products.

    Sₜ = αₜ Sₜ₋₁ + kₜ vₜᵀ                           additive, where there is no rate
    Sₜ = αₜ (I - βₜ kₜ kₜᵀ) Sₜ₋₁ + βₜ kₜ vₜᵀ        the delta rule: replaces what the key held
    yₜ = Sₜᵀ qₜ                                     S in R^(dk × dv)

Linear attention (Katharopoulos et al. 2020), the delta rule (Schlag et al. 2021; Yang et al. 2024) and the gated
delta rule (Yang, Kautz, Hatamizadeh 2024, arXiv 2412.06464) are this one recurrence.

A chunk of C steps is one affine map of the state it begins with. With b the running sum of log α in the chunk,
Γᵢⱼ = exp(bᵢ - bⱼ) where step i remembers step j and 0 elsewhere, γᵢ = exp(bᵢ) where step i remembers S₀, and the
rows of Q, K, V being time, the values that are in truth written are

    V' = U - W S₀,   (I + A) [U, W] = diag(β) [V, diag(γ) K],   A the strict lower triangle of diag(β) (K Kᵀ ⊙ Γ)

(V' = V where there is no rate), so that

    Y  = ((Q Kᵀ) ⊙ Γ) V' + diag(γ) Q S₀
    S' = γ_C S₀ + Kₑᵀ V',                           Kₑ = diag(Γ_C) K

Only V' and S' wait for the chunk before.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from podarcade.models.memory import triangular_inverse
from podarcade.models.memory.resets import forget, latest, quarantine, spoil
from podarcade.models.memory.scan import split_time

FORMS = ("sequential", "chunked")

# e⁻⁶⁰ = 1e-26 is nothing beside a number of order one in float32. A bound keeps sums over a chunk, and the
# gradients through them, finite when a gate is shut altogether.
LOWEST = -60.0

# Half precision in these products, a GPU's default, would make acting and learning two different functions.
_product = functools.partial(jnp.matmul, precision=jax.lax.Precision.HIGHEST)


class Steps(NamedTuple):
    """What is given at every step: q, k [T, B, H, dk], v [T, B, H, dv], start [T, B], log α and β [T, B, H] or None."""

    query: jax.Array
    key: jax.Array
    value: jax.Array
    start: jax.Array
    log_decay: jax.Array | None
    rate: jax.Array | None


def default_form() -> str:
    """What `form="auto"` stands for: see benchmarks/results/memory-*.json."""
    return "chunked"


def default_chunk() -> int:
    """What `chunk=0` stands for on this machine: the side of the products, which larger units like larger."""
    return 32 if jax.default_backend() == "cpu" else 64


def matrix_memory(
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    start: jax.Array,
    initial: jax.Array,
    *,
    log_decay: jax.Array | None = None,
    rate: jax.Array | None = None,
    form: str = "auto",
    chunk: int = 0,
) -> tuple[jax.Array, jax.Array]:
    """Sₜ = αₜ (I - βₜ kₜ kₜᵀ) Sₜ₋₁ + βₜ kₜ vₜᵀ or Sₜ = αₜ Sₜ₋₁ + kₜ vₜᵀ, and yₜ = Sₜᵀ qₜ; a start makes Sₜ₋₁ zero.

    Keys may have any length; the delta rule is stable where 0 ≤ βₜ |kₜ|² ≤ 2. One step is always computed plainly.

    Args:
      query: float32[T, B, H, dk].
      key: float32[T, B, H, dk].
      value: float32[T, B, H, dv].
      start: bool[T, B].
      initial: S₀, float32[B, H, dk, dv].
      log_decay: log αₜ ≤ 0, float32[T, B, H]; none for αₜ = 1. Below -60 it counts as -60.
      rate: βₜ, float32[T, B, H]; none for the additive memory.
      form: one of FORMS, or "auto" for what suits the machine; all are the same function.
      chunk: the largest number of steps that are taken at once, 0 for `default_chunk`; T is cut into equal parts.

    Returns:
      S_T [B, H, dk, dv], and y [T, B, H, dv].

    Raises:
      ValueError: there is no such form, or a chunk is negative.
    """
    form, chunk = resolve(form), chunk or default_chunk()
    if chunk < 0:
        raise ValueError(f"chunk={chunk}; there are 0, for what suits the machine, and more")
    log_decay = None if log_decay is None else jnp.maximum(log_decay, LOWEST)
    steps = Steps(query, key, value, start, log_decay, rate)
    if len(start) == 1:
        final, y = _step(initial, jax.tree.map(lambda part: part[0], steps))
        return final, y[None]
    (steps, initial), bad_state, bad_query = _set_aside(steps, initial)
    final, y = _sequential(steps, initial) if form == "sequential" else _chunked(steps, initial, chunk)
    return spoil(final, bad_state[-1]), spoil(y, bad_state | bad_query)


def resolve(form: str) -> str:
    """The form that is meant: one of FORMS.

    Raises:
      ValueError: there is no such form.
    """
    form = default_form() if form == "auto" else form
    if form not in FORMS:
        raise ValueError(f"form={form!r}; there are auto, {', '.join(FORMS)}")
    return form


def _step(state: jax.Array, step: Steps) -> tuple[jax.Array, jax.Array]:
    """One step, whose arrays lack the axis of time: the recurrence as it is written."""
    state = forget(step.start, state)
    if step.log_decay is not None:
        state = jnp.exp(step.log_decay)[..., None, None] * state
    written = step.value
    if step.rate is not None:
        held = jnp.sum(step.key[..., None] * state, axis=-2)
        written = step.rate[..., None] * (written - held)
    state = state + step.key[..., None] * written[..., None, :]
    return state, jnp.sum(step.query[..., None] * state, axis=-2)


def _sequential(steps: Steps, initial: jax.Array) -> tuple[jax.Array, jax.Array]:
    return jax.lax.scan(_step, initial, steps)


def _chunked(steps: Steps, initial: jax.Array, chunk: int) -> tuple[jax.Array, jax.Array]:
    length = len(steps.start)
    number = -(-length // chunk)
    query, key, value, start, log_decay, rate = _cut(steps, number)
    remembered, carried = _decays(start, log_decay)
    closing, erased = remembered[..., -1, :, None] * key, None
    if rate is not None:
        system = jnp.tril(rate[..., None] * _product(key, key.mT) * remembered, -1)
        right = rate[..., None] * jnp.concatenate([value, carried[..., None] * key], axis=-1)
        value, erased = jnp.split(_product(triangular_inverse.inverse(system), right), [value.shape[-1]], axis=-1)

    def across(state, part):
        kept, closing, written, erased = part
        written = written if erased is None else written - _product(erased, state)
        return kept[..., None, None] * state + _product(closing.mT, written), (state, written)

    parts = carried[..., -1], closing, value, erased
    if number == 1:
        final, found = across(initial, jax.tree.map(lambda part: part[0], parts))
        states, written = (part[None] for part in found)
    else:
        final, (states, written) = jax.lax.scan(across, initial, parts)
    scores = _product(query, key.mT) * remembered
    y = _product(scores, written) + _product(carried[..., None] * query, states)
    y = jnp.moveaxis(y, 3, 1)  # [n, C, B, H, dv]
    return final, y.reshape(-1, *y.shape[2:])[:length]


def _cut(steps: Steps, number: int) -> Steps:
    """[T, B, H, ...] -> [number, B, H, C, ...], and start [T, B] -> [number, B, C].

    The last chunk is filled up with steps that do nothing. A chunk is no longer than it must be: 129 steps in
    3 chunks are 3 times 43.
    """

    def cut(part):
        return jnp.moveaxis(split_time(part, number), 1, min(3, part.ndim))

    return jax.tree.map(cut, steps)


def _decays(start: jax.Array, log_decay: jax.Array | None) -> tuple[jax.Array, jax.Array]:
    """What is left at step i of what step j wrote, Γ [n, B, H, C, C], and of the state before, γ [n, B, H, C].

    Where there is no decay H is 1. A difference of running sums would lose the small decays that follow a large
    one (of 1000 float32 keeps four decimals), so every interval is summed for itself, as a product of triangles.
    """
    time = jnp.arange(start.shape[-1])
    until = time[:, None] >= time[None]
    # A product and not a cumulative sum: compilers repeat the whole of that for every element that it is used for.
    total = until.T.astype(jnp.float32)
    segment = _product(start.astype(jnp.float32), total)[:, :, None]  # [n, B, 1, C]
    seen = (segment[..., :, None] == segment[..., None, :]) & until[None, None, None]
    fresh = segment == 0
    if log_decay is None:
        return seen.astype(jnp.float32), fresh.astype(jnp.float32)
    after = (time[:, None] > time[None]).astype(jnp.float32)
    between = _product(jnp.where(until[None, None, None], log_decay[..., None, :], 0.0), after)
    # Sums of nothing but logarithms of decays: their exponentials do not overflow where they are not selected.
    return jnp.where(seen, jnp.exp(between), 0.0), jnp.where(fresh, jnp.exp(_product(log_decay, total)), 0.0)


def _set_aside(steps: Steps, initial: jax.Array) -> tuple[tuple[Steps, jax.Array], jax.Array, jax.Array]:
    """Zeros where a number is not finite; and bool[T, B] whether the state, and whether the query is spoilt by it."""
    gates = [gate for gate in (steps.log_decay, steps.rate) if gate is not None]
    (key, value, *gates), bad = quarantine(steps.key, steps.value, *gates)
    (query,), bad_query = quarantine(steps.query)
    (state,), bad_carry = quarantine(initial[None])
    log_decay = None if steps.log_decay is None else gates.pop(0)
    rate = None if steps.rate is None else gates.pop(0)
    # What is bad is seen until a start comes after it. The carry is at time 0.
    time = jnp.arange(1, len(bad) + 1)[:, None]
    last_bad = latest(jnp.where(bad, time, jnp.where(bad_carry, 0, -1)))
    last_start = latest(jnp.where(steps.start, time, 0))
    steps = Steps(query, key, value, steps.start, log_decay, rate)
    return (steps, state[0]), last_bad >= last_start, bad_query


def heads_of(x: jax.Array, heads: int, features: int, name: str) -> jax.Array:
    """A projection without bias, in the dtype of x [T, B, width], to float32[T, B, heads, features].

    Raises:
      ValueError: there is no head, or nothing in it.
    """
    if heads < 1 or features < 1:
        raise ValueError(f"{heads} heads of {features} features; at least 1 of each")
    flat = nn.Dense(heads * features, use_bias=False, dtype=x.dtype, name=name)(x)
    return flat.reshape(*x.shape[:2], heads, features).astype(jnp.float32)


def merge(y: jax.Array, width: int, dtype: jnp.dtype) -> jax.Array:
    """The projection `out` of the heads [T, B, heads, features], in `dtype`, to [T, B, width]."""
    return nn.Dense(width, dtype=dtype, name="out")(y.reshape(*y.shape[:2], -1).astype(dtype))


def unit(x: jax.Array) -> jax.Array:
    """x / |x| over the last axis; 0 and its gradient stay finite."""
    return x * jax.lax.rsqrt(jnp.sum(x**2, axis=-1, keepdims=True) + 1e-6)


def with_one(x: jax.Array) -> jax.Array:
    """[x, 1] on the last axis."""
    return jnp.concatenate([x, jnp.ones_like(x[..., :1])], axis=-1)
