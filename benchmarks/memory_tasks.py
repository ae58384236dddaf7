"""Capabilities of the memory layers: each learns four small tasks in the same small network.

    python -m benchmarks.memory_tasks
    python -m benchmarks.memory_tasks --memories=gru,delta_net --seeds=3 --json=benchmarks/results/memory_tasks.json

`first`: return the first value of the sequence. `copy`: return all values after a pause. `recall`: return the last
value written to a key, where keys are overwritten. `mean`: the mean of all numbers so far. See `benchmarks.tasks`.
Scores are accuracy, and R² for `mean`, on the last steps of the sequences. Each network has one layer with the same
number of parameters. Layers start from their own initialisation, whose horizons differ, so the scores compare
initialisations as well as recurrences; `benchmarks.keep` compares both.
"""

import argparse
import functools
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn

from benchmarks import tasks
from podarcade import plugins
from podarcade.models.memory import Memory, sizes
from podarcade.runtime import provenance
from podarcade.runtime.run_files import write_json


class Network(nn.Module):
    """A minimal network around a memory: y = W₂ relu(W₁ LN(u + memory(LN(u)))), with u = relu(W x).

    It can combine key and value before the memory and select by a key after it, independent of the layer's abilities.

    Attributes:
      memory: factory of a memory layer of a given width.
      width: number of features of u.
    """

    memory: Callable[..., Memory]
    width: int

    @nn.compact
    def __call__(self, x: jax.Array, start: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Return logits [T, B, VALUES] and predicted numbers [T, B], from a fresh carry."""
        memory = self.memory(width=self.width, name="memory")
        u = nn.relu(nn.Dense(self.width, name="enter")(x))
        _, y = memory(memory.initial(start.shape[1]), nn.LayerNorm(name="norm")(u), start)
        y = nn.relu(nn.Dense(2 * self.width, name="hidden")(nn.LayerNorm(name="exit_norm")(u + y)))
        y = nn.Dense(tasks.VALUES + 1, name="out")(y)
        return y[..., :-1], y[..., -1]


def loss(net: Network, params, stream: tasks.Stream, regression: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return cross entropy or squared error on the queries, and accuracy or R² on the scored steps."""
    logits, number = net.apply(params, stream.steps.x, stream.start)
    squared = (number - stream.steps.number) ** 2
    cross_entropy = optax.softmax_cross_entropy_with_integer_labels(logits, stream.steps.answer)
    error = jnp.where(regression, squared, cross_entropy)
    accuracy = _mean(jnp.argmax(logits, axis=-1) == stream.steps.answer, stream.scored)
    r_squared = 1.0 - _mean(squared, stream.scored) / _mean(stream.steps.number**2, stream.scored)  # zero mean
    return _mean(error, stream.steps.asked), jnp.where(regression, r_squared, accuracy)


def _mean(x, where):
    """Mean over the selected steps."""
    return jnp.sum(jnp.where(where, x, 0.0)) / jnp.maximum(jnp.sum(where), 1)


@functools.cache
def training_streams(chosen: tuple[Callable, ...], steps: int, batch: int, sequences: int) -> tasks.Stream:
    """Return new streams for every step and task, [steps, tasks, T, B, ...], the same for all layers."""

    def one(key):
        each = [tasks.stream(task, key, sequences, batch) for task in chosen]
        return jax.tree.map(lambda *parts: jnp.stack(parts), *each)

    return jax.jit(lambda keys: jax.lax.map(one, keys))(jax.random.split(jax.random.key(0), steps))


def train(
    memory: Callable[..., Memory],
    seeds: int = 1,
    chosen: tuple[Callable, ...] = tasks.TASKS,
    width: int = 48,
    steps: int = 600,
    batch: int = 32,
    sequences: int = 2,
    learning_rate: float = 3e-3,
    compiler_options: dict | None = None,
) -> np.ndarray:
    """Train a network per seed and task, all in one program.

    Args:
      memory: factory of a memory layer of a given width.
      seeds: number of seeds, from 0.
      chosen: the tasks.
      width: width of the network.
      steps: number of optimiser steps.
      batch: streams per step and task.
      sequences: sequences per stream.
      learning_rate: initial learning rate of Adam, with cosine decay to a twentieth.
      compiler_options: as in `jax.jit`.

    Returns:
      Scores float32[seeds, tasks], averaged over the last tenth of the steps. A stream is scored before the gradient
      step on it and never repeats, so the scores are on unseen data.
    """
    net = Network(memory, width)
    # A flat parameter vector, which compiles much faster.
    optimiser = optax.flatten(
        optax.chain(
            optax.clip_by_global_norm(1.0), optax.adam(optax.cosine_decay_schedule(learning_rate, steps, alpha=0.05))
        )
    )
    regression = jnp.tile(jnp.array([task is tasks.mean for task in chosen]), seeds)

    def init(key):
        params = net.init(key, jnp.zeros((1, 1, tasks.FEATURES)), jnp.zeros((1, 1), bool))
        return params, optimiser.init(params)

    def update(learner, stream, regression):
        params, state = learner
        gradient, scores = jax.grad(functools.partial(loss, net), has_aux=True)(params, stream, regression)
        updates, state = optimiser.update(gradient, state)
        return (optax.apply_updates(params, updates), state), scores

    def train_step(learner, stream):
        stream = jax.tree.map(lambda part: jnp.concatenate([part] * seeds), stream)
        return jax.vmap(update)(learner, stream, regression)

    @functools.partial(jax.jit, compiler_options=compiler_options)
    def run(key, streams):
        keys = jnp.repeat(jax.random.split(key, seeds), len(chosen), axis=0)
        return jax.lax.scan(train_step, jax.vmap(init)(keys), streams)[1]

    scores = run(jax.random.key(0), training_streams(tuple(chosen), steps, batch, sequences))
    return np.asarray(scores[-max(steps // 10, 1) :].mean(axis=0).reshape(seeds, len(chosen)))


def matched(name: str, width: int, **options) -> Callable[..., Memory]:
    """Return a factory of the named layer at the size that matches the parameter budget."""
    memory = plugins.find("memory", name)
    return functools.partial(memory, **options, **{memory.SIZE: sizes.matched_size(memory, width, **options)})


def main(arguments: Sequence[str]) -> dict:
    """Train all layers, print a table, and write it if `--json` is options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--memories", default="", help="comma-separated names; empty for all")
    parser.add_argument("--seeds", type=int, default=1, help="number of seeds, from 0")
    parser.add_argument("--steps", type=int, default=600, help="number of optimiser steps")
    parser.add_argument("--width", type=int, default=48, help="width of the network")
    parser.add_argument("--json", default="", help="file to write the results to")
    options = parser.parse_args(arguments[1:])
    results = {}
    print(f"{'memory':20}{''.join(f'{task.__name__:>16}' for task in tasks.TASKS)}{'seconds':>10}")
    for name in options.memories.split(",") if options.memories else plugins.names("memory"):
        begin = time.perf_counter()
        scores = train(matched(name, options.width), options.seeds, steps=options.steps, width=options.width)
        seconds = time.perf_counter() - begin
        results[name] = {task.__name__: scores[:, index].tolist() for index, task in enumerate(tasks.TASKS)}
        columns = [f"{np.mean(column):.3f} ({np.min(column):.2f})" for column in scores.T]
        print(f"{name:20}{''.join(f'{column:>16}' for column in columns)}{seconds:10.0f}", flush=True)
    print(f"mean over {options.seeds} seeds (minimum); chance is {1 / tasks.VALUES}, and 0 for mean")
    if options.json:
        content = {
            **provenance.collect(list(arguments)),
            "steps": options.steps,
            "width": options.width,
            "results": results,
        }
        write_json(Path(options.json), content)
    return results


if __name__ == "__main__":
    main(sys.argv)
