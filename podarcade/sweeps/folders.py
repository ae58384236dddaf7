"""The folders of new runs and programs: readable, distinct, and never one run inside another."""

import collections
import pathlib
import re
from collections.abc import Iterable, Sequence

from podarcade.configuration import population
from podarcade.sweeps.blocks import Block
from podarcade.sweeps.record import PlannedProgram, PlannedRun

HIDDEN = ".programs"  # folder of the populations


def assign(blocks: Sequence[Block], known: Iterable[PlannedProgram]) -> list[PlannedProgram]:
    """Return the programs of blocks, with a folder for each of their runs that is inside no other's.

    Args:
      blocks: new blocks.
      known: programs that have folders.
    """
    taken = _Taken(known)
    groups: dict[tuple[str, str], list[int]] = {}
    for index, block in enumerate(blocks):
        groups.setdefault((block.structure.key, block.agent), []).append(index)
    found: dict[int, PlannedProgram] = {}
    for (key, agent), indices in groups.items():
        chosen = [blocks[index] for index in indices]
        values = taken.values.get((key, agent), [])
        paths = _differing(chosen, values)
        ends = [[_end(block, member, paths, chosen) for member in block.members] for block in chosen]
        base = taken.base(chosen[0].structure.task.name, agent, [end for some in ends for end in some])
        for index, block, some in zip(indices, chosen, ends, strict=True):
            found[index] = _program(block, paths, [f"{base}{end}" for end in some], taken.program(base))
    return [found[index] for index in range(len(blocks))]


def _differing(blocks: Sequence[Block], known: Sequence[dict[str, float]]) -> tuple[str, ...]:
    """Return the paths of the values in which runs of one structure differ, those on record too."""
    structure = blocks[0].structure
    every = [*known, *(member for block in blocks for member in block.members)]
    return tuple(
        path for path in structure.value_paths
        if path in structure.flat and len({structure.value(values, path) for values in every}) > 1
    )  # fmt: skip


def _end(block: Block, member: dict[str, float], paths: Sequence[str], blocks: Sequence[Block]) -> str:
    """Return the end of a run's folder: "/VALUES/seeds=A-B", either only where it is needed."""
    values = {path: block.structure.value(member, path) for path in paths}
    ranges = {(other.seed, other.seeds) for other in blocks for values in other.members if values == member}
    ends = [population.name(values)] if paths else []
    ends += [f"seeds={block.seed}-{block.seed + block.seeds - 1}"] if len(ranges) > 1 else []
    return "".join(f"/{end}" for end in ends)


def _program(block: Block, paths: tuple[str, ...], folders: list[str], hidden: str) -> PlannedProgram:
    structure = block.structure
    runs = tuple(
        PlannedRun(
            folder, structure.task.name, block.agent, structure.config_text, dict(structure.overrides), member,
            block.seed, block.seeds,
        )
        for folder, member in zip(folders, block.members, strict=True)
    )  # fmt: skip
    return PlannedProgram(folders[0] if len(runs) == 1 else hidden, paths, runs)


class _Taken:
    """The folders that runs and programs have.

    Attributes:
      values: (key of a structure, agent) -> values of the runs on record.
    """

    def __init__(self, known: Iterable[PlannedProgram]):
        self.values: dict[tuple[str, str], list[dict[str, float]]] = collections.defaultdict(list)
        self._runs: set[str] = set()
        self._above: set[str] = set()  # all folders that hold runs
        self._programs: set[str] = set()
        for program in known:
            self._programs.add(program.folder)
            for run in program.runs:
                self.values[run.key, run.agent].append(run.values)
                self._add(run.folder)

    def _add(self, folder: str) -> None:
        self._runs.add(folder)
        self._above |= {parent.as_posix() for parent in pathlib.PurePosixPath(folder).parents}

    def _is_free(self, folder: str) -> bool:
        parents = {parent.as_posix() for parent in pathlib.PurePosixPath(folder).parents}
        return folder not in self._runs and folder not in self._above and not parents & self._runs

    def base(self, task: str, agent: str, ends: Sequence[str]) -> str:
        """Return a folder TASK/AGENT in which folders with these ends are free, or TASK/AGENT.2, ..., and take them."""
        stem, number = f"{_plain(task)}/{_plain(agent)}", 1
        while not all(self._is_free(f"{_numbered(stem, number)}{end}") for end in ends):
            number += 1
        base = _numbered(stem, number)
        for end in ends:
            self._add(f"{base}{end}")
        return base

    def program(self, base: str) -> str:
        """Return a free folder for a population whose runs are below `base`, and take it."""
        number = 1
        while (found := f"{HIDDEN}/{_numbered(base, number)}") in self._programs:
            number += 1
        self._programs.add(found)
        return found


def _numbered(name: str, number: int) -> str:
    return name if number == 1 else f"{name}.{number}"


def _plain(name: str) -> str:
    """Return a name without characters that file systems or shells dislike."""
    return re.sub(r"[^\w.,+=@-]+", "_", name)
