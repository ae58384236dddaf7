"""Plans of sweeps: every run once, programs of the right size, the same again after a restart, and quickly."""

import itertools
import json
import pathlib
import random
import time

import pytest

from podarcade.configuration import files, population
from podarcade.runtime.run_files import write_json
from podarcade.sweeps import blocks, cells, forecast, planning

SWEEPS = sorted((files.experiments() / "sweeps").glob("*.py"))
BASE = "file=configs/ppo.py preset=smoke"
RATES = "config.algorithm.learning_rate=1e-4,3e-4,1e-3"


def plan(grid, folder, slots=64, **options):
    return planning.plan(cells.read("", f"{BASE} {grid}"), pathlib.Path(folder), lambda *_: slots, **options)


def trained(found, folder):
    """(folder of the program, its runs' folders, seeds) of each program, folders relative."""
    return [
        (str(program.workdir.relative_to(folder)), [str(job.workdir.relative_to(folder)) for job in program.jobs],
         (program.jobs[0].config["seed"], program.jobs[0].config["seeds"]))
        for program in found.programs
    ]  # fmt: skip


def test_values_share_a_program_and_structures_do_not(tmp_path):
    found = plan(f"game=tmaze memory=gru,lru {RATES} seeds=2", tmp_path)
    members = [f"algorithm.learning_rate={rate}" for rate in ("0.0001", "0.0003", "0.001")]
    assert trained(found, tmp_path) == [
        (f".programs/tmaze-easy-partial/{memory}", [f"tmaze-easy-partial/{memory}/{name}" for name in members], (0, 2))
        for memory in ("gru", "lru")
    ]
    gru = found.programs[0]
    assert gru.arguments == (
        "--config=configs/ppo.py:preset=smoke,game=tmaze,memory=gru",
        "--config.seeds=2",
        "--config.population=algorithm.learning_rate=0.0001,0.0003,0.001",
        f"--members={tmp_path}/tmaze-easy-partial/gru",
    )
    assert gru.slots == 6 and gru.frames == 6 * 1280 and gru.name == "tmaze-easy-partial gru, 3 variants"
    assert [job.label for job in gru.jobs] == [f"gru, learning_rate={rate}" for rate in ("0.0001", "0.0003", "0.001")]
    assert [job.config["algorithm"]["learning_rate"] for job in gru.jobs] == [1e-4, 3e-4, 1e-3]
    names = [population.name(dict(job.values)) for job in gru.jobs]
    assert names == [job.workdir.name for job in gru.jobs], "the trainer calls the folders of members so"


def test_runs_that_differ_in_late_digits_have_labels_of_their_own(tmp_path):
    found = plan("game=tmaze memory=gru config.algorithm.discount=0.9999991,0.9999992 seeds=1", tmp_path)
    assert [job.label for job in found.jobs] == ["gru, discount=0.9999991", "gru, discount=0.9999992"]


def test_a_population_predicts_what_a_population_takes(tmp_path):
    """Its members ran side by side: the frames of all in the seconds of the program, not those of each."""
    grid = f"game=tmaze memory=gru {RATES} seeds=2"
    (program,) = plan(grid, tmp_path).programs
    for folder, frames in ((program.workdir, [1280] * 6), *((job.workdir, [1280] * 2) for job in program.jobs)):
        folder.mkdir(parents=True)
        record = {"updates": program.total_updates, "frames": frames, "seconds": 10.0}
        (folder / "metrics.jsonl").write_text(json.dumps(record) + "\n")
        (folder / "learning_curve.svg").touch()
    (more,) = plan(grid.replace("memory=gru", "memory=lru"), tmp_path).programs
    assert forecast.seconds(more, forecast.speeds([program])) == pytest.approx(10.0)


def test_a_value_that_all_runs_share_names_nothing(tmp_path):
    found = plan("game=tmaze memory=gru config.algorithm.learning_rate=7e-4 config.algorithm.discount=0.9,0.95 seeds=1",
                 tmp_path)  # fmt: skip
    (program,) = found.programs
    assert "--config.algorithm.learning_rate=0.0007" in program.arguments
    assert "--config.population=algorithm.discount=0.9,0.95" in program.arguments
    assert [job.workdir.name for job in found.jobs] == ["algorithm.discount=0.9", "algorithm.discount=0.95"]
    assert {job.config["algorithm"]["learning_rate"] for job in found.jobs} == {7e-4}


