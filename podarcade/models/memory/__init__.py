"""The Memory contract: sequence layers that map features and episode starts to features, parallel over time."""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from flax import linen as nn

COLLECTION = "intermediates"  # where flax keeps what `sow` is given, if it is asked to
ATTENTION = "attention"  # name that layers which attend to single steps `sow` their weights [T, B, T] under


class Memory(nn.Module):
    """One memory layer. Each subclass lives in its own file and reads a whole segment of time per call.

    A call with T = 1 acts and a call with T = n learns. Both compute the same function: up to rounding,

        apply(c, x[:k]) followed by apply(c', x[k:])  ==  apply(c, x)

    for every k. A start at time t resets the layer to `initial` before x[t] is read. Discard the old state with a
    select (`resets.zero_where`), never by multiplying with zero, so that a NaN or infinity before a start cannot
    reach an output or a gradient after it.

    What a layer must keep:

    * `initial(batch)` needs no parameters. Every leaf of the carry is an array with leading axis `batch`.
    * `__call__` returns (carry, y). The carry keeps its structure, shapes and dtypes, float32 even where x is
      bfloat16; y has the shape and the dtype of x.
    * y[t] depends on x[..t] back to the last start only, and on one environment only. A layer that sees a fixed number
      of steps names that number `window`.

    Rank promotion is allowed: a parameter u of shape [width] multiplies h of shape [B, width] as `u * h`. The layers
    of this package write `u[None] * h`, since their own tests turn implicit broadcasting into an error. State every
    dtype (`jnp.zeros(shape, jnp.float32)`), so that the layer computes the same numbers under JAX_ENABLE_X64.

    `podarcade.models.contract.check_memory` checks shapes and dtypes before a run starts, and tests/test_memory.py
    checks the behaviour of every layer in this folder.

    A layer with several equivalent implementations has a field `form`, "auto" or one of FORMS. SIZE names the integer
    field that the number of parameters grows with, which lets `match=parameters` compare layers of equal size; a
    value of 0 derives the size from the width. Where SIZE is empty only `match=width` is available.

    The docstring of each layer with a time scale states its horizon at initialisation: the gradient of y[t] with
    respect to x[t - k], relative to that with respect to x[t], at k = 32 and k = 128, for default options (measured by
    `python -m benchmarks.horizon`). These values span many orders of magnitude, so a comparison of layers at
    their defaults compares initialisations as much as it compares recurrences.

    Such a layer has a field `init_horizon`, in steps, of one meaning. 0 is the layer's own initialisation. h >= 2 gives
    its n states, at zero input, the time constants τᵢ = -1 / log|λᵢ| (a state keeps exp(-k / τ) of its content for k
    steps)

        τᵢ = h (2 / h)^(i / (n - 1)),   i = 0 .. n - 1

    evenly spaced between 2 and h on a logarithmic scale, and changes nothing else; `time_scales` computes them. The
    argument `init=matched` of an experiment sets it to the same value for all layers.

    Attributes:
      width: number of input features and of output features.
    """

    FORMS: ClassVar[tuple[str, ...]] = ()
    SIZE: ClassVar[str] = ""

    width: int = 128

    def initial(self, batch: int) -> Any:
        """Return the carry of `batch` fresh sequences: a tree of arrays [batch, ...]."""
        raise NotImplementedError

    def __call__(self, carry: Any, x: jax.Array, start: jax.Array) -> tuple[Any, jax.Array]:
        """Read a segment of time.

        Args:
          carry: a tree of arrays [B, ...], from `initial` or from the previous call.
          x: float[T, B, width].
          start: bool[T, B], True at the first step of an episode.

        Returns:
          The new carry, and y float[T, B, width].
        """
        raise NotImplementedError


def project_states(layer: Memory, hidden: jax.Array, dtype: jnp.dtype) -> jax.Array:
    """Return hidden states [T, B, states] as y [T, B, width], in `dtype`.

    The dense layer `out` projects them if the field `states` is set. If it is 0, there are `width` states, returned as
    they are.
    """
    y = hidden.astype(dtype)
    return nn.Dense(layer.width, dtype=dtype, name="out")(y) if layer.states else y
