"""CountRecall: count the cards of a suit."""

import dataclasses
import functools
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from podarcade.envs.games import Game
from podarcade.envs.rendering import bars, canvas, cards, font

PAGE, PANEL, SLOT, SLOT_EDGE, TRACK = (
    (245, 245, 245),
    (153, 179, 204),
    (142, 168, 194),
    (126, 152, 180),
    (218, 222, 228),
)
FACE, EDGE, ASKED, ASKED_EDGE = (255, 255, 255), (96, 116, 140), (255, 214, 64), (200, 120, 0)
WINDOW, DIAL = (34, 44, 58), (143, 237, 143)
SCORE, TITLE, TIME_BAR, TALLY = (191, 26, 26), (74, 191, 240), (38, 110, 190), (70, 50, 10)

PANEL_SIDE, PANEL_CORNER = 96, 16
TABLE_HEIGHT, CARD_HEIGHT, CARD_WIDTH, TILE_WIDTH = 26, 23, 20, 12  # of the table above the history
NO_VALUE, NO_QUERY, DIGIT, MINUS, DARK = 0, 10, 20, 30, 31  # cards are two tiles each: an empty slot, then four suits
TALLY_COLUMN, TALLY_SIDE = 114, 12


@struct.dataclass
class CountRecallState:
    """State of CountRecall: 172 bytes with the largest decks."""

    values: jax.Array  # int8[n] suits of the value cards in order
    queries: jax.Array  # int8[n] suits of the query cards in order
    round: jax.Array  # int32[] confirmations so far
    dial: jax.Array  # int32[] its number
    time: jax.Array  # int32[]
    score: jax.Array  # int32[] right answers


