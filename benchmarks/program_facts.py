"""Facts of an update's program, as lowered for a platform and as compiled for the CPU. Defines no flags."""

import dataclasses
from collections import Counter
from typing import Any

import jax
import jax.numpy as jnp

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


def of_compiled(updater: Updater) -> dict[str, Any]:
    """Return facts of the update compiled for this machine's CPU, on one device.

    Returns:
      rollout_fusions, rollout_loops, rollout_instructions: fusions, loops and all instructions that a step of the
      rollout runs, the bodies of its loops once.
      temporary_bytes: of the whole update.
    """
    compiled = updater.trace(updater.abstract_state(1), 1).lower().compile()
    counts = collectives.loop_body(compiled.as_text(), updater.algorithm.rollout_length)
    return {
        "rollout_fusions": counts["fusion"],
        "rollout_loops": counts["while"],
        "rollout_instructions": sum(counts.values()),
        "temporary_bytes": compiled.memory_analysis().temp_size_in_bytes,
    }


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


def measure(algorithm: str, platform: str, arguments: str = "") -> dict[str, Any]:
    """Return the facts of an algorithm on a platform, on a CPU of the compiled program too."""
    preset = PLATFORMS[platform].preset
    updater = updater_of(algorithm, preset, arguments)
    row = {"algorithm": algorithm, "platform": platform, "preset": preset} | of_lowered(updater, platform)
    if platform == "cpu":
        row["compiled"] = of_compiled(updater) | of_acting(updater)
    return row


def _within(found: list[stablehlo.Operation], loop: str) -> list[stablehlo.Operation]:
    return [one for one in found if one.loops[1:2] == (loop,)]


def _named(found: list[stablehlo.Operation], *names: str) -> int:
    return sum(one.name in names for one in found)
