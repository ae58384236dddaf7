"""Classification of errors: one line to print, and the exit code.

Exit code 75 asks a scheduler for another attempt, so it is reserved for what another attempt can cure: a process that
died, or a device that became unavailable. jax reports these by status code (UNAVAILABLE, ABORTED, DEADLINE_EXCEEDED),
gloo and NCCL by text. Every other error would occur again and exits with 1.

An error raised by podarcade on purpose explains itself. Any other is preceded by the file and the line it comes from:
the innermost frame of user code (a plug-in, a configuration file), or else of podarcade.
"""

import dis
import logging
import re
import sys
import traceback
from typing import NamedTuple

import jax

from podarcade import tracebacks
from podarcade.runtime.signals import ERROR, REQUEUE

MAX_LENGTH = 1000  # characters of a message
RETRYABLE = re.compile(
    r"^(UNAVAILABLE|ABORTED|DEADLINE_EXCEEDED): "
    # A barrier of jax's coordination service, when a process stops sending heartbeats.
    r"|^INTERNAL: Barrier failed because: .*\b(UNAVAILABLE|ABORTED|DEADLINE_EXCEEDED): "
    # CPU collectives, when the other process closes its socket. Raised as JaxRuntimeError by a compiled program and as
    # ValueError by `process_allgather`.
    r"|^UNKNOWN: Gloo [\w-]+ failed\b"
    r"|remote process exited or there was a network error"  # ncclRemoteError
)
# XLA:CPU reports INTERNAL: ... Out of memory
OUT_OF_MEMORY = re.compile("RESOURCE_EXHAUSTED|out of memory", re.IGNORECASE)
_FRAME = re.compile(r'^  File "(?P<file>.+)", line (?P<line>\d+), in .*$', re.MULTILINE)


class Failure(NamedTuple):
    """Outcome of a command that ended with an error.

    Attributes:
      line: message for the user, one line.
      exit_code: exit code of the process.
    """

    line: str
    exit_code: int

    @property
    def is_retryable(self) -> bool:
        """Whether another attempt can succeed."""
        return self.exit_code == REQUEUE


def one_line(error: BaseException | None, max_length: int = 200) -> str:
    """Return the first line of an error's message.

    Args:
      error: the error, or None.
      max_length: maximum number of characters; longer messages are truncated.

    Returns:
      The line; the name of the error's type if it has no message; "" for None.
    """
    if error is None:
        return ""
    text = (str(error).strip() or type(error).__name__).splitlines()[0]
    return text if len(text) <= max_length else f"{text[:max_length]}..."


def classify(error: BaseException) -> Failure:
    """Return the one-line message and the exit code for an error.

    An exception type may set its exit code as the class attribute `exit_code`.
    """
    text = one_line(error, MAX_LENGTH)
    if (code := getattr(error, "exit_code", None)) is not None:
        return Failure(text, code)
    if (callback := _callback_error(error)) is not None:
        return Failure(callback, ERROR)
    if isinstance(error, MemoryError) or (_is_from_jax(error) and OUT_OF_MEMORY.search(text)):
        remedy = "lower num_envs, raise algorithm.num_minibatches, or set network.encode_chunk"
        return Failure(f"{text}; {remedy}", ERROR)
    if isinstance(error, RuntimeError | ValueError) and RETRYABLE.search(text):
        return Failure(f"lost a process or a device ({text}); re-run the same command to resume", REQUEUE)
    return Failure(text if _is_self_explanatory(error) else tracebacks.describe(error)[:MAX_LENGTH], ERROR)


def show(failure: Failure, error: BaseException, with_traceback: bool = False) -> None:
    """Print a failure to stderr: one line, after the traceback if asked for."""
    if with_traceback:
        traceback.print_exception(error)
    print(f"error: {failure.line}", file=sys.stderr, flush=True)


def mute_callback_tracebacks() -> None:
    """Keep jax from logging the traceback of a failed host callback, which `classify` reduces to one line."""
    for module in ("callback", "debugging"):
        logging.getLogger(f"jax._src.{module}").setLevel(logging.CRITICAL)


def _is_from_jax(error: BaseException) -> bool:
    return isinstance(error, jax.errors.JaxRuntimeError)


def _callback_error(error: BaseException) -> str | None:
    """Return the error that a host callback raised; None if this is not one.

    XLA reports such an error as the text of its traceback, without source lines.
    """
    text = str(error)
    if not _is_from_jax(error) or "Traceback (most recent call last):" not in text:
        return None
    frames = list(_FRAME.finditer(text))
    if not frames:
        return None
    rest = text[frames[-1].end() :].splitlines()
    raised = next((line for line in rest if line and not line.startswith(" ")), "a host callback failed")
    place = tracebacks.innermost([(frame["file"], int(frame["line"])) for frame in frames])
    return f"{place}: {raised[:MAX_LENGTH]}"


def _is_self_explanatory(error: BaseException) -> bool:
    """Return whether an error's message was written for the user.

    So it was if its type is podarcade's or absl's, if it is an error of the operating system, or if it was raised by a
    `raise` of podarcade that no user code called; an `assert` does not count.
    """
    frames = list(traceback.walk_tb(error.__traceback__))
    kinds = {tracebacks.owner(frame.f_code.co_filename) for frame, _ in frames}
    module = sys.modules.get(type(error).__module__)
    if (
        type(error).__module__.startswith("absl.")
        or tracebacks.owner(getattr(module, "__file__", None) or "<none>") == "podarcade"
    ):
        return True
    if kinds & {"user", "installed"} or isinstance(error, AssertionError):
        return False
    return isinstance(error, OSError) or not frames or _is_raised_by_podarcade(error)


def _is_raised_by_podarcade(error: BaseException) -> bool:
    last = error.__traceback__
    while last.tb_next is not None:
        last = last.tb_next
    code = last.tb_frame.f_code
    raises = code.co_code[last.tb_lasti] == dis.opmap["RAISE_VARARGS"]
    return raises and tracebacks.owner(code.co_filename) == "podarcade"
