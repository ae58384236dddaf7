"""The diagonal scan: linear recurrences that restart, in one of three forms that are the same function.

For a recurrence hₜ = aₜ ⊙ hₜ₋₁ + bₜ the segments of time form a semigroup,

    (a, b) ∘ (a', b') = (a' a, a' b + b'),           left = earlier.

A restart is lifted onto any semigroup by a flag f, "the segment holds a start":

    (e, f) ∘ (e', f') = (e' if f' else e ∘ e', f or f').

The left operand is dropped by selection BEFORE it meets a product, which keeps a NaN in
it out of the result and out of the gradient. The carry is not an element of the scan:
it is added once, at the end, to the steps that no start separates from it
(Blelloch 1990; Smith et al. 2023, appendix H; Lu et al. 2023, section 3).

    sequential    T steps: the least work, and nothing in parallel over time
    associative   a tree of 2 log₂ T levels over the whole of time
    chunked       two levels: all chunks of time step together, then their ends are joined

Backwards the recurrence is another one of the same kind, against time: only h is kept for it, and whichever
form went forward also goes back.
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

# A complex number is a pair (real, imaginary): XLA is slow to compile complex scans.
Number = jax.Array | tuple[jax.Array, jax.Array]

FORMS = ("sequential", "associative", "chunked")
CHUNK = 32  # steps; T = 1024 then takes 32 steps in each of the two levels


def default_form() -> str:
    """What `form="auto"` stands for on this machine: see benchmarks/results/memory-*.json."""
    return "sequential" if jax.default_backend() == "cpu" else "associative"


def linear_scan(decay: Number, drive: Number, start: jax.Array, initial: Number, form: str = "auto") -> Number:
    """hₜ = aₜ ⊙ hₜ₋₁ + bₜ, where a start at t makes hₜ₋₁ zero.

    Numbers are float32 arrays, or pairs of them where they are complex.

    Args:
      decay: aₜ, broadcastable to [T, B, ...], of the same rank.
      drive: bₜ, [T, B, ...].
      start: bool[T, B].
      initial: h₀, [B, ...].
      form: one of FORMS, or "auto" for `default_form`; all are the same function.

    Returns:
      hₜ for t = 1..T, [T, B, ...].

    Raises:
      ValueError: there is no such form.
    """
    form = default_form() if form == "auto" else form
    if form not in FORMS:
        raise ValueError(f"form={form!r}; there are auto, {', '.join(FORMS)}")
    rank = jax.tree.leaves(drive)[0].ndim
    flags = start.reshape(start.shape + (1,) * (rank - 2))
    if start.shape[0] == 1:  # acting: one plain step
        return _add(_multiply(decay, _zero_where(flags, _lead(initial))), drive)
    return _scan(form, decay, drive, flags, initial)


def in_chunks(body: Callable, carry: Any, inputs: Any, length: int) -> tuple[Any, Any]:
    """Runs `body` over stretches of time and, where there are several, recomputes each when gradients come back.

    What a body makes inside lives for one stretch only, which is what layers need whose states are many times
    larger than their inputs. The last stretch is filled up with zeros and False: a step of such inputs has to leave
    the carry as it is.

    Args:
      body: (carry, inputs [length, ...]) -> (carry, outputs [length, ...]).
      carry: what the first stretch begins with.
      inputs: arrays [T, ...].
      length: the most steps in a stretch; stretches are made equal.

    Returns:
      The carry at the end and the outputs [T, ...].
    """
    steps = jax.tree.leaves(inputs)[0].shape[0]
    if steps <= length:  # nothing to recompute that would not be held at once anyway
        return body(carry, inputs)
    cut = functools.partial(split_time, pieces=math.ceil(steps / length))
    carry, outputs = jax.lax.scan(jax.checkpoint(body), carry, jax.tree.map(cut, inputs))
    return carry, jax.tree.map(lambda part: part.reshape(-1, *part.shape[2:])[:steps], outputs)


def split_time(x: jax.Array, pieces: int) -> jax.Array:
    """[T, ...] -> [pieces, ceil(T / pieces), ...], filled up with zeros or False at the end."""
    length = math.ceil(x.shape[0] / pieces)
    padding = [(0, pieces * length - x.shape[0])] + [(0, 0)] * (x.ndim - 1)
    return jnp.pad(x, padding).reshape(pieces, length, *x.shape[1:])


def _multiply(x: Number, y: Number) -> Number:
    if isinstance(x, tuple):
        return x[0] * y[0] - x[1] * y[1], x[0] * y[1] + x[1] * y[0]
    return x * y


def _conjugate(x: Number) -> Number:
    return (x[0], -x[1]) if isinstance(x, tuple) else x


def _add(x: Number, y: Number) -> Number:
    return jax.tree.map(jnp.add, x, y)


def _lead(x: Number) -> Number:
    return jax.tree.map(lambda part: part[None], x)


def _zero_where(drop: jax.Array, x: Number) -> Number:
    return jax.tree.map(lambda part: jnp.where(drop, 0.0, part), x)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _scan(form: str, decay: Number, drive: Number, flags: jax.Array, initial: Number) -> Number:
    return {"sequential": _sequential, "associative": _associative, "chunked": _chunked}[form](
        decay, drive, flags, initial
    )


def _forward(form, decay, drive, flags, initial):
    hidden = _scan(form, decay, drive, flags, initial)
    return hidden, (decay, hidden, flags, initial)


def _backward(form, kept, cotangent):
    """With λₜ the gradient that reaches hₜ from all later outputs, and a* the conjugate:

    λₜ = gₜ + a*ₜ₊₁ ⊙ λₜ₊₁        ∂bₜ = λₜ        ∂aₜ = λₜ ⊙ h*ₜ₋₁        ∂h₀ = a*₁ ⊙ λ₁,

    the products with aₜ₊₁, hₜ₋₁ and a₁ dropped where a start cuts them.
    """
    decay, hidden, flags, initial = kept
    # Step t meets what belongs to t + 1; beyond the end nothing comes back, as after a start.
    later = jax.tree.map(lambda part: part if part.shape[0] == 1 else jnp.roll(part, -1, axis=0), _conjugate(decay))
    cut = jnp.roll(flags, -1, axis=0).at[-1].set(True)
    if jax.tree.leaves(decay)[0].shape[0] > 1:
        later = _zero_where(cut, later)  # or a NaN beyond a start would meet the zero that comes back from there
    reverse = functools.partial(jax.tree.map, lambda part: part[::-1])
    nothing = jax.tree.map(lambda part: jnp.zeros_like(part[0]), cotangent)
    reaching = reverse(_scan(form, reverse(later), reverse(cotangent), cut[::-1], nothing))
    before = jax.tree.map(lambda h0, h: jnp.concatenate([h0[None], h[:-1]]), initial, hidden)
    to_decay = _zero_where(flags, _multiply(reaching, _conjugate(before)))
    first = jax.tree.map(lambda part: part[:1], (_conjugate(decay), reaching, flags))
    to_initial = _zero_where(first[2], _multiply(first[0], first[1]))
    return (
        jax.tree.map(_sum_to, to_decay, decay),
        reaching,
        None,
        jax.tree.map(lambda part: part[0], to_initial),
    )


_scan.defvjp(_forward, _backward)


def _sum_to(x: jax.Array, like: jax.Array) -> jax.Array:
    """Sums over the axes that `like` was broadcast along."""
    axes = tuple(axis for axis, size in enumerate(like.shape) if size == 1 and x.shape[axis] > 1)
    return jnp.sum(x, axis=axes, keepdims=True)


def _fill(decay: Number, drive: Number) -> Number:
    shape = jax.tree.leaves(drive)[0].shape
    return jax.tree.map(lambda part: jnp.broadcast_to(part, shape), decay)


def _sequential(decay: Number, drive: Number, flags: jax.Array, initial: Number) -> Number:
    constant = jax.tree.leaves(decay)[0].shape[0] == 1

    def step(h, inputs):
        a, b, flag = inputs
        a = jax.tree.map(lambda part: part[0], decay) if constant else a
        h = _add(_multiply(a, _zero_where(flag, h)), b)
        return h, h

    return jax.lax.scan(step, initial, (None if constant else decay, drive, flags))[1]


def _combine(left, right):
    (decay_left, drive_left, start_left), (decay_right, drive_right, start_right) = left, right
    decay_left, drive_left = _zero_where(start_right, (decay_left, drive_left))
    drive = _add(_multiply(decay_right, drive_left), drive_right)
    return _multiply(decay_right, decay_left), drive, start_left | start_right


def _associative(decay: Number, drive: Number, flags: jax.Array, initial: Number) -> Number:
    elements = (_fill(decay, drive), drive, flags)
    return _join(*jax.lax.associative_scan(_combine, elements), _lead(initial))


def _chunked(decay: Number, drive: Number, flags: jax.Array, initial: Number) -> Number:
    steps = flags.shape[0]
    cut = functools.partial(split_time, pieces=math.ceil(steps / CHUNK))
    # [steps of a chunk, chunks, B, ...]: one step of all chunks at a time.
    elements = jax.tree.map(lambda part: cut(part).swapaxes(0, 1), (_fill(decay, drive), drive, flags))
    first = jax.tree.map(lambda part: part[0], elements)

    def within(summary, element):
        summary = _combine(summary, element)
        return summary, summary

    rest = jax.lax.scan(within, first, jax.tree.map(lambda part: part[1:], elements))[1]
    prefixes = jax.tree.map(lambda head, tail: jnp.concatenate([head[None], tail]), first, rest)

    def across(h, summary):
        return _join(*summary, h), h

    entering = jax.lax.scan(across, initial, jax.tree.map(lambda part: part[-1], prefixes))[1]
    hidden = _join(*prefixes, _lead(entering))
    return jax.tree.map(lambda part: part.swapaxes(0, 1).reshape(-1, *part.shape[2:])[:steps], hidden)


def _join(prefix: Number, response: Number, started: jax.Array, initial: Number) -> Number:
    """The states of segments that begin with `initial`, from what the segments do to a state."""
    kept = _zero_where(started, initial)
    return _add(_multiply(_zero_where(started, prefix), kept), response)
