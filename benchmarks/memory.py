"""Benchmark of the memory layers: speed of every form, and a table of sizes.

    python -m benchmarks.memory --sizes
    python -m benchmarks.memory
    python -m benchmarks.memory --batches=256 --lengths=128,512 --json=benchmarks/results/memory-gpu.json

Times are those of a whole layer including its projections: forward, and forward with the gradients of parameters and
inputs. The forms of a layer are measured in turns, so that other load on the machine affects all of them; the reported
ratios are of medians. Each program returns all of its results, which are summed afterwards; compilation is timed
separately. The diagonal scan is also timed on its own, next to a copy of the bytes that it must read and write. The
fused form is left out on a CPU, which interprets it. The benchmark does not set the forms behind "auto": those are
fixed in podarcade/models/memory, based on its results.
"""

import datetime
import itertools
import pathlib
import statistics
import sys

import jax
import numpy as np
from absl import app, flags

from benchmarks import layers
from podarcade import plugins
from podarcade.models.memory import scan
from podarcade.runtime import provenance
from podarcade.runtime.run_files import write_json

MEMORIES = flags.DEFINE_list("memories", [], "names of memory layers, comma-separated; empty for all")
LENGTHS = flags.DEFINE_list("lengths", ["16", "64", "128", "256", "512", "1024"], "numbers of time steps")
BATCHES = flags.DEFINE_list("batches", ["16"], "batch sizes")
WIDTHS = flags.DEFINE_list("widths", ["256"], "numbers of features")
REPEATS = flags.DEFINE_integer("repeats", 5, "number of repeats of each measurement", lower_bound=1)
SECONDS = flags.DEFINE_float("seconds", 0.1, "target duration of a repeat, in seconds", lower_bound=0.001)
JSON = flags.DEFINE_string("json", "", "file to write the results to; a plot is written next to it")
SIZES = flags.DEFINE_bool("sizes", False, "print the table of sizes only")


def measure(programs: dict[str, dict[str, layers.Program]]) -> list[dict]:
    """Time the programs {form: {direction: program}} in turns; return one row per form.

    Raises:
      SystemExit: the forms compute different functions.
    """
    calls = {
        (form, direction): program.calls_for(SECONDS.value)
        for form, directions in programs.items()
        for direction, program in directions.items()
    }
    seconds = {key: [] for key in calls}
    for _ in range(REPEATS.value):
        for form, direction in calls:
            seconds[form, direction].append(programs[form][direction].seconds(calls[form, direction]))
    rows = []
    for form, directions in programs.items():
        row = {"form": form}
        for direction, program in directions.items():
            times = seconds[form, direction]
            row[direction] = {
                "median": statistics.median(times), "low": min(times), "high": max(times),
                "compile_seconds": program.compile_seconds, "temporary_bytes": program.temporary_bytes,
                "checksum": program.checksum,
            }  # fmt: skip
        rows.append(row)
    for direction in ("forward", "forward_backward"):
        checksums = [row[direction]["checksum"] for row in rows]
        if not np.allclose(checksums, checksums[0], rtol=1e-3):
            raise SystemExit(f"error: the forms compute different functions; checksums of {direction}: {checksums}")
    return rows


def measure_layer(name: str, length: int, batch: int, width: int) -> list[dict]:
    """Measure all forms of one layer."""
    memory = plugins.find("memory", name)
    options = [{"form": form} for form in layers.compiled_forms(memory.FORMS)] or [{}]
    programs = {
        option.get("form", "only"): layers.layer_programs(memory(width=width, **option), length, batch)
        for option in options
    }
    setting = {"memory": name, "length": length, "batch": batch, "width": width}
    return [setting | row for row in measure(programs)]


def measure_scan(length: int, batch: int, states: int) -> list[dict]:
    """Measure all forms of the diagonal scan, and a copy of the bytes that it must read and write."""
    programs = {form: layers.scan_programs(form, length, batch, states) for form in layers.compiled_forms(scan.FORMS)}
    size = 8 * length * batch * states  # bytes of a complex array
    # Forward reads a and b and writes h; backward reads a, h and g and writes two gradients.
    setting = {
        "memory": "scan alone", "length": length, "batch": batch, "width": states,
        "copy_forward": layers.copy_seconds(2 * size, size),
        "copy_forward_backward": layers.copy_seconds(5 * size, 3 * size),
    }  # fmt: skip
    return [setting | row for row in measure(programs)]


