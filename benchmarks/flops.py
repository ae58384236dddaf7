"""Floating-point operations of a program, and the peak they are compared with. It defines no flags.

XLA's own cost analysis counts the body of a loop once, however often it runs, and nearly all of an update is loops:
over steps, over minibatches, and inside memories that run step by step. So the update itself is traced, and what it
consists of is counted, the inside of a loop times its length. Counted are products: matrix products and convolutions,
two operations for each multiply-add with a number that is there (not with padding, nor with the zeros between dilated
numbers). What is done number by number is not counted: activations, norms, recurrences, game steps, drawing, the
optimiser. The peak that it is compared with is of products too.
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
    """Operations in products of a function, on all devices that it is mapped over; not those whose result nothing uses.

    Args:
      function: is traced, not run.
      arguments: arrays, or their shapes and dtypes.

    Raises:
      ValueError: there are products in a `while` loop, whose length is not known beforehand.
    """
    jaxpr = jax.make_jaxpr(function)(*arguments).jaxpr
    used, _ = partial_eval.dce_jaxpr(jaxpr, [True] * len(jaxpr.outvars))
    return _of_jaxpr(used)


def of_update(updater: Updater, seeds: int) -> dict[str, int]:
    """Operations of one update of so many seeds: "update", all of it, and "act", the part that chooses actions."""
    state = jax.eval_shape(updater.init, jax.ShapeDtypeStruct((seeds,), jnp.int32))
    mapped = sharding.map_over(updater.mesh, updater._update, (sharding.SPECS,), (sharding.SPECS, P("seed")))
    one = one_seed(updater)
    learner, actors = one.learner, one.actors
    _, timestep = jax.eval_shape(jax.vmap(updater.environment.reset), actors.key)
    exploration = jax.ShapeDtypeStruct((), jnp.float32)
    act = products(
        updater.algorithm.act, learner.params, actors.carry, timestep, actors.previous, actors.key, exploration
    )
    return {"update": products(mapped, state), "act": seeds * updater.algorithm.rollout_length * act}


def one_seed(updater: Updater) -> State:
    """Shapes and dtypes of the state of one seed, without the axis of seeds."""
    state = jax.eval_shape(updater.init, jax.ShapeDtypeStruct((updater.mesh.shape["seed"],), jnp.int32))
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape[1:], x.dtype), state)


def matmul_peak(dtype: str, side: int = 0, seconds: float = 0.2) -> float:
    """Operations per second of the best of five products of two square matrices, at the default precision.

    Args:
      dtype: "float32" or "bfloat16".
      side: of the matrices; 0 for one that keeps the device busy.
      seconds: about how long each of the five lasts.
    """
    side = side or (2048 if jax.default_backend() == "cpu" else 8192)
    one, two = (jax.random.normal(key, (side, side), dtype) for key in jax.random.split(jax.random.key(0)))
    program = layers.Program(jnp.matmul, one, two)
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
    """The programs that an operation has in it."""
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
    """Along one axis: pairs of a place in the result and one in the kernel that meet a number of the image."""
    place = np.arange(result)[:, None] * window_strides + np.arange(kernel) * rhs_dilation - padding[0]
    return int(((place >= 0) & (place <= (image - 1) * lhs_dilation) & (place % lhs_dilation == 0)).sum())
