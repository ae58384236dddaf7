"""Figures of a report as inline SVG, PDF and CSV.

matplotlib is imported when something is drawn. In the SVG text stays text, ids are unique in the page, neutral colours
are variables of its style sheet, so that figures follow the colour scheme of the reader, and what belongs to a label
carries it as `data-label`, so that the script can hide it.
"""

import contextlib
import csv
import io
import pathlib
import re
import warnings
from collections.abc import Iterator
from typing import Any

from podarcade.reporting.report import Figure
from podarcade.reporting.report.markup import Markup, element, escape

INK, MUTED, GRID, CARD = "#202124", "#5f6368", "#e6e8eb", "#ffffff"
THEMED = {INK: "ink", MUTED: "muted", GRID: "grid", CARD: "card", "#000000": "ink"}  # colour -> variable of page.css
SETTINGS = {
    "svg.fonttype": "none",
    "svg.hashsalt": "podarcade",
    "pdf.fonttype": 42,
    "text.parse_math": False,
    "font.family": ["DejaVu Sans", "sans-serif"],
    "font.size": 10,
    "axes.titlesize": 10.5,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": MUTED,
    "axes.grid": True,
    "grid.color": GRID,
    "axes.axisbelow": True,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
}


@contextlib.contextmanager
def _drawn(figure: Figure) -> Iterator[Any]:
    """Yield the matplotlib figure, drawn."""
    import matplotlib
    from matplotlib.figure import Figure as Canvas

    with matplotlib.rc_context(SETTINGS), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # letters that the font lacks
        canvas = Canvas(figsize=figure.size, layout="constrained")
        figure.draw(canvas, figure.columns)
        yield canvas


def svg(figure: Figure) -> Markup:
    """Return a figure as an `svg` element that has no reference to anything outside of it."""
    with _drawn(figure) as canvas:
        file = io.StringIO()
        canvas.savefig(file, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = file.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'<g id="label-(\d+)">', r'<g data-label="\1">', text)
    text = re.sub(r'(\bid="|xlink:href="#|url\(#)', rf"\g<1>{figure.name}-", text)
    text = re.sub("|".join(THEMED), lambda found: f"var(--{THEMED[found[0]]},{found[0]})", text)
    text = re.sub(r"(\d+\.\d{2})\d+", r"\1", text)  # hundredths of a point
    start = f'<svg role="img" aria-label="{escape(figure.alt)}" class="figure"'
    return Markup(re.sub(r"<svg", start, text, count=1))


def write_pdf(figure: Figure, path: pathlib.Path) -> None:
    """Write a figure as PDF, on white."""
    with _drawn(figure) as canvas:
        canvas.savefig(path, format="pdf", metadata={"CreationDate": None})


def write_csv(figure: Figure, path: pathlib.Path) -> None:
    """Write the data of a figure, one column each; missing numbers are empty."""
    with open(path, "w", encoding="utf-8", errors="replace", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(figure.columns)
        writer.writerows(zip(*figure.columns.values(), strict=True))


def use_prefixes(axis: Any) -> None:
    """Label the ticks of an axis as 500k and 2M."""
    from matplotlib.ticker import EngFormatter

    axis.set_major_formatter(EngFormatter(sep=""))


def shown(figure: Figure) -> Markup:
    """Return a figure with its caption, as the page shows it."""
    return element("figure", svg(figure), element("figcaption", figure.caption), id=f"figure-{figure.name}")
