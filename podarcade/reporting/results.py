"""Results of compared runs: a row per run, read from its metrics; the table; the file.

A row holds, besides the task, the variant, the seeds and the configuration:

| key | meaning |
|---|---|
| `end` | per seed: greedy return on the twin that was trained on, mean over the evaluations of the last frames |
| `seeds` | numbers of the seeds |
| `mean`, `interval` | over seeds: mean of `end` and Student's 95 % interval, null for one seed |
| `best` | per seed: highest evaluation, an optimistic figure: the maximum is taken over the reported starts |
| `fresh` | per seed: greedy return of the final parameters on starts that chose nothing, different for each seed |
| `sampled` | per seed, stochastic policies only: like `end`, of sampled actions |
| `area` | mean greedy return over the whole run |
| `start`, `random` | greedy return before training; return of the random policy |
| `other_twin` | mean of `end` on the twin that was not trained on |
| `held` | per seed: the released trainers' training return, where the run records it; averaged like `end` |
| `memory_parameters` | parameters of one memory layer |
| `curve` | `frames` [n], and `full` and `partial` [n][S]: every evaluation |
| `frames` | real environment steps per seed; `config.frames` counts restarts too |
| `seconds`, `frames_per_second`, `evaluation_seconds` | training time, its rate over all seeds, evaluation time |
"""

import json
import pathlib

import numpy as np

from podarcade import configuration, plugins
from podarcade.anakin.evaluate import TWINS
from podarcade.envs import bounds
from podarcade.models.memory import sizes
from podarcade.reporting import statistics
from podarcade.runtime.metrics import evaluation_seconds
from podarcade.runtime.run_files import comparable

LAST = 0.25  # share of the frames, at the end, whose evaluations are averaged, unless another is asked for

# Returns as POPGym Arcade's tables have them: (return + offset) / span; those of the other games as they are.
NORMALISED = {"battleship": (1, 2), "minesweeper": (1, 2), "tetris": (1, 2), "breakout": (1, 1.6)}


def per_seed(value) -> list:
    """Return a metric as a list over seeds."""
    return value if isinstance(value, list) else [value]


def curve(records: list[dict], key: str) -> tuple[np.ndarray, np.ndarray]:
    """Return frames [n], the mean over seeds, and values [n, S] of a metric, from the records that have it."""
    kept = [record for record in records if key in record]
    frames = np.asarray([np.mean(per_seed(record["frames"])) for record in kept])
    return frames, np.asarray([per_seed(record[key]) for record in kept], float)


def greedy(records: list[dict]) -> dict[str, list]:
    """Return the greedy returns of a run: `frames` [n], and `full` and `partial` [n][S]."""
    found = {twin: curve(records, f"eval/return_{twin}") for twin in TWINS}
    return {"frames": found["full"][0].tolist()} | {twin: returns.tolist() for twin, (_, returns) in found.items()}


def final_statistics(kept: dict[str, list], twin: str, last: float) -> dict:
    """Summarise the end of a run.

    Args:
      kept: a curve as `greedy` returns it.
      twin: the twin that was trained on.
      last: share of the frames, at the end of the run, whose evaluations are averaged; at least the last one is. It is
        a share and not a number of evaluations, so that runs evaluated at different rates are compared over the same
        frames.
    """
    frames = np.asarray(kept["frames"])
    late = frames >= (1 - last) * frames[-1]
    end = {name: np.asarray(kept[name])[late].mean(axis=0) for name in TWINS}
    mean, low, high, seeds = statistics.interval(end[twin])
    return {
        "end": end[twin].tolist(),
        "mean": float(mean),
        "interval": [float(low), float(high)] if seeds > 1 else None,
        "other_twin": float(end["full" if twin == "partial" else "partial"].mean()),
    }


def from_curve(kept: dict[str, list], twin: str, last: float) -> dict:
    """Summarise the curve of a run on the twin that it was trained on; arguments as of `final_statistics`."""
    frames, returns = np.asarray(kept["frames"]), np.asarray(kept[twin])
    return final_statistics(kept, twin, last) | {
        "best": returns.max(axis=0).tolist(),
        "area": float(np.trapezoid(returns.mean(axis=1), frames) / (frames[-1] - frames[0])),
        "start": float(returns[0].mean()),
        "frames": float(frames[-1]),
        "curve": kept,
    }


