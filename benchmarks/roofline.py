"""Predicted speed of training on accelerators, from the operations and bytes of each part. No device is needed.

    python -m benchmarks.roofline
    python -m benchmarks.roofline --json=benchmarks/results/roofline.json

A part that makes f operations and moves b bytes takes at least max(f / F, b / B) on a device of F operations and B
bytes per second, and parts follow each other, so that

    frames per second <= 1 / Σ_parts max(f / F, b / B)      f and b per environment step

Operations are those of matrix products and convolutions (benchmarks/flops.py), counted in the traced update. Bytes are
those that XLA does not save by fusing elementwise work with products: a frame is written when it is drawn and read by
the encoder, and each product's result is written and read once; learning reads frames twice, and results and their
gradients once more each. A layer of the trunk is taken as eight products of its width. Left out are
launches of kernels, elementwise work, the environment's state, optimiser and replay, and products of shapes that do
not fill a device. So this is a bound for programs that XLA makes, not an estimate: it says where their limits are.

Peaks are the vendors' for dense bfloat16 products, and for memory.
"""

import argparse
import dataclasses
import datetime
import functools
import math
import pathlib
import sys
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.extend.core import Jaxpr

from benchmarks import flops, training_settings
from podarcade.anakin.update import Updater
from podarcade.models.encoders import Encoder
from podarcade.runtime import provenance
from podarcade.runtime.run_files import write_json

BATCH = 64  # frames that are traced; operations and bytes are proportional to it
CONFIGS = tuple(
    f"configs/{algorithm}.py:preset=gpu,encoder={encoder}"
    for algorithm in ("pqn", "ppo")
    for encoder in ("popgym_cnn", "patch")
)


class Device(NamedTuple):
    """A device.

    Attributes:
      operations: per second, of bfloat16 products.
      bandwidth: bytes per second, of its memory.
    """

    operations: float
    bandwidth: float


DEVICES = {
    "H100 SXM": Device(989e12, 3.35e12),
    "H200 SXM": Device(989e12, 4.8e12),
    "TPU v5e": Device(197e12, 0.819e12),
}


class Part(NamedTuple):
    """A part of an update, per environment step.

    Attributes:
      operations: in products.
      bytes: written and read.
    """

    operations: float
    bytes: float

    def seconds(self, device: Device) -> float:
        """Return the least time that it takes on a device."""
        return max(self.operations / device.operations, self.bytes / device.bandwidth)

    def is_bound_by_bytes(self, device: Device) -> bool:
        """Whether memory, rather than arithmetic, is its limit."""
        return self.bytes / device.bandwidth > self.operations / device.operations


class Free(Encoder):
    """An encoder without products: the first numbers of a frame are its features."""

    features: int = 1

    @nn.compact
    def __call__(self, frames: jax.Array) -> jax.Array:
        """Return features float32[N, features]."""
        return frames.reshape(len(frames), -1)[:, : self.features].astype(jnp.float32)


def parts(updater: Updater) -> dict[str, Part]:
    """Return the parts of an update: "draw", "encode to act", "encode to learn", "memory and heads"."""
    algorithm = updater.algorithm
    steps = updater.num_envs * algorithm.rollout_length
    encoder = _encoder(updater)
    free = algorithm.trunk.clone(encoder=functools.partial(Free, features=encoder.features))
    without = dataclasses.replace(updater, algorithm=dataclasses.replace(algorithm, trunk=free))
    whole, rest = (flops.of_update(one, 1)["update"] / steps for one in (updater, without))
    learn = whole - rest - encoder.forward
    learned = learn / encoder.both  # how often a step is encoded with a gradient; without one it counts as less
    vectors = 4 * algorithm.trunk.width * 8 * algorithm.trunk.layers  # bytes of the results of a step's products
    return {
        "draw": Part(0.0, (1 + learned) * encoder.frame),
        "encode to act": Part(encoder.forward, encoder.frame + 2 * encoder.results),
        "encode to learn": Part(learn, learned * (2 * encoder.frame + 6 * encoder.results)),
        "memory and heads": Part(rest, (2 + 6 * learned) * vectors),
    }


class Encoded(NamedTuple):
    """What the encoder does with a frame.

    Attributes:
      forward, both: operations, without and with the gradient of its parameters.
      results: bytes of the results of its products.
      frame: bytes of the frame.
      features: how many it makes.
    """

    forward: float
    both: float
    results: float
    frame: int
    features: int


def _encoder(updater: Updater) -> Encoded:
    encoder = updater.algorithm.trunk.encoder()
    _, timestep = jax.eval_shape(updater.environment.reset, jax.random.key(0))
    frame = timestep.observation
    observation = jax.ShapeDtypeStruct((BATCH, *frame.shape), frame.dtype)
    params = jax.eval_shape(encoder.init, jax.random.key(0), observation)
    result = jax.eval_shape(encoder.apply, params, observation)

    def both(params, observation, cotangent):
        result, pull = jax.vjp(lambda params: encoder.apply(params, observation), params)
        return result, pull(cotangent)

    return Encoded(
        flops.products(encoder.apply, params, observation) / BATCH,
        flops.products(both, params, observation, result) / BATCH,
        _results(jax.make_jaxpr(encoder.apply)(params, observation).jaxpr) * jnp.dtype(encoder.dtype).itemsize / BATCH,
        math.prod(frame.shape) * frame.dtype.itemsize,
        result.shape[-1],
    )


def _results(jaxpr: Jaxpr) -> int:
    """Return the sizes of the results of all products and convolutions."""
    inner = sum(_results(one) for equation in jaxpr.eqns for one in jax.extend.core.jaxprs_in_params(equation.params))
    products = (one for one in jaxpr.eqns if one.primitive.name in ("dot_general", "conv_general_dilated"))
    return inner + sum(variable.aval.size for one in products for variable in one.outvars)


def row(config: str, updater: Updater) -> dict[str, Any]:
    """Return the parts of a configuration, and what they predict for each device."""
    found = parts(updater)
    return {
        "config": config,
        "parts": {name: part._asdict() for name, part in found.items()},
        "devices": {
            name: {
                "frames_per_second": 1 / sum(part.seconds(device) for part in found.values()),
                "parts": {
                    part: {"seconds": one.seconds(device), "is_bound_by_bytes": one.is_bound_by_bytes(device)}
                    for part, one in found.items()
                },
            }
            for name, device in DEVICES.items()
        },
    }


def line(found: dict[str, Any]) -> str:
    """Format a row for display."""
    speeds = ", ".join(f"{name} {one['frames_per_second'] / 1e6:.2f} M" for name, one in found["devices"].items())
    return f"{found['config']}: at most {speeds} frames/s"


def main(arguments: list[str]) -> None:
    """Print the predictions, and write them."""
    parser = training_settings.Parser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--config", action="append", default=[], help="FILE.py:ARGUMENTS; may be repeated")
    parser.add_argument("--json", default="", help="file for the results")
    options, rows = parser.parse_args(arguments[1:]), []
    for config in options.config or CONFIGS:
        _, run = training_settings.load([f"--config={config}", "--config.encoder.dtype=bfloat16"])
        rows.append(row(config, run.updater))
        print(line(rows[-1]), flush=True)
    if options.json:
        about = {"date": datetime.date.today().isoformat(), **provenance.collect(arguments)}
        write_json(pathlib.Path(options.json), about | {"rows": rows})


if __name__ == "__main__":
    main(sys.argv)
