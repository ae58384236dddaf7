"""The page of a leaderboard: rankings, a table for each task, and the command behind each line."""

import os
import pathlib
import re
from collections.abc import Iterable, Sequence

import numpy as np

from podarcade.reporting import (
    aggregates,
    leaderboard,
    leaderboard_figures,
    leaderboard_returns,
    markdown,
    scores,
    statistics,
)
from podarcade.reporting.leaderboard import Cell, Group, Standing

PICTURE = "leaderboard.png"  # beside the scores
PRESET = re.compile(r"[:,]preset=(\w+)")
COMMAND, TEST = "podarcade leaderboard", "; a test checks that it is current"
BOUNDS = "[best known policy without memory](environments.md#which-tasks-need-memory)"
INTRODUCTION = """\
# Leaderboard

Written from the scores in [{folder}]({place}) by this command{test}:

```bash
{command}
```

- Every line is of one algorithm with one budget of frames; algorithms, budgets and twins are never pooled. The budget
  counts the steps that only start an episode; "frames" are real environment steps.
- A score is the greedy return of the final parameters on fresh starts, which nothing was chosen on, on the twin that
  the agent was trained on. Under each task, `end` is the mean of the last evaluations and `area` that over all of the
  training.
- A share is 0 at the return of the {bounds}
  and 1 at that of the best known one. Shares are not clipped: below 0 an agent is worse than a policy without memory
  can be. Both bounds are of the partial twin; the best return is the same on the full one.
- Rankings are by the interquartile mean (IQM) of the shares, the mean of the middle half over tasks and seeds; the mean
  beside it counts failures in full. P is the probability that a run of the agent is better than one of the other, mean
  over tasks, 1/2 where neither is (Agarwal et al., NeurIPS 2021). The rank is by IQM, the median of its bootstrap
  distribution.
- All numbers of a ranking are over the same tasks. What is left out for that is listed below it.
{notes}
- Under a task, ± is half of Student's 95 % interval over seeds. Bold are the highest mean and those whose difference
  from it may be chance: Welch's 95 % interval of the difference holds 0, not corrected for the number of agents. So a
  noisy lower mean may be bold where a steady higher one is not.
- Where several variants of an agent were tried, the best of them is an optimistic figure.
"""


def write(folder: pathlib.Path, output: pathlib.Path, draws: int = aggregates.DRAWS) -> list[str]:
    """Write the page, and the picture beside the scores; return lines on what was written.

    Args:
      folder: of the files of scores.
      output: Markdown file.
      draws: samples of the bootstrap.

    Raises:
      ValueError: no scores, or rows that cannot be compared.
    """
    rows = scores.read_folder(folder)
    ranked = rank(rows, draws)
    lines = [f"leaderboard of {len(rows)} runs: {output}"]
    if any(found for _, found in ranked):
        leaderboard_figures.draw(ranked, folder / PICTURE)
        lines.append(f"rankings: {folder / PICTURE}")
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(render(rows, ranked, folder, output), encoding="utf-8")
    return lines


def rank(rows: Iterable[dict], draws: int = aggregates.DRAWS) -> list[tuple[Group, list[Standing]]]:
    """Return the groups of rows of scores with their rankings."""
    return [(group, leaderboard.standings(group, draws)) for group in leaderboard.groups(rows)]


def render(
    rows: Sequence[dict], ranked: Sequence[tuple[Group, list[Standing]]], folder: pathlib.Path, output: pathlib.Path
) -> str:
    """Return the page as Markdown.

    Args:
      rows: of `scores.read_folder`.
      ranked: of `rank`.
      folder: of the files of scores.
      output: where the page will be, which links are relative to.
    """
    place, is_default = os.path.relpath(folder, output.parent), _is_default(folder, output)
    fewest = sorted({standing.seeds[0] for _, found in ranked for standing in found})
    introduction = INTRODUCTION.format(
        folder="benchmarks/scores" if is_default else folder,
        place=place,
        test=TEST if is_default else "",
        command=COMMAND if is_default else f"{COMMAND} --scores={folder} --output={output}",
        bounds=BOUNDS if is_default else "best known policy without memory",
        notes="\n".join(_wrapped(f"{_sentence(aggregates.note(seeds))}.") for seeds in fewest),
    )
    parts = [introduction.replace("\n\n- Under", "\n- Under")]
    if any(found for _, found in ranked):
        about = "interquartile means of the agents with 95 % intervals, by group"
        parts.append(f'<img src="{place}/{PICTURE}" width="720"\n  alt="{about}">\n')
    parts += [_ranking(group, found) for group, found in ranked]
    parts += [leaderboard_returns.section(group) for group, _ in ranked]
    return "\n".join([*parts, leaderboard_returns.origins(rows, place)])


def _is_default(folder: pathlib.Path, output: pathlib.Path) -> bool:
    return folder.parts[-2:] == ("benchmarks", "scores") and output.parts[-2:] == ("docs", "leaderboard.md")


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:]


