"""The diagonal scan: linear recurrences with resets, in four equivalent forms.

For a recurrence hₜ = aₜ ⊙ hₜ₋₁ + bₜ the segments of time form a semigroup,

    (a, b) ∘ (a', b') = (a' a, a' b + b'),           left = earlier.

A reset lifts to any semigroup through a flag f, "the segment contains a start":

    (e, f) ∘ (e', f') = (e' if f' else e ∘ e', f or f').

A select drops the left operand BEFORE it enters a product, which keeps a NaN in it out of the result and out of the
gradient. The carry is not an element of the scan: it is added once, at the end, to the steps that no start separates
from it (Blelloch 1990; Smith et al. 2023, appendix H; Lu et al. 2023, section 3).

    sequential    T steps: the least work, no parallelism over time
    associative   a tree of 2 log₂ T levels over all of time
    chunked       two levels: all chunks step in parallel, then their final states are combined
    fused         T steps in one kernel, see fused.py; the associative form where there is no kernel

The backward pass is another recurrence of the same kind, reversed in time. It stores h only, and uses the form of the
forward pass.
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from podarcade.models.memory import fused
from podarcade.models.platform import platform

# A complex array is a pair (real, imaginary): XLA compiles complex scans slowly.
Number = jax.Array | tuple[jax.Array, jax.Array]

FORMS = ("sequential", "associative", "chunked", "fused")
CHUNK = 32  # steps; T = 1024 then takes 32 steps in each of the two levels


def default_form() -> str:
    """Return the form that `form="auto"` selects on this backend; see benchmarks/results/memory-*.json.

    "fused" has not been measured on a device: it becomes the default only where it is measured to be faster.
    """
    return "sequential" if platform() == "cpu" else "associative"


def linear_scan(decay: Number, drive: Number, start: jax.Array, initial: Number, form: str = "auto") -> Number:
    """Compute hₜ = aₜ ⊙ hₜ₋₁ + bₜ, with hₜ₋₁ set to zero where a start is.

    Arrays are float32, or pairs (real, imaginary) of float32 arrays where they are complex.

    Args:
      decay: aₜ, of the rank of bₜ and broadcastable to it.
      drive: bₜ, [T, B, ...].
      start: bool[T, B].
      initial: h₀, [B, ...].
      form: one of FORMS, or "auto" for `default_form`; all compute the same function.

    Returns:
      hₜ for t = 1..T, [T, B, ...].

    Raises:
      ValueError: unknown form.
    """
    form = resolve_form(form, FORMS, default_form())
    rank = jax.tree.leaves(drive)[0].ndim
    flags = start.reshape(start.shape + (1,) * (rank - 2))
    if start.shape[0] == 1:  # acting: one plain step
        return _step(decay, drive, flags, _add_time(initial))
    return _scan(form, decay, drive, flags, initial)


def resolve_form(form: str, forms: tuple[str, ...], default: str) -> str:
    """Return the named form, or the default for "auto".

    Raises:
      ValueError: unknown form.
    """
    if form not in ("auto", *forms):
        raise ValueError(f"memory.form={form!r}; expected one of: auto, {', '.join(forms)}")
    return default if form == "auto" else form


def checkpointed_scan(body: Callable, carry: Any, inputs: Any, length: int) -> tuple[Any, Any]:
    """Scan `body` over segments of time, and rematerialise each segment in the backward pass.

    Intermediate values live for one segment only, which suits layers whose states are many times larger than their
    inputs. The last segment is padded with zeros and False: a step with such inputs must leave the carry unchanged.
    A single segment runs without rematerialisation, which would save no memory.

    Args:
      body: (carry, inputs [length, ...]) -> (carry, outputs [length, ...]).
      carry: initial carry.
      inputs: tree of arrays [T, ...].
      length: upper bound on the steps of a segment; all segments have equal length.

    Returns:
      The final carry and the outputs [T, ...].
    """
    steps = jax.tree.leaves(inputs)[0].shape[0]
    if steps <= length:
        return body(carry, inputs)
    split = functools.partial(split_time, pieces=math.ceil(steps / length))
    carry, outputs = jax.lax.scan(jax.checkpoint(body), carry, jax.tree.map(split, inputs))
    return carry, jax.tree.map(lambda part: part.reshape(-1, *part.shape[2:])[:steps], outputs)


def split_time(x: jax.Array, pieces: int) -> jax.Array:
    """Reshape [T, ...] to [pieces, ceil(T / pieces), ...], padded with zeros or False at the end."""
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


def _add_time(x: Number) -> Number:
    return jax.tree.map(lambda part: part[None], x)


def _zero_where(drop: jax.Array, x: Number) -> Number:
    return jax.tree.map(lambda part: jnp.where(drop, 0.0, part), x)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _scan(form: str, decay: Number, drive: Number, flags: jax.Array, initial: Number) -> Number:
    forms = {"sequential": _sequential, "associative": _associative, "chunked": _chunked, "fused": _fused}
    return forms[form](decay, drive, flags, initial)


def _forward(form, decay, drive, flags, initial):
    hidden = _scan(form, decay, drive, flags, initial)
    return hidden, (decay, hidden, flags, initial)


def _backward(form, residuals, cotangent):
    """Propagate the total gradient λₜ of hₜ backwards. With gₜ the cotangent and a* the conjugate of a,

    λₜ = gₜ + a*ₜ₊₁ ⊙ λₜ₊₁        ∂bₜ = λₜ        ∂aₜ = λₜ ⊙ h*ₜ₋₁        ∂h₀ = a*₁ ⊙ λ₁,

    where a start drops the products with aₜ₊₁, hₜ₋₁ and a₁.
    """
    decay, hidden, flags, initial = residuals
    # Step t uses the decay of t + 1. No gradient arrives from beyond the end, as from beyond a start.
    later = jax.tree.map(lambda part: part if part.shape[0] == 1 else jnp.roll(part, -1, axis=0), _conjugate(decay))
    cut = jnp.roll(flags, -1, axis=0).at[-1].set(True)
    if jax.tree.leaves(decay)[0].shape[0] > 1:
        later = _zero_where(cut, later)  # a NaN beyond a start must not multiply the zero that arrives from there
    reverse = functools.partial(jax.tree.map, lambda part: part[::-1])
    zeros = jax.tree.map(lambda part: jnp.zeros_like(part[0]), cotangent)
    total = reverse(_scan(form, reverse(later), reverse(cotangent), cut[::-1], zeros))
    previous = jax.tree.map(lambda h0, h: jnp.concatenate([h0[None], h[:-1]]), initial, hidden)
    to_decay = _zero_where(flags, _multiply(total, _conjugate(previous)))
    first = jax.tree.map(lambda part: part[:1], (_conjugate(decay), total, flags))
    to_initial = _zero_where(first[2], _multiply(first[0], first[1]))
    return (
        jax.tree.map(_unbroadcast, to_decay, decay),
        total,
        None,
        jax.tree.map(lambda part: part[0], to_initial),
    )


_scan.defvjp(_forward, _backward)


def _unbroadcast(x: jax.Array, like: jax.Array) -> jax.Array:
    """Sum over the axes that `like` was broadcast along."""
    axes = tuple(axis for axis, size in enumerate(like.shape) if size == 1 and x.shape[axis] > 1)
    return jnp.sum(x, axis=axes, keepdims=True)


def _broadcast_decay(decay: Number, drive: Number) -> Number:
    shape = jax.tree.leaves(drive)[0].shape
    return jax.tree.map(lambda part: jnp.broadcast_to(part, shape), decay)


def _step(decay: Number, drive: Number, flag: jax.Array, h: Number) -> Number:
    return _add(_multiply(decay, _zero_where(flag, h)), drive)


def _sequential(decay: Number, drive: Number, flags: jax.Array, initial: Number) -> Number:
    constant = jax.tree.leaves(decay)[0].shape[0] == 1

    def step(h, inputs):
        a, b, flag = inputs
        a = jax.tree.map(lambda part: part[0], decay) if constant else a
        h = _step(a, b, flag, h)
        return h, h

    return jax.lax.scan(step, initial, (None if constant else decay, drive, flags))[1]


def _fused(decay: Number, drive: Number, flags: jax.Array, initial: Number) -> Number:
    if not fused.supports((decay, drive, initial), platform()):
        return _associative(decay, drive, flags, initial)
    return fused.recurrence(_step, decay, drive, flags, initial, platform())


def _combine(left, right):
    (decay_left, drive_left, start_left), (decay_right, drive_right, start_right) = left, right
    decay_left, drive_left = _zero_where(start_right, (decay_left, drive_left))
    drive = _add(_multiply(decay_right, drive_left), drive_right)
    return _multiply(decay_right, decay_left), drive, start_left | start_right


def _associative(decay: Number, drive: Number, flags: jax.Array, initial: Number) -> Number:
    elements = (_broadcast_decay(decay, drive), drive, flags)
    return _apply_map(*jax.lax.associative_scan(_combine, elements), _add_time(initial))


def _chunked(decay: Number, drive: Number, flags: jax.Array, initial: Number) -> Number:
    steps = flags.shape[0]
    split = functools.partial(split_time, pieces=math.ceil(steps / CHUNK))
    # [steps of a chunk, chunks, B, ...]: all chunks advance by one step together.
    elements = jax.tree.map(lambda part: split(part).swapaxes(0, 1), (_broadcast_decay(decay, drive), drive, flags))
    first = jax.tree.map(lambda part: part[0], elements)

    def within(summary, element):
        summary = _combine(summary, element)
        return summary, summary

    rest = jax.lax.scan(within, first, jax.tree.map(lambda part: part[1:], elements))[1]
    prefixes = jax.tree.map(lambda head, tail: jnp.concatenate([head[None], tail]), first, rest)

    def across(h, summary):
        return _apply_map(*summary, h), h

    entering = jax.lax.scan(across, initial, jax.tree.map(lambda part: part[-1], prefixes))[1]
    hidden = _apply_map(*prefixes, _add_time(entering))
    return jax.tree.map(lambda part: part.swapaxes(0, 1).reshape(-1, *part.shape[2:])[:steps], hidden)


def _apply_map(prefix: Number, response: Number, started: jax.Array, initial: Number) -> Number:
    """Return the states of segments that start from `initial`, given each segment's affine map (prefix, response)."""
    kept = _zero_where(started, initial)
    return _add(_multiply(_zero_where(started, prefix), kept), response)
