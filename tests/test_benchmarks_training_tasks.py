"""The benchmark of training on tasks against other trainers: selection, equal settings, turns, and the table."""

import json
import types

import jax
import jax.numpy as jnp
import pytest

from benchmarks import markdown, peers, tables_of_speed, training_tasks
from benchmarks.peers import whole_program


def options(*given):
    """Parsed options of the command line."""
    found = training_tasks.make_flags()
    found(["training_tasks", *given])
    return found


def test_peers_train_on_the_same_schedule_with_the_same_width():
    found = training_tasks.settings(options("--tasks=position_only_cartpole"))
    assert {comparison.peer for comparison, _ in found} == {"purejaxrl", "rejax", "memorax"}
    for comparison, setting in found:
        assert setting == {
            "task": comparison.task, "algorithm": comparison.algorithm, "memory": comparison.theirs, "width": 128,
            "envs": 64, "rollout_length": 64, "num_epochs": 4, "num_minibatches": 8, "updates": comparison.updates,
        }  # fmt: skip


def test_overrides_reach_both_sides():
    overrides = ["--override=config.num_envs=32", "--override=config.algorithm.num_epochs=3"]
    ((comparison, setting),) = training_tasks.settings(options("--against=rejax", "--algorithms=pqn", *overrides))
    assert (setting["envs"], setting["num_epochs"], setting["num_minibatches"]) == (32, 3, 8)
    command = comparison.command(["config.num_envs=32"])
    assert command[-1] == "--config.num_envs=32" and "trunk=popgym_mlp" in command[0]
    assert not any("shared" in item for item in command), "PQN has one network"


