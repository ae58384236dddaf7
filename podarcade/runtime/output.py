"""Standard output and the messages of libraries: nothing that is printed, or cannot be, ends or clutters a run."""

import contextlib
import gc
import logging
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any


class _SilencedHook:
    """A `sys.unraisablehook` without the errors that pending writes of a failed save raise once nobody awaits them."""

    def __init__(self, previous: Callable[[Any], None]):
        self._previous = previous

    def __call__(self, unraisable: Any) -> None:
        if "Event loop is closed" not in str(unraisable.exc_value):
            self._previous(unraisable)


def silence_orbax() -> None:
    """Suppress orbax's log and its unraisable errors; a failed save is reported by our own warning, in one line."""
    logging.getLogger("absl").setLevel(logging.CRITICAL + 1)
    if not isinstance(sys.unraisablehook, _SilencedHook):
        sys.unraisablehook = _SilencedHook(sys.unraisablehook)


@contextlib.contextmanager
def silenced_orbax() -> Iterator[None]:
    """Do what `silence_orbax` and `silenced_tasks` do, for the time of reading in another program."""
    logger, hook = logging.getLogger("absl"), sys.unraisablehook
    level = logger.level
    try:
        silence_orbax()
        with silenced_tasks():
            yield
    finally:
        logger.setLevel(level)
        sys.unraisablehook = hook


@contextlib.contextmanager
def silenced_tasks() -> Iterator[None]:
    """Suppress the tracebacks of asyncio tasks that orbax abandons when another task has failed."""
    logger, hook = logging.getLogger("asyncio"), sys.unraisablehook
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    sys.unraisablehook = lambda _: None
    try:
        yield
        gc.collect()  # an abandoned task reports its exception when it is collected
    finally:
        logger.setLevel(level)
        sys.unraisablehook = hook


@contextlib.contextmanager
def silenced_native_output() -> Iterator[None]:
    """Suppress what C++ libraries print, such as gloo's line per process on the first collective."""
    sys.stdout.flush()
    sys.stderr.flush()
    saved = [os.dup(number) for number in (1, 2)]
    devnull = os.open(os.devnull, os.O_WRONLY)
    try:
        for number in (1, 2):
            os.dup2(devnull, number)
        yield
    finally:
        for number, descriptor in zip((1, 2), saved, strict=True):
            os.dup2(descriptor, number)
            os.close(descriptor)
        os.close(devnull)


class _LossyStream:
    """A text stream that drops what it cannot write: neither a full disk nor a closed pipe raises."""

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


def tolerate_broken_streams() -> None:
    """Make stdout and stderr lossy, so that printing never raises.

    Text is dropped where the stream is full or closed, and characters that its encoding lacks are printed as "?".
    """
    _reserve_standard_descriptors()
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # the process was started with the descriptor closed
            stream = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, open until the process ends
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
        setattr(sys, name, _LossyStream(stream))


def _reserve_standard_descriptors() -> None:
    """Open descriptors 0, 1 and 2 if closed: a file of the run must not become the standard output of a library."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
