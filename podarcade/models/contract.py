"""Contract checks of memory layers and encoders, by shapes and dtypes only: nothing is computed or compiled."""

import inspect
import pathlib
import traceback
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from podarcade.models.encoders import Encoder
from podarcade.models.memory import Memory
from podarcade.tracebacks import describe

BATCH = 3
LENGTHS = (1, 4)  # steps of time: acting, and learning


def check_memory(memory: Memory) -> None:
    """Check that a layer keeps the `Memory` contract, at T = 1 and at T = 4.

    Raises:
      ValueError: a method is missing, raises, or returns something else than the contract asks for; one line with the
        class, the method, what it returned and what was expected.
    """
    call = "__call__(carry, x, start) -> (carry, y)"
    _check_defined(memory, Memory, initial="initial(batch) -> carry", __call__=call)
    carry = _shapes_of(memory, "initial", lambda: memory.initial(BATCH))
    for path, leaf in jax.tree_util.tree_leaves_with_path(carry):
        if leaf.shape[:1] != (BATCH,):
            at = f" at {jax.tree_util.keystr(path)}" if path else ""
            raise ValueError(
                f"{_name(memory)}.initial({BATCH}) returned {_text(leaf)}{at}; expected arrays whose first axis is the "
                f"batch, {BATCH}"
            )
    key = jax.eval_shape(lambda: jax.random.key(0))
    params = None
    for length in LENGTHS:
        x = jax.ShapeDtypeStruct((length, BATCH, memory.width), jnp.float32)
        start = jax.ShapeDtypeStruct((length, BATCH), bool)
        if params is None:
            params = _shapes_of(memory, "__call__", memory.init, key, carry, x, start)
        result = _shapes_of(memory, "__call__", memory.apply, params, carry, x, start)
        if not (isinstance(result, tuple) and len(result) == 2):
            raise ValueError(f"{_name(memory)}.__call__ returned {_text(result)}; expected a pair (carry, y)")
        _check_carry(memory, carry, result[0])
        if _text(result[1]) != _text(x):
            raise ValueError(
                f"{_name(memory)}.__call__ returned y {_text(result[1])} for x {_text(x)}; expected the shape and "
                "dtype of x, [T, B, width]"
            )


def check_encoder(encoder: Encoder, side: int = 128) -> None:
    """Check that an encoder keeps the `Encoder` contract, for uint8 and for float32 frames.

    Args:
      encoder: the module.
      side: height and width of a frame in pixels.

    Raises:
      ValueError: `__call__` is missing, raises, or does not return float32[N, features]; one line with the class, what
        was returned and what was expected.
    """
    _check_defined(encoder, Encoder, __call__="__call__(frames) -> features")
    key = jax.eval_shape(lambda: jax.random.key(0))
    params = None
    for dtype in (jnp.uint8, jnp.float32):
        frames = jax.ShapeDtypeStruct((BATCH, side, side, 3), dtype)
        if params is None:
            params = _shapes_of(encoder, "__call__", encoder.init, key, frames)
        features = _shapes_of(encoder, "__call__", encoder.apply, params, frames)
        shape = getattr(features, "shape", ())
        if len(shape) != 2 or shape[0] != BATCH or features.dtype != jnp.float32:
            raise ValueError(
                f"{_name(encoder)}.__call__ returned {_text(features)} for frames {_text(frames)}; expected "
                f"float32[{BATCH}, features]"
            )


def _check_defined(layer: Any, base: type, **methods: str) -> None:
    for method, signature in methods.items():
        if getattr(type(layer), method) is getattr(base, method):
            raise ValueError(f"{_name(layer)} does not define {method}; expected {signature}, see {base.__name__}")


def _check_carry(memory: Memory, before: Any, after: Any) -> None:
    """Check that structure, shapes and dtypes of the carry are unchanged."""
    if jax.tree.structure(before) != jax.tree.structure(after):
        raise ValueError(
            f"{_name(memory)}.__call__ returned carry {_text(after)}; expected {_text(before)}, as in initial"
        )
    for (path, old), new in zip(jax.tree_util.tree_leaves_with_path(before), jax.tree.leaves(after), strict=True):
        if _text(old) != _text(new):
            leaf = f"carry{jax.tree_util.keystr(path)}"
            raise ValueError(
                f"{_name(memory)}.__call__ returned {leaf} as {_text(new)}; expected {_text(old)}, as in initial"
            )


def _shapes_of(layer: Any, method: str, function: Callable, *arguments: Any) -> Any:
    """Trace a function to the shapes of its results; an exception becomes one line about the layer's own code."""
    try:
        return jax.eval_shape(function, *arguments)
    except Exception as error:
        if _is_own_message(error):
            raise
        place = inspect.getsourcefile(type(layer)), None
        raise ValueError(f"{_name(layer)}.{method} failed: {describe(error, place)}") from error


def _is_own_message(error: Exception) -> bool:
    """Whether a layer of this package rejected its options by a `raise` of its own."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    package = str(pathlib.Path(__file__).parent)
    return isinstance(error, ValueError) and last.filename.startswith(package) and last.line.startswith("raise")


def _name(layer: Any) -> str:
    return type(layer).__name__


def _text(tree: Any) -> str:
    """Return shapes and dtypes of a tree, e.g. (float32[3, 8], int32[3])."""

    class Leaf(str):
        __slots__ = ()
        __repr__ = str.__str__

    return str(jax.tree.map(lambda leaf: Leaf(f"{leaf.dtype}{list(leaf.shape)}"), tree))
