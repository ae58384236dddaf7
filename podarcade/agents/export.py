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
        return 1.0 * outputs["mean"]  # a value of its own: ONNX names each value once
    values = outputs.get("q", outputs.get("logits"))
    if values is None:
        raise ValueError(f"outputs {', '.join(outputs)}; expected q, logits or mean to choose the greedy action by")
    return jnp.argmax(values, axis=-1).astype(jnp.int32)


def example(agent: Agent, batch: int) -> tuple[jax.Array, ...]:
    """Return arguments of `acting_step` at the start of episodes."""
    _, timestep = jax.vmap(agent.environment.reset)(jax.random.split(jax.random.key(0), batch))
    carry = agent.initial(batch)
    return (timestep.observation, carry.action, timestep.reward, timestep.start, *jax.tree.leaves(carry.memory))


def names(agent: Agent) -> tuple[list[str], list[str]]:
    """Return the names of the arguments and of the results of `acting_step`."""
    carry, arguments = agent.initial(1), example(agent, 1)
    memory = [f"memory{jax.tree_util.keystr(path)}" for path, _ in jax.tree_util.tree_leaves_with_path(carry.memory)]
    timestep = TimeStep(arguments[0], arguments[2], arguments[3], arguments[3], arguments[3])
    outputs = sorted(jax.eval_shape(agent.outputs, carry, timestep))
    return ["observation", "last_action", "reward", "start", *memory], [
        "action",
        *outputs,
        *(f"new_{x}" for x in memory),
    ]


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
    save = importlib.import_module("onnx").save
    shapes, step = [jax.ShapeDtypeStruct(x.shape, x.dtype) for x in example(agent, batch)], acting_step(agent)
    try:
        inputs, outputs = names(agent)
        model = convert(step, shapes, input_names=inputs, output_names=outputs)
    except Exception as error:  # of many kinds, where an operation has no counterpart
        raise ValueError(f"memory={agent.config.memory.name} cannot be exported: {one_line(error)}") from error
    jax.clear_caches()  # the conversion replaces operations of jax, and what was traced meanwhile must not be used
    save(model, str(path))
    difference = compare(agent, path, batch)
    if not difference <= TOLERANCE:
        path.unlink()
        raise ValueError(
            f"the exported step differs from JAX by {difference:.1e}, more than {TOLERANCE}; removed {path}"
        )
    return difference


def compare(agent: Agent, path: pathlib.Path, batch: int = 1, steps: int = 100) -> float:
    """Return the largest difference of a written step from the agent in each of `steps` steps.

    Both get the same inputs, the agent's own memory among them; the environment follows the agent. Compared are action,
    outputs and memory, relative where numbers are larger than 1. What is not a number in one of them is infinitely far.
    """
    runtime = importlib.import_module("onnxruntime")
    session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [item.name for item in session.get_inputs()]
    act, outputs, move = map(jax.jit, (agent.act, agent.outputs, jax.vmap(agent.environment.step)))
    state, timestep = jax.vmap(agent.environment.reset)(jax.random.split(jax.random.key(0), batch))
    carry, worst = agent.initial(batch), 0.0
    for _ in range(steps):
        given = timestep.observation, carry.action, timestep.reward, timestep.start, *jax.tree.leaves(carry.memory)
        found = session.run(None, dict(zip(names, map(np.asarray, given), strict=True)))
        named = outputs(carry, timestep)
        carry, action = act(carry, timestep)
        expected = action, *(named[name] for name in sorted(named)), *jax.tree.leaves(carry.memory)
        worst = max(worst, *map(difference, jax.device_get(expected), found))
        state, timestep = move(state, action)
    return worst


def difference(expected: np.ndarray, found: np.ndarray) -> float:
    """Return the largest difference of two arrays, relative to numbers larger than 1; infinite for one NaN."""
    expected, found = np.asarray(expected, np.float64), np.asarray(found, np.float64)
    with np.errstate(invalid="ignore"):
        apart = np.where(expected == found, 0.0, np.abs(expected - found) / np.maximum(1.0, np.abs(expected)))
    return float(np.max(np.nan_to_num(apart, nan=np.inf), initial=0.0))


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
        f"Seed {agent.seed} after {agent.updates} updates, of a run of {agent.config.frames:,} environment steps.",
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
        f"First trained by podarcade with `{' '.join(began.get('arguments', []))}`;",
        f"versions: {', '.join(f'{name} {text}' for name, text in began.get('versions', {}).items())}.",
    ]
    return "\n".join(lines) + "\n"


def _first_start(run: pathlib.Path) -> dict[str, Any]:
    try:
        return json.loads((run / "run.json").read_text(encoding="utf-8"))[0]
    except (OSError, ValueError, IndexError):
        return {}
