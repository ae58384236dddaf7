"""Blocks: runs that one program trains, before they have a folder; how they are made, and split over workers."""

import collections
import dataclasses
import heapq
import itertools
from collections.abc import Callable, Iterable, Sequence

from podarcade.runtime.run_files import planned_frames
from podarcade.sweeps.structures import Structure, Values, Wanted

MAX_IDLE = 0.1  # share of the workers' time that may be idle at the end before a program is split


@dataclasses.dataclass(frozen=True)
class Block:
    """Runs of one program: all members with the same seeds.

    Attributes:
      structure: of the runs.
      agent: their name.
      members: what each run differs in.
      seed: the first seed.
      seeds: number of seeds.
    """

    structure: Structure
    agent: str
    members: tuple[Values, ...]
    seed: int
    seeds: int

    @property
    def slots(self) -> int:
        """Agents side by side."""
        return len(self.members) * self.seeds

    @property
    def frames(self) -> int:
        """Environment steps of all slots together."""
        return self.slots * planned_frames(self.structure.config)

    def halves(self) -> list["Block"]:
        """Return two blocks of half the members each, or of half the seeds of a single member."""
        if len(self.members) > 1:
            return self.by_members(2)
        return self.by_seeds(2)

    def by_members(self, number: int) -> list["Block"]:
        """Return blocks with a part of the members each."""
        return [
            dataclasses.replace(self, members=self.members[begin:end])
            for begin, end in parts(len(self.members), number)
        ]

    def by_seeds(self, number: int) -> list["Block"]:
        """Return blocks with a part of the seeds each."""
        return [
            dataclasses.replace(self, seed=self.seed + begin, seeds=end - begin)
            for begin, end in parts(self.seeds, number)
        ]


def parts(total: int, number: int) -> list[tuple[int, int]]:
    """Return the bounds of `number` consecutive parts of a range, whose sizes differ by one at most."""
    bounds = [index * total // number for index in range(number + 1)]
    return list(itertools.pairwise(bounds))


def make(wanted: Iterable[Wanted], slots_of: Callable[[Structure, int], int], workers: int) -> list[Block]:
    """Return the blocks of runs, none of more slots than `slots_of` says, and enough of them for all workers."""
    groups: dict[tuple, list[Wanted]] = {}
    for one in wanted:
        alone = () if one.structure.may_be_population else one.run_key
        groups.setdefault((one.structure.key, one.agent, one.seed, one.seeds, alone), []).append(one)
    structures = {key: found[0].structure for (key, *_), found in groups.items()}
    agents = collections.Counter()
    for (key, _, _, seeds, _), found in groups.items():
        agents[key] += len(found) * seeds
    slots = {key: max(slots_of(structure, agents[key]), 1) for key, structure in structures.items()}
    blocks = []
    for (key, agent, seed, seeds, _), found in groups.items():
        whole = Block(found[0].structure, agent, tuple(one.values for one in found), seed, seeds)
        blocks += _limited(whole, slots[key])
    return balanced(blocks, workers)


def _limited(block: Block, slots: int) -> list[Block]:
    """Return blocks of at most so few slots: whole members where one fits, else a part of the seeds of one member."""
    if block.seeds > slots:
        single = block.by_members(len(block.members))
        return [part for one in single for part in one.by_seeds(-(-block.seeds // slots))]
    return block.by_members(-(-len(block.members) // (slots // block.seeds)))


def balanced(blocks: Sequence[Block], workers: int) -> list[Block]:
    """Return the blocks, the longest of them halved until workers are idle for as short at the end as they can be.

    Of the ways to halve them, the first that is nearly the shortest is taken, and blocks that make less than `MAX_IDLE`
    of a worker's share are left whole: agents side by side share their overhead.

    Args:
      blocks: in any order, which is kept.
      workers: blocks at once.
    """
    current = list(blocks)
    share = sum(block.frames for block in current) / max(workers, 1)
    tried = [(_makespan(current, workers), current)]
    while True:
        whole = max((block.frames for block in current if block.slots == 1), default=0)
        longest = max((block for block in current if block.slots > 1), key=lambda block: block.frames, default=None)
        if longest is None or longest.frames <= MAX_IDLE * share:
            break
        if tried[-1][0] <= max((1 + MAX_IDLE) * share, whole):
            break
        index = next(index for index, block in enumerate(current) if block is longest)
        current = [*current[:index], *longest.halves(), *current[index + 1 :]]
        tried.append((_makespan(current, workers), current))
    shortest = min(makespan for makespan, _ in tried)
    return next(found for makespan, found in tried if makespan <= (1 + MAX_IDLE) * shortest)


def _makespan(blocks: Iterable[Block], workers: int) -> float:
    """Return the frames of the busiest worker where the longest waiting block goes to the first that is free."""
    busy = [0.0] * max(workers, 1)
    for frames in sorted((block.frames for block in blocks), reverse=True):
        heapq.heapreplace(busy, busy[0] + frames)
    return max(busy)
