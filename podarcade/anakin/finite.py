"""The guard of the update: a gradient step that is not finite changes nothing, is counted, and tells what it met."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import struct

from podarcade.anakin import sharding
from podarcade.types import Learner, Trajectory


@struct.dataclass
class Range:
    """The values of an array; a complex one by its moduli. Infinity and minus infinity where none is finite."""

    nonfinite: jax.Array  # int32[]  how many are NaN or infinite
    lowest: jax.Array  # float32[]  of the finite ones
    highest: jax.Array  # float32[]


@struct.dataclass
class Report:
    """What the guard met in the gradient steps of one update, per seed."""

    skipped: jax.Array  # int32[]  steps that were skipped in this update
    step: jax.Array  # int32[]  the first whose gradient was not finite, -1 where there is none
    loss: jax.Array  # float32[]  there
    gradient_norm: jax.Array  # float32[]  there
    batch: dict[str, Range]  # what its minibatch held: game states, rewards, memories, targets


def empty(learner: Learner, batch: Trajectory) -> Report:
    """The report of an update that has just begun, whose batches are like this one."""
    none = jnp.zeros_like(learner.updates)
    zero = none.astype(jnp.float32)
    ranges = jax.tree.map(lambda x: sharding.vary(x, sharding.AXES), _ranges(batch))
    return Report(skipped=none, step=none - 1, loss=zero, gradient_norm=zero, batch=ranges)


def keep_finite(
    before: Learner, after: Learner, means: dict[str, jax.Array], batch: Trajectory, report: Report, step: jax.Array
) -> tuple[Learner, Report, jax.Array]:
    """Undoes a gradient step whose gradient is not finite, or that had nothing to learn from.

    optax.apply_if_finite does the like, but applies the gradient in the end, when its limit is passed. What a finite
    gradient makes of the parameters is looked at by `undo_overflow`, once per update: here it would cost a twentieth
    of the training speed, since the choice could not be made while the optimiser writes.

    Args:
      before: the learner before the step.
      after: the learner after it.
      means: of the step, with `loss`, `transitions` and `gradient_norm`, which is finite only where every element is.
      batch: what it learnt from, this device's share.
      report: of the update so far.
      step: int32[], which of the update's steps it is.

    Returns:
      The learner to go on with, the report with this step in it, and whether the step was kept, bool[].
    """
    finite = jnp.isfinite(means["gradient_norm"])
    first = ~finite & (report.skipped == 0)
    met = Report(report.skipped, step, means["loss"], means["gradient_norm"], _ranges(batch))
    report = _choose(first, met, report)
    report = report.replace(skipped=report.skipped + ~finite)
    kept = finite & (means["transitions"] > 0)
    return _choose(kept, after, before), report, kept


def undo_overflow(
    before: Learner, after: Learner, report: Report, kept: jax.Array
) -> tuple[Learner, Report, jax.Array]:
    """Undoes an update that has made parameters overflow, though its gradients were finite until then.

    Args:
      before: the learner before the update.
      after: the learner after its gradient steps.
      report: of them.
      kept: which of them were kept, bool[steps].

    Returns:
      The learner to go on with, the report, by which all steps were skipped then, and which were kept.
    """
    finite = jnp.isfinite(optax.tree.norm(after.params))
    skipped = jnp.where(finite, report.skipped, len(kept))
    return _choose(finite, after, before), report.replace(skipped=skipped), kept & finite


def finish(report: Report) -> Report:
    """The report over the whole mesh: ranges are each device's own until then."""
    batch = {
        name: Range(sharding.total(found.nonfinite), sharding.lowest(found.lowest), sharding.highest(found.highest))
        for name, found in report.batch.items()
    }
    return report.replace(batch=batch)


def mean(values: jax.Array, kept: jax.Array) -> jax.Array:
    """The mean of values [steps] over the steps that were kept, bool[steps]; NaN where none was."""
    return jnp.sum(jnp.where(kept, values, 0.0)) / jnp.sum(kept)


def describe(report: Report, updates_before: int) -> dict[str, Any] | None:
    """The first skipped gradient step of a call, for JSON; None where none was skipped.

    Args:
      report: on the host, leaves [S, updates].
      updates_before: updates done before the call.
    """
    updates, seeds = np.nonzero(report.skipped.T)  # by update, then by seed
    if not len(updates):
        return None
    place = seeds[0], updates[0]

    def number(x: np.ndarray) -> Any:
        value = x[place].item()
        return value if np.isfinite(value) else str(value)

    batch = {name: {key: number(x) for key, x in vars(found).items()} for name, found in report.batch.items()}
    return {
        "updates": updates_before + int(updates[0]) + 1,
        "seed": int(seeds[0]),
        "gradient_step": number(report.step),
        "loss": number(report.loss),
        "gradient_norm": number(report.gradient_norm),
        "batch": batch,
        "skipped": report.skipped.sum(axis=1).tolist(),
    }


def _choose(condition: jax.Array, one: Any, other: Any) -> Any:
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), one, other)


def _ranges(batch: Trajectory) -> dict[str, Range]:
    """The range of every array of the batch that need not be finite."""
    leaves = jax.tree_util.tree_leaves_with_path(batch)
    return {
        jax.tree_util.keystr(path, simple=True, separator="."): _range(x)
        for path, x in leaves
        if jnp.issubdtype(x.dtype, jnp.inexact) and x.size
    }


def _range(x: jax.Array) -> Range:
    finite = jnp.isfinite(x)
    size = (jnp.abs(x) if jnp.iscomplexobj(x) else x).astype(jnp.float32)
    return Range(
        nonfinite=jnp.sum(~finite, dtype=jnp.int32),
        lowest=jnp.min(size, where=finite, initial=jnp.inf),
        highest=jnp.max(size, where=finite, initial=-jnp.inf),
    )
