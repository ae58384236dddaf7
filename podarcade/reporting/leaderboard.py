"""Rankings of agents by their scores: what is compared, over which tasks, and with which uncertainty.

Rows are compared within a `Group`: tasks of one kind (vector or pixels), one twin and one budget of frames. An agent is
an algorithm and a name; its runs with other seeds are pooled, runs of another configuration under its name refused.
Returns are normalised by the returns of the best known policies without and with memory,

    share = (return - memoryless) / (memory - memoryless)

0 and 1 for these policies (`bounds.Bounds.share`), and not clipped. Aggregates are over the `block`: agents that have
all of some tasks, so that every number of a ranking is over the same tasks.
"""

import dataclasses
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from podarcade.envs.bounds import Bounds
from podarcade.reporting import aggregates, results, statistics

CONTROL = "none"  # the memory of an agent that the others are compared with
MAX_SETS = 2000  # sets of tasks that are tried for the block


class Agent(NamedTuple):
    """An agent of a group."""

    algorithm: str
    name: str


@dataclasses.dataclass(frozen=True)
class Cell:
    """The runs of one agent on one task.

    Attributes:
      rows: scores of its runs, which differ in their seeds.
      bounds: returns of known policies on the task; None where unknown.
    """

    rows: tuple[dict, ...]
    bounds: Bounds | None

    def values(self, field: str) -> np.ndarray:
        """Return a field of `scores.PER_SEED` over all seeds, float[S]."""
        return np.concatenate([np.asarray(row[field], float) for row in self.rows])

    @property
    def shares(self) -> np.ndarray | None:
        """Normalised final returns, float[S]; None where a bound is unknown or memory is worth nothing."""
        return self.bounds.share(self.values("final")) if self.bounds else None

    @property
    def seeds(self) -> list[int]:
        """Numbers of all seeds."""
        return [seed for row in self.rows for seed in row["seeds"]]

    @property
    def is_control(self) -> bool:
        """Whether the agent has no memory."""
        return self.rows[0]["memory"] == CONTROL


@dataclasses.dataclass(frozen=True)
class Group:
    """Agents that may be compared.

    Attributes:
      kind: "vector" or "pixels".
      twin: "partial" or "full", trained on and played.
      budget: frames.
      cells: {(agent, task): runs}; a task is named by its game, level and fields that differ from the level's.
    """

    kind: str
    twin: str
    budget: int
    cells: dict[tuple[Agent, str], Cell]

    @property
    def name(self) -> str:
        """Name for headings, as in "vector, partial twin, 500,000 frames"."""
        return f"{self.kind}, {self.twin} twin, {self.budget:,} frames"

    @property
    def agents(self) -> list[Agent]:
        """All agents, in the order of the scores."""
        return list(dict.fromkeys(agent for agent, _ in self.cells))

    @property
    def tasks(self) -> list[str]:
        """All tasks, in the order of the scores."""
        return list(dict.fromkeys(task for _, task in self.cells))


class Block(NamedTuple):
    """Agents and tasks of which every pair has been trained."""

    agents: list[Agent]
    tasks: list[str]


@dataclasses.dataclass(frozen=True)
class Standing:
    """An agent in the ranking of a group; intervals are of the stratified bootstrap over seeds.

    Attributes:
      agent: which.
      place: 1 + the number of agents with a higher interquartile mean.
      rank: bootstrap distribution of the rank.
      iqm: interquartile mean of the shares over tasks and seeds.
      mean: mean of the shares over tasks of means over seeds.
      over_next: probability of improvement over the agent in the next line; None in the last.
      over_control: the same over the agent without memory of the same algorithm, the best of several; None for itself
        and without one.
      seeds: fewest and most seeds of a task.
      tasks: number of tasks that all of this is over.
    """

    agent: Agent
    place: int
    rank: aggregates.Rank
    iqm: statistics.Interval
    mean: statistics.Interval
    over_next: statistics.Interval | None
    over_control: statistics.Interval | None
    seeds: tuple[int, int]
    tasks: int


def groups(rows: Iterable[dict]) -> list[Group]:
    """Return rows of scores as groups, the partial twins first.

    Raises:
      ValueError: two configurations of an agent on a task have one name, or a seed is scored twice.
    """
    found: dict[tuple, dict[tuple[Agent, str], list[dict]]] = {}
    for row in rows:
        key = row["kind"], row["task"]["twin"], row["budget"]
        cells = found.setdefault(key, {})
        cells.setdefault((Agent(row["algorithm"], row["agent"]), task_name(row)), []).append(row)
    order = sorted(found, key=lambda key: (key[0] != "vector", key[1] != "partial", key[2]))
    return [Group(*key, {pair: _cell(*pair, same) for pair, same in found[key].items()}) for key in order]


def task_name(row: dict) -> str:
    """Return game, level and fields of its own as one name, as in "tmaze easy, corridor_length=20"."""
    fields = (f"{name}={value}" for name, value in row["environment"].items())
    return ", ".join([f"{row['task']['game']} {row['task']['level']}", *fields])


