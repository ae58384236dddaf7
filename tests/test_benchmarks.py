"""What benchmarks measure with: checksums, programs, samples, peers."""

import importlib
import json
import sys
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import struct
from playing import GAMES, fingerprint, make
from task_playing import TASKS

from benchmarks import checkpoints, layers, measure, names, peers, samples, task_speed
from benchmarks.peers import latents
from podarcade.envs.environment import Environment, environment_names
from podarcade.models.memory.lru import LRU
from podarcade.models.memory.scan import FORMS
from podarcade.models.platform import tracing_for


def test_checksum_depends_on_every_byte():
    frames = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3), dtype=np.uint8)
    checksum = jax.jit(measure.checksum)
    before = np.asarray(checksum(frames))
    for place in np.random.default_rng(1).integers(0, 16 * 16 * 3, 20):
        changed = frames.copy()
        changed[1].reshape(-1)[place] ^= 1
        after = np.asarray(checksum(changed))
        assert after[0] == before[0] and after[1] != before[1]


@pytest.mark.parametrize("dtype", ["float32", "int32", "uint32", "bool"])
def test_checksum_depends_on_every_value_of_every_output(dtype):
    values = np.random.default_rng(0).integers(0, 2, (3, 5)).astype(dtype)
    outputs = {"frames": np.zeros((3, 2, 2, 3), np.uint8), "ends": np.zeros(3, bool), "values": values}
    before = np.asarray(measure.checksum(outputs))
    for column in range(5):
        changed = values.copy()
        changed[1, column] = 1 - changed[1, column]
        np.testing.assert_array_equal(measure.checksum(outputs | {"values": changed}) != before, [False, True, False])
    ended = measure.checksum(outputs | {"ends": np.array([True, False, True])})
    np.testing.assert_array_equal(ended - before, [1, 0, 1])


def test_a_program_plays_draws_and_adds_up_every_frame():
    environment = Environment(make("cartpole"))

    def step(key, state, action):
        state, time_step = environment.step(state, action)
        return state, time_step.observation

    program = measure.Program(lambda key: environment.reset(key)[0], step, batch=4, steps=3, frames=True)
    assert program.checksum == 0 and program.frames_per_call == 12
    assert program.seconds(2) > 0 and program.compile_seconds > 0 and program.bytes > 4 * 128 * 128 * 3
    once = program.checksum
    program.seconds()
    assert program.checksum > once > 0
    latent = measure.Program(lambda key: environment.reset(key)[0], step, batch=4, steps=3, frames=False)
    latent.seconds()
    assert latent.checksum == 0 and latent.bytes < 4 * 128 * 128 * 3, "the latent step draws"


def test_a_copy_takes_time():
    assert measure.copy_program(8, 128, 4)() > 0


def test_episodes_have_return_length_and_kind_of_end():
    reward = np.array([[0.5, 0.0, -1.0], [0.25, 0.0, 9.0], [7.0, 0.0, 9.0]])
    done = np.array([[False, False, True], [True, False, False], [True, True, True]])
    found = samples.episodes({"reward": reward, "done": done}, limit=3)
    np.testing.assert_array_equal(found["return"], [0.75, 0.0, -1.0])
    np.testing.assert_array_equal(found["length"], [2, 3, 1])
    np.testing.assert_array_equal(found["end"], [2, 4, 0])
    with pytest.raises(AssertionError, match="did not end"):
        samples.episodes({"reward": reward, "done": done & False}, limit=3)


def test_samples_are_separated_only_when_they_differ():
    generator = np.random.default_rng(0)
    one, two = generator.normal(0, 1, (2, 2000))
    same, moved, wider = samples.compare(one, two), samples.compare(one, two + 0.3), samples.compare(one, 2 * two)
    assert abs(same["standard_errors"]) < 3 and same["gap"] < same["max_gap"]
    assert moved["standard_errors"] < -6 and moved["gap"] > moved["max_gap"] and abs(moved["cohens_d"] + 0.3) < 0.1
    assert wider["gap"] > wider["max_gap"], "equal means hide unequal distributions"
    constant = samples.compare(np.full(50, -1.0), np.full(50, -1.0 + 1e-7))
    assert constant["standard_errors"] == constant["cohens_d"] == constant["gap"] == 0


def test_every_game_can_be_compared_with_the_released_one():
    for game in GAMES:
        assert hasattr(latents, f"_{game}"), f"no latent states of {game}"


