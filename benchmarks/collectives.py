"""Which bytes the devices of an update add up: from its parameters, and from the text of its compiled program.

The text shows each all-reduce once, however often it runs: those of the gradient stand in the body of the loop over
gradient steps, which is called in the body of the loop over updates. How often a body runs is hidden in its condition;
XLA writes it beside the loop where it could work it out (`known_trip_count`), and that is what is multiplied here.
"""

import dataclasses
import math
import re
from typing import Any

import jax

KINDS = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute", "collective-broadcast")
# Made from sums that every device has by then, so nothing is sent for them.
NOT_SENT = ("gradient_norm", "exploration", "transitions")
# Summed once per update, with the counts.
SENT_ONCE = ("partial",)

_COMPUTATION = re.compile(r"^(ENTRY )?%?([\w.\-]+) \(.*\{$")
_OPERATION = re.compile(rf"= (.*?) ({'|'.join(KINDS)})(?:-start)?\(")
_ARRAY = re.compile(r"\b(pred|[a-z]+(\d+)\w*)\[([\d,]*)\]")
_CALLED = re.compile(r"(?:body|calls|to_apply|\w+_computations?)=(?:%?([\w.\-]+)|\{([^}]*)\})")
_LOOP = re.compile(r"\bwhile\(.*\bbody=")
_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"\}')


@dataclasses.dataclass(frozen=True)
class Collective:
    """One operation of a program.

    Attributes:
      kind: one of `KINDS`.
      size: bytes per device.
      arrays: of which it is made.
      loops: how often each loop around it runs, the outermost first; None where the text does not say.
    """

    kind: str
    size: int
    arrays: int
    loops: tuple[int | None, ...]

    @property
    def times(self) -> int:
        """How often it runs in one call of the program; a loop that does not say counts once."""
        return math.prod(trips or 1 for trips in self.loops)


def tree_bytes(tree: Any) -> int:
    """Of all arrays of a tree, abstract or not."""
    return sum(math.prod(x.shape) * x.dtype.itemsize for x in jax.tree.leaves(tree))


def from_parameters(params: Any, metrics: Any, gradient_steps: int) -> list[dict]:
    """The all-reduces of one update, each of them as one message.

    Per gradient step the gradient, which is as large as the parameters, the weighted sums of loss and metrics, and the
    sum of weights; per update the counts of the rollout, and the ranges of a batch that was not finite.

    Args:
      params: of all seeds on a device.
      metrics: `Metrics` of one update of those seeds.
      gradient_steps: epochs x minibatches.
    """
    sums = {name: value for name, value in metrics.means.items() if name not in (*NOT_SENT, *SENT_ONCE)}
    once = [metrics.means[name] for name in SENT_ONCE if name in metrics.means]
    weights = metrics.means["loss"]
    return [
        {"what": "gradient", "bytes": tree_bytes(params), "times": gradient_steps},
        {"what": "sums of loss, metrics, weights", "bytes": tree_bytes((sums, weights)), "times": gradient_steps},
        {"what": "counts", "bytes": tree_bytes((metrics.counts, once, metrics.guard.batch)), "times": 1},
    ]


def messages(parts: list[dict]) -> list[tuple[int, int]]:
    """(bytes, times) of each all-reduce when those that run equally often go together, as XLA combines them."""
    return [(sum(p["bytes"] for p in parts if p["times"] == n), n) for n in sorted({p["times"] for p in parts})]


def from_text(text: str) -> list[Collective]:
    """Every collective of a compiled program, with the loops around it.

    Args:
      text: optimised HLO, `compiled.as_text()`.
    """
    bodies, entry = _computations(text)
    found = []

    def visit(name: str, loops: tuple[int | None, ...]) -> None:
        for line in bodies.get(name, ()):
            if operation := _OPERATION.search(line):
                sizes = [_array_bytes(*match) for match in _ARRAY.findall(operation[1])]
                found.append(Collective(operation[2], sum(sizes), len(sizes), loops))
            inner = loops
            if _LOOP.search(line):
                trips = _TRIPS.search(line)
                inner = (*loops, int(trips[1]) if trips else None)
            for called in _called(line):
                visit(called, inner)

    visit(entry, ())
    return found


def summary(collectives: list[Collective], updates: int) -> dict:
    """All-reduced bytes per update of a program of so many, and what else there is.

    Returns:
      bytes: per device and update.
      updates: as given.
      operations: every all-reduce.
      unknown_loops: all-reduces in a loop that does not say how often it runs.
      others: kinds and numbers of collectives that are no all-reduces.
    """
    reduced = [one for one in collectives if one.kind == "all-reduce"]
    others = [one.kind for one in collectives if one.kind != "all-reduce"]
    return {
        "bytes": sum(one.size * one.times for one in reduced) / updates,
        "updates": updates,
        "operations": [dataclasses.asdict(one) | {"times": one.times} for one in reduced],
        "unknown_loops": sum(None in one.loops for one in reduced),
        "others": {kind: others.count(kind) for kind in sorted(set(others))},
    }


def _computations(text: str) -> tuple[dict[str, list[str]], str]:
    bodies, entry, lines = {}, "", []
    for line in text.splitlines():
        if header := _COMPUTATION.match(line):
            lines = bodies[header[2]] = []
            entry = header[2] if header[1] else entry
        else:
            lines.append(line)
    return bodies, entry


def _called(line: str) -> list[str]:
    names = []
    for one, several in _CALLED.findall(line):
        names += [one] if one else [name.strip(" %") for name in several.split(",")]
    return names


def _array_bytes(name: str, bits: str, shape: str) -> int:
    size = 1 if name == "pred" else max(int(bits) // 8, 1)
    return size * math.prod(int(length) for length in shape.split(",") if length)
