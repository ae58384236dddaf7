"""Which memory can do what: every memory learns four small tasks, in the network and at the size that agents have.

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

from benchmarks import tasks
from podarcade import launch, plugins
from podarcade.config import write_json
from podarcade.memory import Memory, sizes
from podarcade.networks import QNetwork, Trunk


def network(memory: Callable[..., Memory], width: int) -> QNetwork:
    """One layer of memory in the trunk of the agents; its head gives logits of the values, and a number."""
    trunk = Trunk(encoder=None, memory=memory, num_actions=1, width=width)
    return QNetwork(trunk=trunk, num_actions=tasks.VALUES + 1)


def outputs(net: QNetwork, params, stream: tasks.Stream) -> tuple[jax.Array, jax.Array]:
    """Logits [T, B, VALUES] and numbers [T, B], from a fresh memory on."""
    previous = jnp.full(stream.start.shape, -1)
    _, y = net.apply(params, net.initial(stream.start.shape[1]), stream.steps.x, previous, stream.start)
    return y[..., :-1], y[..., -1]


def loss(net: QNetwork, params, stream: tasks.Stream, regression: jax.Array) -> jax.Array:
    """Cross entropy, or squared error, where something is asked."""
    logits, number = outputs(net, params, stream)
    wrong = optax.softmax_cross_entropy_with_integer_labels(logits, stream.steps.answer)
    error = jnp.where(regression, (number - stream.steps.number) ** 2, wrong)
    return jnp.sum(error * stream.steps.asked) / jnp.sum(stream.steps.asked)


def score(net: QNetwork, params, stream: tasks.Stream, regression: jax.Array) -> jax.Array:
    """Accuracy, or R², on the steps that are scored."""
    logits, number = outputs(net, params, stream)
    weight = stream.scored / jnp.sum(stream.scored)
    accuracy = jnp.sum(weight * (jnp.argmax(logits, axis=-1) == stream.steps.answer))
    wanted = stream.steps.number
    variance = jnp.sum(weight * (wanted - jnp.sum(weight * wanted)) ** 2)
    r_squared = 1.0 - jnp.sum(weight * (number - wanted) ** 2) / jnp.maximum(variance, 1e-6)
    return jnp.where(regression, r_squared, accuracy)


def train(
    memory: Callable[..., Memory],
    seeds: int = 1,
    chosen: Sequence[Callable] = tasks.TASKS,
    width: int = 32,
    steps: int = 1000,
    batch: int = 32,
    sequences: int = 2,
    learning_rate: float = 3e-3,
) -> np.ndarray:
    """Trains a network per seed and task, all in one program.

    Returns:
      Scores, float32[seeds, tasks].
    """
    net = network(memory, width)
    optimiser = optax.chain(
        optax.clip_by_global_norm(1.0), optax.adam(optax.cosine_decay_schedule(learning_rate, steps, alpha=0.05))
    )
    regression = jnp.array([task is tasks.mean for task in chosen])

    def streams(key, batch):
        """One stream per task, stacked."""
        each = [tasks.stream(task, key, sequences, batch) for task in chosen]
        return jax.tree.map(lambda *parts: jnp.stack(parts), *each)

    def update(learner, stream, regression):
        params, state = learner
        updates, state = optimiser.update(jax.grad(functools.partial(loss, net))(params, stream, regression), state)
        return optax.apply_updates(params, updates), state

    def run(key):
        init_key, train_key, test_key = jax.random.split(key, 3)
        fresh = net.initial(batch)
        some = tasks.stream(chosen[0], init_key, 1, batch)
        params = net.init(init_key, fresh, some.steps.x, jnp.full(some.start.shape, -1), some.start)
        learner = jax.tree.map(lambda part: jnp.stack([part] * len(chosen)), (params, optimiser.init(params)))

        def step(learner, key):
            return jax.vmap(update)(learner, streams(key, batch), regression), None

        (params, _), _ = jax.lax.scan(step, learner, jax.random.split(train_key, steps))
        return jax.vmap(functools.partial(score, net))(params, streams(test_key, 8 * batch), regression)

    return np.asarray(jax.jit(jax.vmap(run))(jax.random.split(jax.random.key(0), seeds)))


def matched(name: str, width: int, **options) -> Callable[..., Memory]:
    """The memory of that name, with as many parameters as the others have."""
    memory = plugins.find("memory", name)
    return functools.partial(memory, **options, **{memory.SIZE: sizes.matched_size(memory, width, **options)})


def main(arguments: Sequence[str]) -> dict:
    """Trains, prints the table, and writes it where it is wanted."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--memories", default="", help="names with commas between them; none for all")
    parser.add_argument("--seeds", type=int, default=1, help="how many, from 0")
    parser.add_argument("--steps", type=int, default=1000, help="of the optimiser")
    parser.add_argument("--width", type=int, default=32, help="of the network")
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
        content = {**launch.provenance(list(arguments)), "steps": given.steps, "width": given.width, "results": results}
        write_json(Path(given.json), content)
    return results


if __name__ == "__main__":
    main(sys.argv)
