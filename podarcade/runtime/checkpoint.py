"""Checkpoints of the whole state; the only home of orbax.

orbax writes in the background, in every process its share, into a temporary directory that is renamed when complete:
what is called by a number of updates is whole. What orbax does not do is done here: a flipped bit or a changed dtype
would be restored without a word, and a save that failed would be tried only when the next one is due.
"""

import contextlib
import hashlib
import json
import operator
import pathlib
import shutil
from collections.abc import Callable
from typing import Any

import jax
from orbax.checkpoint import v1 as ocp

from podarcade.runtime import distributed, quiet
from podarcade.runtime.background import Background
from podarcade.runtime.differences import differences
from podarcade.runtime.digests import digests
from podarcade.runtime.leaves import abstract, leaves_of, rebuilt, signatures

PATIENCE = 120.0, 5e6  # seconds, and bytes per second: a save that takes longer has failed
RETRY = 10.0, 600.0  # seconds until a failed save is tried again: the first time, and at most; doubled each time
SPARE = 1 << 20  # bytes that a disk has to have free besides the checkpoint's
TEMPORARY = "*.orbax-checkpoint-tmp"


class Mismatch(ValueError):
    """A whole checkpoint is of another program: other arrays, or another configuration."""


class AllDamaged(ValueError):
    """There are checkpoints, and none of them is what was saved."""


class Damaged(Exception):
    """A checkpoint is not what was saved."""


