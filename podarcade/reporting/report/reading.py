"""The runs of a report, read from their folders into one frozen dataclass; nothing that a folder holds is trusted.

A folder that cannot be read as a run is a `Broken` with one line that says why. Configurations may name plug-ins by
path: those are never imported, so that a report executes nothing that a folder asks for.
"""

import dataclasses
import json
import pathlib
import re
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from podarcade import plugins
from podarcade.anakin.evaluate import TWINS
from podarcade.envs.bounds import Bounds
from podarcade.reporting import published, results
from podarcade.reporting.report import parameters
from podarcade.reporting.report.folders import Broken
from podarcade.reporting.report.names import distinct, printable, short
from podarcade.runtime.failures import one_line
from podarcade.runtime.metrics import METRICS, evaluation_seconds, read_metrics
from podarcade.runtime.run_files import planned_frames

CONSOLE, DIAGNOSTICS, CLIP = "console.txt", "diagnostics.json", "greedy_episode.gif"
LONGEST_TAIL = 4096  # bytes of a console that are read
KEPT = re.compile(rf"train/churn\w*|diagnostics/.+/.+|{'|'.join(published.TRAINING)}")  # metrics that sections draw


@dataclasses.dataclass(frozen=True)
class Curve:
    """A metric along a run: frames float[n], the mean over seeds; values float[n, S], NaN where one is missing."""

    frames: np.ndarray
    values: np.ndarray


@dataclasses.dataclass(frozen=True)
class ReportedRun:
    """What a report knows of a run.

    Attributes:
      path: its folder.
      config: the whole configuration.
      state: "complete", "unfinished" or "failed".
      remark: what to know about the state, in one line; may be empty.
      game, level, twin: the task; the twin is the one that was trained on, or a schedule of both.
      memory, algorithm: labels.
      seeds: numbers of the seeds.
      frames: real environment steps, the mean over seeds.
      seconds: of training.
      frames_per_second: of training, over all seeds; NaN before the first update.
      evaluation_seconds: of all evaluations.
      greedy: {twin: greedy returns of the evaluations}.
      final: {twin: float[S], greedy returns of the final parameters on fresh starts}; empty before the end.
      random: {twin: return of the random policy}.
      bounds: returns of known policies; None where unknown.
      parameters: {"all": of the network, "memory": of its memory layers}; empty where unknown.
      starts: provenance of every start, oldest first.
      diagnostics: content of diagnostics.json; empty without it.
      metrics: {name: curve}, other metrics of training: those whose names match `KEPT`.
      label: name among the runs of the same task, for legends.
      name: name among all runs.
    """

    path: pathlib.Path
    config: dict[str, Any]
    state: str
    remark: str
    game: str
    level: str
    twin: str
    memory: str
    algorithm: str
    seeds: tuple[int, ...]
    frames: float
    seconds: float
    frames_per_second: float
    evaluation_seconds: float
    greedy: dict[str, Curve]
    final: dict[str, np.ndarray]
    random: dict[str, float]
    bounds: Bounds | None
    parameters: dict[str, int]
    starts: tuple[dict[str, Any], ...]
    diagnostics: dict[str, Any]
    metrics: dict[str, Curve]
    label: str = ""
    name: str = ""

    @property
    def task(self) -> tuple[str, str]:
        """Game and level."""
        return self.game, self.level

    @property
    def main_twin(self) -> str:
        """The twin that its returns are compared on: the one that was trained on, the partial one of a schedule."""
        return self.twin if self.twin in TWINS else "partial"


