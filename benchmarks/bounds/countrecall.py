"""Players of CountRecall."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.bounds import Player, tabular
from podarcade.envs.games.countrecall import CountRecall, CountRecallState
from podarcade.envs.rendering import cards

UP, DOWN, CONFIRM = 0, 1, 4
TURN = 0.6
REACH = 3.0  # distance to dial, in shares of the moves left for each round


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


def memoryless(game: CountRecall) -> Player:
    """A table from the dial, the score and whether value and query are equal, found by search.

    Dial and score are clocks: both rise with the rounds, and so does the expected count.
    """
    dials, scores = game.count // game.suits + 2, game.count + 1

    def index(seen):
        equal = (seen.value == seen.query).astype(jnp.int32)
        return (equal * dials + jnp.clip(seen.dial, 0, dials - 1)) * scores + seen.score

    return tabular.player(game, seen, index, 2 * dials * scores)


def memory(game: CountRecall) -> Player:
    """Count the cards of each suit, and dial the count asked for unless it is too far for the moves that are left."""

    def act(memory, seen, previous, key):
        counts, card, round, time = memory
        # A confirmation has ended the last round, whose card counts from now on.
        new = previous == CONFIRM
        counts = counts + (new & (np.arange(len(cards.SUITS)) == card))
        round = round + new
        distance = counts[seen.query] - seen.dial
        moves, rounds = game.max_steps - time - (game.count - round), game.count - round
        far = jnp.abs(distance) > jnp.minimum(moves, 1 + REACH * moves / rounds)
        action = jnp.where((distance == 0) | far, CONFIRM, jnp.where(distance > 0, UP, DOWN))
        return (counts, seen.value, round, time + 1), action

    zero = jnp.int32(0)
    return Player(act, (jnp.zeros(len(cards.SUITS), jnp.int32), zero, zero, zero), sees=seen)