def test_a_run_alone_is_what_launch_makes_of_its_configuration(tmp_path):
    (job,) = plan("game=tmaze memory=gru level=hard partial=false seed=3 seeds=2", tmp_path).jobs
    assert job.workdir == tmp_path / "tmaze-hard-full" / "gru" and job.task.twin == "full"
    loaded = planning.Loader().read(job.arguments[0].removeprefix("--config="), {})[0].config
    assert job.config == loaded | {"seed": 3, "seeds": 2} and "--config.seed=3" in job.arguments
    assert job.total_updates == 20


def test_seeds_are_split_where_fewer_slots_are_asked_for(tmp_path):
    found = plan("game=tmaze memory=gru seeds=5", tmp_path, slots=2)
    assert [seeds for *_, seeds in trained(found, tmp_path)] == [(1, 2), (3, 2), (0, 1)]
    assert sorted(job.workdir.name for job in found.jobs) == ["seeds=0-0", "seeds=1-2", "seeds=3-4"]
    found = plan(f"game=tmaze memory=lru {RATES} seeds=4", tmp_path, slots=8)
    assert sorted(len(program.jobs) for program in found.programs) == [1, 2]
    assert {program.slots for program in found.programs} == {4, 8}


def test_a_run_that_cannot_be_a_member_is_alone(tmp_path):
    found = plan(f"game=tmaze {RATES} seeds=1 config.diagnostics=recall_density", tmp_path)
    assert [len(program.jobs) for program in found.programs] == [1, 1, 1]


@pytest.mark.parametrize(
    ("workers", "sizes"), [(1, [10]), (2, [5, 5]), (3, [3, 3, 2, 2]), (4, [3, 3, 2, 2]), (64, [1] * 10)]
)
def test_no_worker_is_idle_while_seeds_could_be_split(tmp_path, workers, sizes):
    assert [program.slots for program in plan("game=tmaze seeds=10", tmp_path, workers=workers).programs] == sizes


def makespan_by_hand(lengths, workers):
    """Shortest of all assignments of lengths to workers."""
    return min(
        max(
            sum(length for length, own in zip(lengths, chosen, strict=True) if own == worker)
            for worker in range(workers)
        )
        for chosen in itertools.product(range(workers), repeat=len(lengths))
    )


