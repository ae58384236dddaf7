"""HTML that cannot be injected into: text is escaped wherever it becomes part of an element."""

import dataclasses
import html
import math
from collections.abc import Sequence
from typing import Any

VOID = ("br", "img", "input", "meta")  # elements without an end tag
UNKNOWN = "–"  # noqa: RUF001, an en dash in empty cells


class Markup(str):
    """Text that is HTML already; any other string is escaped."""


def escape(text: Any) -> Markup:
    """Return text as HTML; control characters and lone surrogates, which pages may not hold, become U+FFFD."""
    if isinstance(text, Markup):
        return text
    visible = "".join(letter if letter.isprintable() or letter == "\n" else "\ufffd" for letter in str(text))
    return Markup(html.escape(visible, quote=True))


def element(name: str, /, *children: Any, **attributes: Any) -> Markup:
    """Return an element.

    Args:
      name: of the element.
      *children: `Markup`, or text, which is escaped; None is left out.
      **attributes: a trailing underscore is dropped (class_) and others are hyphens; True stands for a bare attribute,
        and None and False for none.
    """
    words = [name]
    for key, value in attributes.items():
        key = key.removesuffix("_").replace("_", "-")
        if value is True:
            words.append(key)
        elif value is not None and value is not False:
            words.append(f'{key}="{escape(value).replace(chr(10), " ")}"')
    start = f"<{' '.join(words)}>"
    return Markup(start if name in VOID else f"{start}{join(*children)}</{name}>")


def join(*children: Any) -> Markup:
    """Return elements and text in a row; None is left out."""
    return Markup("".join(escape(child) for child in children if child is not None))


@dataclasses.dataclass(frozen=True)
class Cell:
    """A cell of a table whose text is not its value.

    Attributes:
      content: text or `Markup`.
      value: what the column is sorted by; the text by default.
      kind: class of the cell, for its style.
    """

    content: Any
    value: Any = None
    kind: str = ""


def table(
    caption: str, heads: Sequence[str], rows: Sequence[Sequence[Any]], labels: Sequence[int | None] = ()
) -> Markup:
    """Return a table that can be sorted, in a box that scrolls; the first cell of each row is its heading.

    Args:
      caption: what the table holds.
      heads: heading of each column, with its unit.
      rows: text, numbers, None or `Cell`.
      labels: of each row, the index of the label that it is hidden with; None for a row that stays.
    """
    labels = labels or [None] * len(rows)
    head = element("tr", *(element("th", text, scope="col") for text in heads))
    body = (
        element("tr", *(_cell(value, not place) for place, value in enumerate(row)), data_label=label)
        for row, label in zip(rows, labels, strict=True)
    )
    inside = element(
        "table", element("caption", caption), element("thead", head), element("tbody", *body), class_="sortable"
    )
    return element("div", inside, class_="scroll", tabindex=0, role="region", aria_label=caption)


def _cell(value: Any, is_head: bool) -> Markup:
    cell = value if isinstance(value, Cell) else Cell(number(value), value)
    is_number = isinstance(cell.value, int | float) and not isinstance(cell.value, bool)
    kind = " ".join(filter(None, ["number" if is_number else "", cell.kind]))
    order = cell.value if is_number and math.isfinite(cell.value) else None
    name, scope = ("th", "row") if is_head else ("td", None)
    return element(name, cell.content, scope=scope, class_=kind or None, data_value=order)


def number(value: Any) -> str:
    """Return a value as a table shows it: integers with separators, fractions with three or four digits."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return UNKNOWN
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if isinstance(value, int) or abs(value) >= 1000:
        return f"{value:,.0f}".replace("-", "\u2212")
    return (f"{value:.3f}" if abs(value) >= 0.001 or not value else f"{value:.1e}").replace("-", "\u2212")


def spread(values: Sequence[float | None] | None) -> Cell | None:
    """Return a cell with the mean of the numbers that are known, and from the lowest to the highest; None without."""
    there = (
        [float(value) for value in values if value is not None and math.isfinite(value)] if values is not None else []
    )
    if not there:
        return None
    mean = sum(there) / len(there)
    ends = f" ({number(min(there))} to {number(max(there))})" if len(set(there)) > 1 else ""
    return Cell(element("span", number(mean), element("span", ends, class_="interval")), mean, "wide")


def listed(lines: Sequence[Any]) -> Markup:
    """Return lines as a list."""
    return element("ul", *(element("li", line) for line in lines))


def paragraph(*children: Any, kind: str | None = None) -> Markup:
    """Return a paragraph."""
    return element("p", *children, class_=kind)


def details(summary: str, *children: Any) -> Markup:
    """Return content that is folded up until it is asked for."""
    return element("details", element("summary", summary), *children)
