"""Contract check of games, made before anything is compiled: each violation is a one-line ValueError."""

import dataclasses
import functools
import inspect
import numbers
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from podarcade.actions import ActionSpace
from podarcade.envs.games import Game
from podarcade.tracebacks import describe

TRACED = (jax.errors.ConcretizationTypeError, jax.errors.TracerArrayConversionError)


def make_game(game_class: type[Game], level: str, **options: Any) -> Game:
    """Return a game at one of its levels, checked against the contract.

    Args:
      game_class: the game.
      level: a key of its `LEVELS`.
      **options: `obs_size`, `rules`, and fields of the game, which replace the values of the level.

    Raises:
      ValueError: an unknown level, a value that the game refuses, or a violation of the contract.
    """
    check_levels(game_class)
    if level not in game_class.LEVELS:
        raise ValueError(
            f"{game_class.__name__} has no level {level!r}; expected one of: {', '.join(game_class.LEVELS)}"
        )
    known = [field.name for field in dataclasses.fields(game_class)]
    if unknown := [name for name in options if name not in known]:
        raise ValueError(f"{game_class.__name__} has no field {unknown[0]!r}; expected one of: {', '.join(known)}")
    game = game_class(**(game_class.LEVELS[level] | options))
    check_game(game)
    return game


def check_levels(game_class: type[Game]) -> None:
    """Check that `LEVELS` maps names of levels to values of the game's own fields.

    Raises:
      ValueError: the first violation.
    """
    name, levels = f"{game_class.__name__}.LEVELS", game_class.LEVELS
    if not isinstance(levels, dict) or not levels:
        raise ValueError(f"{name} is {levels!r}; expected a dict of levels, as in {{'easy': {{'board': 8}}}}")
    shared = {field.name for field in dataclasses.fields(Game)}
    own = [field.name for field in dataclasses.fields(game_class) if field.name not in shared]
    for level, values in levels.items():
        if not isinstance(level, str) or not isinstance(values, dict):
            raise ValueError(f"{name}[{level!r}] is {values!r}; expected a dict of values for the fields of the game")
        if unknown := [key for key in values if key not in own]:
            raise ValueError(f"{name}[{level!r}] sets {unknown[0]!r}; expected fields of its own: {own or 'none'}")
        try:
            game_class(**values)
        except Exception as error:
            raise ValueError(f"{name}[{level!r}] is invalid: {describe(error)}") from error


def check_game(game: Game) -> None:
    """Check a game against the contract of `Game` by abstract evaluation: nothing is compiled, no step is run.

    Raises:
      ValueError: the first violation, in one line that names the class, the method, what it returned and what is
        expected. An exception of the game's own code is its cause (`__cause__`), and the line gives its file and line.
    """
    if not isinstance(game, Game):
        name = game.__name__ if isinstance(game, type) else repr(game)
        raise ValueError(f"{name} is not a game; expected an instance of a subclass of podarcade.envs.games.Game")
    try:
        hash(game)
    except TypeError as error:
        name = type(game).__name__
        raise ValueError(f"{name} cannot be hashed ({error}); expected a frozen dataclass of plain numbers") from error
    _check(game)


@functools.lru_cache(maxsize=256)
def _check(game: Game) -> None:
    if game.LEVELS:
        check_levels(type(game))
    _check_constants(game)
    key = jax.eval_shape(lambda: jax.random.key(0))
    state = _abstract(game, "reset", key)
    _check_state(game, state)
    _check_step(game, state, key)
    _check_frame(game, state)


def _check_constants(game: Game) -> None:
    name, limit, space = type(game).__name__, _attribute(game, "time_limit"), _attribute(game, "actions")
    if hasattr(game, "NUM_ACTIONS"):
        raise ValueError(
            f"{name}.NUM_ACTIONS was renamed; use actions = podarcade.actions.Discrete({game.NUM_ACTIONS})"
        )
    if not isinstance(space, ActionSpace):
        raise ValueError(f"{name}.actions is {space!r}; expected Discrete(n) or Continuous(dim) of podarcade.actions")
    if limit is not None and (not isinstance(limit, numbers.Integral) or isinstance(limit, bool) or limit < 1):
        raise ValueError(f"{name}.time_limit is {limit!r}; expected an int >= 1")
    try:
        low, high = game.RETURNS
        ordered = low <= high
    except (TypeError, ValueError):
        ordered = False
    if not ordered:
        raise ValueError(f"{name}.RETURNS is {game.RETURNS!r}; expected (lowest, highest)")


def _attribute(game: Game, attribute: str) -> Any:
    try:
        return getattr(game, attribute)
    except Exception as error:
        raise ValueError(f"{type(game).__name__}.{attribute} failed: {describe(error)}") from error


