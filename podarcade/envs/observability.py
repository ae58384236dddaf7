"""Observability: which environments show the partial twin, and when that changes during training."""

import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np

NAMES = {"full": 0.0, "partial": 1.0}


@dataclasses.dataclass(frozen=True)
class Observability:
    """A piecewise constant schedule of the share of environments that show the partial twin.

    The twins differ only in their drawing, and the choice is data, not program: switching recompiles nothing, and a
    batch may mix them.

    Attributes:
      since: start of each piece, increasing from 0; in frames, or in whatever unit `at` is called with.
      shares: share of each piece, in [0, 1].
    """

    since: tuple[int, ...]
    shares: tuple[float, ...]

    def at(self, time: jax.Array, num_envs: int) -> jax.Array:
        """Return whether each of N environments shows its partial twin at `time`, int32[], as bool[N].

        With n = round(share N), environment i does if ⌊(i + 1) n / N⌋ > ⌊i n / N⌋: n of them, evenly spread.
        """
        counts = np.round(np.asarray(self.shares) * num_envs).astype(np.int64)[:, None]
        index = np.arange(num_envs)
        partial = (index + 1) * counts // num_envs > index * counts // num_envs
        row = jnp.sum(time >= jnp.asarray(self.since)) - 1
        return jnp.asarray(partial)[row]

    def in_units_of(self, step: int) -> "Observability":
        """Return the schedule in steps of `step` frames: switches move to the nearest step, empty pieces vanish."""
        kept = {}
        for since, share in zip(self.since, self.shares, strict=True):
            kept[round(since / step)] = share
        return Observability(tuple(kept), tuple(kept.values()))


def parse(text: str) -> Observability:
    """Parse `partial`, `full`, a share such as `0.5`, or a schedule such as `full,partial@1e6` with start frames.

    Raises:
      ValueError: anything else.
    """
    since, shares = [], []
    for item in str(text).split(","):
        word, at, frames = item.strip().partition("@")
        try:
            shares.append(NAMES[word] if word in NAMES else float(word))
            since.append(int(float(frames)) if at else 0)
        except (ValueError, OverflowError):
            raise ValueError(_message(text, f"cannot read {item.strip()!r}")) from None
    if not all(0 <= share <= 1 for share in shares):
        raise ValueError(_message(text, "a share is outside [0, 1]"))
    if since[0] != 0 or any(later <= earlier for earlier, later in itertools.pairwise(since)):
        raise ValueError(_message(text, "frames do not increase from 0"))
    return Observability(tuple(since), tuple(shares))


def _message(text: str, problem: str) -> str:
    expected = "full, partial, a share of partial environments as 0.5, or a schedule in frames as full,partial@1e6"
    return f"environment.observability={text}: {problem}; expected {expected}"