def test_latents_of_boards_are_turned():
    cells = np.arange(16).reshape(1, 4, 4) % 3
    one = np.ones(1, int)
    theirs = {"action_x": 2 * one, "action_y": one, "mine_grid": cells, "viewed_count": 5 * one}
    state = latents.ours("minesweeper", theirs | {"timestep": 7 * one, "score": 3 * one})
    assert (state.row[0], state.column[0], state.repeats[0], state.time[0], state.score[0]) == (1, 2, 5, 7, 3)
    np.testing.assert_array_equal(state.cells[0], cells[0].T)


def test_games_and_tasks_are_measured_apart():
    games, tasks = names.environments(tasks=False), names.environments(tasks=True)
    assert len(games) == len(GAMES) and len(tasks) == len(TASKS)
    assert "CartPoleEasy" in games and "TMazeEasy" in tasks and "CartPoleHard" not in games
    every = names.environments(tasks=False, levels=True) + names.environments(tasks=True, levels=True)
    assert sorted(every) == sorted(environment_names()) and len(every) > len(games) + len(tasks)


def test_counterparts_of_tasks_in_gymnax_are_measured_tasks():
    assert {other.task for other in task_speed.COUNTERPARTS} < set(names.environments(tasks=True))


class Gymnax:
    """A peer that plays ten transitions in two seconds."""

    def __init__(self):
        self.asked = []

    def ask(self, command, **arguments):
        self.asked.append((command, arguments["name"]))
        run = {"frames": 10, "seconds": 2.0, "checksum": 7}
        return run if command == "run" else {"environment": arguments["name"]}


def test_tasks_take_turns_with_their_counterparts(capsys):
    gymnax = Gymnax()
    setting = {"partial": True, "batch": 4, "steps": 3, "seconds": 1e-4, "gymnax": gymnax}
    pairs = [task_speed.Pair(name, **setting) for name in ("PositionOnlyPendulumEasy", "TMazeEasy")]
    assert gymnax.asked == [("prepare", "Pendulum-v1")], "TMaze has no counterpart"
    pendulum, maze = task_speed.measure(pairs, 2)
    assert gymnax.asked[1:] == 2 * [("run", "Pendulum-v1")]
    for row in (pendulum, maze):
        speed = row["transitions_per_second"]
        assert 0 < speed["low"] <= speed["median"] <= speed["high"] and speed["repeats"] == 2
        assert row["checksum"] > 0 and row["twin"] == "partial" and row["compile_seconds"] > 0
        assert row["bytes_per_environment"] > 20
    assert pendulum["gymnax"]["times"] == pendulum["transitions_per_second"]["median"] / 5 and "gymnax" not in maze
    assert pendulum["gymnax"]["parameters"] == {"max_steps_in_episode": 200} and pendulum["gymnax"]["checksum"] == 7
    assert capsys.readouterr().out.count("Easy") == 2


class Walk:
    """An environment with the interface of gymnax: the place moves by an action in [-2, 2], and its cosine is shown."""

    def action_space(self, params):
        return types.SimpleNamespace(shape=(1,), low=-2.0, high=2.0)

    def reset(self, key, params):
        return jnp.zeros(1), jnp.float32(params.start)

    def step(self, key, state, action, params):
        state = state + action[0]
        return jnp.cos(state)[None], state, jnp.float32(1.0), state > 9, state < -9, {}


@struct.dataclass
class WalkParams:
    start: float = 0.0


def test_environments_of_gymnax_are_played(monkeypatch):
    library = types.SimpleNamespace(make=lambda name: (Walk(), WalkParams()))
    monkeypatch.setitem(sys.modules, "gymnax", library)
    monkeypatch.delitem(sys.modules, "benchmarks.peers.gymnax_tasks", raising=False)
    peer = importlib.import_module("benchmarks.peers.gymnax_tasks")
    monkeypatch.setattr(peer.importlib.metadata, "version", lambda name: "1.0.1")
    about = peer.prepare("Walk-v0", parameters={"start": 8.0}, batch=4, steps=3, seconds=1e-4)
    assert about["environment"] == "Walk-v0" and about["version"] == "1.0.1" and about["compile_seconds"] > 0
    found = peer.run("Walk-v0")
    assert found["frames"] % 12 == 0 and found["frames"] > 0 and found["seconds"] > 0 and found["checksum"] > 0


