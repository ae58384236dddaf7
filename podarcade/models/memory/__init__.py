"""The Memory contract: from features and starts to features, in parallel over time."""

from typing import Any, ClassVar

import jax
from flax import linen as nn


class Memory(nn.Module):
    """One memory layer; a subclass lives in a file of its own.

    With T = 1 it acts, with T = n it learns: both are the same function, so that

        apply(c, x[:k]) then apply(c', x[k:])  ==  apply(c, x)

    for every k, to rounding. A start at t means: forget everything before t, then
    take x[t] in. What is forgotten is dropped by selection, never by a product with
    zero, so that a NaN or an infinity before a start cannot be seen after it.
    The carry is float32 whatever the features are.

    A layer that can be computed in several ways has a field `form`, "auto" or one of FORMS: all are the same
    function. SIZE names the field that the number of parameters grows with, so that layers can be
    compared at equal numbers; where it is 0 the size follows from the width.

    Attributes:
      width: number of input and of output features.
    """

    FORMS: ClassVar[tuple[str, ...]] = ()
    SIZE: ClassVar[str] = ""

    width: int = 128

    def initial(self, batch: int) -> Any:
        """The carry of `batch` fresh sequences: arrays [batch, ...]. Needs no parameters."""
        raise NotImplementedError

    def __call__(self, carry: Any, x: jax.Array, start: jax.Array) -> tuple[Any, jax.Array]:
        """(carry, x float[T, B, width], start bool[T, B]) -> (carry, y float[T, B, width])."""
        raise NotImplementedError
