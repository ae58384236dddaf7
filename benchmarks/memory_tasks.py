"""Which memory can do what: every memory learns four small tasks, in the same small network.

    python -m benchmarks.memory_tasks
    python -m benchmarks.memory_tasks --memories=gru,delta_net --seeds=3 --json=benchmarks/results/memory_tasks.json

`first`: keep the first value for a sequence. `copy`: give values back after a pause. `recall`: the last value
written to a key that was written several times. `mean`: of all numbers so far. See `benchmarks.tasks`. Accuracy, of
`mean` R², on the last steps of sequences; one layer of each memory with equally many parameters, all else the same.
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
    """The least around a memory that can use it: y = W₂ relu(W₁ LN(u + memory(LN(u)))), with u = relu(W x).

    It can put key and value together before the memory, and select by a key after it, whatever the memory can do.

    Attributes:
      memory: makes a memory layer of a given width.
      width: of u.
    """

    memory: Callable[..., Memory]
    width: int

    @nn.compact
    def __call__(self, x: jax.Array, start: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Logits [T, B, VALUES] and numbers [T, B], from a fresh memory on."""
        memory = self.memory(width=self.width, name="memory")
        u = nn.relu(nn.Dense(self.width, name="enter")(x))
        _, y = memory(memory.initial(start.shape[1]), nn.LayerNorm(name="norm")(u), start)
        y = nn.relu(nn.Dense(2 * self.width, name="hidden")(nn.LayerNorm(name="exit_norm")(u + y)))
        y = nn.Dense(tasks.VALUES + 1, name="out")(y)
        return y[..., :-1], y[..., -1]


def loss(net: Network, params, stream: tasks.Stream, regression: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Cross entropy or squared error where something is asked; and accuracy or R² on the steps that are scored."""
    logits, number = net.apply(params, stream.steps.x, stream.start)
    squared = (number - stream.steps.number) ** 2
    wrong = optax.softmax_cross_entropy_with_integer_labels(logits, stream.steps.answer)
    error = jnp.where(regression, squared, wrong)
    accuracy = _mean(jnp.argmax(logits, axis=-1) == stream.steps.answer, stream.scored)
    r_squared = 1.0 - _mean(squared, stream.scored) / _mean(stream.steps.number**2, stream.scored)  # its mean is zero
    return _mean(error, stream.steps.asked), jnp.where(regression, r_squared, accuracy)


def _mean(x, where):
    """Mean over the steps of interest."""
    return jnp.sum(jnp.where(where, x, 0.0)) / jnp.maximum(jnp.sum(where), 1)


@functools.cache
def lessons(chosen: tuple[Callable, ...], steps: int, batch: int, sequences: int) -> tasks.Stream:
    """Fresh streams for every step and task, [steps, tasks, T, B, ...], the same for all memories."""

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
    """Trains a network per seed and task, all in one program; the compiler's options are as in `jax.jit`.

    Returns:
      Scores, float32[seeds, tasks], on the lessons of the last tenth of the steps before they were learned from: none
      is given twice.
    """
    net = Network(memory, width)
    # As one vector, which is much less to compile.
    optimiser = optax.flatten(
        optax.chain(
            optax.clip_by_global_norm(1.0), optax.adam(optax.cosine_decay_schedule(learning_rate, steps, alpha=0.05))
        )
    )
    regression = jnp.tile(jnp.array([task is tasks.mean for task in chosen]), seeds)

    def fresh(key):
        params = net.init(key, jnp.zeros((1, 1, tasks.FEATURES)), jnp.zeros((1, 1), bool))
        return params, optimiser.init(params)

    def update(learner, stream, regression):
        params, state = learner
        gradient, scores = jax.grad(functools.partial(loss, net), has_aux=True)(params, stream, regression)
        updates, state = optimiser.update(gradient, state)
        return (optax.apply_updates(params, updates), state), scores

    def lesson(learner, stream):
        stream = jax.tree.map(lambda part: jnp.concatenate([part] * seeds), stream)
        return jax.vmap(update)(learner, stream, regression)

    @functools.partial(jax.jit, compiler_options=compiler_options)
    def run(key, streams):
        keys = jnp.repeat(jax.random.split(key, seeds), len(chosen), axis=0)
        return jax.lax.scan(lesson, jax.vmap(fresh)(keys), streams)[1]

    scores = run(jax.random.key(0), lessons(tuple(chosen), steps, batch, sequences))
    return np.asarray(scores[-max(steps // 10, 1) :].mean(axis=0).reshape(seeds, len(chosen)))


def matched(name: str, width: int, **options) -> Callable[..., Memory]:
    """The memory of that name, with as many parameters as the others have."""
    memory = plugins.find("memory", name)
    return functools.partial(memory, **options, **{memory.SIZE: sizes.matched_size(memory, width, **options)})


def main(arguments: Sequence[str]) -> dict:
    """Trains, prints the table, and writes it where it is wanted."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--memories", default="", help="names with commas between them; none for all")
    parser.add_argument("--seeds", type=int, default=1, help="how many, from 0")
    parser.add_argument("--steps", type=int, default=600, help="of the optimiser")
    parser.add_argument("--width", type=int, default=48, help="of the network")
    parser.add_argument("--json", default="", help="file to write the results to")
    given = parser.parse_args(arguments[1:])
    results = {}
    print(f"{'memory':20}{''.join(f'{task.__name__:>16}' for task in tasks.TASKS)}{'seconds':>10}")
    for name in given.memories.split(",") if given.memories else plugins.names("memory"):
        begin = time.perf_counter()
        scores = train(matched(name, given.width), given.seeds, steps=given.steps, width=given.width)
        seconds = time.perf_counter() - begin
        results[name] = {task.__name__: scores[:, index].tolist() for index, task in enumerate(tasks.TASKS)}
        columns = [f"{np.mean(column):.3f} ({np.min(column):.2f})" for column in scores.T]
        print(f"{name:20}{''.join(f'{column:>16}' for column in columns)}{seconds:10.0f}", flush=True)
    print(f"mean over {given.seeds} seeds (the worst); chance is {1 / tasks.VALUES}, in mean 0")
    if given.json:
        content = {**provenance.of(list(arguments)), "steps": given.steps, "width": given.width, "results": results}
        write_json(Path(given.json), content)
    return results


if __name__ == "__main__":
    main(sys.argv)
