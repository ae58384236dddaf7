"""Ranges of numeric options, and the error for values outside them."""

import math
from typing import NamedTuple


class Range(NamedTuple):
    """An interval of real numbers; `closed` says whether `low` belongs to it. An infinite `high` never does."""

    low: float
    high: float = math.inf
    closed: bool = True

    def __contains__(self, value: float) -> bool:
        above = value >= self.low if self.closed else value > self.low
        return above and value <= self.high and math.isfinite(value)

    def __str__(self) -> str:
        if self.high == math.inf:
            return f"{'>=' if self.closed else '>'} {self.low:g}"
        return f"in {'[' if self.closed else '('}{self.low:g}, {self.high:g}]"


UNIT = Range(0, 1)
FRACTION = Range(0, 1, closed=False)
POSITIVE = Range(0, closed=False)
NON_NEGATIVE = Range(0)
COUNT = Range(1, 10**12)


def check(name: str, value: float, allowed: Range) -> None:
    """Raise ValueError unless the value lies in the range.

    Args:
      name: the option's path, for the message.
      value: the number given.
      allowed: the range.
    """
    if value not in allowed:
        raise ValueError(f"{name}={value}; expected a number {allowed}")
