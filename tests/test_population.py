"""Populations: members that differ in numbers share a program, and are then runs like any other."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from builders import distance, make
from probes import Probe
from running import load, records

from podarcade import agents, launch, plugins
from podarcade.anakin import sharding
from podarcade.anakin.update import Updater
from podarcade.configuration import population
from podarcade.envs.environment import Environment
from podarcade.reporting.report import folders
from podarcade.runtime import members
from podarcade.runtime.metrics import seed_mean
from podarcade.runtime.signals import DIVERGED, DONE, ERROR

GAME = Probe(length=4, pays="match", blind=True)
TASK = "--config=configs/{}.py:game=repeat_first,memory=gru,preset=smoke"
SMALL = ("--config.frames=512", "--config.seeds=2", "--config.num_envs=8", "--config.evaluation.episodes=4")
OTHER = {  # a value, different from the default, that changes what a small run learns
    "optimiser_epsilon": 0.1, "learning_rate": 0.02, "learning_rate_end": 0.01, "max_gradient_norm": 0.01,
    "discount": 0.5, "td_lambda": 0.2, "gae_lambda": 0.2, "reward_scale": 3.0, "epsilon_start": 0.3,
    "epsilon_end": 0.4, "clip": 0.01, "value_coefficient": 3.0, "entropy_coefficient": 0.5, "target_rate": 0.7,
}  # fmt: skip


def config(*arguments, algorithm="ppo"):
    return load(TASK.format(algorithm), *arguments)


# The option.


def test_members_slots_and_their_names():
    found = config(
        "--config.seed=3", "--config.seeds=2",
        "--config.population=algorithm.learning_rate=1e-4,3e-4 algorithm.discount=0.9,1",
    )  # fmt: skip
    first, second = population.members(found)
    assert first == {"algorithm.learning_rate": 1e-4, "algorithm.discount": 0.9}
    assert second == {"algorithm.learning_rate": 3e-4, "algorithm.discount": 1.0}
    assert population.slots(found) == [3, 4, 3, 4]
    expected = (("learning_rate", (1e-4, 1e-4, 3e-4, 3e-4)), ("discount", (0.9, 0.9, 1.0, 1.0)))
    assert population.hyper_parameters(found) == expected
    assert population.name(second) == "algorithm.learning_rate=0.0003,algorithm.discount=1.0"
    again = config(f"--config.population={population.text([first, second])}")
    assert population.members(again) == [first, second]
    alone = population.member(found, second)
    assert (alone.algorithm.learning_rate, alone.algorithm.discount, alone.population) == (3e-4, 1.0, "")


def test_a_run_without_members_is_one_member():
    found = config("--config.seeds=3")
    assert population.members(found) == [{}] and population.slots(found) == [0, 1, 2]
    assert population.hyper_parameters(found) == ()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("algorithm.learning_rate", "expected OPTION=VALUE,VALUE"),
        ("learning_rate=1,2", "with an option among: algorithm.optimiser_epsilon"),
        ("algorithm.value_clip=0,1", "with an option among"),  # 0 makes another program
        ("algorithm.td_lambda=0,1", "with an option among"),  # of another algorithm
        ("algorithm.discount=0.9,x", "population: algorithm.discount=x; expected a number"),
        ("algorithm.discount=0.9,2", r"discount=2.0; expected a number in \[0, 1\]"),
        ("algorithm.discount=0.9,1 algorithm.clip=0.1", "2 of algorithm.discount, 1 of algorithm.clip; expected"),
        ("algorithm.discount=0.9,0.90", "algorithm.discount=0.9 twice"),
    ],
)
def test_what_is_no_population_is_refused_in_one_line(given, message):
    with pytest.raises(ValueError, match=message):
        population.members(config(f"--config.population={given}"))


def test_options_that_count_seeds_are_refused():
    with pytest.raises(ValueError, match="a population has no diagnostics"):
        population.members(config("--config.population=algorithm.discount=0,1", "--config.diagnostics=churn"))


# The program.


def agent(kind, **options):
    small = {"memory": "none", "num_minibatches": 1, "num_epochs": 2, "burn_in": 0, "optimiser": "adam"}
    found = plugins.find("algorithms", kind)
    # With n-step returns λ would be no part of the program.
    returns = {"returns": "lambda"} if "returns" in {field.name for field in dataclasses.fields(found)} else {}
    return make(found, **(small | returns | options))


def trained(updater, seeds):
    """Learner and metrics after four updates: by then a replay buffer is full enough, and schedules have moved."""
    program = updater.compile(updater.abstract_state(len(seeds)), 4)
    state, metrics = jax.device_get(program(updater.init(jnp.asarray(seeds))))
    return state.learner, metrics


def slot(tree, index):
    return jax.tree.map(lambda x: x[index : index + 1], tree)


def updater(algorithm, mesh=(1, 1), **options):
    return Updater(algorithm, Environment(GAME), sharding.make_mesh(*mesh), 8, 4, **options)


# Published quirks are left to the slow tests.
KINDS = [
    pytest.param(name, marks=pytest.mark.slow) if name.startswith("popgym_") else name
    for name in plugins.names("algorithms")
]


@pytest.mark.parametrize("kind", KINDS)
def test_members_learn_what_they_learn_alone(kind):
    """Members: the defaults, all other values at once, and each other value alone, which must matter."""
    names = population.values_of(kind)
    assert set(names) <= set(OTHER), "a value in VALUES needs another value here"
    default = agent(kind)
    sets = [{}, {name: OTHER[name] for name in names}, *({name: OTHER[name]} for name in names)]
    values = tuple((name, tuple(one.get(name, getattr(default, name)) for one in sets)) for name in names)
    learner, metrics = trained(updater(default, values=values), [5] * len(sets))
    for index, changes in enumerate(sets[:2]):
        alone, alone_metrics = trained(updater(dataclasses.replace(default, **changes)), [5])
        assert distance(slot(learner.params, index), alone.params) < 2e-5
        np.testing.assert_allclose(metrics.means["loss"][index], alone_metrics.means["loss"][0], rtol=1e-4, atol=1e-5)
    for index, changes in enumerate(sets[1:], 1):
        assert distance(slot(learner.params, index), slot(learner.params, 0)) > 1e-4, f"{changes} changed nothing"


def test_members_on_a_mesh_learn_the_same():
    values = (("learning_rate", (1e-4, 1e-3, 1e-2, 1e-1)),)
    one, _ = trained(updater(agent("ppo"), values=values), [0, 0, 1, 1])
    other, _ = trained(updater(agent("ppo"), mesh=(2, 2), values=values), [0, 0, 1, 1])
    assert distance(one.params, other.params) < 2e-5


# The command.


def run(folder, *arguments, algorithm="ppo"):
    return launch.main(["launch", TASK.format(algorithm), *SMALL, f"--workdir={folder}", *arguments])


@pytest.fixture(scope="module")
def trained_population(tmp_path_factory):
    folder = tmp_path_factory.mktemp("population")
    code = run(folder / "program", "--config.population=algorithm.learning_rate=1e-3,1e-2", f"--members={folder / 'm'}")
    assert code == DONE
    return folder


NAME = "algorithm.learning_rate=0.01"


def test_a_member_is_the_run_that_it_would_be_alone(trained_population, tmp_path):
    assert run(tmp_path / "alone", "--config.algorithm.learning_rate=0.01") == DONE
    member = trained_population / "m" / NAME
    assert json.loads((member / "config.json").read_text()) == json.loads((tmp_path / "alone/config.json").read_text())
    found, alone = records(member), records(tmp_path / "alone")
    assert [one.keys() for one in found] == [one.keys() for one in alone]
    for one, other in zip(found, alone, strict=True):
        for key in set(one) - {"train/frames_per_second"}:
            if "second" not in key:
                np.testing.assert_allclose(
                    np.asarray(one[key], float), np.asarray(other[key], float), rtol=1e-3, atol=1e-4
                )
    for name in ("learning_curve.svg", "greedy_episode.gif"):
        assert (member / name).is_file() and (tmp_path / "alone" / name).is_file()


def test_a_member_has_its_part_of_every_list_and_of_the_rate():
    record = {"updates": 4, "frames": [1, 2, 3, 4, 5, 6], "frames_per_second": 600.0, "diagnostics/x": [1, 2]}
    member = members.Member("b", {}, first=2, seeds=2)
    assert member.of_record(record, 6) == record | {"frames": [3, 4], "frames_per_second": 200.0}
    assert "frames_per_second" not in member.of_record({"updates": 0}, 6)


def test_a_member_is_loaded_evaluated_and_extended(trained_population, capsys):
    member = trained_population / "m" / NAME
    last = records(member)[-1]
    for seed in (0, 1):
        one = agents.loading.load(member, seed=seed)
        assert one.updates == last["updates"]
        assert one.params["actor_critic"]
    assert "resuming" not in capsys.readouterr().out
    longer = [part for part in SMALL if "frames" not in part]
    code = launch.main(
        ["launch", TASK.format("ppo"), *longer, f"--workdir={member}", "--config.algorithm.learning_rate=0.01",
         "--config.frames=1024", "--config.schedule_frames=512"]
    )  # fmt: skip
    assert code == DONE, capsys.readouterr()
    assert records(member)[-1]["updates"] == 2 * last["updates"]


def test_folders_that_hold_a_population_stand_for_its_members(trained_population):
    names = {path.name for path in folders.runs_in([str(trained_population)])}
    assert names == {"algorithm.learning_rate=0.001", NAME}
    with pytest.raises(ValueError, match="holds a population"):
        agents.loading.load(trained_population / "program")


def test_the_command_again_trains_nothing(trained_population, capsys):
    before = (trained_population / "program" / "metrics.jsonl").read_bytes()
    code = run(
        trained_population / "program", "--config.population=algorithm.learning_rate=1e-3,1e-2",
        f"--members={trained_population / 'm'}",
    )  # fmt: skip
    assert code == DONE and "2 members complete" in capsys.readouterr().out
    assert (trained_population / "program" / "metrics.jsonl").read_bytes() == before


POPULATION = "--config.population=algorithm.learning_rate=1e-3,1e-2"


def test_members_never_replace_runs_that_are_there(trained_population, tmp_path, capsys):
    folder = trained_population / "m"
    assert run(tmp_path / "p", POPULATION, "--config.algorithm.discount=0.5", f"--members={folder}") == ERROR
    assert "holds a run of another configuration (algorithm.discount" in capsys.readouterr().err
    (tmp_path / "m" / NAME).mkdir(parents=True)
    (tmp_path / "m" / NAME / "notes.txt").touch()
    assert run(tmp_path / "p", POPULATION, f"--members={tmp_path / 'm'}") == ERROR
    assert f"{tmp_path / 'm' / NAME} holds no run" in capsys.readouterr().err
    assert not (tmp_path / "p").exists()


def test_a_complete_population_does_not_claim_what_is_not_there(trained_population, tmp_path, capsys):
    program = trained_population / "program"
    before = (program / "config.json").read_bytes()
    assert run(program, POPULATION, f"--members={tmp_path}") == ERROR
    assert f"{tmp_path / 'algorithm.learning_rate=0.001'} holds no run" in capsys.readouterr().err
    longer = [part for part in SMALL if "frames" not in part]
    where = f"--workdir={program}", f"--members={trained_population / 'm'}"
    assert launch.main(["launch", TASK.format("ppo"), *longer, "--config.frames=1024", POPULATION, *where]) == ERROR
    assert "cannot be extended" in capsys.readouterr().err
    assert (program / "config.json").read_bytes() == before


def test_a_member_that_diverges_stops_no_other(tmp_path, capsys):
    code = run(
        tmp_path / "program", "--config.population=algorithm.learning_rate=1e-3,1e30",
        "--config.algorithm.learning_rate_warm_up=0", "--config.max_skipped=1",
    )  # fmt: skip
    assert code == DIVERGED
    assert "learning_rate=1e+30 diverged" in capsys.readouterr().out
    found = json.loads((tmp_path / "program" / "members.json").read_text())
    assert found["complete"] == ["algorithm.learning_rate=0.001"]
    folder = tmp_path / "program" / "members" / "algorithm.learning_rate=0.001"
    assert np.isfinite(seed_mean(records(folder)[-1]["final/return_partial"]))
    assert not (tmp_path / "program" / "checkpoints").exists()


def test_a_population_of_diverged_members_is_a_diverged_run(tmp_path):
    code = run(
        tmp_path / "program", "--config.population=algorithm.learning_rate=1e29,1e30", "--config.max_skipped=1"
    )  # fmt: skip
    assert code == DIVERGED and not (tmp_path / "program" / "members").exists()
