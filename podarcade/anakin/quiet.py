"""Without what the libraries behind a checkpoint print when one fails; we tell of each failure in a line."""

import contextlib
import gc
import logging
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
