"""KeyToDoor: take a key, spend some time on apples, and open a door."""

import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from podarcade.actions import ActionSpace, Discrete
from podarcade.envs.tasks import Fields, Task

ROOMS = (
    ["  #######  ", "  #kkkkk#  ", "  #kkkkk#  ", "  ##   ##  ", "  #+++++#  ", "  #+++++#  ", "  #######  "],
    ["###########", "#a a a a a#", "# a a a a #", "#a a a a a#", "# a a a a #", "#a a + a a#", "###########"],
    ["           ", "   ##d##   ", "   #   #   ", "   # + #   ", "   #   #   ", "   #####   ", "           "],
)
HEIGHT, WIDTH, VIEW = 7, 11, 5
MOVES = np.array([-WIDTH, WIDTH, -1, 1], np.int32)  # north, south, west, east
EXPLORE, REWARD = 15, 10  # actions of the first and the last phase
APPLES, BACK = 10, 21  # apples among all sites; frames until a taken one is back
DOOR_PAYS = 5
WITHOUT, TAKEN, WITH, USED = range(4)  # the key: not found, taken by the last action, held, used on the door
BOARDS = np.array([[list(row) for row in room] for room in ROOMS])


def _cells(room: int, letter: str) -> np.ndarray:
    """Return the cells of a room with a letter, int32[n], by row and column."""
    return np.flatnonzero(BOARDS[room] == letter).astype(np.int32)


