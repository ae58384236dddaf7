"""Players of CountRecall."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from podarcade.envs.games.countrecall import CountRecallState


class Seen(NamedTuple):
    """What the partial frame shows."""

    value: jax.Array  # int32[] suit of the value card, -1 for none
    query: jax.Array  # int32[] suit of the query card, -1 for none
    dial: jax.Array  # int32[]
    score: jax.Array  # int32[]


def seen(state: CountRecallState) -> Seen:
    """The value and the query card of this round, the dial and the score; no earlier card, no round and no time."""
    count = state.values.shape[0]
    now = jnp.clip(state.round, 0, count - 1)
    value, query = (jnp.where(state.round < count, deck[now], -1) for deck in (state.values, state.queries))
    return Seen(value.astype(jnp.int32), query.astype(jnp.int32), state.dial, state.score)
