"""The one scan: linear recurrences that restart, in O(log T) depth where that pays.

For a recurrence hₜ = aₜ ⊙ hₜ₋₁ + bₜ the segments of time form a semigroup,

    (a, b) ∘ (a', b') = (a' a, a' b + b'),           left = earlier.

A restart is lifted onto any semigroup by a flag f, "the segment holds a start":

    (e, f) ∘ (e', f') = (e' if f' else e ∘ e', f or f').

The left operand is dropped by selection BEFORE it meets a product, which keeps a NaN in
it out of the result and out of the gradient. The carry is not an element of the scan:
it is added once, at the end, to the steps that no start separates from it
(Blelloch 1990; Smith et al. 2023, appendix H; Lu et al. 2023, section 3).

On a CPU, where nothing waits to be filled with parallel work, the plain loop is faster to run and
much faster to compile.
"""

import jax
import jax.numpy as jnp

# A complex number is a pair (real, imaginary): XLA is slow to compile complex scans.
Number = jax.Array | tuple[jax.Array, jax.Array]


def _multiply(x: Number, y: Number) -> Number:
    if isinstance(x, tuple):
        return x[0] * y[0] - x[1] * y[1], x[0] * y[1] + x[1] * y[0]
    return x * y


def _add(x: Number, y: Number) -> Number:
    return jax.tree.map(jnp.add, x, y)


def _zero_where(drop: jax.Array, x: Number) -> Number:
    return jax.tree.map(lambda part: jnp.where(drop, 0.0, part), x)


def _combine(left, right):
    (decay_left, drive_left, start_left), (decay_right, drive_right, start_right) = left, right
    decay_left, drive_left = _zero_where(start_right, (decay_left, drive_left))
    drive = _add(_multiply(decay_right, drive_left), drive_right)
    return _multiply(decay_right, decay_left), drive, start_left | start_right


def default_form() -> str:
    """What `form="auto"` stands for on this machine."""
    return "sequential" if jax.default_backend() == "cpu" else "parallel"


def linear_scan(decay: Number, drive: Number, start: jax.Array, initial: Number, form: str = "auto") -> Number:
    """hₜ = aₜ ⊙ hₜ₋₁ + bₜ, where a start at t makes hₜ₋₁ zero.

    Numbers are float32 arrays, or pairs of them where they are complex.

    Args:
      decay: aₜ, broadcastable to [T, B, ...].
      drive: bₜ, [T, B, ...].
      start: bool[T, B].
      initial: h₀, [B, ...].
      form: "parallel", "sequential", or "auto" for sequential on a CPU and parallel elsewhere; the same function.

    Returns:
      hₜ for t = 1..T, [T, B, ...].

    Raises:
      ValueError: there is no such form.
    """
    form = default_form() if form == "auto" else form
    if form not in ("parallel", "sequential"):
        raise ValueError(f"form={form!r}; there are auto, parallel, sequential")
    shape = jax.tree.leaves(drive)[0].shape
    flags = start.reshape(start.shape + (1,) * (len(shape) - 2))
    if shape[0] == 1:  # acting: one plain step
        return _add(_multiply(decay, _zero_where(flags, jax.tree.map(lambda part: part[None], initial))), drive)
    decay = jax.tree.map(lambda part: jnp.broadcast_to(part, shape), decay)
    return (_parallel if form == "parallel" else _sequential)(decay, drive, flags, initial)


def _parallel(decay: Number, drive: Number, flags: jax.Array, initial: Number) -> Number:
    prefix, response, started = jax.lax.associative_scan(_combine, (decay, drive, flags))
    kept = _zero_where(started, jax.tree.map(lambda part: part[None], initial))
    return _add(_multiply(_zero_where(started, prefix), kept), response)


def _sequential(decay: Number, drive: Number, flags: jax.Array, initial: Number) -> Number:
    def step(h, inputs):
        decay, drive, flag = inputs
        h = _add(_multiply(decay, _zero_where(flag, h)), drive)
        return h, h

    return jax.lax.scan(step, initial, (decay, drive, flags))[1]
