"""Agents for other programs: parameters as safetensors, the acting step as ONNX, and a model card beside them."""

import importlib
import json
import logging
import pathlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import podarcade
from podarcade.agents import Agent
from podarcade.configuration.components import title
from podarcade.runtime.failures import one_line
from podarcade.runtime.leaves import named_leaves
from podarcade.types import TimeStep

TOLERANCE = 1e-5  # of outputs and memory between ONNX and JAX, absolute and relative
INPUTS = ("observation", "action", "reward", "start")  # of the acting step, before the leaves of the memory


def write_safetensors(agent: Agent, path: pathlib.Path) -> None:
    """Write the parameters by name, with the configuration as metadata.

    Raises:
      ModuleNotFoundError: the package safetensors is missing.
    """
    arrays = {name: np.asarray(leaf) for name, leaf in named_leaves(agent.params).items()}
    about = {
        "podarcade": podarcade.__version__,
        "seed": str(agent.seed),
        "updates": str(agent.updates),
        "config": json.dumps(agent.config.to_dict()),
    }
    importlib.import_module("safetensors.numpy").save_file(arrays, path, metadata=about)


def acting_step(agent: Agent) -> Callable[..., tuple[jax.Array, ...]]:
    """Return the greedy step of one environment batch as a function of arrays alone.

    Returns:
      (observation [B, ...], action int32[B] or float32[B, A], reward float32[B], start bool[B], *memory [B, ...]) ->
      (action, *outputs in the order of their names, *memory). `action` is the one taken last, and does not matter at a
      start, nor does the memory.
    """
    structure = jax.tree.structure(agent.initial(1).memory)

    def step(observation, action, reward, start, *memory):
        timestep = TimeStep(observation, reward, jnp.zeros_like(start), jnp.zeros_like(start), start)
        algorithm, carry = agent.algorithm, structure.unflatten(memory)
        previous = algorithm.next_previous_action(action, action, start)
        carry, outputs = algorithm.apply_step(agent.params, carry, timestep, previous)
        named = algorithm.named_outputs(outputs)
        return (_best(named), *(named[name] for name in sorted(named)), *jax.tree.leaves(carry))

    return step


def _best(outputs: dict[str, jax.Array]) -> jax.Array:
    """Return the greedy action; `compare` checks that it is the agent's own."""
    if "mean" in outputs:
        return outputs["mean"]
    values = outputs.get("q", outputs.get("logits"))
    if values is None:
        raise ValueError(f"outputs {', '.join(outputs)}; expected q, logits or mean to choose the greedy action by")
    return jnp.argmax(values, axis=-1).astype(jnp.int32)


def example(agent: Agent, batch: int) -> tuple[jax.Array, ...]:
    """Return arguments of `acting_step` at the start of episodes."""
    _, timestep = jax.vmap(agent.environment.reset)(jax.random.split(jax.random.key(0), batch))
    carry = agent.initial(batch)
    return (timestep.observation, carry.action, timestep.reward, timestep.start, *jax.tree.leaves(carry.memory))


def write_onnx(agent: Agent, path: pathlib.Path, batch: int = 1) -> float:
    """Write the acting step and play an episode with it.

    Args:
      agent: the agent.
      path: file to write.
      batch: number of environments that a step acts for.

    Returns:
      The largest difference of an output or of the memory from JAX along the episode.

    Raises:
      ModuleNotFoundError: a package is missing.
      ValueError: the step cannot be expressed in ONNX, or differs from JAX.
    """
    logging.getLogger("jax2onnx").setLevel(logging.ERROR)  # it warns of every optional package that it cannot import
    convert = importlib.import_module("jax2onnx").to_onnx
    shapes = [jax.ShapeDtypeStruct(x.shape, x.dtype) for x in example(agent, batch)]
    try:
        importlib.import_module("onnx").save(convert(acting_step(agent), shapes), str(path))
        difference = compare(agent, path, batch)
    except ModuleNotFoundError:
        raise
    except Exception as error:  # of many kinds, where an operation has no counterpart
        raise ValueError(f"memory={agent.config.memory.name} cannot be exported: {one_line(error)}") from error
    if not difference <= 1.0:
        raise ValueError(
            f"{path} differs from JAX by {difference * TOLERANCE:.1e}, more than {TOLERANCE}; do not use it"
        )
    return difference * TOLERANCE


def compare(agent: Agent, path: pathlib.Path, batch: int = 1, steps: int = 100) -> float:
    """Return the largest difference between a written step and JAX's along `steps` steps, in tolerances.

    Both get the same inputs; the environment follows the agent, whose actions have to be those of both.
    """
    runtime = importlib.import_module("onnxruntime")
    session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [item.name for item in session.get_inputs()]
    act, step, move = jax.jit(agent.act), jax.jit(acting_step(agent)), jax.jit(jax.vmap(agent.environment.step))
    state, timestep = jax.vmap(agent.environment.reset)(jax.random.split(jax.random.key(0), batch))
    carry, values, worst = agent.initial(batch), example(agent, batch), 0.0
    memories = len(jax.tree.leaves(carry.memory))
    for _ in range(steps):
        expected = jax.device_get(step(*values))
        found = session.run(None, dict(zip(names, map(np.asarray, values), strict=True)))
        carry, action = act(carry, timestep)
        worst = max(worst, *map(_difference, expected, found), _difference(action, found[0]))
        state, timestep = move(state, action)
        memory = expected[len(expected) - memories :]
        values = (timestep.observation, action, timestep.reward, timestep.start, *memory)
    return worst


def _difference(expected: np.ndarray, found: np.ndarray) -> float:
    expected, found = np.asarray(expected, np.float64), np.asarray(found, np.float64)
    return float(np.max(np.abs(expected - found) / (TOLERANCE * (1 + np.abs(expected))), initial=0.0))


def model_card(agent: Agent, run: pathlib.Path, files: dict[str, str], returns: dict[str, np.ndarray]) -> str:
    """Return a page in Markdown: what the agent is, what it reached, how it was trained.

    Args:
      agent: the agent.
      run: folder of its run.
      files: name of each file beside the page -> what it holds.
      returns: of episodes, as `Agent.play` returns them.
    """
    began = _first_start(run)
    section = agent.config.environment
    lines = [
        f"# {title(agent.config)}",
        "",
        f"Seed {agent.seed} after {agent.updates} updates of at most {agent.config.frames:,} environment steps.",
        "",
        *(f"- `{name}`: {text}" for name, text in files.items()),
        "",
        "| twin | episodes | mean return | standard error |",
        "|---|---|---|---|",
        *(
            f"| {twin} | {len(values)} | {values.mean():.3f} | {values.std(ddof=1) / len(values) ** 0.5:.3f} |"
            for twin, values in ((twin, returns[f"return_{twin}"]) for twin in ("full", "partial"))
        ),
        "",
        f"Greedy, on starts that no training has seen. Trained on the {section.observability} twin(s).",
        "",
        f"Trained by podarcade with `{' '.join(began.get('arguments', []))}`;",
        f"versions: {', '.join(f'{name} {text}' for name, text in began.get('versions', {}).items())}.",
    ]
    return "\n".join(lines) + "\n"


def _first_start(run: pathlib.Path) -> dict[str, Any]:
    try:
        return json.loads((run / "run.json").read_text(encoding="utf-8"))[0]
    except (OSError, ValueError, IndexError):
        return {}
