"""What a population leaves: the runs of its members, each with its learning curve."""

import dataclasses
import pathlib
from typing import Any

from podarcade.configuration import ConfigDict, population
from podarcade.reporting import figures, summary
from podarcade.runtime import members
from podarcade.runtime.metrics import METRICS, read_metrics
from podarcade.runtime.run import Run
from podarcade.runtime.signals import DIVERGED, DONE


def folder(workdir: pathlib.Path, given: str) -> pathlib.Path:
    """Return the folder that gets a folder for each member: `members` in that of the population, if none is given."""
    return pathlib.Path(given).expanduser() if given else workdir / "members"


def finish(run: Run, config: ConfigDict, workdir: pathlib.Path, target: pathlib.Path) -> None:
    """Write the runs of the members of a complete population, and print what became of them.

    Args:
      run: of the population.
      config: its configuration.
      workdir: its folder.
      target: folder that gets a folder for each member.
    """
    values = population.members(config)
    found = [
        members.Member(population.name(one), population.member(config, one).to_dict(), k * config.seeds, config.seeds)
        for k, one in enumerate(values)
    ]

    def draw(member: members.Member, part: pathlib.Path) -> None:
        alone = dataclasses.replace(run, title=f"{run.title}, {member.name}")
        summary.learning_curve(alone, read_metrics(part / METRICS), part / figures.CURVE)

    tell(members.split(run, workdir, found, target, draw), target)


def exit_code(workdir: pathlib.Path) -> int:
    """Return the exit code of a complete run: of a population it says whether a member has diverged."""
    return DIVERGED if (members.read(workdir) or {}).get("diverged") else DONE


def tell(found: dict[str, Any], target: pathlib.Path) -> None:
    """Print what became of the members, as members.json has it."""
    lost = found["diverged"]
    print(f"population: {len(found['complete'])} members complete in {target}, {len(lost)} diverged")
    for name, reason in lost.items():
        print(f"error: {name} diverged: {reason}")
