"""Tables of what is predicted for accelerators, and of what is measured there."""

import json
import pathlib

from benchmarks import accelerator_report, markdown
from benchmarks.accelerator_stages import FULL, STAGES


def roofline() -> str:
    """Return the work of each part of an update per frame, and the speeds that it allows."""
    rows = []
    for row in markdown.result("roofline")["rows"]:
        cells = []
        for name, part in row["parts"].items():
            limits = [one["parts"][name]["seconds"] for one in row["devices"].values()]
            cells.append(
                [name, f"{part['operations'] / 1e6:,.1f}", f"{part['bytes'] / 1e3:,.0f}", *_nanoseconds(limits)]
            )
        speeds = [f"**{one['frames_per_second'] / 1e6:.2f} M frames/s**" for one in row["devices"].values()]
        label = row["config"].removeprefix("configs/").replace(".py:preset=gpu", "")
        rows += [[f"`{label}`", *cells[0]], *(["", *cell] for cell in cells[1:]), ["", "at most", "", "", *speeds]]
    devices = [f"{name}, ns" for name in markdown.result("roofline")["rows"][0]["devices"]]
    return markdown.table(["configuration", "part", "MFLOP", "kB", *devices], rows)


def _nanoseconds(seconds: list[float]) -> list[str]:
    return [f"{1e9 * value:,.0f}" for value in seconds]


def programs() -> str:
    """Return what the update's program is made of, of each algorithm on each platform."""
    rows = []
    for row in markdown.result("programs")["rows"]:
        sent, loops = row["collectives"], row["time_loops"]
        rows.append(
            [
                row["algorithm"],
                row["platform"],
                *(f"{row[name]:,}" for name in ("operations", "loops", "gathers", "rollout_step", "gradient_step")),
                f"{len(loops)} of {sum(loops.values())} operations" if loops else "none",
                f"{sent['gradient_step']}, {sent['update']}" if sent["update"] else "",
                f"{row['largest_bytes'] / 1e6:,.0f} MB",
            ]
        )
    head = ["algorithm", "platform", "operations", "loops", "gathers", "in a rollout step", "in a gradient step"]
    return markdown.table([*head, "loops in it", "all-reduces in it, in an update", "largest array"], rows)


def compiled_programs() -> str:
    """Return what the compilers of the platforms make of the same programs."""
    rows = []
    for row in markdown.result("programs")["rows"]:
        if found := row.get("compiled"):
            steps = (found[name] for name in ("rollout_step", "gradient_step"))
            per_frame = (found.get(name) for name in ("flops_per_frame", "bytes_per_frame"))
            rows.append(
                [
                    row["algorithm"],
                    f"{found['device']}, preset {row['preset']}",
                    *(f"{step['instructions']:,} ({step['fusions']:,} fusions)" for step in steps),
                    *(f"{found[name] / 1e6:,.0f} MB" for name in ("temporary_bytes", "argument_bytes")),
                    *(f"{value / 1e6:.2f} M" if value else "" for value in per_frame),
                ]
            )
    head = ["algorithm", "compiled for", "instructions in a rollout step", "in a gradient step", "memory", "state"]
    return markdown.table([*head, "operations per frame", "bytes per frame"], rows)


def accelerator() -> str:
    """Return what `benchmarks.accelerator` measures, with its figures where a device has been available."""
    path = markdown.RESULTS / "accelerator.json"
    found = json.loads(path.read_text(encoding="utf-8"))["measurements"] if path.exists() else {}
    planned = [(stage, one.name) for stage, make in STAGES.items() for one in make(FULL, pathlib.Path())]
    return accelerator_report.table(planned, found)
