"""Checkpoints of the whole training state; written by orbax.

orbax writes in the background, each process its own shards, into a temporary directory that is renamed when complete,
so a directory named after an update count is whole. This module adds what orbax lacks: it detects flipped bits and
changed dtypes, which orbax restores silently, and retries a failed save before the next one is due.

Each save leaks about half a kilobyte of host memory per array: tensorstore (0.1.78 to 0.1.86) never frees the strings
of the JSON that it returns to Python, which orbax asks for. 1,000 saves of 60 arrays take about 50 MB.
"""

import contextlib
import json
import operator
import pathlib
import shutil
from collections.abc import Callable
from typing import Any

import jax
from orbax.checkpoint import v1 as ocp

from podarcade.runtime import distributed, output, stored
from podarcade.runtime.background import BackgroundTask
from podarcade.runtime.differences import differences
from podarcade.runtime.digests import digests
from podarcade.runtime.leaves import abstract, named_leaves, num_bytes, signatures, unflatten_like
from podarcade.runtime.run_files import comparable, extended
from podarcade.runtime.stored import Damaged

TIMEOUT = 120.0, 5e6  # seconds, plus the size divided by bytes per second: a save that takes longer has failed
RETRY = 10.0, 600.0  # seconds until a failed save is retried: initial delay and maximum; doubled on every failure
SPARE = 1 << 20  # bytes of free disk space required besides the size of the checkpoint
TEMPORARY = "*.orbax-checkpoint-tmp"


class Mismatch(ValueError):
    """An intact checkpoint belongs to another program (other arrays) or to another configuration."""


class AllDamaged(ValueError):
    """Every checkpoint of the run is corrupt."""