@dataclasses.dataclass(frozen=True)
class CountRecall(Game):
    """Dial how often the queried suit has been among the cards so far, and confirm.

    With n = 26 `decks` cards in each of two decks and k = `suits`:

    - start: value cards and query cards are the suits i mod k, i < n (0 heart, 1 spade, 2 club, 3 diamond), each deck
      in a uniformly random order of its own. The dial is at 0.
    - frame: in round r the r-th value card is on the top left of the panel, the r-th query card, yellow, on the top
      right, and the dial's number between them. Below, in rows, are the value cards of earlier rounds. The score on
      top counts the right answers. A bar to the left of the panel, initially empty, shows the time as a share of
      n + 100. Yellow cards to the right of it carry the number of earlier queries for each suit, blank for zero.
    - action: 0 turns the dial up by one, 1 down, without bounds; 4 confirms and starts the next round, and the dial
      keeps its number. All others do nothing.
    - reward: 1 / n for confirming the number of value cards of EARLIER rounds that are of the queried suit; the card of
      this round does not count.
    - end: after the n-th confirmation; truncated after n + 100 steps. Returns are in [0, 1]. Only 100 steps are
      left for the dial, so that 1 is out of reach for some decks: a player with foresight averages at most 1 with 26
      cards of two suits, 0.995 with 52, and 0.97 with 78 of four.
    - partial twin: after time 0 it hides the value cards of earlier rounds, the numbers of earlier queries and the bar.
      At time 0 there are none and the bar is empty, so the twins are equal.
    - memory: every earlier value card counts. Best known returns on the partial twin (strict, easy): 0.30 without
      memory, 1.0 with it. The full frame is a sufficient statistic: it shows round, dial, time and how many cards of
      each suit are left in either deck; only their order is hidden, and it is uniform.

    Published rules: neither bar nor yellow numbers; the time limit is terminal; a dial below zero shows one digit, its
    number modulo 10, without a sign.
    """

    decks: int = 1
    suits: int = 2

    LEVELS: ClassVar[dict[str, dict[str, Any]]] = {
        "easy": {"decks": 1, "suits": 2},
        "medium": {"decks": 2, "suits": 2},
        "hard": {"decks": 3, "suits": 4},
    }
    RETURNS: ClassVar[tuple[float, float]] = (0.0, 1.0)

    def __post_init__(self):
        super().__post_init__()
        if self.decks not in (1, 2, 3):
            raise ValueError(f"decks={self.decks}; expected 1, 2 or 3")
        if self.suits not in (1, 2, 3, 4):
            raise ValueError(f"suits={self.suits}; expected 1 to 4")

    @property
    def count(self) -> int:
        """Number of cards in each deck, n."""
        return 26 * self.decks

    @property
    def max_steps(self) -> int:
        """Time limit in steps."""
        return self.count + 100

    def reset(self, key: jax.Array) -> CountRecallState:
        """Return two shuffled decks, with the dial at zero."""
        words, zero = jax.random.bits(key, (2, self.count), dtype=jnp.uint32), jnp.int32(0)
        values, queries = (cards.shuffled(deck, self.suits) for deck in words)
        return CountRecallState(values, queries, round=zero, dial=zero, time=zero, score=zero)

    def step(self, state: CountRecallState, action: jax.Array, key: jax.Array):
        """Return (state, reward, terminal)."""
        confirm = action == 4
        earlier = np.arange(self.count) < state.round
        seen = jnp.sum(earlier & (state.values == self._now(state, state.queries)), dtype=jnp.int32)
        right = confirm & (state.dial == seen)
        new = state.replace(
            round=state.round + confirm,
            dial=state.dial + (action == 0) - (action == 1),
            time=state.time + 1,
            score=state.score + right,
        )
        terminal = new.round >= self.count
        if self.rules == "published":
            terminal |= new.time >= self.max_steps
        return new, jnp.where(right, 1 / self.count, 0.0).astype(jnp.float32), terminal

    def draw(self, state: CountRecallState, partial: jax.Array) -> jax.Array:
        """Return the frame, uint8[obs_size, obs_size, 3]."""
        strict, scale = self.rules == "strict", self.obs_size // canvas.GRID
        page, large, small, tally = _pictures(self.count, self.suits, strict, scale)
        shown = (np.arange(self.count) < state.round) & ~partial
        history = cards.rows(small, jnp.where(shown, 1 + state.values, 0))
        panel = jnp.concatenate([canvas.tiles(large, self._table(state)[None]), history])
        parts = [canvas.number(state.score, PAGE, SCORE, scale), canvas.Part(PANEL_CORNER, PANEL_CORNER, panel)]
        if strict:
            time = jnp.where(partial, 0, state.time)
            parts.append(bars.bar(time, self.max_steps, bars.LEFT, TIME_BAR, TRACK, scale))
            suits = np.array(cards.SUITS)
            asked = jnp.sum(shown[None] & (state.queries[None] == suits[:, None]), 1, dtype=jnp.int32)
            index = jnp.stack([suits, len(suits) + asked], 1).reshape(-1, 1)
            parts.append(canvas.Part(PANEL_CORNER, TALLY_COLUMN, canvas.tiles(tally, index)))
        return canvas.compose(page, parts)

    def _now(self, state, deck) -> jax.Array:
        """Return the suit of this round's card of a deck, int32[]; 0 after the last round."""
        return jnp.sum(jnp.where(np.arange(self.count) == state.round, deck, 0), dtype=jnp.int32)

    def _table(self, state) -> jax.Array:
        """Return the tiles of the value card, the dial and the query card, int32[8]."""
        on = state.round < self.count
        value, query = (
            place + jnp.where(on, 2 + 2 * self._now(state, deck), 0) + np.arange(2)
            for place, deck in ((NO_VALUE, state.values), (NO_QUERY, state.queries))
        )
        below = state.dial < 0
        if self.rules == "strict":
            number, sign = jnp.abs(state.dial), jnp.where(below, MINUS, DARK)
        else:
            number, sign = jnp.where(below, state.dial % 10, state.dial), jnp.int32(DARK)
        power = np.array([100, 10, 1])
        digits = jnp.where((number >= power) | (power == 1), DIGIT + number // power % 10, DARK)
        return jnp.concatenate([value, sign[None], digits, query])


@functools.cache
def _pictures(count: int, suits: int, marks: bool, scale: int) -> tuple[np.ndarray, ...]:
    """Return the empty page as rows of bytes, and the tiles of the table, of the history and of the tally."""
    page = canvas.page(PAGE, PANEL, PANEL_SIDE, "COUNTRECALL", TITLE)
    if marks:
        page = bars.tracks(page, (bars.LEFT,), TRACK)
    small = cards.faces(count, FACE, EDGE)
    size = small[0].shape[:2]
    small = [cards.card(*size, SLOT, SLOT_EDGE), *small, canvas.blank(*size, PANEL)]
    none = canvas.blank(TALLY_SIDE, TALLY_SIDE, PAGE)
    tally = [cards.card(TALLY_SIDE, TALLY_SIDE, ASKED, ASKED_EDGE, suit) for suit in range(suits)]
    tally += [none] * (len(cards.SUITS) - suits + 1)
    for number in range(1, count // suits + 2):
        ink = font.text(str(number))
        tally.append(canvas.stamp(none, ink, 2, (TALLY_SIDE - ink.shape[1]) // 2, TALLY))
    atlases = [np.stack([canvas.enlarge(tile, scale) for tile in atlas]) for atlas in (_large_tiles(), small, tally)]
    return canvas.rows(canvas.enlarge(page, scale)), *atlases


def _large_tiles() -> list[np.ndarray]:
    """Return value cards, query cards, digits, the minus sign and the empty dial."""
    tiles = []
    gap = 2 * TILE_WIDTH - CARD_WIDTH  # half of it is filled by the dial
    for column, beside, *look in ((0, -gap // 2, FACE, EDGE), (gap, 0, ASKED, ASKED_EDGE)):
        for suit in (None, *cards.SUITS):
            picture = canvas.blank(TABLE_HEIGHT, 2 * TILE_WIDTH, PANEL)
            picture[:CARD_HEIGHT, beside:][:, : gap // 2] = WINDOW
            colours = (SLOT, SLOT_EDGE) if suit is None else look
            picture[:CARD_HEIGHT, column : column + CARD_WIDTH] = cards.card(CARD_HEIGHT, CARD_WIDTH, *colours, suit)
            tiles += np.split(picture, 2, axis=1)
    dark = canvas.blank(TABLE_HEIGHT, TILE_WIDTH, PANEL)
    dark[:CARD_HEIGHT] = WINDOW
    corner = (CARD_HEIGHT - 2 * font.HEIGHT) // 2, 1
    tiles += [canvas.stamp(dark, font.glyph(digit), *corner, DIAL, size=2) for digit in "0123456789"]
    minus = canvas.stamp(dark, np.ones((1, 4), bool), CARD_HEIGHT // 2, 2, DIAL, size=2)
    return [*tiles, minus, dark]
