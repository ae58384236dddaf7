"""How large memories are, and how to make them equally large."""

import math

import jax
import jax.numpy as jnp
import numpy as np

from podarcade.models.memory import Memory

TOLERANCE = 0.1


def parameters(memory: Memory) -> int:
    """Number of parameters of a layer."""
    x, start = jax.ShapeDtypeStruct((1, 1, memory.width), jnp.float32), jax.ShapeDtypeStruct((1, 1), bool)
    shapes = jax.eval_shape(memory.init, jax.random.key(0), jax.eval_shape(lambda: memory.initial(1)), x, start)
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(shapes))


def carry_bytes(memory: Memory) -> int:
    """Bytes that a layer remembers of one environment."""
    leaves = jax.tree.leaves(jax.eval_shape(lambda: memory.initial(1)))
    return sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in leaves)


def budget(width: int) -> int:
    """The parameters of a layer that is matched: 4 width², those of an LRU with as many states as features."""
    return 4 * width * width


def is_matched(memory: Memory) -> bool:
    """Whether a layer has as many parameters as `budget` says, within 5 %, so that any two are within 10 %."""
    return abs(parameters(memory) / budget(memory.width) - 1) <= TOLERANCE / 2


def matched_size(memory: type[Memory], width: int, **options) -> int:
    """The value of the layer's SIZE that brings its number of parameters nearest to `budget`.

    Args:
      memory: the class; its parameters grow with the field that SIZE names.
      width: of the layer.
      options: other fields that are not at their defaults.

    Raises:
      ValueError: the layer has no SIZE, or none comes near enough.
    """
    if not memory.SIZE:
        raise ValueError(f"{memory.__name__} has no SIZE to match parameters with")

    def miss(size: int) -> float:
        try:
            layer = memory(width=width, **{**options, memory.SIZE: size})
            return parameters(layer) / budget(width) - 1
        except ValueError:  # not every number is a size: heads may have to be even
            return math.inf

    # Parameters are a quadratic function of the size, but for rounding; a few small layers tell which. Every layer
    # takes multiples of four, and people like round numbers.
    few = (4, 8, 12)
    roots = np.roots(np.polyfit(few, [miss(size) for size in few], 2).round(9))
    guess = max(root.real for root in roots)
    best = 4 * max(round(guess / 4), 1)
    if abs(miss(best)) > TOLERANCE / 5:
        best = min(range(max(best - 3, 1), best + 4), key=lambda size: abs(miss(size)))
    if abs(miss(best)) > TOLERANCE / 2:
        raise ValueError(
            f"{memory.__name__} comes no nearer to {budget(width)} parameters than {miss(best):+.0%} at width {width}; "
            "use a larger width"
        )
    return best
