"""Facts of an update's program, as lowered and as compiled for a platform. Defines no flags."""

import dataclasses
import os
import pathlib
from collections import Counter
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import topologies
from jax.sharding import AxisType, Mesh

from benchmarks import collectives, flops, stablehlo, training_settings
from podarcade.anakin import rollout, sharding
from podarcade.anakin.update import Updater


@dataclasses.dataclass(frozen=True)
class Platform:
    """What a program is lowered for.

    Attributes:
      preset: of the configuration.
      lowered: JAX's name of the platform where it lowers.
      devices: number that the environments are split over; one sends nothing.
    """

    preset: str
    lowered: str
    devices: int


PLATFORMS = {"cpu": Platform("cpu", "cpu", 1), "gpu": Platform("gpu", "cuda", 2), "tpu": Platform("gpu", "tpu", 2)}


def updater_of(algorithm: str, preset: str, arguments: str = "") -> Updater:
    """Return the updater of an algorithm's configuration, on one device.

    Args:
      algorithm: one that has a file in configs/.
      preset: preset of the configuration.
      arguments: further arguments of the configuration, "x=y,x=y".
    """
    chosen = ",".join(filter(None, [f"preset={preset}", arguments]))
    _, run = training_settings.load([f"--config={training_settings.config_file(algorithm)}:{chosen}"])
    return dataclasses.replace(run.updater, mesh=sharding.make_mesh(1, 1))


def of_lowered(updater: Updater, platform: str) -> dict[str, Any]:
    """Return facts of the update as lowered for a platform, on as many devices as `PLATFORMS` says.

    An operation is one of StableHLO, constants apart: the compiler will fuse most. The body of a loop counts once.

    Args:
      updater: on any mesh.
      platform: one of `PLATFORMS`.

    Returns:
      operations, loops, gathers: their numbers.
      gradient_step, rollout_step: operations in the bodies of these loops.
      rollout_loops: loops in a step of the rollout.
      time_loops: {name: operations in its body} of the loops in a gradient step, such as a memory's over time.
      collectives: {"gradient_step", "rest": those in its body and elsewhere, "update": how many an update runs}.
      largest_bytes: of the largest array.
    """
    chosen = PLATFORMS[platform]
    updater = dataclasses.replace(updater, mesh=sharding.abstract_mesh(1, chosen.devices, platform))
    traced = updater.trace(updater.abstract_state(1), 1)
    found = stablehlo.operations(traced.lower(lowering_platforms=(chosen.lowered,)))
    found = [one for one in found if one.name != "constant"]
    # All is in the loop over updates; rollout and gradient steps are loops directly in it.
    act, learn = (_within(found, name) for name in ("rollout", "Updater._update"))
    in_step, all_sent = (_named(part, *stablehlo.COLLECTIVES) * (chosen.devices > 1) for part in (learn, found))
    rest = all_sent - in_step
    sent = {"gradient_step": in_step, "rest": rest, "update": in_step * updater.gradient_steps + rest}
    return {
        "operations": len(found),
        "loops": _named(found, "while"),
        "gathers": _named(found, "gather"),
        "gradient_step": len(learn),
        "rollout_step": len(act),
        "rollout_loops": _named(act, "while"),
        "time_loops": dict(Counter("/".join(one.loops[2:]) for one in learn if one.loops[2:])),
        "collectives": sent,
        "largest_bytes": max(one.largest_bytes for one in found),
    }


def of_compiled(updater: Updater, mesh: Mesh) -> dict[str, Any]:
    """Return facts of the update compiled for the devices of a mesh, which need not be attached.

    Returns:
      rollout_step, gradient_step: {"instructions", "fusions", "loops"}: those that one pass of these loops runs, inner
      loops once; on a GPU most are kernels.
      temporary_bytes: memory of a device that the update needs besides its state.
      argument_bytes: the state on a device.
    """
    updater = dataclasses.replace(updater, mesh=mesh)
    compiled = updater.trace(updater.abstract_state(1), 1).lower().compile()
    memory = compiled.memory_analysis()
    found: dict[str, Any] = {"device": mesh.devices.flat[0].device_kind}
    for name, function in (("rollout_step", "rollout"), ("gradient_step", "Updater._update")):
        counts = collectives.loop_body(compiled.as_text(), function)
        # A transfer that overlaps with work is one instruction, in two parts.
        done = sum(number for opcode, number in counts.items() if opcode.endswith("-done"))
        found[name] = {
            "instructions": counts.total() - done, "fusions": counts["fusion"], "loops": counts["while"],
        }  # fmt: skip
    sizes = {"temporary_bytes": memory.temp_size_in_bytes, "argument_bytes": memory.argument_size_in_bytes}
    return found | sizes


def compilable(platform: str) -> Mesh | None:
    """Return a mesh of one device of a platform, to compile for; None where its compiler is not installed.

    The compiler of a TPU comes with `pip install libtpu`, that of a GPU with jax-cuda12-plugin and jax-cuda12-pjrt, of
    the versions that jax[tpu] and jax[cuda12] name. Neither needs a device: a TPU v5e and an A100 are assumed. A GPU's
    kernels are not tuned then.
    """
    if platform == "cpu":
        return sharding.make_mesh(1, 1)
    os.environ.setdefault("TPU_SKIP_MDS_QUERY", "1")  # there is no metadata server to ask for the kind of machine
    try:
        if platform == "tpu":
            found = topologies.get_topology_desc("v5e:2x2", platform="tpu")
        else:
            target = (pathlib.Path(__file__).parent / "a100.txtpb").read_text(encoding="utf-8")
            found = topologies.get_topology_desc("a100", platform="cuda", topology="1x1x1", target_config=target)
    except (RuntimeError, NotImplementedError, KeyError):
        return None
    return jax.make_mesh((1, 1), sharding.AXES, (AxisType.Auto,) * 2, devices=found.devices[:1])


def of_acting(updater: Updater) -> dict[str, float]:
    """Return XLA's cost analysis of one step of the rollout on this machine's CPU, compiled alone: draw, act, step.

    Returns:
      flops_per_frame and bytes_per_frame, those of all memory that its operations read or write.
    """
    state = flops.one_seed(updater)
    algorithm, environment = updater.algorithm, updater.environment

    def step(params, actors, exploration):
        observation = rollout.draw(environment, actors)
        return rollout.advance(algorithm, environment, params, actors, observation, exploration)

    exploration = jax.ShapeDtypeStruct((), jnp.float32)
    lowered = jax.jit(step).lower(state.learner.params, state.actors.replace(history=None), exploration)
    cost = lowered.compile().cost_analysis()
    return {
        "flops_per_frame": cost["flops"] / updater.num_envs,
        "bytes_per_frame": cost["bytes accessed"] / updater.num_envs,
    }


def measure(algorithm: str, platform: str, arguments: str = "", compiled: bool = True) -> dict[str, Any]:
    """Return the facts of an algorithm on a platform; of the compiled program too where its compiler is installed."""
    preset = PLATFORMS[platform].preset
    updater = updater_of(algorithm, preset, arguments)
    row = {"algorithm": algorithm, "platform": platform, "preset": preset} | of_lowered(updater, platform)
    if compiled and (mesh := compilable(platform)) is not None:
        row["compiled"] = of_compiled(updater, mesh)
    if compiled and platform == "cpu":
        row["compiled"] |= of_acting(updater)
    return row


def _within(found: list[stablehlo.Operation], loop: str) -> list[stablehlo.Operation]:
    return [one for one in found if one.loops[1:2] == (loop,)]


def _named(found: list[stablehlo.Operation], *names: str) -> int:
    return sum(one.name in names for one in found)
