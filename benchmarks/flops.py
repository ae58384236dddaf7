"""Floating-point operations of a program, and the peak rate of the device. Defines no flags.

XLA's cost analysis counts the body of a loop once, however often it runs, and most of an update is loops: over steps,
over minibatches, and inside memories that run step by step. This module traces the update to a jaxpr instead and
multiplies the body of a loop by its length. It counts matrix products and convolutions, two operations per
multiply-add, without those on padding or on the zeros of a dilation. Elementwise work is not counted: activations,
norms, recurrences, environment steps, rendering, the optimiser. The peak is that of matrix products too.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr
from jax.interpreters import partial_eval
from jax.sharding import PartitionSpec as P

from benchmarks import layers
from podarcade.anakin import sharding
from podarcade.anakin.update import Updater
from podarcade.types import State


def products(function, *arguments) -> int:
    """Count the operations in matrix products and convolutions, over all devices; unused results do not count.

    Args:
      function: the function, traced but not run.
      *arguments: arrays, or their shapes and dtypes.

    Raises:
      ValueError: products in a `while` loop, whose length is unknown.
    """
    jaxpr = jax.make_jaxpr(function)(*arguments).jaxpr
    used, _ = partial_eval.dce_jaxpr(jaxpr, [True] * len(jaxpr.outvars))
    return _of_jaxpr(used)


def of_update(updater: Updater, seeds: int) -> dict[str, int]:
    """Count the operations of one update of `seeds` seeds: "update" in total, and "act" for choosing actions."""
    state = jax.eval_shape(updater.init, jax.ShapeDtypeStruct((seeds,), jnp.int32))
    mapped = sharding.map_over(updater.mesh, updater._update, (sharding.SPECS,), (sharding.SPECS, P("seed")))
    one = one_seed(updater)
    learner, actors = one.learner, one.actors
    _, timestep = jax.eval_shape(jax.vmap(updater.environment.reset), actors.key)
    exploration = jax.ShapeDtypeStruct((), jnp.float32)
    act = products(
        updater.algorithm.act, learner.params, actors.carry, timestep, actors.previous_action, actors.key, exploration
    )
    return {"update": products(mapped, state), "act": seeds * updater.algorithm.rollout_length * act}


def one_seed(updater: Updater) -> State:
    """Return shapes and dtypes of the state of one seed, without the seed axis."""
    state = jax.eval_shape(updater.init, jax.ShapeDtypeStruct((updater.mesh.shape["seed"],), jnp.int32))
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape[1:], x.dtype), state)


def matmul_peak(dtype: str, side: int = 0, seconds: float = 0.2) -> float:
    """Measure the operations per second of square matrix products at default precision; the best of five.

    Args:
      dtype: "float32" or "bfloat16".
      side: side of the matrices; 0 for a size that saturates the device.
      seconds: target duration of each of the five measurements.
    """
    side = side or (2048 if jax.default_backend() == "cpu" else 8192)
    left, right = (jax.random.normal(key, (side, side), dtype) for key in jax.random.split(jax.random.key(0)))
    program = layers.Program(jnp.matmul, left, right)
    calls = program.calls_for(seconds)
    return 2 * side**3 / min(program.seconds(calls) for _ in range(5))


def _of_jaxpr(jaxpr: Jaxpr) -> int:
    return sum(_of_equation(equation) for equation in jaxpr.eqns)


def _of_equation(equation) -> int:
    name, params = equation.primitive.name, equation.params
    if name == "dot_general":
        return _of_product(equation)
    if name == "conv_general_dilated":
        return _of_convolution(equation)
    inner = [_of_jaxpr(jaxpr) for jaxpr in _inside(params)]
    if name == "cond":
        return max(inner)
    if name == "while" and sum(inner):
        raise ValueError("products in a loop of unknown length")
    times = {"scan": lambda: params["length"], "shard_map": lambda: params["mesh"].size}.get(name, lambda: 1)()
    return times * sum(inner)


def _inside(params: dict) -> list[Jaxpr]:
    """The jaxprs among the parameters of an operation."""
    values = [item for value in params.values() for item in (value if isinstance(value, tuple | list) else (value,))]
    return [
        value.jaxpr if isinstance(value, ClosedJaxpr) else value
        for value in values
        if isinstance(value, ClosedJaxpr | Jaxpr)
    ]


def _of_product(equation) -> int:
    (contracted, _), _ = equation.params["dimension_numbers"]
    left = equation.invars[0].aval
    return 2 * equation.outvars[0].aval.size * math.prod(left.shape[axis] for axis in contracted)


def _of_convolution(equation) -> int:
    params, (image, kernel) = equation.params, (item.aval.shape for item in equation.invars)
    result, numbers = equation.outvars[0].aval.shape, params["dimension_numbers"]
    pairs = 2 * result[numbers.out_spec[0]] * result[numbers.out_spec[1]] * kernel[numbers.rhs_spec[1]]
    for axis, places in enumerate(zip(numbers.lhs_spec[2:], numbers.rhs_spec[2:], numbers.out_spec[2:], strict=True)):
        sizes = image[places[0]], kernel[places[1]], result[places[2]]
        pairs *= _taps(*sizes, **{key: params[key][axis] for key in _PER_AXIS})
    return pairs


_PER_AXIS = ("window_strides", "padding", "lhs_dilation", "rhs_dilation")


def _taps(image, kernel, result, window_strides, padding, lhs_dilation, rhs_dilation) -> int:
    """Along one axis, the number of (output, kernel) positions that read an element of the image."""
    position = np.arange(result)[:, None] * window_strides + np.arange(kernel) * rhs_dilation - padding[0]
    return int(((position >= 0) & (position <= (image - 1) * lhs_dilation) & (position % lhs_dilation == 0)).sum())
