"""Tables of the tasks without pixels."""

import importlib
import re

import jax
import numpy as np

from benchmarks import markdown
from podarcade import plugins
from podarcade.actions import Continuous
from podarcade.envs import bounds as recorded
from podarcade.envs.tasks import Task
from podarcade.reporting import gap_bias as gaps
from podarcade.reporting import results, statistics

HEADLINE = (
    "tmaze", "repeat_previous", "memory_chain", "vector_autoencode", "repeat_first", "vector_countrecall",
    "concentration", "position_only_cartpole",
)  # fmt: skip

POLICIES = {"memoryless": "memoryless", "with_action": "sees its action", "memory": "with memory"}


def names() -> list[str]:
    """Return the names of all tasks without pixels."""
    return [name for name in plugins.names("games") if issubclass(plugins.find("games", name), Task)]


def game_names() -> list[str]:
    """Return the names of all games with pixels."""
    return [name for name in plugins.names("games") if not issubclass(plugins.find("games", name), Task)]


def tasks() -> str:
    """Return every task: what it asks for, its twin, its channel, shapes and lengths at its levels."""
    head = ["`game`", "the player", "twin", "own actions as memory", "observation", "actions", "longest episode"]
    rows = []
    for name in names():
        made = [plugins.find("games", name)(**values) for values in plugins.find("games", name).LEVELS.values()]
        about = importlib.import_module(type(made[0]).__module__).__doc__.partition("\n")[0]
        about = about.partition(": ")[2].rstrip(".")
        sizes = [str(_first_observation(task).shape[0]) for task in made]
        counts = [str(task.actions.size) for task in made]
        kind = " continuous" if isinstance(made[0].actions, Continuous) else ""
        lengths = [str(task.max_steps) for task in made]
        cells = [_levels(sizes), _levels(counts) + kind, _levels(lengths)]
        rows.append([f"`{name}`", about, made[0].TWIN, made[0].CHANNEL, *cells])
    return markdown.table(head, rows)


def _first_observation(task: Task) -> jax.ShapeDtypeStruct:
    return jax.eval_shape(lambda: task.draw(task.reset(jax.random.key(0)), False))


def task_bounds() -> str:
    """Return the best known returns of every task without and with memory, and what separates them."""
    return _bounds(names())


def games() -> str:
    """Return what the player does in every game with pixels, what is hidden, and the bounds at the easy level."""
    rows = []
    for name, about in markdown.result("known_policies")["games"].items():
        played, known = recorded.record().get(f"{name}Easy", {}), recorded.find(f"{name}Easy")
        returns = [_value(played.get(kind)) or "?" for kind in ("memoryless", "memory")]
        rows.append([f"`{name}`", about["player"], about["hidden"], *returns, _gap(known)])
    head = ["game", "the player", "the partial twin hides", "memoryless", "with memory", "separates by"]
    return markdown.table(head, rows)


def game_bounds() -> str:
    """Return the same of every game with pixels."""
    return _bounds(game_names())


def game_policies() -> str:
    """Return what the policies do whose returns are recorded for the games with pixels, at the easy level.

    It is the first sentence of a player's docstring, and in italics where no script plays the policy.
    """
    rows = []
    for name in game_names():
        played = recorded.record().get(f"{plugins.find('games', name).__name__}Easy", {})
        for kind, label in POLICIES.items():
            if kind in played:
                first = re.split(r"(?<=\.) ", played[kind]["policy"])[0].rstrip(".")
                rows.append([f"`{name}`", label, first if "episodes" in played[kind] else f"*{first}*"])
    return markdown.table(["game", "player", "policy"], rows)


def _bounds(chosen) -> str:
    head = ["`game`", "random", "memoryless", "sees its action", "with memory", "separates by"]
    rows = []
    for name in chosen:
        kind = plugins.find("games", name)
        levels = list(kind.LEVELS)
        played = [recorded.record().get(kind.__name__ + level.capitalize(), {}) for level in levels]
        cells = [
            _levels([_value(row.get(policy)) for row in played])
            for policy in ("random", "memoryless", "with_action", "memory")
        ]
        known = [recorded.find(kind.__name__ + level.capitalize()) for level in levels]
        gaps = [_gap(row) for row in known]
        rows.append([f"`{name}`", *cells, _levels(gaps)])
    return markdown.table(head, rows)


def _gap(known: recorded.Bounds | None) -> str:
    if known is None:
        return "?"
    return f"{known.memory - known.memoryless:.3f}" if known.separates else "-"