def _cell(agent: Agent, task: str, rows: list[dict]) -> Cell:
    name = f"{agent.algorithm} {agent.name} on {task}"
    if len({row["fingerprint"] for row in rows}) > 1:
        places = ", ".join(dict.fromkeys(row.get("file", "?") for row in rows))
        raise ValueError(f"two configurations are called {name} ({places}); rename one agent")
    seeds = [seed for row in rows for seed in row["seeds"]]
    if twice := sorted({seed for seed in seeds if seeds.count(seed) > 1}):
        places = ", ".join(dict.fromkeys(row.get("file", "?") for row in rows))
        raise ValueError(f"{name}: seeds {', '.join(map(str, twice))} are scored twice ({places}); remove one row")
    task_of = rows[0]["task"]
    section = {"name": task_of["game"], "level": task_of["level"]} | rows[0]["environment"]
    known = results.known_bounds(section)
    return Cell(tuple(rows), known if known and known.separates else None)


def block(group: Group) -> Block:
    """Return the agents and tasks that a group is ranked by: as many runs as possible, every agent on every task.

    Only tasks with known bounds count. Of all sets of tasks that two or more agents share, and the agents that have all
    of these tasks, it is the one with the largest number of agents times tasks, of equal ones that with most agents.
    """
    has = {agent: frozenset(task for task in group.tasks if _is_ranked(group, agent, task)) for agent in group.agents}
    shared: set[frozenset] = set()
    for own in sorted(set(has.values()), key=lambda tasks: (-len(tasks), sorted(tasks))):
        shared |= {own} | ({own & other for other in shared} if len(shared) < MAX_SETS else set())
    found = []
    for tasks in shared:
        agents = [agent for agent, own in has.items() if tasks <= own]
        if tasks and len(agents) > 1:
            found.append((len(agents) * len(tasks), len(agents), sorted(tasks), agents))
    if not found:
        return Block([], [])
    *_, names, agents = max(found, key=lambda item: item[:3])
    return Block(agents, [task for task in group.tasks if task in names])


def _is_ranked(group: Group, agent: Agent, task: str) -> bool:
    cell = group.cells.get((agent, task))
    return cell is not None and cell.shares is not None


def standings(group: Group, draws: int = aggregates.DRAWS) -> list[Standing]:
    """Return the ranking of a group, best first; empty where fewer than two agents share a task.

    Args:
      group: what to rank.
      draws: samples of the bootstrap, the same in every call.
    """
    agents, tasks = block(group)
    if not agents:
        return []
    shares = {agent: [group.cells[agent, task].shares for task in tasks] for agent in agents}
    iqms = {agent: aggregates.stratified(shares[agent], aggregates.iqm, draws) for agent in agents}
    order = sorted(agents, key=lambda agent: (-iqms[agent].mean, agent))
    ranks = aggregates.ranks([shares[agent] for agent in order], aggregates.iqm, draws)
    controls = {agent.algorithm: agent for agent in reversed(order) if group.cells[agent, tasks[0]].is_control}
    found = []
    for index, agent in enumerate(order):
        following = order[index + 1] if index + 1 < len(order) else agent
        control = controls.get(agent.algorithm, agent)
        counts = [len(values) for values in shares[agent]]
        found.append(
            Standing(
                agent=agent,
                place=1 + sum(bool(iqms[other].mean > iqms[agent].mean) for other in agents),
                rank=ranks[index],
                iqm=iqms[agent],
                mean=aggregates.stratified(shares[agent], aggregates.mean, draws),
                over_next=None if following == agent else improvement(shares[agent], shares[following], draws),
                over_control=None if control == agent else improvement(shares[agent], shares[control], draws),
                seeds=(min(counts), max(counts)),
                tasks=len(tasks),
            )
        )
    return found


def improvement(
    ones: Sequence[np.ndarray], others: Sequence[np.ndarray], draws: int = aggregates.DRAWS
) -> statistics.Interval:
    """Return the probability that a run of the one is better than one of the other, mean over tasks, with interval."""
    tasks = len(ones)
    return aggregates.stratified(
        [*ones, *others], lambda cells: aggregates.improvement(cells[:tasks], cells[tasks:]), draws
    )


def best(group: Group, task: str) -> list[Agent]:
    """Return the agent with the highest mean on a task, and those whose difference from it may be chance.

    An agent is among them if Welch's 95 % interval of the difference of the means of `final` holds 0; none where there
    is nothing to compare: one agent, or one seed of the highest. The choice is not corrected for the number of agents.
    """
    values = {agent: group.cells[agent, task].values("final") for agent in group.agents if (agent, task) in group.cells}
    top = max(values, key=lambda agent: values[agent].mean())
    found = []
    for agent, own in values.items():
        difference = statistics.combination([values[top], own], (1, -1))
        if agent == top or difference.low <= 0:
            found.append(agent)
    return found if len(values[top]) > 1 and len(values) > 1 else []
