"""What a population leaves: the runs of its members, each with its learning curve."""

import dataclasses
import pathlib
from typing import Any

import jax

from podarcade.configuration import ConfigDict, population
from podarcade.reporting import clips, figures, summary
from podarcade.runtime import members, run_files
from podarcade.runtime.metrics import METRICS, read_metrics
from podarcade.runtime.run import Run
from podarcade.runtime.signals import DIVERGED, DONE


def folder(workdir: pathlib.Path, given: str) -> pathlib.Path:
    """Return the folder that gets a folder for each member: `members` in that of the population, if none is given."""
    return pathlib.Path(given).expanduser() if given else workdir / "members"


def check(config: ConfigDict, workdir: pathlib.Path, target: pathlib.Path) -> None:
    """Check, before anything is written, that the members of a population can get their folders, or have them.

    Args:
      config: of the population, which fits what is in `workdir`.
      workdir: its folder.
      target: folder that gets a folder for each member.

    Raises:
      ValueError: a folder holds something else; or the population is complete, and shall be extended, or a member that
        was complete is not there; the message is one line.
    """
    made = members.read(workdir)
    if made is None:
        for member in _members(config):
            folder = target / member.name
            if not run_files.holds_run(member.config, folder) and folder.exists() and any(folder.iterdir()):
                raise ValueError(f"{folder} holds no run, but a member would be kept there; remove it")
        return
    if run_files.extension(config.to_dict(), workdir):
        raise ValueError(f"{workdir} is a complete population, which cannot be extended; its members can, one by one")
    if lost := [name for name in made["complete"] if not (target / name / run_files.CONFIG).exists()]:
        raise ValueError(
            f"{workdir} is a complete population, but {target / lost[0]} holds no run; move its members there, or "
            f"remove {workdir} to train it again"
        )


def finish(run: Run, config: ConfigDict, workdir: pathlib.Path, target: pathlib.Path, state: Any) -> None:
    """Write the runs of the members of a complete population, and print what became of them.

    Args:
      run: of the population.
      config: its configuration.
      workdir: its folder.
      target: folder that gets a folder for each member.
      state: of the population at its end.
    """
    params = jax.device_get(state.learner.params)

    def draw(member: members.Member, part: pathlib.Path) -> None:
        alone = dataclasses.replace(run, title=f"{run.title}, {member.name}")
        summary.learning_curve(alone, read_metrics(part / METRICS), part / figures.CURVE)
        clips.greedy_episode(run, jax.tree.map(member.of_array, params), part / clips.CLIP)

    tell(members.split(run, workdir, _members(config), target, draw), target)


def _members(config: ConfigDict) -> list[members.Member]:
    return [
        members.Member(population.name(one), population.member(config, one).to_dict(), k * config.seeds, config.seeds)
        for k, one in enumerate(population.members(config))
    ]


def exit_code(workdir: pathlib.Path) -> int:
    """Return the exit code of a complete run: of a population it says whether a member has diverged."""
    return DIVERGED if (members.read(workdir) or {}).get("diverged") else DONE


def tell(found: dict[str, Any], target: pathlib.Path) -> None:
    """Print what became of the members, as members.json has it."""
    lost = found["diverged"]
    print(f"population: {len(found['complete'])} members complete in {target}, {len(lost)} diverged")
    for name, reason in lost.items():
        print(f"error: {name} diverged: {reason}")
