"""The section on contamination: how long a disturbed observation keeps changing decisions."""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from podarcade.diagnostics.contamination import summary
from podarcade.reporting.report import Columns, Figure, Section, known, records, rows_of
from podarcade.reporting.report.curves import WIDTH, by_task, task_name
from podarcade.reporting.report.looks import Looks, legend, looks_of, panel_title
from podarcade.reporting.report.markup import Markup, paragraph, spread, table
from podarcade.reporting.report.measured import Measured, collect, mean
from podarcade.reporting.report.reading import ReportedRun

NAME = "contamination"
KINDS = {"swap": "swap with another episode", "noise": "noise"}
CURVES = {"effect": "effect e(l)", "flips": "flips"}
CONTROLS = {"trained": "", "untrained": "untrained/"}  # prefixes of the arrays
SHOWN_LAGS = (1, 4, 16)  # in the table
TICKS = (0, 1, 4, 16, 64, 256, 1024)
POINTS_IN_OCTAVE = 4  # lags that are drawn, of each doubling


@dataclasses.dataclass(frozen=True)
class _Effects:
    """Curves of a run: {(control, kind, curve): float[S, T]} over all lags, and what the summaries have."""

    run: ReportedRun
    entry: Measured
    curves: dict[tuple[str, str, str], np.ndarray]


def section(runs: Sequence[ReportedRun]) -> Section | None:
    """Return effects and flips by lag of all runs that have them; None where no run has."""
    found, problems = collect(runs, NAME, _effects)
    if not found:
        return Section(NAME, "Contamination", problems) if problems else None
    about = paragraph(
        "One observation of a greedy episode is disturbed, and the episode is replayed with its own actions: e(l) is "
        "the change of the mean-centred preferences l steps later, relative to their size; flips are greedy actions "
        "that change, near-ties left out. A swap shows what another episode showed at that step; noise may show what "
        "no episode does. Dashed: untrained networks of the same kind, so that only what is above them was learnt. "
        "Episodes are played on the twin that was trained on; without memory the effect ends at lag 0."
    )
    looks = looks_of(runs)
    return Section(
        NAME, "Contamination", [about, _figure(found, looks), _table(found, looks), *problems], _numbers(found)
    )


