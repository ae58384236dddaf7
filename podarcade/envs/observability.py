"""Observability: which environments show the partial twin, and when that changes."""

import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np

NAMES = {"full": 0.0, "partial": 1.0}


@dataclasses.dataclass(frozen=True)
class Observability:
    """The share of environments that show the partial twin, constant between switches.

    The twins differ in the drawing alone and the choice is data, not program: nothing is compiled anew, and a
    batch may mix them.

    Attributes:
      since: what each share holds from, rising from 0; in frames, or in whatever `at` is asked in.
      shares: in [0, 1].
    """

    since: tuple[int, ...]
    shares: tuple[float, ...]

    def at(self, time: jax.Array, num_envs: int) -> jax.Array:
        """Whether each of N environments shows its partial twin at int32[] `time`, bool[N].

        With n = round(share N) it is environment i where ⌊(i + 1) n / N⌋ > ⌊i n / N⌋: n of them, spread evenly.
        """
        counts = np.round(np.asarray(self.shares) * num_envs).astype(np.int64)[:, None]
        index = np.arange(num_envs)
        partial = (index + 1) * counts // num_envs > index * counts // num_envs
        row = jnp.sum(time >= jnp.asarray(self.since)) - 1
        return jnp.asarray(partial)[row]

    def every(self, step: int) -> "Observability":
        """The same, counted in steps of so many, switches moved to the nearest; what lasts no step is left out."""
        kept = {}
        for since, share in zip(self.since, self.shares, strict=True):
            kept[round(since / step)] = share
        return Observability(tuple(kept), tuple(kept.values()))


def parse(text: str) -> Observability:
    """Reads `partial`, `full`, a share as `0.5`, or several of them with the frames they begin at: `full,partial@1e6`.

    Raises:
      ValueError: says what is wrong, and what can be given.
    """
    since, shares = [], []
    for item in str(text).split(","):
        word, at, frames = item.strip().partition("@")
        try:
            shares.append(NAMES[word] if word in NAMES else float(word))
            since.append(int(float(frames)) if at else 0)
        except (ValueError, OverflowError):
            raise ValueError(_wrong(text, f"{item.strip()!r} is none of them")) from None
    if not all(0 <= share <= 1 for share in shares):
        raise ValueError(_wrong(text, "a share lies between 0 and 1"))
    if since[0] != 0 or any(later <= earlier for earlier, later in itertools.pairwise(since)):
        raise ValueError(_wrong(text, "the first begins at 0, the others say where, each later than the one before"))
    return Observability(tuple(since), tuple(shares))


def _wrong(text: str, why: str) -> str:
    known = (
        "full, partial, the share of environments that is partial as 0.5, or a schedule in frames as full,partial@1e6"
    )
    return f"environment.observability={text}: {why}; there are {known}"
