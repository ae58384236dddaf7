"""Peer environments of POPGym (NumPy, Gymnasium), next to the tasks that follow them.

A peer is a function of a level that returns a `Peer`. `PEERS` names them by the file of our task.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from popgym.envs import (
    autoencode,
    battleship,
    concentration,
    count_recall,
    higher_lower,
    minesweeper,
    multiarmed_bandit,
    repeat_first,
    repeat_previous,
)


class Peer(NamedTuple):
    """An environment of the peer, and what of it has to be known.

    Attributes:
      environment: with the methods `reset` and `step` of Gymnasium.
      luck: () -> what chance has decided in the running episode: a deck in its order, or a board.
      seen: (observation, previous action or -1) -> our visible fields, float[V].
      action: our action -> the peer's.
      plan: luck -> actions of a good player, or None. The rest of the episode is random.
      set_luck: luck -> None: replace the luck of the running episode; None if it may stay as it is.
    """

    environment: Any
    luck: Callable[[], np.ndarray]
    seen: Callable[[Any, int], np.ndarray]
    action: Callable[[int], Any] = int
    plan: Callable[[np.ndarray], np.ndarray] | None = None
    set_luck: Callable[[np.random.Generator], None] | None = None


def hot(kind: Any, kinds: int) -> np.ndarray:
    """Return one-hot float64[..., kinds], flattened; zeros for a kind of -1."""
    return (np.asarray(kind)[..., None] == np.arange(kinds)).astype(float).reshape(-1)


def _order(deck, kinds: str) -> np.ndarray:
    """Return the kinds of the cards of a deck in the order in which they are dealt."""
    return getattr(deck, kinds)[deck.idx[::-1]]


def _suits(environment) -> Peer:
    return Peer(environment, lambda: _order(environment.deck, "suits_idx"), lambda observation, _: hot(observation, 4))


def _repeat_first(level: str) -> Peer:
    return _suits(getattr(repeat_first, f"RepeatFirst{level}")())


def _repeat_previous(level: str) -> Peer:
    return _suits(getattr(repeat_previous, f"RepeatPrevious{level}")())


def _autoencode(level: str) -> Peer:
    environment = getattr(autoencode, f"Autoencode{level}")()

    def plan(deck):
        return np.append(np.zeros(len(deck) - 1, int), np.where(np.arange(len(deck)) % 3, deck[::-1], 0))

    def seen(observation, _):
        return np.append(hot(observation[0], 2), hot(observation[1], 4))

    return Peer(environment, lambda: _order(environment.deck, "suits_idx"), seen, plan=plan)


def _count_recall(level: str) -> Peer:
    environment = getattr(count_recall, f"CountRecall{level}")()
    kinds = {"Easy": "colors_idx", "Medium": "suits_idx", "Hard": "ranks_idx"}[level]

    def luck():
        return np.stack([_order(deck, kinds) for deck in (environment.value_deck, environment.query_deck)])

    def plan(decks):
        counts = [np.sum(decks[0, : time + 1] == kind) for time, kind in enumerate(decks[1])]
        return np.where(np.arange(len(counts)) % 3, counts, 1)[:-1]

    return Peer(environment, luck, lambda pair, _: hot(pair, environment.num_distinct_cards), plan=plan)


def _higher_lower(level: str) -> Peer:
    environment = getattr(higher_lower, f"HigherLower{level}")()
    return Peer(environment, lambda: _order(environment.deck, "ranks_idx"), lambda observation, _: hot(observation, 13))


def _concentration(level: str) -> Peer:
    environment = getattr(concentration, f"Concentration{level}")()

    def plan(kinds):
        return np.argsort(kinds, kind="stable")

    return Peer(
        environment,
        lambda: environment.deck_idx_type[environment.deck.idx] + 1,
        lambda observation, _: hot(observation, environment.facedown_card + 1),
        plan=plan,
    )


def _bandit(level: str) -> Peer:
    environment = getattr(multiarmed_bandit, f"MultiarmedBandit{level}")()

    def set_luck(random):
        environment.bandits = random.integers(0, 2, environment.num_bandits).astype(np.float32)

    def seen(observation, arm):
        return np.append(observation, hot(arm, environment.num_bandits))

    return Peer(environment, lambda: environment.bandits, seen, set_luck=set_luck)


def _battleship(level: str) -> Peer:
    environment = getattr(battleship, f"Battleship{level}")()
    side = environment.board_size
    return Peer(
        environment,
        lambda: environment.board.reshape(-1) > 0,
        lambda observation, cell: np.append(observation, hot(cell, side**2)),
        lambda cell: divmod(cell, side),
        lambda board: np.flatnonzero(board | (np.arange(side**2) % 3 == 0)),
    )


def _minesweeper(level: str) -> Peer:
    environment = getattr(minesweeper, f"MineSweeper{level}")()
    side, classes = environment.dims[0], environment.observation_space.n
    return Peer(
        environment,
        lambda: environment.hidden_grid.reshape(-1) == minesweeper.HiddenSquare.MINE,
        lambda observation, cell: np.append(hot(observation, classes), hot(cell, side**2)),
        lambda cell: divmod(cell, side),
        lambda mines: np.flatnonzero(~mines),
    )


PEERS = {
    "repeat_first": _repeat_first,
    "repeat_previous": _repeat_previous,
    "vector_autoencode": _autoencode,
    "vector_countrecall": _count_recall,
    "higher_lower": _higher_lower,
    "concentration": _concentration,
    "multiarmed_bandit": _bandit,
    "vector_battleship": _battleship,
    "vector_minesweeper": _minesweeper,
}
