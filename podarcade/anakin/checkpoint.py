"""Checkpoints of the whole state; the only home of orbax."""

import json
import logging
import pathlib
from typing import Any

import jax
from orbax.checkpoint import v1 as ocp


class Checkpoints:
    """The checkpoints of one run, by number of updates.

    A checkpoint holds every leaf of the state (parameters, optimiser, environments, memories, keys) and a
    small dictionary of host-side progress. Writing goes to a temporary directory that is renamed when
    complete, so a killed process leaves the last complete checkpoint in force.
    """

    def __init__(self, directory: str | pathlib.Path, keep: int = 3):
        """Opens, or makes, a directory of checkpoints and keeps the latest `keep`.

        Raises:
          OSError: the directory cannot be made.
        """
        directory = pathlib.Path(directory).absolute()
        directory.mkdir(parents=True, exist_ok=True)
        logging.getLogger("absl").setLevel(logging.ERROR)
        self._checkpointer = ocp.training.Checkpointer(
            directory,
            save_decision_policy=ocp.training.save_decision_policies.FixedIntervalPolicy(1),
            preservation_policy=ocp.training.preservation_policies.LatestN(keep),
            cleanup_tmp_directories=True,
        )

    @property
    def latest(self) -> int | None:
        """Updates of the newest complete checkpoint, None where there is none."""
        newest = self._checkpointer.latest
        return None if newest is None else newest.step

    def save(self, updates: int, state: Any, progress: dict[str, Any]) -> None:
        """Writes a checkpoint, and returns when it is complete. One that exists already is left alone."""
        if self.latest is not None and self.latest >= updates:
            return
        self._checkpointer.save(updates, _flat(state), custom_metadata={"progress": json.dumps(progress)})

    def restore(self, like: Any) -> tuple[Any, dict[str, Any]]:
        """The newest state, placed like `like` (arrays or abstract arrays with shardings), and its progress.

        Raises:
          FileNotFoundError: there is no checkpoint.
        """
        if self.latest is None:
            raise FileNotFoundError("no checkpoint to restore")
        shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), like)
        loaded = self._checkpointer.load(self.latest, _flat(shapes))
        paths, structure = jax.tree_util.tree_flatten_with_path(like)
        # What is empty was not saved, and is no different in any other run.
        state = structure.unflatten(loaded.get(_name(path), leaf) for path, leaf in paths)
        progress = json.loads(self._checkpointer.metadata(self.latest).custom_metadata["progress"])
        return state, progress

    def close(self) -> None:
        """Waits for what is under way."""
        self._checkpointer.close()


def _name(path) -> str:
    return jax.tree_util.keystr(path, simple=True, separator=".")


def _flat(tree: Any) -> dict[str, Any]:
    """Leaves by path, without those of no elements, which orbax does not save."""
    return {_name(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(tree) if leaf.size}
