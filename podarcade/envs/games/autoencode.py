"""AutoEncode: recall a deck of cards in reverse order."""

import dataclasses
import functools
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from podarcade.envs.games import Game
from podarcade.envs.rendering import bars, canvas, cards

PAGE, SLOT, SLOT_EDGE, TRACK = (173, 217, 230), (157, 203, 219), (140, 188, 206), (146, 194, 211)
FACE, EDGE, GREY, NEXT, NEXT_EDGE = (255, 255, 255), (120, 150, 165), (150, 178, 190), (255, 214, 64), (200, 120, 0)
SCORE, TITLE, TIME_BAR = (255, 48, 71), (255, 105, 186), (38, 110, 190)

PANEL_SIDE, PANEL_CORNER = 96, 16
TABLE_HEIGHT, CARD_HEIGHT, CARD_WIDTH = 26, 23, 16  # of the area above the history, and of its large cards
NO_CARD, NOTHING, BRIGHT, DIM = 0, 1, 2, 6  # tiles of the table; add a suit to the last two
EMPTY, SHOWN, ASKED = 0, 1, 5  # tiles of the history; add a suit to the last two
CHOICES = np.array([cards.DIAMOND, cards.CLUB, cards.SPADE, cards.HEART])  # from left to right as drawn


@struct.dataclass
class AutoEncodeState:
    """State of AutoEncode: 91 bytes with the largest deck."""

    cards: jax.Array  # int8[n] suits in dealing order
    selector: jax.Array  # int8[] selected suit
    answers: jax.Array  # int32[] answers given so far
    time: jax.Array  # int32[]
    score: jax.Array  # int32[] right answers