def _wrapped(text: str) -> str:
    """Return an entry of a list in lines of at most 120 columns."""
    lines, line = [], "-"
    for word in text.split():
        if len(line) + 1 + len(word) > 120:
            lines.append(line)
            line = " "
        line += f" {word}"
    return "\n".join([*lines, line])


def _heading(group: Group) -> str:
    return _sentence(group.name)


def _anchor(heading: str) -> str:
    return "#" + re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def _ranking(group: Group, found: Sequence[Standing]) -> str:
    """Return the section of a group: its ranking and what is left out of it."""
    lines = [f"## {_heading(group)}\n"]
    if found:
        chosen = leaderboard.block(group)
        head = ["place", "agent", "algorithm", "IQM", "mean", "P(> next)", "P(> `none`)", "rank", "seeds", "commands"]
        lines += [markdown.table(head, [_line(group, standing) for standing in found])]
        lines += [_wrapped(f"Tasks: {', '.join(chosen.tasks)}.")]
        lines += [_wrapped(text) for text in _left_out(group, chosen)]
    else:
        lines += ["No two agents have a task with known bounds in common: no ranking."]
    return "\n".join(lines) + "\n"


def _line(group: Group, standing: Standing) -> list[str]:
    rank, (few, many) = standing.rank, standing.seeds
    return [
        str(standing.place),
        f"`{standing.agent.name}`",
        standing.agent.algorithm,
        _interval(standing.iqm),
        _interval(standing.mean),
        _interval(standing.over_next),
        _interval(standing.over_control),
        "-" if np.isnan(rank.median) else f"{rank.median:g} [{rank.low:g}, {rank.high:g}]",
        str(few) if few == many else f"{few} to {many}",
        f"[{standing.tasks} task{'s' if standing.tasks > 1 else ''}]({_anchor(leaderboard_returns.heading(group))})",
    ]


def _interval(found: statistics.Interval | None) -> str:
    if found is None:
        return "-"
    return f"{found.mean:.2f}" + ("" if np.isnan(found.low) else f" [{found.low:.2f}, {found.high:.2f}]")


def _left_out(group: Group, chosen: leaderboard.Block) -> list[str]:
    """Return lines on tasks and agents that a ranking leaves out, and on options."""
    reasons: dict[str, list[str]] = {}
    for task in (task for task in group.tasks if task not in chosen.tasks):
        reasons.setdefault(_reason(group, chosen, task), []).append(task)
    lines = [f"Left out: {', '.join(tasks)} ({reason})." for reason, tasks in reasons.items()]
    for agent in (agent for agent in group.agents if agent not in chosen.agents):
        lacking = ", ".join(task for task in chosen.tasks if (agent, task) not in group.cells)
        lines.append(f"Not ranked: `{agent.name}` ({agent.algorithm}), which lacks {lacking}.")
    return [*lines, *_options(group, chosen)]


def _reason(group: Group, chosen: leaderboard.Block, task: str) -> str:
    """Return why a task is left out of a ranking."""
    cells = {agent: group.cells[agent, task] for agent in group.agents if (agent, task) in group.cells}
    if all(cell.bounds is None for cell in cells.values()):
        return "bounds unknown, or memory worth nothing"
    return "no runs of " + ", ".join(f"`{agent.name}`" for agent in chosen.agents if agent not in cells)


def _options(group: Group, chosen: leaderboard.Block) -> list[str]:
    """Return lines on the options that differ from the presets: of all ranked agents, of some, and by task."""
    own = {agent: [_changed(group.cells[agent, task]) for task in chosen.tasks] for agent in chosen.agents}
    same = {agent: set.intersection(*changes) for agent, changes in own.items()}
    shared = set.intersection(*same.values())
    lines = [f"Changed from the presets, all agents: {', '.join(sorted(shared))}."] if shared else []
    presets = {agent: _presets(group.cells[agent, task] for task in chosen.tasks) for agent in chosen.agents}
    if len(set(presets.values())) > 1:
        texts = "; ".join(f"`{agent.name}` ({agent.algorithm}) {text}" for agent, text in presets.items())
        lines.append(f"Agents have different presets: {texts}.")
    more = {agent: ", ".join(sorted(changes - shared)) for agent, changes in same.items()}
    if texts := [f"`{agent.name}` ({agent.algorithm}) {text}" for agent, text in more.items() if text]:
        lines.append(f"Changed from the presets, by agent: {'; '.join(texts)}.")
    for agent, changes in own.items():
        if by_task := sorted({item.partition("=")[0] for item in set.union(*changes) - same[agent]}):
            lines.append(f"`{agent.name}` ({agent.algorithm}) has other options by task: {', '.join(by_task)}.")
    return lines


def _presets(cells: Iterable[Cell]) -> str:
    """Return the presets that the commands of cells name, in words."""
    commands = (row["command"] for cell in cells for row in cell.rows)
    found = {match[1] if (match := PRESET.search(command)) else "the default of its file" for command in commands}
    return ", ".join(sorted(found))


def _changed(cell: Cell) -> set[str]:
    changes = cell.rows[0]["changes"]
    return {"a file without presets"} if changes is None else {f"{path}={value}" for path, value in changes.items()}
