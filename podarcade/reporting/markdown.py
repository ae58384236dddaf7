"""Markdown tables."""

from collections.abc import Iterable

Cells = Iterable[object]


def table(head: Cells, rows: Iterable[Cells]) -> str:
    """Return a Markdown table, which ends with a line break."""
    head = list(head)
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(map(str, line))} |\n" for line in lines)
