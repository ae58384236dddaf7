"""Trains what a configuration describes, and resumes it where it was left.

python -m podarcade.launch --config=configs/pqn_lru.py
python -m podarcade.launch --config=configs/pqn_lru.py:game=cartpole,memory=none --config.seeds=3 --workdir=runs/mine
"""

import datetime
import importlib.metadata
import logging
import pathlib
import platform
import sys

import jax
from absl import flags

from podarcade import config as configs
from podarcade import pictures
from podarcade.anakin import evaluate, loop
from podarcade.anakin.writer import read_metrics, seed_mean
from podarcade.build import build

FLAGS = flags.FlagValues()
flags.DEFINE_string("workdir", "", "where the run is kept; empty for a folder of its own in runs/", flag_values=FLAGS)
flags.DEFINE_integer("cpu_devices", 0, "splits the CPU in this many virtual devices; 0 leaves it", flag_values=FLAGS)
flags.DEFINE_boolean("help", False, "shows this help", flag_values=FLAGS, short_name="h")


def main(arguments: list[str]) -> int:
    """Runs one command line; returns the exit code: 0 for done or interrupted and saved, 1 for an error."""
    try:
        FLAGS(arguments, known_only=True)
        if FLAGS.help:
            print(f"{__doc__}\n{FLAGS.main_module_help() or FLAGS.get_help()}")
            return 0
        prepare_jax(FLAGS.cpu_devices)
        config = configs.load(FLAGS, arguments)
        run = build(config)
        workdir = choose_workdir(config)
        again = configs.keep(config, workdir)
        if not again:
            configs.write_json(workdir / "run.json", provenance())
    except (ValueError, flags.Error, OSError) as error:
        print(f"error: {_one_line(error)}", file=sys.stderr)
        return 1
    print(header(config, run, workdir, again), flush=True)
    try:
        state, progress = loop.train(run, workdir)
    except (FloatingPointError, OSError) as error:
        print(f"error: {_one_line(error)}; what is complete is kept in {workdir}", file=sys.stderr)
        return 1
    if progress.updates < run.total_updates:
        print(f"saved after {progress.updates} of {run.total_updates} updates; resume with\n  {resume(workdir)}")
        return 0
    report(run, workdir, state)
    return 0


def prepare_jax(cpu_devices: int) -> None:
    """Settings that have to come before the first use of a device."""
    logging.getLogger("jax").setLevel(logging.ERROR)
    if cpu_devices:
        jax.config.update("jax_num_cpu_devices", cpu_devices)
    if jax.config.jax_compilation_cache_dir is None:
        jax.config.update("jax_compilation_cache_dir", str(pathlib.Path.home() / ".cache" / "podarcade"))


def choose_workdir(config) -> pathlib.Path:
    """The folder asked for, or one that is named after the run and differs where the configuration does."""
    if FLAGS.workdir:
        return pathlib.Path(FLAGS.workdir)
    section = config.environment
    twin = "partial" if section.partial else "full"
    words = [config.algorithm.name, config.memory.name, section.name, section.level, twin, config.preset]
    return pathlib.Path("runs") / "-".join([*words, configs.fingerprint(config)])


def header(config, run: loop.Run, workdir: pathlib.Path, again: bool) -> str:
    """What is about to happen."""
    mesh = run.updater.mesh.shape
    why = (
        {"cpu": "no accelerator found", "gpu": f"{jax.default_backend()} found"}[config.preset]
        if (config.preset_asked == "auto")
        else "as asked"
    )
    return "\n".join(
        [
            f"podarcade {importlib.metadata.version('podarcade')}  jax {jax.__version__}  "
            f"{jax.device_count()} x {jax.devices()[0].device_kind}  python {platform.python_version()}",
            f"{run.title}  seeds {', '.join(map(str, run.seeds))}",
            f"preset {config.preset} ({why}; :preset=NAME chooses among cpu, gpu, paper, smoke)  "
            f"mesh {mesh['seed']} seed x {mesh['data']} data",
            f"workdir {workdir} ({'found' if again else 'new'})",
        ]
    )


def provenance() -> dict:
    """What a result depends on besides its configuration."""
    names = ("podarcade", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")
    return {
        "command": configs.command_line(),
        "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "machine": platform.platform(),
        "devices": [device.device_kind for device in jax.devices()],
        "versions": {name: importlib.metadata.version(name) for name in names},
    }


def resume(workdir: pathlib.Path) -> str:
    """The command that goes on with this run."""
    command = configs.command_line()
    return command if FLAGS.workdir else f"{command} --workdir={workdir}"


def report(run: loop.Run, workdir: pathlib.Path, state) -> None:
    """Draws the learning curve and a greedy episode of both twins, and says where they lie."""
    records = read_metrics(workdir / "metrics.jsonl")
    random = {name: seed_mean(records[0].get(f"random/return_{name}")) for name in evaluate.TWINS}
    for name in evaluate.TWINS:
        last = seed_mean(records[-1][f"eval/return_{name}"])
        print(f"greedy return, {name} twin: {last:.3f}  (random policy {random[name]:.3f})")
    pictures.learning_curve(records, workdir / "learning_curve.svg", run.title, baselines=None)
    print(f"learning curve: {workdir / 'learning_curve.svg'}")


def _one_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]


if __name__ == "__main__":
    sys.exit(main(sys.argv))
