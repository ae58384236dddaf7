"""The section of greedy episodes: the animations of the runs, inline while they are small."""

import base64
from collections.abc import Sequence

from podarcade.reporting.report import Section
from podarcade.reporting.report.looks import looks_of
from podarcade.reporting.report.markup import Markup, element, paragraph
from podarcade.reporting.report.reading import CLIP, ReportedRun

BUDGET = 4_500_000  # bytes of all animations in a page: 6 MB in base 64
SIGNATURES = (b"GIF87a", b"GIF89a")


def section(runs: Sequence[ReportedRun]) -> Section:
    """Return the animation of each run as long as `BUDGET` lasts; the others are named.

    The animations of a report are chosen from the smallest on, so that as many runs as possible have one.
    """
    sizes = {run.name: size for run in runs if (size := _size(run))}
    chosen, used = set(), 0
    for name, size in sorted(sizes.items(), key=lambda item: item[1]):
        used += size
        if used > BUDGET:
            break
        chosen.add(name)
    looks = looks_of(runs)
    shown = [_figure(run, looks[run.label].index) for run in runs if run.name in chosen]
    others = [str(run.path / CLIP) for run in runs if run.name in sizes.keys() - chosen]
    parts = [paragraph("A typical greedy episode of the first seed of each run, on both twins from the same start.")]
    if shown:
        parts.append(element("div", *shown, class_="episodes"))
    else:
        parts = [paragraph("No run has an animation: the last thing that a complete run writes.")]
    if others:
        items = (element("li", element("code", path)) for path in others)
        parts += [paragraph("Too large for this page, or damaged:"), element("ul", *items)]
    return Section("episodes", "Greedy episodes", parts, {"inline": sorted(chosen), "others": others})


def _size(run: ReportedRun) -> int:
    """Return the bytes of the animation of a run, 0 without one; more than `BUDGET` for what is no GIF."""
    try:
        with open(run.path / CLIP, "rb") as file:
            is_gif = file.read(6) in SIGNATURES
        return (run.path / CLIP).stat().st_size if is_gif else BUDGET + 1
    except OSError:
        return 0


def _figure(run: ReportedRun, index: int) -> Markup:
    content = base64.b64encode((run.path / CLIP).read_bytes()).decode("ascii")
    alt = f"animation of a greedy episode of {run.name} on the full and the partial twin of {run.game} {run.level}"
    image = element("img", src=f"data:image/gif;base64,{content}", alt=alt)
    return element("figure", image, element("figcaption", run.name), data_label=index)
