"""Runs that start from the parameters of another, that train a part of the network, and that are extended."""

import functools
import json
import re
import shutil

import jax
import numpy as np
import pytest
from running import ROOT, final_state, finish, records, same_bits, start, starts

from podarcade import launch
from podarcade.anakin import freezing
from podarcade.runtime import run_files


def arguments(algorithm="ppo", *more, seeds=2, memory="gru"):
    file = f"--config={ROOT}/configs/{algorithm}.py:game=tmaze,memory={memory},preset=smoke"
    return [file, f"--config.seeds={seeds}", "--config.frames=640", *more]


def train(folder, *words):
    assert launch.main(["launch", *words, f"--workdir={folder}"]) == 0
    return folder


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """Return a function that trains a run of an algorithm once and returns its folder."""
    return functools.cache(
        lambda algorithm, seeds=2: train(tmp_path_factory.mktemp("source"), *arguments(algorithm, seeds=seeds))
    )


@pytest.mark.parametrize("algorithm", ["ppo", pytest.param("dqn", marks=pytest.mark.slow)])
def test_a_run_starts_from_the_parameters_of_another(source, algorithm, tmp_path):
    """Its first evaluation is the last one of the other run."""
    folder = source(algorithm)
    words = arguments(algorithm, f"--init_from={folder}", "--config.algorithm.learning_rate=1e-4")
    train(tmp_path, *words)
    before, after = records(folder)[-1], records(tmp_path)[0]
    for twin in ("full", "partial"):
        assert after[f"eval/return_{twin}"] == before[f"eval/return_{twin}"]
    (begun,) = starts(tmp_path)
    assert begun["init_from"] == {"run": str(folder), "updates": before["updates"]}


@pytest.mark.slow
def test_one_seed_starts_all_and_a_step_may_be_chosen(source, tmp_path):
    folder = source("ppo", 1)
    step = min(int(path.name) for path in (folder / "checkpoints").iterdir())
    train(tmp_path, *arguments("ppo", f"--init_from={folder}:{step}", seeds=3))
    first = records(tmp_path)[0]
    assert len(set(first["eval/return_partial"])) == 1
    assert starts(tmp_path)[0]["init_from"]["updates"] == step


def test_target_and_optimiser(source):
    """Target parameters are those of the other run's network; the optimiser is fresh unless it is kept."""
    folder = source("dqn")
    saved, _ = final_state(folder, *arguments("dqn"))
    for keep in (False, True):
        words = arguments("dqn", f"--config.init_from={folder}", f"--config.keep_optimiser={keep}")
        run = launch.build(launch.command_line.load(launch.make_flags(), ["launch", *words]))
        state, fresh = run.init(), run.updater.init(np.arange(2, dtype=np.int32))
        same_bits(state.learner.params, saved.learner.params)
        same_bits(state.learner.target, saved.learner.params)
        same_bits(state.learner.opt_state, saved.learner.opt_state if keep else fresh.learner.opt_state)
        same_bits(state.actors, fresh.actors)


@pytest.mark.slow
def test_two_processes_start_from_a_run_of_one(source, tmp_path):
    words = arguments("ppo", f"--init_from={source('ppo')}")
    code, output = finish(start(*words, "--local_processes=2", f"--workdir={tmp_path}"))
    assert code == 0, output
    assert records(tmp_path)[0]["eval/return_partial"] == records(source("ppo"))[-1]["eval/return_partial"]


