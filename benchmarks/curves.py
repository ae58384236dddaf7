"""Learning curves of several seeds: what is asked for, what is read off, and the picture."""

import json
import pathlib
import re
from typing import NamedTuple

import numpy as np

from podarcade.runtime.metrics import evaluation_seconds

TWINS = ("full", "partial")
# Returns as the papers normalise them: (return + offset) / span; the others as they are (POPGym Arcade, statistics).
NORMALISED = {"battleship": (1, 2), "minesweeper": (1, 2), "tetris": (1, 2), "breakout": (1, 1.6)}
# The published LRU, over all games and levels, trained with PQN on either twin (POPGym Arcade, second version).
PUBLISHED = {"full": 0.656, "partial": 0.564}


class Task(NamedTuple):
    """One level of a game, and the twin that is trained on."""

    game: str
    level: str
    twin: str

    @property
    def name(self) -> str:
        """For people and files."""
        return "-".join(self)


class Variant(NamedTuple):
    """A configuration that is compared: a file, its arguments, and overrides."""

    name: str
    file: str
    arguments: tuple[str, ...]
    overrides: tuple[str, ...]


def read_task(text: str) -> Task:
    """Reads `minesweeper/partial` or `minesweeper/hard/partial`.

    Raises:
      ValueError: it is neither.
    """
    words = text.split("/")
    if len(words) == 2:
        words.insert(1, "easy")
    if len(words) != 3 or words[2] not in TWINS:
        raise ValueError(f"task {text!r}; write GAME/TWIN or GAME/LEVEL/TWIN, where TWIN is full or partial")
    return Task(*words)


def read_variant(text: str, config: str) -> Variant:
    """Reads `NAME:item,item`: an item is `file=FILE.py`, an argument of the file, or an override `config.x=y`.

    A value may have commas, as a schedule of twins has.

    Args:
      text: what to read; the name alone stands for the plain configuration.
      config: FILE.py or FILE.py:ARGUMENTS, which the items come on top of; another file takes none of its arguments.

    Raises:
      ValueError: an item without a value.
    """
    name, _, items = text.partition(":")
    file, _, plain = config.partition(":")
    arguments, overrides = list(filter(None, plain.split(","))), []
    for item in filter(None, re.split(r",(?=[\w.]+=)", items)):
        key, equals, value = item.partition("=")
        if not equals:
            raise ValueError(f"variant {text!r}: {item!r} has no value")
        if key == "file":
            file, arguments = value, []
        elif key.startswith("config."):
            overrides.append(item)
        else:
            arguments.append(item)
    return Variant(name, file, tuple(arguments), tuple(overrides))


def per_seed(value) -> list:
    """A metric over seeds, as a list in any case."""
    return value if isinstance(value, list) else [value]


def curve(records: list[dict], key: str) -> tuple[np.ndarray, np.ndarray]:
    """Frames [n], the mean over seeds, and a metric [n, S], where the records have it."""
    kept = [record for record in records if key in record]
    frames = np.asarray([np.mean(per_seed(record["frames"])) for record in kept])
    return frames, np.asarray([per_seed(record[key]) for record in kept], float)


def band(values: np.ndarray, draws: int = 2000, confidence: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
    """Percentile bootstrap of the mean over seeds, whole seeds drawn with replacement.

    Args:
      values: [n, S].
      draws: bootstrap samples.
      confidence: probability inside.

    Returns:
      Lower and upper edge, [n] each.
    """
    seeds = values.shape[1]
    chosen = np.random.default_rng(0).integers(0, seeds, (draws, seeds))
    means = values[:, chosen].mean(axis=2)
    return tuple(np.quantile(means, edge, axis=1) for edge in ((1 - confidence) / 2, (1 + confidence) / 2))


def greedy(records: list[dict]) -> dict[str, list]:
    """The greedy returns of a run: frames [n], and for each twin the returns [n][S]."""
    found = {twin: curve(records, f"eval/return_{twin}") for twin in TWINS}
    return {"frames": found["full"][0].tolist()} | {twin: returns.tolist() for twin, (_, returns) in found.items()}


def read_rows(path: pathlib.Path) -> list[dict]:
    """The rows of an earlier result.

    Raises:
      ValueError: the file cannot be read, or is no result with curves.
    """
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))["runs"]
        lacking = [row["variant"] for row in rows if "curve" not in row]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is no result of this benchmark ({type(error).__name__}: {error})") from error
    if lacking:
        raise ValueError(f"{path} holds no curve of {', '.join(dict.fromkeys(lacking))}; make it anew")
    return rows