def read(path: pathlib.Path) -> ReportedRun | Broken:
    """Return the run in a folder, which may still be training, or why it cannot be read."""
    try:
        config = json.loads((path / "config.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return Broken(path, "config.json is missing")
    except (OSError, ValueError, RecursionError) as error:
        return Broken(path, f"config.json cannot be read: {one_line(error)}")
    try:
        records = _records(path / METRICS)
        return _interpreted(path, config, records)
    except FileNotFoundError:
        return Broken(path, f"{METRICS} is missing: the run has not evaluated yet, or its metrics are lost")
    except ValueError as error:
        return Broken(path, one_line(error))
    except (OSError, TypeError, KeyError, AttributeError, IndexError, ArithmeticError, RecursionError) as error:
        return Broken(path, f"config.json or {METRICS} is not that of a run ({type(error).__name__}: {error})")


def _records(path: pathlib.Path) -> list[dict]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a damaged line is skipped
        records = read_metrics(path)
    if not records:
        raise ValueError(f"{METRICS} holds no record")
    return records


def _interpreted(path: pathlib.Path, config: dict, records: list[dict]) -> ReportedRun:
    """Return a run; raises what `read` turns into one line."""
    section, last = config["environment"], records[-1]
    if config["seeds"] != len(results.per_seed(last["frames"])):
        raise ValueError(f"{METRICS} has not one number of frames for each of {config['seeds']} seeds")
    seeds = tuple(results.seeds_of(config))
    frames, seconds = float(np.mean(_numbers(last["frames"], len(seeds)))), float(last["seconds"])
    if not np.isfinite([frames, seconds]).all():
        raise ValueError(f"{METRICS} ends with no number of frames or seconds")
    final = {twin: _numbers(last[key], len(seeds)) for twin in TWINS if (key := f"final/return_{twin}") in last}
    state, remark = _state(path, config, int(last["updates"]), bool(final))
    return ReportedRun(
        path=path,
        config=config,
        state=state,
        remark=remark,
        game=printable(plugins.label(section["name"])),
        level=printable(section["level"]),
        twin=printable(section["observability"]),
        memory=printable(plugins.label(config["memory"]["name"])),
        algorithm=printable(plugins.label(config["algorithm"]["name"])),
        seeds=seeds,
        frames=frames,
        seconds=seconds,
        frames_per_second=frames * len(seeds) / seconds if seconds > 0 else float("nan"),
        evaluation_seconds=float(evaluation_seconds(records)),
        greedy={twin: _curve(records, f"eval/return_{twin}", len(seeds)) for twin in TWINS},
        final=final,
        random={twin: value for twin in TWINS if (value := _random(records[0], twin, len(seeds))) is not None},
        bounds=_bounds(section),
        parameters=parameters.count(config),
        starts=_starts(path / "run.json"),
        diagnostics=_dictionary(path / DIAGNOSTICS),
        metrics=_metrics(records, len(seeds)),
    )


def _numbers(value: Any, seeds: int) -> np.ndarray:
    """Return a metric as float[S], NaN for null; raise ValueError for another number of seeds."""
    found = np.array(results.per_seed(value), float)
    if found.shape != (seeds,):
        raise ValueError(f"{METRICS} has {found.size} values for a metric; expected {seeds}, one for each seed")
    return found


def _curve(records: list[dict], key: str, seeds: int) -> Curve:
    kept = [record for record in records if key in record]
    frames = np.array([np.mean(_numbers(record["frames"], seeds)) for record in kept])
    values = np.array([_numbers(record[key], seeds) for record in kept]).reshape(len(kept), seeds)
    return Curve(frames, values)


def _metrics(records: list[dict], seeds: int) -> dict[str, Curve]:
    """Return the metrics that are kept; one that is not a number for each seed throughout is left out."""
    found = {}
    for name in dict.fromkeys(name for record in records for name in record if KEPT.fullmatch(name)):
        try:
            curve = _curve(records, name, seeds)
        except (ValueError, TypeError):
            continue
        if np.isfinite(curve.values).any():
            found[name] = curve
    return found


def _random(record: dict, twin: str, seeds: int) -> float | None:
    key = f"random/return_{twin}"
    return float(np.mean(_numbers(record[key], seeds))) if key in record else None


def _state(path: pathlib.Path, config: dict, updates: int, has_final: bool) -> tuple[str, str]:
    """Return the state of a run and a remark on it."""
    total = planned_frames(config) // (config["num_envs"] * config["algorithm"]["rollout_length"])
    if has_final or updates >= total:
        return "complete", ""
    progress = f"{updates:,} of {total:,} updates"
    last = _last_line(path / CONSOLE)
    return ("failed", f"{progress}; {last}") if last.startswith("error:") else ("unfinished", progress)


def _last_line(path: pathlib.Path) -> str:
    try:
        with open(path, "rb") as file:
            file.seek(max(0, path.stat().st_size - LONGEST_TAIL))
            lines = file.read().decode("utf-8", "replace").split("\n")
    except OSError:
        return ""
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


def _bounds(section: dict[str, Any]) -> Bounds | None:
    try:
        return results.known_bounds(section)
    except (ValueError, KeyError, TypeError, AttributeError):  # a task or an option of another version
        return None


def _starts(path: pathlib.Path) -> tuple[dict[str, Any], ...]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return ()
    return tuple(start for start in found if isinstance(start, dict)) if isinstance(found, list) else ()


def _dictionary(path: pathlib.Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def named(runs: Sequence[ReportedRun]) -> list[ReportedRun]:
    """Return the runs with distinct names, and labels that are distinct within each task.

    A label is the memory, or else algorithm and memory, whichever is distinct on every task; otherwise it is the name,
    the end of the path that sets a run apart.
    """
    names = distinct([printable(text) for text in short([str(run.path.resolve()) for run in runs])])
    candidates = [[run.memory for run in runs], [f"{run.algorithm} {run.memory}" for run in runs]]
    tasks = [(run.task, run.twin) for run in runs]
    labels = next((texts for texts in candidates if len(set(zip(tasks, texts, strict=True))) == len(runs)), names)
    return [
        dataclasses.replace(run, name=name, label=label) for run, name, label in zip(runs, names, labels, strict=True)
    ]
