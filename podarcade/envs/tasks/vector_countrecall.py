"""VectorCountRecall: say how often a queried kind of card has been dealt."""

import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from flax import struct

from podarcade.actions import ActionSpace, Discrete
from podarcade.envs.tasks import Fields, Task, cards


@struct.dataclass
class VectorCountRecallState:
    """State of VectorCountRecall: 10 + 2 `types` bytes."""

    cards: jax.Array  # int8[2] kinds of the value card and of the query card on show
    left: jax.Array  # uint8[2, types] cards left by kind, of the value deck and of the query deck
    time: jax.Array  # int32[]
    score: jax.Array  # int32[] right answers


@dataclasses.dataclass(frozen=True)
class VectorCountRecall(Task):
    """Every step deals a value and a query; the action counts the values of the query's kind (POPGym's CountRecall).

    Two decks of N = 52 `decks` cards, each with M = N / `types` cards of every kind, in random orders. The answer at
    time t is how many of the value cards 0 to t, the one on show included, are of the kind of query card t.

    - observation: visible `value` and `query` one-hot (`types` each); hidden `counts` and `queries`, the shares of the
      cards of each kind dealt from either deck (`types` each). The answer is M `counts`[query].
    - action: a count, 0 to M.
    - reward: 1 / (N - 1) for the right count, else -1 / (N - 1). Returns are in [-1, 1].
    - end: terminal after N - 1 actions; the last pair is shown and never asked.
    - twin: history.
    - channel: open. The best policy without memory earns -0.9230, -0.9245 and -0.8812 at the three levels, and can earn
      -0.62, -0.70 and -0.64 with its previous action. With a clock, the likeliest count at each time earns -0.4054,
      -0.4920 and -0.4144: only returns above these show counting. A random policy has -0.9259, -0.9259 and -0.8824,
      the best one 1.

    Both rule sets are the same. The actions are those of POPGym since 1.0.7; before, the answer M could not be given.

    Raises:
      ValueError: `types` does not divide N, or N / `types` is above 255.
    """

    decks: int = 1
    types: int = 2

    LEVELS: ClassVar[dict[str, dict[str, Any]]] = {
        "easy": {"decks": 1, "types": 2},
        "medium": {"decks": 2, "types": 4},
        "hard": {"decks": 4, "types": 13},
    }
    RETURNS: ClassVar[tuple[float, float]] = (-1.0, 1.0)

    def __post_init__(self):
        super().__post_init__()
        count = cards.DECK * self.decks
        if self.types < 1 or count % self.types or count // self.types > 255:
            raise ValueError(
                f"types={self.types}; expected a divisor of {count} with decks={self.decks}, and at most 255 cards each"
            )

    @property
    def actions(self) -> ActionSpace:
        """The counts 0 to M."""
        return Discrete(self.each + 1)

    @property
    def each(self) -> int:
        """Number of cards of each kind, M."""
        return cards.DECK * self.decks // self.types

    @property
    def max_steps(self) -> int:
        """N - 1, the length of every episode."""
        return cards.DECK * self.decks - 1

    def reset(self, key: jax.Array) -> VectorCountRecallState:
        """Deal the first pair."""
        deck = cards.full_deck(self.types, self.decks, jnp.uint8)
        dealt, left = cards.deal(key, jnp.stack([deck, deck]))
        return VectorCountRecallState(cards=dealt, left=left, time=jnp.int32(0), score=jnp.int32(0))

    def step(self, state: VectorCountRecallState, action: jax.Array, key: jax.Array):
        """Return (state, reward, terminal)."""
        asked = jax.nn.one_hot(state.cards[1], self.types, dtype=jnp.int32)
        answer = self.each - jnp.sum(asked * state.left[0].astype(jnp.int32), dtype=jnp.int32)
        right = action == answer
        dealt, left = cards.deal(key, state.left)
        new = state.replace(cards=dealt, left=left, time=state.time + 1, score=state.score + right)
        reward = jnp.where(right, 1.0, -1.0).astype(jnp.float32) / self.max_steps
        return new, reward, self.is_over(new, new.time >= self.max_steps)

    def visible(self, state: VectorCountRecallState) -> Fields:
        """Return the value card and the query card."""
        value, query = cards.one_hot(state.cards, self.types)
        return {"value": value, "query": query}

    def hidden(self, state: VectorCountRecallState) -> Fields:
        """Return the share of each kind that has been dealt from either deck."""
        counts, queries = cards.share_dealt(state.left, self.types, self.decks)
        return {"counts": counts, "queries": queries}
