"""The picture of a leaderboard: interquartile means with their intervals, sorted, a panel for each group."""

import os
from collections.abc import Sequence

import numpy as np

from podarcade.reporting import statistics
from podarcade.reporting.figures import COLOURS, saved
from podarcade.reporting.leaderboard import Agent, Group, Standing

REFERENCES = {0.0: "-.", 1.0: "--"}  # the best known policies without and with memory


def draw(ranked: Sequence[tuple[Group, list[Standing]]], path: str | os.PathLike) -> None:
    """Draw the rankings that are not empty.

    Args:
      ranked: groups with their standings.
      path: PNG or SVG to write.
    """
    ranked = [(group, found) for group, found in ranked if found]
    agents = sorted({standing.agent for _, found in ranked for standing in found})
    colours = {agent: COLOURS[index % len(COLOURS)] for index, agent in enumerate(agents)}
    algorithms = {agent.algorithm for agent in agents}
    heights = [max(len(found), 3) for _, found in ranked]
    with saved(path, 7.2, 1.1 + 0.3 * sum(heights) + 0.6 * len(ranked)) as figure:
        grid = figure.subplots(len(ranked), 1, squeeze=False, sharex=True, height_ratios=heights)[:, 0]
        for axes, (group, found) in zip(grid, ranked, strict=True):
            axes.set_title(f"{group.name}: {_tasks(found)}", fontsize=9, loc="left")
            _panel(axes, found, colours, len(algorithms) > 1)
        grid[-1].set_xlabel("interquartile mean of the shares, over tasks and seeds", fontsize=8)
        figure.suptitle(
            f"bar: {100 * statistics.CONFIDENCE:.0f} % stratified bootstrap over seeds\n"
            "grey: best known policy without memory (0, dash-dotted) and with memory (1, dashed)",
            fontsize=8, color="#5f6368",
        )  # fmt: skip


def _tasks(found: Sequence[Standing]) -> str:
    return f"{found[0].tasks} tasks" if found[0].tasks > 1 else "1 task"


def _panel(axes, found: Sequence[Standing], colours: dict[Agent, str], names_algorithm: bool) -> None:
    """Draw a ranking, the best on top."""
    places = np.arange(len(found))[::-1]
    for value, style in REFERENCES.items():
        axes.axvline(value, color="#5f6368", linestyle=style, linewidth=1)
    for place, standing in zip(places, found, strict=True):
        mean, low, high, _ = standing.iqm
        axes.plot([low, high], [place, place], color=colours[standing.agent], linewidth=5, alpha=0.4)
        axes.plot([mean], [place], "D", color=colours[standing.agent], markersize=5, gid=standing.agent.name)
        axes.annotate(f"{mean:.2f}", (mean, place), (0, 5), textcoords="offset points", fontsize=7, ha="center")
    names = [f"{item.agent.name} ({item.agent.algorithm})" if names_algorithm else item.agent.name for item in found]
    axes.set_yticks(places, names, fontsize=8)
    axes.set_ylim(-0.6, len(found) - 0.3)
    axes.tick_params(axis="x", labelsize=8)
