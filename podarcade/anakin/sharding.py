"""The device mesh, and every collective between devices.

Axis "seed" splits independent runs, axis "data" the environments of one run. Nothing is communicated along "seed".
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AbstractDevice, AbstractMesh, AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from podarcade.types import State

AXES = ("seed", "data")
SPECS = State(learner=P("seed"), actors=P("seed", "data"), replay=P("seed", "data"))


def make_mesh(seed: int, data: int) -> Mesh:
    """Return a mesh of the first `seed` x `data` devices."""
    devices = jax.devices()[: seed * data]
    return jax.make_mesh((seed, data), AXES, (AxisType.Auto,) * 2, devices=devices)


def abstract_mesh(seed: int, data: int, platform: str) -> AbstractMesh:
    """Return a mesh of devices that need not exist, to trace the programs of their platform: "cpu", "gpu" or "tpu"."""
    device = AbstractDevice(platform, None, platform)
    return AbstractMesh((seed, data), AXES, (AxisType.Auto,) * 2, abstract_device=device)


def choose_shape(devices: int, seeds: int, shards: int) -> tuple[int, int]:
    """Return the mesh shape (seed, data) that uses most devices, preferring seeds, which never communicate.

    Args:
      devices: number of devices.
      seeds: number of seeds; the seed axis divides it.
      shards: number of shards the environments can be split into; the data axis divides it.
    """
    shapes = [
        (seed, data)
        for seed in range(1, devices + 1)
        for data in range(1, devices + 1)
        if seed * data <= devices and seeds % seed == 0 and shards % data == 0
    ]
    return max(shapes, key=lambda shape: (shape[0] * shape[1], shape[0]))


def check_divisible(num_envs: int, num_minibatches: int, data_devices: int) -> None:
    """Raise ValueError unless every minibatch has equally many environments on every device."""
    multiple = num_minibatches * data_devices
    if num_envs < 1 or num_envs % multiple:
        below, above = num_envs // multiple * multiple, (num_envs // multiple + 1) * multiple
        near = sorted({max(below, multiple), max(above, multiple)})
        raise ValueError(
            f"num_envs={num_envs} does not divide into algorithm.num_minibatches={num_minibatches} on "
            f"{data_devices} data devices; use {' or '.join(map(str, near))}"
        )


def idle_processes(mesh: Mesh) -> list[int]:
    """Return the processes without a device in the mesh, which would block in collectives forever."""
    used = {device.process_index for device in mesh.devices.flat}
    return [index for index in range(jax.process_count()) if index not in used]


def shardings(mesh: Mesh | AbstractMesh) -> State:
    """Return the sharding of each part of the state, as a prefix tree."""
    return jax.tree.map(lambda spec: NamedSharding(mesh, spec), SPECS, is_leaf=lambda x: isinstance(x, P))


def put_by_seed(mesh: Mesh, arrays: dict[str, np.ndarray]) -> dict[str, jax.Array]:
    """Return arrays [S, ...], the same in all processes, split over the seed axis."""
    placement = NamedSharding(mesh, P("seed"))
    return {
        name: jax.make_array_from_callback(array.shape, placement, lambda index, array=array: array[index])
        for name, array in arrays.items()
    }


def abstract_by_seed(mesh: Mesh | AbstractMesh, arrays: dict[str, np.ndarray]) -> dict[str, jax.ShapeDtypeStruct]:
    """Return shapes, dtypes and shardings of what `put_by_seed` returns."""
    placement = NamedSharding(mesh, P("seed"))
    return {name: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=placement) for name, x in arrays.items()}


def map_over(mesh: Mesh | AbstractMesh, function: Callable, in_specs: Any, out_specs: Any) -> Callable:
    """Return `jax.shard_map` of a function of one seed, vmapped over the seeds of each device.

    A single seed is not vmapped: a convolution under `vmap` over parameters becomes a slow grouped convolution.
    Arguments with spec `P()` are shared by all seeds.
    """
    axes = tuple(None if spec == P() else 0 for spec in in_specs)

    def one_or_many(*args):
        mapped = next(arg for arg, axis in zip(args, axes, strict=True) if axis == 0)
        if jax.tree.leaves(mapped)[0].shape[0] > 1:
            return jax.vmap(function, in_axes=axes)(*args)
        single = [
            arg if axis is None else jax.tree.map(lambda x: x[0], arg) for arg, axis in zip(args, axes, strict=True)
        ]
        return jax.tree.map(lambda x: x[None], function(*single))

    return jax.shard_map(one_or_many, mesh=mesh, in_specs=in_specs, out_specs=out_specs)


def vary(tree: Any, axes: tuple[str, ...] = ("data",)) -> Any:
    """Mark every leaf as varying over `axes`.

    Parameters are marked before they are differentiated: under `jax.shard_map` the gradient with respect to a
    replicated value is already summed over the axis, so its mean would silently be N times too large.
    """

    def mark(x):
        missing = tuple(axis for axis in axes if axis not in jax.typeof(x).manual_axis_type.varying)
        return jax.lax.pcast(x, missing, to="varying") if missing else x

    return jax.tree.map(mark, tree)


def total(tree: Any) -> Any:
    """Return the sum over the data axis, in one all-reduce for each dtype."""
    return _all_reduce(jax.lax.psum, tree)


def highest(tree: Any) -> Any:
    """Return the maximum over the data axis, in one all-reduce for each dtype."""
    return _all_reduce(jax.lax.pmax, tree)


def _all_reduce(reduce: Callable, tree: Any) -> Any:
    """Reduce the leaves over the data axis, raveled into one vector for each dtype: a collective costs its latency.

    A single device has nothing to send, and would pay for the copies.
    """
    if jax.lax.axis_size("data") == 1:
        return reduce(tree, "data")
    leaves, structure = jax.tree.flatten(tree)
    groups: dict[Any, list[int]] = {}
    for index, leaf in enumerate(leaves):
        groups.setdefault((leaf.dtype, jax.typeof(leaf).manual_axis_type.varying), []).append(index)
    for indices in groups.values():
        members = [leaves[index] for index in indices]
        reduced = reduce(jnp.concatenate([leaf.reshape(-1) for leaf in members]), "data")
        parts = jnp.split(reduced, np.cumsum([leaf.size for leaf in members])[:-1])
        for index, leaf, part in zip(indices, members, parts, strict=True):
            leaves[index] = part.reshape(leaf.shape)
    return jax.tree.unflatten(structure, leaves)


def shard_index() -> jax.Array:
    """Return the index of this device on the data axis, int32[]."""
    return jax.lax.axis_index("data")


def mean(values: jax.Array, weights: jax.Array) -> jax.Array:
    """Return the mesh-wide weighted mean of values, shaped like the weights; 0 if all weights are 0."""
    value, weight = total((jnp.sum(values * weights), jnp.sum(weights)))
    return value / jnp.maximum(weight, 1.0)


def weighted_mean_gradient(
    loss: Callable, params: Any, *args: Any
) -> tuple[Any, dict[str, jax.Array], tuple[jax.Array, jax.Array]]:
    """Return the gradient of the mesh-wide mean of a weighted loss, Σ w ℓ / n, n the number of non-zero weights.

    With weights of 0 and 1 this is the weighted mean. Other weights are importance weights: normalising by their sum
    would bias the estimate, and cancel them altogether for a single sequence. Numerator and denominator are summed
    over the mesh separately, because masks make local counts differ and a mean of local means would be biased.

    Args:
      loss: (params, *args) -> losses [T, B], weights [T, B], metrics {name: [T, B]}.
      params: replicated over the data axis.
      *args: passed to `loss`.

    Returns:
      The gradient and the same means of the loss and the metrics, with n as `transitions`, all replicated; and this
      device's losses and weights.
    """

    def local_sums(params):
        losses, weights, metrics = loss(params, *args)
        sums = {name: jnp.sum(value * weights) for name, value in {"loss": losses, **metrics}.items()}
        return sums["loss"], (sums, (losses, weights))

    gradient, (sums, local) = jax.grad(local_sums, has_aux=True)(vary(params))
    gradient, sums, count = total((gradient, sums, jnp.sum(local[1] > 0, dtype=jnp.float32)))
    gradient, means = jax.tree.map(lambda x: x / jnp.maximum(count, 1.0), (gradient, sums))
    return gradient, means | {"transitions": count}, local
