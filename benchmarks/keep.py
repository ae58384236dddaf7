"""Keep a token: over how many steps each memory learns to keep one of four tokens, at both initialisations.

    python -m benchmarks.keep --json=benchmarks/results/keep-cpu.json
    python -m benchmarks.keep --memories=gru,lru --lags=16,64

A token is shown at time 0 and has to be named at time k; a random distractor is shown at each of the k - 1 steps in
between. Chance is 1 / TOKENS. Each layer has the same number of parameters and stands in the same small network, which
is trained from scratch for each k. All layers see the same sequences. `paper` is a layer's own initialisation,
`matched` gives it time constants up to 256 steps (`configuration.MATCHED_HORIZON`).

The learning rate is the same for all layers: the best of 1e-3, 3e-3 and 1e-2 by the mean accuracy of gru and lru at
k = 64, both initialisations, five seeds (0.59, 0.77 and 0.75).

Rows are written to --json as they finish; re-run the same command to measure those that are missing.
"""

import argparse
import functools
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn

from benchmarks import heat_map, layers
from benchmarks.memory_tasks import matched
from podarcade import configuration, plugins
from podarcade.models.memory import Memory
from podarcade.runtime import backend, provenance
from podarcade.runtime.run_files import write_json

TOKENS = 4
DISTRACTORS = 4
INPUTS = TOKENS + DISTRACTORS + 1
LAGS = "16,32,64,128,256,512"
SETTINGS = {"width": 48, "steps": 300, "batch": 8, "learning_rate": 3e-3, "seeds": 5}


