"""What configurations learn: trains variants on tasks, several seeds in one program, tables and draws greedy returns.

    python -m benchmarks.learning --config=configs/pqn_lru.py --seeds=3
    python -m benchmarks.learning --tasks=cartpole/full,tetris/hard/partial --variant=lru --variant=none:memory=none
    python -m benchmarks.learning --memories=all --config=configs/pqn_lru.py:match=parameters
    python -m benchmarks.learning --config=configs/popgym_arcade/pqn.py:preset=cpu --ablate
    python -m benchmarks.learning --variant=mine:config.algorithm.num_epochs=8 --beside=benchmarks/results/learning-cpu.json

On a CPU, `--processes=CORES` is half again as fast as one run after the other on all cores; on an accelerator the
runs share it, which pays where each is small.

A variant is a name and what it changes: arguments of the configuration file, overrides `config.x=y`, or another
`file=`. Its own overrides come after --override and --seeds, and win. Each run is exactly what `podarcade.launch` makes
of that configuration. Complete runs are read, not repeated, and the result file is written after each.
"""

import concurrent.futures
import datetime
import itertools
import json
import os
import pathlib
import subprocess
import sys

import numpy as np
from absl import app, flags

from benchmarks import curves
from podarcade import configuration, launch, plugins
from podarcade.configuration import command_line
from podarcade.models.memory import sizes
from podarcade.reporting import summary
from podarcade.runtime import backend, provenance
from podarcade.runtime.metrics import read_metrics
from podarcade.runtime.run_files import write_json

CONFIG = flags.DEFINE_string("config", "configs/pqn_lru.py", "configuration file and arguments, without the task")
TASKS = flags.DEFINE_list("tasks", ["minesweeper/partial"], "GAME/TWIN or GAME/LEVEL/TWIN")
VARIANTS = flags.DEFINE_multi_string("variant", [], "NAME:x=y,config.x.y=z; may be repeated; none for the plain one")
MEMORIES = flags.DEFINE_list("memories", [], "variants that are memories; `all` for every one there is")
ABLATE = flags.DEFINE_boolean("ablate", False, "adds variants that each turn off one quirk of the configuration")
SEEDS = flags.DEFINE_integer("seeds", 3, "number of seeds, from 0, side by side")
OVERRIDES = flags.DEFINE_multi_string("override", [], "x=y for --config.x=y in every variant; may be repeated")
PROCESSES = flags.DEFINE_integer(
    "processes",
    1,
    "runs at once, each a process: on one core of a CPU, or beside the others on an accelerator",
    lower_bound=1,
)
FOLDER = flags.DEFINE_string("folder", "runs/learning", "where the runs are kept")
RESULT = flags.DEFINE_string("result", "", "JSON file to write; empty for benchmarks/results/learning-DATE.json")
BESIDE = flags.DEFINE_list(
    "beside", [], "earlier results, whose runs on the same tasks are tabled, drawn and written along with the new"
)
LAST = flags.DEFINE_float(
    "last", 0.25, "share of the frames, at the end, whose evaluations a run's return is the mean of",
    lower_bound=0, upper_bound=1,
)  # fmt: skip


def variants() -> list[curves.Variant]:
    """What is compared."""
    texts = list(VARIANTS.value)
    memories = plugins.names("memory") if MEMORIES.value == ["all"] else MEMORIES.value
    texts += [f"{memory}:memory={memory}" for memory in memories]
    if ABLATE.value:
        quirks = command_line.load(launch.make_flags(), ["learning", f"--config={CONFIG.value}"]).compat
        texts += ["all quirks"]
        texts += [f"without {name}:config.compat.{name}=false" for name, is_on in quirks.items() if is_on]
    return [curves.read_variant(text, CONFIG.value) for text in texts or ["default"]]


def train(job: tuple[curves.Task, curves.Variant]) -> tuple[list[dict], dict]:
    """The records and the configuration of one run, trained now unless it is complete."""
    task, variant = job
    partial = str(task.twin == "partial").lower()
    arguments = [f"game={task.game}", f"level={task.level}", f"partial={partial}", *variant.arguments]
    workdir = pathlib.Path(FOLDER.value) / task.name / variant.name.replace(" ", "_")
    overrides = [f"config.seeds={SEEDS.value}", *(f"config.{item}" for item in OVERRIDES.value), *variant.overrides]
    command = [f"--config={variant.file}:{','.join(arguments)}", *(f"--{item}" for item in overrides)]
    command.append(f"--workdir={workdir}")
    code = launch.main(["launch", *command]) if PROCESSES.value == 1 else _launch(command, workdir)
    if code:
        raise RuntimeError(f"{task.name} {variant.name}: the run ended with code {code}")
    if not (workdir / summary.CLIP).exists():
        raise RuntimeError(f"{task.name} {variant.name} was stopped before its end; the same command goes on")
    return read_metrics(workdir / "metrics.jsonl"), json.loads((workdir / "config.json").read_text(encoding="utf-8"))


