"""VectorAutoencode: watch a deck of cards, then name them in reverse order."""

import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from podarcade.actions import ActionSpace, Discrete
from podarcade.envs.tasks import Fields, Task, cards


@struct.dataclass
class VectorAutoencodeState:
    """State of VectorAutoencode: N + 8 bytes."""

    stack: jax.Array  # int8[N] suits of the cards that were seen and not yet asked for, last one first; -1 for none
    time: jax.Array  # int32[]
    score: jax.Array  # int32[] right answers


@dataclasses.dataclass(frozen=True)
class VectorAutoencode(Task):
    """Cards are dealt one per step; then the actions must name them, last card first (POPGym's Autoencode).

    N = 52 `decks` cards in equal numbers of four suits, in random order. The agent watches while they are dealt, and
    plays from the step on that shows the last card: the j-th action of play, j = 0 to N - 1, names card N - 1 - j.

    - observation: visible `mode` one-hot (2: play, watch), `card` one-hot (4), zeros after the last card; hidden
      `stack`, the cards that were seen and not yet asked for one-hot (4 N), last one first, zeros below. In play the
      answer is its top.
    - action: a suit, 0 to 3; ignored while watching.
    - reward: 1 / N for a right answer, -1 / N for a wrong one. Returns are in [-1, 1].
    - end: terminal after 2 N - 1 actions, when every card has been asked for.
    - twin: history.
    - channel: closed, in effect: an action holds 2 bits, and N of them are needed. The best policy without memory
      echoes the last card and then names one suit, for -0.4712, -0.4856 and -0.4904 at the three levels; a random
      policy has -0.5, the best one 1.

    Published rules: after the last card, suit 0 is shown in place of the zeros, which looks like a card.
    """

    decks: int = 1

    LEVELS: ClassVar[dict[str, dict[str, Any]]] = {"easy": {"decks": 1}, "medium": {"decks": 2}, "hard": {"decks": 3}}
    RETURNS: ClassVar[tuple[float, float]] = (-1.0, 1.0)
    CHANNEL: ClassVar[str] = "closed"
    actions: ClassVar[ActionSpace] = Discrete(cards.SUITS)

    @property
    def count(self) -> int:
        """Number of cards, N."""
        return cards.DECK * self.decks

    @property
    def max_steps(self) -> int:
        """2 N - 1, the length of every episode."""
        return 2 * self.count - 1

    def needed_time(self, time: jax.Array) -> jax.Array | int:
        """Return when the card that is asked for was dealt, -1 while none is."""
        return jnp.where(time >= self.count - 1, 2 * (self.count - 1) - time, -1)

    def needed(self, state: VectorAutoencodeState) -> Fields:
        """Return the suit that is asked for, int8[]."""
        return {"suit": state.stack[0]}

    def reset(self, key: jax.Array) -> VectorAutoencodeState:
        """Deal the first card."""
        card, _ = cards.deal(key, cards.full_deck(cards.SUITS, self.decks))
        stack = jnp.full(self.count, -1, jnp.int8).at[0].set(card)
        return VectorAutoencodeState(stack=stack, time=jnp.int32(0), score=jnp.int32(0))

    def step(self, state: VectorAutoencodeState, action: jax.Array, key: jax.Array):
        """Return (state, reward, terminal)."""
        plays = state.time >= self.count - 1
        right = plays & (action == state.stack[0])
        # While cards are dealt, all that were dealt before are on the stack.
        suits = np.arange(cards.SUITS, dtype=np.int8)
        seen = jnp.sum(state.stack[None] == suits[:, None], axis=1, dtype=jnp.int32)
        card, _ = cards.deal(key, cards.full_deck(cards.SUITS, self.decks, jnp.int32) - seen)
        pushed, popped = jnp.append(card, state.stack[:-1]), jnp.append(state.stack[1:], jnp.int8(-1))
        new = state.replace(stack=jnp.where(plays, popped, pushed), time=state.time + 1, score=state.score + right)
        reward = jnp.where(right, 1.0, jnp.where(plays, -1.0, 0.0)).astype(jnp.float32) / self.count
        return new, reward, self.is_over(new, new.time >= self.max_steps)

    def visible(self, state: VectorAutoencodeState) -> Fields:
        """Return the mode, and the card on show."""
        watches, filler = state.time < self.count - 1, 0 if self.rules == "published" else -1
        card = jnp.where(state.time < self.count, state.stack[0], filler)
        return {"mode": jnp.stack([~watches, watches]), "card": cards.one_hot(card, cards.SUITS)}

    def hidden(self, state: VectorAutoencodeState) -> Fields:
        """Return the cards that were seen and not yet asked for."""
        return {"stack": cards.one_hot(state.stack, cards.SUITS).reshape(-1)}
