"""What a person is told of a run before it starts."""

import importlib.metadata
import platform
import time
from typing import Any

import jax

from podarcade.models.memory import sizes
from podarcade.runtime.leaves import named_leaves
from podarcade.runtime.provenance import cores
from podarcade.runtime.run import Run


def header(config, run: Run, workdir: Any, again: bool) -> str:
    """What is about to happen."""
    mesh, devices = run.updater.mesh, jax.devices()
    found = "no accelerator found" if config.preset == "cpu" else f"{devices[0].platform} found"
    why = found if config.preset_asked == "auto" else "as asked"
    layers, memory = config.network.layers, run.updater.algorithm.trunk.memory(width=config.network.width)
    processes = jax.process_count()
    return "\n".join(
        [
            f"podarcade {importlib.metadata.version('podarcade')}  jax {jax.__version__}  "
            f"{len(devices)} x {devices[0].device_kind}  python {platform.python_version()}"
            f"{f'  {processes} processes' if processes > 1 else ''}",
            f"{run.title}  seeds {', '.join(map(str, run.seeds))}",
            f"memory: {layers} x {sizes.parameters(memory):,} parameters, "
            f"{layers} x {sizes.carry_bytes(memory):,} bytes carried per environment",
            f"preset {config.preset} ({why}; others by --config=FILE.py:preset=NAME)  "
            f"mesh {mesh.shape['seed']} seed x {mesh.shape['data']} data",
            f"workdir {workdir} ({'found' if again else 'new'})",
            *advice(len(run.seeds), devices[0].platform, len(devices), cores()),
            *idle(config, mesh.size, len(devices)),
        ]
    )


def advice(seeds: int, platform_name: str, devices: int, usable: int) -> list[str]:
    """How to train several seeds faster on these devices and usable cores, if there is a way."""
    if platform_name != "cpu" or devices > 1:
        return []
    split = max(count for count in range(1, usable + 1) if seeds % count == 0)
    return [f"faster: --cpu_devices={split} spreads the seeds over the cores"] if 2 * split > max(usable, 2) else []


def idle(config, used: int, devices: int) -> list[str]:
    """Why devices are left over, where nobody asked for that."""
    if used == devices or config.mesh.seed or config.mesh.data:
        return []
    share = config.num_envs // config.algorithm.num_minibatches
    return [
        f"{devices - used} of {devices} devices idle: seed devices divide seeds={config.seeds}; data devices divide "
        f"num_envs / minibatches = {share} and 2 x evaluation.episodes = {2 * config.evaluation.episodes}"
    ]


def dry_run(run: Run) -> str:
    """What the run would take, without making a step: shapes, parameters, memory of a device, time to compile."""
    updater = run.updater
    state = run.abstract_state()
    began = time.monotonic()
    program = updater.compile(state, run.updates_per_call)
    seconds = time.monotonic() - began
    plan = program.memory_analysis()
    lines = [
        f"parameters: {_count(state.learner.params) // len(run.seeds):,} of a seed",
        *(f"  {name:44} {x.dtype.name}{list(x.shape[1:])}" for name, x in named_leaves(state.learner.params).items()),
        f"state: {_megabytes(state)}, of which a checkpoint holds {_megabytes(run.to_checkpoint(state))}: "
        f"{', '.join(f'{name} {_megabytes(part)}' for name, part in vars(state).items() if jax.tree.leaves(part))}",
        f"{updater.total_updates} updates of {updater.num_envs} environments x {updater.algorithm.rollout_length} steps",
    ]
    if plan is not None:
        most = plan.argument_size_in_bytes + plan.temp_size_in_bytes
        lines.append(
            f"memory of a device: {most / 1e6:,.0f} MB planned for the update "
            f"({plan.argument_size_in_bytes / 1e6:,.0f} MB of state, {plan.temp_size_in_bytes / 1e6:,.0f} MB besides)"
        )
    return "\n".join([*lines, f"compiled in {seconds:.1f} s; nothing was trained or written"])


def _count(tree: Any) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


def _megabytes(tree: Any) -> str:
    return f"{sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree)) / 1e6:,.1f} MB"
