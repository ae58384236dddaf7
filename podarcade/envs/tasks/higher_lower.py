"""HigherLower: guess whether the next card is higher or lower."""

import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from flax import struct

from podarcade.actions import ActionSpace, Discrete
from podarcade.envs.tasks import Fields, Task, cards

HIGHER, LOWER = range(2)


@struct.dataclass
class HigherLowerState:
    """State of HigherLower: 22 bytes."""

    rank: jax.Array  # int8[] rank of the card on show, 0 (ace) to 12 (king)
    left: jax.Array  # uint8[13] cards left by rank
    time: jax.Array  # int32[]
    score: jax.Array  # int32[] right guesses


@dataclasses.dataclass(frozen=True)
class HigherLower(Task):
    """Cards are dealt one per step; guess whether the next one is higher or lower (POPGym's HigherLower).

    N = 52 `decks` cards in equal numbers of 13 ranks, in random order.

    - observation: visible `rank` one-hot (13); hidden `dealt`, the share of each rank dealt (13).
    - action: 0 higher, 1 lower.
    - reward: 1 / N if the guess is right, -1 / N if it is wrong, 0 if the ranks are equal. Returns are in
      ±(N - 1) / N.
    - end: terminal after N - 1 actions, when every card has been seen.
    - twin: history.
    - channel: closed, in effect. No task to measure memory with: guessing from the rank alone earns 84 / 169 = 0.4970
      at all levels, counting cards 0.528, 0.517 and 0.512. A random policy has 0.

    Both rule sets are the same.

    Raises:
      ValueError: `decks` is not in 1 to 63.
    """

    decks: int = 1

    LEVELS: ClassVar[dict[str, dict[str, Any]]] = {"easy": {"decks": 1}, "medium": {"decks": 2}, "hard": {"decks": 3}}
    CHANNEL: ClassVar[str] = "closed"
    actions: ClassVar[ActionSpace] = Discrete(2)

    def __post_init__(self):
        super().__post_init__()
        if not 1 <= self.decks <= 63:
            raise ValueError(f"decks={self.decks}; expected 1 to 63")

    @property
    def count(self) -> int:
        """Number of cards, N."""
        return cards.DECK * self.decks

    @property
    def max_steps(self) -> int:
        """N - 1, the length of every episode."""
        return self.count - 1

    @property
    def RETURNS(self) -> tuple[float, float]:
        """±(N - 1) / N, all guesses right or wrong."""
        return (-self.max_steps / self.count, self.max_steps / self.count)

    def reset(self, key: jax.Array) -> HigherLowerState:
        """Deal the first card."""
        rank, left = cards.deal(key, cards.full_deck(cards.RANKS, self.decks, jnp.uint8))
        return HigherLowerState(rank=rank, left=left, time=jnp.int32(0), score=jnp.int32(0))

    def step(self, state: HigherLowerState, action: jax.Array, key: jax.Array):
        """Return (state, reward, terminal)."""
        rank, left = cards.deal(key, state.left)
        right = (rank != state.rank) & ((rank > state.rank) == (action == HIGHER))
        new = state.replace(rank=rank, left=left, time=state.time + 1, score=state.score + right)
        wins = jnp.where(right, 1.0, jnp.where(rank == state.rank, 0.0, -1.0)).astype(jnp.float32)
        return new, wins / self.count, self.is_over(new, new.time >= self.max_steps)

    def visible(self, state: HigherLowerState) -> Fields:
        """Return the card on show."""
        return {"rank": cards.one_hot(state.rank, cards.RANKS)}

    def hidden(self, state: HigherLowerState) -> Fields:
        """Return the share of each rank that has been dealt."""
        return {"dealt": cards.share_dealt(state.left, cards.RANKS, self.decks)}
