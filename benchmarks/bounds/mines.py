"""Chances of mines on a board, for the players of MineSweeper and VectorMineSweeper that have memory."""

import itertools
from collections.abc import Callable
from math import comb

import jax
import jax.numpy as jnp
import numpy as np

MOST = 1000  # places of the mines that are enumerated; on larger boards chances are approximate
ROUNDS = 120  # of fitting


def chances(side: int, mines: int) -> Callable[[jax.Array], jax.Array]:
    """Return the function from the numbers shown, int32[n], -1 where hidden, to the chance of a mine, float32[n].

    Chances are exact on boards with few places of the mines. On others cells are taken as independent, with odds that
    are fitted to the numbers by iterative scaling.
    """
    return _enumerated(side, mines) if comb(side**2, mines) <= MOST else _fitted(side, mines)


def boards(side: int, mines: int) -> np.ndarray:
    """Return all places of the mines, float32[boards, n]."""
    places = itertools.combinations(range(side**2), mines)
    return np.array([np.isin(np.arange(side**2), place) for place in places], np.float32)


def near(side: int) -> np.ndarray:
    """Return float32[n, n], 1 where two cells are in each other's 3 x 3 block."""
    row, column = np.divmod(np.arange(side**2), side)
    return ((np.abs(row[:, None] - row[None]) <= 1) & (np.abs(column[:, None] - column[None]) <= 1)).astype(np.float32)


def possible(side: int, mines: int) -> Callable[[jax.Array], jax.Array]:
    """Return the function from the numbers shown to whether each of `boards` agrees with them, float32[boards]."""
    all_boards = boards(side, mines)
    counts = jnp.asarray(all_boards @ near(side), jnp.int32)

    def agreeing(numbers):
        wrong = (numbers[None] >= 0) & ((counts != numbers[None]) | (all_boards > 0))
        return (~jnp.any(wrong, axis=1)).astype(jnp.float32)

    return agreeing


def _enumerated(side, mines):
    agreeing, all_boards = possible(side, mines), boards(side, mines)

    def chance(numbers):
        weight = agreeing(numbers)
        return weight @ all_boards / jnp.maximum(weight.sum(), 1)

    return chance


def _fitted(side, mines):
    blocks_of = jnp.asarray(near(side))

    def chance(numbers):
        hidden = numbers < 0
        # One constraint for each revealed cell, and one for the board.
        blocks = jnp.concatenate([blocks_of * ~hidden[:, None], jnp.ones((1, side**2))]) * hidden[None]
        totals, sizes = jnp.append(jnp.maximum(numbers, 0), mines), blocks.sum(axis=1)
        target, share = _logit(totals, sizes), blocks / jnp.maximum(blocks.sum(axis=0), 1)[None]

        def fit(_, odds):
            expected = blocks @ jax.nn.sigmoid(odds)
            return jnp.clip(odds + (target - _logit(expected, sizes)) @ share, -12.0, 12.0)

        return jnp.where(hidden, jax.nn.sigmoid(jax.lax.fori_loop(0, ROUNDS, fit, jnp.zeros(side**2))), 0.0)

    return chance


def _logit(number, size):
    """Return log(number / (size - number)), bounded."""
    return jnp.log(number + 1e-4) - jnp.log(jnp.maximum(size - number, 0.0) + 1e-4)