def test_actor_and_critic_are_one_network_where_the_peers_are():
    for comparison in training_tasks.COMPARISONS:
        shared = [item for item in comparison.command([]) if "shared" in item]
        one = str(comparison.peer == "purejaxrl").lower()
        assert shared == ([f"--config.algorithm.shared={one}"] if comparison.algorithm == "ppo" else [])


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--against=stoix"], "--against=stoix; expected one of: purejaxrl, rejax, memorax"),
        (["--tasks=tmaze"], "expected one of: position_only_cartpole, repeat_previous"),
        (["--memories=lruu"], "expected one of: gru, lru, none"),
        (["--against=rejax", "--memories=lru"], "no peer has this combination"),
        (["--override=config.algorithm.carry_init=recomputed"], "cannot compare at carry_init=recomputed"),
        (["--override=config.algorithm.burn_in=8", "--against=memorax"], "cannot compare at burn_in=8"),
        (["--override=config.seeds=2"], "cannot compare at seeds=2"),
        (["--repeats=0"], "repeats"),
        (["rejax"], "unexpected argument 'rejax'"),
    ],
)
def test_what_cannot_be_compared_is_refused_in_a_line(given, said, monkeypatch, capsys):
    monkeypatch.setattr(training_tasks, "measure_all", lambda *_: pytest.fail("it was measured"))
    assert training_tasks.main(["training_tasks", *given]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ") and said in error and error.count("\n") == 1


ANSWERS = {
    "ours": {
        "prepare": {"calls": 3, "compile_seconds": 4.0, "first_call_seconds": 1.0, "seeds": 1, "envs": 64,
                    "rollout_length": 64, "updates_per_call": 2, "parameters": 1000,
                    "flops": {"update": 640, "act": 64}},
        "repeat": {"frames": 60, "seconds": 2.0},
        "finish": {"host": {"share": 0.25}, "peak_bytes": 2**21, "matmul_peak": {"float32": 1e3}, "checksum": "a"},
    },
    "theirs": {
        "prepare": {"calls": 1, "compile_seconds": 5.0, "versions": {"jax": "0.10.2"}},
        "run": {"frames": 64, "seconds": 4.0},
        "finish": {"parameters": 1500, "peak_bytes": 2**20, "checksum": "b"},
    },
}  # fmt: skip


def test_ours_and_the_peer_take_turns(monkeypatch, tmp_path, capsys):
    log = []

    class Fake:
        def __init__(self, *command):
            self.name = "theirs" if command[0] == "rejax_training" else "ours"

        def ask(self, command, **arguments):
            log.append((self.name, command, arguments))
            return ANSWERS[self.name][command]

        def close(self):
            log.append((self.name, "close", {}))

    monkeypatch.setattr(peers, "Worker", Fake)
    monkeypatch.setattr(peers, "Peer", Fake)
    monkeypatch.setattr(peers, "python", lambda peer, home: log.append(("environment", peer, home.name)))
    path = tmp_path / "results" / "found.json"
    given = ["--against=rejax", "--algorithms=ppo", "--repeats=2", "--seconds=3", "--peers=apart", f"--json={path}"]
    assert training_tasks.main(["training_tasks", *given]) == 0
    assert log.pop(0) == ("environment", "rejax_training", "apart")
    assert [(name, command) for name, command, _ in log] == [
        ("ours", "prepare"), ("theirs", "prepare"),
        ("ours", "repeat"), ("theirs", "run"), ("ours", "repeat"), ("theirs", "run"),
        ("theirs", "finish"), ("ours", "finish"), ("theirs", "close"), ("ours", "close"),
    ]  # fmt: skip
    assert log[1][2]["task"] == "position_only_cartpole" and log[1][2]["platform"] == "cpu"
    assert log[0][2]["seconds"] == log[1][2]["seconds"] == 3.0
    found = json.loads(path.read_text())
    (row,) = found["rows"]
    assert row["times"] == pytest.approx((60 / 2) / (64 / 4)) and found["repeats"] == 2
    assert row["checksum"] == "a" and row["theirs"]["checksum"] == "b" and row["theirs"]["num_epochs"] == 4
    assert row["frames_per_second"] == {"median": 30.0, "low": 30.0, "high": 30.0, "repeats": 2}
    said = capsys.readouterr().out
    assert "rejax none" in said and "geometric mean of the ratios: 1.88" in said and said.count("16 (16 to 16)") == 1


def test_a_peers_program_is_called_on_its_own_results():
    def make(setting):
        return whole_program.Training(
            train=lambda count, weights: (count + setting.updates, weights * 2),
            arguments=(jnp.int32(0), jnp.ones(3, jnp.float32)),
            proceed=lambda results: results,
            params=lambda results: results[1],
        )

    server = whole_program.Server(make, "jax")
    sizes = dict.fromkeys(whole_program.Setting._fields, 1) | {"envs": 5, "rollout_length": 4, "updates": 2}
    prepared = server.prepare(jax.default_backend(), 1e-9, **sizes)
    assert prepared["calls"] == 1 and prepared["compile_seconds"] > 0 and prepared["first_call_seconds"] > 0
    assert prepared["versions"] == {"jax": jax.__version__} and prepared["program_bytes"]["total"] >= 2 * 16
    before = server.finish()
    assert (before["parameters"], before["sum_of_parameters"]) == (3, 6.0)
    server._calls = 3
    measured = server.run()
    assert measured["frames"] == 3 * 40 and measured["seconds"] > 0
    after = server.finish()
    assert after["sum_of_parameters"] == 6.0 * 2**3 and after["checksum"] != before["checksum"]
    assert int(server._arguments[0]) == 2 * 4, "the results of a call were not the arguments of the next"
    with pytest.raises(RuntimeError, match="ours on abacus"):
        server.prepare("abacus", 1.0, **sizes)


def test_code_that_pip_cannot_install_is_checked_out_at_a_commit(monkeypatch, tmp_path):
    ran = []

    def run(command, check):
        ran.append(command)
        (tmp_path / "purejaxrl_training").mkdir(exist_ok=True)

    monkeypatch.setattr(peers, "subprocess", types.SimpleNamespace(run=run))
    address, commit = peers.CHECKOUTS["purejaxrl_training"]
    assert peers.python("purejaxrl_training", tmp_path) == tmp_path / "purejaxrl_training" / "bin" / "python"
    *_, clone, checkout = ran
    assert clone[:2] == ["git", "clone"] and address in clone and checkout[-1] == commit and len(commit) == 40
    assert clone[-1] in checkout and len(ran) == 4
    peers.python("purejaxrl_training", tmp_path)
    assert len(ran) == 4, "a complete environment was made again"
    monkeypatch.setitem(peers.CHECKOUTS, "purejaxrl_training", (address, "0" * 40))
    peers.python("purejaxrl_training", tmp_path)
    assert len(ran) == 8, "another commit needs another environment"


def test_the_table_shows_both_sides(monkeypatch):
    speed = {"median": 3000.0, "low": 2900.0, "high": 3100.4}
    theirs = {"memory": "gru", "parameters": 1234, "peak_bytes": 3 * 2**20, "compile_seconds": 9.6}
    row = {
        "task": "repeat_previous", "algorithm": "ppo", "memory": "lru", "peer": "purejaxrl", "times": 1.5,
        "parameters": 2345, "peak_bytes": 2**21, "compile_seconds": 4.2, "frames_per_second": speed,
        "theirs": theirs | {"frames_per_second": {"median": 2000.0, "low": 1999.0, "high": 2001.0}},
    }  # fmt: skip
    monkeypatch.setattr(markdown, "result", lambda name: {"training-tasks-cpu": {"rows": [row]}}[name])
    assert tables_of_speed.training_tasks().splitlines()[2] == (
        "| `repeat_previous` | ppo, lru | 3,000 (2,900 to 3,100) | purejaxrl, gru | 2,000 (1,999 to 2,001) | 1.50 "
        "| 2,345 / 1,234 | 2 MiB / 3 MiB | 4 s / 10 s |"
    )
