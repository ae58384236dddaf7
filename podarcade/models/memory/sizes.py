"""Sizes of memory layers, and options that give layers equal numbers of parameters."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np

from podarcade.models.memory import Memory

TOLERANCE = 0.1


def parameters(memory: Memory) -> int:
    """Return the number of parameters of a layer."""
    x, start = jax.ShapeDtypeStruct((1, 1, memory.width), jnp.float32), jax.ShapeDtypeStruct((1, 1), bool)
    shapes = jax.eval_shape(memory.init, jax.random.key(0), jax.eval_shape(lambda: memory.initial(1)), x, start)
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(shapes))


def carry_bytes(memory: Memory) -> int:
    """Return the bytes that a layer carries for one environment."""
    leaves = jax.tree.leaves(jax.eval_shape(lambda: memory.initial(1)))
    return sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in leaves)


def budget(width: int) -> int:
    """Return the parameter budget of a matched layer: 4 width², that of an LRU with `width` states."""
    return 4 * width * width


def is_matched(memory: Memory) -> bool:
    """Return whether a layer is within 5 % of `budget`, so that any two matched layers are within 10 %."""
    return abs(parameters(memory) / budget(memory.width) - 1) <= TOLERANCE / 2


@functools.cache
def matched_size(memory: type[Memory], width: int, **options) -> int:
    """Return the value of the layer's SIZE field whose number of parameters is nearest to `budget`.

    Args:
      memory: the layer's class; SIZE names the field that its number of parameters grows with.
      width: number of features.
      **options: other fields that differ from their defaults.

    Raises:
      ValueError: the layer has no SIZE, or no value comes within 5 % of the budget.
    """
    name = memory.__name__
    if not memory.SIZE:
        raise ValueError(
            f"match=parameters, but {name} does not define SIZE, the name of the integer field that its number of "
            f'parameters grows with; add e.g. `SIZE: ClassVar[str] = "states"` and `states: int = 0` to {name}, or '
            "choose match=width"
        )

    @functools.cache
    def relative_error(size: int) -> float:
        try:
            layer = memory(width=width, **{**options, memory.SIZE: size})
            return parameters(layer) / budget(width) - 1
        except ValueError:  # some sizes are invalid: a head's size may have to be even
            return math.inf

    # Up to rounding, the number of parameters is quadratic in the size: fit three small layers and solve. Multiples
    # of four come first, since they are valid for every layer and easy to read.
    samples = (4, 8, 12)
    errors = [relative_error(size) for size in samples]
    if not np.all(np.isfinite(errors)):
        raise ValueError(f"{name} rejects a {memory.SIZE} of 4, 8 or 12; match=parameters needs all three to be valid")
    roots = np.roots(np.polyfit(samples, errors, 2).round(9))
    if not roots.size:
        raise ValueError(f"the number of parameters of {name} does not depend on {memory.SIZE}; choose match=width")
    guess = max(root.real for root in roots)
    best = 4 * max(round(guess / 4), 1)
    if abs(relative_error(best)) > TOLERANCE / 5:
        near = sorted(range(max(best - 3, 1), best + 4), key=lambda size: abs(size - guess))[:4]
        best = min(near, key=lambda size: abs(relative_error(size)))
    if abs(relative_error(best)) > TOLERANCE / 2:
        raise ValueError(
            f"{memory.SIZE}={best} gives {name} {relative_error(best):+.0%} parameters compared with the "
            f"{budget(width)} that match=parameters asks for; raise network.width, or choose match=width"
        )
    return best
