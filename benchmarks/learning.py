"""What a configuration learns: trains it and a memoryless control, several seeds each, and tables the greedy returns.

    python -m benchmarks.learning --config=configs/pqn_lru.py --seeds=3
    python -m benchmarks.learning --config=configs/pqn_lru.py:game=minesweeper --memories=lru,none --seeds=3

Seeds run one after the other, each exactly as `podarcade.launch` runs it, so that the seconds are those of a user. The
control has the same trainer, trunk, budget and starts. Complete runs are read, not repeated.
"""

import datetime
import json
import pathlib
import sys

import numpy as np
from absl import app, flags

from podarcade import launch, plugins
from podarcade.anakin.writer import read_metrics
from podarcade.memory import sizes

CONFIG = flags.DEFINE_string("config", "configs/pqn_lru.py", "configuration file and arguments, without memory=")
MEMORIES = flags.DEFINE_list("memories", ["lru", "none"], "memories to compare; `all` for every one there is")
SEEDS = flags.DEFINE_integer("seeds", 3, "number of seeds, from 0")
OVERRIDES = flags.DEFINE_multi_string("override", [], "x=y for --config.x=y; may be repeated")
FOLDER = flags.DEFINE_string("folder", "runs/learning", "where the runs are kept")
RESULT = flags.DEFINE_string("result", "", "JSON file to write; empty for benchmarks/results/learning-DATE.json")
LAST = flags.DEFINE_integer("last", 5, "evaluations at the end that a run's return is the mean of")


def train(memory: str, seed: int) -> tuple[list[dict], pathlib.Path]:
    """The records of one run, trained now unless it is complete."""
    file, _, arguments = CONFIG.value.partition(":")
    arguments = ",".join(filter(None, [arguments, f"memory={memory}"]))
    words = [pathlib.Path(file).stem, *arguments.replace("=", "_").split(","), f"seed_{seed}"]
    workdir = pathlib.Path(FOLDER.value) / "-".join(words)
    overrides = [f"--config.{item}" for item in [*OVERRIDES.value, f"seed={seed}"]]
    code = launch.main(["launch", f"--config={file}:{arguments}", *overrides, f"--workdir={workdir}"])
    if code:
        raise SystemExit(code)
    return read_metrics(workdir / "metrics.jsonl"), workdir


def summary(records: list[dict], twin: str) -> dict:
    """Greedy returns of one run: at the start, at the end, and of the random policy."""
    evaluated = [record for record in records if f"eval/return_{twin}" in record]
    return {
        "random": records[0][f"random/return_{twin}"],
        "start": records[0][f"eval/return_{twin}"],
        "last": records[-1][f"eval/return_{twin}"],
        "end": float(np.mean([record[f"eval/return_{twin}"] for record in evaluated[-LAST.value :]])),
        "frames": records[-1]["frames"],
        "seconds": records[-1]["seconds"],
        "frames_per_second": records[-1]["frames"] / records[-1]["seconds"],
    }


def main(_) -> None:
    """Trains, tables, writes."""
    results, configs = {}, {}
    for memory in MEMORIES.value if MEMORIES.value != ["all"] else plugins.names("memory"):
        runs = [train(memory, seed) for seed in range(SEEDS.value)]
        config = json.loads((runs[0][1] / "config.json").read_text(encoding="utf-8"))
        twin = "partial" if config["environment"]["partial"] else "full"
        results[memory] = [summary(records, twin) for records, _ in runs]
        configs[memory] = config | {"memory_parameters": parameters(config)}
        write(configs, results)
    print(f"\n{CONFIG.value}: greedy return on the {twin} twin, mean of the last {LAST.value} evaluations")
    print(f"{'memory':20}{'parameters':>12}  {'seeds':28}{'mean':>8}{'random':>8}{'start':>8}{'frames/s':>10}")
    for memory, runs in results.items():
        mean = {key: np.mean([run[key] for run in runs]) for key in runs[0]}
        seeds = "  ".join(f"{run['end']:.3f}" for run in runs)
        columns = f"{mean['end']:8.3f}{mean['random']:8.3f}{mean['start']:8.3f}{mean['frames_per_second']:10.0f}"
        print(f"{memory:20}{configs[memory]['memory_parameters']:12,}  {seeds:28}{columns}")


def parameters(config: dict) -> int:
    """Of one memory layer of a run."""
    options = {key: value for key, value in config["memory"].items() if key != "name"}
    layer = plugins.find("memory", config["memory"]["name"])(width=config["network"]["width"], **options)
    return sizes.parameters(layer)


def write(configs: dict, results: dict) -> None:
    """Keeps the results with all they depend on."""
    today = datetime.date.today().isoformat()
    path = pathlib.Path(RESULT.value or f"benchmarks/results/learning-{today}.json")
    path.parent.mkdir(parents=True, exist_ok=True)
    provenance = launch.provenance(sys.argv)
    content = {"date": today, **provenance, "configs": configs, "results": results}
    launch.configs.write_json(path, content)


if __name__ == "__main__":
    app.run(main)
