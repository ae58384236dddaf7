"""RepeatFirst: name the suit of the first card, over and over."""

import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from flax import struct

from podarcade.actions import ActionSpace, Discrete
from podarcade.envs.tasks import Fields, Task, cards


@struct.dataclass
class RepeatFirstState:
    """State of RepeatFirst: 18 bytes."""

    first: jax.Array  # int8[] suit of the first card
    card: jax.Array  # int8[] suit of the card on show
    left: jax.Array  # int16[4] cards left by suit
    time: jax.Array  # int32[]
    score: jax.Array  # int32[] right answers


@dataclasses.dataclass(frozen=True)
class RepeatFirst(Task):
    """Cards are dealt one per step; every action must name the suit of the first one (POPGym's RepeatFirst).

    N = 52 `decks` cards in equal numbers of four suits, in random order.

    - observation: visible `card` one-hot (4); hidden `first` one-hot (4), `dealt`, the share of each suit dealt (4).
    - action: a suit, 0 to 3.
    - reward: 1 / (N - 1) if it is the suit of the first card, else -1 / (N - 1). Returns are in [-1, 1].
    - end: terminal after N - 1 actions, when every card has been seen.
    - twin: history. The partial twin shows the card alone, without the time.
    - channel: open. A policy without memory that sees its previous action answers the first card and then repeats
      itself, for a return of 1. Without the previous action the best is to name another suit than the one on show,
      -0.4994, -0.5000 and -0.5000 at the three levels; a random policy has -0.5.

    Both rule sets are the same.
    """

    decks: int = 1

    LEVELS: ClassVar[dict[str, dict[str, Any]]] = {"easy": {"decks": 1}, "medium": {"decks": 8}, "hard": {"decks": 16}}
    RETURNS: ClassVar[tuple[float, float]] = (-1.0, 1.0)
    actions: ClassVar[ActionSpace] = Discrete(cards.SUITS)

    @property
    def max_steps(self) -> int:
        """N - 1, the length of every episode."""
        return cards.DECK * self.decks - 1

    def needed_time(self, time: jax.Array) -> jax.Array | int:
        """Return when the first card is dealt."""
        return 0

    def needed(self, state: RepeatFirstState) -> Fields:
        """Return the suit of the first card, int8[]."""
        return {"suit": state.first}

    def reset(self, key: jax.Array) -> RepeatFirstState:
        """Deal the first card."""
        card, left = cards.deal(key, cards.full_deck(cards.SUITS, self.decks))
        return RepeatFirstState(first=card, card=card, left=left, time=jnp.int32(0), score=jnp.int32(0))

    def step(self, state: RepeatFirstState, action: jax.Array, key: jax.Array):
        """Return (state, reward, terminal)."""
        right = action == state.first
        card, left = cards.deal(key, state.left)
        new = state.replace(card=card, left=left, time=state.time + 1, score=state.score + right)
        reward = jnp.where(right, 1.0, -1.0).astype(jnp.float32) / self.max_steps
        return new, reward, self.is_over(new, new.time >= self.max_steps)

    def visible(self, state: RepeatFirstState) -> Fields:
        """Return the card on show."""
        return {"card": cards.one_hot(state.card, cards.SUITS)}

    def hidden(self, state: RepeatFirstState) -> Fields:
        """Return the first card, and the share of each suit that has been dealt."""
        return {
            "first": cards.one_hot(state.first, cards.SUITS),
            "dealt": cards.share_dealt(state.left, cards.SUITS, self.decks),
        }
