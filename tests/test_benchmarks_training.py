"""The benchmark of training: operations, bytes, the host's share, sweeps, turns with the released trainer, one run."""

import functools
import json
import pathlib
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from builders import updater
from playing import make

from benchmarks import flops, peers, training, training_report, training_runs, training_settings
from podarcade import plugins
from podarcade.actions import Discrete
from podarcade.algorithms.pqn import PQN
from podarcade.models.encoders.popgym_cnn import PopgymCNN
from podarcade.models.trunks import Trunk

ROOT = pathlib.Path(__file__).parent.parent
SMOKE = f"{ROOT}/configs/pqn_lru.py:game=cartpole,preset=smoke"
# One device, whatever there are: a benchmark of two steps has no use for eight.
SMALL = ["--config.mesh.seed=1", "--config.mesh.data=1", "--config.algorithm.carry_init=stored"]


@functools.cache
def smoke():
    """A configuration that is small, and its run."""
    return training_settings.load([f"--config={SMOKE}", *SMALL])


@pytest.mark.parametrize("form", ["matmul", "xla"])
def test_products_of_the_papers_encoder_are_those_counted_by_hand(form):
    # Places x kernel x channels in x channels out, of the four layers at 128 pixels.
    layers = [62**2 * 5**2 * 3 * 64, 15**2 * 3**2 * 64 * 128, 3**2 * 3**2 * 128 * 256, 256 * 512]
    assert round(sum(layers) / 1e6, 1) == 37.8
    encoder, frames = PopgymCNN(convolution=form), jax.ShapeDtypeStruct((3, 128, 128, 3), jnp.uint8)
    params = jax.eval_shape(encoder.init, jax.random.key(0), frames)
    assert flops.products(encoder.apply, params, frames) == 3 * 2 * sum(layers)
    # Backwards each layer has as much work again for its kernel and for its input; the first input needs no gradient.
    gradient = jax.grad(lambda params, frames: encoder.apply(params, frames).sum())
    assert flops.products(gradient, params, frames) == 3 * 2 * (3 * sum(layers) - layers[0])
    # Seeds side by side make grouped convolutions.
    both = jax.tree.map(lambda x: jax.ShapeDtypeStruct((2, *x.shape), x.dtype), (params, frames))
    assert flops.products(jax.vmap(gradient), *both) == 2 * flops.products(gradient, params, frames)


def test_loops_count_as_often_as_they_run():
    x, weights = jnp.ones((2, 3)), jnp.ones((3, 3))
    once = 2 * 2 * 3 * 3

    def scan(x, weights):
        return jax.lax.scan(lambda x, _: (x @ weights, None), x, None, length=7)[0]

    def branches(x, weights):
        return jax.lax.cond(x[0, 0] > 0, lambda: x @ weights @ weights, lambda: x @ weights)

    assert flops.products(jnp.matmul, x, weights) == once
    assert flops.products(lambda x, weights: (x @ weights, x)[1], x, weights) == 0
    assert flops.products(jax.jit(scan), x, weights) == 7 * once
    assert flops.products(jax.vmap(scan, (0, None)), jnp.ones((5, 2, 3)), weights) == 5 * 7 * once
    assert flops.products(branches, x, weights) == 2 * once
    with pytest.raises(ValueError, match="unknown length"):
        flops.products(lambda x: jax.lax.while_loop(lambda x: x[0, 0] < 9, lambda x: x @ weights, x), x)


