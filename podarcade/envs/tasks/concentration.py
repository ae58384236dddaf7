"""Concentration: find pairs of equal cards among cards that lie face down."""

import dataclasses
import math
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from podarcade.actions import ActionSpace, Discrete
from podarcade.envs.tasks import Fields, Task, cards

DOWN, MATCHED, FIRST, FAILED = range(4)  # FAILED: still on show, face down again with the next flip


@struct.dataclass
class ConcentrationState:
    """State of Concentration: 2 n + 8 bytes."""

    face: jax.Array  # int8[n] kinds of the cards that have been flipped, from 1; 0 for the others
    status: jax.Array  # int8[n] DOWN, MATCHED, FIRST or FAILED
    time: jax.Array  # int32[]
    score: jax.Array  # int32[] pairs found


@dataclasses.dataclass(frozen=True)
class Concentration(Task):
    """Cards lie face down; every action flips one, and pairs of equal cards stay open (POPGym's Concentration).

    n = 52 `decks` cards, n / `types` of each kind, at random places. The flips come in pairs. An observation is made
    after the flip and before a failed pair is turned back, so that both its cards are on show until the next flip.

    - observation: visible `shown`, n times one-hot (`types` + 1: the kinds, then face down); hidden `remembered`, the
      kinds of the cards that are face down again, n times one-hot (`types`), `matched` (n), `second`, whether the next
      flip is the second of its pair.
    - action: a card, 0 to n - 1.
    - reward: 2 / n for the second flip of a pair of two equal cards. -2 / T if the pair fails: the cards differ, one
      card is flipped twice, or the second was matched already. A first flip of a matched card costs 1 / T, and the next
      flip is again a first one. T = ceil(2 n - n / (2 n - 1)). Returns are in [-1, 1].
    - end: terminal when all cards are matched; truncated after T actions.
    - twin: history. What no one has flipped is drawn when it is flipped first.
    - channel: small. Without memory, flipping cards at random among those shown face down earns 0.454, 0.468 and -0.820
      at the three levels; a random policy has -0.192, -0.185 and -0.835. With memory 0.814, 0.813 and 0.698 can be had
      by flipping known pairs, else unknown cards.

    Published rules: the limit of T actions is terminal.

    Raises:
      ValueError: `types` does not divide n into even numbers of cards, or one of these numbers is above 126.
    """

    decks: int = 1
    types: int = 2

    LEVELS: ClassVar[dict[str, dict[str, Any]]] = {
        "easy": {"decks": 1, "types": 2},
        "medium": {"decks": 2, "types": 2},
        "hard": {"decks": 1, "types": 13},
    }
    RETURNS: ClassVar[tuple[float, float]] = (-1.0, 1.0)
    CHANNEL: ClassVar[str] = "small"

    def __post_init__(self):
        super().__post_init__()
        if self.types < 1 or self.count % (2 * self.types) or max(self.types, self.count // self.types) > 126:
            raise ValueError(
                f"types={self.types}; expected a divisor of {self.count // 2} with decks={self.decks}, and at most 126 "
                "types and cards of each"
            )

    @property
    def actions(self) -> ActionSpace:
        """The cards, 0 to n - 1."""
        return Discrete(self.count)

    @property
    def count(self) -> int:
        """Number of cards, n."""
        return cards.DECK * self.decks

    @property
    def max_steps(self) -> int:
        """T, the limit in actions."""
        return math.ceil(2 * self.count - self.count / (2 * self.count - 1))

    def reset(self, key: jax.Array) -> ConcentrationState:
        """Lay all cards face down. The key is not needed: no card is known yet."""
        down = jnp.zeros(self.count, jnp.int8)
        return ConcentrationState(face=down, status=down, time=jnp.int32(0), score=jnp.int32(0))

    def step(self, state: ConcentrationState, action: jax.Array, key: jax.Array):
        """Return (state, reward, terminal)."""
        card = jnp.clip(action, 0, self.count - 1)
        here = (np.arange(self.count, dtype=np.int32) == card) & (action == card)
        kinds = np.arange(1, self.types + 1, dtype=np.int8)
        seen = jnp.sum(state.face[:, None] == kinds[None], axis=0, dtype=jnp.int8)
        dealt, _ = cards.deal(key, cards.full_deck(self.types, self.decks, jnp.int8) - seen)
        was, kind = state.status[card], state.face[card]
        kind = jnp.where(kind == 0, dealt + 1, kind).astype(jnp.int8)
        face = jnp.where(here, kind, state.face)

        first = state.status == FIRST
        asked = jnp.max(jnp.where(first, face, 0))
        second, pair = asked > 0, (was != MATCHED) & (was != FIRST) & (kind == asked) & (action == card)
        outcome = jnp.where(second, jnp.where(pair, MATCHED, FAILED), FIRST)
        turned = (here | first) & (state.status != MATCHED)
        status = jnp.where(turned, outcome, jnp.where(state.status == FAILED, DOWN, state.status)).astype(jnp.int8)

        found = second & pair
        new = state.replace(face=face, status=status, time=state.time + 1, score=state.score + found)
        cost = jnp.where(second, 2.0, jnp.where(was == MATCHED, 1.0, 0.0)).astype(jnp.float32)
        reward = jnp.where(found, 2 / self.count, cost * jnp.float32(-1 / self.max_steps)).astype(jnp.float32)
        return new, reward, self.is_over(new, jnp.all(status == MATCHED))

    def visible(self, state: ConcentrationState) -> Fields:
        """Return the cards as they lie."""
        kind = jnp.where(state.status == DOWN, self.types, state.face - 1)
        return {"shown": cards.one_hot(kind, self.types + 1).reshape(-1)}

    def hidden(self, state: ConcentrationState) -> Fields:
        """Return the kinds of known cards that are face down, which ones are matched, and the phase of the pair."""
        known = jnp.where(state.status == DOWN, state.face - 1, -1)
        return {
            "remembered": cards.one_hot(known, self.types).reshape(-1),
            "matched": state.status == MATCHED,
            "second": jnp.any(state.status == FIRST)[None],
        }
