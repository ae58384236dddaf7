"""Ranges of numeric options, and the error for values outside them."""

import math
from typing import Any, NamedTuple

SANITY_LIMIT = 1e6  # an upper limit from here on only refuses absurd numbers


class Range(NamedTuple):
    """An interval of finite numbers from `low` to `high`; `closed` says whether `low` belongs to it."""

    low: float
    high: float = math.inf
    closed: bool = True

    def __contains__(self, value: float) -> bool:
        above = value >= self.low if self.closed else value > self.low
        return above and value <= self.high and math.isfinite(value)

    def __str__(self) -> str:
        if self.high == math.inf:
            return f"{'>=' if self.closed else '>'} {_text(self.low)}"
        return f"in {'[' if self.closed else '('}{_text(self.low)}, {_text(self.high)}]"


UNIT = Range(0, 1)
FRACTION = Range(0, 1, closed=False)
POSITIVE = Range(0, closed=False)
NON_NEGATIVE = Range(0)
COUNT = Range(1, 1e12)


def check(name: str, value: float, allowed: Range) -> None:
    """Raise ValueError unless the value lies in the range.

    Args:
      name: path of the option, for the message.
      value: the number given.
      allowed: the range.
    """
    if value in allowed:
        return
    # Of a range that is only limited to refuse absurd numbers, the other end is what matters.
    shown = allowed._replace(high=math.inf) if value < allowed.low and allowed.high >= SANITY_LIMIT else allowed
    raise ValueError(f"{name}={value}; expected a number {shown}")


def inherited(kind: type, attribute: str) -> dict[str, Any]:
    """Return a class attribute that is a dict, merged over the bases of a class; the most derived entry wins."""
    return {name: value for base in reversed(kind.__mro__) for name, value in vars(base).get(attribute, {}).items()}


def _text(number: float) -> str:
    return str(int(number)) if float(number).is_integer() and abs(number) < 1e6 else f"{number:g}"
