"""The section on saliency: which pixels, or which features, of which observations decisions depend on."""

import dataclasses
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from podarcade.reporting import saliency_pictures
from podarcade.reporting.report import Columns, Figure, Section, known, pictures, records, rows_of
from podarcade.reporting.report.curves import WIDTH
from podarcade.reporting.report.looks import Looks, folded, grid, looks_of
from podarcade.reporting.report.markup import Markup, element, paragraph, spread, table
from podarcade.reporting.report.measured import Measured, collect
from podarcade.reporting.report.reading import ReportedRun

NAME = pictures.SALIENCY
TWINS = saliency_pictures.TWINS
ACROSS = 4  # heat maps in a row, two of a run
MOST_FEATURES = 64  # rows of a heat map


@dataclasses.dataclass(frozen=True)
class _Saliency:
    """Saliency of the first seed of a run: pictures of pixels, or {twin: float[n, D]} of features."""

    run: ReportedRun
    entry: Measured
    files: list[pathlib.Path]
    vectors: dict[str, np.ndarray]


def section(runs: Sequence[ReportedRun]) -> Section | None:
    """Return strips and animations of pixels, and heat maps of features; None where no run has any."""
    found, problems = collect(runs, NAME, _saliency)
    if not found:
        return Section(NAME, "Saliency", problems) if problems else None
    about = paragraph(
        "How much a small change of each pixel, or of each feature, would change a decision along one greedy episode "
        "of the first seed of each run, on both twins from the same start. A gradient is large whether or not games "
        "ever show that change. Each picture is in units of its largest value, and shown by its square root."
    )
    looks, inline = looks_of(runs), pictures.chosen(runs)
    shown = [_pictures(one, inline, looks) for one in found if one.files]
    vectors = [one for one in found if one.vectors]
    others = [path for one in found for path in one.files if path not in inline]
    parts = [about, *shown, *([_maps(vectors)] if vectors else []), _table(found, looks)]
    parts += [pictures.others(others)] if others else []
    numbers = {one.run.name: {"updates": one.entry.updates, "seed": one.run.seeds[0]} | _now(one) for one in found}
    return Section(NAME, "Saliency", [*parts, *problems], {"runs": numbers, "others": list(map(str, others))})


def _saliency(run: ReportedRun, entry: Measured) -> _Saliency:
    files = pictures.saliency_files(run)
    if files:
        return _Saliency(run, entry, files, {})
    arrays = entry.arrays()
    if arrays["full/past"].ndim != 4:
        raise ValueError(f"{entry.path} has no pictures beside it; measure again with podarcade diagnose --with={NAME}")
    return _Saliency(run, entry, [], {twin: saliency_pictures.episode(arrays, twin, "past")[1] for twin in TWINS})


def _now(one: _Saliency) -> dict[str, Any]:
    return {twin: {"now": known(one.entry.numbers(twin, "now"))} for twin in TWINS}


def _pictures(one: _Saliency, inline: set[pathlib.Path], looks: Looks) -> Markup:
    """Return the pictures of a run of a game with pixels."""
    name = f"{one.run.name}, seed {one.run.seeds[0]}"
    parts = []
    for path in one.files:
        if path not in inline:
            continue
        twin = next((twin for twin in TWINS if path.stem.endswith(f"-{twin}")), None)
        caption = f"{name}: each step for its own decision, on both twins."
        if twin:
            caption = f"{name}: what the last decision depends on, {twin} twin."
        blur = f"Grey: none; yellow: largest. Blurred by {saliency_pictures.BLUR} pixels for display."
        about = element("figcaption", f"{caption} {blur}")
        shown = pictures.image(path, f"saliency by pixels of {one.run.game} {one.run.level}, {caption}")
        parts.append(element("figure", shown, about, class_="strip" if twin else "film"))
    return element("div", *parts, class_="saliency", data_label=looks[one.run.label].index)


def _maps(found: Sequence[_Saliency]) -> Figure:
    rows = [row for one in found for twin in TWINS for row in _map_rows(one, twin)]
    return Figure(
        name="saliency",
        caption="Saliency of each feature over the steps of one episode for its last decision, on both twins, in units "
        f"of the largest value, shown by its square root: the first seed of each run. Of more than {MOST_FEATURES} "
        "features those with the most.",
        alt=f"Heat maps of the saliency of features over time in {', '.join(one.run.name for one in found)}.",
        columns=records(rows),
        draw=_draw_maps,
        size=(WIDTH, 2.5 * -(-2 * len(found) // ACROSS) + 0.4),
    )


def _map_rows(one: _Saliency, twin: str) -> list[dict[str, Any]]:
    """Return a row for each feature: saliency at each step."""
    values = np.where(np.isfinite(one.vectors[twin]), one.vectors[twin], 0.0)
    both = sum(np.nansum(array, axis=0) for array in one.vectors.values())
    kept = np.sort(np.argsort(-both, kind="stable")[:MOST_FEATURES])
    about = {"run": one.run.name, "twin": twin, "trained_on": one.run.twin, "seed": one.run.seeds[0]}
    return [
        about | {"feature": int(feature)} | {f"step_{k}": round(float(x), 4) for k, x in enumerate(values[:, feature])}
        for feature in kept
    ]


def _draw_maps(figure: Any, columns: Columns) -> None:
    rows = rows_of(columns)
    panels = list(dict.fromkeys((row["run"], row["twin"]) for row in rows))
    shown = None
    places = grid(figure, len(panels), ACROSS)
    for place, (panel, axes) in enumerate(zip(panels, places, strict=True)):
        found = [row for row in rows if (row["run"], row["twin"]) == panel]
        steps = [key for key in found[0] if key.startswith("step_") and found[0][key] is not None]
        values = np.sqrt(np.array([[row[key] for key in steps] for row in found], float))
        shown = axes.imshow(values, vmin=0, vmax=1, cmap="inferno", aspect="auto", interpolation="nearest")
        as_trained = ", as trained" if found[0]["trained_on"] == panel[1] else ""
        axes.set_title(f"{folded(panel[0])}\n{panel[1]} twin{as_trained}", fontsize=9)
        ticks = np.unique(np.linspace(0, len(found) - 1, 5).round().astype(int))
        axes.set_yticks(ticks, [str(found[tick]["feature"]) for tick in ticks])
        axes.grid(visible=False)
        axes.tick_params(labelsize=8.5)
        axes.set_xlabel("step" if place >= len(panels) - ACROSS else "", fontsize=9)
        axes.set_ylabel("" if place % ACROSS else "feature", fontsize=9)
    bar = figure.colorbar(shown, ax=places, label="saliency (square root)", aspect=30, fraction=0.03)
    bar.outline.set_visible(False)


def _table(found: Sequence[_Saliency], looks: Looks) -> Markup:
    rows = [
        [one.run.name, one.run.twin, *(spread(one.entry.numbers(twin, "now")) for twin in TWINS), one.entry.updates]
        for one in found
    ]
    heads = ("run", "trained on", *(f"share at present, {twin} twin" for twin in TWINS), "updates")
    about = "Share of the last decision's saliency at its own observation, mean over seeds (lowest to highest)"
    return table(about, heads, rows, [looks[one.run.label].index for one in found])