def _check_state(game: Game, state: Any) -> None:
    name = type(game).__name__
    for field, meaning in (("time", "steps since reset"), ("score", "the number on top of the frame")):
        value = getattr(state, field, None)
        if not isinstance(value, jax.ShapeDtypeStruct):
            raise ValueError(
                f"{name}.reset returned {_shown(state)} without {field!r}; expected a flax.struct.dataclass "
                f"with {field}: int32[], {meaning}"
            )
        if (value.shape, value.dtype) != ((), jnp.int32):
            raise ValueError(f"{name}.reset returned a state with {field}: {_shown(value)}; expected int32[]")


def _check_step(game: Game, state: Any, key: Any) -> None:
    name, expected = type(game).__name__, "(state, reward float32[], terminal bool[])"
    action = jax.ShapeDtypeStruct(game.actions.shape, game.actions.dtype)
    outcome = _abstract(game, "step", state, action, key)
    if not isinstance(outcome, tuple) or len(outcome) != 3:
        count = f"{len(outcome)} values" if isinstance(outcome, tuple) else _shown(outcome)
        raise ValueError(f"{name}.step returned {count}; expected {expected}")
    new, reward, terminal = outcome
    if getattr(reward, "shape", None) != () or not jnp.issubdtype(reward.dtype, jnp.floating):
        raise ValueError(f"{name}.step returned a reward {_shown(reward)}; expected float32[]")
    if getattr(terminal, "shape", None) != () or terminal.dtype != jnp.bool_:
        raise ValueError(f"{name}.step returned a terminal {_shown(terminal)}; expected bool[]")
    before, after = _leaves(state), _leaves(new)
    if jax.tree.structure(state) != jax.tree.structure(new):
        raise ValueError(
            f"{name}.step changed the state from {_fields(state, before)} to {_fields(new, after)}; "
            "expected the structure that reset returned"
        )
    for field, old in before.items():
        if _shown(old) != _shown(after[field]):
            raise ValueError(
                f"{name}.step changed {field} from {_shown(old)} to {_shown(after[field])}; expected the shape and "
                "dtype that reset returned"
            )


def _leaves(state: Any) -> dict[str, jax.ShapeDtypeStruct]:
    leaves = jax.tree_util.tree_leaves_with_path(state)
    return {jax.tree_util.keystr(path).lstrip(".") or "the state": leaf for path, leaf in leaves}


def _fields(state: Any, leaves: dict[str, jax.ShapeDtypeStruct]) -> str:
    return f"{type(state).__name__}({', '.join(leaves)})"


def _check_frame(game: Game, state: Any) -> None:
    name, side = type(game).__name__, game.obs_size
    expected = f"uint8[{side}, {side}, 3], or float32[D] for a task without pixels"
    try:
        frame = _abstract(game, "draw", state, jax.ShapeDtypeStruct((), jnp.bool_))
    except ValueError as error:
        if not isinstance(error.__cause__, TRACED):
            raise
        _check_twins(game, state)
        raise
    shape, dtype = getattr(frame, "shape", None), getattr(frame, "dtype", None)
    pixels = (shape, dtype) == ((side, side, 3), jnp.uint8)
    vector = dtype == jnp.float32 and len(shape) == 1 and shape[0] > 0
    if not (pixels or vector):
        raise ValueError(f"{name}.draw returned {_shown(frame)}; expected {expected}")


def _check_twins(game: Game, state: Any) -> None:
    """Refuse a `draw` that branches on `partial` in Python and returns a frame of its own shape for each twin."""
    try:
        full, partial = (
            jax.eval_shape(lambda state, twin=twin: game.draw(state, np.bool_(twin)), state) for twin in (False, True)
        )
    except Exception:
        return  # `draw` fails for another reason, which the caller reports
    if _shown(full) != _shown(partial):
        name = type(game).__name__
        raise ValueError(
            f"{name}.draw returned {_shown(full)} for the full twin and {_shown(partial)} for the partial one; "
            "expected the same shape and dtype, as `partial` is traced"
        )


def _abstract(game: Game, method: str, *arguments: Any) -> Any:
    """Return the shapes and dtypes of what a method returns."""
    name = f"{type(game).__name__}.{method}"
    if getattr(type(game), method) is getattr(Game, method):
        raise ValueError(f"{type(game).__name__} has no method {method!r}; expected reset, step and draw")
    try:
        return jax.eval_shape(getattr(game, method), *arguments)
    except Exception as error:
        hint = "; use jnp.where or jax.lax.cond on traced values" if isinstance(error, TRACED) else ""
        raise ValueError(f"{name} failed: {describe(error, _definition(getattr(type(game), method)))}{hint}") from error


def _definition(function: Any) -> tuple[str, int]:
    """Return file and line of a function's definition."""
    code = inspect.unwrap(function).__code__
    return code.co_filename, code.co_firstlineno


def _shown(value: Any) -> str:
    """Return shapes and dtypes as a reader writes them: `int32[4]`, `(float32[], bool[])`, the name of a class."""
    if isinstance(value, jax.ShapeDtypeStruct):
        return f"{value.dtype}[{', '.join(map(str, value.shape))}]"
    if isinstance(value, tuple | list):
        return f"({', '.join(map(_shown, value))})"
    return type(value).__name__ if value is not None else "None"