def _launch(command: list[str], workdir: pathlib.Path) -> int:
    """Trains in a process of its own, on one core of a CPU; what it says is kept beside the run."""
    workdir.mkdir(parents=True, exist_ok=True)
    print(f"{workdir / 'console.txt'}: begins", flush=True)
    with (workdir / "console.txt").open("a", encoding="utf-8") as console:
        whole = [sys.executable, "-m", "podarcade.launch", *command]
        whole += [] if configuration.accelerator() else ["--cpu_devices=1"]
        code = subprocess.run(whole, stdout=console, stderr=subprocess.STDOUT, check=False).returncode
    print(f"{workdir / 'console.txt'}: ends with code {code}", flush=True)
    return code


def beside(jobs: list[tuple[curves.Task, curves.Variant]]) -> list[dict]:
    """The rows of the earlier results that are on the same tasks.

    Raises:
      ValueError: a file is no such result, has no run on any of the tasks, or has one that goes by the name of a run
        that is to be made.
    """
    tasks, made = {task for task, _ in jobs}, {(task, variant.name) for task, variant in jobs}
    found = []
    for file in BESIDE.value:
        rows = [row for row in curves.read_rows(pathlib.Path(file)) if curves.Task(**row["task"]) in tasks]
        if not rows:
            raise ValueError(f"{file} has no run on {', '.join(sorted(task.name for task in tasks))}")
        for row in rows:
            task, name = curves.Task(**row["task"]), row["variant"]
            if (task, name) in made:
                raise ValueError(f"{file} has {name!r} on {task.name}, which is there already; name one otherwise")
            made.add((task, name))
            found.append(row | curves.ending(row["curve"], task.twin, LAST.value))
    return found


def main(_) -> None:
    """Trains, tables, draws, writes."""
    if PROCESSES.value > 1:  # where several share a GPU, none takes its memory beforehand
        os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    backend.configure(0)
    rows = []
    try:
        jobs = list(itertools.product(map(curves.read_task, TASKS.value), variants()))
        earlier = beside(jobs)
        with concurrent.futures.ThreadPoolExecutor(PROCESSES.value) as pool:
            done = pool.map(train, jobs) if PROCESSES.value > 1 else map(train, jobs)
            for (task, variant), (records, config) in zip(jobs, done, strict=True):
                about = {"task": task._asdict(), "variant": variant.name, "memory_parameters": parameters(config)}
                found = curves.summary(records, task.twin, LAST.value)
                rows.append(about | found | {"curve": curves.greedy(records), "config": config})
                write(rows + earlier)
    except (ValueError, RuntimeError) as error:
        raise SystemExit(f"error: {error}") from error
    table(rows + earlier)


def table(rows: list[dict]) -> None:
    """For people."""
    print(f"\ngreedy return on the twin that was trained on, mean over the last {LAST.value:.0%} of the frames")
    heads = f"{'mean':>8}{'95 % band':>17}{'other twin':>12}{'random':>8}{'area':>8}{'frames/s':>10}  seeds"
    print(f"{'task':32}{'variant':26}{'parameters':>12}{heads}")
    for row in rows:
        low, high = row["band"]
        seeds = "  ".join(f"{value:.3f}" for value in row["end"])
        print(
            f"{'-'.join(row['task'].values()):32}{row['variant']:26}{row['memory_parameters']:12,}{row['mean']:8.3f}"
            f"{low:9.3f}{high:8.3f}{row['other_twin']:12.3f}{row['random']:8.3f}{row['area']:8.3f}"
            f"{row['frames_per_second']:10,.0f}  {seeds}"
        )
    for name in dict.fromkeys(row["variant"] for row in rows):
        for twin in curves.TWINS:
            values = [
                curves.normalised(row["mean"], row["task"]["game"])
                for row in rows
                if row["variant"] == name and row["task"]["twin"] == twin
            ]
            if values:
                print(f"{name}, {len(values)} {twin} tasks: normalised as the papers do {np.mean(values):.3f}")


def parameters(config: dict) -> int:
    """Of one memory layer of a run."""
    options = {key: value for key, value in config["memory"].items() if key != "name"}
    layer = plugins.find("memory", config["memory"]["name"])(width=config["network"]["width"], **options)
    return sizes.parameters(layer)


def write(rows: list[dict]) -> None:
    """Keeps the results with all they depend on, and draws them."""
    today = datetime.date.today().isoformat()
    path = pathlib.Path(RESULT.value or f"benchmarks/results/learning-{today}.json")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, {"date": today, **provenance.of(sys.argv), "last": LAST.value, "runs": rows})
    try:
        curves.draw(rows, path.with_suffix(".png"))
    except ModuleNotFoundError:
        print("no picture: it needs the extra, pip install -e '.[bench]'")


if __name__ == "__main__":
    app.run(main)
