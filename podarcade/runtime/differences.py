"""Differences between two nested dictionaries, in one line."""

from collections.abc import Iterator, Mapping
from typing import Any

ABSENT = "absent"
MAX_SHOWN = 3  # differences spelled out; the rest are counted


def flatten(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every value of nested dictionaries with its dotted path."""
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def differences(saved: Mapping[str, Any], current: Mapping[str, Any]) -> str:
    """Return what differs, as "algorithm.discount: saved 0.99, now 0.5; ... and 4 more"; empty if nothing does.

    Args:
      saved: nested dictionaries read from a file.
      current: the same of this process.
    """
    before, now = dict(flatten(saved)), dict(flatten(current))
    found = [
        f"{key}: saved {before.get(key, ABSENT)}, now {now.get(key, ABSENT)}"
        for key in sorted(before.keys() | now.keys())
        if before.get(key, ABSENT) != now.get(key, ABSENT)
    ]
    more = f" and {len(found) - MAX_SHOWN} more" if len(found) > MAX_SHOWN else ""
    return "; ".join(found[:MAX_SHOWN]) + more
