"""How two records differ, in words that fit on a line."""

from collections.abc import Iterator, Mapping
from typing import Any

ABSENT = "absent"
MOST = 3  # differences that are told; the others are counted


def flatten(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every value of nested dictionaries, with its path by dots."""
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """What differs: "algorithm.discount: 0.99 there, 0.5 now; ... and 4 more"; empty where nothing does.

    Args:
      before: nested dictionaries, as they were kept.
      now: the same, as they would be now.
    """
    there, here = dict(flatten(before)), dict(flatten(now))
    found = [
        f"{key}: {there.get(key, ABSENT)} there, {here.get(key, ABSENT)} now"
        for key in sorted(there.keys() | here.keys())
        if there.get(key, ABSENT) != here.get(key, ABSENT)
    ]
    more = f" and {len(found) - MOST} more" if len(found) > MOST else ""
    return "; ".join(found[:MOST]) + more
