"""Decks of cards that are dealt on the fly: counts of what is left instead of an order.

Drawing each card with probability left / total has the same law as dealing a shuffled deck, and the cards not dealt yet
are not part of the state.
"""

import jax
import jax.numpy as jnp

SUITS, RANKS, DECK = 4, 13, 52


def full_deck(kinds: int, decks: int, dtype: jnp.dtype = jnp.int16) -> jax.Array:
    """Return the counts of `decks` decks of 52 cards with equally many cards of each kind, [kinds]."""
    return jnp.full(kinds, decks * DECK // kinds, dtype)


def deal(key: jax.Array, left: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Draw a card from each of several decks.

    Args:
      key: randomness of these cards.
      left: counts by kind, integer [..., kinds].

    Returns:
      Their kinds, int8[...], and the counts without them. With no card left, the kind is the number of kinds, which
      one-hot encodes as zeros, and the counts stay zero.
    """
    bounds = jnp.cumsum(left.astype(jnp.int32), axis=-1, dtype=jnp.int32)
    # The remainder of 32 random bits favours low numbers by less than total / 2^32, below 1e-6.
    total = jnp.maximum(bounds[..., -1], 1).astype(jnp.uint32)
    place = (jax.random.bits(key, left.shape[:-1], jnp.uint32) % total).astype(jnp.int32)
    kind = jnp.sum(bounds <= place[..., None], axis=-1, dtype=jnp.int32)
    return kind.astype(jnp.int8), left - jax.nn.one_hot(kind, left.shape[-1], dtype=left.dtype)


def one_hot(kind: jax.Array, kinds: int) -> jax.Array:
    """Return float32[..., kinds], zeros where there is no such kind."""
    return jax.nn.one_hot(kind, kinds, dtype=jnp.float32)


def share_dealt(left: jax.Array, kinds: int, decks: int) -> jax.Array:
    """Return the share of the cards of each kind that has been dealt, float32[..., kinds]."""
    each = decks * DECK // kinds
    return (each - left.astype(jnp.float32)) * jnp.float32(1 / each)
