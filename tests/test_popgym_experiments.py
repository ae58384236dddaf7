"""The experiments of the POPGym Arcade papers: every command is accepted, and one runs from start to end."""

import functools
import json
import os
import pathlib
import shlex
import subprocess

import jax
import pytest
from running import ROOT
from test_docs import check_flags

from benchmarks import popgym_arcade
from benchmarks.popgym_experiments import EXPERIMENTS
from podarcade import compare, diagnose, export, report
from podarcade.build import build
from podarcade.configuration import ConfigDict
from podarcade.diagnostics.choice import choose
from podarcade.reporting import gap_bias
from podarcade.reporting.report import folders
from podarcade.runtime.run_files import comparable
from podarcade.sweeps import jobs

NAMES = [one.name for one in EXPERIMENTS]


@functools.cache
def planned(name, whole=False):
    """The jobs of all comparisons of an experiment: every task and every variant, and if `whole` every pair of them.

    Otherwise all variants are planned on one task of each game, and the first one on all tasks.
    """
    found = []
    for tasks, variants, options in popgym_arcade.comparisons(popgym_arcade.find(name)):
        first = {task.game: task for task in reversed(tasks)}.values()
        parts = [(tasks, variants)] if whole else [(tasks, variants[:1]), (first, variants[1:])]
        for some, chosen in parts:
            found += jobs.plan(some, chosen, options.seeds, options.override, pathlib.Path(options.workdir))
    return found


def trained(name):
    """Folder, task and variant of every run of an experiment."""
    return {
        (options.workdir, task, variant.name)
        for tasks, variants, options in popgym_arcade.comparisons(popgym_arcade.find(name))
        for task in tasks
        for variant in variants
    }


def parameters(job):
    """The shapes of the parameters of a job's networks."""
    updater = build(ConfigDict(job.config)).updater
    algorithm, environment = updater.algorithm, updater.environment
    return jax.eval_shape(lambda key: algorithm.init(key, environment.reset(key)[1]), jax.random.key(0))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """An empty folder, with the folders of all runs of an experiment on request."""
    home = tmp_path_factory.mktemp("experiments")

    def make(name):
        for job in planned(name):
            path = home / name / job.workdir
            path.mkdir(parents=True)
            (path / "config.json").write_text("{}")
        return home / name

    return make


def parsed(door, words):
    """The words that are no flags, and the flags of a command."""
    options = door.make_flags()
    return options([door.__name__, *words])[1:], options


@pytest.mark.parametrize("name", NAMES)
def test_every_command_is_accepted(name, folder, monkeypatch):
    """Tasks, memories, diagnostics and options exist, and patterns name runs that the experiment trains."""
    experiment = popgym_arcade.find(name)
    home = folder(name) if planned(name) else None
    for command in experiment.commands:
        if command.startswith("for n in "):
            module, *arguments = shlex.split(command.partition("do python -m ")[2].removesuffix("; done"))
            assert module == "benchmarks.environments"
            check_flags(module, arguments)
            continue
        expanded = subprocess.run(["bash", "-c", f"printf '%s\\n' {command}"], cwd=home, capture_output=True, text=True)
        program, door, *words = expanded.stdout.splitlines()
        assert program == "podarcade" and "*" not in expanded.stdout.replace("--", "")
        if door == "compare":
            assert not parsed(compare, words)[0]
            continue
        given, options = parsed({"diagnose": diagnose, "report": report, "export": export}[door], words)
        monkeypatch.chdir(home)
        runs = {os.path.relpath(path) for path in folders.runs_in(given)}
        assert runs and runs <= {str(job.workdir) for job in planned(name)}
        if door == "diagnose":
            assert choose(options["with"].value, options.override)


def test_every_network_is_built():
    """Each network of all experiments once."""
    seen = {}
    for name in NAMES:
        for job in planned(name):
            assert job.config["environment"]["obs_size"] == (256 if name.startswith("v1") else 128)
            assert job.config["environment"]["rules"] == "published"
            parts = [job.config[key] for key in ("algorithm", "memory", "network")]
            seen.setdefault(json.dumps(parts, sort_keys=True), job)
    assert len(seen) > 40
    for job in seen.values():
        assert jax.tree.leaves(parameters(job))


