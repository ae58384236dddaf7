"""Scores of trained runs: what a leaderboard is made of, small enough to keep in a repository.

scores/NAME.json has a row for each run (an agent on a task, its seeds side by side), one line each:

| key | meaning |
|---|---|
| `task` | `game`, `level` and `twin` |
| `environment` | fields of the environment that differ from those of the level, usually none |
| `kind` | "vector" for tasks without pixels, else "pixels" |
| `agent`, `algorithm`, `memory` | name of the agent, and the plug-ins that it is made of |
| `budget` | `config.frames`, which counts the steps that only start an episode |
| `seeds`, `frames` | numbers of the seeds; real environment steps of each, their mean |
| `final` | per seed: greedy return of the final parameters on fresh starts, on the twin that was trained on |
| `end` | per seed: the same on the starts of the evaluations, mean over those of the last frames |
| `area` | per seed: mean of the evaluations over the frames (area under the curve / frames) |
| `random`, `parameters` | return of the random policy; parameters of one memory layer |
| `command` | the command that trains the run again |
| `fingerprint` | of the configuration without its seeds: six hexadecimal digits |
| `changes` | options that differ from the preset of the configuration file, by path; null where it has none |
| `origin` | date, commit, versions and machine: in the file an index into its list `origins` |
"""

import json
import math
import os
import pathlib
import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from podarcade import configuration, plugins
from podarcade.configuration import command_line, files
from podarcade.envs.tasks import Task
from podarcade.reporting import results
from podarcade.runtime import run_files
from podarcade.runtime.differences import differences, flatten

LAUNCH = ("podarcade", "launch")
PER_SEED = ("final", "end", "area")
FIELDS = (
    "task", "environment", "kind", "agent", "algorithm", "memory", "budget", "seeds", "frames", *PER_SEED, "random",
    "parameters", "command", "fingerprint", "changes", "origin",
)  # fmt: skip
DIGITS = 6  # decimals of a return
MACHINE = ("python", "machine", "processor", "devices", "versions")


def command(arguments: Sequence[str], config: Mapping[str, Any]) -> str:
    """Return the command line that trains a run: the same on every machine.

    Args:
      arguments: `--config=...` and overrides, as `sweeps.jobs.Job` holds them.
      config: whole configuration; where its preset was chosen by `auto`, the command names the preset.
    """
    words = list(arguments)
    if config.get("preset_asked") == "auto":
        words = [_with_preset(word, config["preset"]) if word.startswith("--config=") else word for word in words]
    return shlex.join([*LAUNCH, *words])


def _with_preset(word: str, preset: str) -> str:
    file, _, argument = word.partition(":")
    items = [item for item in argument.split(",") if item and not item.startswith("preset=")]
    return f"{file}:{','.join([*items, f'preset={preset}'])}"


def row(result: Mapping[str, Any], command: str, origin: Mapping[str, Any]) -> dict:
    """Return the scores of a run.

    Args:
      result: the run's row, as `results.row` makes it.
      command: the command that trains the run again.
      origin: as `origin_of` makes it.

    Raises:
      ValueError: the command makes another configuration or other seeds, or a number is missing.
    """
    task, config = dict(result["task"]), result["config"]
    name = f"{results.task_name(result)} {result['variant']}"
    check_command(command, config, result["seeds"], name)
    if "fresh" not in result:
        raise ValueError(f"{name} has no return on fresh starts; train it with this version")
    frames, curve = (np.asarray(result["curve"][key], float) for key in ("frames", task["twin"]))
    found = {
        "task": task,
        "environment": _differing_environment(task, config["environment"]),
        "kind": kind_of(config["environment"]["name"]),
        "agent": result["variant"],
        "algorithm": plugins.label(config["algorithm"]["name"]),
        "memory": plugins.label(config["memory"]["name"]),
        "budget": config["frames"],
        "seeds": list(result["seeds"]),
        "frames": round(float(result["frames"])),
        "final": _rounded(result["fresh"]),
        "end": _rounded(result["end"]),
        "area": _rounded(np.trapezoid(curve, frames, axis=0) / (frames[-1] - frames[0])),
        "random": _rounded([result["random"]])[0],
        "parameters": result["memory_parameters"],
        "command": command,
        "fingerprint": fingerprint(config),
        "changes": changes(config, command),
        "origin": dict(origin),
    }
    check(found)
    return found


def _rounded(values: Iterable[float | None]) -> list[float]:
    """Return values with `DIGITS` decimals; NaN, which `check` refuses, for null."""
    return [round(math.nan if value is None else float(value), DIGITS) for value in values]


def kind_of(game: str) -> str:
    """Return "vector" for a task without pixels, else "pixels"."""
    return "vector" if issubclass(plugins.find("games", game), Task) else "pixels"


def fingerprint(config: Mapping[str, Any]) -> str:
    """Return six hexadecimal digits that are the same for all seeds of a configuration."""
    return run_files.fingerprint({key: value for key, value in config.items() if key not in ("seed", "seeds")})


def _differing_environment(task: Mapping[str, str], section: Mapping[str, Any]) -> dict[str, Any]:
    choice = {"game": section["name"], "level": task["level"], "partial": task["twin"] == "partial"}
    usual = configuration.environment(configuration.ConfigDict(choice)).to_dict()
    return {name: value for name, value in section.items() if usual.get(name) != value}


