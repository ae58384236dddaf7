"""Tables and figure of the scaling benchmark: measurements and predictions."""

import pathlib

from benchmarks import collectives, links

COLOURS = {"weak": "#0072b2", "strong": "#e69f00"}
PREDICTION = "PREDICTION, not measured: rings at the vendors' peak figures, no overlap, no other traffic"
FABRIC_STYLES = (("#0072b2", "o"), ("#e69f00", "s"), ("#009e73", "^"), ("#cc79a7", "v"), ("#56b4e9", "x"))


HEADER = (
    f"{'scaling':8}{'devices':>8}{'envs':>8}  {'frames/s (low to high)':28}{'of one':>8}{'ideal':>7}{'efficient':>11}"
    f"{'s/update':>10}{'compile':>9}{'warm-up':>9}  same as one device"
)


def measured(rows: list[dict]) -> list[str]:
    """Return the table of measurements."""
    text = [HEADER] if rows else []
    for scaling in ("weak", "strong"):
        for row in (row for row in rows if scaling in row["scalings"]):
            speed = row["frames_per_second"]
            rate = f"{speed['median']:,.0f} ({speed['low']:,.0f} to {speed['high']:,.0f})"
            same = {True: "yes", False: "NO"}[row["same_as_one_device"]] if scaling == "strong" else "other sizes"
            text.append(
                f"{scaling:8}{row['devices']:8}{row['num_envs']:8,}  {rate:28}{row['ratio']:8.2f}{row['ideal_ratio']:7}"
                f"{row['efficiency']:11.0%}{row['update_seconds']:10.3f}{row['compile_seconds']:9.1f}"
                f"{row['warm_up_seconds']:9.1f}  {same}"
            )
    return text


def traffic(found: dict) -> list[str]:
    """Return lines on the all-reduced bytes, counted in both ways."""
    parts, text = found["from_parameters"], found["from_text"]
    sums = " + ".join(f"{part['times']} x {part['bytes']:,} ({part['what']})" for part in parts["parts"])
    operations = " + ".join(
        " x ".join([*(str(trips or "?") for trips in one["loops"]), f"{one['size']:,}"]) for one in text["operations"]
    )
    operations = f"({operations}) / {text['updates']} updates" if text["updates"] > 1 else operations
    others = "".join(f"; {number} {kind}" for kind, number in text["others"].items())
    return [
        "bytes all-reduced per device and update",
        f"  by the parameters  {parts['bytes']:14,.0f} = {sums}",
        f"  by the program     {text['bytes']:14,.0f} = {operations or 'nothing'}{others}",
        f"  these {'agree' if found['agree'] else 'DO NOT AGREE'}. The program of {found['devices']} devices has "
        f"{len(text['operations'])} all-reduces in its text; loops around them (updates, gradient steps) are factors.",
        *([f"  {text['unknown_loops']} are in loops of unknown trip count"] if text["unknown_loops"] else []),
    ]


def predicted(result: dict) -> list[str]:
    """Return the table of predictions."""
    prediction, envs = result["prediction"], result["envs"]
    seconds, source = prediction["compute_seconds"], prediction["compute_from"]
    text = [
        prediction["what"],
        f"  compute: {seconds:.4g} s per update of {envs:,} environments on one device, {source}",
        f"  {'links':34}{'devices':>8}  {'rings':12}{'all-reduce, ms':>15}{'weak':>9}{'strong':>9}",
    ]
    for row in prediction["rows"]:
        rings = " x ".join(str(ring["devices"]) for ring in row["rings"])
        strong = "-" if row["strong_efficiency"] is None else f"{row['strong_efficiency']:.1%}"
        text.append(
            f"  {row['fabric']:34}{row['devices']:8}  {rings:12}{1e3 * row['communication_seconds']:15.3f}"
            f"{row['weak_efficiency']:9.1%}{strong:>9}"
        )
    if source.endswith(" cpu"):
        text.append("  CPU compute is slow, which flatters all links: pass --compute_seconds of an accelerator")
    return [*text, f"  -: {envs:,} environments can be sharded over at most {result['max_shards']} devices"]