class Checkpoints:
    """The checkpoints of one run, each named after the number of updates.

    A checkpoint holds every leaf of the state (parameters, optimiser, environments, memories, keys) and a record: the
    digest, shape and dtype of each leaf, the progress counted on the host, and the run's origin. The record carries a
    digest of its own.

    The latest `keep` checkpoints, the one with the best score and every `keep_every`-th are preserved.

    Args:
      directory: holds the checkpoints; created by `restore` or the first save.
      keep: number of latest checkpoints to preserve.
      keep_every: preserve checkpoints whose number of updates is a multiple of it; 0 for none.
      origin: {"config": ..., "versions": ...} of the run. Restoring under another configuration is refused; under
        other versions it logs a note.
      log: called with one-line messages.
    """

    def __init__(
        self,
        directory: str | pathlib.Path,
        keep: int = 3,
        keep_every: int = 0,
        origin: dict[str, Any] | None = None,
        log: Callable[[str], None] = print,
    ):
        self.directory = pathlib.Path(directory).absolute()
        self.log = log
        self._origin = origin or {}
        policies = ocp.training.preservation_policies
        latest = policies.LatestN(keep)
        best = policies.BestN(get_metric_fn=operator.itemgetter("score"), n=1, keep_checkpoints_without_metrics=False)
        periodic = [policies.EveryNSteps(keep_every)] if keep_every else []
        self._policy = policies.AnyPreservationPolicy([latest, best, *periodic])
        self._checkpointer: ocp.training.Checkpointer | None = None
        self._num_opened = 0  # checkpointers so far: a failure replaces the current one
        self._updates = 0  # of the last save
        self._task = BackgroundTask(RETRY, self._on_failure)
        output.silence_orbax()

    def steps(self) -> list[int]:
        """Return the update counts of the complete checkpoints in ascending order."""
        return stored.steps(self.directory)

    # Saving.

    def save(self, updates: int, state: Any, progress: dict[str, Any], score: float | None = None) -> None:
        """Start writing a checkpoint; the state may be donated or changed once this returns.

        Waits for the previous save. A failure is logged and its partial files are removed; `should_save` then returns
        True after a delay. An existing checkpoint is left as it is. All processes must call it.

        Args:
          updates: number of updates of the state, the name of the checkpoint.
          state: pytree of arrays.
          progress: counters of the host, JSON-serialisable.
          score: the checkpoint with the highest score is preserved; None for a state that was not evaluated.
        """
        self.wait()
        if distributed.max_over_processes(updates in self._readable_steps()):
            self._task.mark_complete()  # the checkpoint is complete even if deleting older ones failed
            return
        leaves = named_leaves(state)
        content = {"progress": progress, "leaves": signatures(leaves), "digests": digests(leaves), "score": score}
        record = json.dumps(content | self._origin)
        metadata = {
            "metrics": None if score is None else {"score": score},
            "custom_metadata": {"record": record, "sha256": stored.sha256(record)},
        }
        self._updates, size = updates, num_bytes(leaves)
        try:
            # If one process cannot start, none may: orbax would make the others wait for it.
            distributed.run_on_all_processes(lambda: self._check_space(size))
            response = distributed.run_on_all_processes(lambda: self._start(size, updates, leaves, metadata), Exception)
        except Exception as error:  # training continues whatever the disk does
            self._task.mark_failed(distributed.failure_of_any_process(error))
        else:
            self._task.start(response.result)

    def prepare(self, state: Any) -> None:
        """Compile the digests and open the checkpointer, so that the first save does not delay training.

        Args:
          state: pytree with the shapes, dtypes and shardings of the states to come.
        """
        leaves = named_leaves(state)
        digests(leaves)
        try:
            distributed.run_on_all_processes(lambda: self._open(num_bytes(leaves)), Exception)
        except Exception:  # the first save tries again, and reports it
            self._discard_checkpointer()

    def wait(self) -> bool:
        """Wait for the save in progress in all processes; return whether the last requested save is complete."""
        return self._task.wait()

    def should_save(self, due: bool) -> bool:
        """Return whether to save now: one is due, or a failed one may be retried. Does not wait."""
        return self._task.should_start(due)

    def close(self) -> None:
        """Wait for the save in progress in this process and close the checkpointer."""
        self._task.close()
        self._discard_checkpointer()

    def _on_failure(self, reason: str) -> None:
        # After a failure orbax counts a checkpoint that does not exist; a new checkpointer reads the disk again.
        self._discard_checkpointer()
        if distributed.is_first_process():
            for path in self.directory.glob(TEMPORARY):
                shutil.rmtree(path, ignore_errors=True)
        newest = ", ".join(f"after {updates} updates" for updates in self._readable_steps()[-1:]) or "none"
        self.log(
            f"WARNING: saving the checkpoint after {self._updates} updates failed ({reason}); retrying in "
            f"{self._task.delay:.0f} s or later; newest checkpoint: {newest}"
        )

    def _start(self, size: int, updates: int, leaves: dict[str, Any], metadata: dict[str, Any]) -> Any:
        response = self._open(size).save_async(updates, leaves, **metadata)
        if response is None:  # orbax refuses steps that are not newer than the newest
            raise OSError(f"{self.directory} holds a checkpoint of more than {updates} updates")
        return response

    def _readable_steps(self) -> list[int]:
        """Return `steps`, or none if the directory is unreadable; only for saving: restoring must not start over."""
        try:
            return self.steps()
        except OSError:
            return []

    def _check_space(self, size: int) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        required, free = size + SPARE, shutil.disk_usage(self.directory).free
        if free < required:
            raise OSError(f"{self.directory} has {free / 1e6:.0f} MB free; a checkpoint needs {required / 1e6:.0f} MB")

    def _open(self, size: int) -> ocp.training.Checkpointer:
        if self._checkpointer is None:
            self.directory.mkdir(parents=True, exist_ok=True)
            self._num_opened += 1
            timeout = ocp.options.AsyncOptions(timeout_secs=round(TIMEOUT[0] + size / TIMEOUT[1]))
            # Barriers that timed out once would time out again under the same name.
            names = ocp.options.MultiprocessingOptions(barrier_sync_key_prefix=f"checkpoints{self._num_opened}")
            self._checkpointer = ocp.training.Checkpointer(
                self.directory,
                context=ocp.Context(async_options=timeout, multiprocessing_options=names),
                save_decision_policy=ocp.training.save_decision_policies.FixedIntervalPolicy(1),
                preservation_policy=self._policy,
                cleanup_tmp_directories=True,
            )
        return self._checkpointer

    def _discard_checkpointer(self) -> None:
        checkpointer, self._checkpointer = self._checkpointer, None
        if checkpointer is not None:
            with contextlib.suppress(Exception):  # the failure was already reported
                checkpointer.close()

    # Restoring.

    def check(self, like: Any) -> None:
        """Compare the newest readable checkpoint with this run, without restoring or writing anything.

        Args:
          like: pytree of arrays, or of abstract arrays: the state of this run.

        Raises:
          Mismatch: the checkpoint belongs to another program or configuration; the message says what differs.
        """
        for updates in reversed(self._readable_steps()):
            path = self.directory / str(updates)
            # An unreadable checkpoint is reported by `restore`, which falls back to an older one.
            with output.silenced_tasks(), contextlib.suppress(Exception):
                record = stored.read_record(path)
                break
        else:
            return
        self._compare(path, record, named_leaves(like))

    def restore(self, like: Any) -> tuple[Any, dict[str, Any]] | None:
        """Return the newest intact state and its progress, or None if there is no checkpoint.

        Corrupt checkpoints are reported and quarantined under the name damaged-UPDATES. All processes must call it; the
        first one chooses, since a network file system may show the others an older list.

        Args:
          like: pytree of arrays, or of abstract arrays with shardings: the state to restore and its placement.

        Raises:
          Mismatch: the newest intact checkpoint belongs to another program or configuration.
          AllDamaged: every checkpoint is corrupt.
          OSError: the directory cannot be created or read.
        """
        self.directory.mkdir(parents=True, exist_ok=True)
        first = distributed.is_first_process()
        while (updates := distributed.max_over_processes(max(self.steps(), default=-1) if first else -1)) >= 0:
            try:
                return self._load(updates, like)
            except Damaged as error:
                self.log(f"WARNING: the checkpoint after {updates} updates is corrupt ({error}); quarantined")
                self._quarantine(updates)
        # Starting over would empty the metrics of the run.
        if distributed.max_over_processes(first and any(self.directory.glob("damaged-*"))):
            raise AllDamaged(
                f"all checkpoints in {self.directory} are corrupt; they were renamed to damaged-*, none was removed; "
                "choose another --workdir to start over"
            )
        return None

    def _load(self, updates: int, like: Any) -> tuple[Any, dict[str, Any]]:
        path, expected = self.directory / str(updates), named_leaves(abstract(like))
        record = _read_on_all_processes(lambda: stored.read_record(path))
        self._compare(path, record, expected)
        if different := differences(record.get("versions", {}), self._origin.get("versions", {})):
            self.log(f"note: the checkpoint was saved with other versions ({different}); results may round differently")
        leaves = _read_on_all_processes(lambda: ocp.load(path, expected))
        stored.verify(record, leaves)
        return unflatten_like(like, leaves), record["progress"]

    def _compare(self, path: pathlib.Path, record: dict[str, Any], expected: dict[str, Any]) -> None:
        """Raise Mismatch unless a record is of these leaves and this configuration."""
        if different := differences(record["leaves"], signatures(expected)):
            raise Mismatch(f"the checkpoint {path} does not fit this program ({different}); choose another --workdir")
        saved, now = (content.get("config", {}) for content in (record, self._origin))
        if different := differences(comparable(extended(saved, now)) if now else saved, now):
            raise Mismatch(f"the checkpoint {path} has another configuration ({different}); choose another --workdir")

    def _quarantine(self, updates: int) -> None:
        if distributed.is_first_process():
            target = self.directory / f"damaged-{updates}"
            shutil.rmtree(target, ignore_errors=True)
            (self.directory / str(updates)).rename(target)
        distributed.barrier("quarantine")


def _read_on_all_processes(read: Callable[[], Any]) -> Any:
    """Return what `read` returns; raise Damaged in all processes if any of them cannot read.

    Running out of memory is not corruption.
    """
    result, error = None, None
    with output.silenced_tasks():
        try:
            result = read()
        except (MemoryError, jax.errors.JaxRuntimeError):
            raise
        except Exception as raised:  # orbax raises many kinds of errors for unreadable files
            error = raised
    if distributed.max_over_processes(error is not None):
        raise Damaged(distributed.failure_of_any_process(error)) from error
    return result
