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
RISK = 0.3  # the largest chance of a mine that is taken where chances are approximate
ROUNDS = 15  # of message passing


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

    On boards with too many places of the mines, reveal the safest cell by belief propagation, or stall if its risk is
    above RISK.
    """
    return _enumerating(task) if comb(task.cells, task.mines) <= 1000 else _passing_messages(task)


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


def _passing_messages(task: VectorMineSweeper) -> Player:
    n, side = task.cells, task.side
    row, column = np.divmod(np.arange(n), side)
    rows, columns = (
        line[:, None] + step.reshape(1, 9) for line, step in zip((row, column), np.mgrid[-1:2, -1:2], strict=True)
    )
    inside = (rows >= 0) & (rows < side) & (columns >= 0) & (columns < side)
    cell = np.where(inside, rows * side + columns, np.arange(n)[:, None])  # [n, 9], the cells of each block
    place = np.arange(10)

    def act(memory, observation, previous, key):
        revealed, counts = jnp.split(observation[-2 * n :], 2)
        counts = jnp.round(8 * counts).astype(jnp.int32)
        asked = inside & (revealed[cell] == 0) & (revealed[:, None] > 0)
        rest = counts[:, None] - place[None]  # [n, 10]

        def totals(chance):
            """Return the laws of the numbers of mines among the cells of each block before each one, [9, n, 10]."""

            def add(law, p):
                return law * (1 - p[:, None]) + jnp.pad(law, ((0, 0), (1, 0)))[:, :-1] * p[:, None], law

            return jax.lax.scan(add, jnp.tile(jax.nn.one_hot(0, 10)[None], (n, 1)), chance.T)[1]

        def pass_messages(_, state):
            odds, prior, messages = state
            chance = jnp.where(asked, jax.nn.sigmoid(odds[cell] - messages), 0.0)
            before, behind = totals(chance), totals(chance[:, ::-1])[::-1]

            def chance_of(number):
                at = jnp.broadcast_to(jnp.clip(number, 0, 9)[None], behind.shape)
                return jnp.sum(before * jnp.take_along_axis(behind, at, 2) * (number >= 0)[None], 2).T + 1e-7

            new = jnp.where(asked, jnp.log(chance_of(rest - 1)) - jnp.log(chance_of(rest)), 0.0)
            messages = 0.5 * (messages + new)
            # Slot s of a block is slot 8 - s of the block around that cell.
            odds = prior + jnp.where(inside, messages[cell, 8 - np.arange(9)[None]], 0.0).sum(axis=1)
            expected = jnp.sum((1 - revealed) * jax.nn.sigmoid(odds))
            return odds, prior + jnp.log(task.mines / expected), messages

        density = jnp.log(task.mines / (n - task.mines))
        initial = jnp.full(n, density), jnp.float32(density), jnp.zeros((n, 9))
        odds = jax.lax.fori_loop(0, ROUNDS, pass_messages, initial)[0]
        risk = jnp.where(revealed > 0, 2.0, jax.nn.sigmoid(odds))
        return memory, jnp.where(risk.min() <= RISK, jnp.argmin(risk), jnp.argmax(revealed))

    return Player(act, twin="full")


def _near(task: VectorMineSweeper) -> np.ndarray:
    """Return float32[n, n], 1 where two cells are in each other's 3 x 3 block."""
    row, column = np.divmod(np.arange(task.cells), task.side)
    return ((np.abs(row[:, None] - row[None]) <= 1) & (np.abs(column[:, None] - column[None]) <= 1)).astype(np.float32)
