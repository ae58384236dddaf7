"""Failures that the processes of a run announce to each other.

When one of several processes fails, the others see a broken connection, wait in a collective for ever, or are aborted
by jax with a C++ stack trace; none of these names the cause. So a process that fails announces its failure in the
key-value store of jax's coordination service. The first failure announced is printed, and every other process exits
silently with the same code.
"""

import contextlib
import json
import threading
import time
from collections.abc import Callable
from typing import Any

import jax

from podarcade.runtime.failures import Failure

LOOK = 0.5  # seconds between polls for the failure of another process
PATIENCE = 5.0  # seconds a process waits for the announcement of another one
FAREWELL = 10.0  # seconds the coordinator waits for the others to exit: they look for announcements and then wait
_FAILED, _LEFT = "podarcade/failed", "podarcade/left"


class PeerFailed(Exception):
    """Another process of the run failed in a step that all take together."""


def announce(error: BaseException, failure: Failure) -> Failure | None:
    """Announce that this process fails.

    A broken connection is usually the effect of a failure elsewhere, which is given some time to be announced.

    Args:
      error: what was raised in this process.
      failure: how it is classified.

    Returns:
      The failure of another process, which that process prints; None if this process is to print its own.
    """
    client = _client()
    if client is None:
        return None
    is_effect = failure.is_retryable or isinstance(error, PeerFailed)
    deadline = time.monotonic() + (PATIENCE if is_effect else 0.0)
    while (cause := _announced()) is None and time.monotonic() < deadline:
        time.sleep(LOOK / 10)
    if cause is None or (cause.is_retryable and not failure.is_retryable):
        try:
            client.key_value_set(_FAILED, json.dumps(failure), allow_overwrite=cause is not None)
            return None
        except jax.errors.JaxRuntimeError:  # another process was quicker, or the coordinator is gone
            cause = _announced()
    return cause


def depart() -> None:
    """Record that this process exits after a failure; the coordinator waits until the others have exited.

    Without its coordinator a process is aborted by jax, with a C++ stack trace.
    """
    client = _client()
    if client is None:
        return
    with contextlib.suppress(jax.errors.JaxRuntimeError):
        client.key_value_set(f"{_LEFT}/{jax.process_index()}", "yes", allow_overwrite=True)
        if jax.process_index() == 0:
            deadline = time.monotonic() + FAREWELL
            while len(client.key_value_dir_get(_LEFT)) < jax.process_count() and time.monotonic() < deadline:
                time.sleep(LOOK / 10)
            time.sleep(LOOK)  # the last one has recorded that it exits, and still has to


class Watch:
    """Thread that ends this process when another one has failed; a context manager.

    A process that notices the failure itself, by a broken collective, exits by its own means before that.

    Args:
      leave: called with the exit code, from the thread; does not return.
    """

    def __init__(self, leave: Callable[[int], Any]):
        self._leave = leave
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="peers", daemon=True)

    def __enter__(self):
        if _client() is not None:
            self._thread.start()
        return self

    def __exit__(self, *error):
        self._stop.set()

    def _watch(self) -> None:
        while not self._stop.wait(LOOK):
            failure = _announced()
            if failure is not None and not self._stop.wait(PATIENCE / 2):
                self._leave(failure.exit_code)


def _client() -> Any:
    """Return the client of the coordination service; None in a run of one process.

    No public interface of jax reaches its key-value store. Where the private one has moved, failures are not announced:
    the other processes then report a lost process instead of the cause.
    """
    try:
        from jax._src import distributed

        return distributed.global_state.client
    except (ImportError, AttributeError):
        return None


def _announced() -> Failure | None:
    """Return the announced failure; None if there is none, or the coordinator does not answer."""
    try:
        return Failure(*json.loads(_client().key_value_try_get(_FAILED)))
    except jax.errors.JaxRuntimeError:
        return None
