"""Search for hyper-parameters, all trials of a round side by side, and measure the winner on seeds that chose nothing.

    python -m podarcade.search --config=configs/ppo.py:game=tmaze,memory=gru,preset=cpu \\
        --space="algorithm.learning_rate=log:1e-4:1e-2 algorithm.entropy_coefficient=log:1e-4:1e-1" --trials=16
    python -m podarcade.search --config=... --space=... --method=halving --trials=16 --seeds=3 --fresh_seeds=10
    python -m podarcade.search --config=... --space=... --method=tpe --trials=64

The options of a space are those that runs in one program may differ in, so that a round is one program, or one for each
core. A trial's score is its greedy return over the last quarter of its frames, mean over its seeds, on the twin that it
trains on. The first trial is the configuration as it is. It and the winner are then trained with fresh seeds: these
returns, on fresh starts, are what to report. Re-run the same command to resume.

The folder holds the runs, and search.json: every trial with its scores, the winner, and the fresh returns of both.

Exit code 0: done; 1: an error; 75: stopped, runs saved.
"""

import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from absl import flags

from podarcade import configuration
from podarcade.configuration import ConfigDict, files, population
from podarcade.reporting import results, statistics
from podarcade.runtime import door, provenance, run_files, supervisor
from podarcade.runtime.signals import DONE, ERROR, exit_code
from podarcade.sweeps import cells, jobs, planning, processes
from podarcade.sweeps import search as methods
from podarcade.sweeps.jobs import Job
from podarcade.sweeps.progress import Progress

RESULT = "search.json"
SET = {
    "seeds": "--seeds and --fresh_seeds", "seed": "--fresh_seeds", "frames": "--frames", "population": "--space"
}  # fmt: skip
METHODS = {"random": methods.random_search, "halving": methods.halving, "tpe": methods.tpe}


class Stopped(Exception):
    """A signal has stopped the search.

    Attributes:
      signal: its number.
    """

    def __init__(self, number: int):
        super().__init__(number)
        self.signal = number


def make_flags() -> flags.FlagValues:
    """Return the flags of the command line."""
    values = flags.FlagValues()

    def number(name: str, default: int, meaning: str, lowest: int = 1) -> None:
        flags.DEFINE_integer(name, default, meaning, lower_bound=lowest, flag_values=values)

    flags.DEFINE_string("config", "", "configuration file and its arguments, with the task", flag_values=values)
    flags.DEFINE_string("space", "", "OPTION=log:LOW:HIGH, =uniform:LOW:HIGH or =A,B,C, ...", flag_values=values)
    flags.DEFINE_enum("method", "random", list(METHODS), "how trials are chosen", flag_values=values)
    number("trials", 16, "trials, of all rounds; halving: of its first round")
    number("seeds", 3, "seeds of each trial")
    number("fresh_seeds", 5, "seeds of the final runs, none of which a trial had")
    number("frames", 0, "frames of each seed, of halving in its last round; 0: those of the configuration", 0)
    flags.DEFINE_multi_string("override", [], "config.x=y for every run; may be repeated", flag_values=values)
    number("search_seed", 0, "seed of the method's own choices", 0)
    number("processes", 0, "programs at once; 0: one on each core of a CPU, on each GPU", 0)
    flags.DEFINE_string("workdir", "", "folder of the search; empty: runs/search-METHOD", flag_values=values)
    flags.DEFINE_boolean("help", False, "show this help", short_name="h", flag_values=values)
    return values


def main(arguments: list[str]) -> int:
    """Run one command line; return the exit code."""
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # programs and this process share an accelerator
    options = make_flags()
    return door.enter(__doc__, options, arguments, door.flags_only(lambda: search(options, arguments)))


def search(options: flags.FlagValues, arguments: list[str]) -> int:
    """Search as the options describe; return the exit code."""
    try:
        return Search(options, arguments).run()
    except Stopped as stopped:
        print("stopped; re-run the same command to resume")
        return exit_code(stopped.signal)