@pytest.mark.parametrize(("memory", "mesh", "seeds"), [("lru", (1, 2), 1), ("gru", (1, 1), 2), ("lru", (2, 1), 4)])
def test_an_update_counts_its_parts_as_often_as_it_runs_them(memory, mesh, seeds):
    trunk = Trunk(
        encoder=plugins.find("encoders", "patch"), memory=plugins.find("memory", memory), actions=Discrete(5), width=8
    )
    algorithm = PQN(trunk=trunk, rollout_length=6, burn_in=2, num_epochs=3, num_minibatches=2, carry_init="stored")
    small = updater(make("cartpole"), algorithm, mesh=mesh, num_envs=8)

    def forward(length, batch):
        """Operations of the network over a stretch of time."""
        frames = jax.ShapeDtypeStruct((length, batch, 128, 128, 3), jnp.uint8)
        numbers = [jax.ShapeDtypeStruct((length, batch), dtype) for dtype in (jnp.int32, jnp.float32, bool)]
        params = flops.one_seed(small).learner.params["q"]
        return algorithm.network.apply, params, jax.eval_shape(lambda: algorithm.initial(batch)), frames, *numbers

    def gradient(params, carry, *inputs):
        return jax.grad(lambda params: jnp.square(algorithm.network.apply(params, carry, *inputs)[1]).sum())(params)

    act = flops.products(*forward(1, 8))
    # Of the burn-in the memory is used, and no value.
    burn_in = flops.products(lambda *inputs: algorithm.network.apply(*inputs)[0], *forward(2, 4)[1:])
    learn = burn_in + flops.products(gradient, *forward(7, 4)[1:])
    assert flops.of_update(small, seeds) == {"act": seeds * 6 * act, "update": seeds * (6 * act + 3 * 2 * learn)}


def test_the_peak_is_that_of_a_product(monkeypatch):
    monkeypatch.setattr(flops.layers.Program, "seconds", lambda self, calls=1: 0.5)
    assert flops.matmul_peak("bfloat16", side=8) == 2 * 8**3 / 0.5


def test_stored_bytes_are_those_counted_by_hand():
    _, run = smoke()
    # Clock and score; four numbers of the cart; the twin. Action, the one before, reward, three flags.
    latent, bookkeeping = 2 * 4 + 4 * 4 + 1, 3 * 4 + 3
    carry = 32 * 2 * 4  # as many complex states as the network is wide
    found = training_runs.stored_bytes(run.updater)
    assert found == {"latent": latent, "bookkeeping": bookkeeping, "frame": 128 * 128 * 3, "carry": carry}


def test_the_hosts_share_is_what_lies_between_calls():
    # Calls of 3 seconds after a first one of 9, and pauses of 1, 1 and 2 after a first one of 5.
    begins, ends = [0.0, 14.0, 18.0, 22.0, 27.0], [9.0, 17.0, 21.0, 25.0, 30.0]
    found = training_runs.overhead(begins, ends)
    assert found == {"share": 4 / 13, "host_seconds": 1.0, "program_seconds": 3.0, "calls": 3}
    with pytest.raises(ValueError, match="2 calls"):
        training_runs.overhead([0.0, 2.0], [1.0, 3.0])


def test_a_timed_updater_takes_the_time_of_its_program_and_nothing_else():
    now = [0.0]

    def program(state):
        now[0] += 3.0
        return state + 1, "metrics"

    timed = training_runs.Timed(smoke()[1].updater, program, 0, 8, clock=lambda: now[0])
    state, update = timed.init(None), timed.compile(None, 2)
    for _ in range(4):
        state, metrics = update(state)
        now[0] += 1.0
    assert (state, metrics, timed.total_updates, timed.num_envs) == (4, "metrics", 8, 8)
    assert training_runs.overhead(timed.begins, timed.ends)["share"] == 0.25


def test_rates_and_what_follows_from_them():
    measured = [{"frames": 100, "seconds": seconds} for seconds in (2.0, 1.0, 4.0)]
    assert training_report.rates(measured) == {"median": 50.0, "low": 25.0, "high": 100.0, "repeats": 3}
    row = {
        "seeds": 2,
        "envs": 5,
        "rollout_length": 4,
        "calls": 3,
        "updates_per_call": 2,
        "matmul_peak": {"float32": 960.0},
    }
    found = training_report.derived(row | {"flops": {"update": 80, "act": 20}}, measured)
    assert found["flops_per_frame"] == {"update": 2.0, "act": 0.5}
    assert (found["flops_per_second"], found["of_peak"]) == (240.0, {"float32": 0.25})


def test_means_over_rows_are_geometric():
    rows = [
        {"frames_per_second": {"median": 4.0}},
        {"frames_per_second": {"median": 9.0}, "times_released": 8.0, "released": {"frames_per_second": {"median": 2}}},
        {"frames_per_second": {"median": 6.0}, "times_released": 2.0, "released": {"frames_per_second": {"median": 8}}},
    ]
    found = training_report.summary(rows)
    assert found["frames_per_second"] == pytest.approx(6.0) and found["released_frames_per_second"] == pytest.approx(4)
    assert found["times_released"] == pytest.approx(4.0) and found["minimum_times_released"] == 2.0
    assert "times_released" not in training_report.summary(rows[:1])


