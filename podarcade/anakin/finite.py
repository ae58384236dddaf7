"""Non-finite guard: a gradient step with a non-finite gradient changes nothing, is counted, and its batch described."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import struct

from podarcade.anakin import sharding
from podarcade.types import Batch, Learner


@struct.dataclass
class ArrayStats:
    """Range of the values of an array, or of its moduli if complex; (inf, -inf) where no value is finite."""

    nonfinite: jax.Array  # int32[]  number of NaN or infinite values
    lowest: jax.Array  # float32[]  lowest finite value
    highest: jax.Array  # float32[]  highest finite value


@struct.dataclass
class Report:
    """Non-finite gradient steps of one update, per seed."""

    skipped: jax.Array  # int32[]  skipped steps of this update
    step: jax.Array  # int32[]  index of the first step with a non-finite gradient, -1 for none
    loss: jax.Array  # float32[]  at that step
    gradient_norm: jax.Array  # float32[]  at that step
    batch: dict[str, ArrayStats]  # ranges in its minibatch: game states, rewards, carries, targets


def empty(learner: Learner, batch: Batch) -> Report:
    """Return the report of an update without any skipped step, whose minibatches have the shapes of `batch`."""
    none = jnp.zeros_like(learner.updates)
    zero = none.astype(jnp.float32)
    shapes = jax.eval_shape(_array_stats, batch)
    ranges = jax.tree.map(lambda x: sharding.vary(jnp.zeros(x.shape, x.dtype), sharding.AXES), shapes)
    return Report(skipped=none, step=none - 1, loss=zero, gradient_norm=zero, batch=ranges)


def keep_finite(
    before: Learner, after: Learner, means: dict[str, jax.Array], batch: Batch, report: Report, step: jax.Array
) -> tuple[Learner, Report, jax.Array]:
    """Undo a gradient step whose gradient is not finite, or whose transitions are all masked.

    optax.apply_if_finite is similar, but applies the gradient once its limit is exceeded. Whether finite gradients made
    parameters overflow is checked by `undo_overflow` once per update: here it would cost 5 % of the training speed,
    because the selection could not be fused with the optimiser's writes.

    Args:
      before: the learner before the step.
      after: the learner after it.
      means: metrics of the step, among them `loss`, `transitions` and `gradient_norm`, which is finite only if every
        element of the gradient is.
      batch: this device's share of its minibatch.
      report: report of the update so far.
      step: int32[], index of the step within the update.

    Returns:
      The resulting learner, the report including this step, and whether the step was kept, bool[].
    """
    finite = jnp.isfinite(means["gradient_norm"])
    first = ~finite & (report.skipped == 0)
    found = Report(report.skipped, step, means["loss"], means["gradient_norm"], _array_stats(batch))
    report = _where(first, found, report)
    report = report.replace(skipped=report.skipped + (~finite).astype(jnp.int32))
    kept = finite & (means["transitions"] > 0)
    return _where(kept, after, before), report, kept


def undo_overflow(
    before: Learner, after: Learner, report: Report, kept: jax.Array
) -> tuple[Learner, Report, jax.Array]:
    """Undo an update whose parameters overflowed although its gradients were finite.

    Args:
      before: the learner before the update.
      after: the learner after its gradient steps.
      report: report of those steps.
      kept: which steps were kept, bool[steps].

    Returns:
      The resulting learner, the report, in which all steps of an undone update are skipped, and the steps kept.
    """
    finite = jnp.isfinite(optax.tree.norm(after.params))
    skipped = jnp.where(finite, report.skipped, len(kept))
    return _where(finite, after, before), report.replace(skipped=skipped), kept & finite


def finish(report: Report) -> Report:
    """Return the report over the whole mesh; ranges are per device before."""
    nonfinite = sharding.total({name: found.nonfinite for name, found in report.batch.items()})
    # Lowest values are negated, so that all are maxima: one collective.
    limits = sharding.highest({name: (-found.lowest, found.highest) for name, found in report.batch.items()})
    batch = {name: ArrayStats(nonfinite[name], -limits[name][0], limits[name][1]) for name in report.batch}
    return report.replace(batch=batch)


def mean(values: jax.Array, kept: jax.Array) -> jax.Array:
    """Return the mean of values [steps] over the kept steps, bool[steps]; NaN if none was kept."""
    return jnp.sum(jnp.where(kept, values, 0.0)) / jnp.sum(kept, dtype=jnp.int32)


def describe(report: Report, updates_before: int) -> dict[str, Any] | None:
    """Return the first skipped gradient step of a call as JSON data; None if none was skipped.

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


def _where(condition: jax.Array, one: Any, other: Any) -> Any:
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), one, other)


def _array_stats(batch: Batch) -> dict[str, ArrayStats]:
    """Return the range of every floating-point array of the batch."""
    per_sequence = {name: value for name, value in vars(batch).items() if name != "slots"}
    leaves = jax.tree_util.tree_leaves_with_path(vars(batch.slots) | per_sequence)
    return {
        jax.tree_util.keystr(path, simple=True, separator="."): _stats(x)
        for path, x in leaves
        if jnp.issubdtype(x.dtype, jnp.inexact) and x.size
    }


def _stats(x: jax.Array) -> ArrayStats:
    finite = jnp.isfinite(x)
    size = (jnp.abs(x) if jnp.iscomplexobj(x) else x).astype(jnp.float32)
    return ArrayStats(
        nonfinite=jnp.sum(~finite, dtype=jnp.int32),
        lowest=jnp.min(size, where=finite, initial=jnp.inf),
        highest=jnp.max(size, where=finite, initial=-jnp.inf),
    )