KEYS, STARTS, SITES = _cells(0, "k"), _cells(0, "+"), _cells(1, "a")
ORCHARD_START, LAST_START, DOOR, INDICATOR = _cells(1, "+")[0], _cells(2, "+")[0], _cells(2, "d")[0], np.int32(5)
WALLS = (BOARDS == "#").reshape(3, -1)
# Rows of a board as bits, with a margin on every side, so that a view is five rows and a shift.
MARGIN = VIEW // 2
BITS = 1 << np.arange(MARGIN, WIDTH + MARGIN, dtype=np.int32)
WALL_ROWS = np.pad(((BOARDS == "#") * BITS).sum(axis=-1, dtype=np.int32), ((0, 0), (MARGIN, MARGIN)))
SITE_ROWS = np.zeros((HEIGHT + 2 * MARGIN, len(SITES)), np.int32)
SITE_ROWS[SITES // WIDTH + MARGIN, np.arange(len(SITES))] = BITS[SITES % WIDTH]


@struct.dataclass
class KeyToDoorState:
    """State of KeyToDoor: 33 bytes."""

    cell: jax.Array  # int8[] of the agent, by row and column of the 7 x 11 board
    key: jax.Array  # int8[] cell of the key
    holds: jax.Array  # int8[] WITHOUT, TAKEN, WITH or USED
    apples: jax.Array  # int8[22] frames until the apple of a site is there, 0 if it is, -1 if the site has none
    time: jax.Array  # int32[]
    score: jax.Array  # int32[] sum of all rewards


@dataclasses.dataclass(frozen=True)
class KeyToDoor(Task):
    """A key opens a door much later, with apples in between (the variant of Raposo et al. 2021, in Ni et al. 2022).

    Three phases of 15, d = `distractor` and 10 actions, each in a room of its own:

    - first: an upper room of 2 x 5 cells with the key and a lower one with the start, joined by a passage of 3 cells;
      key and start are uniform. Stepping on the key takes it.
    - second: 10 of 22 sites, chosen at random, hold apples; a taken one is back 21 frames later. The start is the
      middle of the bottom row.
    - third: a room of 3 x 3 cells with a door two cells above the start; it lets pass only an agent with the key.
    - observation: visible `view`, the 5 x 5 cells around the agent, for each a one-hot of wall, key, door, apple and
      indicator (125); the indicator, in the upper wall, is shown for one frame when the key is taken. Hidden `key`,
      whether the agent has it, `phase` one-hot (3) and `clock`, the time as a share of the episode.
    - action: 0 north, 1 south, 2 west, 3 east; walls and the closed door stop moves.
    - reward: 1 for each apple, 5 for the door, once.
    - end: terminal after 25 + d actions.
    - twin: critic. Both twins hide apples outside the view, so that neither is a Markov decision process; the hidden
      block shows what the value of the key depends on.
    - channel: closed. The best policies open the door in every episode, with or without memory; a random one in 2.3 %
      of them, and takes 5.43 apples at d = 60. A player that sees all apples takes 22.1.

    Both rule sets are the same.

    Raises:
      ValueError: `distractor` is less than 1.
    """

    distractor: int = 60

    LEVELS: ClassVar[dict[str, dict[str, Any]]] = {
        "easy": {"distractor": 60},
        "medium": {"distractor": 120},
        "hard": {"distractor": 250},
    }
    TWIN: ClassVar[str] = "critic"
    CHANNEL: ClassVar[str] = "closed"
    actions: ClassVar[ActionSpace] = Discrete(4)

    def __post_init__(self):
        super().__post_init__()
        if self.distractor < 1:
            raise ValueError(f"distractor={self.distractor}; expected >= 1")

    @property
    def RETURNS(self) -> tuple[float, float]:
        """Range of returns: an apple can be taken every 22nd frame."""
        return 0.0, float(DOOR_PAYS + min(self.distractor, APPLES * (1 + (self.distractor - 1) // (BACK + 1))))

    @property
    def max_steps(self) -> int:
        """25 + d, the length of every episode."""
        return EXPLORE + self.distractor + REWARD

    def reset(self, key: jax.Array) -> KeyToDoorState:
        """Place the key and the agent."""
        places = jax.random.bits(key, (2,), jnp.uint32) % np.array([len(KEYS), len(STARTS)], np.uint32)
        return KeyToDoorState(
            cell=jnp.asarray(STARTS, jnp.int8)[places[1]],
            key=jnp.asarray(KEYS, jnp.int8)[places[0]],
            holds=jnp.int8(WITHOUT),
            apples=jnp.full(len(SITES), -1, jnp.int8),
            time=jnp.int32(0),
            score=jnp.int32(0),
        )

    def step(self, state: KeyToDoorState, action: jax.Array, key: jax.Array):
        """Return (state, reward, terminal)."""
        phase = self._phase(state.time)
        cell = self._move(state, phase, action)
        took = (phase == 0) & (cell == state.key) & (state.holds == WITHOUT)
        opened = (phase == 2) & (cell == DOOR) & ((state.holds == TAKEN) | (state.holds == WITH))
        holds = jnp.where(took, TAKEN, jnp.where(opened, USED, jnp.where(state.holds == TAKEN, WITH, state.holds)))
        eaten = (phase == 1) & (cell == SITES) & (state.apples == 0)
        apples = jnp.where(eaten, BACK, state.apples - (state.apples > 0))
        reward = jnp.sum(eaten, dtype=jnp.int32) + DOOR_PAYS * opened
        time = state.time + 1
        begins, ends = time == EXPLORE, time == EXPLORE + self.distractor
        cell = jnp.where(begins, ORCHARD_START, jnp.where(ends, LAST_START, cell))
        apples = jnp.where(begins, _plant(key), apples)
        new = state.replace(
            cell=cell.astype(jnp.int8),
            holds=holds.astype(jnp.int8),
            apples=apples.astype(jnp.int8),
            time=time,
            score=state.score + reward,
        )
        return new, reward.astype(jnp.float32), self.is_over(new, time >= self.max_steps)

    def visible(self, state: KeyToDoorState) -> Fields:
        """Return the cells around the agent."""
        phase, cell = self._phase(state.time), state.cell.astype(jnp.int32)
        top, left = cell // WIDTH, cell % WIDTH

        def view(rows):
            return jax.lax.dynamic_slice(rows, (top,), (VIEW,))[:, None] >> (left + np.arange(VIEW))[None] & 1 == 1

        def only(place, shown):
            row, column = place // WIDTH - top + MARGIN, place % WIDTH - left + MARGIN
            span = np.arange(VIEW, dtype=np.int32)
            return (span == row)[:, None] & (span == column)[None] & shown

        indicator = only(INDICATOR, (phase == 0) & (state.holds == TAKEN))
        apples = jnp.where(phase == 1, jnp.sum(SITE_ROWS * (state.apples == 0)[None], axis=1, dtype=jnp.int32), 0)
        kinds = (
            view(jnp.asarray(WALL_ROWS)[phase]) & ~indicator,
            only(state.key.astype(jnp.int32), (phase == 0) & (state.holds == WITHOUT)),
            only(DOOR, phase == 2),
            view(apples) & ~only(cell, True),  # an apple under the agent is covered by it
            indicator,
        )
        return {"view": jnp.stack(kinds, axis=-1).reshape(-1)}

    def hidden(self, state: KeyToDoorState) -> Fields:
        """Return whether the agent has the key, the phase, and the time."""
        return {
            "key": ((state.holds == TAKEN) | (state.holds == WITH))[None],
            "phase": self._phase(state.time) == np.arange(3, dtype=np.int32),
            "clock": state.time[None].astype(jnp.float32) / self.max_steps,
        }

    def _phase(self, time):
        """Return the number of the phase, int32[]."""
        return (time >= EXPLORE).astype(jnp.int32) + (time >= EXPLORE + self.distractor)

    def _move(self, state, phase, action):
        """Return the cell after a move, int32[]."""
        cell = state.cell.astype(jnp.int32)
        known = (action >= 0) & (action < len(MOVES))
        stride = jnp.where(known, jnp.asarray(MOVES)[jnp.clip(action, 0, len(MOVES) - 1)], 0)
        # Behind the open door lies the rest of the board, whose edges stop moves as well.
        column = cell % WIDTH
        leaves = ((column == 0) & (stride == -1)) | ((column == WIDTH - 1) & (stride == 1))
        target = cell + stride
        leaves = leaves | (target < 0) | (target >= HEIGHT * WIDTH)
        target = jnp.where(leaves, cell, target)
        closed = (phase == 2) & (target == DOOR) & (state.holds == WITHOUT)
        return jnp.where(jnp.asarray(WALLS)[phase, target] | closed, cell, target)


def _plant(key):
    """Return 0 at 10 random sites and -1 at the others, int32[22]."""
    bits = jax.random.bits(key, (len(SITES),), jnp.uint32)
    lower = jnp.sum(bits[None, :] < bits[:, None], axis=1, dtype=jnp.int32)
    return jnp.where(lower < APPLES, 0, -1)
