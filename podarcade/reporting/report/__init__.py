"""The report of runs: what it is made of, before it is a page.

A section is a function of the runs, listed in `sections.SECTIONS`. It returns text that is HTML already, figures, and
the numbers of its tables. A figure holds its data as columns and a function that draws these columns and nothing else,
so that the picture, the CSV file and report.json cannot disagree.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

from podarcade.reporting.report.markup import Markup

Columns = dict[str, list]


@dataclasses.dataclass(frozen=True)
class Figure:
    """A figure.

    Attributes:
      name: of its files, and in report.json; letters, digits, `-` and `_`.
      caption: what is drawn, and how to read it.
      alt: what it shows, for those who cannot see it.
      columns: the data, columns of equal length; None where a number is missing.
      draw: called with an empty matplotlib figure and `columns`.
      size: width and height in inches; the page scales the width to that of the text.
    """

    name: str
    caption: str
    alt: str
    columns: Columns
    draw: Callable[[Any, Columns], None]
    size: tuple[float, float]


@dataclasses.dataclass(frozen=True)
class Section:
    """A section of a report.

    Attributes:
      name: key in report.json, and anchor.
      title: heading.
      parts: paragraphs, tables and figures, in the order of the page.
      numbers: what else is shown, JSON-serialisable; the data of figures is added to it.
    """

    name: str
    title: str
    parts: Sequence[Markup | Figure]
    numbers: dict[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def figures(self) -> list[Figure]:
        """The figures of the section."""
        return [part for part in self.parts if isinstance(part, Figure)]

    def content(self) -> dict[str, Any]:
        """Return the section as report.json has it."""
        return {"title": self.title, **self.numbers, "figures": {one.name: one.columns for one in self.figures}}


def records(rows: Sequence[dict[str, Any]]) -> Columns:
    """Return dictionaries as columns, None where one lacks a key; NaN becomes None."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    return {name: [known(row.get(name)) for row in rows] for name in names}


def known(value: Any) -> Any:
    """Return a value that JSON can hold: Python numbers for numpy's, None for NaN and infinities."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [known(item) for item in value]
    is_odd = isinstance(value, float) and (value != value or value in (float("inf"), float("-inf")))
    return None if is_odd else value


def rows_of(columns: Columns) -> list[dict[str, Any]]:
    """Return columns as dictionaries, one for each row."""
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
