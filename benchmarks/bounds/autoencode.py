"""Players of AutoEncode."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.bounds import Player
from podarcade.envs.games.autoencode import AutoEncode, AutoEncodeState

LEFT, RIGHT, CONFIRM = 2, 3, 4


class Seen(NamedTuple):
    """What the partial frame shows."""

    card: jax.Array  # int32[] suit of the card on the table, -1 for none
    selector: jax.Array  # int32[] selected suit
    score: jax.Array  # int32[]


def seen(state: AutoEncodeState) -> Seen:
    """The card on the table, the selected suit and the score; no earlier card, no answer and no time."""
    count = state.cards.shape[0]
    card = jnp.where(state.time < count, state.cards[jnp.clip(state.time, 0, count - 1)], -1)
    return Seen(card.astype(jnp.int32), state.selector.astype(jnp.int32), state.score)


def memoryless(game: AutoEncode) -> Player:
    """Turn to the card on the table while cards are dealt; then name each suit until it is right, and the next one."""

    def act(memory, seen, previous, key):
        watch = _turn(seen.selector, seen.card)
        # The first answer is the selected suit whatever the action; it is often that of the last card.
        name = (seen.score == 0) | (seen.selector == seen.score % 4)
        return memory, jnp.where(seen.card >= 0, watch, jnp.where(name, CONFIRM, LEFT))

    return Player(act, sees=seen)


def memory(game: AutoEncode) -> Player:
    """Remember all cards: return 1 (exact)."""

    def act(memory, seen, previous, key):
        cards, time, answers = memory
        watching = seen.card >= 0
        cards = jnp.where(watching & (np.arange(game.count) == time), seen.card, cards)
        # The answer at time n is forced: the turn at time n - 1 and the one at time n reach every suit.
        asked = cards[jnp.maximum(game.count - 1 - answers, 0)]
        action = _turn(seen.selector, asked)
        answers = answers + jnp.where(watching, 0, (time == game.count) | (action == CONFIRM))
        return (cards, time + 1, answers), action

    return Player(act, (jnp.zeros(game.count, jnp.int32), jnp.int32(0), jnp.int32(0)), sees=seen)


def _turn(selector, suit):
    """Return the action that turns the selector towards a suit, or confirms it, int32[]."""
    ahead = (suit - selector) % 4
    return jnp.where(ahead == 0, CONFIRM, jnp.where(ahead == 3, RIGHT, LEFT))