def test_the_other_run_is_not_needed_to_resume(source, tmp_path):
    folder = shutil.copytree(source("ppo"), tmp_path / "other")
    words = arguments("ppo", f"--init_from={folder}")
    train(tmp_path / "run", *words)
    shutil.rmtree(folder)
    train(tmp_path / "run", *words)
    assert "init_from" not in starts(tmp_path / "run")[-1]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--init_from=SOURCE:7"], "init_from=.*: step=7; expected latest, best, or one of"),
        (["--init_from=nowhere"], "init_from=nowhere: .* holds no checkpoint"),
        (["--init_from=SOURCE", "--config.seeds=3"], "init_from=.*: it has 2 seeds; expected 1, or 3 as this run"),
        (["--init_from=SOURCE", "--config.network.width=16"], "its params do not fit this run"),
        (["--config.keep_optimiser=true"], "keep_optimiser=True without init_from; expected --init_from=RUN"),
        (["--init_from=SOURCE", "--config.init_from=other"], "--init_from=.*, but config.init_from=other; give one"),
        (["--config.freeze=kernel"], "there is no module 'kernel'; expected some of"),
        (["--config.freeze=encodr"], "there is no module 'encodr'; expected some of"),
        (["--config.freeze=actor_critic"], "freeze=actor_critic leaves no parameter to train"),
    ],
)
def test_what_does_not_fit_is_one_line_and_writes_nothing(source, tmp_path, capsys, more, message):
    words = [word.replace("SOURCE", str(source("ppo"))) for word in more]
    given = {word.partition("=")[0] for word in words}
    plain = [word for word in arguments("ppo") if word.partition("=")[0] not in given]
    assert launch.main(["launch", *plain, *words, f"--workdir={tmp_path / 'new'}"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ") and len(error.splitlines()) == 1
    assert re.search(message, error), error
    assert not (tmp_path / "new").exists()


# Frozen modules.


def test_frozen_modules_keep_every_bit_and_the_others_train(source, tmp_path):
    """Also with the momentum of another run in the optimiser."""
    folder = source("ppo")
    words = arguments(
        "ppo", f"--config.init_from={folder}", "--config.keep_optimiser=true", "--config.freeze=memory_0,enter"
    )
    before, _ = final_state(folder, *arguments("ppo"))
    after, _ = final_state(train(tmp_path, *words), *words)
    names = freezing.frozen(before.learner.params, ["memory_0", "enter"])
    assert 0 < sum(jax.tree.leaves(names)) < len(jax.tree.leaves(names))
    same = jax.tree.map(np.array_equal, before.learner.params, after.learner.params)
    assert same == names


# Longer runs.


@pytest.fixture(scope="module")
def shorter(tmp_path_factory):
    """A run of 700 frames, which are rounded up to whole calls of 128: 768."""
    return train(tmp_path_factory.mktemp("shorter"), *frames(700))


def frames(number, *more):
    return [f"--config.frames={number}" if word.startswith("--config.frames") else word for word in arguments()] + [
        *more
    ]


def test_an_extended_run_is_the_longer_run(shorter, tmp_path, capsys):
    """With schedules that end where the shorter run did, to the last bit."""
    folder, words = shutil.copytree(shorter, tmp_path / "extended"), frames(1280, "--config.schedule_frames=768")
    train(folder, *words)
    assert "extended from 768 to 1,280 frames; schedules still end after 768" in capsys.readouterr().out
    assert starts(folder)[-1]["extended"] == {"from": 768, "to": 1280, "schedule": 768}
    train(tmp_path / "whole", *words)
    same_bits(final_state(folder, *words)[0], final_state(tmp_path / "whole", *words)[0])
    assert json.loads((folder / "config.json").read_text())["frames"] == 1280
    assert launch.main(["launch", *frames(700), f"--workdir={folder}"]) == 1
    assert "holds a run of another configuration (frames: saved 1280, now 700" in capsys.readouterr().err


def test_schedules_that_go_back_are_said_to(shorter, tmp_path, capsys):
    folder = shutil.copytree(shorter, tmp_path / "extended")
    train(folder, *frames(1000))
    out = capsys.readouterr().out
    assert "so that they go back to 75 % of their way; --config.schedule_frames=768 leaves them complete" in out


@pytest.mark.parametrize("more", ["--config.schedule_frames=700", "--config.schedule_frames=1000", "--config.seed=3"])
def test_other_schedules_are_another_run(shorter, tmp_path, capsys, more):
    folder = shutil.copytree(shorter, tmp_path / "extended")
    assert launch.main(["launch", *frames(1280, more), f"--workdir={folder}"]) == 1
    assert "holds a run of another configuration" in capsys.readouterr().err


def test_a_comparison_extends_nothing(shorter):
    config = launch.command_line.load(launch.make_flags(), ["launch", *frames(1280)]).to_dict()
    with pytest.raises(ValueError, match="holds a run of another configuration"):
        run_files.holds_run(config, shorter)
    assert run_files.holds_run(config, shorter, may_extend=True)


def test_a_run_from_before_an_option_existed_is_the_same_run(shorter, tmp_path, capsys):
    folder = shutil.copytree(shorter, tmp_path / "old")
    config = json.loads((folder / "config.json").read_text())
    for name in run_files.ADDED:
        del config[name]
    (folder / "config.json").write_text(json.dumps(config))
    train(folder, *frames(700))