def lines(rows: list[dict]) -> str:
    """Format one setting: milliseconds of each form, and its speed relative to the first form."""
    text = []
    for row in rows:
        both, forward = row["forward_backward"], row["forward"]
        speedup = rows[0]["forward_backward"]["median"] / both["median"]
        text.append(
            f"{row['memory']:20}{row['length']:6}{row['batch']:6}{row['width']:6}  {row['form']:12}"
            f"{1e3 * forward['median']:10.2f}{1e3 * both['median']:10.2f}{speedup:8.2f}"
            f"{both['compile_seconds']:9.1f}{both['temporary_bytes'] / 2**20:9.1f}"
        )
        if "copy_forward" in row:
            ratios = [row[f"copy_{key}"] / row[key]["median"] for key in ("forward", "forward_backward")]
            text[-1] += f"   copy / scan: {ratios[0]:.2f} {ratios[1]:.2f}"
    return "\n".join(text)


def draw(rows: list[dict], path: pathlib.Path) -> None:
    """Plot microseconds per step and sequence against length, forward and backward, one panel per layer."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    first = rows[0]
    rows = [row for row in rows if (row["batch"], row["width"]) == (first["batch"], first["width"])]
    names = list(dict.fromkeys(row["memory"] for row in rows))
    colours = {"sequential": "tab:blue", "associative": "tab:orange", "chunked": "tab:green"}
    colours |= {"fused": "tab:red", "only": "tab:grey"}
    columns = 5
    figure, axes = pyplot.subplots(
        -(-len(names) // columns), columns, figsize=(15, 11), sharex=True, sharey=True, squeeze=False
    )
    for axis in axes.flat[len(names) :]:
        axis.axis("off")
    for name, axis in zip(names, axes.flat, strict=False):
        for form, colour in colours.items():
            chosen = [row for row in rows if row["memory"] == name and row["form"] == form]
            if chosen:
                lengths = [row["length"] for row in chosen]
                times = [1e6 * row["forward_backward"]["median"] / row["length"] / row["batch"] for row in chosen]
                axis.plot(lengths, times, "o-", color=colour, label=form, markersize=3)
        axis.set(title=name, xscale="log", yscale="log")
        axis.set_xticks([16, 64, 256, 1024], ["16", "64", "256", "1024"])
        axis.minorticks_off()
        axis.grid(alpha=0.3)
        axis.legend(fontsize=7)
    figure.supxlabel("time steps")
    figure.supylabel(f"µs per step and sequence, forward and backward; batch {first['batch']}, width {first['width']}")
    figure.tight_layout(rect=(0.02, 0, 1, 1))
    figure.savefig(path, dpi=80)


def write(path: pathlib.Path, rows: list[dict]) -> None:
    """Write the results with their provenance."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {"date": datetime.date.today().isoformat(), **provenance.collect(sys.argv)}
    write_json(path, content | {"repeats": REPEATS.value, "seconds": SECONDS.value, "rows": rows})


def print_sizes(names: list[str]) -> None:
    """Print the table of sizes, at equal width and at equal numbers of parameters."""
    print(f"{'memory':20}{'width':>6}  {'size':20}{'parameters':>12}{'carry, bytes':>14}{'flops/step':>12}")
    for width, match in itertools.product(map(int, WIDTHS.value), ("width", "parameters")):
        print(f"equal {match}")
        for name in names:
            row = layers.size_row(name, plugins.find("memory", name), width, match)
            counts = f"{row['parameters']:12,}{row['carry_bytes']:14,}{row['flops_per_step']:12,}"
            print(f"{name:20}{width:6}  {row['size']:20}{counts}", flush=True)


def print_speeds(names: list[str]) -> None:
    """Measure every setting, and write the results after each."""
    print(f"{jax.devices()[0].device_kind}, jax {jax.__version__}")
    print(
        f"{'memory':20}{'steps':>6}{'batch':>6}{'width':>6}  {'form':12}{'fwd ms':>10}{'f+b ms':>10}{'speedup':>8}"
        f"{'compile':>9}{'temp MB':>9}"
    )
    rows = []
    for width, batch in itertools.product(map(int, WIDTHS.value), map(int, BATCHES.value)):
        for name, length in itertools.product([*names, "scan alone"], map(int, LENGTHS.value)):
            alone = name == "scan alone"
            found = measure_scan(length, batch, width) if alone else measure_layer(name, length, batch, width)
            print(lines(found), flush=True)
            rows += found
            if JSON.value:
                write(pathlib.Path(JSON.value), rows)
    if JSON.value:
        draw(rows, pathlib.Path(JSON.value).with_suffix(".png"))


def main(_) -> None:
    """Print sizes or speeds."""
    try:
        names = MEMORIES.value or plugins.names("memory")
        for name in names:
            plugins.find("memory", name)
    except ValueError as error:
        raise SystemExit(f"error: {error}") from None
    (print_sizes if SIZES.value else print_speeds)(names)


if __name__ == "__main__":
    app.run(main)