def summary(records: list[dict], twin: str, last: float) -> dict:
    """Summarise a run on the twin that it was trained on.

    Args:
      records: lines of metrics.jsonl.
      twin: the twin that was trained on.
      last: as in `final_statistics`.

    Raises:
      ValueError: the records have no evaluation, or lack the first, with the random policy's return.
    """
    if not records or f"random/return_{twin}" not in records[0]:
        raise ValueError("metrics.jsonl lacks its first record; remove the run's folder and train it again")
    found = from_curve(greedy(records), twin, last)
    found["random"] = float(np.mean(per_seed(records[0][f"random/return_{twin}"])))
    found["seconds"] = records[-1]["seconds"]
    found["frames_per_second"] = found["frames"] * len(found["end"]) / found["seconds"]
    if "eval/seconds" in records[0]:
        found["evaluation_seconds"] = evaluation_seconds(records)
    for name, key in (("sampled", f"eval/sampled_return_{twin}"), ("held", "train/return_held")):
        if any(key in record for record in records):
            frames, values = curve(records, key)
            found[name] = values[frames >= (1 - last) * frames[-1]].mean(axis=0).tolist()
    if f"final/return_{twin}" in records[-1]:
        found["fresh"] = per_seed(records[-1][f"final/return_{twin}"])
    return found


def row(task: dict[str, str], variant: str, config: dict, records: list[dict], last: float) -> dict:
    """Return the row of a complete run.

    Args:
      task: {"game": ..., "level": ..., "twin": ...}.
      variant: name.
      config: whole configuration of the run.
      records: lines of metrics.jsonl.
      last: as in `final_statistics`.

    Raises:
      ValueError: the records are not whole.
    """
    options = {key: value for key, value in config["memory"].items() if key != "name"}
    layer = plugins.find("memory", config["memory"]["name"])(width=config["network"]["width"], **options)
    about = {"task": task, "variant": variant, "memory_parameters": sizes.parameters(layer), "seeds": seeds_of(config)}
    return about | summary(records, task["twin"], last) | {"config": config}


def seeds_of(config: dict) -> list[int]:
    """Return the seeds of the runs that a configuration trains side by side."""
    return list(range(config["seed"], config["seed"] + config["seeds"]))


def normalised(value: float, game: str) -> float:
    """Return a return on the scale of POPGym Arcade's tables; a return of 0 is not 0 there, see `NORMALISED`."""
    offset, span = NORMALISED.get(game, (0, 1))
    return (value + offset) / span


