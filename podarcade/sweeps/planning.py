"""The plan of a sweep: which runs there are, and which program trains which of them.

A run is kept in FOLDER/TASK/AGENT[/VALUES][/seeds=A-B]: VALUES where agents of one name differ in hyper-parameters that
are only numbers, seeds where several programs train the seeds of one agent. Runs of one structure that differ in values
are trained together, as a population, as many at a time as `slots_of` says. The plan is recorded: known cells keep
their programs for good, and cells that are new get programs of their own.
"""

import dataclasses
import pathlib
from collections.abc import Callable, Sequence

from podarcade.configuration import population
from podarcade.runtime import members, run_files
from podarcade.sweeps import blocks, folders, record, sizes
from podarcade.sweeps.cells import OVERRIDE, Cell
from podarcade.sweeps.jobs import Job
from podarcade.sweeps.programs import Program
from podarcade.sweeps.record import PlannedProgram, PlannedRun
from podarcade.sweeps.structures import Loader, Structure, Wanted, check, difference, key_of, resolve

SlotsOf = Callable[[Structure, int], int]  # structure and number of its agents -> agents of one program


@dataclasses.dataclass(frozen=True)
class Plan:
    """The runs of a sweep in the order of its cells, and the programs that train them, the longest first."""

    jobs: list[Job]
    programs: list[Program]


def plan(
    cells: Sequence[Cell],
    folder: pathlib.Path,
    slots_of: SlotsOf = sizes.unmeasured,
    workers: int = 1,
    is_dry: bool = False,
) -> Plan:
    """Return the runs and programs of a sweep, all checked, and record them.

    Args:
      cells: all cells of the sweep.
      folder: of the sweep.
      slots_of: how many agents one program should train, of a structure and of the number of its agents.
      workers: programs at once; new programs are split until none of these would be idle for long.
      is_dry: whether nothing is written.

    Raises:
      ValueError: a cell cannot be read or has changed, or a folder holds another run; the message is one line.
    """
    wanted = resolve(cells)
    if is_dry:
        return _planned(wanted, folder, record.read(folder), slots_of, workers)[0]
    with record.locked(folder):
        known = record.read(folder)
        found, new = _planned(wanted, folder, known, slots_of, workers)
        if new:
            record.write(folder, [*known, *new])
    return found


def _planned(
    wanted: list[Wanted], folder: pathlib.Path, known: list[PlannedProgram], slots_of: SlotsOf, workers: int
) -> tuple[Plan, list[PlannedProgram]]:
    """Return the plan, and those of its programs that are not on record."""
    wanted = _reconciled(wanted, known)
    check(wanted)
    new = folders.assign(blocks.make(_missing(wanted, known), slots_of, workers), known)
    cells = _Cells(wanted)
    ranks: dict[Job, tuple[int, int]] = {}
    programs: list[Program] = []
    for planned in [*known, *new]:
        asked = [(run, cells.find(run)) for run in planned.runs]
        asked = [(run, place, cell) for run, (place, cell) in asked if cell is not None]
        if asked:
            jobs = [_job(run, planned.paths, cell, folder) for run, _, cell in asked]
            programs += _programs(planned, asked[0][2].structure, jobs, folder)
            ranks |= {job: (place, run.seed) for job, (run, place, _) in zip(jobs, asked, strict=True)}
    jobs = sorted(ranks, key=ranks.__getitem__)
    for job in jobs:
        try:
            run_files.holds_run(job.config, job.workdir)
        except ValueError as error:
            raise ValueError(f"{job.name}: {error}") from error
    return Plan(jobs, sorted(programs, key=lambda program: -program.frames)), new


class _Cells:
    """The cells of a sweep by what they train."""

    def __init__(self, wanted: Sequence[Wanted]):
        self._by_key: dict[tuple, list[tuple[int, Wanted]]] = {}
        for index, one in enumerate(wanted):
            self._by_key.setdefault(one.run_key, []).append((index, one))

    def find(self, run: PlannedRun) -> tuple[int, Wanted | None]:
        """Return the first cell that asks for some seeds of a run, after its position; None where there is none."""
        found = self._by_key.get(key_of(run.key, run.values), [])
        return next(((place, one) for place, one in found if set(one.range) & set(run.range)), (-1, None))


