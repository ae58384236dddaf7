"""Trains what a configuration describes, and resumes it where it was left.

python -m podarcade.launch --config=configs/pqn_lru.py
python -m podarcade.launch --config=configs/pqn_lru.py:game=cartpole,memory=none --config.seeds=3 --workdir=runs/mine
"""

import datetime
import importlib.metadata
import logging
import os
import pathlib
import platform
import re
import shlex
import sys

import jax
from absl import flags

from podarcade import config as configs
from podarcade import pictures
from podarcade.anakin import evaluate, loop
from podarcade.anakin.writer import evaluation_seconds, read_metrics, seed_mean
from podarcade.build import build
from podarcade.memory import sizes
from podarcade.observability import NAMES

LONGEST_CLIP = 300  # frames of an episode that are worth watching
CLIP = "greedy_episode.gif"  # the last thing that a complete run writes
STARTS = 16  # episodes played for the clip; the best is shown


def make_flags() -> flags.FlagValues:
    """The program's own flags; `--config` joins them when the configuration is loaded."""
    values = flags.FlagValues()
    flags.DEFINE_string("workdir", "", "where the run is kept; empty: a folder of its own in runs/", flag_values=values)
    flags.DEFINE_integer(
        "cpu_devices", 0, "splits the CPU in so many devices of one thread each; 0: leaves it", flag_values=values
    )
    flags.DEFINE_boolean("help", False, "shows this help", flag_values=values, short_name="h")
    return values


