"""Plug-ins: those of the package by name, a stranger's by file or module, from any directory; broken ones."""

import importlib
import json
import os
import pkgutil
import subprocess
import sys

import pytest
from running import CONFIG, ROOT, SMOKE, load, starts

from podarcade import configuration, launch, plugins
from podarcade.build import build
from podarcade.runtime.metrics import read_metrics

INDRNN = """
import jax
import jax.numpy as jnp
from flax import linen as nn

from podarcade.models.memory import Memory
from podarcade.models.memory.sequential import unroll


class IndRNN(Memory):
    scale: float = 0.5

    def initial(self, batch):
        return jnp.zeros((batch, self.width), jnp.float32)

    @nn.compact
    def __call__(self, carry, x, start):
        u = self.param("u", nn.initializers.constant(self.scale), (self.width,))
        x = nn.Dense(self.width)(x)

        def step(h, inputs):
            x, start = inputs
            h = jnp.where(start[:, None], 0.0, h)
            h = nn.relu(x + u[None] * h)
            return h, h

        return jax.lax.scan(step, carry, (x, start))
"""
INDRNN = INDRNN.replace("from podarcade.models.memory.sequential import unroll\n", "")
VECTOR = """
import dataclasses

import jax
import jax.numpy as jnp
from flax import struct

from podarcade.envs.games import Game


@struct.dataclass
class VectorState:
    time: jax.Array
    score: jax.Array


@dataclasses.dataclass(frozen=True)
class Vector(Game):
    max_steps: int = 4

    LEVELS = {"easy": {}}

    def reset(self, key):
        return VectorState(time=jnp.int32(0), score=jnp.int32(0))

    def step(self, state, action, key):
        right = action == state.time % 5
        state = state.replace(time=state.time + 1, score=state.score + right.astype(jnp.int32))
        return state, right.astype(jnp.float32) / 4, jnp.asarray(False)

    def draw(self, state, partial):
        return jnp.where(partial, 0.0, jax.nn.one_hot(state.time, 4, dtype=jnp.float32))
"""
ENCODER = """
import jax.numpy as jnp
from flax import linen as nn

from podarcade.models.encoders import Encoder


class Mean(Encoder):
    features: int = 8

    @nn.compact
    def __call__(self, frames):
        small = frames.astype(jnp.float32).reshape(frames.shape[0], 4, frames.shape[1] // 4, -1).mean((2, 3)) / 255
        return nn.Dense(self.features)(small)
"""
ALGORITHM = """
import dataclasses

from podarcade.algorithms.pqn import PQN


@dataclasses.dataclass(frozen=True)
class Gentle(PQN):
    reward_scale: float = 3.0
"""


@pytest.fixture
def folder(tmp_path):
    """A stranger's files, and the same game as a module of a package."""
    (tmp_path / "my_package").mkdir()
    (tmp_path / "my_package" / "__init__.py").write_text("")
    cue = (ROOT / "tests" / "cue_game.py").read_text()
    for name, text in [("indrnn", INDRNN), ("mean", ENCODER), ("gentle", ALGORITHM), ("tmaze", cue),
                       ("my_package/tmaze", cue)]:  # fmt: skip
        (tmp_path / f"{name}.py").write_text(text)
    return tmp_path


def test_every_module_in_a_plugin_folder_imports():
    """`names` leaves out what fails to import, and tests of all plug-ins with it."""
    for kind, (package, _) in plugins.CONTRACTS.items():
        modules = set()
        for folder in plugins.FOLDERS.get(kind, (package,)):
            found = {info.name for info in pkgutil.iter_modules(importlib.import_module(folder).__path__)}
            assert not found & modules, "a name is taken twice"
            modules |= found
            for name in found:
                importlib.import_module(f"{folder}.{name}")
        assert plugins.names(kind) and set(plugins.names(kind)) <= modules