def read_rows(path: pathlib.Path, last: float | None = None) -> tuple[list[dict], float]:
    """Read the rows of a result file, with their ends computed again from the curves.

    Args:
      path: file to read.
      last: as in `final_statistics`; None takes the file's.

    Returns:
      The rows, and the share `last` that they were summarised with.

    Raises:
      ValueError: the file cannot be read, or holds no results with curves.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        rows = content["runs"]
        lacking = [row["variant"] for row in rows if "curve" not in row]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is not a result of a comparison ({type(error).__name__}: {error})") from error
    if lacking:
        raise ValueError(f"{path} has no curves for {', '.join(dict.fromkeys(lacking))}; train them again")
    last = content.get("last", LAST) if last is None else last
    for row in rows:
        row.pop("band", None)  # of earlier results: a bootstrap's, too narrow
        row.setdefault("seeds", seeds_of(row["config"]))
        row |= final_statistics(row["curve"], row["task"]["twin"], last)
    return rows, last


def pooled(rows: list[dict], last: float) -> tuple[list[dict], list[str]]:
    """Pool rows of one variant and one configuration that were trained with different seeds.

    Args:
      rows: of any tasks and variants.
      last: as in `final_statistics`.

    Returns:
      Rows with distinct (task, variant), each of distinct seeds, and a line for each repeated seed that was dropped.

    Raises:
      ValueError: two configurations go by one name on a task, or were evaluated at different times.
    """
    check_names(rows)
    found: dict[tuple[str, str], dict] = {}
    lines = []
    for row in rows:
        key = task_name(row), row["variant"]
        if key not in found:
            found[key] = row
            continue
        if shared := sorted(set(row["seeds"]) & set(found[key]["seeds"])):
            lines.append(f"{key[0]} {key[1]}: dropped the second result of seeds {_listed(shared)}")
        found[key] = _joined(found[key], row, last)
    return list(found.values()), lines


def check_names(rows: list[dict]) -> None:
    """Raise ValueError if two configurations go by one name on a task."""
    known: dict[tuple[str, str], dict] = {}
    for row in rows:
        task, name = task_name(row), row["variant"]
        if known.setdefault((task, name), experiment := _experiment(row)) != experiment:
            raise ValueError(f"two configurations are called {name!r} on {task}; rename one variant")


def _joined(one: dict, other: dict, last: float) -> dict:
    new = [index for index, seed in enumerate(other["seeds"]) if seed not in one["seeds"]]
    if not new:
        return one
    if len(one["curve"]["frames"]) != len(other["curve"]["frames"]):
        raise ValueError(f"seeds of {one['variant']!r} were evaluated at different times; rename one variant")
    weights = [len(one["seeds"]), len(new)]
    kept = {"frames": np.average([one["curve"]["frames"], other["curve"]["frames"]], axis=0, weights=weights).tolist()}
    for twin in TWINS:
        kept[twin] = np.hstack([one["curve"][twin], np.asarray(other["curve"][twin])[:, new]]).tolist()
    joined = one | from_curve(kept, one["task"]["twin"], last)
    joined["seeds"] = one["seeds"] + [other["seeds"][index] for index in new]
    joined["random"] = float(np.average([one["random"], other["random"]], weights=weights))
    joined["seconds"] = one["seconds"] + other["seconds"]
    joined.pop("held", None)
    for name in ("fresh", "sampled"):
        joined.pop(name, None)
        if name in one and name in other:
            joined[name] = one[name] + [other[name][index] for index in new]
    return joined


def _experiment(row: dict) -> dict:
    """Return task and configuration of a row without its seeds."""
    same = {key: value for key, value in comparable(row["config"]).items() if key not in ("seed", "seeds")}
    return {"task": row["task"], "config": same}


def repeated(rows: list[dict]) -> list[str]:
    """Return lines on rows that repeat seeds of an earlier row: the same experiment under another name."""
    tasks: dict[str, list[str]] = {}
    for index, row in enumerate(rows):
        for other in rows[:index]:
            shared = sorted(set(row["seeds"]) & set(other["seeds"]))
            if shared and _experiment(row) == _experiment(other):
                line = f"{row['variant']!r} repeats seeds {_listed(shared)} of {other['variant']!r}"
                tasks.setdefault(line, []).append(task_name(row))
    return [f"{line}, the same configuration, on {', '.join(names)}: do not pool them" for line, names in tasks.items()]


def _listed(numbers: list[int]) -> str:
    return ", ".join(map(str, numbers))


def bounds_of(row: dict) -> bounds.Bounds | None:
    """Return what policies without and with memory earn on the task of a row; None where that is unknown."""
    task, section = row["task"], row.get("config", {}).get("environment", {})
    return known_bounds({"name": task["game"], "level": task["level"]} | section)


def known_bounds(section: dict) -> bounds.Bounds | None:
    """Return the bounds of an environment section; None where they are unknown, as for other rules or other fields."""
    name, level = section["name"], section["level"]
    if section.get("rules", "strict") != "strict" or plugins.is_external(name):
        return None
    fields = configuration.game_fields(name, level)
    if any(section.get(field, value) != value for field, value in fields.items()):
        return None
    return bounds.find(plugins.find("games", name).__name__ + level.capitalize())


def task_name(row: dict) -> str:
    """Return game, level and twin of a row as one word."""
    return "-".join(row["task"].values())


def level_name(row: dict) -> str:
    """Return game and level of a row as one word."""
    return f"{row['task']['game']}-{row['task']['level']}"
