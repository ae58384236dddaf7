"""The section of greedy episodes: the animations of the runs, inline while they are small."""

from collections.abc import Sequence

from podarcade.reporting.report import Section, pictures
from podarcade.reporting.report.looks import looks_of
from podarcade.reporting.report.markup import Markup, element, paragraph
from podarcade.reporting.report.reading import CLIP, ReportedRun


def section(runs: Sequence[ReportedRun]) -> Section:
    """Return the animations of the runs that `pictures.chosen` takes; the others are named."""
    there = [run for run in runs if pictures.exists(run.path / CLIP)]
    inline, looks = pictures.chosen(runs), looks_of(runs)
    shown = [run for run in there if run.path / CLIP in inline]
    others = [run.path / CLIP for run in there if run.path / CLIP not in inline]
    parts = [paragraph("A typical greedy episode of the first seed of each run, on both twins from the same start.")]
    if shown:
        parts.append(element("div", *(_figure(run, looks[run.label].index) for run in shown), class_="episodes"))
    else:
        parts = [paragraph("No run has an animation: the last thing that a complete run writes.")]
    parts += [pictures.others(others)] if others else []
    names = sorted(run.name for run in shown)
    return Section("episodes", "Greedy episodes", parts, {"inline": names, "others": list(map(str, others))})


def _figure(run: ReportedRun, index: int) -> Markup:
    alt = f"animation of a greedy episode of {run.name} on the full and the partial twin of {run.game} {run.level}"
    shown = pictures.image(run.path / CLIP, alt)
    return element("figure", shown, element("figcaption", run.name), data_label=index)