def test_budgets_are_those_of_the_papers():
    """Environment steps by hand: a sweep of all tasks with one memory and seed takes 2.7e8, in version 2 5.1e8."""
    assert popgym_arcade.size(popgym_arcade.find("v1/main")) == popgym_arcade.Size(378, 4_860_000_000)
    main = popgym_arcade.size(popgym_arcade.find("v2/main"))
    # Eight models on 60 tasks and twins with five seeds, and the control that differs in memory alone.
    assert main == popgym_arcade.Size(2400 * 9 // 8, 40_800_000_000 * 9 // 8)
    for name in ("v1/saliency", "v2/pareto", "v2/noise", "new/switch"):
        trained, made = popgym_arcade.size(popgym_arcade.find(name)), planned(name, whole=True)
        assert trained.runs == sum(job.config["seeds"] for job in made)
        assert trained.frames == sum(job.config["seeds"] * job.config["frames"] for job in made)
    ppo, long = (popgym_arcade.size(popgym_arcade.find(name)) for name in ("v2/ppo", "v1/long"))
    assert (ppo.frames // ppo.runs, long.frames // long.runs) == (10**7, 10**8)


def test_a_folder_holds_one_configuration():
    """Experiments with the same folder share its runs."""
    found, shared = {}, 0
    for name in NAMES:
        for job in planned(name):
            shared += job.workdir in found
            assert comparable(found.setdefault(job.workdir, job.config)) == comparable(job.config), job.workdir
    assert shared > 200
    subsets = [("v1/battleship", "v1/main"), ("v1/churn", "v1/main"), ("v1/long", "v1/saliency")]
    subsets += [(f"v2/{name}", "v2/main") for name in ("saliency", "density", "variance", "noise", "shuffle")]
    for part, whole in subsets:
        assert trained(part) <= trained(whole)


@pytest.mark.parametrize("name", ["v2/main", "v2/pareto", "v2/ppo", "v2/dqn"])
def test_every_memory_has_a_clean_control(name):
    """Without one there is no Memory Bias; the network without memory of the papers has another trainer."""
    memories = {job.config["memory"]["name"] for job in planned(name)}
    assert len(memories) == (4 if name == "v2/pareto" else 8)
    games = {job.task.game: job.task for job in planned(name) if job.variant != "none"}.values()
    for job in planned(name):
        if job.task not in games:
            continue
        if job.config["memory"]["name"] == "none":
            continue
        same = [
            other.variant
            for other in planned(name)
            if other.task == job.task
            and other.config["memory"]["name"] == "none"
            and gap_bias.trainer(other.config) == gap_bias.trainer(job.config)
        ]
        assert same == [job.variant.replace(job.config["memory"]["name"], "control")]


def test_the_sizes_of_the_pareto_figure_reach_the_network():
    found = {}
    for job in planned("v2/pareto"):
        if job.task.twin == "full" and job.task.game == "battleship" and job.config["memory"]["name"] == "min_gru":
            leaves = jax.tree.leaves_with_path(parameters(job))
            kernels = [leaf.shape for path, leaf in leaves if "'gate'" in str(path) and leaf.ndim == 2]
            found[job.variant] = f"{len(kernels)}x{kernels[0][0]}"
            assert set(kernels) == {(kernels[0][0],) * 2}
    assert found == {f"min_gru {size}": size for size in ("1x512", "2x512", "8x512", "2x128", "2x256")}


def test_a_switch_is_halfway_and_has_its_control():
    names = {(job.task.twin, job.variant) for job in planned("new/switch") if job.task.game == "tetris"}
    assert names == {
        ("partial", "gru from full"), ("partial", "lru from full"), ("partial", "gru"), ("partial", "lru"),
        ("full", "gru from partial"), ("full", "lru from partial"), ("full", "gru"), ("full", "lru"),
    }  # fmt: skip
    for job in planned("new/switch"):
        schedule = job.config["environment"]["observability"]
        old = {"full": "partial", "partial": "full"}[job.task.twin]
        expected = f"{old},{job.task.twin}@{job.config['frames'] // 2}" if "from" in job.variant else job.task.twin
        assert schedule == expected


def test_an_unknown_experiment_is_one_line(capsys):
    assert popgym_arcade.main(["popgym_arcade", "v2/paretto"]) == 1
    assert "did you mean 'v2/pareto'?" in capsys.readouterr().err
    assert popgym_arcade.main(["popgym_arcade"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == len(EXPERIMENTS)
    assert popgym_arcade.main(["popgym_arcade", "v2/noise", "--print", "--seeds=1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.endswith(" --seeds=1") for line in lines] == [True, False, False]


def test_an_experiment_stops_at_the_first_command_that_fails(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert popgym_arcade.run(["touch one", "exit 3", "touch two"]) == 3
    assert (tmp_path / "one").exists() and not (tmp_path / "two").exists()


@pytest.mark.slow  # its commands are parsed by the tests above
def test_an_experiment_runs_from_start_to_end(tmp_path, monkeypatch):
    """The figure on noise, on one task, with a small network and few frames."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("JAX_NUM_CPU_DEVICES", "1")
    small = ["num_envs=4", "frames=256", "algorithm.rollout_length=16", "algorithm.num_minibatches=2"]
    small += ["updates_per_call=2", "evaluation.episodes=2", "network.width=16", "algorithm.num_epochs=1"]
    more = [f"--override=config.{item}" for item in small] + ["--seeds=1", "--tasks=minesweeper/partial"]
    more.append("--config=configs/popgym_arcade/pqn.py:preset=cpu")
    train, measure, draw = popgym_arcade.find("v2/noise").commands
    measure += " --override=contamination.episodes=2 --override=contamination.permutations=1"
    assert popgym_arcade.run([popgym_arcade.extended(train, more), measure, draw]) == 0
    runs = tmp_path / "runs" / "popgym_arcade"
    run = runs / "v2" / "minesweeper-easy-partial" / "lru"
    ((_, found),) = json.loads((run / "diagnostics.json").read_text())["contamination"].items()
    assert found["options"]["length"] == 31 and found["options"]["shuffle_from"] == 2
    assert len(list((run / "diagnostics").glob("contamination-*.npz"))) == 1
    drawn = {str(path.relative_to(runs / "figures")) for path in (runs / "figures").rglob("*") if path.is_file()}
    expected = {"v2-noise.json", "v2-noise.png", "v2-noise-returns.png", "v2-noise-report.html", "v2-noise/final.pdf"}
    expected |= {"v2-noise/learning-1.pdf", "v2-noise/learning-1.csv"}
    assert expected <= drawn, expected - drawn
    assert json.loads((runs / "figures" / "v2-noise.json").read_text())["runs"], "the report has a JSON file of its own"
    page = (runs / "figures" / "v2-noise-report.html").read_text(encoding="utf-8")
    assert "Contamination" in page


@pytest.mark.parametrize("experiment", popgym_arcade.EXPERIMENTS, ids=lambda one: one.name)
def test_commands_of_the_documentation_have_the_words_of_those_that_run(experiment):
    for command in experiment.commands:
        wrapped = popgym_arcade.wrapped(command)
        assert shlex.split(wrapped.replace("\\\n", "")) == shlex.split(command)
        pieces = wrapped.split("\\\n")
        assert all(piece.count("'") % 2 == 0 for piece in pieces)


def test_a_small_experiment_has_a_folder_of_its_own(capsys):
    assert popgym_arcade.main(["popgym_arcade", "v2/noise", "--folder=runs/small", "--print"]) == 0
    shown = capsys.readouterr().out
    assert "--workdir=runs/small/v2" in shown and "runs/popgym_arcade" not in shown and "--folder" not in shown