@dataclasses.dataclass(frozen=True)
class AutoEncode(Game):
    """Name the suits of a dealt deck in reverse order.

    With n = 26 `decks` cards:

    - start: the suits i mod 4, i < n (0 heart, 1 spade, 2 club, 3 diamond), in uniformly random order. The
      selector is on hearts.
    - frame: at time t < n the t-th card is on the top left of the panel, later nothing. On the top right are the
      four suits, the selected one bright. Below, in rows, are all cards dealt earlier; once all are dealt, the next
      card to name is yellow. The score on top counts the right answers. A bar beside the panel, initially empty,
      shows the time as a share of 10 n.
    - action: 2 moves the selector to the left, from heart to spade, club, diamond and back to heart, 3 to the
      right, at any time; 4 confirms. All others do nothing.
    - answers: at time t > n a confirmation answers with the selected suit. At time n every action answers, after
      the selector has moved. Before that, confirming does nothing. The k-th answer, k = 0, 1, ..., is right if it
      names card n - 1 - k. Each card gets one answer.
    - reward: 1 / n for a right answer.
    - end: after the n-th answer; truncated after 10 n steps. Returns are in [0, 1].
    - partial twin: after time 0 it hides the cards dealt earlier, the yellow mark and the bar. At time 0 no card has
      been dealt earlier and the bar is empty, so the twins are equal.
    - memory: the k-th answer names a card seen at least 2 k + 1 steps ago. Best known returns on the partial twin
      (strict, easy): 0.29 without memory, 1.0 with it. The full frame is a sufficient statistic: it shows cards,
      selector, answers and time; only the order of the cards not yet dealt is hidden, and it is uniform.

    Published rules: no bar and no yellow card; the end is detected one step late, so that an episode takes up to
    10 n + 1 steps; a confirmation in the step after the n-th answer answers for the last card again, so that returns
    reach (n + 1) / n.
    """

    decks: int = 1

    LEVELS: ClassVar[dict[str, dict[str, Any]]] = {"easy": {"decks": 1}, "medium": {"decks": 2}, "hard": {"decks": 3}}
    RETURNS: ClassVar[tuple[float, float]] = (0.0, 1.0)

    def __post_init__(self):
        super().__post_init__()
        if self.decks not in (1, 2, 3):
            raise ValueError(f"decks={self.decks}; expected 1, 2 or 3")

    @property
    def count(self) -> int:
        """Number of cards, n."""
        return 26 * self.decks

    @property
    def max_steps(self) -> int:
        """Time limit in steps."""
        return 10 * self.count

    def reset(self, key: jax.Array) -> AutoEncodeState:
        """Return a shuffled deck with its first card on the table."""
        words, zero = jax.random.bits(key, (self.count,), dtype=jnp.uint32), jnp.int32(0)
        deck = cards.shuffled(words, len(cards.SUITS))
        return AutoEncodeState(deck, selector=jnp.int8(cards.HEART), answers=zero, time=zero, score=zero)

    def step(self, state: AutoEncodeState, action: jax.Array, key: jax.Array):
        """Return (state, reward, terminal)."""
        selector = (state.selector + (action == 2) - (action == 3)) % 4
        answer = (state.time == self.count) | (state.time > self.count) & (action == 4)
        asked = self._card(state, jnp.maximum(self.count - 1 - state.answers, 0))
        right = answer & (selector == asked)
        new = state.replace(
            selector=selector.astype(jnp.int8),
            answers=state.answers + answer,
            time=state.time + 1,
            score=state.score + right,
        )
        if self.rules == "strict":
            terminal = new.answers >= self.count
        else:
            terminal = (state.answers >= self.count) | (state.time >= self.max_steps)
        return new, jnp.where(right, 1 / self.count, 0.0).astype(jnp.float32), terminal

    def draw(self, state: AutoEncodeState, partial: jax.Array) -> jax.Array:
        """Return the frame, uint8[obs_size, obs_size, 3]."""
        strict, scale = self.rules == "strict", self.obs_size // canvas.GRID
        page, large, small = _pictures(self.count, strict, scale)
        watching = state.time < self.count
        dealt = jnp.where(watching, BRIGHT + self._card(state, state.time), NO_CARD)
        choices = CHOICES + jnp.where(state.selector == CHOICES, BRIGHT, DIM)
        table = canvas.tiles(large, jnp.concatenate([dealt[None], jnp.full(1, NOTHING), choices])[None])
        place = np.arange(self.count)
        history = jnp.where((place < state.time) & ~partial, SHOWN + state.cards, EMPTY)
        if strict:
            asked = (place == self.count - 1 - state.answers) & ~watching & ~partial
            history += (ASKED - SHOWN) * asked
        panel = jnp.concatenate([table, cards.rows(small, history)])
        parts = [canvas.number(state.score, PAGE, SCORE, scale), canvas.Part(PANEL_CORNER, PANEL_CORNER, panel)]
        if strict:
            time = jnp.where(partial, 0, state.time)
            parts.append(bars.bar(time, self.max_steps, bars.LEFT, TIME_BAR, TRACK, scale))
        return canvas.compose(page, parts)

    def _card(self, state, place) -> jax.Array:
        """Return the suit of the card dealt at time `place`, int32[]; 0 if no card is."""
        return jnp.sum(jnp.where(np.arange(self.count) == place, state.cards, 0), dtype=jnp.int32)


@functools.cache
def _pictures(count: int, marks: bool, scale: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the empty page as rows of bytes, and the tiles of the table and of the history."""
    page = canvas.page(PAGE, PAGE, PANEL_SIDE, "AUTOENCODE", TITLE)
    if marks:
        page = bars.tracks(page, (bars.LEFT,), TRACK)
    nothing = canvas.blank(TABLE_HEIGHT, CARD_WIDTH, PAGE)
    large = [_on_table(SLOT, SLOT_EDGE), nothing]
    large += [_on_table(FACE, EDGE, suit) for suit in cards.SUITS]
    large += [_on_table(GREY, SLOT_EDGE, suit) for suit in cards.SUITS]
    small = cards.faces(count, FACE, EDGE)
    slot = cards.card(*small[0].shape[:2], SLOT, SLOT_EDGE)
    small = [slot, *small, *cards.faces(count, NEXT, NEXT_EDGE), canvas.blank(*slot.shape[:2], PAGE)]
    enlarged = [np.stack([canvas.enlarge(tile, scale) for tile in atlas]) for atlas in (large, small)]
    return canvas.rows(canvas.enlarge(page, scale)), *enlarged


def _on_table(face: canvas.Colour, edge: canvas.Colour, suit: int | None = None) -> np.ndarray:
    tile = canvas.blank(TABLE_HEIGHT, CARD_WIDTH, PAGE)
    tile[:CARD_HEIGHT] = cards.card(CARD_HEIGHT, CARD_WIDTH, face, edge, suit)
    return tile
