"""The platform that a program is traced for, which decides between equal forms of a computation.

JAX keeps it in the mesh in context, which is part of the key of every cached trace: a trace for one platform is never
reused for another.
"""

import contextlib

import jax
from jax.sharding import AbstractDevice, AbstractMesh


def platform() -> str:
    """Return the platform to trace for, "cpu", "gpu" or "tpu": that of the mesh in context, else JAX's default."""
    device = jax.sharding.get_abstract_mesh().abstract_device
    return device.platform if device else jax.default_backend()


def tracing_for(name: str) -> contextlib.AbstractContextManager:
    """Return a context that traces for a platform, which need not be available, in order to lower for it.

        with tracing_for("gpu"):
            lowered = jax.jit(function).trace(*arguments).lower(lowering_platforms=("cuda",))

    Inside `jax.shard_map` the platform is that of its mesh, see `sharding.abstract_mesh`.

    Args:
      name: "cpu", "gpu" or "tpu", as in `jax.Device.platform`: "gpu" stands for both "cuda" and "rocm".
    """
    return jax.sharding.use_abstract_mesh(AbstractMesh((), (), abstract_device=AbstractDevice(name, None, name)))
