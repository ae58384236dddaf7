"""Parts of the page of a leaderboard: the returns of each task, the command behind each line, and their origin."""

import shlex
from collections.abc import Sequence

import numpy as np

from podarcade.reporting import leaderboard, markdown, statistics
from podarcade.reporting.leaderboard import Agent, Cell, Group
from podarcade.runtime.console import count

WIDTH, FOLD = 160, " \\"  # columns of a line of a command, and what ends a line that is continued
MANY_SEEDS = 10  # more are not listed one by one


def heading(group: Group) -> str:
    """Return the heading of the section of a group."""
    return f"Returns and commands: {group.name}"


def section(group: Group) -> str:
    """Return the section with a table and the commands of each task of a group."""
    return "\n".join([f"## {heading(group)}\n", *(_task(group, task) for task in group.tasks)])


def _task(group: Group, task: str) -> str:
    cells = {agent: group.cells[agent, task] for agent in group.agents if (agent, task) in group.cells}
    order = sorted(cells, key=lambda agent: (-cells[agent].values("final").mean(), agent))
    bold = leaderboard.best(group, task)
    first = cells[order[0]]
    known = first.bounds
    about = f"best without memory {known.memoryless:.3f}, with memory {known.memory:.3f}, " if known else ""
    head = ["agent", "algorithm", "return", "share", "each seed", "end", "area", "parameters", "frames", "seeds"]
    lines = [_row(agent, cells[agent], agent in bold) for agent in order]
    blocks = "\n".join(_commands(agent, cells[agent]) for agent in order)
    return "\n".join(
        [
            f"### {task}: {group.name}\n",
            f"Known returns: {about}random policy {first.rows[0]['random']:.3f}.\n",
            markdown.table(head, lines),
            f"<details><summary>The command of each line</summary>\n\n```bash\n{blocks}\n```\n\n</details>\n",
        ]
    )


def _row(agent: Agent, cell: Cell, is_bold: bool) -> list[str]:
    values, shares = cell.values("final"), cell.shares
    found = statistics.interval(values)
    text = f"{found.mean:.3f}" + ("" if np.isnan(found.low) else f" ± {found.mean - found.low:.3f}")
    each = [f"{value:.3f}" for value in values] if len(values) <= MANY_SEEDS else []
    return [
        f"`{agent.name}`",
        agent.algorithm,
        f"**{text}**" if is_bold else text,
        "-" if shares is None else f"{shares.mean():.2f}",
        ", ".join(each) or f"{values.min():.3f} to {values.max():.3f}",
        f"{cell.values('end').mean():.3f}",
        f"{cell.values('area').mean():.3f}",
        f"{cell.rows[0]['parameters']:,}",
        count(np.mean([row["frames"] for row in cell.rows])),
        _numbers(cell.seeds),
    ]


def _numbers(seeds: Sequence[int]) -> str:
    """Return numbers of seeds, as "0-4, 7"."""
    parts: list[list[int]] = []
    for seed in sorted(seeds):
        if parts and parts[-1][-1] == seed - 1:
            parts[-1].append(seed)
        else:
            parts.append([seed])
    return ", ".join(str(part[0]) if len(part) == 1 else f"{part[0]}-{part[-1]}" for part in parts)


def _commands(agent: Agent, cell: Cell) -> str:
    """Return the commands of a line, each below a comment that names it."""
    lines = []
    for row in cell.rows:
        lines += [f"# {agent.name}, {agent.algorithm}, seeds {_numbers(row['seeds'])}", _folded(row["command"])]
    return "\n".join(lines)


def _folded(command: str) -> str:
    """Return a command in lines of at most `WIDTH` columns where its words allow."""
    lines = [""]
    for word in map(shlex.quote, shlex.split(command)):
        if lines[-1] and len(lines[-1]) + len(word) + 1 + len(FOLD) > WIDTH:
            lines.append(f"  {word}")
        else:
            lines[-1] += f" {word}" if lines[-1] else word
    return f"{FOLD}\n".join(lines)


def origins(rows: Sequence[dict], place: str) -> str:
    """Return the section on files, dates, source code and machines."""
    lines: dict[tuple, int] = {}
    for row in rows:
        origin = row["origin"]
        versions = origin.get("versions") or {}
        packages = ", ".join(f"{name} {versions[name]}" for name in ("podarcade", "jax") if name in versions)
        devices = ", ".join(dict.fromkeys(origin.get("devices") or [])) or "unknown"
        commits = ", ".join(f"`{commit[:10]}`" for commit in origin["commit"].split(", "))
        commits += "" if origin["clean"] else " (changed)"
        file = f"[{row['file']}]({place}/{row['file']})"
        key = file, origin["date"], commits, packages, origin.get("processor") or "unknown", devices
        lines[key] = lines.get(key, 0) + 1
    head = ["scores", "runs", "date", "commit", "versions", "processor", "devices"]
    table = markdown.table(head, [[key[0], number, *key[1:]] for key, number in lines.items()])
    return (
        f"## Origin\n\nThe file has the fingerprint of every configuration and what differs from its preset.\n\n{table}"
    )