class Network(nn.Module):
    """A minimal network around a memory: the logits are W₂ relu(W₁ LN(u + memory(LN(u)))), with u = relu(W x).

    Attributes:
      memory: factory of a memory layer of a given width.
      width: number of features of u.
    """

    memory: Callable[..., Memory]
    width: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Return the logits of the last step, float32[B, TOKENS], of sequences x float32[T, B, features]."""
        memory = self.memory(width=self.width, name="memory")
        u = nn.relu(nn.Dense(self.width, name="enter")(x))
        start = jnp.zeros(x.shape[:2], bool)
        _, y = memory(memory.initial(x.shape[1]), nn.LayerNorm(name="norm")(u), start)
        last = nn.LayerNorm(name="exit_norm")(u[-1] + y[-1])
        return nn.Dense(TOKENS, name="out")(nn.relu(nn.Dense(2 * self.width, name="hidden")(last)))


@functools.cache
def sequences(lag: int, steps: int, seeds: int, batch: int) -> tuple[jax.Array, jax.Array]:
    """Draw the sequences of all training steps, the same for all layers.

    Args:
      lag: steps from the token to the query, k.
      steps: number of training steps.
      seeds: number of seeds.
      batch: sequences per step and seed.

    Returns:
      What is shown, uint8[steps, seeds, lag + 1, batch]: the token at time 0, TOKENS plus a distractor at times 1 ..
      lag - 1, and TOKENS + DISTRACTORS, the query, at time lag; and the tokens uint8[steps, seeds, batch].
    """
    random = np.random.default_rng(lag)
    token = random.integers(0, TOKENS, (steps, seeds, batch), np.uint8)
    shown = random.integers(TOKENS, TOKENS + DISTRACTORS, (steps, seeds, lag + 1, batch), np.uint8)
    shown[:, :, 0], shown[:, :, -1] = token, TOKENS + DISTRACTORS
    return jnp.asarray(shown), jnp.asarray(token)


def train(
    memory: Callable[..., Memory], lag: int, width: int, steps: int, batch: int, learning_rate: float, seeds: int
) -> list[float]:
    """Train a network per seed, all in one program, with Adam and a cosine decay to a twentieth of the learning rate.

    Args:
      memory: factory of a memory layer of a given width.
      lag: steps from the token to the query, k.
      width: width of the network.
      steps: number of optimiser steps.
      batch: sequences per step and seed.
      learning_rate: initial learning rate.
      seeds: number of seeds, from 0.

    Returns:
      The accuracy of each seed, averaged over the last tenth of the steps. Sequences are scored before the gradient
      step on them and never repeat.
    """
    net = Network(memory, width)
    schedule = optax.cosine_decay_schedule(learning_rate, steps, alpha=0.05)
    # A flat parameter vector, which compiles much faster.
    optimiser = optax.flatten(optax.chain(optax.clip_by_global_norm(1.0), optax.adam(schedule)))

    def loss(params, shown, token):
        logits = net.apply(params, jax.nn.one_hot(shown, INPUTS, dtype=jnp.float32))
        error = optax.softmax_cross_entropy_with_integer_labels(logits, token.astype(jnp.int32))
        return jnp.mean(error), jnp.mean(jnp.argmax(logits, axis=-1) == token)

    def update(learner, data):
        params, state = learner
        gradient, accuracy = jax.grad(loss, has_aux=True)(params, *data)
        updates, state = optimiser.update(gradient, state)
        return (optax.apply_updates(params, updates), state), accuracy

    @jax.jit
    def run(params, data):
        return jax.lax.scan(jax.vmap(update), (params, jax.vmap(optimiser.init)(params)), data)[1]

    accuracy = np.asarray(run(initial_parameters(net, seeds), sequences(lag, steps, seeds, batch)))
    return accuracy[-max(steps // 10, 1) :].mean(axis=0).tolist()


@functools.lru_cache(maxsize=1)
def initial_parameters(net: Network, seeds: int) -> Any:
    """Return the parameters of all seeds; kept for the next lag, since compiling this takes seconds."""
    x = jnp.zeros((1, 1, INPUTS), jnp.float32)
    # In turn: a batch of matrices to make orthogonal can deadlock a CPU of few cores, see `Updater`.
    return jax.jit(lambda keys: jax.lax.map(lambda key: net.init(key, x), keys))(
        jax.random.split(jax.random.key(0), seeds)
    )


def plan(names: Sequence[str], lags: Sequence[int]) -> Iterator[tuple[str, str, dict[str, float], int]]:
    """Yield memory, init, the options of that init, and lag of every row."""
    for name in names:
        for init, changes in layers.initialisations(plugins.find("memory", name)).items():
            for lag in lags:
                yield name, init, changes, lag


def finished(path: Path, settings: dict[str, float]) -> list[dict]:
    """Return the rows of an earlier measurement; none where there is no file.

    Raises:
      ValueError: they were measured with other settings.
    """
    if not path.is_file():
        return []
    content = json.loads(path.read_text(encoding="utf-8"))
    for name, value in settings.items():
        if content.get(name) != value:
            raise ValueError(f"{path} has {name}={content.get(name)}, not {value}; choose another file for --json")
    return content["rows"]


def draw(rows: list[dict], path: Path) -> None:
    """Draw the mean accuracy by memory and lag, one panel per init."""
    lags = sorted({row["lag"] for row in rows})
    names = list(dict.fromkeys(row["memory"] for row in rows))
    panels = []
    for init in configuration.INITS:
        values = np.full((len(names), len(lags)), np.nan)
        for row in rows:
            if row["init"] == init:
                values[names.index(row["memory"]), lags.index(row["lag"])] = np.mean(row["accuracy"])
        panels.append(heat_map.Panel(f"init={init}, by steps k", names, list(map(str, lags)), values))
    heat_map.draw(path, panels, 1 / TOKENS, 1.0, f"accuracy, mean over seeds (chance {1 / TOKENS})")


def main(arguments: Sequence[str]) -> int:
    """Measure the missing rows, print and write each as it finishes, draw all; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--memories", default="", help="comma-separated names; empty for all")
    parser.add_argument("--lags", default=LAGS, help="comma-separated numbers of steps")
    parser.add_argument("--json", default="", help="file to write the rows to, and a picture beside it; empty for none")
    for name, value in SETTINGS.items():
        parser.add_argument(f"--{name}", type=type(value), default=value)
    options = parser.parse_args(arguments[1:])
    backend.configure(0)
    settings = {name: getattr(options, name) for name in SETTINGS} | {"init_horizon": configuration.MATCHED_HORIZON}
    path = Path(options.json)
    names = options.memories.split(",") if options.memories else plugins.names("memory")
    try:
        rows = finished(path, settings) if options.json else []
        todo = list(plan(names, [int(lag) for lag in options.lags.split(",")]))
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    about = provenance.collect(list(arguments)) | settings
    known = {(row["memory"], row["init"], row["lag"]) for row in rows}
    factory = functools.cache(lambda name, init, **changes: matched(name, options.width, **changes))
    for number, (name, init, changes, lag) in enumerate(todo, 1):
        if (name, init, lag) in known:
            continue
        begin = time.perf_counter()
        accuracy = train(factory(name, init, **changes), lag, **{key: getattr(options, key) for key in SETTINGS})
        seconds = time.perf_counter() - begin
        rows.append({"memory": name, "init": init, "lag": lag, "accuracy": accuracy, "seconds": seconds})
        each = ", ".join(f"{value:.2f}" for value in accuracy)
        line = f"{number:4}/{len(todo)}  {name:20}{init:9}{lag:5}  {np.mean(accuracy):.3f} ({each}){seconds:6.0f} s"
        print(line, flush=True)
        if options.json:
            write_json(path, about | {"rows": rows})
    if options.json:
        draw(rows, path.with_suffix(".png"))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