def test_what_cannot_be_measured_is_refused():
    assert names.chosen([], True, ["gymnax"]) == names.environments(tasks=True)
    assert names.chosen(["TetrisHard"], False, ["ale"]) == ["TetrisHard"]
    for arguments, message in [
        (([], True, ["ale"]), "--against=ale; expected one of: gymnax"),
        (([], False, ["gymnax"]), "--against=gymnax; expected one of: popgym-arcade, envpool, ale"),
        ((["TMazeEasy"], False, []), "--games=TMazeEasy; expected a game with pixels, or --tasks"),
        ((["TetrisEasy"], True, []), "--games=TetrisEasy; expected a task without pixels"),
    ]:
        with pytest.raises(ValueError, match=message):
            names.chosen(*arguments)


PEER = """
from benchmarks import peers
print("noise of a library")
peers.serve({"add": lambda one, two: one + two, "fail": lambda: 1 / 0, "leave": lambda: exit(3)})
"""


def test_peers_answer_or_return_their_error(tmp_path, monkeypatch):
    (tmp_path / "toy.py").write_text(PEER, encoding="utf-8")
    monkeypatch.setattr(peers, "python", lambda peer, home: sys.executable)
    monkeypatch.setattr(peers, "SCRIPTS", tmp_path)
    peer = peers.Peer("toy", tmp_path)
    assert peer.ask("add", one=1, two=2) == 3
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        peer.ask("fail")
    assert peer.ask("add", one="a", two="b") == "ab"
    with pytest.raises(RuntimeError, match="ended with code 3"):
        peer.ask("leave")


def test_the_same_bytes_in_another_order_are_another_fingerprint():
    frames = jnp.arange(48, dtype=jnp.uint8).reshape(1, 4, 4, 3)
    assert fingerprint(frames)[0] != fingerprint(frames[:, ::-1])[0]


def test_the_forms_of_a_layer_are_timed_on_one_function():
    found = {}
    for form in FORMS:
        programs = layers.layer_programs(LRU(width=8, form=form), 20, 2)
        assert set(programs) == {"forward", "forward_backward"}
        for direction, program in programs.items():
            assert program.calls_for(0.01) >= 1 and program.seconds() > 0 and program.compile_seconds > 0
            found.setdefault(direction, []).append(program.checksum)
    for checksums in found.values():
        np.testing.assert_allclose(checksums, checksums[0], rtol=1e-4)
    assert found["forward_backward"][0] > found["forward"][0] > 0, "gradients are results too"


def test_the_fused_form_is_timed_on_accelerators_only():
    assert layers.compiled_forms(FORMS) == ["sequential", "associative", "chunked"]
    for name in ("gpu", "tpu"):
        with tracing_for(name):
            assert layers.compiled_forms(FORMS) == list(FORMS)


def test_the_sizes_of_a_layer():
    row = layers.size_row("lru", LRU, 32, "parameters")
    assert row["size"] == "states=31" and row["carry_bytes"] == 2 * 4 * 31
    assert row["parameters"] == 4 * 32 * 31 + 3 * 31 + 32
    assert 2 * 4 * 32 * 31 < row["flops_per_step"] < 2.5 * 4 * 32 * 31
    assert layers.size_row("lru", LRU, 32, "width")["size"] == "states by width"


def test_checkpoints_are_timed_to_the_end(tmp_path, capsys):
    checkpoints.main(["checkpoints", "--megabytes=0.5,2", "--repeats=2", f"--json={tmp_path}/found.json"])
    rows = json.loads((tmp_path / "found.json").read_text())["rows"]
    assert [round(row["megabytes"], 2) for row in rows] == [0.5, 2.0]
    for row in rows:
        assert 0 < row["blocked_seconds"] <= row["longest_blocked_seconds"]
        assert row["promised_seconds"] == pytest.approx(0.1 + row["megabytes"] / 1e3)
        assert row["written_seconds"] > 0 and row["restored_seconds"] > 0
    assert capsys.readouterr().out.count("training blocked") == 2


@pytest.mark.parametrize("argument", ["--megabytes=big", "--megabytes=0", "--repeats=0"])
def test_sizes_that_are_none_are_refused(argument):
    with pytest.raises(SystemExit, match=r"error: .*(expected|must be)"):
        checkpoints.main(["checkpoints", argument])