@pytest.mark.parametrize("kind", plugins.CONTRACTS)
def test_a_wrong_name_gets_the_nearest_or_all(kind):
    name = plugins.names(kind)[0]
    word = kind.removesuffix("s")
    with pytest.raises(ValueError, match=f"^unknown {word} '{name.upper()}'; did you mean '{name}'\\?$"):
        plugins.find(kind, name.upper())
    expected = ", ".join(plugins.names(kind))
    with pytest.raises(ValueError, match=f"^unknown {word} 'qqqq'; expected one of: {expected}$"):
        plugins.find(kind, "qqqq")


def test_a_helper_module_is_no_plugin():
    with pytest.raises(ValueError, match="unknown memory 'sizes'"):
        plugins.find("memory", "sizes")


def test_plugins_from_files_and_modules_build(folder, monkeypatch):
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(folder)
    config = load(f"{SMOKE},memory=indrnn.py,game=my_package.tmaze,level=medium,encoder=./mean.py,algorithm=gentle.py")
    assert config.memory.to_dict() == {"name": f"{folder}/indrnn.py", "scale": 0.5}
    assert (config.environment.name, config.encoder.name) == ("my_package.tmaze", f"{folder}/mean.py")
    run = build(config)
    assert run.title == "gentle indrnn on CueMedium, partial twin"
    assert type(run.updater.algorithm).__name__ == "Gentle" and run.updater.algorithm.reward_scale == 3.0
    assert run.updater.environment.game.corridor == 16
    assert build(load(f"{SMOKE},game={folder}/tmaze.py")).title == "pqn lru on CueEasy, partial twin"
    with pytest.raises(ValueError, match=r"unknown level of tmaze 'hard'; expected one of: easy, medium"):
        load(f"{SMOKE},game=tmaze.py,level=hard")
    with pytest.raises(ValueError, match=r"unknown option config.memory.scal; did you mean 'config.memory.scale'"):
        load(f"{SMOKE},memory=indrnn.py", "--config.memory.scal=1")
    with pytest.raises(ValueError, match=r"IndRNN.*SIZE"):
        load(f"{SMOKE},memory=indrnn.py,match=parameters")
    assert not any(
        name in plugins.names(kind) for kind in plugins.CONTRACTS for name in ("indrnn", "my_package", "gentle")
    )


def test_a_run_with_plugins_from_files_is_resumed_elsewhere(folder):
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    environment = os.environ | {"PYTHONPATH": str(ROOT)}

    def launch(cwd, *arguments):
        command = [sys.executable, "-m", "podarcade", "launch", *map(str, arguments)]
        done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    short = "--config.evaluation.episodes=2", "--config.evaluation.every=100"
    argument = "configs/pqn.py:preset=smoke,memory=indrnn.py,game=my_package.tmaze"
    output = launch(folder, f"--config={argument}", "--config.frames=256", *short)
    assert "pqn indrnn on CueEasy, partial twin" in output and "complete: 4 updates" in output
    (run,) = (folder / "runs").iterdir()
    assert run.name.startswith("pqn-indrnn-tmaze-easy-partial-smoke-")
    # The module needs its package on the path, the file nothing.
    environment["PYTHONPATH"] += f":{folder}"
    output = launch(elsewhere, f"--config={run}/config.json", f"--workdir={run}")
    assert "complete: 4 updates" in output and len(starts(run)) == 2
    assert json.loads((run / "config.json").read_text())["memory"]["name"] == f"{folder}/indrnn.py"
    assert read_metrics(run / "metrics.jsonl")[-1]["updates"] == 4


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "layer.py: found no public subclass of podarcade.models.memory.Memory; expected one"),
        ("from podarcade.models.memory.lru import LRU", "layer.py: found no public subclass"),
        (f"{INDRNN}\nclass Other(IndRNN):\n    pass\n",
         "layer.py: found 2 public subclasses of Memory (IndRNN, Other); expected one: prefix the others with an "
         "underscore"),
        ("x = (", "layer.py:1: SyntaxError: '(' was never closed"),
        ("\nimport nobody_has_this", "layer.py:2: ModuleNotFoundError: No module named 'nobody_has_this'"),
        ("\n\n1 / 0", "layer.py:3: ZeroDivisionError: division by zero"),
        (INDRNN.replace("scale: float = 0.5", "scale: float"), "layer.py:"),
        (INDRNN.replace("scale: float = 0.5", "scale: tuple = (1, 2)"),
         "memory layer: the default of option 'scale' is (1, 2); expected a number, a string, True or False"),
    ],
)  # fmt: skip
def test_a_wrong_file_is_one_line(tmp_path, text, message):
    file = tmp_path / "layer.py"
    file.write_text(text)
    with pytest.raises(ValueError) as error:
        load(f"{SMOKE},memory={file}")
    seen = str(error.value).replace(f"{tmp_path}/", "")
    assert seen.startswith(message) and len(seen.splitlines()) == 1, seen


