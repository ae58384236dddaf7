"""Evaluate trained agents on whole episodes of both twins, from starts that no training or evaluation has played.

    python -m podarcade.evaluate runs/mine
    python -m podarcade.evaluate runs/lru runs/gru --episodes=1000 --levels=easy,hard --json=evaluation.json
    python -m podarcade.evaluate runs/mine --tasks=tmaze_active/easy --stochastic --csv=episodes.csv
    python -m podarcade.evaluate runs/mine --starts=recorded

A run is the folder that `podarcade.launch` left, and may still be training. All its seeds are played. A folder that
holds runs, such as that of a comparison, stands for these.

Exit code 0: done; 1: an error, 130: stopped by Ctrl-C.
"""

import datetime
import os
import pathlib
import sys
import time

from absl import flags

from podarcade import plugins
from podarcade.agents import Agent
from podarcade.agents.loading import load_seeds
from podarcade.reporting import episodes
from podarcade.reporting.report import folders
from podarcade.runtime import backend, door, provenance
from podarcade.runtime.run_files import write_json
from podarcade.runtime.signals import DONE

RECORDED = "recorded"  # value of --starts


def make_flags() -> flags.FlagValues:
    """Return the flags of the command line."""
    values = flags.FlagValues()
    flags.DEFINE_integer("episodes", 256, "episodes per twin and seed", lower_bound=1, flag_values=values)
    flags.DEFINE_string("step", "latest", "latest, best, or a number of updates", flag_values=values)
    flags.DEFINE_list("levels", [], "levels of the run's own game; its own level by default", flag_values=values)
    flags.DEFINE_list("tasks", [], "GAME/LEVEL of the same shapes, instead of the run's own", flag_values=values)
    flags.DEFINE_list("seeds", [], "seeds of the runs to play; all by default", flag_values=values)
    flags.DEFINE_boolean("stochastic", False, "sample stochastic policies, explore with others", flag_values=values)
    flags.DEFINE_string(
        "starts", "0", "which episodes are played: a number, or recorded for those of the run's evaluations",
        flag_values=values,
    )  # fmt: skip
    flags.DEFINE_string("json", "", "file for the return and length of every episode", flag_values=values)
    flags.DEFINE_string("csv", "", "the same as a line per episode", flag_values=values)
    flags.DEFINE_boolean("help", False, "show this help", short_name="h", flag_values=values)
    return values


def main(arguments: list[str]) -> int:
    """Run one command line; return the exit code."""
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # a run may share the accelerator
    options = make_flags()
    return door.enter(__doc__, options, arguments, lambda runs: evaluate(options, runs, arguments))


def evaluate(options: flags.FlagValues, runs: list[str], arguments: list[str]) -> int:
    """Play what the options describe, print and write the results; return the exit code."""
    if not runs:
        raise ValueError("no run given; expected the folders of runs, as in podarcade evaluate runs/mine")
    backend.configure(0)
    starts = _starts(options.starts)
    step = options.step if options.step in ("latest", "best") else _number("--step", options.step)
    chosen = [(run, _chosen(load_seeds(run, step), options.seeds, run)) for run in map(str, folders.runs_in(runs))]
    # All environments are made before any is played, so that what does not fit is an error at once.
    planned = [(run, agents, changes) for run, agents in chosen for changes in _environments(agents[0], options)]
    rows = []
    for number, (run, agents, agent) in enumerate(planned, 1):
        began, section = time.monotonic(), agent.config.environment.to_dict()
        task = f"{plugins.label(section['name'])}/{section['level']}"
        print(f"{number}/{len(planned)}  {run}  {task}", end="", flush=True)
        played = [
            agent.replace(params=one.params).play(options.episodes, starts, not options.stochastic) for one in agents
        ]
        rows.append(episodes.row(run, section, [one.seed for one in agents], agents[0].updates, played))
        print(f"  {time.monotonic() - began:.1f} s", flush=True)
        _write(rows, options, arguments)
    print("\n" + episodes.table(rows))
    return DONE


def _write(rows: list[dict], options: flags.FlagValues, arguments: list[str]) -> None:
    if options.json:
        path = pathlib.Path(options.json).expanduser()
        path.parent.mkdir(parents=True, exist_ok=True)
        about = {"date": datetime.date.today().isoformat(), **provenance.collect(arguments)}
        write_json(path, about | {"greedy": not options.stochastic, "starts": options.starts, "runs": rows})
    if options.csv:
        episodes.write_csv(rows, pathlib.Path(options.csv).expanduser())


def _chosen(agents: list[Agent], seeds: list[str], run: str) -> list[Agent]:
    """Return the agents of some seeds, all by default."""
    known = {agent.seed: agent for agent in agents}
    wanted = [_number("--seeds", seed) for seed in seeds] or list(known)
    for seed in wanted:
        if seed not in known:
            raise ValueError(f"--seeds={seed}; {run} has the seeds {', '.join(map(str, known))}")
    return [known[seed] for seed in wanted]


def _environments(agent: Agent, options: flags.FlagValues) -> list[Agent]:
    """Return an agent in each of the environments to play."""
    if not options.tasks:
        return [agent.on(level=level) for level in options.levels] or [agent]
    if options.levels:
        raise ValueError("--levels and --tasks; give one of them: a task is GAME/LEVEL")
    pairs = [task.rpartition("/")[::2] for task in options.tasks]
    for game, level in pairs:
        if not game or not level:
            raise ValueError(f"--tasks={','.join(options.tasks)}; expected GAME/LEVEL, as tmaze/hard")
    return [agent.on(game=game, level=level, strict=False) for game, level in pairs]


def _starts(text: str) -> int | None:
    return None if text == RECORDED else _number("--starts", text, f"a number or {RECORDED}")


def _number(flag: str, text: str, expected: str = "a number") -> int:
    if not text.isdecimal():
        raise ValueError(f"{flag}={text}; expected {expected}")
    return int(text)


if __name__ == "__main__":
    sys.exit(main(sys.argv))