def changes(config: Mapping[str, Any], command: str) -> dict[str, Any] | None:
    """Return the options that differ from the preset of the command's file; None for a file without presets.

    The task, the memory and the preset are chosen as in `config`; seeds and options of the task are left out.
    """
    word = next(word for word in shlex.split(command) if word.startswith("--config="))
    file, section = word.removeprefix("--config=").partition(":")[0], config["environment"]
    chosen = {"game": section["name"], "level": section["level"], "partial": section["observability"] != "full"}
    chosen |= {"memory": config["memory"]["name"], "preset": config["preset"]}
    try:
        preset = files.read(f"{file}:{','.join(f'{key}={value}' for key, value in chosen.items())}").to_dict()
    except ValueError:
        return None
    before, after = (run_files.ADDED | dict(flatten(run_files.comparable(item))) for item in (preset, dict(config)))
    return {
        path: value
        for path, value in after.items()
        if path not in ("seed", "seeds") and not path.startswith("environment.") and before.get(path) != value
    }


def origin_of(starts: Sequence[Mapping[str, Any]]) -> dict:
    """Return when, from which source code and on which machine a run was made.

    Args:
      starts: content of run.json, or the provenance of a result alone; what they lack is unknown. A run that was
        resumed with other source code has all commits.
    """
    starts = starts or [{}]
    codes = [start.get("code") or {} for start in starts]
    commits = dict.fromkeys(code.get("commit", "unknown") for code in codes)
    about = {"date": starts[-1].get("started", "unknown")[:10], "commit": ", ".join(commits)}
    about["clean"] = all(code.get("clean", False) for code in codes)
    return about | {name: starts[-1].get(name) for name in MACHINE}


def check_command(command: str, config: Mapping[str, Any], seeds: Sequence[int], name: str) -> None:
    """Check that a command trains a run of this configuration and these seeds.

    Raises:
      ValueError: there is no command, it is not one of `podarcade launch`, or it makes something else.
    """
    made = command_line.configured(_words(command, name)).to_dict()
    if different := differences(run_files.comparable(dict(config)), run_files.comparable(made)):
        raise ValueError(f"{name}: its command makes another configuration ({different}): {command}")
    if results.seeds_of(made) != list(seeds):
        raise ValueError(f"{name}: its command trains seeds {results.seeds_of(made)}, expected {list(seeds)}")


def _words(command: Any, name: str) -> list[str]:
    """Return the arguments of a command that trains a run."""
    words = shlex.split(command) if isinstance(command, str) else []
    if tuple(words[:2]) != LAUNCH or not any(word.startswith("--config=") for word in words):
        given = repr(command) if words else "none"
        raise ValueError(f"{name}: command {given}; expected the one that trains it, podarcade launch --config=...")
    return words[2:]


def check(row: Mapping[str, Any]) -> None:
    """Check that a row is whole and names the command that regenerates it.

    Raises:
      ValueError: a field is missing, there is no command, or a seed has no finite return.
    """
    name = label(row)
    _words(row.get("command"), name)
    if missing := [field for field in FIELDS if field not in row]:
        raise ValueError(f"{name}: no {', '.join(missing)}; expected the fields {', '.join(FIELDS)}")
    for field in PER_SEED:
        values = row[field]
        if len(values) != len(row["seeds"]) or not all(map(_finite, values)):
            raise ValueError(f"{name}: {field}={values}; expected a finite return for each of seeds {row['seeds']}")


def _finite(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def label(row: Mapping[str, Any]) -> str:
    """Return task and agent of a row, for messages; a row may lack either."""
    return f"{'-'.join(map(str, row.get('task', {}).values()))} {row.get('agent', 'agent without a name')}"


def read(path: pathlib.Path) -> list[dict]:
    """Read and check the rows of a file of scores; the `origin` of each is a dictionary.

    Raises:
      ValueError: the file cannot be read, or a row is refused by `check`.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        origins = content["origins"]
        found = [one | {"origin": origins[one["origin"]]} for one in content["rows"]]
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise ValueError(f"{path} is no file of scores ({type(error).__name__}: {error})") from error
    for one in found:
        try:
            check(one)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
    return found


def read_folder(folder: pathlib.Path) -> list[dict]:
    """Read all files of scores in a folder; each row has the name of its file as `file`.

    Raises:
      ValueError: no file, or one that cannot be read.
    """
    paths = sorted(folder.glob("*.json"))
    if not paths:
        raise ValueError(f"{folder} has no scores; expected files NAME.json")
    return [one | {"file": path.name} for path in paths for one in read(path)]


def merged(old: Sequence[dict], new: Sequence[dict]) -> list[dict]:
    """Return rows with new ones added; a new row replaces that of the same agent, task, budget and seeds."""

    def identity(one: dict) -> tuple:
        task = json.dumps([one["task"], one["environment"]], sort_keys=True)
        return task, one["agent"], one["algorithm"], one["budget"], tuple(one["seeds"])

    return list(({identity(one): one for one in old} | {identity(one): one for one in new}).values())


def write(path: pathlib.Path, rows: Sequence[dict]) -> None:
    """Write rows at once, a line for each.

    Raises:
      ValueError: a row is refused by `check`.
    """
    for one in rows:
        check(one)
    origins = list({json.dumps(one["origin"], sort_keys=True): one["origin"] for one in rows}.values())
    kept = [{field: one[field] for field in FIELDS} | {"origin": origins.index(one["origin"])} for one in rows]
    parts = (f'"{key}": [\n{_lines(items)}\n]' for key, items in (("origins", origins), ("rows", kept)))
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    part.write_text("{\n" + ",\n".join(parts) + "\n}\n", encoding="utf-8")
    os.replace(part, path)


def _lines(items: Sequence[Any]) -> str:
    return ",\n".join(json.dumps(item, allow_nan=False) for item in items)