def _value(played: dict | None) -> str:
    return "" if played is None else f"{played['mean']:.3f}"


def _levels(values: list[str]) -> str:
    """Return the values of all levels, once where they are equal; "?" for some that are unknown."""
    if any(values):
        values = [value or "?" for value in values]
    return values[0] if len(set(values)) == 1 else " / ".join(values)


def needs_memory(twin: str) -> str:
    """Return the final greedy returns of benchmarks.needs_memory on a twin, a row per task and a column per agent.

    A cell holds the mean on fresh starts and half the width of its interval over seeds, in bold past half the way from
    the memoryless bound to the best one. The last row counts these.
    """
    rows = [row for row in markdown.result("needs_memory-cpu")["runs"] if row["task"]["twin"] == twin]
    return _returns_by_agent(rows, list(dict.fromkeys(row["variant"] for row in rows)))


def _returns_by_agent(rows: list[dict], agents: list[str]) -> str:
    cells: dict[str, dict[str, str]] = {}
    passed: dict[str, list[bool]] = {name: [] for name in agents}
    for row in rows:
        known, found = results.bounds_of(row), statistics.interval(np.asarray(row["fresh"]))
        first = {
            "task": f"`{row['task']['game']}`",
            "memoryless": f"{known.memoryless:.3f}",
            "best": f"{known.memory:.3f}",
        }
        past = bool(known.share(float(found.mean)) > 0.5)
        text = f"{found.mean:.3f} ± {found.mean - found.low:.3f}"
        cells.setdefault(row["task"]["game"], first)[row["variant"]] = f"**{text}**" if past else text
        passed[row["variant"]].append(past)
    head = ["task", "memoryless", "best", *agents]
    counted = ["past half the way", "", "", *(f"{sum(passed[name])} of {len(passed[name])}" for name in agents)]
    return markdown.table(head, [*([row.get(name, "") for name in head] for row in cells.values()), counted])


def needs_memory_inits(twin: str) -> str:
    """Return the same for the memories with time scales, at their own initialisation and at `init=matched`.

    A column per memory and initialisation, cells as in `needs_memory`.
    """
    rows = [
        row
        for name in ("needs_memory-cpu", "needs_memory-matched-cpu")
        for row in markdown.result(name)["runs"]
        if row["task"]["twin"] == twin
    ]
    matched = [row["variant"] for row in rows if row["config"]["network"]["init"] == "matched"]
    memories = dict.fromkeys(name.partition(",")[0] for name in matched)
    agents = [name for memory in memories for name in (memory, f"{memory}, matched")]
    return _returns_by_agent([row for row in rows if row["variant"] in agents], agents)


def task_presets(algorithm: str) -> str:
    """Return the sweep behind the `cpu` preset of an algorithm on tasks: a row per choice and a column per task.

    Cells hold the return of every seed; the last column is the mean over tasks and seeds of the share of the way from
    the memoryless bound to the best one.
    """
    rows = markdown.result(f"tasks-presets-{algorithm}-cpu")["runs"]
    names = list(dict.fromkeys(row["task"]["game"] for row in rows))
    found: dict[str, dict[str, str]] = {}
    shares: dict[str, list[float]] = {}
    for row in rows:
        found.setdefault(row["variant"], {})[row["task"]["game"]] = markdown.seeds(row["end"])
        shares.setdefault(row["variant"], []).append(results.bounds_of(row).share(row["mean"]))
    lines = (
        [variant, *(cells.get(name, "") for name in names), f"{markdown.mean(shares[variant]):.2f}"]
        for variant, cells in found.items()
    )
    return markdown.table(["choice", *(f"`{name}`" for name in names), "mean share"], lines)


def gap_bias() -> str:
    """Return Observability Gap and Memory Bias of benchmarks.needs_memory, where both twins have been trained on."""
    rows, _ = results.read_rows(markdown.RESULTS / "needs_memory-cpu.json")
    lines = []
    for entry in gaps.analyse(rows).entries:
        if entry.is_complete:
            partial, full = (f"{np.mean(cell.values):.3f}" for cell in (entry.partial, entry.full))
            bias = "0 by definition" if entry.is_control else _interval(entry.bias())
            lines.append([f"`{entry.task}`", entry.variant, partial, full, _interval(entry.gap()), bias])
    return markdown.table(["task", "memory", "J(f, partial)", "J(f, full)", "Gap", "Bias"], lines)


def _interval(found: statistics.Interval) -> str:
    return f"{found.mean:.3f} [{found.low:.3f}, {found.high:.3f}]"