def test_missing_files_and_modules_are_one_line(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "half.py").write_text("import nobody_has_this")
    for name, message in [
        ("nowhere/layer.py", "found no file .*/nowhere/layer.py; expected a Python file with a plug-in"),
        ("nobody.has_this", "found no module nobody.has_this; expected an importable module, or the path of a file"),
        ("podarcade.has_this", "found no module podarcade.has_this"),
        ("half.layer", "half.layer: ModuleNotFoundError: No module named 'nobody_has_this'"),
    ]:
        with pytest.raises(ValueError, match=f"^{message}"):
            load(f"{SMOKE},memory={name}")


def test_a_broken_file_in_a_folder_fails_only_what_uses_it(tmp_path, monkeypatch):
    for kind, (package, _) in plugins.CONTRACTS.items():
        (tmp_path / kind).mkdir()
        (tmp_path / kind / "broken.py").write_text("x = 1\nx +\n")
        path = importlib.import_module(package).__path__
        monkeypatch.setattr(importlib.import_module(package), "__path__", [*path, str(tmp_path / kind)])
    for kind in plugins.CONTRACTS:
        assert "broken" not in plugins.names(kind) and plugins.names(kind)
        with pytest.raises(ValueError, match=r"/broken.py:2: SyntaxError: invalid syntax$"):
            plugins.find(kind, "broken")
    assert build(load(SMOKE)).title
    with pytest.raises(ValueError, match=r"/broken.py:2: SyntaxError"):
        load(f"{CONFIG}:memory=broken")


def test_a_broken_game_does_not_break_the_import(tmp_path):
    program = """
import importlib.util, pathlib, sys
spec = importlib.util.find_spec("podarcade")
import podarcade.envs.games as games
games.__path__.append(sys.argv[1])
for name in [name for name in sys.modules if name == "podarcade"]:
    del sys.modules[name]
import podarcade
print(podarcade.make("TetrisEasy").game.obs_size)
"""
    (tmp_path / "broken.py").write_text("x +")
    command = [sys.executable, "-c", program, str(tmp_path)]
    done = subprocess.run(command, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    assert done.stdout.strip() == "128", done.stderr


def test_a_task_without_pixels_ends_without_a_clip(tmp_path, capsys):
    (tmp_path / "vector.py").write_text(VECTOR)
    arguments = f"{SMOKE},game={tmp_path}/vector.py,memory=none", "--config.frames=128", f"--workdir={tmp_path}/run"
    assert launch.main(["launch", *arguments]) == 0, capsys.readouterr().err
    output = capsys.readouterr().out
    assert "pqn none on VectorEasy" in output and "greedy return on the full twin" in output
    assert "no clip of an episode: Vector.render returns no pictures" in output
    assert (tmp_path / "run" / "learning_curve.svg").exists() and not list(tmp_path.rglob("*.gif"))


def test_sections_refuse_unknown_options():
    with pytest.raises(ValueError, match=r"unknown option of memory lru 'state'; did you mean 'states'?"):
        configuration.section("memory", "lru", state=3)