def draw(result: dict, path: pathlib.Path) -> None:
    """Draw measured frames per second, if any, and the predicted efficiencies of weak and strong scaling."""
    from matplotlib.figure import Figure

    panels = 3 if result["rows"] else 2
    figure = Figure(figsize=(5 * panels, 4.8), layout="constrained")
    axes = figure.subplots(1, panels)
    if result["rows"]:
        _draw_measured(axes[0], result)
    _draw_predicted(axes[-2], result, "weak")
    _draw_predicted(axes[-1], result, "strong")
    handles, labels = axes[-2].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, fontsize=8, frameon=False)
    figure.savefig(path, dpi=100)


def _draw_measured(axes, result: dict) -> None:
    shared, kind = result["shared"], result["devices"][0]
    where = f"devices of one thread each on {result['concurrent_devices']} cores" if shared else kind
    axes.set_title(f"MEASURED: {where}\n{result['config']}", fontsize=9)
    axes.set(xlabel="devices", ylabel="frames per second, all devices")
    rows = result["rows"]
    for scaling, colour in COLOURS.items():
        chosen = [row for row in rows if scaling in row["scalings"]]
        speeds = [row["frames_per_second"] for row in chosen]
        middle = [speed["median"] for speed in speeds]
        errors = [[s["median"] - s["low"] for s in speeds], [s["high"] - s["median"] for s in speeds]]
        at = [row["devices"] for row in chosen]
        label = f"{scaling}, {result['envs']:,} environments {'per device' if scaling == 'weak' else 'in total'}"
        axes.errorbar(at, middle, errors, fmt="o-", color=colour, capsize=3, label=label)
    alone = rows[0]["frames_per_second"]["median"]
    limit = result["concurrent_devices"]
    ideal = f"ideal: n times one device, {limit} times at most" if shared else "ideal: n times one device"
    counts = sorted({row["devices"] for row in rows})
    axes.plot(counts, [alone * min(n, limit) for n in counts], ":", color="grey", label=ideal)
    axes.set_xscale("log", base=2)
    axes.set_xticks(counts, map(str, counts))
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8, loc="lower left")


def _draw_predicted(axes, result: dict, scaling: str) -> None:
    prediction = result["prediction"]
    largest = max(row["devices"] for row in prediction["rows"])
    counts = [2**power for power in range(largest.bit_length()) if 2**power <= largest]
    parts = result["traffic"]["from_parameters"]["parts"]
    rows = links.predict(prediction["compute_seconds"], collectives.messages(parts), counts, result["max_shards"])
    for fabric, (colour, marker) in zip(links.FABRICS, FABRIC_STYLES, strict=True):
        chosen = [row for row in rows if row["fabric"] == fabric.name and row[f"{scaling}_efficiency"] is not None]
        axes.plot(
            [row["devices"] for row in chosen], [row[f"{scaling}_efficiency"] for row in chosen],
            f"{marker}-", color=colour, markersize=4, label=f"PREDICTED: {fabric.name}",
        )  # fmt: skip
    measured = [] if result["shared"] else [row for row in result["rows"] if scaling in row["scalings"]]
    if measured:
        points = [row["devices"] for row in measured], [row["efficiency"] for row in measured]
        axes.plot(*points, "k*", markersize=10, label="measured here")
    if scaling == "strong" and result["max_shards"] < largest:
        line = axes.axvline(result["max_shards"], color="grey", ls=":")
        axes.legend([line], [f"most devices for {result['envs']:,} environments"], fontsize=8, loc="lower left")
    compute = f"{prediction['compute_seconds']:.3g} s of compute per update, {prediction['compute_from']}"
    axes.set_title(f"PREDICTED {scaling} scaling, vendors' peak links\n{compute}", fontsize=9)
    axes.set_xscale("log", base=2)
    axes.set_xticks(counts[::3], map(str, counts[::3]))
    axes.set(xlabel="devices", ylabel="efficiency", ylim=(0, 1.05))
    axes.grid(alpha=0.3)