@pytest.mark.parametrize("seed", range(10))
def test_balanced_blocks_leave_little_idle(seed):
    draw = random.Random(seed)
    structure = planning.Loader().read("configs/ppo.py:preset=smoke,game=tmaze", {})[0]
    members = [{"algorithm.discount": 0.9 + index / 100} for index in range(9)]
    whole = [
        blocks.Block(structure, "x", tuple(members[: draw.randint(1, 3)]), 0, draw.choice((1, 2, 5, 8)))
        for _ in range(draw.randint(1, 3))
    ]
    for workers in (2, 3):
        found = blocks.balanced(whole, workers)
        assert sum(block.slots for block in found) == sum(block.slots for block in whole)
        lengths = [block.slots for block in found]
        if len(lengths) <= 8:
            singles = -(-sum(lengths) // workers)  # frames of the busiest worker if every block were split
            assert makespan_by_hand(lengths, workers) <= (1 + blocks.MAX_IDLE) * max(singles, 1)


def agents(found):
    """Every agent that a plan trains: (task, structure's arguments, values, seed)."""
    return [
        (job.task, tuple(item for item in job.arguments if "seed" not in item), seed)
        for job in found.jobs
        for seed in range(job.config["seed"], job.config["seed"] + job.config["seeds"])
    ]


@pytest.mark.parametrize("number", range(12))
def test_any_sequence_of_growing_sweeps_trains_each_agent_once(tmp_path, number):
    """Cells are added at random; programs on record stay as they are, and no folder is used twice or nested."""
    draw = random.Random(number)
    memories, rates, discounts = ["gru"], ["1e-3"], ["0.9"]
    before, seeds = [], 1
    for _ in range(4):
        memories = list(dict.fromkeys([*memories, draw.choice(("gru", "lru", "none"))]))
        rates = list(dict.fromkeys([*rates, draw.choice(("1e-3", "3e-4", "1e-4", "0.00005"))]))
        discounts = list(dict.fromkeys([*discounts, draw.choice(("0.9", "0.95"))]))
        seeds += draw.randint(0, 3)
        grid = (
            f"game=tmaze memory={','.join(memories)} config.algorithm.learning_rate={','.join(rates)}"
            f" config.algorithm.discount={','.join(discounts)} seeds={seeds}"
        )
        slots, workers = draw.choice((1, 2, 5, 64)), draw.randint(1, 4)
        dry = plan(grid, tmp_path, slots, workers=workers, is_dry=True)
        found = plan(grid, tmp_path, slots, workers=workers)
        assert trained(dry, tmp_path) == trained(found, tmp_path)
        assert trained(plan(grid, tmp_path, 7, workers=3), tmp_path) == trained(found, tmp_path), "another size"
        wanted = len(memories) * len(rates) * len(discounts) * seeds
        assert len(agents(found)) == len(set(agents(found))) == wanted
        commands = [program.command() for program in found.programs]
        assert all(command in commands for command in before)
        before = commands
        folders = [job.workdir for job in found.jobs]
        assert len(set(folders)) == len(folders)
        assert not any(parent in folders for folder in folders for parent in folder.parents)
        assert len({program.workdir for program in found.programs}) == len(found.programs)


def test_new_seeds_of_known_cells_are_trained_alone(tmp_path):
    old = plan("game=tmaze memory=gru seeds=3", tmp_path)
    new = plan("game=tmaze memory=gru seeds=5", tmp_path)
    assert [job.config["seeds"] for job in new.jobs] == [3, 2] and new.jobs[1].config["seed"] == 3
    assert new.jobs[0].workdir == old.jobs[0].workdir == tmp_path / "tmaze-easy-partial" / "gru"
    assert new.jobs[1].workdir == tmp_path / "tmaze-easy-partial" / "gru.2"
    assert [job.variant for job in new.jobs] == ["gru", "gru"]


def test_known_cells_keep_their_name_when_others_differ_in_more(tmp_path):
    plan("game=tmaze memory=gru config.network.width=16 seeds=1", tmp_path)
    found = plan("game=tmaze memory=gru config.network.width=16,32 seeds=1", tmp_path)
    assert [job.variant for job in found.jobs] == ["gru", "gru width=32"]


def test_a_cell_that_leaves_is_not_trained_and_stays_on_record(tmp_path):
    plan("game=tmaze memory=gru,lru seeds=1", tmp_path)
    assert [job.variant for job in plan("game=tmaze memory=lru seeds=1", tmp_path).jobs] == ["lru"]
    assert len(json.loads((tmp_path / "plan.json").read_text())["programs"]) == 2


def test_a_value_that_leaves_is_not_asked_for_and_its_program_stays_the_same(tmp_path):
    (whole,) = plan(f"game=tmaze memory=gru {RATES} seeds=2", tmp_path).programs
    (part,) = plan(f"game=tmaze memory=gru {RATES.replace(',3e-4', '')} seeds=2", tmp_path).programs
    assert [job.values["algorithm.learning_rate"] for job in part.jobs] == [1e-4, 1e-3]
    assert (part.arguments, part.workdir, part.slots, part.frames) == (
        whole.arguments,
        whole.workdir,
        whole.slots,
        whole.frames,
    )


def test_a_changed_cell_is_an_error_that_says_what_differs(tmp_path):
    plan("game=tmaze memory=gru config.frames=1280 seeds=1", tmp_path)
    with pytest.raises(ValueError, match=r"tmaze-easy-partial gru is on record .*frames: 1280, now 2560") as error:
        plan("game=tmaze memory=gru config.frames=2560 seeds=1", tmp_path)
    assert "\n" not in str(error.value)
    same = plan("game=tmaze memory=gru config.frames=1.28e3 seeds=1", tmp_path)
    assert len(same.jobs) == 1, "only the spelling has changed"


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        ("gmae=tmaze seeds=1", r"cell 1 \(.*\): unknown argument 'gmae' in .*; did you mean 'game'"),
        ("game=tmaz seeds=1", "cell 1 .*did you mean 'tmaze'"),
        ("game=tmaze config.numenvs=3 seeds=1", "cell 1 .*unknown option config.numenvs; did you mean"),
        ("game=tmaze config.algorithm.td_lambda=0.5 seeds=1", "cell 1 .*unknown option config.algorithm.td_lambda"),
        ("game=tmaze config.algorithm.discount=x seeds=1", "config.algorithm.discount=x; expected a number"),
        ("game=tmaze config.algorithm.discount=1.5 seeds=1", r"config.algorithm.discount=1.5; expected a number"),
        ("game=tmaze config.algorithm.discount=0.9,0.90 seeds=1", "cell 1 .*and cell 2 .*train the same seeds"),
        (
            "game=tmaze agent=x memory=gru,lru seeds=1",
            "are both called 'x' on tmaze-easy-partial .*give each an `agent`",
        ),
    ],
)
def test_a_bad_sweep_is_one_line_and_writes_nothing(tmp_path, grid, message):
    with pytest.raises(ValueError, match=message) as error:
        plan(grid, tmp_path / "sweep", is_dry=True)
    assert "\n" not in str(error.value) and not list(tmp_path.iterdir())


