"""Without what the libraries behind a checkpoint print when one fails; we tell of each failure in a line."""

import contextlib
import gc
import logging
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any


class _Unraisable:
    """In place of `sys.unraisablehook`: of a save that has failed every write tells, once nobody waits for it."""

    def __init__(self, before: Callable[[Any], None]):
        self._before = before

    def __call__(self, unraisable: Any) -> None:
        if "Event loop is closed" not in str(unraisable.exc_value):
            self._before(unraisable)


def install() -> None:
    """From now on orbax logs no pages of traceback, and writes that nobody waits for any more say nothing."""
    logging.getLogger("absl").setLevel(logging.CRITICAL + 1)
    if not isinstance(sys.unraisablehook, _Unraisable):
        sys.unraisablehook = _Unraisable(sys.unraisablehook)


@contextlib.contextmanager
def muted() -> Iterator[None]:
    """Without the tracebacks that tasks of orbax leave behind when another of them has failed."""
    logger, hook = logging.getLogger("asyncio"), sys.unraisablehook
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    sys.unraisablehook = lambda _: None
    try:
        yield
        gc.collect()  # a task tells of its failure when it is forgotten
    finally:
        logger.setLevel(level)
        sys.unraisablehook = hook


@contextlib.contextmanager
def without_native_output() -> Iterator[None]:
    """Without what libraries in C++ print: each process says of its first collective that it is connected."""
    sys.stdout.flush()
    sys.stderr.flush()
    kept = [os.dup(number) for number in (1, 2)]
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        for number in (1, 2):
            os.dup2(nowhere, number)
        yield
    finally:
        for number, before in zip((1, 2), kept, strict=True):
            os.dup2(before, number)
            os.close(before)
        os.close(nowhere)


class _Steadfast:
    """A stream that loses what it cannot write: neither a full disk nor a closed pipe ends a run that talks."""

    def __init__(self, stream: Any):
        self._stream = stream

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def outlive_listeners() -> None:
    """From now on what is printed may get lost, and raises nothing."""
    sys.stdout, sys.stderr = _Steadfast(sys.stdout), _Steadfast(sys.stderr)