def ending(kept: dict[str, list], twin: str, last: float) -> dict:
    """What the greedy returns of a run came to; lists are over seeds.

    Args:
      kept: a curve as `greedy` gives it.
      twin: that was trained on.
      last: share of the run's frames, at its end, whose evaluations count; at least one does. A share and no number of
        evaluations, so that runs are compared over the same frames however often each was evaluated.
    """
    frames = np.asarray(kept["frames"])
    late = frames >= (1 - last) * frames[-1]
    end = {name: np.asarray(kept[name])[late].mean(axis=0) for name in TWINS}
    low, high = band(end[twin][None])
    return {
        "end": end[twin].tolist(),
        "mean": float(end[twin].mean()),
        "band": [float(low[0]), float(high[0])],
        "other_twin": float(end["full" if twin == "partial" else "partial"].mean()),
    }


def summary(records: list[dict], twin: str, last: float) -> dict:
    """What a run came to on the twin it was trained on; lists are over seeds.

    Args:
      records: of the run, as written.
      twin: that counts.
      last: as in `ending`, of the published metric too.
    """
    frames, returns = curve(records, f"eval/return_{twin}")
    found = ending(greedy(records), twin, last) | {
        "best": returns.max(axis=0).tolist(),
        "area": float(np.trapezoid(returns.mean(axis=1), frames) / (frames[-1] - frames[0])),
        "start": float(returns[0].mean()),
        "random": float(np.mean(per_seed(records[0][f"random/return_{twin}"]))),
        "frames": float(frames[-1]),
        "seconds": records[-1]["seconds"],
    }
    found["frames_per_second"] = found["frames"] * returns.shape[1] / found["seconds"]
    if "eval/seconds" in records[0]:
        found["evaluation_seconds"] = evaluation_seconds(records)
    if any("train/return_held" in record for record in records):
        frames, held = curve(records, "train/return_held")
        found["held"] = held[frames >= (1 - last) * frames[-1]].mean(axis=0).tolist()
    return found


def normalised(value: float, game: str) -> float:
    """A return as the papers' tables have it."""
    offset, span = NORMALISED.get(game, (0, 1))
    return (value + offset) / span


def draw(rows: list[dict], path: pathlib.Path) -> None:
    """One panel per task: a curve and its band for every variant, and the random policy; needs matplotlib."""
    from matplotlib.figure import Figure

    tasks = list(dict.fromkeys(Task(**row["task"]) for row in rows))
    colours = {name: f"C{number % 10}" for number, name in enumerate(dict.fromkeys(row["variant"] for row in rows))}
    lines = -(-len(tasks) // 4)
    columns = -(-len(tasks) // lines)
    width = max(3.6 * columns, 7.2)
    abreast = int(width // 3.2)  # entries of the legend side by side
    high = 2.9 * lines + 0.2 * -(-(len(colours) + 2) // abreast)
    figure = Figure(figsize=(width, high), layout="constrained")
    panels = figure.subplots(lines, columns, squeeze=False).ravel()
    for panel in panels[len(tasks) :]:
        panel.set_visible(False)
    handles = {}
    for task, panel in zip(tasks, panels, strict=False):
        _panel(panel, task, [row for row in rows if Task(**row["task"]) == task], colours)
        found, labels = panel.get_legend_handles_labels()
        handles = dict(zip(labels, found, strict=True)) | handles
    panels[0].set_ylabel("greedy return", fontsize=8)
    order = [*colours, *(label for label in handles if label not in colours)]
    figure.legend(
        [handles[label] for label in order], order, loc="outside lower center", ncols=abreast, fontsize=8, frameon=False
    )
    figure.savefig(path, dpi=110)


def _panel(panel, task: Task, rows: list[dict], colours: dict[str, str]) -> None:
    """The variants on one task, on the twin that they were trained on."""
    shade = min(0.2, 0.8 / len(colours))
    for row in rows:
        frames, returns = np.asarray(row["curve"]["frames"]) / 1e3, np.asarray(row["curve"][task.twin])
        colour = colours[row["variant"]]
        panel.plot(frames, returns.mean(axis=1), color=colour, label=row["variant"], linewidth=1.5)
        if returns.shape[1] > 1:
            panel.fill_between(frames, *band(returns), color=colour, alpha=shade, linewidth=0)
    panel.axhline(rows[0]["random"], color="grey", linestyle=":", label="random policy")
    offset, span = NORMALISED.get(task.game, (0, 1))
    panel.axhline(
        PUBLISHED[task.twin] * span - offset,
        color="black",
        linestyle="--",
        linewidth=0.8,
        label="published LRU, all tasks, 1 to 2e7 frames",
    )
    panel.set_title(f"{task.game} {task.level}, {task.twin}", fontsize=10)
    panel.set_xlabel("thousand frames", fontsize=8)
    panel.tick_params(labelsize=8)