class Checkpoints:
    """The checkpoints of one run, by number of updates.

    A checkpoint holds every leaf of the state (parameters, optimiser, environments, memories, keys) and a record: the
    digest, shape and dtype of each leaf, host-side progress, and where it comes from. The record carries its own
    digest.

    Args:
      directory: where they are; made when it does not exist.
      keep: how many of the latest are kept.
      keep_every: those whose number of updates is a multiple of this are kept for good; 0 for none.
      origin: {"config": ..., "versions": ...}, what the run is and runs on. Another configuration is refused, other
        versions are told.
      say: is told, in a line, what a person should know.

    Besides, the one with the best score is kept.

    Raises:
      OSError: the directory cannot be made.
    """

    def __init__(
        self,
        directory: str | pathlib.Path,
        keep: int = 3,
        keep_every: int = 0,
        origin: dict[str, Any] | None = None,
        say: Callable[[str], None] = print,
    ):
        self.directory = pathlib.Path(directory).absolute()
        self.directory.mkdir(parents=True, exist_ok=True)
        self._origin = origin or {}
        self.say = say
        policies = ocp.training.preservation_policies
        latest = policies.LatestN(keep)
        best = policies.BestN(get_metric_fn=operator.itemgetter("score"), n=1, keep_checkpoints_without_metrics=False)
        for_good = [policies.EveryNSteps(keep_every)] if keep_every else []
        self._policy = policies.AnyPreservationPolicy([latest, best, *for_good])
        self._saver: ocp.training.Checkpointer | None = None
        self._updates = 0  # of the last save
        self._background = Background(RETRY, self._failed)
        self._opened = 0  # how often orbax was, since a failure has it opened anew
        quiet.install()

    def steps(self) -> list[int]:
        """The numbers of updates of the complete checkpoints, in ascending order."""
        return sorted(int(path.name) for path in self.directory.iterdir() if path.name.isdecimal())

    # Saving.

    def save(self, updates: int, state: Any, progress: dict[str, Any], score: float | None = None) -> None:
        """Begins to write a checkpoint; the state may be changed when this returns.

        Waits for the save before this one. A failure is told, what it left is removed, and `wanted` comes to be true
        some time later. A checkpoint that exists already is left alone.

        Args:
          updates: how many the state has behind it.
          state: a tree of arrays.
          progress: what the host counts, for JSON.
          score: how good it is; the checkpoint with the highest is kept.
        """
        self.finish()
        if distributed.max_over_processes(updates in self._steps_if_any()):
            self._background.succeed()  # a failure to tidy up, perhaps, behind a checkpoint that is complete
            return
        leaves = leaves_of(state)
        text = json.dumps(
            {"progress": progress, "leaves": signatures(leaves), "digests": digests(leaves), **self._origin}
        )
        kept = {
            "metrics": None if score is None else {"score": score},
            "custom_metadata": {"record": text, "sha256": _sha256(text)},
        }
        self._updates, size = updates, _bytes(leaves)
        try:
            # Nobody begins what another process cannot: orbax would have them wait for each other.
            distributed.run_on_all_processes(lambda: self._check_space(size))
            response = distributed.run_on_all_processes(lambda: self._begin(size, updates, leaves, kept), Exception)
        except Exception as error:  # whatever a disk does, training goes on
            self._background.fail(distributed.first_failure(error))
        else:
            self._background.begin(response.result)

    def prepare(self, state: Any) -> None:
        """Compiles and opens what the first save would have training wait for; `state` is like those to come."""
        leaves = leaves_of(state)
        digests(leaves)
        try:
            distributed.run_on_all_processes(lambda: self._open(_bytes(leaves)), Exception)
        except Exception:  # the first save tries again, and tells
            self._shut()

    def finish(self) -> bool:
        """Waits for what is under way, in all processes; whether the last save that was asked for is complete."""
        return self._background.finish()

    def wanted(self, due: bool) -> bool:
        """Whether to save now: where one is due, or where one has failed and may be tried again; does not wait."""
        return self._background.wanted(due)

    def close(self) -> None:
        """Waits for what this process has under way, and lets go of it."""
        self._background.close()
        self._shut()

    def _failed(self, why: str) -> None:
        # After a failure orbax counts a checkpoint that is not there; a new one looks at the disk again.
        self._shut()
        if distributed.is_first_process():
            for path in self.directory.glob(TEMPORARY):
                shutil.rmtree(path, ignore_errors=True)
        newest = ", ".join(f"that after {updates} updates" for updates in self._steps_if_any()[-1:]) or "none"
        self.say(
            f"WARNING: no checkpoint after {self._updates} updates ({why}); the next attempt is in "
            f"{self._background.delay:.0f} s or more, and the newest checkpoint is {newest}"
        )

    def _begin(self, size: int, updates: int, leaves: dict[str, Any], kept: dict[str, Any]) -> Any:
        response = self._open(size).save_async(updates, leaves, **kept)
        if response is None:  # by orbax's rules there is nothing to save
            raise OSError(f"there is a checkpoint of more than {updates} updates in {self.directory}")
        return response

    def _steps_if_any(self) -> list[int]:
        """None where the directory cannot be read; for saving alone: a run must not begin anew because of that."""
        try:
            return self.steps()
        except OSError:
            return []

    def _check_space(self, size: int) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        need, free = size + SPARE, shutil.disk_usage(self.directory).free
        if free < need:
            raise OSError(f"{self.directory} has {free / 1e6:.0f} MB free, and a checkpoint takes {need / 1e6:.0f} MB")

    def _open(self, size: int) -> ocp.training.Checkpointer:
        if self._saver is None:
            self._opened += 1
            patience = ocp.options.AsyncOptions(timeout_secs=round(PATIENCE[0] + size / PATIENCE[1]))
            # Where processes wait for each other in vain once, they would do so again under the same name.
            names = ocp.options.MultiprocessingOptions(barrier_sync_key_prefix=f"checkpoints{self._opened}")
            self._saver = ocp.training.Checkpointer(
                self.directory,
                context=ocp.Context(async_options=patience, multiprocessing_options=names),
                save_decision_policy=ocp.training.save_decision_policies.FixedIntervalPolicy(1),
                preservation_policy=self._policy,
                cleanup_tmp_directories=True,
            )
        return self._saver

    def _shut(self) -> None:
        saver, self._saver = self._saver, None
        if saver is not None:
            with contextlib.suppress(Exception):  # the failure that has been told
                saver.close()

    # Restoring.

    def restore(self, like: Any) -> tuple[Any, dict[str, Any]] | None:
        """The newest state that is as it was saved, and its progress; None where there is no checkpoint.

        One that is damaged is told, and set aside under another name, for the next time its number comes up.

        Args:
          like: arrays, or abstract arrays with shardings: what the state has to be, and where it is placed.

        Raises:
          Mismatch: the newest whole checkpoint is of another program; says what differs.
          AllDamaged: there are checkpoints, and none is whole.
        """
        # The first process chooses: a network file system may show another one an older list.
        first = distributed.is_first_process()
        while (updates := distributed.max_over_processes(max(self.steps(), default=-1) if first else -1)) >= 0:
            try:
                return self._load(updates, like)
            except Damaged as error:
                self.say(f"WARNING: the checkpoint after {updates} updates is damaged: {error}")
                self._set_aside(updates)
        # Not as if there had never been one: a run that begins anew empties its metrics.
        if distributed.max_over_processes(first and any(self.directory.glob("damaged-*"))):
            raise AllDamaged(
                f"all checkpoints in {self.directory} are damaged, and set aside; nothing was removed: "
                "give another --workdir to start anew"
            )
        return None

    def _load(self, updates: int, like: Any) -> tuple[Any, dict[str, Any]]:
        path, wanted = self.directory / str(updates), leaves_of(abstract(like))
        record = _attempt(lambda: _read_record(path))
        if told := differences(record["leaves"], signatures(wanted)):
            raise Mismatch(f"the checkpoint {path} does not fit this program ({told}); give another --workdir")
        if told := differences(record.get("config", {}), self._origin.get("config", {})):
            raise Mismatch(f"the checkpoint {path} is of another configuration ({told}); give another --workdir")
        if told := differences(record.get("versions", {}), self._origin.get("versions", {})):
            self.say(f"note: saved with other versions ({told}); what follows may round otherwise")
        leaves = _attempt(lambda: ocp.load(path, wanted))
        found = digests(leaves)
        wrong = [name for name, digest in record["digests"].items() if digest != found[name]]
        if wrong:
            raise Damaged(f"{len(wrong)} of {len(found)} arrays are not what was saved, {wrong[0]} the first of them")
        return rebuilt(like, leaves), record["progress"]

    def _set_aside(self, updates: int) -> None:
        if distributed.is_first_process():
            aside = self.directory / f"damaged-{updates}"
            shutil.rmtree(aside, ignore_errors=True)
            (self.directory / str(updates)).rename(aside)
        distributed.barrier("set aside")


def _attempt(read: Callable[[], Any]) -> Any:
    """What `read` reads; raises Damaged in all processes when one of them cannot.

    Running out of memory is no damage.
    """
    result, error = None, None
    with quiet.muted():
        try:
            result = read()
        except (MemoryError, jax.errors.JaxRuntimeError):
            raise
        except Exception as raised:  # orbax raises all sorts of errors over what it cannot read
            error = raised
    if distributed.max_over_processes(error is not None):
        raise Damaged(distributed.first_failure(error)) from error
    return result


def _bytes(leaves: dict[str, Any]) -> int:
    return sum(leaf.nbytes for leaf in leaves.values())


def _read_record(path: pathlib.Path) -> dict[str, Any]:
    custom = ocp.metadata(path).custom_metadata
    if _sha256(custom["record"]) != custom["sha256"]:
        raise ValueError("its record is not what was saved")
    return json.loads(custom["record"])


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
