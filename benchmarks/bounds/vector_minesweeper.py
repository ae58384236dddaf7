"""Players of VectorMineSweeper."""

from math import comb

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.bounds import Player, mines
from podarcade.envs.tasks.vector_minesweeper import VectorMineSweeper

# Next cell of the easy board for each cell and count 0, 1 or 2; found by hill climbing from random tables.
PATH = (
    *((5, 9, 9), (6, 4, 3), (7, 7, 7), (2, 13, 7), (9, 3, 3), (1, 1, 1), (3, 4, 13), (10, 6, 8)),
    *((12, 12, 12), (14, 15, 15), (11, 11, 8), (6, 4, 0), (4, 11, 15), (8, 14, 8), (10, 8, 3), (14, 3, 3)),
)
RISK = 0.35  # the largest chance of a mine that is taken where chances are approximate


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
    return _enumerating(task) if comb(task.cells, task.mines) <= mines.MOST else _fitting(task)


def _enumerating(task: VectorMineSweeper) -> Player:
    n, places, possible = task.cells, mines.boards(task.side, task.mines), mines.possible(task.side, task.mines)
    counts = places @ mines.near(task.side)
    # Whether cell i of board b is safe and shows c: [boards, n, c].
    shows = ((counts[..., None] == np.arange(task.mines + 1)) & (places[..., None] == 0)).astype(np.float32)

    def act(memory, observation, previous, key):
        numbers = _numbers(task, observation)
        left, revealed = possible(numbers), numbers >= 0
        after = jnp.tensordot(left, shows, 1)  # [n, c], boards in which the cell is safe and shows c
        mined = jnp.einsum("b,bic,bj->icj", left, shows, places) + 1e6 * (revealed[None] + np.eye(n))[:, None]
        value = 2 * after.sum(axis=1) - jnp.minimum(mined.min(axis=2), after).sum(axis=1)
        return memory, jnp.argmax(jnp.where(revealed, -1.0, value))

    return Player(act, twin="full")


def _fitting(task: VectorMineSweeper) -> Player:
    chances = mines.chances(task.side, task.mines)

    def act(memory, observation, previous, key):
        numbers = _numbers(task, observation)
        risk = jnp.where(numbers >= 0, 2.0, chances(numbers))
        return memory, jnp.where(risk.min() <= RISK, jnp.argmin(risk), jnp.argmax(numbers >= 0))

    return Player(act, twin="full")


def _numbers(task, observation) -> jax.Array:
    """Return the numbers that the full twin shows, int32[n], -1 where hidden."""
    revealed, counts = jnp.split(observation[-2 * task.cells :], 2)
    return jnp.where(revealed > 0, jnp.round(8 * counts).astype(jnp.int32), -1)
