"""Conversion of the released benchmark's latent states: a function per game, from its arrays [N, ...] to our state.

`CHANCE` names the random fields of the next state, which cannot be compared.
"""

import inspect

import numpy as np

from podarcade import plugins

CHANCE = {"noisycartpole": {"seen"}, "skittles": {"visible"}, "tetris": {"bag"}}


def ours(game: str, arrays: dict[str, np.ndarray]):
    """Return a batch of the released benchmark's states as states of our game.

    Raises:
      KeyError: the game has no conversion.
    """
    module = inspect.getmodule(plugins.find("games", game))
    (state,) = (
        value
        for value in vars(module).values()
        if inspect.isclass(value) and value.__name__.lower() == f"{game}state" and value.__module__ == module.__name__
    )
    return state(**globals()[f"_{game}"](arrays))


def _clock(theirs, time="timestep"):
    return {"time": theirs[time].astype(np.int32), "score": theirs["score"].astype(np.int32)}


def _small(array):
    return np.asarray(array).astype(np.int8)


def _cursor(theirs):
    return {"row": _small(theirs["action_y"]), "column": _small(theirs["action_x"])}


def _board(array):
    """Transpose a board: theirs is indexed by x and y, ours by row and column."""
    return _small(array).swapaxes(1, 2)


def _autoencode(theirs):
    answers = theirs["count"].astype(np.int32)
    return _clock(theirs) | {
        "cards": _small(theirs["cards"]), "selector": _small(theirs["default_action"]), "answers": answers,
    }  # fmt: skip


def _battleship(theirs):
    cells = _board(theirs["board"]) + 2 * _board(theirs["guesses"])
    return _clock(theirs) | _cursor(theirs) | {"cells": cells, "repeats": theirs["repeat_count"].astype(np.int32)}


def _breakout(theirs):
    direction = theirs["ball_dir"]
    return _clock(theirs, "time") | {
        "bricks": theirs["brick_map"][:, 1:7] > 0,
        "row": _small(theirs["ball_y"]),
        "column": _small(theirs["ball_x"]),
        "right": np.isin(direction, (1, 2)),
        "falling": np.isin(direction, (2, 3)),
        "strike": theirs["strike"].astype(bool),
        "last_row": _small(theirs["last_y"]),
        "last_column": _small(theirs["last_x"]),
        "paddle": _small(theirs["pos"]),
    }


def _cartpole(theirs):
    names = {"position": "x", "velocity": "x_dot", "angle": "theta", "spin": "theta_dot"}
    return _clock(theirs, "time") | {name: theirs[other].astype(np.float32) for name, other in names.items()}


def _noisycartpole(theirs):
    return _cartpole(theirs) | {"seen": np.zeros((len(theirs["x"]), 4), np.float32)}


def _countrecall(theirs):
    return _clock(theirs, "alreadyMove") | {
        "values": _small(theirs["value_cards"]),
        "queries": _small(theirs["query_cards"]),
        "round": theirs["timestep"].astype(np.int32),
        "dial": theirs["default_action"].astype(np.int32),
    }


def _minesweeper(theirs):
    return (
        _clock(theirs)
        | _cursor(theirs)
        | {"cells": _board(theirs["mine_grid"]), "repeats": theirs["viewed_count"].astype(np.int32)}
    )


def _navigator(theirs):
    return _clock(theirs) | _cursor(theirs) | {"cells": _board(theirs["board"])}


def _skittles(theirs):
    field = theirs["matrix_state"] > 0
    return _clock(theirs, "time") | {
        "blocks": _small(np.where(field.any(2), field.argmax(2), -1)),
        "column": _small(theirs["x"]),
        "crashed": (theirs["over"] + theirs["xp"]) > 0,
        "visible": np.zeros(field.shape[:2], np.uint16),
    }


def _tetris(theirs):
    rows = (theirs["board"].astype(np.int64) << 3 * np.arange(10)).sum(2)
    return _clock(theirs, "time") | {
        "rows": rows.astype(np.int32),
        "piece": _small(theirs["current_piece"]),
        "row": _small(theirs["current_y"]),
        "column": _small(theirs["current_x"]),
        "rotation": _small(theirs["current_rotation"]),
        "locked": theirs["just_locked"].astype(bool),
        "coming": _small(theirs["next_pieces"]),
        "bag": _small(theirs["piece_queue"]),
        "index": _small(theirs["queue_index"]),
    }