def main(arguments: list[str]) -> int:
    """Runs one command line; returns the exit code: 0 done, or interrupted and saved; 1 an error; 130 Ctrl-C twice."""
    options = make_flags()
    try:
        options(arguments, known_only=True)
        if options.help:
            print(f"{__doc__}\n{options.get_help()}\n  --config: configs/FILE.py:ARGUMENTS; --config.x=y overrides x")
            return 0
        prepare_jax(options.cpu_devices)
        config = configs.load(options, arguments)
        run = build(config)
        workdir = pathlib.Path(options.workdir or default_workdir(config))
        again = configs.keep(config, workdir)
        if not again:
            configs.write_json(workdir / "run.json", provenance(arguments))
    except (ValueError, flags.Error, OSError) as error:
        print(f"error: {_one_line(error)}", file=sys.stderr)
        return 1
    print(header(config, run, workdir, again), flush=True)
    try:
        state, progress = loop.train(run, workdir)
    except (FloatingPointError, OSError, jax.errors.JaxRuntimeError) as error:
        full = "RESOURCE_EXHAUSTED" in str(error)
        hint = "; lower num_envs, raise algorithm.minibatches, or set network.encode_chunk" if full else ""
        print(f"error: {_one_line(error)}{hint}; what is complete is kept in {workdir}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"stopped at once; {resume(arguments, options, workdir)}")
        return 130
    if progress.updates < run.total_updates:
        saved = f"saved after {progress.updates}" if progress.updates else "nothing to save, after 0"
        print(f"{saved} of {run.total_updates} updates; {resume(arguments, options, workdir)}")
    else:
        report(run, workdir, state)
    return 0


def resume(arguments: list[str], options: flags.FlagValues, workdir: pathlib.Path) -> str:
    """How to go on with a run that was left."""
    command = ["python -m podarcade.launch", *map(shlex.quote, arguments[1:])]
    command += [] if options.workdir else [f"--workdir={shlex.quote(str(workdir))}"]
    return f"resume with\n  {' '.join(command)}"


def prepare_jax(cpu_devices: int) -> None:
    """Settings that have to come before the first use of a device."""
    logging.getLogger("jax").setLevel(logging.ERROR)
    if cpu_devices:
        jax.config.update("jax_num_cpu_devices", cpu_devices)
        # Else all devices would use all cores, and wait for each other: the threads of XLA, then those of its products.
        os.environ.setdefault("NPROC", str(cpu_devices))
        xla_flags = os.environ.get("XLA_FLAGS", "")
        if "xla_cpu_multi_thread_eigen" not in xla_flags:
            os.environ["XLA_FLAGS"] = f"{xla_flags} --xla_cpu_multi_thread_eigen=false".strip()
    if jax.config.jax_compilation_cache_dir is None:
        jax.config.update("jax_compilation_cache_dir", str(pathlib.Path.home() / ".cache" / "podarcade"))


def default_workdir(config) -> pathlib.Path:
    """A folder that is named after the run, and differs where the configuration does."""
    section = config.environment
    twin = section.observability if section.observability in NAMES else "twins"
    words = [config.algorithm.name, config.memory.name, section.name, section.level, twin, config.preset]
    return pathlib.Path("runs") / "-".join([*words, configs.fingerprint(config)])


def header(config, run: loop.Run, workdir: pathlib.Path, again: bool) -> str:
    """What is about to happen."""
    mesh, devices = run.updater.mesh, jax.devices()
    found = "no accelerator found" if config.preset == "cpu" else f"{devices[0].platform} found"
    why = found if config.preset_asked == "auto" else "as asked"
    layers, memory = config.network.layers, run.updater.algorithm.trunk.memory(width=config.network.width)
    return "\n".join(
        [
            f"podarcade {importlib.metadata.version('podarcade')}  jax {jax.__version__}  "
            f"{len(devices)} x {devices[0].device_kind}  python {platform.python_version()}",
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


def cores() -> int:
    """CPU cores that this process may use, which a scheduler or `taskset` may have limited."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


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
    share = config.num_envs // config.algorithm.minibatches
    return [
        f"{devices - used} of {devices} devices idle: seed devices divide seeds={config.seeds}; data devices divide "
        f"num_envs / minibatches = {share} and 2 x evaluation.episodes = {2 * config.evaluation.episodes}"
    ]


def provenance(arguments: list[str]) -> dict:
    """What a result depends on besides its configuration."""
    names = ("podarcade", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")
    return {
        "arguments": arguments[1:],
        "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "machine": platform.platform(),
        "processor": f"{os.cpu_count()} x {processor()}",
        "devices": [device.device_kind for device in jax.devices()],
        "versions": {name: importlib.metadata.version(name) for name in names},
    }


def processor() -> str:
    """The model of the CPU: each rounds in its own way, and training makes different runs of that."""
    try:
        found = re.search(r"^model name\s*:\s*(.+)$", pathlib.Path("/proc/cpuinfo").read_text("utf-8"), re.MULTILINE)
    except OSError:
        found = None
    return found[1] if found else platform.processor() or platform.machine()


def report(run: loop.Run, workdir: pathlib.Path, state) -> None:
    """Draws the learning curve and a greedy episode of both twins, and says where they lie."""
    records = read_metrics(workdir / "metrics.jsonl")
    random = seed_mean([records[0][f"random/return_{name}"] for name in evaluate.TWINS])
    evaluation = evaluation_seconds(records)
    print(
        f"complete: {run.total_updates} updates in {records[-1]['seconds']:.0f} s of training"
        f" and {evaluation:.0f} s of evaluation"
    )
    for name in evaluate.TWINS:
        first, last = (seed_mean(record[f"eval/return_{name}"]) for record in (records[0], records[-1]))
        print(f"greedy return on the {name} twin: {last:.3f}  (at the start {first:.3f}, random policy {random:.3f})")
    curve, clip = workdir / "learning_curve.svg", workdir / CLIP
    pictures.learning_curve(records, curve, run.title, {"random policy": random})
    draw_episode(run, state, clip)
    print(f"learning curve: {curve}\ngreedy episode: {clip}")


def draw_episode(run: loop.Run, state, path: pathlib.Path) -> None:
    """An animated picture of a greedy episode of the first seed, on both twins from the same start."""
    updater = run.updater
    params = jax.tree.map(lambda x: x[0], state.learner.params)
    key = jax.random.key_data(jax.random.key(loop.EVALUATION_SEED))
    limit = min(updater.environment.game.limit or LONGEST_CLIP, LONGEST_CLIP)
    clips = evaluate.play(updater.algorithm, updater.environment, params, key, limit, STARTS)
    captions = tuple(
        f"{name} twin: {value:.2f}{'' if over else f' in {limit} steps'}, best of {STARTS}"
        for name, (_, value, over) in clips.items()
    )
    both = pictures.side_by_side(*(frames for frames, *_ in clips.values()), captions)
    pictures.animation(both, path, scale=1)


def _one_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]


if __name__ == "__main__":
    sys.exit(main(sys.argv))
