"""Layers with a finite window over time: causal convolutions, stacks and sliding-window attention.

A step sees neither beyond its window nor beyond the last start. The carry holds the steps that later ones can see.
"""

import jax
import jax.numpy as jnp

from podarcade.models.memory.resets import fill_nan, sees_non_finite, segment_ids, zero_non_finite, zero_where

# Keys and values float32[B, W - 1, H, d], and float32[B, W - 1], 1 where an entry is valid and 0 elsewhere.
KVCache = tuple[jax.Array, jax.Array, jax.Array]


def sliding_windows(carry: jax.Array, x: jax.Array, start: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return the last k steps at every step, x_{t-k+1} .. x_t, with zeros for steps before a start.

    Args:
      carry: the previous k - 1 steps, float32[B, k - 1, F], newest last.
      x: [T, B, F].
      start: bool[T, B].

    Returns:
      The new carry, and the windows [T, B, k, F], newest last, in the carry's dtype.
    """
    carry, lagged = _lagged(carry, x, start)
    return carry, jnp.stack(lagged, axis=2)


def causal_convolution(
    carry: jax.Array, x: jax.Array, start: jax.Array, kernel: jax.Array, bias: jax.Array | None = None
) -> tuple[jax.Array, jax.Array]:
    """Apply a causal depthwise convolution over time, y_t = Σⱼ kernelⱼ ⊙ x_{t-k+1+j} + bias, within an episode.

    Args:
      carry: as in `sliding_windows`.
      x: [T, B, F].
      start: bool[T, B].
      kernel: [k, F]; its last row multiplies the current step.
      bias: [F], or None.

    Returns:
      The new carry, and y [T, B, F].
    """
    carry, lagged = _lagged(carry, x, start)
    # Summed without stacking: one pass over memory.
    y = sum(steps * weights[None, None] for steps, weights in zip(lagged, kernel, strict=True))
    return carry, y if bias is None else y + bias[None, None]


def _lagged(carry, x, start):
    """Return the new carry, and [T, B, F] of k - 1, ..., 0 steps ago, zero where that is in another episode."""
    past, length = carry.shape[1], x.shape[0]
    steps = jnp.concatenate([jnp.swapaxes(carry, 0, 1), x.astype(carry.dtype)])
    segment = segment_ids(start)
    segment_of = jnp.concatenate([jnp.zeros((past, *segment.shape[1:]), segment.dtype), segment])
    lagged = [
        zero_where(segment_of[first : first + length] != segment, steps[first : first + length])
        for first in range(past + 1)
    ]
    return jnp.stack([steps[-1] for steps in lagged[1:]], axis=1) if past else carry, lagged


def apply_rope(x: jax.Array, position: jax.Array) -> jax.Array:
    """Apply rotary position embeddings: rotate the pairs (xᵢ, xᵢ₊d/2) by position · 10000^(-2i/d).

    Dot products of rotated vectors depend on differences of position only.

    Args:
      x: [..., T, B, H, d], d even.
      position: int32[T].

    Returns:
      [..., T, B, H, d].
    """
    half = x.shape[-1] // 2
    angle = position[:, None] * 10000.0 ** (-jnp.arange(half, dtype=jnp.int32).astype(jnp.float32) / half)[None]
    lead = (1,) * (x.ndim - 4)
    cosine, sine = (f(angle).reshape(*lead, len(position), 1, 1, half) for f in (jnp.cos, jnp.sin))
    left, right = x[..., :half], x[..., half:]
    return jnp.concatenate([left * cosine - right * sine, right * cosine + left * sine], axis=-1)


def windowed_attention(
    queries: jax.Array,
    keys: jax.Array,
    values: jax.Array,
    start: jax.Array,
    cache: KVCache,
    slopes: jax.Array | None = None,
    rotary: bool = False,
) -> tuple[KVCache, jax.Array]:
    """Apply causal softmax attention over the last W steps of the current episode.

        yₜ = Σⱼ softmaxⱼ(⟨qₜ, kⱼ⟩ / √d - slope · (t - j)) vⱼ        t - W < j ≤ t, no start in (j, t]

    Time and memory are O(T · 2W): each block of W queries attends to the 2W keys that it can see. Positions are
    relative to a block and the cache holds unrotated keys, so that angles stay small in episodes of any length (Su et
    al. 2021, arXiv 2104.09864; Press et al. 2022, arXiv 2108.12409).

    Args:
      queries: float32[T, B, H, d].
      keys: float32[T, B, H, d].
      values: float32[T, B, H, d].
      start: bool[T, B].
      cache: the previous W - 1 steps, whose length defines W; all zeros at the beginning of an episode.
      slopes: float32[H], the penalty per step of distance in each head (ALiBi); None for no penalty.
      rotary: whether to apply rotary position embeddings to queries and keys (RoPE).

    Returns:
      The new cache, and y float32[T, B, H, d].
    """
    length, window = queries.shape[0], cache[2].shape[1] + 1
    cached_keys, cached_values, valid = (jnp.swapaxes(part, 0, 1) for part in cache)
    keys, values = jnp.concatenate([cached_keys, keys]), jnp.concatenate([cached_values, values])
    segment = segment_ids(start)
    # Invalid entries get a segment id of their own, which no step has.
    segment_of = jnp.concatenate([jnp.where(valid != 0, 0, -2).astype(jnp.int32), segment])
    expired = segment_of[length:] != segment[-1:]
    new_cache = (*zero_where(expired, (keys[length:], values[length:])), 1.0 - expired.astype(jnp.float32))

    block = min(length, window)
    count = -(-length // block)
    padding = count * block - length
    (queries,), bad_query = zero_non_finite(queries)
    (keys, values), bad = zero_non_finite(keys, values)
    query_blocks = [
        _pad(part, 0, padding).reshape(count, block, *part.shape[1:]) for part in (queries, segment, bad_query)
    ]
    # One step of padding in front extends the cache to a whole block; it lies outside every window.
    key_blocks = [_pair_blocks(_pad(part, 1, padding), count) for part in (keys, values, segment_of, bad)]
    y = _attend(query_blocks, key_blocks, window, slopes, rotary)
    return tuple(jnp.swapaxes(part, 0, 1) for part in new_cache), y.reshape(count * block, *y.shape[2:])[:length]


def _attend(query_blocks, key_blocks, window, slopes, rotary):
    """Attend from blocks of queries [n, i, B, H, d] to pairs of blocks of keys [n, j, B, H, d], j < i + window."""
    (queries, query_segment, bad_query), (keys, values, key_segment, bad) = query_blocks, key_blocks
    query_position = window + jnp.arange(queries.shape[1], dtype=jnp.int32)
    key_position = jnp.arange(keys.shape[1], dtype=jnp.int32)
    distance = query_position[:, None] - key_position[None, :]
    sees = _batch_first(query_segment)[..., :, None] == _batch_first(key_segment)[..., None, :]
    sees &= ((distance >= 0) & (distance < window))[None, None]
    if rotary:
        queries, keys = apply_rope(queries, query_position), apply_rope(keys, key_position)
    precision = jax.lax.Precision.HIGHEST
    scores = jnp.einsum("nibhd,njbhd->nbhij", queries, keys, precision=precision) * queries.shape[-1] ** -0.5
    if slopes is not None:
        scores -= (slopes[:, None, None] * distance[None])[None, None]
    weights = jax.nn.softmax(jnp.where(sees[:, :, None], scores, -1e30), axis=-1)
    # A second select: where scores overflow, no gradient may reach a masked step.
    weights = jnp.where(sees[:, :, None], weights, 0.0)
    y = jnp.einsum("nbhij,njbhd->nibhd", weights, values, precision=precision)
    return fill_nan(y, jax.vmap(sees_non_finite)(sees, bad) | bad_query)


def _batch_first(x):
    return jnp.swapaxes(x, 1, 2)


def _pad(x, before, after):
    """Pad time with zeros or False, and segment ids with an id that no step has."""
    value = -1 if x.dtype == jnp.int32 else 0
    return jnp.pad(x, [(before, after)] + [(0, 0)] * (x.ndim - 1), constant_values=value)


def _pair_blocks(x, count):
    """Pair consecutive blocks, [(count + 1) W, ...] -> [count, 2W, ...]; x[None] for a single block."""
    if count == 1:
        return x[None]
    blocks = x.reshape(count + 1, -1, *x.shape[1:])
    return jnp.concatenate([blocks[:-1], blocks[1:]], axis=1)