def test_a_sweep_is_all_combinations():
    found = training_settings.sweep(
        "a.py:level=hard", {"game": ["x", "y"], "memory": []}, {"num_envs": [8, 16]}, ["config.b=1"]
    )
    assert found == [
        [f"--config=a.py:level=hard,game={game}", f"--config.num_envs={envs}", "--config.b=1"]
        for game in ("x", "y")
        for envs in (8, 16)
    ]
    assert training_settings.sweep("a.py", {"game": []}, {}, []) == [["--config=a.py:"]]


def test_a_sweep_changes_one_thing_at_a_time():
    arguments, values = {"game": ["x", "y"], "memory": []}, {"num_envs": [8], "seeds": []}
    assert training_settings.sweep("a.py", arguments, values, ["config.b=1"], one_at_a_time=True) == [
        ["--config=a.py:", "--config.b=1"],
        ["--config=a.py:game=x", "--config.b=1"],
        ["--config=a.py:game=y", "--config.b=1"],
        ["--config=a.py:", "--config.num_envs=8", "--config.b=1"],
    ]


def test_captions_say_what_is_different():
    row = training_settings.about(*smoke())
    changed = [row, row | {"memory": "none"}, row | {"seeds": 4}]
    each, common = training_report.captions(changed)
    assert each == ["memory lru", "memory none", "4 seeds"] and "CartPoleEasy" in common and "lru" not in common
    each, _ = training_report.captions([*changed, row | {"memory": "none", "seeds": 2}])
    assert each == ["memory lru", "memory none", "memory lru, 4 seeds", "memory none, 2 seeds"]
    assert training_report.captions([row])[0] == ["CartPoleEasy"]
    assert training_report.captions([row, row | {"seeds": 2}])[0] == ["1 seed", "2 seeds"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--games=tetriss"], "did you mean 'tetris'"),
        (["--memories=lru,lruu"], "did you mean 'lru'"),
        (["--dtypes=float16"], "float32, bfloat16"),
        (["--envs=7"], "does not divide"),
        (["--override=config.algorithm.rollouts=3"], "rollouts"),
        (["--against=ale"], "expected popgym-arcade"),
        (["--against=popgym-arcade"], "cannot compare at encoder=patch, trunk=residual, width=32"),
        (["--against=popgym-arcade", "--cpu_devices=2"], "uses all threads"),
        (["--gamess=x"], "gamess"),
        (["tetris"], "unexpected argument 'tetris'"),
    ],
)
def test_what_does_not_exist_is_said_in_a_line(given, said, capsys):
    assert training.main(["training", f"--config={SMOKE}", *given]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ") and said in error and error.count("\n") == 1


def canned(seconds):
    """The answers of a process of ours whose repeats take so long."""
    row = training_settings.about(*smoke())
    kept = {"latent": 25.0, "bookkeeping": 15.0, "frame": 49152.0, "carry": 256.0}
    return {
        "prepare": row | {"calls": 1, "compile_seconds": 1.0, "parameters": 9, "stored_bytes": kept,
                          "flops": {"update": 640, "act": 64}},
        "repeat": {"frames": 60, "seconds": seconds},
        "run": {"frames": 64, "seconds": 10 * seconds},
        "finish": {"host": {"share": 0.5}, "peak_bytes": 2**20, "matmul_peak": {"float32": 1e3}, "parameters": 9},
    }  # fmt: skip


def test_the_released_trainer_takes_turns_and_does_the_same(monkeypatch, tmp_path, capsys):
    log = []

    class Fake:
        def __init__(self, *command):
            self.name = "theirs" if command[0] == "arcade_training" else "ours"

        def ask(self, command, **arguments):
            log.append((self.name, command, arguments))
            return canned(2.0)[command]

        def close(self):
            log.append((self.name, "close", {}))

    monkeypatch.setattr(peers, "Worker", Fake)
    monkeypatch.setattr(peers, "Peer", Fake)
    options = ["--against=popgym-arcade", "--rollout_length=16", "--repeats=2", f"--json={tmp_path}/results.json"]
    config = f"--config={ROOT}/configs/popgym_arcade/pqn.py"
    assert training.main(["training", config, "--games=tetris", *options, "--override=config.mesh.data=1"]) == 0
    assert [(name, command) for name, command, _ in log] == [
        ("ours", "prepare"), ("theirs", "prepare"),
        ("ours", "repeat"), ("theirs", "run"), ("ours", "repeat"), ("theirs", "run"),
        ("theirs", "finish"), ("ours", "finish"), ("theirs", "close"), ("ours", "close"),
    ]  # fmt: skip
    schedule = {"rollout_length": 16, "burn_in": 4, "num_epochs": 4, "num_minibatches": 16}
    asked = {"name": "TetrisEasy", "partial": True, "size": 128, "batch": 16, "schedule": schedule}
    assert log[1][2] == {"platform": "cpu", "updates": 3, **asked}
    assert "--config.algorithm.rollout_length=16" in log[0][2]["arguments"]
    (row,) = json.loads((tmp_path / "results.json").read_text())["rows"]
    assert row["times_released"] == pytest.approx((60 / 2) / (64 / 20))
    assert "9.4 times" in capsys.readouterr().out


def test_a_picture_shows_every_row_and_the_released_trainer(tmp_path):
    row = training_settings.about(*smoke()) | {"frames_per_second": {"median": 50.0, "low": 40.0, "high": 60.0}}
    other = row | {"memory": "none", "times_released": 2.0}
    pictures = []
    for rows in ([row], [row, other], [row, other | {"released": row}]):
        training_report.draw(rows, "cpu", tmp_path / "picture.png")
        pictures.append((tmp_path / "picture.png").read_bytes())
    assert len(set(pictures)) == 3 and all(picture.startswith(b"\x89PNG") for picture in pictures)
    assert training_report.label(other, ("memory", "envs", "seeds")) == "none 8 envs"


@pytest.mark.slow
def test_a_run_is_measured_from_end_to_end(monkeypatch, tmp_path, capsys):
    class Here:
        """A worker in this process, whose answers go through JSON all the same."""

        def __init__(self, *command):
            self.server = training_runs.Server()

        def ask(self, command, **arguments):
            return json.loads(json.dumps(getattr(self.server, command)(**arguments)))

        def close(self):
            pass

    monkeypatch.setattr(peers, "Worker", Here)
    monkeypatch.setattr(flops, "matmul_peak", functools.partial(flops.matmul_peak, side=64, seconds=0.001))
    overrides = [f"--override={item.removeprefix('--')}" for item in SMALL]
    path = tmp_path / "results.json"
    options = ["--repeats=2", "--seconds=0.001", f"--json={path}", f"--profile={tmp_path}/trace", *overrides]
    assert training.main(["training", f"--config={SMOKE}", *options]) == 0
    assert "geometric mean of 1" in capsys.readouterr().out
    (row,) = json.loads(path.read_text())["rows"]
    assert row["frames_per_second"]["repeats"] == 2 and row["compile_seconds"] > 0
    # 8 environments x 8 steps x 2 updates in a call, less the restarts; every call is an update more.
    assert all(0.8 * 128 < one["frames"] <= 128 for one in row["each"])
    assert row["updates"] == 2 * (1 + 2 * row["calls"])
    assert 0 < row["host"]["share"] < 1 and row["host"]["calls"] == training_runs.HOST_CALLS[0] - 2
    assert np.isfinite(row["loss"]) and row["sum_of_parameters"] > 0 and len(row["checksum"]) == 16
    assert row["program_bytes"]["total"] > row["program_bytes"]["temporary"] > 0 and row["peak_bytes"] > 2**20
    assert row["parameters"] == sum(
        leaf.size for leaf in jax.tree.leaves(flops.one_seed(smoke()[1].updater).learner.params)
    )
    assert list((tmp_path / "trace").rglob("*.xplane.pb"))


HUNGRY = """
from benchmarks import peers
before = peers.peak_resident_bytes()
much = b"x" * (200 << 20)
del much
print(before, peers.peak_resident_bytes())
"""


def test_peak_memory_is_of_the_process_itself():
    held = b"x" * (300 << 20)  # a parent's memory is not its child's
    command = [sys.executable, "-c", HUNGRY]
    before, after = map(int, subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout.split())
    assert 0 < before < len(held) and after - before > 180 << 20
