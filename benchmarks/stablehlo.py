"""Operations of a lowered program, by the loops around them. Defines no flags.

    with tracing_for("gpu"):
        lowered = jax.jit(function).trace(*arguments).lower(lowering_platforms=("cuda",))
    found = stablehlo.operations(lowered)

Nothing is compiled: these are facts of the program for a platform, whatever machine they are read on. A function that
is called n times counts n times, the body of a loop once however often it runs.
"""

import dataclasses
import math
import re
from collections.abc import Iterator
from typing import Any

import jax

COLLECTIVES = ("all_reduce", "all_gather", "reduce_scatter", "all_to_all", "collective_permute", "collective_broadcast")
# Communication with the host, apart from custom calls.
HOST = ("infeed", "outfeed", "send", "recv")

# Regions of other operations, of a reduction for example, are one operation with it.
_ENTERED = ("sdy.manual_computation", "stablehlo.case", "stablehlo.if")
_ARRAY = re.compile(r"tensor<((?:\d+x)*)(\w+(?:<\w+>)?)>$")
_NAME = re.compile(r'loc\("([^"]*)"')
_FRAME = re.compile(r'"([^"]+)"\("([^"]+)":\d+')


@dataclasses.dataclass(frozen=True)
class Operation:
    """One operation of a program.

    Attributes:
      name: in StableHLO, such as "all_reduce".
      loops: names of the functions whose loops it is in, outermost first, such as ("Updater.trace.many", "rollout").
      types: of its results, such as "tensor<4x8xf32>".
      primitive: of JAX, that it comes from.
      target: of a custom call, else "".
    """

    name: str
    loops: tuple[str, ...]
    types: tuple[str, ...]
    primitive: str
    target: str

    @property
    def dtypes(self) -> set[str]:
        """Element types of its results, such as {"f32", "i1"}."""
        return {match[2] for match in map(_ARRAY.match, self.types) if match}

    @property
    def largest_bytes(self) -> int:
        """Bytes of the largest of its results."""
        arrays = [match for match in map(_ARRAY.match, self.types) if match]
        return max((_bytes(match[1], match[2]) for match in arrays), default=0)


def operations(lowered: jax.stages.Lowered) -> list[Operation]:
    """Return the operations of a program in the order of its text, with its constants."""
    module = lowered.compiler_ir("stablehlo")
    functions = {function.attributes["sym_name"].value: function.operation for function in module.body.operations}
    return list(_inside(functions["main"], functions, ()))


def _inside(operation: Any, functions: dict[str, Any], loops: tuple[str, ...]) -> Iterator[Operation]:
    """Generate the operations in the regions of an operation."""
    for region in operation.regions:
        for block in region.blocks:
            for view in block.operations:
                yield from _of(view.operation, functions, loops)


def _of(operation: Any, functions: dict[str, Any], loops: tuple[str, ...]) -> Iterator[Operation]:
    """Generate an operation and those that it contains or calls."""
    dialect, name = operation.name.split(".", 1)
    if operation.name == "func.call":
        yield from _inside(functions[operation.attributes["callee"].value], functions, loops)
    elif dialect == "stablehlo" and name != "return":
        yield _describe(operation, loops)
    if operation.name == "stablehlo.while":
        for view in operation.regions[1].blocks[0].operations:
            yield from _of(view.operation, functions, (*loops, _source(operation)))
    elif operation.name in _ENTERED:
        yield from _inside(operation, functions, loops)


def _describe(operation: Any, loops: tuple[str, ...]) -> Operation:
    attributes = operation.attributes
    return Operation(
        name=operation.name.removeprefix("stablehlo."),
        loops=loops,
        types=tuple(str(result.type) for result in operation.results),
        primitive=_names(operation).split("/")[-1],
        target=attributes["call_target_name"].value if "call_target_name" in attributes else "",
    )


def _names(operation: Any) -> str:
    """Return JAX's name of an operation, such as "jit(function)/while/body/add"."""
    found = _NAME.match(str(operation.location))
    return found[1] if found else ""


def _source(operation: Any) -> str:
    """Return the name of the innermost function of ours that an operation was traced in, without `<locals>`."""
    frames = _FRAME.findall(str(operation.location))
    name = next((name for name, path in frames if "podarcade" in path), frames[0][0] if frames else "")
    return name.replace(".<locals>", "")


def _bytes(shape: str, dtype: str) -> int:
    bits = int(re.search(r"\d+", dtype)[0]) * (2 if dtype.startswith("complex") else 1)
    return max(bits // 8, 1) * math.prod(int(length) for length in shape.split("x") if length)
