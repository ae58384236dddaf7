"""Export a trained agent for other programs, or the metrics of many runs as one tidy table.

    python -m podarcade.export runs/mine --format=safetensors
    python -m podarcade.export runs/mine --format=onnx --step=best --output=exports/mine
    python -m podarcade.export runs/lru runs/gru --format=csv --output=metrics.csv

safetensors holds the parameters by name; onnx the greedy acting step (observation, last action, reward, start, memory)
-> (action, outputs, memory), which is compared with JAX along an episode. Both are written into a folder with the run's
config.json and a model card. csv and parquet have a row for each number: the run, the options in which the runs differ,
seed, updates, frames, metric and value.

Exit code 0: done; 1: an error.
"""

import os
import pathlib
import sys

from absl import flags

from podarcade.agents import export
from podarcade.agents.loading import load
from podarcade.configuration import check_choice
from podarcade.reporting import frames
from podarcade.runtime import backend, door
from podarcade.runtime.run_files import write_json
from podarcade.runtime.signals import DONE

AGENTS, TABLES = ("safetensors", "onnx"), ("csv", "parquet")
NEEDS = {  # package that a format imports -> how to install it
    "safetensors": "pip install safetensors",
    "pyarrow": "pip install pyarrow",
    "onnx": "pip install 'podarcade[export]' && pip install --no-deps jax2onnx",
}
FILES = ("agent.safetensors", "agent.onnx", "config.json", "README.md")  # of an exported agent
EPISODES = 100  # of the model card


def make_flags() -> flags.FlagValues:
    """Return the flags of the command line."""
    values = flags.FlagValues()
    flags.DEFINE_string("format", "safetensors", f"one of: {', '.join((*AGENTS, *TABLES))}", flag_values=values)
    flags.DEFINE_string("step", "latest", "latest, best, or a number of updates", flag_values=values)
    flags.DEFINE_integer("seed", None, "one of the run's seeds; the first by default", flag_values=values)
    flags.DEFINE_integer("batch", 1, "environments that an exported step acts for", lower_bound=1, flag_values=values)
    flags.DEFINE_string(
        "output", "", "folder of an agent, or file of a table; by default named after the run", flag_values=values
    )
    flags.DEFINE_boolean("help", False, "show this help", short_name="h", flag_values=values)
    return values


def main(arguments: list[str]) -> int:
    """Run one command line; return the exit code."""
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # a run may share the accelerator
    options = make_flags()
    return door.enter(__doc__, options, arguments, lambda runs: _export(options, runs))


def _export(options: flags.FlagValues, runs: list[str]) -> int:
    check_choice("format", options.format, (*AGENTS, *TABLES))
    if not runs:
        raise ValueError("no run given; expected the folders of runs, as in podarcade export runs/mine")
    backend.configure(0)
    paths = [pathlib.Path(run).expanduser() for run in runs]
    try:
        return _export_agent(paths, options) if options.format in AGENTS else _export_metrics(paths, options)
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        raise ValueError(f"--format={options.format} needs {package}: {_remedy(package)}") from None


def _remedy(package: str) -> str:
    return NEEDS.get("onnx" if "onnx" in package else package, f"pip install {package}")


def _export_metrics(runs: list[pathlib.Path], options: flags.FlagValues) -> int:
    path = pathlib.Path(options.output or f"metrics.{options.format}").expanduser()
    if path.suffix != f".{options.format}":
        path = path.with_name(f"{path.name}.{options.format}")
    columns = frames.tidy(runs)
    frames.write(columns, path)
    print(f"{len(columns['value']):,} rows of {len(runs)} runs, columns {', '.join(columns)}: {path}")
    return DONE


def _export_agent(runs: list[pathlib.Path], options: flags.FlagValues) -> int:
    if len(runs) > 1:
        raise ValueError(f"{len(runs)} runs; --format={options.format} exports the agent of one")
    (run,) = runs
    agent = load(run, options.step, options.seed)
    folder = pathlib.Path(options.output or f"exports/{run.resolve().name}-seed={agent.seed}").expanduser()
    folder.mkdir(parents=True, exist_ok=True)
    if others := sorted(path.name for path in folder.iterdir() if path.name not in FILES):
        raise ValueError(f"{folder} holds other files ({', '.join(others[:3])}); expected an empty or a new folder")
    file = folder / f"agent.{options.format}"
    if options.format == "onnx":
        difference = export.write_onnx(agent, file, options.batch)
        about = f"the greedy acting step; differs from JAX by at most {difference:.1e} along an episode"
    else:
        export.write_safetensors(agent, file)
        about = "the parameters by name"
    write_json(folder / "config.json", agent.config.to_dict())
    listed = {file.name: about, "config.json": "every option of the run"}
    card = export.model_card(agent, run, listed, agent.play(EPISODES))
    (folder / "README.md").write_text(card, encoding="utf-8")
    print(f"{file}: {about}\n{folder / 'README.md'}: model card")
    return DONE


if __name__ == "__main__":
    sys.exit(main(sys.argv))
