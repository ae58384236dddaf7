"""Text printed before training starts and after it is complete."""

import math
import pathlib
import platform
import time
from typing import Any

import jax

import podarcade
from podarcade.anakin import evaluate
from podarcade.models.memory import Memory, sizes
from podarcade.reporting import clips, figures, results
from podarcade.runtime import distributed, memory_usage
from podarcade.runtime.leaves import named_leaves, num_bytes
from podarcade.runtime.metrics import METRICS, evaluation_seconds, read_metrics, seed_mean
from podarcade.runtime.provenance import cores
from podarcade.runtime.run import Run


def header(config, run: Run, workdir: Any, resumed: bool) -> str:
    """Return the lines that are printed before training starts: versions, title, memory, preset, mesh, folder."""
    mesh, devices = run.updater.mesh, jax.devices()
    found = "no accelerator found" if config.preset == "cpu" else f"{devices[0].platform} found"
    why = found if config.preset_asked == "auto" else "as asked"
    layers, layer = config.network.layers, run.updater.algorithm.trunk.memory(width=config.network.width)
    processes = jax.process_count()
    return "\n".join(
        [
            f"podarcade {podarcade.__version__}  jax {jax.__version__}  "
            f"{len(devices)} x {devices[0].device_kind}  python {platform.python_version()}"
            f"{f'  {processes} processes' if processes > 1 else ''}",
            f"{run.title}  {_seeds(run)}",
            f"memory: {layers} x {sizes.parameters(layer):,} parameters, "
            f"{layers} x {sizes.carry_bytes(layer):,} bytes carried per environment{_horizon(layer)}",
            f"preset {config.preset} ({why}; others by --config=FILE.py:preset=NAME)  "
            f"mesh {mesh.shape['seed']} seed x {mesh.shape['data']} data",
            f"workdir {workdir} ({'found' if resumed else 'new'})",
            *advice(len(run.seeds), devices[0].platform, len(devices), cores()),
            *idle(config, mesh.size, len(devices)),
        ]
    )


def beginning(init_from: dict[str, Any], extended: dict[str, int]) -> str:
    """Return the lines on the run that the parameters come from, and on the shorter run that is extended."""
    lines = []
    if init_from:
        lines.append(f"parameters of {init_from['run']} after {init_from['updates']} updates")
    if extended:
        before, now, schedule = (extended[name] for name in ("from", "to", "schedule"))
        ends = f"schedules still end after {schedule:,}"
        if schedule > before:
            ends = (
                f"schedules end after {schedule:,}, so that they go back to {100 * before / schedule:.0f} % of their "
                f"way; --config.schedule_frames={before} leaves them complete"
            )
        lines.append(f"extended from {before:,} to {now:,} frames; {ends}")
    return "\n".join(lines)


def _horizon(layer: Memory) -> str:
    """Return the end of the memory's line where its initial time constants are set."""
    horizon = getattr(layer, "init_horizon", 0.0)
    return f", initial time constants up to {horizon:g} steps" if horizon else ""


def advice(seeds: int, platform_name: str, devices: int, usable: int) -> list[str]:
    """Return how to train several seeds faster, where splitting the CPU would help: one line or none.

    Args:
      seeds: number of seeds.
      platform_name: of the devices.
      devices: number of devices.
      usable: CPU cores that this process may use.
    """
    if platform_name != "cpu" or devices > 1:
        return []
    split = max(count for count in range(1, usable + 1) if seeds % count == 0)
    return [f"faster: --cpu_devices={split} spreads the seeds over the cores"] if 2 * split > max(usable, 2) else []


def idle(config, used: int, devices: int) -> list[str]:
    """Return why devices are idle, where the mesh was not given by the user: one line or none."""
    if used == devices or config.mesh.seed or config.mesh.data:
        return []
    share = config.num_envs // config.algorithm.num_minibatches
    return [
        f"{devices - used} of {devices} devices idle: seed devices divide seeds={config.seeds}; data devices divide "
        f"num_envs / num_minibatches = {share} and 2 x evaluation.episodes = {2 * config.evaluation.episodes}"
    ]


