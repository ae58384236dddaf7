"""Names of runs as figures and tables show them."""

import pathlib
from collections.abc import Sequence
from typing import Any

LONGEST_TEXT = 120  # characters


def printable(text: Any) -> str:
    """Return text for figures and tables: on one line, without control characters, not too long."""
    visible = "".join(letter if letter.isprintable() else "\ufffd" for letter in str(text))
    half = LONGEST_TEXT // 2
    return visible if len(visible) <= LONGEST_TEXT else f"{visible[:half]}...{visible[-half:]}"


def short(paths: Sequence[str]) -> list[str]:
    """Return paths without the folders that all of them share; the last folder always stays."""
    parts = [pathlib.PurePath(path).parts for path in paths]
    shared = min((len(one) - 1 for one in parts), default=0)
    while len({one[:shared] for one in parts}) > 1:
        shared -= 1
    return ["/".join(one[shared:]) for one in parts]


def distinct(names: Sequence[str]) -> list[str]:
    """Return names with a number after those that look the same."""
    seen: dict[str, int] = {}
    found = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        found.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return found
