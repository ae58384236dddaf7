"""All-reduced bytes of an update: from its parameters, and from the text of its compiled program; its loops.

The text shows each all-reduce once, however often it runs: those of the gradient are in the body of the loop over
gradient steps, which is called in the body of the loop over updates. Where XLA could derive a loop's trip count it
writes it beside the loop (`known_trip_count`); these counts are multiplied here.
"""

import dataclasses
import math
import re
from collections import Counter
from typing import Any

import jax

KINDS = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute", "collective-broadcast")
# Computed from sums that every device already has: nothing is sent for them.
NOT_SENT = ("gradient_norm", "exploration", "transitions")
# Summed once per update, with the counts.
SENT_ONCE = ("partial",)

_COMPUTATION = re.compile(r"^(ENTRY )?%?([\w.\-]+) \(.*\{$")
_OPERATION = re.compile(rf"= (.*?) ({'|'.join(KINDS)})(?:-start)?\(")
_ARRAY = re.compile(r"\b(pred|[a-z]+(\d+)\w*)\[([\d,]*)\]")
_CALLED = re.compile(r"(?:body|calls|to_apply|\w+_computations?)=(?:%?([\w.\-]+)|\{([^}]*)\})")
_LOOP = re.compile(r"\bwhile\(.*\bbody=")
_BODY = re.compile(r"\bbody=%?([\w.\-]+)")
_ROW = re.compile(r"(\d+) (.*)")
_FRAME = re.compile(r"\bstack_frame_id=(\d+)")
_PLACE = re.compile(r"\bfile_location_id=(\d+)")
_FUNCTION = re.compile(r"\bfunction_name_id=(\d+)")
_OPCODE = re.compile(r" = (?:\(.*?\)|\S+) ([\w\-]+)\(")
_RUN_INSIDE = ("while", "call", "conditional")  # the computations that these call are instructions of their own
_NO_WORK = ("", "parameter", "constant", "tuple", "get-tuple-element", "bitcast")
_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"\}')


@dataclasses.dataclass(frozen=True)
class Collective:
    """One collective operation of a program.

    Attributes:
      kind: one of `KINDS`.
      size: bytes per device.
      arrays: number of arrays it combines.
      loops: trip counts of the loops around it, outermost first; None where unknown.
    """

    kind: str
    size: int
    arrays: int
    loops: tuple[int | None, ...]

    @property
    def times(self) -> int:
        """Number of executions per call of the program; a loop of unknown trip count counts once."""
        return math.prod(trips or 1 for trips in self.loops)


def tree_bytes(tree: Any) -> int:
    """Return the bytes of all arrays of a tree, concrete or abstract."""
    return sum(math.prod(x.shape) * x.dtype.itemsize for x in jax.tree.leaves(tree))


def from_parameters(params: Any, metrics: Any, gradient_steps: int) -> list[dict]:
    """Return the all-reduces of one update, each as one message.

    Per gradient step: the gradient, as large as the parameters, the weighted sums of loss and metrics, and the sum of
    weights. Per update: the counts of the rollout, and the value ranges of a non-finite batch.

    Args:
      params: parameters of all seeds on a device.
      metrics: `Metrics` of one update of those seeds.
      gradient_steps: epochs x minibatches.
    """
    sums = {name: value for name, value in metrics.means.items() if name not in (*NOT_SENT, *SENT_ONCE)}
    once = [metrics.means[name] for name in SENT_ONCE if name in metrics.means]
    weights = metrics.means["loss"]
    return [
        {"what": "gradient", "bytes": tree_bytes(params), "times": gradient_steps},
        {"what": "sums of loss, metrics, weights", "bytes": tree_bytes((sums, weights)), "times": gradient_steps},
        {"what": "counts", "bytes": tree_bytes((metrics.counts, once, metrics.non_finite.batch)), "times": 1},
    ]


def messages(parts: list[dict]) -> list[tuple[int, int]]:
    """Return (bytes, times) of each all-reduce, those that run equally often combined, as XLA does."""
    return [(sum(p["bytes"] for p in parts if p["times"] == n), n) for n in sorted({p["times"] for p in parts})]


def from_text(text: str) -> list[Collective]:
    """Return every collective of a compiled program, with the loops around it.

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


def loop_body(text: str, function: str) -> Counter[str]:
    """Count the instructions that one pass of a loop runs, by opcode: a fusion as one, inner loops once.

    Args:
      text: optimised HLO, `compiled.as_text()`, of any platform.
      function: name of the function that the loop was traced in; of several loops, the longest is meant.

    Raises:
      ValueError: no loop was traced there.
    """
    bodies, _ = _computations(text)
    frames = _innermost_functions(text)
    loops = [line for lines in bodies.values() for line in lines if _LOOP.search(line)]
    traced = [line for line in loops if (frame := _FRAME.search(line)) and frames.get(frame[1]) == function]
    if not traced:
        raise ValueError(f"no loop of the program was traced in {function}")
    return max((_instructions(bodies, _BODY.search(line)[1]) for line in traced), key=Counter.total)


def _innermost_functions(text: str) -> dict[str, str]:
    """Return the function of every stack frame, by the tables before the first computation."""
    tables: dict[str, dict[str, str]] = {}
    table: dict[str, str] = {}
    for line in text.splitlines():
        if line.startswith(("%", "ENTRY")):
            break
        if row := _ROW.match(line):
            table[row[1]] = row[2]
        else:
            table = tables.setdefault(line, {})
    names, places = tables.get("FunctionNames", {}), tables.get("FileLocations", {})
    function_of = {key: names[_FUNCTION.search(place)[1]].strip('"') for key, place in places.items()}
    return {key: function_of[_PLACE.search(frame)[1]] for key, frame in tables.get("StackFrames", {}).items()}


def _instructions(bodies: dict[str, list[str]], name: str) -> Counter[str]:
    found: Counter[str] = Counter()
    for line in bodies[name]:
        opcode = _opcode(line)
        if opcode in _NO_WORK:
            continue
        if opcode != "call":
            found[opcode] += 1
        if opcode in _RUN_INSIDE:
            found += sum((_instructions(bodies, inner) for inner in _called(line) if inner in bodies), Counter())
    return found


def _opcode(line: str) -> str:
    match = _OPCODE.search(line)
    return match[1] if match else ""


def summary(collectives: list[Collective], updates: int) -> dict:
    """Summarise the collectives of a program of `updates` updates.

    Returns:
      bytes: all-reduced bytes per device and update.
      updates: as given.
      operations: every all-reduce.
      unknown_loops: number of all-reduces in loops of unknown trip count.
      others: number of collectives of each other kind.
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
