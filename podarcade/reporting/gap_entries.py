"""Gap and Bias of one memory: on a task from its runs, and over tasks; `gap_bias` has the definitions."""

import dataclasses
import functools
from collections.abc import Callable

import numpy as np

from podarcade.reporting import aggregates, published, results, statistics


@dataclasses.dataclass(frozen=True)
class Cell:
    """Returns of one run: a memory on one twin of a task.

    Attributes:
      row: as `results` makes it.
      values: float[S], of the final parameters on fresh starts where all runs on the task have that, else `end`.
      published: float[S], POPGym Arcade's value of the run (`published.run_return`).
      is_fresh: whether `values` are of fresh starts.
      is_trained: whether `published` is of training returns, else of greedy evaluations.
    """

    row: dict
    values: np.ndarray
    published: np.ndarray
    is_fresh: bool
    is_trained: bool

    def on(self, scale: Callable) -> np.ndarray:
        """Return the values on a scale of `SCALES`."""
        return scale(self.row, self.values)


def raw(row: dict, values: np.ndarray) -> np.ndarray:
    """Return returns as they are."""
    return values


def normalised(row: dict, values: np.ndarray) -> np.ndarray:
    """Return returns on POPGym Arcade's scale."""
    return results.normalised(values, row["task"]["game"])


def share(row: dict, values: np.ndarray) -> np.ndarray | None:
    """Return returns as shares of what memory is worth on the partial twin, as `bounds.Bounds.share` has it, or None.

    It is 0 at the best known memoryless policy and 1 at the best known one with memory; None where a bound is unknown
    or memory is worth nothing.
    """
    known = results.bounds_of(row)
    return known.share(values) if known else None


SCALES = {"on POPGym Arcade's scale": normalised, "in shares of what memory is worth": share}


@dataclasses.dataclass(frozen=True)
class Entry:
    """A memory on a task: its runs on both twins, and those of its control.

    Attributes:
      task: game and level.
      variant: name.
      control: name of the variant without memory that it is compared with; its own name for a control; "" if none.
      partial, full: runs of the memory.
      control_partial, control_full: runs of the control.
    """

    task: str
    variant: str
    control: str
    partial: Cell | None
    full: Cell | None
    control_partial: Cell | None
    control_full: Cell | None

    @property
    def is_control(self) -> bool:
        """Whether this is a network without memory, whose Bias is 0 by definition."""
        return self.control == self.variant

    @property
    def is_complete(self) -> bool:
        """Whether Gap and Bias are known."""
        return None not in (self.partial, self.full, self.control_full)

    @property
    def cells(self) -> list[Cell]:
        """Independent runs: partial, full, and the control's on the full twin unless that is the same run."""
        return [self.partial, self.full] + ([] if self.is_control else [self.control_full])

    @property
    def weights(self) -> np.ndarray:
        """Weights of the cells in J(f, partial), Gap and Bias, float[3, cells]."""
        whole = np.asarray([[1.0, 0, 0], [-1, 1, 0], [0, 1, -1]])
        return whole[:, :2] * [[1], [1], [0]] if self.is_control else whole

    def gap(self) -> statistics.Interval | None:
        """Return the Observability Gap with Welch's interval, None if a run is missing."""
        return difference(self.full, self.partial)

    def bias(self) -> statistics.Interval | None:
        """Return the Memory Bias with Welch's interval, None if a run is missing; that of a control is 0."""
        if self.is_control and self.full:
            return statistics.combination([self.full.values], [0.0])
        return difference(self.full, self.control_full)

    def as_published(self) -> tuple[published.Estimate, ...]:
        """Return J(f, partial), Gap and Bias of a complete entry as POPGym Arcade estimates them, raw returns."""
        return _published([self], raw)


def difference(one: Cell | None, other: Cell | None) -> statistics.Interval | None:
    """Return the difference of two runs with Welch's interval, None if one is missing."""
    return statistics.combination([one.values, other.values], [1, -1]) if one and other else None


@dataclasses.dataclass(frozen=True)
class Aggregate:
    """A memory over tasks, on one scale.

    Attributes:
      variant: name.
      tasks: the tasks, game and level.
      is_control: whether its Bias is 0 by definition.
      mean: J(f, partial), Gap and Bias, means over tasks with Satterthwaite's intervals.
      iqm: the same of interquartile means over tasks and seeds, with stratified bootstrap intervals; the identity
        between the three holds for them too.
      region: joint confidence region of the means of Gap and Bias.
      improvement: probability of improvement over the control on the partial and on the full twin; None of a control,
        or where a run is missing.
      published: J(f, partial), Gap and Bias as POPGym Arcade estimates them, on its own scale whatever this one.
    """

    variant: str
    tasks: tuple[str, ...]
    is_control: bool
    mean: tuple[statistics.Interval, ...]
    iqm: tuple[statistics.Interval, ...]
    region: statistics.Region
    improvement: tuple[statistics.Interval | None, statistics.Interval | None]
    published: tuple[published.Estimate, ...]


def aggregate(entries: list[Entry], scale: Callable) -> Aggregate:
    """Return the aggregate of one memory over complete entries, which weigh the same.

    Args:
      entries: of one variant, of distinct tasks.
      scale: of `SCALES`, or `raw`.
    """
    samples = [cell.on(scale) for entry in entries for cell in entry.cells]
    weights = np.concatenate([entry.weights for entry in entries], axis=1) / len(entries)
    return Aggregate(
        entries[0].variant,
        tuple(entry.task for entry in entries),
        entries[0].is_control,
        tuple(statistics.combination(samples, row) for row in weights),
        tuple(aggregates.stratified(samples, functools.partial(_iqm, weights, row)) for row in range(3)),
        statistics.region(samples, weights[1:]),
        (
            _improvement([(entry.partial, entry.control_partial) for entry in entries], scale),
            _improvement([(entry.full, entry.control_full) for entry in entries], scale),
        ),
        _published(entries, normalised),
    )


def _iqm(weights: np.ndarray, row: int, draws: list[np.ndarray]) -> np.ndarray:
    """Return J(f, partial), Gap or Bias (row 0, 1 or 2) of interquartile means, each pooled over all tasks."""
    total = np.zeros(len(draws[0]))
    for sign in (1, -1):
        if kept := [cell for cell, weight in zip(draws, sign * weights[row], strict=True) if weight > 0]:
            total += sign * aggregates.iqm(kept)
    return total


def _improvement(pairs: list[tuple[Cell, Cell | None]], scale: Callable) -> statistics.Interval | None:
    """Return the probability of improvement of the first of each pair over the second, None where one is missing."""
    if any(one is other or other is None for one, other in pairs):
        return None
    cells = [cell.on(scale) for column in zip(*pairs, strict=True) for cell in column]
    half = len(pairs)
    return aggregates.stratified(cells, lambda draws: aggregates.improvement(draws[:half], draws[half:]), draws=1000)


def _published(entries: list[Entry], scale: Callable) -> tuple[published.Estimate, ...]:
    partial, full, control = (
        published.of_tasks([scale(cell.row, cell.published) for cell in cells])
        for cells in zip(*((entry.partial, entry.full, entry.control_full) for entry in entries), strict=True)
    )
    bias = published.difference(full, control)
    own = published.Estimate(0.0, 0.0)  # as published: the Bias of networks without memory is set to 0
    return partial, published.difference(full, partial), own if entries[0].is_control else bias
