"""Players of VectorMineSweeper."""

import itertools
from math import comb

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.bounds import Player
from podarcade.envs.tasks.vector_minesweeper import VectorMineSweeper

# Next cell of the easy board for each cell and count 0, 1 or 2; found by hill climbing from random tables.
PATH = (
    *((5, 9, 9), (6, 4, 3), (7, 7, 7), (2, 13, 7), (9, 3, 3), (1, 1, 1), (3, 4, 13), (10, 6, 8)),
    *((12, 12, 12), (14, 15, 15), (11, 11, 8), (6, 4, 0), (4, 11, 15), (8, 14, 8), (10, 8, 3), (14, 3, 3)),
)
RISK = 0.35  # the largest chance of a mine that is taken where chances are approximate
ROUNDS = 120  # of fitting


def memoryless(task: VectorMineSweeper) -> Player:
    """Walk over the easy board as PATH says, 0.3047; sweep other boards row by row. The last cell is on show."""
    n, classes = task.cells, min(task.mines + 1, 10)
    easy = (task.side, task.mines) == (4, 2)
    path = jnp.array(PATH if easy else [[(cell + 1) % n] * classes for cell in range(n)], jnp.int32)

    def act(memory, observation, previous, key):
        cell, count = observation[classes : classes + n], observation[:classes]
        return memory, jnp.where(jnp.any(cell > 0), path[jnp.argmax(cell), jnp.argmax(count)], 0)

    return Player(act)


def memory(task: VectorMineSweeper) -> Player:
    """Reveal the cell with the most safe reveals expected from it and the next one: 0.7661 on the easy board (exact).

    On boards with too many places of the mines, fit the odds of mines to the counts by iterative scaling, and reveal
    the safest cell, or stall if its risk is above RISK: about 0.52 at the medium and 0.55 at the hard level. Exact
    chances are known to earn 0.57 and 0.62.
    """
    return _enumerating(task) if comb(task.cells, task.mines) <= 1000 else _fitting(task)


def _enumerating(task: VectorMineSweeper) -> Player:
    n, near = task.cells, _near(task)
    places = itertools.combinations(range(n), task.mines)
    mines = np.array([np.isin(np.arange(n), place) for place in places], np.float32)  # [boards, n]
    counts = mines @ near
    # Whether cell i of board b is safe and shows c: [boards, n, c].
    shows = ((counts[..., None] == np.arange(task.mines + 1)) & (mines[..., None] == 0)).astype(np.float32)

    def act(memory, observation, previous, key):
        revealed, seen = jnp.split(observation[-2 * n :], 2)
        wrong = revealed[None] * (jnp.abs(jnp.asarray(counts) - 8 * seen[None]) + mines)
        possible = (wrong.max(axis=1) < 0.5).astype(jnp.float32)
        after = jnp.tensordot(possible, shows, 1)  # [n, c], boards in which the cell is safe and shows c
        mined = jnp.einsum("b,bic,bj->icj", possible, shows, mines) + 1e6 * (revealed[None] + np.eye(n))[:, None]
        value = 2 * after.sum(axis=1) - jnp.minimum(mined.min(axis=2), after).sum(axis=1)
        return memory, jnp.argmax(jnp.where(revealed > 0, -1.0, value))

    return Player(act, twin="full")


def _fitting(task: VectorMineSweeper) -> Player:
    n, near = task.cells, _near(task)

    def act(memory, observation, previous, key):
        revealed, counts = jnp.split(observation[-2 * n :], 2)
        # One constraint for each revealed cell, and one for the board.
        blocks = jnp.concatenate([near * revealed[:, None], jnp.ones((1, n))]) * (1 - revealed)[None]
        mines, sizes = jnp.append(8 * counts, jnp.float32(task.mines)), blocks.sum(axis=1)
        target, share = _logit(mines, sizes), blocks / jnp.maximum(blocks.sum(axis=0), 1)[None]

        def fit(_, odds):
            expected = blocks @ jax.nn.sigmoid(odds)
            return jnp.clip(odds + (target - _logit(expected, sizes)) @ share, -12.0, 12.0)

        risk = jax.nn.sigmoid(jax.lax.fori_loop(0, ROUNDS, fit, jnp.zeros(n)))
        risk = jnp.where(revealed > 0, 2.0, risk)
        return memory, jnp.where(risk.min() <= RISK, jnp.argmin(risk), jnp.argmax(revealed))

    return Player(act, twin="full")


def _logit(number: jax.Array, size: jax.Array) -> jax.Array:
    """Return log(number / (size - number)), bounded."""
    return jnp.log(number + 1e-4) - jnp.log(jnp.maximum(size - number, 0.0) + 1e-4)


def _near(task: VectorMineSweeper) -> np.ndarray:
    """Return float32[n, n], 1 where two cells are in each other's 3 x 3 block."""
    row, column = np.divmod(np.arange(task.cells), task.side)
    return ((np.abs(row[:, None] - row[None]) <= 1) & (np.abs(column[:, None] - column[None]) <= 1)).astype(np.float32)
