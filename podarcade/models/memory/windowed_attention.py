"""What looks at the last few steps only: short convolutions, stacks, attention through a sliding window.

A step never sees past its window nor past the last start; the carry holds what the next steps still see.
"""

import jax
import jax.numpy as jnp

from podarcade.models.memory.resets import forget, quarantine, reached, segments, spoil

# Keys float32[B, W - 1, H, d], values like them, and float32[B, W - 1] that is 1 where there was such a step.
Past = tuple[jax.Array, jax.Array, jax.Array]


def recent(carry: jax.Array, x: jax.Array, start: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The last k steps at every step, x_{t-k+1} .. x_t, with zeros for the steps before a start.

    Args:
      carry: the k - 1 steps before, float32[B, k - 1, F], newest last.
      x: [T, B, F].
      start: bool[T, B].

    Returns:
      The new carry, and the windows [T, B, k, F], newest last, in the carry's dtype.
    """
    carry, slots = _slots(carry, x, start)
    return carry, jnp.stack(slots, axis=2)


def causal_convolution(
    carry: jax.Array, x: jax.Array, start: jax.Array, kernel: jax.Array, bias: jax.Array | None = None
) -> tuple[jax.Array, jax.Array]:
    """A convolution over time of every feature by itself: y_t = Σⱼ kernelⱼ ⊙ x_{t-k+1+j} + bias, within a sequence.

    Args:
      carry: as in `recent`.
      x: [T, B, F].
      start: bool[T, B].
      kernel: [k, F]; its last row meets the present step.
      bias: [F], or none.

    Returns:
      The new carry, and y [T, B, F].
    """
    carry, slots = _slots(carry, x, start)
    # Never stacked: a sum of shifted copies is one pass over memory.
    y = sum(slot * weights[None, None] for slot, weights in zip(slots, kernel, strict=True))
    return carry, y if bias is None else y + bias[None, None]


def _slots(carry, x, start):
    """The new carry, and the k arrays [T, B, F] of what was seen k - 1, ..., 0 steps ago in the same sequence."""
    past, length = carry.shape[1], x.shape[0]
    steps = jnp.concatenate([jnp.swapaxes(carry, 0, 1), x.astype(carry.dtype)])
    segment = segments(start)
    segment_of = jnp.concatenate([jnp.zeros((past, *segment.shape[1:]), segment.dtype), segment])
    slots = [
        forget(segment_of[slot : slot + length] != segment, steps[slot : slot + length]) for slot in range(past + 1)
    ]
    return jnp.stack([slot[-1] for slot in slots[1:]], axis=1) if past else carry, slots


def rotate(x: jax.Array, position: jax.Array) -> jax.Array:
    """Turns the pairs (xᵢ, xᵢ₊d/2) by position · 10000^(-2i/d), so that products depend on differences of position.

    Args:
      x: [..., T, B, H, d], d even.
      position: [T].
    """
    half = x.shape[-1] // 2
    angle = position[:, None] * 10000.0 ** (-jnp.arange(half) / half)[None]
    lead = (1,) * (x.ndim - 4)
    cosine, sine = (f(angle).reshape(*lead, len(position), 1, 1, half) for f in (jnp.cos, jnp.sin))
    left, right = x[..., :half], x[..., half:]
    return jnp.concatenate([left * cosine - right * sine, right * cosine + left * sine], axis=-1)


def banded_attention(
    queries: jax.Array,
    keys: jax.Array,
    values: jax.Array,
    start: jax.Array,
    past: Past,
    slopes: jax.Array | None = None,
    rotary: bool = False,
) -> tuple[Past, jax.Array]:
    """Softmax attention of every step to the last W steps since its start, itself included.

        yₜ = Σⱼ softmaxⱼ(⟨qₜ, kⱼ⟩ / √d - slope · (t - j)) vⱼ        t - W < j ≤ t, no start in (j, t]

    Work and memory are T · 2W: blocks of W queries meet the 2W keys that they can see. Positions are counted
    within a block, and the past holds keys that are not rotated, so that time never grows too large to be rotated
    by (Su et al. 2021, arXiv 2104.09864; Press et al. 2022, arXiv 2108.12409).

    Args:
      queries: float32[T, B, H, d].
      keys: float32[T, B, H, d].
      values: float32[T, B, H, d].
      start: bool[T, B].
      past: the W - 1 steps before; all zeros for none. Its length gives W.
      slopes: [H], what a step of distance costs in each head; none for nothing.
      rotary: whether queries and keys are rotated by their positions.

    Returns:
      The new past, and y float32[T, B, H, d].
    """
    length, window = queries.shape[0], past[2].shape[1] + 1
    past_keys, past_values, valid = (jnp.swapaxes(part, 0, 1) for part in past)
    keys, values = jnp.concatenate([past_keys, keys]), jnp.concatenate([past_values, values])
    segment = segments(start)
    # What is not there gets a segment of its own, which no step belongs to.
    segment_of = jnp.concatenate([jnp.where(valid != 0, 0, -2), segment])
    gone = segment_of[length:] != segment[-1:]
    new_past = (*forget(gone, (keys[length:], values[length:])), 1.0 - gone)

    block = min(length, window)
    count = -(-length // block)
    fill = count * block - length
    (queries,), bad_query = quarantine(queries)
    (keys, values), bad = quarantine(keys, values)
    asked = [_pad(part, 0, fill).reshape(count, block, *part.shape[1:]) for part in (queries, segment, bad_query)]
    # One step more in front makes the past a whole block; it is too far away to be seen.
    seen = [_stretches(_pad(part, 1, fill), count) for part in (keys, values, segment_of, bad)]
    y = _attend(asked, seen, window, slopes, rotary)
    return tuple(jnp.swapaxes(part, 0, 1) for part in new_past), y.reshape(count * block, *y.shape[2:])[:length]


def _attend(asked, seen, window, slopes, rotary):
    """Attention of blocks of queries [n, i, B, H, d] to their stretches of keys [n, j, B, H, d], j < i + window."""
    (queries, query_segment, bad_query), (keys, values, key_segment, bad) = asked, seen
    query_position, key_position = window + jnp.arange(queries.shape[1]), jnp.arange(keys.shape[1])
    distance = query_position[:, None] - key_position[None, :]
    sees = _batch_first(query_segment)[..., :, None] == _batch_first(key_segment)[..., None, :]
    sees &= ((distance >= 0) & (distance < window))[None, None]
    if rotary:
        queries, keys = rotate(queries, query_position), rotate(keys, key_position)
    precision = jax.lax.Precision.HIGHEST
    scores = jnp.einsum("nibhd,njbhd->nbhij", queries, keys, precision=precision) * queries.shape[-1] ** -0.5
    if slopes is not None:
        scores -= (slopes[:, None, None] * distance[None])[None, None]
    weights = jax.nn.softmax(jnp.where(sees[:, :, None], scores, -1e30), axis=-1)
    # Selected once more: where scores overflow, no gradient reaches what was not seen.
    weights = jnp.where(sees[:, :, None], weights, 0.0)
    y = jnp.einsum("nbhij,njbhd->nibhd", weights, values, precision=precision)
    return spoil(y, jax.vmap(reached)(sees, bad) | bad_query)


def _batch_first(x):
    return jnp.swapaxes(x, 1, 2)


def _pad(x, before, after):
    """Zeros in time, or False, and for segments one that no step has."""
    value = -1 if x.dtype == jnp.int32 else 0
    return jnp.pad(x, [(before, after)] + [(0, 0)] * (x.ndim - 1), constant_values=value)


def _stretches(x, count):
    """[(count + 1) W, ...] -> [count, 2W, ...], every two blocks that follow each other; all of it for one block."""
    if count == 1:
        return x[None]
    blocks = x.reshape(count + 1, -1, *x.shape[1:])
    return jnp.concatenate([blocks[:-1], blocks[1:]], axis=1)