def _effects(run: ReportedRun, entry: Measured) -> _Effects:
    arrays, curves = entry.arrays(), {}
    for control, prefix in CONTROLS.items():
        if control == "untrained" and f"{prefix}swap_pairs" not in arrays:
            continue  # measured before there was a control
        own = {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
        for kind in KINDS:
            seeds = [summary({name: array[k] for name, array in own.items()}, kind) for k in range(len(run.seeds))]
            for curve in CURVES:
                curves[control, kind, curve] = np.stack([one[curve] for one in seeds])
    return _Effects(run, entry, curves)


def lags_of(length: int) -> list[int]:
    """Return lags below `length` that are evenly spaced on the axis: 0, 1, 2, ... and then a few of each doubling."""
    powers = 2 ** (np.arange(0, POINTS_IN_OCTAVE * 20) / POINTS_IN_OCTAVE)
    return sorted({0, *(round(float(lag)) for lag in powers)} & set(range(length)))


def _figure(found: Sequence[_Effects], looks: Looks) -> Figure:
    tasks = by_task([one.run for one in found])
    rows = [row for task in tasks for one in found if one.run in tasks[task] for row in _rows(one)]
    ends = ", ".join(f"{one.run.name} {_at(one, 'trained', 'swap', 'effect', 1):.3f}" for one in found)
    return Figure(
        name="contamination",
        caption="Effect e(l) of a disturbed observation, and share of greedy actions that flip, by lag: mean over "
        "seeds, of the untrained control dashed. Long lags are those of disturbances near the start of an episode.",
        alt=f"Contamination by lag. e(1) of a swap: {ends}; see the table below.",
        columns=records(rows),
        draw=functools.partial(_draw, looks=looks),
        size=(WIDTH, 2.15 * len(tasks) + 0.75),
    )


def _rows(one: _Effects) -> list[dict[str, Any]]:
    run = one.run
    about = {"run": run.name, "label": run.label, "game": run.game, "level": run.level, "twin": run.twin}
    rows = []
    for (control, kind, curve), values in one.curves.items():
        average = mean(values)
        for lag in lags_of(values.shape[1]):
            row = about | {"agent": control, "kind": kind, "curve": curve, "lag": lag, "mean": average[lag]}
            rows.append(row | {f"seed_{seed}": values[k, lag] for k, seed in enumerate(run.seeds)})
    return rows


def _draw(figure: Any, columns: Columns, looks: Looks) -> None:
    rows = rows_of(columns)
    tasks = list(dict.fromkeys((row["game"], row["level"], row["twin"]) for row in rows))
    panels = [(curve, kind) for curve in CURVES for kind in KINDS]
    places = figure.subplots(len(tasks), len(panels), squeeze=False, sharex="row")
    for place, (line, task) in enumerate(zip(places, tasks, strict=True)):
        found = [row for row in rows if (row["game"], row["level"], row["twin"]) == task]
        line[0].set_ylabel(panel_title(task_name(task)), fontsize=9.5)
        for (curve, kind), axes in zip(panels, line, strict=True):
            axes.set_title(f"{CURVES[curve]}, {kind}" if place == 0 else "", fontsize=9.5)
            _draw_panel(axes, [row for row in found if (row["curve"], row["kind"]) == (curve, kind)], looks)
            axes.set_xlabel("lag l, steps" if place == len(tasks) - 1 else "", fontsize=9.5)
    legend(figure, figure.get_figwidth())


def _draw_panel(axes: Any, rows: list[dict[str, Any]], looks: Looks) -> None:
    for name, agent in dict.fromkeys((row["run"], row["agent"]) for row in rows):
        line = [row for row in rows if (row["run"], row["agent"]) == (name, agent)]
        look = looks[line[0]["label"]]
        lags, values = (np.array([row[key] for row in line], float) for key in ("lag", "mean"))
        if agent == "trained":
            marked = [place for place, lag in enumerate(lags) if lag in TICKS]
            style = {
                "linewidth": 1.7,
                "label": line[0]["label"],
                "marker": look.marker,
                "markersize": 4,
                "markevery": marked,
            }
        else:
            style = {"linewidth": 1.1, "linestyle": "--", "alpha": 0.7}
        axes.plot(lags, values, color=look.colour, gid=look.gid, **style)
    longest = max((row["lag"] for row in rows), default=1)
    ticks = [tick for tick in TICKS if tick <= longest] or [0]
    axes.set_xscale("symlog", base=2, linthresh=1, linscale=0.6)
    axes.set_xticks(ticks, list(map(str, ticks)))
    axes.minorticks_off()
    axes.set_ylim(bottom=0)
    axes.tick_params(labelsize=8.5)


def _at(one: _Effects, control: str, kind: str, curve: str, lag: int) -> float:
    values = one.curves.get((control, kind, curve))
    return float(mean(values[:, lag])) if values is not None and lag < values.shape[1] else float("nan")


def _table(found: Sequence[_Effects], looks: Looks) -> Markup:
    rows = [_table_row(one, control) for one in found for control in dict.fromkeys(key[0] for key in one.curves)]
    hidden = [looks[one.run.label].index for one in found for _ in dict.fromkeys(key[0] for key in one.curves)]
    effects = [f"e({lag}), {kind}" for kind in KINDS for lag in SHOWN_LAGS]
    heads = ("run", "agent", *effects, *(f"half-life, {kind}, steps" for kind in KINDS))
    heads += tuple(f"return lost, {kind}" for kind in KINDS)
    about = "Contamination: mean over seeds (lowest to highest); a half-life is that of the seeds which have one"
    return table(about, (*heads, "updates", "seeds"), rows, hidden)


def _table_row(one: _Effects, control: str) -> list[Any]:
    untrained = control == "untrained"
    effects = [
        spread(values[:, lag]) if lag < values.shape[1] else None
        for kind in KINDS
        for values in [one.curves[control, kind, "effect"]]
        for lag in SHOWN_LAGS
    ]
    lives = [spread(one.entry.numbers(kind, "half_life", untrained=untrained)) for kind in KINDS]
    lost = [spread(one.entry.numbers("closed_loop", kind, "drop", untrained=untrained)) for kind in KINDS]
    return [one.run.name, control, *effects, *lives, *lost, one.entry.updates, len(one.run.seeds)]


def _numbers(found: Sequence[_Effects]) -> dict[str, Any]:
    """Return half-lives and lost returns of each seed; the curves are those of the figure."""
    return {
        "runs": {
            one.run.name: {
                "updates": one.entry.updates,
                "options": one.entry.options,
                **{
                    control: {
                        kind: {
                            "half_life": known(one.entry.numbers(kind, "half_life", untrained=bool(prefix))),
                            "return_lost": known(
                                one.entry.numbers("closed_loop", kind, "drop", untrained=bool(prefix))
                            ),
                        }
                        for kind in KINDS
                    }
                    for control, prefix in CONTROLS.items()
                },
            }
            for one in found
        }
    }
