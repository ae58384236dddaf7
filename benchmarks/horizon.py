"""Measure how far back every memory layer sees at initialisation.

    python -m benchmarks.horizon --json=benchmarks/results/horizon-cpu.json

For a layer with its default options, fresh parameters and standard normal inputs x,

    g(k) = ‖∂(v · y_T) / ∂x_{T-k}‖ / ‖∂(v · y_T) / ∂x_T‖

with a random direction v, as a root mean square over sequences and parameter seeds. A layer with a small g(k) gets next
to no gradient from what lies k steps back, so it has to lengthen its horizon before it can learn from it.
"""

import argparse
import pathlib
import sys

import jax
import jax.numpy as jnp

from podarcade import plugins
from podarcade.runtime import backend, provenance
from podarcade.runtime.run_files import write_json

STEPS = (1, 8, 32, 128)
WIDTH, BATCH, SEEDS = 128, 8, 4


def gradients(name: str, steps: tuple[int, ...] = STEPS, width: int = WIDTH) -> list[float]:
    """Return g(k) of a memory for each k in `steps`."""
    layer, length = plugins.find("memory", name)(width=width), max(steps) + 1

    def squares(key: jax.Array) -> jax.Array:
        params_key, input_key, direction_key = jax.random.split(key, 3)
        x = jax.random.normal(input_key, (length, BATCH, width))
        direction = jax.random.normal(direction_key, (BATCH, width))
        carry, start = layer.initial(BATCH), jnp.zeros((length, BATCH), bool)
        params = layer.init(params_key, carry, x, start)
        found = jax.grad(lambda x: jnp.sum(direction * layer.apply(params, carry, x, start)[1][-1]))(x)
        return jnp.mean(jnp.sum(jnp.square(found), axis=-1), axis=-1)

    total = jnp.mean(jax.jit(lambda keys: jax.lax.map(squares, keys))(jax.random.split(jax.random.key(0), SEEDS)), 0)
    return [float(jnp.sqrt(total[-1 - step] / total[-1])) for step in steps]


def main(arguments: list[str]) -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--memories", default="", help="comma-separated names; empty for all")
    parser.add_argument("--json", default="", help="file to write the result to; empty for none")
    options = parser.parse_args(arguments[1:])
    backend.configure(0)
    rows = {}
    for name in options.memories.split(",") if options.memories else plugins.names("memory"):
        rows[name] = gradients(name)
        print(f"{name:20}" + "".join(f"{value:12.1e}" for value in rows[name]), flush=True)
    if options.json:
        about = {"width": WIDTH, "batch": BATCH, "seeds": SEEDS, "steps": STEPS, "rows": rows}
        write_json(pathlib.Path(options.json), provenance.of(arguments) | about)


if __name__ == "__main__":
    main(sys.argv)