def _reconciled(wanted: list[Wanted], known: list[PlannedProgram]) -> list[Wanted]:
    """Return the cells under the names that they have on record, and spelled as there.

    Raises:
      ValueError: an agent on record has another configuration now.
    """
    runs = [run for program in known for run in program.runs]
    agents = {run.key: run.agent for run in reversed(runs)}
    agents |= {key_of(run.key, run.values): run.agent for run in runs}
    recorded = {(run.task, run.agent): run for run in reversed(runs)}
    loader, found = Loader(), []
    for one in wanted:
        key = one.structure.key
        if key in agents and not one.has_given_name:
            one = dataclasses.replace(one, agent=agents.get(one.run_key, agents[key]))
        run = recorded.get((one.structure.task.name, one.agent))
        if key not in agents and run is not None:
            old, _ = loader.read(run.config, run.overrides)
            if different := difference(old, one.structure):
                raise ValueError(
                    f"{one.name} is on record with another configuration ({different}); "
                    "choose another --workdir, or give the new cell an `agent`"
                )
            one = dataclasses.replace(one, structure=old)
        found.append(one)
    return found


def _missing(wanted: list[Wanted], known: list[PlannedProgram]) -> list[Wanted]:
    """Return what no recorded program trains: the cells with those of their seeds, in consecutive ranges."""
    trained: dict[tuple, set[int]] = {}
    for run in (run for program in known for run in program.runs):
        trained.setdefault(key_of(run.key, run.values), set()).update(run.range)
    found = []
    for one in wanted:
        seeds = [seed for seed in one.range if seed not in trained.get(one.run_key, ())]
        starts = [seed for seed in seeds if seed - 1 not in seeds]
        ends = [seed for seed in seeds if seed + 1 not in seeds]
        found += [
            dataclasses.replace(one, seed=start, seeds=end - start + 1) for start, end in zip(starts, ends, strict=True)
        ]
    return found


def _job(run: PlannedRun, paths: Sequence[str], cell: Wanted, folder: pathlib.Path) -> Job:
    structure = cell.structure
    config = structure.run_config(run.values, run.seed, run.seeds)
    arguments = (*structure.arguments, *_seeds(run), *_overrides(run.values))
    values = {path: structure.value(run.values, path) for path in paths}
    return Job(structure.task, cell.agent, folder / run.folder, arguments, config, structure.total_updates, values)


def _programs(planned: PlannedProgram, structure: Structure, jobs: list[Job], folder: pathlib.Path) -> list[Program]:
    """Return the programs that train the wanted runs of a program on record: that one, unless it is complete.

    A population that is complete has no checkpoints any more: a run of it that was lost is trained alone.
    """
    if len(planned.runs) == 1:
        return [Program.alone(jobs[0])]
    complete = (members.read(folder / planned.folder) or {}).get("complete", [])
    lost = [job for job in jobs if job.workdir.name in complete and not job.is_complete()]
    kept = [job for job in jobs if job not in lost]
    alone = [Program.alone(job) for job in lost]
    return [_population(planned, structure, kept, folder), *alone] if kept else alone


def _population(planned: PlannedProgram, structure: Structure, jobs: list[Job], folder: pathlib.Path) -> Program:
    """Return a program whose runs are the members of a population, also those that the sweep does not want any more."""
    first = planned.runs[0]
    shared = {path: value for path, value in first.values.items() if path not in planned.paths}
    every = [{path: structure.value(run.values, path) for path in planned.paths} for run in planned.runs]
    arguments = (
        *structure.arguments, *_seeds(first), *_overrides(shared), f"--{OVERRIDE}population={population.text(every)}",
        f"--members={(folder / first.folder).parent}",
    )  # fmt: skip
    name = f"{structure.task.name} {jobs[0].variant}, {len(planned.runs)} variants"
    slots = sum(run.seeds for run in planned.runs)
    return Program(name, folder / planned.folder, arguments, tuple(jobs), slots)


def _seeds(run: PlannedRun) -> tuple[str, ...]:
    return (f"--{OVERRIDE}seeds={run.seeds}", *([f"--{OVERRIDE}seed={run.seed}"] if run.seed else []))


def _overrides(values: dict[str, float]) -> tuple[str, ...]:
    return tuple(f"--{OVERRIDE}{path}={value!r}" for path, value in values.items())