def test_overlapping_seeds_are_duplicates_and_others_are_not(tmp_path):
    one = {"file": "configs/ppo.py", "preset": "smoke", "game": "tmaze"}
    read = [cells.read_cell({**one, "seed": seed, "seeds": 3}, seed) for seed in (0, 3)]
    assert len(agents(planning.plan(read, tmp_path))) == 6
    read = [cells.read_cell({**one, "seed": seed, "seeds": 3}, seed) for seed in (0, 2)]
    with pytest.raises(ValueError, match="train the same seeds"):
        planning.plan(read, tmp_path)


@pytest.mark.parametrize(("agent", "name"), [("..", "_"), (".x", "_x"), ("a/b", "a_b"), ("gru 2x512", "gru_2x512")])
def test_an_agent_of_any_name_has_a_plain_folder(tmp_path, agent, name):
    read = [
        cells.read_cell({"file": "configs/ppo.py", "preset": "smoke", "game": "tmaze", "agent": agent, "seeds": 1}, 1)
    ]
    (job,) = planning.plan(read, tmp_path).jobs
    assert job.workdir == tmp_path / "tmaze-easy-partial" / name and job.variant == agent


def test_a_value_that_is_the_default_is_the_same_run_as_none(tmp_path):
    (job,) = plan("game=tmaze seeds=1", tmp_path).jobs
    default = job.config["algorithm"]["discount"]
    assert len(plan(f"game=tmaze config.algorithm.discount={default} seeds=1", tmp_path).jobs) == 1
    assert len(json.loads((tmp_path / "plan.json").read_text())["programs"]) == 1


def test_a_folder_of_another_run_is_refused(tmp_path):
    (job,) = plan("game=tmaze memory=gru seeds=1", tmp_path).jobs
    job.workdir.mkdir(parents=True)
    write_json(job.workdir / "config.json", job.config | {"num_envs": 16})
    with pytest.raises(ValueError, match=r"tmaze-easy-partial gru: .*num_envs"):
        plan("game=tmaze memory=gru seeds=1", tmp_path)


@pytest.mark.parametrize("content", ["{", '{"version": 2, "programs": []}', '{"version": 1, "programs": [{}]}', "[]"])
def test_a_damaged_record_is_one_line(tmp_path, content):
    (tmp_path / "plan.json").write_text(content)
    with pytest.raises(ValueError, match=r"plan\.json (is damaged|has version 2).*choose another --workdir"):
        plan("game=tmaze seeds=1", tmp_path)


def test_a_schedule_of_twins_counts_on_its_last_twin(tmp_path):
    found = plan("game=tmaze config.environment.observability=[partial,full@500],[full,0.5@500] seeds=1", tmp_path)
    assert [job.task.twin for job in found.jobs] == ["full", "partial"]


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.stem)
def test_every_shipped_sweep_can_be_planned(path, tmp_path):
    found = planning.plan(cells.read(str(path), ""), tmp_path, workers=2, is_dry=True)
    assert found.jobs
    names = {(job.task.name, job.label, job.config["seed"]) for job in found.jobs}
    assert len(names) == len(found.jobs), "runs that tables could not tell apart"
    assert all(text in path.read_text() for text in ("podarcade.sweep", "def get_sweep"))


def test_the_papers_train_what_they_say():
    v1, v2 = (cells.read(f"configs/sweeps/paper_{name}_main.py", "") for name in ("v1", "v2"))
    assert sum(cell.seeds for cell in v1) == 378 and sum(cell.seeds for cell in v2) == 2400


def test_a_thousand_runs_are_planned_and_read_again_in_seconds(tmp_path):
    rates = ",".join(f"{index}e-5" for index in range(1, 6))
    memories = "gru,lru,none,lstm,min_gru"
    games = "tmaze,repeat_first,repeat_previous,memory_chain,concentration"
    grid = f"game={games} partial=true,false level=easy,hard memory={memories} config.algorithm.learning_rate={rates}"
    grid += " config.algorithm.discount=0.9,0.99 seeds=3"
    began = time.process_time()
    found = plan(grid, tmp_path)
    assert len(found.jobs) == 1000 and len(found.programs) == 100 and time.process_time() - began < 5
    record = json.dumps({"updates": 20, "frames": [1280] * 3, "eval/return_partial": [0.5] * 3, "x": "y" * 2000})
    for job in found.jobs:
        job.workdir.mkdir(parents=True)
        (job.workdir / "config.json").write_text(json.dumps(job.config))
        (job.workdir / "metrics.jsonl").write_text(f"{record}\n" * 20)
        (job.workdir / "learning_curve.svg").touch()
    began = time.process_time()
    again = plan(grid, tmp_path)
    assert all(program.is_settled() for program in again.programs) and time.process_time() - began < 10
