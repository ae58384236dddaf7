"""Results of training benchmarks: rates, table, summary, figure. This module defines no flags."""

import pathlib
import statistics
from collections.abc import Sequence

COLUMNS = ("game", "twin", "memory", "trunk", "encoder", "dtype", "envs", "rollout_length", "seeds", "preset", "size")
UNITS = {"envs": "{} envs", "rollout_length": "{} steps", "seeds": "{} seeds", "size": "{} px"}
WORDS = UNITS | {
    "twin": "{} twin", "memory": "memory {}", "trunk": "trunk {}", "encoder": "encoder {}", "preset": "preset {}",
}  # fmt: skip
HEADER = (
    f"{'configuration':84}{'frames/s (low to high)':>28}{'host %':>8}{'MFLOP/fr.':>11}{'GFLOP/s':>9}{'of peak':>8}"
    f"{'B/step':>8}{'peak MB':>9}{'params':>11}{'comp. s':>8}{'released/s':>12}{'times':>7}"
)


def rates(measured: Sequence[dict]) -> dict:
    """Return frames per second over the repeats: median, lowest and highest.

    Args:
      measured: "frames" and "seconds" of each repeat.
    """
    each = sorted(one["frames"] / one["seconds"] for one in measured)
    return {"median": statistics.median(each), "low": each[0], "high": each[-1], "repeats": len(each)}


def derived(row: dict, measured: Sequence[dict]) -> dict:
    """Return the figures derived from a row and its repeats.

    FLOP/frame = FLOP per update / (seeds x envs x rollout)       per slot, restarts included
    FLOP/s     = FLOP per update x updates / seconds              median of the repeats
    of peak    = FLOP/s / measured peak of a product of square matrices
    """
    slots = row["seeds"] * row["envs"] * row["rollout_length"]
    updates = row["calls"] * row["updates_per_call"]
    seconds = statistics.median(one["seconds"] for one in measured)
    achieved = row["flops"]["update"] * updates / seconds
    return {
        "frames_per_second": rates(measured),
        "flops_per_frame": {part: count / slots for part, count in row["flops"].items()},
        "flops_per_second": achieved,
        "of_peak": {dtype: achieved / peak for dtype, peak in row["matmul_peak"].items()},
    }


def label(row: dict, columns: Sequence[str] = COLUMNS[:9], words: dict[str, str] = UNITS) -> str:
    """Return a configuration as one line; a single seed is not mentioned."""
    parts = [words.get(name, "{}").format(row[name]) for name in columns if name != "seeds" or row[name] > 1]
    return (", " if words is WORDS else " ").join(parts)


def _spread(speed: dict) -> str:
    return f"{speed['median']:,.1f} ({speed['low']:,.1f} to {speed['high']:,.1f})"


def line(row: dict) -> str:
    """Return a row of the table."""
    speed, kept = row["frames_per_second"], row["stored_bytes"]
    text = (
        f"{label(row):84}{_spread(speed):>28}"
        f"{100 * row['host']['share']:8.2f}{row['flops_per_frame']['update'] / 1e6:11,.1f}"
        f"{row['flops_per_second'] / 1e9:9,.1f}{row['of_peak'][row['dtype']]:8.1%}"
        f"{kept['latent'] + kept['bookkeeping']:8,.0f}{row['peak_bytes'] / 2**20:9,.0f}{row['parameters']:11,}"
        f"{row['compile_seconds']:8.1f}"
    )
    if "released" in row:
        text += f"{row['released']['frames_per_second']['median']:12,.2f}{row['times_released']:7.1f}"
    return text


def parts(row: dict) -> list[str]:
    """Return a line for each part of an update, of what was measured with --parts: time, share, rate of products."""
    found = row.get("parts", {})
    lines = []
    for name, part in found.items():
        rate = part["operations"] / part["seconds"] if part["operations"] and part["seconds"] > 0 else 0.0
        products = f"{rate / 1e9:9,.1f} GFLOP/s{rate / row['matmul_peak'][row['dtype']]:8.1%}" if rate else ""
        share = part["seconds"] / found["update"]["seconds"]
        lines.append(f"    {name:30}{1e3 * part['seconds']:10,.1f} ms{share:8.1%}{products}")
    return lines