class Search:
    """A search that the options of a command line describe."""

    def __init__(self, options: flags.FlagValues, arguments: list[str]):
        self._options, self._arguments = options, arguments
        if not options.config:
            raise ValueError(f"no --config given; try --config={files.DEFAULT}")
        self._space = methods.read_space(options.space)
        _check_overrides(options.override, self._space)
        config = files.read(options.config)
        self._first = _own_values(config, list(self._space))
        self._frames = options.frames or config.frames
        self._folder = run_files.resolve_workdir(options.workdir or f"runs/search-{options.method}")
        self._found: dict[str, Any] = {"rounds": []}

    def run(self) -> int:
        """Train all rounds and the final runs; print and write what was found; return the exit code."""
        options = self._options
        rounds = METHODS[options.method](self._space, self._first, options.trials, self._frames, options.search_seed)
        scores = None
        while (one := _next(rounds, scores)) is not None:
            scores = self._train(one)
        best = max(self._trials(), key=lambda trial: trial["score"], default=None)
        if best is None or best["score"] == -np.inf:
            print("error: no trial was completed; see the messages above")
            return ERROR
        return self._finish(best)

    def _trials(self) -> list[dict[str, Any]]:
        """Return the trials that trained for all frames: a shorter run's score is another quantity."""
        longest = max((one["frames"] for one in self._found["rounds"]), default=0)
        return [trial for one in self._found["rounds"] if one["frames"] == longest for trial in one["trials"]]

    def _train(self, one: methods.Round) -> list[float]:
        """Train a round; return the score of each trial."""
        number = len(self._found["rounds"]) + 1
        print(f"round {number}: {len(one.trials)} trials of {one.frames:,} frames, {self._options.seeds} seeds each")
        runs = self._runs(f"round-{number}", list(one.trials), one.frames, 0, self._options.seeds)
        ends = [_end(job) for job in runs]
        scores = [float(np.mean(end)) if end else -np.inf for end in ends]
        trials = [
            {"values": values, "seeds": end, "score": score}
            for values, end, score in zip(one.trials, ends, scores, strict=True)
        ]
        self._found["rounds"].append({"frames": one.frames, "trials": trials})
        self._write()
        for index in methods.best_first(scores)[:5]:
            print(f"  {scores[index]:8.3f}  {population.name(one.trials[index])}")
        return scores

    def _finish(self, best: dict[str, Any]) -> int:
        """Train the winner and the configuration as it is with fresh seeds; return the exit code."""
        options, tuned = self._options, best["values"]
        chosen = [self._first, *([tuned] if tuned != self._first else [])]
        runs = self._runs("final", chosen, self._frames, options.seeds, options.fresh_seeds)
        fresh = [results.per_seed(job.records()[-1][f"final/return_{job.task.twin}"]) if job else [] for job in runs]
        self._found |= {"winner": tuned, "chosen_at": best["score"], "fresh": fresh[-1], "fresh_untuned": fresh[0]}
        self._write()
        print(f"winner: {population.name(tuned)}")
        print(f"  its score in the search, which is optimistic: {best['score']:.3f}")
        print(f"  on {options.fresh_seeds} fresh seeds: {_interval(fresh[-1])}; untuned: {_interval(fresh[0])}")
        print(f"results: {self._folder / RESULT}")
        return DONE if all(fresh) else ERROR

    def _runs(self, name: str, trials: list[methods.Values], frames: int, first: int, seeds: int) -> list[Job | None]:
        """Train a run for each trial; return them in this order, None for one that failed."""
        file, _, argument = self._options.config.partition(":")
        words = dict(item.partition("=")[::2] for item in filter(None, argument.split(",")))
        shared = dict(_override(item) for item in self._options.override) | {"frames": str(frames)}
        planned = [
            cells.Cell(population.name(values), file, words, shared | _texts(values), first, seeds, "trial")
            for values in trials
        ]
        asked = self._options.processes
        workers = len(processes.places(asked, len(trials)))
        plan = planning.plan(planned, self._folder / name, workers=workers)
        places = processes.places(asked, len(plan.programs))
        with supervisor.Children() as children, Progress(len(plan.jobs), len(places)) as progress:
            outcome = processes.train(
                plan.programs, places, children, processes.launch_options(len(places)), progress, lambda job: None, 2
            )
            if children.stop_signal:
                raise Stopped(children.stop_signal)
        paths = list(self._space)
        by_values = {tuple(_own_values(ConfigDict(job.config), paths).values()): job for job in outcome.complete}
        return [by_values.get(tuple(values.values())) for values in trials]

    def _write(self) -> None:
        about = provenance.collect(self._arguments) | {"method": self._options.method, "space": self._options.space}
        self._folder.mkdir(parents=True, exist_ok=True)
        run_files.write_json(self._folder / RESULT, about | _without_infinity(self._found))


def _next(rounds, scores: list[float] | None) -> methods.Round | None:
    try:
        return rounds.send(scores)
    except StopIteration:
        return None


def _own_values(config: ConfigDict, paths: list[str]) -> methods.Values:
    """Return the values that a configuration has.

    Raises:
      ValueError: runs that differ in an option cannot share a program.
    """
    known = [population.SECTION + name for name in population.values_of(config.algorithm.name)]
    for path in paths:
        configuration.check_choice("option of --space", path, known)
    return {path: float(config.algorithm[path.removeprefix(population.SECTION)]) for path in paths}


def _end(job: Job | None) -> list[float]:
    """Return the score of each seed of a run; none where it failed."""
    if job is None:
        return []
    return results.summary(job.records(), job.task.twin, results.LAST)["end"]


def _check_overrides(overrides: Sequence[str], space: Mapping[str, Any]) -> None:
    """Check that overrides leave alone what the search chooses.

    Raises:
      ValueError: one is no override, or of an option that the search sets.
    """
    jobs.check_overrides(overrides)
    for path, _ in map(_override, overrides):
        if path in space:
            raise ValueError(f"--override=config.{path}, but --space searches over it; give it in --config or there")
        if path in SET:
            raise ValueError(f"--override=config.{path} is set by the search; give {SET[path]}")


def _texts(values: methods.Values) -> dict[str, str]:
    return {path: repr(value) for path, value in values.items()}


def _override(item: str) -> tuple[str, str]:
    path, _, text = item.removeprefix("config.").partition("=")
    return path, text


def _interval(values: Sequence[float]) -> str:
    if not values:
        return "failed"
    found = statistics.interval(np.asarray(values))
    band = f" ({found.low:.3f} to {found.high:.3f}, 95 %)" if len(values) > 1 else ""
    return f"{found.mean:.3f}{band}"


def _without_infinity(found: Any) -> Any:
    """Return JSON without infinities, which strict readers refuse: the score of a trial that failed is null."""
    if isinstance(found, dict):
        return {key: _without_infinity(value) for key, value in found.items()}
    if isinstance(found, list):
        return [_without_infinity(value) for value in found]
    return None if isinstance(found, float) and not np.isfinite(found) else found


if __name__ == "__main__":
    sys.exit(main(sys.argv))
