"""RepeatPrevious: name the suit of the card that was dealt k - 1 steps ago."""

import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from flax import struct

from podarcade.actions import ActionSpace, Discrete
from podarcade.envs.tasks import Fields, Task, cards


@struct.dataclass
class RepeatPreviousState:
    """State of RepeatPrevious: 16 + k bytes."""

    recent: jax.Array  # int8[k] suits of the last k cards, oldest first; -1 for cards before the first
    left: jax.Array  # int16[4] cards left by suit
    time: jax.Array  # int32[]
    score: jax.Array  # int32[] right answers


@dataclasses.dataclass(frozen=True)
class RepeatPrevious(Task):
    """Cards are dealt one per step; every action must name the suit of an earlier one (POPGym's RepeatPrevious).

    N = 52 `decks` cards in equal numbers of four suits, in random order.

    - observation: visible `card` one-hot (4); hidden `window`, the last k cards one-hot (4 k), oldest first, zeros for
      cards before the first; `dealt`, the share of each suit dealt (4).
    - action: a suit, 0 to 3.
    - reward: once k cards have been seen, 1 / (N - k) if the action is the suit of the card k - 1 steps ago, which is
      the first of the window, else -1 / (N - k). With k = 1 that is the card on show. Returns are in [-1, 1].
    - end: terminal after N - 1 actions, when every card has been seen.
    - twin: history. The answer is a linear function of the full observation.
    - channel: small. The best policy without memory names another suit than the one on show, for -0.4902, -0.4951 and
      -0.4968 at the three levels; with its previous action it can earn about -0.26 at the easy level. A random policy
      has -0.5, the best one 1.

    Both rule sets are the same.

    Raises:
      ValueError: `k` is not in 1 to N - 1.
    """

    decks: int = 1
    k: int = 4

    LEVELS: ClassVar[dict[str, dict[str, Any]]] = {
        "easy": {"decks": 1, "k": 4},
        "medium": {"decks": 2, "k": 32},
        "hard": {"decks": 3, "k": 64},
    }
    RETURNS: ClassVar[tuple[float, float]] = (-1.0, 1.0)
    CHANNEL: ClassVar[str] = "small"
    actions: ClassVar[ActionSpace] = Discrete(cards.SUITS)

    def __post_init__(self):
        super().__post_init__()
        if not 1 <= self.k <= self.max_steps:
            raise ValueError(f"k={self.k}; expected 1 to {self.max_steps} with decks={self.decks}")

    @property
    def max_steps(self) -> int:
        """N - 1, the length of every episode."""
        return cards.DECK * self.decks - 1

    def needed_time(self, time: jax.Array) -> jax.Array | int:
        """Return when the card that is asked for was dealt, -1 while none is."""
        return jnp.where(time >= self.k - 1, time - self.k + 1, -1)

    def needed(self, state: RepeatPreviousState) -> Fields:
        """Return the suit that is asked for, int8[]."""
        return {"suit": state.recent[0]}

    def reset(self, key: jax.Array) -> RepeatPreviousState:
        """Deal the first card."""
        card, left = cards.deal(key, cards.full_deck(cards.SUITS, self.decks))
        recent = jnp.full(self.k, -1, jnp.int8).at[-1].set(card)
        return RepeatPreviousState(recent=recent, left=left, time=jnp.int32(0), score=jnp.int32(0))

    def step(self, state: RepeatPreviousState, action: jax.Array, key: jax.Array):
        """Return (state, reward, terminal)."""
        asked = state.recent[0] >= 0
        right = asked & (action == state.recent[0])
        card, left = cards.deal(key, state.left)
        recent = jnp.append(state.recent[1:], card)
        new = state.replace(recent=recent, left=left, time=state.time + 1, score=state.score + right)
        reward = jnp.where(right, 1.0, jnp.where(asked, -1.0, 0.0)).astype(jnp.float32) / (self.max_steps + 1 - self.k)
        return new, reward, self.is_over(new, new.time >= self.max_steps)

    def visible(self, state: RepeatPreviousState) -> Fields:
        """Return the card on show."""
        return {"card": cards.one_hot(state.recent[-1], cards.SUITS)}

    def hidden(self, state: RepeatPreviousState) -> Fields:
        """Return the last k cards, and the share of each suit that has been dealt."""
        return {
            "window": cards.one_hot(state.recent, cards.SUITS).reshape(-1),
            "dealt": cards.share_dealt(state.left, cards.SUITS, self.decks),
        }
