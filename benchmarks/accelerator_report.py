"""Results of `benchmarks.accelerator` as lines and as a table. Defines no flags."""

import statistics
from collections.abc import Iterator, Sequence
from typing import Any

from benchmarks import markdown

Found = dict[str, Any]  # a measurement, as the file of results has it


def lines(name: str, found: Found) -> list[str]:
    """Return a measurement as lines: its name, how long it took, and a figure a line."""
    note = f"cut off after {found['seconds']:.0f} s" if found["cut_off"] else f"{found['seconds']:.0f} s"
    head = f"{name} ({note})"
    if "error" in found:
        return [f"{head}: {found['error']}"]
    return [head, *(f"  {label}: {value}" for label, value in figures(found))]


def figures(found: Found) -> Iterator[tuple[str, str]]:
    """Yield label and value of each figure of a measurement; none where it was cut off before its first."""
    if "result" in found:
        yield from _READERS[found["command"][0]](found["result"])


def _environments(result: Found) -> Iterator[tuple[str, str]]:
    for row in result.get("games", ()):
        speed = row["frames_per_second"]["median"]
        share = speed / row["copied_frames_per_second"]["median"]
        at = f"{row['name']}, {row['size']} px, {row['batch']:,} environments"
        yield at, f"{speed:,.0f} frames/s, {share:.0%} of a copy of the frames"
    for row in result.get("tasks", ()):
        yield f"{row['name']}, {row['batch']:,} environments", f"{row['transitions_per_second']['median']:,.0f}/s"


def _memory(result: Found) -> Iterator[tuple[str, str]]:
    for row in result["rows"]:
        seconds = row["forward_backward"]["median"]
        at = f"{row['memory']} {row['form']}, {row['length']} steps x {row['batch']} x {row['width']}"
        share = f", {row['copy_forward_backward'] / seconds:.0%} of a copy" if "copy_forward_backward" in row else ""
        yield at, f"{1e3 * seconds:.2f} ms{share}"


def _training(result: Found) -> Iterator[tuple[str, str]]:
    for row in result["rows"]:
        at = f"{row['game']} {row['encoder']} {row['dtype']}, {row['envs']:,} environments, {row['seeds']} seeds"
        yield (
            at,
            (
                f"{row['frames_per_second']['median']:,.0f} frames/s, {row['of_peak'][row['dtype']]:.1%} of peak, "
                f"host {row['host']['share']:.1%}, {row['peak_bytes'] / 2**30:.1f} GiB, "
                f"compiled in {row['compile_seconds']:.0f} s"
            ),
        )


def _learning(result: Found) -> Iterator[tuple[str, str]]:
    for row in result["runs"]:
        yield row["variant"], f"{statistics.mean(row['fresh']):.3f}, {row['frames_per_second']:,.0f} frames/s"


def _determinism(result: Found) -> Iterator[tuple[str, str]]:
    for row in result["rows"]:
        speed = statistics.mean(row["frames_per_second"])
        yield row["arm"], f"{'repeats' if row['is_same'] else 'does not repeat'} bit for bit, {speed:,.0f} frames/s"


def _checkpoints(result: Found) -> Iterator[tuple[str, str]]:
    for row in result["rows"]:
        yield f"{row['megabytes']:.0f} MB", f"training blocked for {1e3 * row['blocked_seconds']:.0f} ms"


def _probe(result: Found) -> Iterator[tuple[str, str]]:
    for row in result["rows"]:
        yield f"{row['seeds']} seeds", f"{row['frames_per_second']:,.0f} frames/s"


_READERS = {
    "benchmarks.environments": _environments,
    "benchmarks.memory": _memory,
    "benchmarks.training": _training,
    "podarcade.compare": _learning,
    "benchmarks.determinism": _determinism,
    "benchmarks.checkpoints": _checkpoints,
    "podarcade.probe": _probe,
}


def table(planned: Sequence[tuple[int, str]], measurements: dict[str, Found]) -> str:
    """Return all figures as a table; a planned measurement without any says so.

    Args:
      planned: stage and name of each measurement.
      measurements: by name, as the file of results has them.
    """
    rows = []
    for stage, name in planned:
        found = list(figures(measurements[name])) if name in measurements else []
        rows += [[stage, name, label, value] for label, value in found or [("", "not measured yet")]]
    return markdown.table(["stage", "measurement", "setting", "figure"], rows)
