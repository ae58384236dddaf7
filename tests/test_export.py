"""Agents and metrics for other programs."""

import csv
import functools
import importlib
import json

import jax
import numpy as np
import pytest
from running import ROOT, train

import podarcade
from podarcade import export, plugins
from podarcade.runtime.leaves import named_leaves
from podarcade.runtime.metrics import read_metrics


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Return a function that trains a run once and returns its folder."""
    return functools.cache(
        lambda choice, *more: train(
            tmp_path_factory.mktemp("run"), f"--config={ROOT}/configs/{choice},preset=smoke", *more
        )
    )


def command(*words):
    return export.main(["export", *map(str, words)])


def test_parameters_as_safetensors(trained, tmp_path, capsys):
    reader = pytest.importorskip("safetensors")
    run = trained("ppo.py:game=tmaze,memory=gru", "--config.seeds=2")
    assert command(run, "--seed=1", f"--output={tmp_path}/agent") == 0
    agent = podarcade.load(run, seed=1)
    with reader.safe_open(tmp_path / "agent/agent.safetensors", "numpy") as file:
        about, found = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    expected = named_leaves(agent.params)
    assert found.keys() == expected.keys()
    for name, array in found.items():
        np.testing.assert_array_equal(array, expected[name])
    assert about["seed"] == "1" and json.loads(about["config"]) == agent.config.to_dict()
    card = (tmp_path / "agent/README.md").read_text(encoding="utf-8")
    mean = agent.play(export.EPISODES)["return_partial"].mean()
    assert "# ppo gru on TMazeEasy, partial twin" in card and f"| partial | 100 | {mean:.3f} |" in card
    assert "model card" in capsys.readouterr().out


STEPS = [
    "ppo.py:game=tmaze,memory=lru",
    "pqn.py:game=autoencode,memory=gru",
    "ppo.py:game=position_only_pendulum,memory=none",
    pytest.param("dqn.py:game=repeat_previous,memory=transformer", marks=pytest.mark.slow),
    *(
        pytest.param(f"ppo.py:game=tmaze,memory={name}", marks=pytest.mark.slow)
        for name in plugins.names("memory")
        if name != "lru"
    ),
]


@pytest.mark.parametrize("choice", STEPS)
def test_the_acting_step_as_onnx_is_that_of_jax(trained, tmp_path, choice):
    """Pixels and vectors, discrete and continuous actions; the command compares both along an episode."""
    pytest.importorskip("jax2onnx")
    assert command(trained(choice), "--format=onnx", f"--output={tmp_path}", "--batch=2") == 0
    assert "differs from JAX by at most" in (tmp_path / "README.md").read_text()


def test_a_step_that_differs_is_refused(trained, tmp_path, monkeypatch):
    """The step is compared with the agent itself: other parameters in the file are noticed."""
    pytest.importorskip("jax2onnx")
    agent = podarcade.load(trained("ppo.py:game=tmaze,memory=lru"))
    other = agent.replace(params=jax.tree.map(lambda x: x + 0.1, agent.params))
    step = export.export.acting_step
    monkeypatch.setattr(export.export, "acting_step", lambda _: step(other))
    with pytest.raises(ValueError, match=r"the exported step differs from JAX by .*; removed"):
        export.export.write_onnx(agent, tmp_path / "agent.onnx")
    assert not (tmp_path / "agent.onnx").exists()


@pytest.mark.parametrize(
    ("expected", "found", "apart"),
    [
        ([1.0, 2.0], [1.0, 2.5], 0.25),
        ([0.0], [0.1], 0.1),
        ([1.0, 1.0], [np.nan, 1.0], np.inf),
        ([np.inf], [np.inf], 0.0),
    ],
)
def test_what_is_not_a_number_is_far_from_everything(expected, found, apart):
    assert export.export.difference(np.array(expected), np.array(found)) == pytest.approx(apart)


# Metrics.


def test_metrics_of_runs_are_one_tidy_table(trained, tmp_path):
    runs = [
        trained("ppo.py:game=tmaze,memory=gru", "--config.seeds=2"),
        trained("ppo.py:game=tmaze,memory=lru"),
    ]
    assert command(*runs, "--format=csv", f"--output={tmp_path}/lr=0.001") == 0
    with open(tmp_path / "lr=0.001.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {"config.memory.name", "config.seeds"} <= rows[0].keys() and "config.num_envs" not in rows[0]
    for run, seeds in zip(runs, (2, 1), strict=True):
        last = read_metrics(run / "metrics.jsonl")[-1]
        found = [r for r in rows if r["run"] == str(run) and int(r["updates"]) == last["updates"]]
        shown = [r for r in found if r["metric"] == "eval/return_partial"]
        assert [int(r["seed"]) for r in shown] == list(range(seeds))
        assert [float(r["value"]) for r in shown] == np.atleast_1d(last["eval/return_partial"]).tolist()
        assert [float(r["frames"]) for r in shown] == np.atleast_1d(last["frames"]).tolist()
        shared = next(r for r in found if r["metric"] == "frames_per_second")
        assert shared["seed"] == ("" if seeds == 2 else "0")


def test_parquet_is_the_same_table(trained, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    runs = [trained("ppo.py:game=tmaze,memory=gru", "--config.seeds=2"), trained("ppo.py:game=tmaze,memory=lru")]
    assert command(*runs, "--format=parquet", f"--output={tmp_path}/metrics.parquet") == 0
    table = parquet.read_table(tmp_path / "metrics.parquet").to_pydict()
    expected = export.frames.tidy(runs)
    assert table.keys() == expected.keys()
    for name in ("run", "seed", "metric", "value", "config.memory.name"):
        assert table[name] == expected[name]


# Errors.


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "no run given"),
        (["nowhere"], "nowhere holds no run"),
        (["RUN", "RUN"], "2 runs; --format=safetensors exports the agent of one"),
        (["RUN", "--format=pickel"], "unknown format 'pickel'; expected one of"),
        (["RUN", "--seed=4"], "seed=4; the run in"),
        (["RUN", f"--output={ROOT}"], "holds other files"),
        (["nowhere", "--format=csv"], "nowhere holds no run: config.json cannot be read"),
    ],
)
def test_bad_input_is_one_line(trained, capsys, words, message):
    run = trained("ppo.py:game=tmaze,memory=gru", "--config.seeds=2")
    assert command(*[run if word == "RUN" else word for word in words]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ") and message in error and len(error.splitlines()) == 1


@pytest.mark.parametrize(
    ("form", "package", "remedy"),
    [
        ("safetensors", "safetensors", "pip install safetensors"),
        ("parquet", "pyarrow", "pip install pyarrow"),
        ("onnx", "jax2onnx", "pip install --no-deps jax2onnx"),
    ],
)
def test_a_missing_package_is_one_line_with_the_remedy(trained, tmp_path, capsys, monkeypatch, form, package, remedy):
    imported = importlib.import_module

    def missing(name, *rest):
        if name.partition(".")[0] == package:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return imported(name, *rest)

    monkeypatch.setattr(importlib, "import_module", missing)
    run = trained("ppo.py:game=tmaze,memory=gru", "--config.seeds=2")
    assert command(run, f"--format={form}", f"--output={tmp_path}/x.{form}") == 1
    error = capsys.readouterr().err
    assert f"--format={form} needs {package}: " in error and remedy in error and len(error.splitlines()) == 1
