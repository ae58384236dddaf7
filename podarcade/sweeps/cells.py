"""Cells: what the runs of a sweep are, read from a sweep file or a grid.

A sweep file, configs/sweeps/NAME.py, yields one plain dict per cell:

    def get_sweep(argument=""):
        for game in ("tmaze", "repeat_previous"):
            for memory in ("gru", "lru"):
                yield {"file": "configs/ppo.py", "game": game, "memory": memory, "preset": "cpu", "seeds": 5}

Keys: `file`, a configuration file; its arguments (game, level, partial, memory, ...); overrides `config.x.y`; `seeds`,
how many; `seed`, the first one; `agent`, the name in tables. A grid is a product of such keys, as text:

    game=tmaze,repeat_previous memory=gru,lru config.algorithm.learning_rate=1e-4,3e-4 seeds=5
"""

import dataclasses
import itertools
import pathlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from podarcade import plugins
from podarcade.configuration import files
from podarcade.tracebacks import describe

DEFAULT_FILE = "configs/pqn.py"
OVERRIDE = "config."
OWN_KEYS = {"config.seeds": "seeds", "config.seed": "seed", "config.population": "several values of an option"}
TASK_KEYS = ("game", "level", "partial")
NAMELESS = ("file", "algorithm", "memory")  # keys whose value names an agent without the key before it


@dataclasses.dataclass(frozen=True)
class Cell:
    """What one run is, with its seeds side by side.

    Attributes:
      label: how messages refer to the cell.
      file: configuration file.
      arguments: of the file, name -> text.
      overrides: path of an option -> text, as {"algorithm.discount": "0.9"}.
      seed: the first seed.
      seeds: number of seeds.
      agent: name in tables; "": to be made of what differs between the cells.
    """

    label: str
    file: str
    arguments: Mapping[str, str]
    overrides: Mapping[str, str]
    seed: int
    seeds: int
    agent: str = ""

    @property
    def config(self) -> str:
        """What `--config` takes: "FILE.py:game=tmaze,memory=gru"."""
        words = ",".join(f"{name}={text}" for name, text in self.arguments.items())
        return f"{self.file}:{words}" if words else self.file

    @property
    def words(self) -> dict[str, str]:
        """Everything but the seeds and the name of the agent: key of a sweep file -> text."""
        overrides = {f"{OVERRIDE}{path}": text for path, text in self.overrides.items()}
        return {"file": self.file, **self.arguments, **overrides}


def read(config: str, grid: str, overrides: Iterable[str] = ()) -> list[Cell]:
    """Return the cells of a sweep file, each at every point of a grid; those that become equal count once.

    Args:
      config: FILE.py or FILE.py:ARGUMENT; "" for one empty cell.
      grid: as `read_grid` reads it; its keys replace those of the file.
      overrides: `config.x=y` for all cells, which replace theirs.

    Raises:
      ValueError: neither is given, no cell comes out, or a cell cannot be read; the message is one line.
    """
    if not config and not grid:
        raise ValueError("nothing to train; expected --config=configs/sweeps/NAME.py, or --grid='game=... memory=...'")
    given = dict(item.split("=", 1) for item in overrides)
    points = read_grid(grid)
    found: list[Cell] = []
    seen = set()
    for plain in read_file(config) if config else [{}]:
        for point in points:
            merged = {**plain, **point, **given}
            key = tuple(sorted((str(name), str(value)) for name, value in merged.items()))
            if key not in seen or not (point or given):
                found.append(read_cell(merged, len(found) + 1))
            seen.add(key)
    if not found:
        raise ValueError(f"{config} yields no cells; expected a dict for each run")
    return found


def read_file(text: str) -> list[dict[str, Any]]:
    """Return what `get_sweep` of a file yields.

    Args:
      text: FILE.py or FILE.py:ARGUMENT; the file is searched for as configuration files are.

    Raises:
      ValueError: no such file, or it fails; the message has file and line, unless the file raises a ValueError.
    """
    name, _, argument = text.partition(":")
    file = files.resolve(name)
    module = plugins.load_module("podarcade_sweep", file)
    if not callable(getattr(module, "get_sweep", None)):
        raise ValueError(f"{file} has no function get_sweep; expected `def get_sweep(argument=''):` that yields dicts")
    try:
        found = list(module.get_sweep(argument))
    except ValueError as error:
        raise ValueError(f"{text}: {error}") from error
    except Exception as error:
        raise ValueError(describe(error, (str(file), None))) from error
    for number, cell in enumerate(found, 1):
        if not isinstance(cell, dict):
            raise ValueError(f"{file}: cell {number} is a {type(cell).__name__}; expected a dict")
    return found


