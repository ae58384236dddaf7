"""Structures: cells that differ in nothing but seeds and in numbers that one program can hold several of."""

import copy
import dataclasses
import functools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from podarcade import plugins
from podarcade.configuration import ConfigDict, command_line, files, population, validation
from podarcade.envs.observability import NAMES
from podarcade.envs.tasks import Task as VectorTask
from podarcade.runtime.differences import differences, flatten
from podarcade.runtime.run_files import comparable, planned_frames
from podarcade.sweeps.cells import OVERRIDE, Cell, name_agents
from podarcade.sweeps.jobs import Task
from podarcade.sweeps.record import structure_key

Values = dict[str, float]  # path of an option -> its value, without those that the structure has anyway


@dataclasses.dataclass(frozen=True, eq=False)
class Structure:
    """What a sweep's cells without their seeds and values have in common.

    Attributes:
      config_text: what `--config` takes.
      overrides: path of an option -> text, without the values.
      config: the whole configuration.
      value_paths: options that members of a population may differ in.
    """

    config_text: str
    overrides: Mapping[str, str]
    config: dict[str, Any]
    value_paths: tuple[str, ...]

    @property
    def key(self) -> str:
        """Text that identifies the structure, also in another process."""
        return structure_key(self.config_text, self.overrides)

    @functools.cached_property
    def task(self) -> Task:
        """What is trained on; the last twin of a schedule."""
        section = self.config["environment"]
        last = str(section["observability"]).rpartition(",")[2].partition("@")[0].strip()
        return Task(section["name"], section["level"], last if last in NAMES else "partial")

    @functools.cached_property
    def flat(self) -> dict[str, Any]:
        """All options by path."""
        return dict(flatten(self.config))

    @functools.cached_property
    def total_updates(self) -> int:
        """Updates of a complete run."""
        config = self.config
        return planned_frames(config) // (config["num_envs"] * config["algorithm"]["rollout_length"])

    @property
    def is_vector(self) -> bool:
        """Whether the task has no pixels."""
        return issubclass(plugins.find("games", self.config["environment"]["name"]), VectorTask)

    @property
    def may_be_population(self) -> bool:
        """Whether runs that differ in values can share a program."""
        return not any(self.config[option] for option in population.NOT_WITH)

    @property
    def arguments(self) -> tuple[str, ...]:
        """Arguments of `podarcade.launch` without seeds and values."""
        overrides = (f"--{OVERRIDE}{path}={text}" for path, text in self.overrides.items())
        return (f"--config={self.config_text}", *overrides)

    def value(self, values: Values, path: str) -> float:
        """Return the value of an option that a run has, given or not."""
        return values.get(path, self.flat[path])

    def run_config(self, values: Values, seed: int, seeds: int) -> dict[str, Any]:
        """Return the configuration of a run."""
        config = copy.deepcopy(self.config)
        config["seed"], config["seeds"] = seed, seeds
        for path, value in values.items():
            config["algorithm"][path.removeprefix(population.SECTION)] = value
        return config


@dataclasses.dataclass(frozen=True, eq=False)
class Wanted:
    """What a cell asks for: values and seeds of a structure, under the name of an agent; `label` is the cell's."""

    structure: Structure
    agent: str
    has_given_name: bool
    values: Values
    seed: int
    seeds: int
    label: str

    @property
    def name(self) -> str:
        """Task and agent."""
        return f"{self.structure.task.name} {self.agent}"

    @property
    def range(self) -> range:
        """All its seeds."""
        return range(self.seed, self.seed + self.seeds)

    @property
    def run_key(self) -> tuple:
        """What identifies its runs apart from their seeds, hashable."""
        return key_of(self.structure.key, self.values)


def key_of(structure_key: str, values: Values) -> tuple:
    """Return what identifies runs that differ in nothing but their seeds."""
    return structure_key, tuple(sorted(values.items()))


def resolve(cells: Sequence[Cell]) -> list[Wanted]:
    """Load the configurations of all cells, each structure once.

    Raises:
      ValueError: a name, an option or a value does not exist; the message is one line.
    """
    loader = Loader()
    found = []
    for cell in cells:
        try:
            found.append(loader.read(cell.config, cell.overrides))
            validation.check_seeds(cell.seed, cell.seeds)
        except ValueError as error:
            raise ValueError(f"{cell.label}: {error}") from error
    memories = [structure.config["memory"]["name"] for structure, _ in found]
    names = name_agents(cells, memories, [structure.value_paths for structure, _ in found])
    return [
        Wanted(structure, name, bool(cell.agent), values, cell.seed, cell.seeds, cell.label)
        for cell, name, (structure, values) in zip(cells, names, found, strict=True)
    ]


class Loader:
    """Loads configurations, each structure once."""

    def __init__(self):
        self._files: dict[str, ConfigDict] = {}
        self._structures: dict[str, Structure] = {}

    def read(self, config_text: str, overrides: Mapping[str, str]) -> tuple[Structure, Values]:
        """Return the structure of a configuration and the values that it differs in from it.

        Raises:
          ValueError: a name, an option or a value does not exist.
        """
        if config_text not in self._files:
            self._files[config_text] = files.read(config_text)
        loaded = self._files[config_text]
        paths = tuple(f"{population.SECTION}{name}" for name in population.values_of(loaded.algorithm.name))
        kept = {path: text for path, text in overrides.items() if path not in paths}
        key = structure_key(config_text, kept)
        if key not in self._structures:
            self._structures[key] = _structure(config_text, kept, loaded, paths)
        structure = self._structures[key]
        given = {path: _number(structure, path, overrides[path]) for path in paths if path in overrides}
        return structure, {path: value for path, value in given.items() if value != structure.flat[path]}


def _structure(text: str, overrides: Mapping[str, str], loaded: ConfigDict, paths: tuple[str, ...]) -> Structure:
    config = loaded.copy_and_resolve_references()
    for path, given in overrides.items():
        command_line.override(config, path, given)
    validation.check(config)
    return Structure(text, dict(overrides), config.to_dict(), paths)


def _number(structure: Structure, path: str, text: str) -> float:
    if path not in structure.flat:
        raise ValueError(files.unknown_option(path, structure.flat))
    return population.number(structure.config["algorithm"]["name"], path, text, OVERRIDE)


def check(wanted: Iterable[Wanted]) -> None:
    """Check that cells do not contradict each other.

    Raises:
      ValueError: two cells train the same, or two structures have one name on a task; the message is one line.
    """
    named: dict[tuple[Task, str], Wanted] = {}
    trained: dict[tuple, list[Wanted]] = {}
    for one in wanted:
        task = one.structure.task
        other = named.setdefault((task, one.agent), one)
        if other.structure is not one.structure:
            different = difference(other.structure, one.structure)
            raise ValueError(
                f"{other.label} and {one.label} are both called {one.agent!r} on {task.name} ({different}); "
                "give each an `agent`"
            )
        same = trained.setdefault(one.run_key, [])
        for other in same:
            if max(one.seed, other.seed) < min(one.seed + one.seeds, other.seed + other.seeds):
                raise ValueError(f"{other.label} and {one.label} train the same seeds of the same configuration")
        same.append(one)


def difference(one: Structure, other: Structure) -> str:
    """Return the options in which two structures differ, in one line; "" where they are the same experiment."""
    return differences(comparable(one.config), comparable(other.config)).replace("saved ", "")
