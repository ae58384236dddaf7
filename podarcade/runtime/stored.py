"""Reading checkpoints: their records, and some or all of their arrays, verified. Nothing is written.

A run may be read while it trains: a checkpoint directory named after an update count is whole, but it may be removed
while it is read, when newer ones replace it.
"""

import hashlib
import json
import pathlib
import re
import time
from typing import Any, NamedTuple

import jax
import numpy as np
from orbax.checkpoint import v1 as ocp

from podarcade.runtime import output
from podarcade.runtime.digests import digests
from podarcade.runtime.failures import one_line

ATTEMPTS = 6  # times that a checkpoint is chosen and read: it may be removed meanwhile
PAUSE = 0.5  # seconds between them


class Damaged(Exception):
    """A checkpoint is corrupt."""


class Stored(NamedTuple):
    """A part of a checkpoint.

    Attributes:
      updates: number of updates after which it was saved.
      arrays: NumPy arrays by dotted path, without the part of the path that was asked for.
      record: the checkpoint's record: progress, digests, configuration and versions of the run.
    """

    updates: int
    arrays: dict[str, np.ndarray]
    record: dict[str, Any]


def steps(directory: pathlib.Path) -> list[int]:
    """Return the update counts of the complete checkpoints in a directory in ascending order."""
    return sorted(int(path.name) for path in directory.iterdir() if path.name.isdecimal())


def read_record(path: pathlib.Path) -> dict[str, Any]:
    """Return the record of a checkpoint.

    Raises:
      ValueError: it differs from what was saved.
      Exception: of many kinds, from orbax, where it cannot be read.
    """
    custom = ocp.metadata(path).custom_metadata
    if sha256(custom["record"]) != custom["sha256"]:
        raise ValueError("its record differs from what was saved")
    return json.loads(custom["record"])


def record(path: pathlib.Path) -> dict[str, Any]:
    """Return the record of a checkpoint; raise ValueError, in one line, where it cannot be read."""
    try:
        with output.silenced_orbax():
            return read_record(path)
    except Exception as error:  # orbax raises many kinds of errors for unreadable files
        raise ValueError(f"the checkpoint {path} cannot be read ({one_line(error)})") from None


def sha256(text: str) -> str:
    """Return the SHA-256 digest of a text, hexadecimal."""
    return hashlib.sha256(text.encode()).hexdigest()


def verify(saved: dict[str, Any], leaves: dict[str, Any]) -> None:
    """Compare arrays with the digests that a record holds of them; all processes of a run must call this.

    Raises:
      Damaged: some arrays differ.
    """
    found = digests(leaves)
    wrong = [name for name, digest in found.items() if digest != saved["digests"][name]]
    if wrong:
        raise Damaged(f"{len(wrong)} of {len(found)} arrays differ from what was saved, the first is {wrong[0]}")


def read(directory: pathlib.Path, step: str | int, prefix: str) -> Stored:
    """Return a part of a checkpoint, on the first device of this process.

    Args:
      directory: holds the checkpoints of a run.
      step: "latest"; "best", the newest of the highest score; or a number of updates, which may be text.
      prefix: dotted path of the part, as "learner.params"; "" for everything.

    Raises:
      ValueError: there is no such checkpoint, or it is corrupt; the message is one line.
    """
    directory, failed = directory.absolute(), None
    for _ in range(ATTEMPTS):
        path = directory / str(choose(directory, step))
        try:
            with output.silenced_orbax():
                return _read(path, prefix)
        except (MemoryError, jax.errors.JaxRuntimeError):
            raise
        except Exception as error:  # orbax raises many kinds of errors for unreadable files
            # What a run replaces by newer ones vanishes file by file: only what fails again is corrupt.
            if path == failed and path.exists():
                others = [other for other in steps(directory) if str(other) != path.name]
                remedy = f"; others: {', '.join(map(str, others))}" if others else ""
                raise ValueError(f"the checkpoint {path} is corrupt ({one_line(error)}){remedy}") from None
            failed = path
            time.sleep(PAUSE)
    raise ValueError(f"the checkpoints in {directory} are removed faster than they can be read; try again")


def choose(directory: pathlib.Path, step: str | int) -> int:
    """Return the update count of a checkpoint that exists; arguments and errors as of `read`."""
    found = steps(directory) if directory.is_dir() else []
    if not found:
        raise ValueError(f"{directory} holds no checkpoint yet; expected a run that has saved one")
    if step == "latest":
        return found[-1]
    if step == "best":
        return _best(directory, found)
    if not str(step).isdecimal() or int(step) not in found:
        raise ValueError(f"step={step!r}; expected latest, best, or one of {', '.join(map(str, found))} in {directory}")
    return int(step)


def _best(directory: pathlib.Path, found: list[int]) -> int:
    scores = {}
    with output.silenced_orbax():
        for updates in found:
            try:
                scores[updates] = read_record(directory / str(updates)).get("score")
            except Exception:  # removed meanwhile, or unreadable: then it is not the best
                continue
    known = {updates: score for updates, score in scores.items() if score is not None}
    if not known:
        raise ValueError(f"step='best', but no checkpoint in {directory} has a score; use step='latest'")
    return max(known, key=lambda updates: (known[updates], updates))


def _read(path: pathlib.Path, prefix: str) -> Stored:
    saved = read_record(path)
    device = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    prefix = f"{prefix}." if prefix else ""
    expected = {
        name: jax.ShapeDtypeStruct(*_shape_and_dtype(signature), sharding=device)
        for name, signature in saved["leaves"].items()
        if name.startswith(prefix)
    }
    partial = ocp.options.PyTreeOptions(loading=ocp.options.PyTreeOptions.Loading(partial_load=True))
    with ocp.Context(pytree_options=partial):
        leaves = ocp.load(path, expected)
    verify(saved, leaves)
    arrays = {name.removeprefix(prefix): np.asarray(leaf) for name, leaf in leaves.items()}
    return Stored(int(path.name), arrays, saved)


def _shape_and_dtype(signature: str) -> tuple[tuple[int, ...], np.dtype]:
    """Read a signature of `leaves.signatures`: "float32[1, 128]"."""
    dtype, sizes = re.fullmatch(r"(\w+)\[([\d, ]*)\]", signature).groups()
    return tuple(int(size) for size in sizes.split(",") if size.strip()), jax.numpy.dtype(dtype)