def read_grid(text: str) -> list[dict[str, str]]:
    """Return the points of a grid, the last key running fastest: [{}] for an empty one.

    A word is `key=value,value`; a value with a comma stands in brackets: `config.x=[full,partial@1e6],full`.

    Raises:
      ValueError: a word without a value, a bracket without its partner, or a key twice.
    """
    axes: dict[str, list[str]] = {}
    for word in text.split():
        key, equals, listed = word.partition("=")
        values = _split(listed)
        if not equals or not key or not all(values):
            raise ValueError(f"--grid: {word!r}; expected key=value,value, as in memory=gru,lru")
        if listed.count("[") != listed.count("]"):
            raise ValueError(f"--grid: {word!r} opens and closes different numbers of brackets; expected [A,B],C")
        if key in axes:
            raise ValueError(f"--grid: {key} is given twice; list its values with commas: {key}=value,value")
        axes[key] = values
    return [dict(zip(axes, point, strict=True)) for point in itertools.product(*axes.values())]


def _split(listed: str) -> list[str]:
    """Return the values of a list, split at commas outside of brackets."""
    found, depth = [""], 0
    for letter in listed:
        depth += {"[": 1, "]": -1}.get(letter, 0)
        if letter == "," and not depth:
            found.append("")
        else:
            found[-1] += letter
    return [value[1:-1] if value[:1] == "[" and value[-1:] == "]" else value for value in found]


def read_cell(plain: Mapping[str, Any], number: int) -> Cell:
    """Return the cell that a dict describes.

    Args:
      plain: key -> a string, a number or a truth value.
      number: counts the cells, from 1.

    Raises:
      ValueError: a key or a value that no cell can have; the message is one line.
    """
    shown = ", ".join(f"{key}={value}" for key, value in list(plain.items())[:4])
    label = f"cell {number} ({shown}{', ...' if len(plain) > 4 else ''})"
    words = {}
    for key, value in plain.items():
        _check_key(label, key)
        words[key] = _text(label, key, value)
    if "seeds" not in words:
        raise ValueError(f"{label} has no seeds; expected how many, as seeds=5")
    seeds, seed = _integer(label, "seeds", words.pop("seeds"), 1), _integer(label, "seed", words.pop("seed", "0"), 0)
    file, agent = words.pop("file", DEFAULT_FILE), words.pop("agent", "")
    overrides = {key.removeprefix(OVERRIDE): text for key, text in words.items() if key.startswith(OVERRIDE)}
    arguments = {key: text for key, text in words.items() if not key.startswith(OVERRIDE)}
    for key, text in arguments.items():
        if "," in text:
            raise ValueError(f"{label}: {key}={text}; an argument of a configuration file cannot hold a comma")
    return Cell(label, file, arguments, overrides, seed, seeds, agent)


def _check_key(label: str, key: Any) -> None:
    if not isinstance(key, str):
        raise ValueError(f"{label}: {key!r} is a {type(key).__name__}; expected a name, as memory or config.num_envs")
    if key in OWN_KEYS:
        raise ValueError(f"{label}: {key} is set by the sweep; give {OWN_KEYS[key]}")
    if "." in key and not key.startswith(OVERRIDE):
        raise ValueError(f"{label}: unknown key {key!r}; did you mean '{OVERRIDE}{key}'?")


def _text(label: str, key: str, value: Any) -> str:
    """Return a value as it is typed on a command line."""
    if isinstance(value, bool):
        return str(value).lower()
    if not isinstance(value, str | int | float) or value == "":
        raise ValueError(f"{label}: {key}={value!r}; expected a word or a number")
    return str(value)


def _integer(label: str, key: str, text: str, minimum: int) -> int:
    if not text.isdecimal() or int(text) < minimum:
        raise ValueError(f"{label}: {key}={text}; expected an integer >= {minimum}")
    return int(text)


def name_agents(cells: Sequence[Cell], memories: Sequence[str], values: Sequence[Collection[str]]) -> list[str]:
    """Return the names of the agents of cells: those given, or made of what differs between the cells.

    A made name has the memory, and the keys whose values differ between cells that have no name, besides the task and
    hyper-parameters that are only numbers: "gru", "ppo gru", "lru width=128".

    Args:
      cells: all cells of a sweep.
      memories: name of the memory of each.
      values: paths of the options of each that name the run's folder instead.
    """
    nameless = [
        {key: text for key, text in cell.words.items() if key.removeprefix(OVERRIDE) not in hidden}
        for cell, hidden in zip(cells, values, strict=True)
    ]
    unnamed = [words for cell, words in zip(cells, nameless, strict=True) if not cell.agent]
    keys = dict.fromkeys(key for words in unnamed for key in words if key not in (*TASK_KEYS, "memory"))
    differing = [key for key in keys if len({words.get(key) for words in unnamed}) > 1]
    return [
        cell.agent or _agent(differing, words, memory)
        for cell, words, memory in zip(cells, nameless, memories, strict=True)
    ]


def _agent(differing: Sequence[str], words: Mapping[str, str], memory: str) -> str:
    first = [plugins.label(words[key]) if key != "file" else pathlib.PurePath(words[key]).stem
             for key in differing if key in NAMELESS and key in words]  # fmt: skip
    rest = [f"{key.rpartition('.')[2]}={words[key]}" for key in differing if key not in NAMELESS and key in words]
    return " ".join([*first, plugins.label(memory), *rest])