def summary(rows: Sequence[dict]) -> dict:
    """Return geometric means over the rows, with the speed-up over the released trainer where it was measured."""
    speeds = [row["frames_per_second"]["median"] for row in rows]
    found = {"rows": len(rows), "frames_per_second": statistics.geometric_mean(speeds)}
    times = [row["times_released"] for row in rows if "released" in row]
    if times:
        theirs = [row["released"]["frames_per_second"]["median"] for row in rows if "released" in row]
        found["released_frames_per_second"] = statistics.geometric_mean(theirs)
        found |= {"times_released": statistics.geometric_mean(times), "minimum_times_released": min(times)}
    return found


def captions(rows: Sequence[dict]) -> tuple[list[str], str]:
    """Return what differs in each row and what all rows share; a single change from the first row stands alone."""
    varying = [name for name in COLUMNS if len({row[name] for row in rows}) > 1] or ["game"]
    changes = [[name for name in varying if row[name] != rows[0][name]] for row in rows]
    if any(len(change) > 1 for change in changes):
        changes = [varying] * len(rows)
    each = [label(row, change or varying, WORDS) or "1 seed" for row, change in zip(rows, changes, strict=True)]
    return each, label(rows[0], [name for name in COLUMNS if name not in varying], WORDS)


def draw(rows: Sequence[dict], device: str, path: pathlib.Path) -> None:
    """Draw frames per second of each configuration as bars, beside the released trainer's where it was measured."""
    from matplotlib.figure import Figure

    names, fixed = captions(rows)
    released = [{"place": at, **row["released"]} for at, row in enumerate(rows) if "released" in row]
    figure = Figure(figsize=(8, (0.5 if released else 0.28) * len(rows) + 1.7), layout="constrained")
    axes = figure.subplots()
    ours = [{"place": at, **row} for at, row in enumerate(rows)]
    shift = 0.19 if released else 0.0
    _bars(axes, ours, -shift, "podarcade", "#0072b2")
    _bars(axes, released, shift, "released trainer, popgym-arcade 0.0.7", "#e69f00")
    medians = [row["frames_per_second"]["median"] for row in [*ours, *released]]
    if max(medians) > 100 * min(medians):
        axes.set_xscale("log")
    axes.set_yticks(range(len(rows)), names, fontsize=8)
    axes.margins(x=0.18)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlabel("frames per second of training: median; line: lowest to highest repeat", fontsize=8)
    figure.suptitle(f"Whole updates: act, step, draw and learn; {device}\n{fixed}", fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    if released:
        figure.legend(fontsize=7, loc="outside lower center", ncols=2, frameon=False)
    figure.savefig(path, dpi=130)


def _bars(axes, bars: Sequence[dict], shift: float, name: str, colour: str) -> None:
    """Draw one series of bars, each labelled with its number."""
    speeds, at = [bar["frames_per_second"] for bar in bars], [bar["place"] + shift for bar in bars]
    middle = [speed["median"] for speed in speeds]
    errors = [
        [speed["median"] - speed["low"] for speed in speeds],
        [speed["high"] - speed["median"] for speed in speeds],
    ]
    if bars:
        axes.barh(at, middle, 0.36 if shift else 0.6, xerr=errors, label=name, color=colour, error_kw={"lw": 0.8})
    for place, bar, speed in zip(at, bars, speeds, strict=True):
        text = f"{speed['median']:,.0f}" if speed["median"] >= 100 else f"{speed['median']:,.1f}"
        text += f"   ({bar['times_released']:.1f} times)" if "times_released" in bar else ""
        axes.annotate(text, (speed["high"], place), (4, 0), textcoords="offset points", va="center", fontsize=7)
