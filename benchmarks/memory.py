"""How fast the memory layers are in each of their forms, and how large they are.

    python -m benchmarks.memory --sizes
    python -m benchmarks.memory
    python -m benchmarks.memory --batches=256 --lengths=128,512 --json=benchmarks/results/memory-gpu.json

Times are of a whole layer, projections included: forward, and forward with the gradients of parameters and inputs.
The forms of a layer take turns, so that whatever else the machine does meets all of them; medians are compared, as
ratios. Every result is returned by the program and summed afterwards; compilation is apart. The diagonal scan is also
timed alone, beside a plain copy of the bytes that it cannot avoid reading and writing. The harness chooses nothing:
the forms behind "auto" are set in podarcade/memory by what it has shown.
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

MEMORIES = flags.DEFINE_list("memories", [], "names of memories; none for all")
LENGTHS = flags.DEFINE_list("lengths", ["16", "64", "128", "256", "512", "1024"], "steps of time")
BATCHES = flags.DEFINE_list("batches", ["16"], "sequences at once")
WIDTHS = flags.DEFINE_list("widths", ["256"], "features")
REPEATS = flags.DEFINE_integer("repeats", 5, "repeats of each measurement", lower_bound=1)
SECONDS = flags.DEFINE_float("seconds", 0.1, "about how long a repeat lasts", lower_bound=0.001)
JSON = flags.DEFINE_string("json", "", "file to write the results to; a picture is written beside it")
SIZES = flags.DEFINE_bool("sizes", False, "print the table of sizes, and time nothing")


def measure(programs: dict[str, dict[str, layers.Program]]) -> list[dict]:
    """Times the programs {form: {direction: program}} in turns."""
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
            each = seconds[form, direction]
            row[direction] = {
                "median": statistics.median(each), "low": min(each), "high": max(each),
                "compile_seconds": program.compile_seconds, "temporary_bytes": program.temporary_bytes,
                "checksum": program.checksum,
            }  # fmt: skip
        rows.append(row)
    for direction in ("forward", "forward_backward"):
        checksums = [row[direction]["checksum"] for row in rows]
        if not np.allclose(checksums, checksums[0], rtol=1e-3):
            raise SystemExit(f"error: the forms compute different functions, {direction}: {checksums}")
    return rows


def measure_layer(name: str, length: int, batch: int, width: int) -> list[dict]:
    """All forms of one layer."""
    memory = plugins.find("memory", name)
    options = [{"form": form} for form in memory.FORMS] or [{}]
    programs = {
        option.get("form", "only"): layers.layer_programs(memory(width=width, **option), length, batch)
        for option in options
    }
    about = {"memory": name, "length": length, "batch": batch, "width": width}
    return [about | row for row in measure(programs)]


def measure_scan(length: int, batch: int, states: int) -> list[dict]:
    """All forms of the diagonal scan alone, and what a copy of the unavoidable bytes takes."""
    programs = {form: layers.scan_programs(form, length, batch, states) for form in scan.FORMS}
    number = 8 * length * batch * states  # bytes of so many complex numbers
    # Forward reads a and b and writes h; backward reads a, h and g and writes two gradients.
    about = {
        "memory": "scan alone", "length": length, "batch": batch, "width": states,
        "copy_forward": layers.copy_seconds(2 * number, number),
        "copy_forward_backward": layers.copy_seconds(5 * number, 3 * number),
    }  # fmt: skip
    return [about | row for row in measure(programs)]


def lines(rows: list[dict]) -> str:
    """One setting as text: milliseconds of each form, and how many times the first form's speed that is."""
    text = []
    for row in rows:
        both, forward = row["forward_backward"], row["forward"]
        times = rows[0]["forward_backward"]["median"] / both["median"]
        text.append(
            f"{row['memory']:20}{row['length']:6}{row['batch']:6}{row['width']:6}  {row['form']:12}"
            f"{1e3 * forward['median']:10.2f}{1e3 * both['median']:10.2f}{times:8.2f}"
            f"{both['compile_seconds']:9.1f}{both['temporary_bytes'] / 2**20:9.1f}"
        )
        if "copy_forward" in row:
            shares = [row[f"copy_{way}"] / row[way]["median"] for way in ("forward", "forward_backward")]
            text[-1] += f"   copy / scan: {shares[0]:.2f} {shares[1]:.2f}"
    return "\n".join(text)


def draw(rows: list[dict], path: pathlib.Path) -> None:
    """One panel per layer: microseconds per step and sequence, forward and backward, against length."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    first = rows[0]
    rows = [row for row in rows if (row["batch"], row["width"]) == (first["batch"], first["width"])]
    names = list(dict.fromkeys(row["memory"] for row in rows))
    colours = {"sequential": "tab:blue", "associative": "tab:orange", "chunked": "tab:green", "only": "tab:grey"}
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
                each = [1e6 * row["forward_backward"]["median"] / row["length"] / row["batch"] for row in chosen]
                axis.plot(lengths, each, "o-", color=colour, label=form, markersize=3)
        axis.set(title=name, xscale="log", yscale="log")
        axis.set_xticks([16, 64, 256, 1024], ["16", "64", "256", "1024"])
        axis.minorticks_off()
        axis.grid(alpha=0.3)
        axis.legend(fontsize=7)
    figure.supxlabel("steps of time")
    figure.supylabel(f"µs per step and sequence, forward and backward; batch {first['batch']}, width {first['width']}")
    figure.tight_layout(rect=(0.02, 0, 1, 1))
    figure.savefig(path, dpi=80)


def write(path: pathlib.Path, rows: list[dict]) -> None:
    """Keeps the results with all they depend on."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {"date": datetime.date.today().isoformat(), **provenance.of(sys.argv)}
    write_json(path, content | {"repeats": REPEATS.value, "seconds": SECONDS.value, "rows": rows})


def print_sizes(names: list[str]) -> None:
    """The table of sizes, once as wide as each other and once with as many parameters."""
    print(f"{'memory':20}{'width':>6}  {'size':20}{'parameters':>12}{'carry, bytes':>14}{'flops/step':>12}")
    for width, match in itertools.product(map(int, WIDTHS.value), ("width", "parameters")):
        print(f"equal {match}")
        for name in names:
            row = layers.size_row(name, plugins.find("memory", name), width, match)
            counts = f"{row['parameters']:12,}{row['carry_bytes']:14,}{row['flops_per_step']:12,}"
            print(f"{name:20}{width:6}  {row['size']:20}{counts}", flush=True)


def print_speeds(names: list[str]) -> None:
    """Measures every setting, and writes what it has after each."""
    print(f"{jax.devices()[0].device_kind}, jax {jax.__version__}")
    print(
        f"{'memory':20}{'steps':>6}{'batch':>6}{'width':>6}  {'form':12}{'fwd ms':>10}{'f+b ms':>10}{'times':>8}"
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
        try:
            draw(rows, pathlib.Path(JSON.value).with_suffix(".png"))
        except ModuleNotFoundError:
            print("no picture: it needs the extra, pip install -e '.[bench]'")


def main(_) -> None:
    """Sizes or speeds."""
    try:
        names = MEMORIES.value or plugins.names("memory")
        for name in names:
            plugins.find("memory", name)
    except ValueError as error:
        raise SystemExit(f"error: {error}") from None
    (print_sizes if SIZES.value else print_speeds)(names)


if __name__ == "__main__":
    app.run(main)