def _seeds(run: Run) -> str:
    seeds = ", ".join(map(str, run.seeds[: len(run.seeds) // run.members]))
    return f"seeds {seeds}" if run.members == 1 else f"{run.members} members, each with seeds {seeds}"


def dry_run(run: Run) -> str:
    """Compile a run's programs without running them; return what it would take: parameters, memory, compile time.

    Device memory is what XLA plans for the update; on a CPU it comes out of the host's. Host memory is what this
    process holds after compilation (Python, JAX, the programs), and the arrays of a checkpoint while it is written.
    """
    updater = run.updater
    state = run.abstract_state()
    began = time.monotonic()
    params = state.learner.params
    programs = run.evaluator.compile(params), updater.compile(state, run.updates_per_call)
    seconds = time.monotonic() - began
    parts = {name: part for name, part in vars(state).items() if jax.tree.leaves(part)}
    lines = [
        f"parameters: {sum(leaf.size for leaf in jax.tree.leaves(params)) // len(run.seeds):,} per seed",
        *(f"  {name:44} {x.dtype.name}{list(x.shape[1:])}" for name, x in named_leaves(params).items()),
        f"state: {_megabytes(num_bytes(named_leaves(state)))} on all devices: "
        f"{', '.join(f'{name} {_megabytes(num_bytes(named_leaves(part)))}' for name, part in parts.items())}",
        f"checkpoint: {_megabytes(num_bytes(named_leaves(run.to_checkpoint(state))))}",
        f"{updater.total_updates} updates of {updater.num_envs} x {updater.algorithm.rollout_length} environment steps",
        *_memory(
            memory_usage.planned(programs[-1].compiled),
            num_bytes(named_leaves(run.to_checkpoint(state))),
            updater.mesh.devices.flat[0].platform,
            jax.local_device_count(),
        ),
        f"compiled in {seconds:.1f} s; nothing was trained or written",
    ]
    return "\n".join(lines)


def _memory(plan: memory_usage.DeviceMemory | None, checkpoint: int, platform_name: str, devices: int) -> list[str]:
    """Return device and host memory, a line each; `plan` is None where XLA has no memory analysis."""
    lines = []
    if plan is not None:
        lines.append(
            f"device memory: {_megabytes(plan.total)} planned for the update "
            f"({_megabytes(plan.arguments)} of state, {_megabytes(plan.temporaries)} temporary)"
        )
    held = memory_usage.resident()
    if not math.isnan(held):
        on_host = plan.total * devices if plan and platform_name == "cpu" else 0
        shared = f", {_megabytes(on_host)} of device memory, which is the host's on a CPU" if on_host else ""
        lines.append(
            f"host memory: {_megabytes(held + on_host + checkpoint)} expected "
            f"({_megabytes(held)} held by this process now{shared}, {_megabytes(checkpoint)} while saving)"
        )
    return lines


def _megabytes(number: float) -> str:
    return f"{number / 1e6:,.1f} MB"


def report(run: Run, workdir: pathlib.Path, state: Any) -> None:
    """Print the results of a complete run, and write its learning curve and the clip of a greedy episode."""
    params = distributed.fetch(state.learner.params)
    if not distributed.is_first_process():
        return
    path = workdir / METRICS
    records = read_metrics(path) if path.exists() else []
    if records and "random/return_full" in records[0]:
        _print_results(run, records, workdir / figures.CURVE)
    else:
        print(f"complete: {run.total_updates} updates; {path} has lost its beginning, so there is no learning curve")
    if clips.greedy_episode(run, params, workdir / clips.CLIP):
        print(f"greedy episode, the median of {clips.STARTS}: {workdir / clips.CLIP}")
    else:
        name = type(run.updater.environment.game).__name__
        print(f"no clip of an episode: {name}.render returns no pictures uint8[H, W, 3]")


def _print_results(run: Run, records: list[dict], curve: pathlib.Path) -> None:
    """Print times and returns of a complete run, and draw its learning curve."""
    random = seed_mean([records[0][f"random/return_{name}"] for name in evaluate.TWINS])
    print(
        f"complete: {run.total_updates} updates in {records[-1]['seconds']:.0f} s of training"
        f" and {evaluation_seconds(records):.0f} s of evaluation"
    )
    for policy, key in (("greedy", "return"), ("sampled", "sampled_return")):
        for twin in evaluate.TWINS:
            if evaluated := [record[f"eval/{key}_{twin}"] for record in records if f"eval/{key}_{twin}" in record]:
                first, last = seed_mean(evaluated[0]), seed_mean(evaluated[-1])
                fresh = seed_mean(records[-1].get(f"final/{key}_{twin}"))
                print(
                    f"{policy} return on the {twin} twin: {last:.3f}"
                    f"{'' if fresh is None else f', on fresh starts {fresh:.3f}'}"
                    f"  (untrained {first:.3f}, random policy {random:.3f})"
                )
    learning_curve(run, records, curve)
    print(f"learning curve: {curve}")


def learning_curve(run: Run, records: list[dict], path: pathlib.Path) -> None:
    """Draw the learning curve of a complete run beside what is known of its task."""
    random = seed_mean([records[0][f"random/return_{name}"] for name in evaluate.TWINS])
    known = results.known_bounds(run.origin["config"]["environment"])
    best = {"best known memoryless": known.memoryless, "best known with memory": known.memory} if known else {}
    figures.learning_curve(records, path, run.title, {"random policy": random} | best)
