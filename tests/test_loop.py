"""The loop resumes as if it had never stopped, and never resumes from a bad state."""

import dataclasses
import functools
import io
import itertools
import json
import os
import signal
import threading
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from builders import dqn, ppo, pqn, updater
from probes import Probe
from rich.console import Console as Screen

from podarcade.anakin.update import Updater
from podarcade.runtime import checkpoint, loop
from podarcade.runtime.console import Console
from podarcade.runtime.digests import digest_words, digests
from podarcade.runtime.leaves import named_leaves, num_bytes
from podarcade.runtime.metrics import read_metrics

NEVER = 10**9
CLOCKS = ("seconds", "frames_per_second", "eval/seconds", "random/seconds", "final/seconds")


@dataclasses.dataclass(frozen=True)
class Sick(Probe):
    """One long episode; rewards are NaN after step `since`, until step `until`."""

    since: int = NEVER
    until: int = NEVER

    def step(self, state, action, key):
        state, reward, terminal = super().step(state, action, key)
        return state, jnp.where((state.time > self.since) & (state.time <= self.until), jnp.nan, reward), terminal


@dataclasses.dataclass
class Scores:
    """An evaluator that returns given scores in turn."""

    scores: list[float]
    episodes: int = 1

    def compile(self, params):
        following = itertools.chain(self.scores, itertools.repeat(0.0))
        return lambda *_: {"return": np.full((1, 2), next(following), np.float32)}


class Once(Updater):
    """An updater that compiles once for all starts of its runs."""

    def compile(self, state, updates):
        programs = _programs.setdefault(id(self), {})
        if updates not in programs:
            programs[updates] = super().compile(state, updates)
        return programs[updates]


_programs = {}


@functools.cache
def trainer(since, until, memory, carry_init, mesh, kind):
    game = Sick(length=1000, pays="match", always=True, since=since, until=until)
    # A ring that is full and overwritten, drawn from by priorities.
    options = {"capacity": 16 * 16 * 4, "priority_exponent": 0.6} if kind is dqn else {}
    plain = updater(game, kind(memory, carry_init=carry_init, **options), updates=8, mesh=mesh)
    return Once(**{field.name: getattr(plain, field.name) for field in dataclasses.fields(plain)})


def make(since=NEVER, until=NEVER, memory="none", carry_init="recomputed", mesh=(1, 1), scores=(), kind=pqn, **options):
    """Eight updates of 16 steps and 4 gradient steps, saved after every second."""
    defaults = {"updates_per_call": 1, "evaluate_every": 100, "save_every": 2, "keep": 9, "title": ""}
    return loop.Run(trainer(since, until, memory, carry_init, mesh, kind), Scores(scores), (5,), **(defaults | options))


def after(asks, number=signal.SIGTERM):
    """Return a request to stop after this number of updates; asked twice before the first update."""
    counter = itertools.count(-1)
    return in_main_thread(lambda: number if next(counter) >= asks else 0)


def in_main_thread(stop_requested):
    """Return a request that ignores the polls of the thread that acknowledges signals, which come at any time."""
    return lambda: stop_requested() if threading.current_thread() is threading.main_thread() else 0


def steps(workdir):
    return sorted(int(path.name) for path in (workdir / "checkpoints").iterdir())


def records(workdir):
    return [{k: v for k, v in record.items() if k not in CLOCKS} for record in read_metrics(workdir / "metrics.jsonl")]


def everything(state):
    """Return the digests of all leaves by path."""
    leaves = jax.tree_util.tree_leaves_with_path(state)
    return digests({jax.tree_util.keystr(path): leaf for path, leaf in leaves if leaf.size})


@pytest.mark.parametrize(
    ("memory", "carry_init", "kind"),
    [
        ("lru", "recomputed", pqn),
        pytest.param("gated_deltanet", "stored", dqn, marks=pytest.mark.slow),
        pytest.param("lru", "recomputed", ppo, marks=pytest.mark.slow),
    ],
)
def test_a_run_stopped_anywhere_ends_in_the_same_state(tmp_path, memory, carry_init, kind):
    run = make(memory=memory, carry_init=carry_init, kind=kind)
    straight = loop.train(run, tmp_path / "straight")
    assert (straight.signal, straight.progress.updates) == (0, 8)
    for asks, done in ((1, 1), (2, 3), (1, 4)):
        outcome = loop.train(run, tmp_path / "stopped", after(asks))
        assert (outcome.signal, outcome.progress.updates) == (signal.SIGTERM, done)
        assert steps(tmp_path / "stopped")[-1] == done
    resumed = loop.train(run, tmp_path / "stopped")
    assert everything(resumed.state) == everything(straight.state)
    assert resumed.progress.as_dict() | {"seconds": 0} == straight.progress.as_dict() | {"seconds": 0}
    assert records(tmp_path / "stopped") == records(tmp_path / "straight")
    assert [record["updates"] for record in records(tmp_path / "stopped")] == list(range(9))


def test_a_run_resumes_on_eight_four_two_and_one_devices(tmp_path):
    straight = loop.train(make(kind=dqn), tmp_path / "straight")
    for number, asks in ((8, 2), (4, 1), (2, 2)):
        loop.train(make(mesh=(1, number), kind=dqn), tmp_path / "moved", after(asks))
    assert steps(tmp_path / "moved")[-1] == 5
    moved = loop.train(make(kind=dqn), tmp_path / "moved")
    for one, other in zip(*(jax.tree.leaves(found.state.replay) for found in (straight, moved)), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)
    for one, other in zip(*(jax.tree.leaves(found.state.actors.env) for found in (straight, moved)), strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(straight.state.actors.key, moved.state.actors.key)
    frames = [[record["frames"] for record in records(tmp_path / name)] for name in ("moved", "straight")]
    assert frames[0] == frames[1]
    for one, other in zip(*(jax.tree.leaves(found.state.learner.params) for found in (straight, moved)), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)


def test_a_run_without_replay_in_its_checkpoints_resumes_and_refills_the_buffer(tmp_path):
    run = make(kind=dqn, keep_replay=False)
    loop.train(run, tmp_path, after(3))
    whole, kept = (num_bytes(named_leaves(tree)) for tree in (run.init(), run.to_checkpoint(run.init())))
    assert kept < whole
    resumed = loop.train(run, tmp_path)
    # Three updates before the stop are lost to the ring, five are in it.
    assert (resumed.progress.updates, int(resumed.state.replay.written[0, 0])) == (8, 5)
    # A window takes two rollouts; until then there is no loss.
    assert ["train/loss" in record for record in records(tmp_path)] == [False, False, True, True, False, *4 * [True]]
    with pytest.raises(checkpoint.Mismatch, match=r"does not fit this program \(.*replay"):
        loop.train(make(kind=dqn), tmp_path)


@pytest.mark.parametrize("asks", [-1, 0], ids=["before compiling", "while compiling"])
def test_a_signal_before_the_first_update_leaves_nothing_to_save(tmp_path, monkeypatch, asks):
    compiled, compile_update = [], Once.compile
    monkeypatch.setattr(Once, "compile", lambda *arguments: compiled.append(1) or compile_update(*arguments))
    outcome = loop.train(make(), tmp_path, after(asks))
    assert (outcome.signal, outcome.progress.updates, steps(tmp_path)) == (signal.SIGTERM, 0, [])
    assert len(compiled) == 1 + asks, "a run that is asked to stop does not compile the update first"


def test_a_stop_request_is_acknowledged_at_once_while_compiling():
    screen = Screen(file=io.StringIO(), width=200)
    console = Console(10, screen=screen)
    requested = []
    with console.status("compiling the update"), loop._stop_notice(lambda: sum(requested), console):
        time.sleep(2 * loop.STOP_POLL)
        assert "stopping" not in screen.file.getvalue()
        requested.append(int(signal.SIGTERM))
        deadline = time.monotonic() + 10
        while "stopping" not in screen.file.getvalue():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        time.sleep(2 * loop.STOP_POLL)
    assert screen.file.getvalue().splitlines()[1:-1] == [
        "SIGTERM: stopping after compiling the update; send it again to stop now, without saving"
    ]


def test_an_exception_of_stop_requested_is_left_to_the_main_thread():
    screen = Screen(file=io.StringIO(), width=200)

    def lost():
        raise ValueError("taken over")

    with loop._stop_notice(lost, Console(10, screen=screen)):
        time.sleep(2 * loop.STOP_POLL)
    assert screen.file.getvalue() == ""


def test_a_signal_in_the_last_call_comes_too_late(tmp_path):
    assert loop.train(make(), tmp_path, after(8)).signal == 0
    assert steps(tmp_path)[-1] == 8


def test_an_exception_of_stop_requested_ends_the_run_without_saving(tmp_path):
    """A run whose directory another run has taken over must not write a checkpoint, even if one is due."""

    def taken():
        if len(records(tmp_path)) > 4:
            raise ValueError("taken")
        return 0

    with pytest.raises(ValueError, match="taken"):
        loop.train(make(), tmp_path, taken)
    assert steps(tmp_path) == [2]


def test_the_first_save_compiles_nothing(tmp_path, monkeypatch):
    compiled, save = [], checkpoint.Checkpoints.save

    def watched(*arguments):
        compiled.append(digest_words._cache_size())
        save(*arguments)
        compiled.append(digest_words._cache_size())

    monkeypatch.setattr(checkpoint.Checkpoints, "save", watched)
    loop.train(make(), tmp_path)
    assert len(compiled) == 10 and len(set(compiled)) == 1, compiled


def test_the_best_checkpoint_is_kept(tmp_path):
    """Evaluations before the first update, of the random policy, and after each update; every second one is saved."""
    scores = [9.0, 9.0, 9.0, 0.1, 9.0, 0.7, 9.0, 0.3, 9.0, 0.2]
    run = make(keep=1, evaluate_every=1, score={"return_full": 1.0}, scores=scores)
    loop.train(run, tmp_path)
    assert steps(tmp_path) == [4, 8]


def test_every_nth_checkpoint_is_preserved(tmp_path):
    loop.train(make(keep=1, keep_every=2), tmp_path)
    assert steps(tmp_path) == [4, 8]


def test_a_few_bad_gradients_are_skipped_counted_and_logged(tmp_path, capsys):
    run = make(since=20, until=22)
    outcome = loop.train(run, tmp_path)
    assert outcome.progress.skipped.tolist() == [4]
    assert [record["train/skipped"] for record in records(tmp_path)[1:]] == [0, 4, 0, 0, 0, 0, 0, 0]
    assert records(tmp_path)[2]["train/loss"] is None and records(tmp_path)[3]["train/loss"] > 0
    (found,) = map(json.loads, (tmp_path / loop.SKIPPED).read_text().splitlines())
    assert (found["updates"], found["seed"], found["gradient_step"], found["skipped"]) == (2, 0, 0, [4])
    assert found["batch"]["reward"]["nonfinite"] > 0
    assert "WARNING: skipped 4 non-finite gradient steps, the first in update 2" in capsys.readouterr().out
    # The checkpoint that was due right then comes when all is well again.
    assert steps(tmp_path) == [3, 4, 6, 8]


def test_too_many_bad_gradients_stop_the_run_at_the_last_good_checkpoint(tmp_path):
    with pytest.raises(loop.Diverged, match="12 gradient steps of seed 5 were not finite, the limit is max_skipped=10"):
        loop.train(make(since=70, max_skipped=10), tmp_path)
    assert steps(tmp_path) == [2, 4], "the fifth update is the first bad one, and the seventh the last"
    assert [record["updates"] for record in records(tmp_path)] == list(range(8))
    assert len((tmp_path / loop.SKIPPED).read_text().splitlines()) == 3
    again = loop.train(make(since=70, max_skipped=100), tmp_path)
    assert again.progress.skipped.tolist() == [16]
    recorded = [json.loads(line)["updates"] for line in (tmp_path / loop.SKIPPED).read_text().splitlines()]
    assert recorded == [5, 6, 7, 8], "repeated updates are recorded once"


def test_parameters_stay_finite_and_unmoved_while_all_gradients_are_bad(tmp_path):
    good = loop.train(make(since=64), tmp_path / "good", after(4))
    bad = loop.train(make(since=64), tmp_path / "bad")
    assert everything(good.state.learner.params) == everything(bad.state.learner.params)


def test_a_clock_that_jumps_does_no_harm(tmp_path, monkeypatch):
    """It jumps by years, forth and back, during and between updates; a save that orbax then gives up is retried."""
    straight = loop.train(make(), tmp_path / "straight")
    real, fetch, offset = time.time, loop.distributed.fetch, [0.0]
    monkeypatch.setattr(time, "time", lambda: real() + offset[0])
    monkeypatch.setattr(checkpoint, "RETRY", (0.0, 0.0))

    def jump(result):
        offset[0] = 4e8 - offset[0]
        return result

    monkeypatch.setattr(loop.distributed, "fetch", lambda tree: jump(fetch(tree)))

    never, stop = in_main_thread(lambda: jump(0)), after(5)
    loop.train(make(), tmp_path / "jumping", lambda: never() or stop())
    jumped = loop.train(make(), tmp_path / "jumping", never)
    assert everything(jumped.state) == everything(straight.state)
    assert records(tmp_path / "jumping") == records(tmp_path / "straight")
    kept = read_metrics(tmp_path / "jumping" / "metrics.jsonl")
    seconds = [record["seconds"] for record in kept]
    assert seconds == sorted(seconds) and seconds[-1] < 600
    assert all(0 <= record.get("eval/seconds", 0) < 600 for record in kept)


@pytest.fixture
def full_disk(monkeypatch):
    """A disk without room for checkpoints while `full`, and no delay between retries."""
    state = {"full": True}
    real = checkpoint.shutil.disk_usage
    monkeypatch.setattr(checkpoint.shutil, "disk_usage", lambda path: real(path)._replace(free=0) if state["full"]
                        else real(path))  # fmt: skip
    monkeypatch.setattr(checkpoint, "RETRY", (0.0, 0.0))
    monkeypatch.setattr(loop, "FINAL_SAVE_DELAY", 0.0)
    return state


def test_a_full_disk_does_not_stop_training_and_the_state_is_saved_when_it_can_be(tmp_path, full_disk, capsys):
    def wanted():
        full_disk["full"] = len(records(tmp_path)) < 7
        return 0

    outcome = loop.train(make(save_every=4), tmp_path, wanted)
    assert outcome.progress.updates == 8
    assert steps(tmp_path) == [6, 8], "the first call with room, though none was due before the eighth"
    assert "WARNING: saving the checkpoint after 4 updates failed" in capsys.readouterr().out


def test_a_failure_is_waited_out_however_many_saves_are_due(tmp_path, full_disk, monkeypatch, capsys):
    monkeypatch.setattr(checkpoint, "RETRY", (1000.0, 1000.0))

    def wanted():
        full_disk["full"] = len(records(tmp_path)) < 8
        return 0

    loop.train(make(save_every=1), tmp_path, wanted)
    assert capsys.readouterr().out.count("WARNING: saving the checkpoint after") == 1
    assert steps(tmp_path) == [8], "the last one is not waited for"


def test_a_state_that_cannot_be_saved_at_the_end_is_an_error(tmp_path, full_disk):
    with pytest.raises(OSError, match="the state after 8 updates could not be saved"):
        loop.train(make(), tmp_path)
    assert len(records(tmp_path)) == 9, "its metrics are all there"


def test_metrics_that_a_full_disk_refused_survive_the_restart(tmp_path, monkeypatch, capsys):
    """From the third record to the end of the first process metrics.jsonl cannot grow; checkpoints can be written."""
    straight = loop.train(make(), tmp_path / "straight")
    real = os.ftruncate

    def refuse(descriptor, size):
        if len(records(tmp_path / "full")) >= 3:
            raise OSError(28, "No space left on device")
        return real(descriptor, size)

    with monkeypatch.context() as patch:
        patch.setattr(os, "ftruncate", refuse)
        loop.train(make(), tmp_path / "full", after(5))
        assert len(records(tmp_path / "full")) == 3
    assert capsys.readouterr().out.count("metrics.jsonl cannot be written") == 1
    resumed = loop.train(make(), tmp_path / "full")
    assert records(tmp_path / "full") == records(tmp_path / "straight")
    assert everything(resumed.state) == everything(straight.state)
    assert resumed.progress.unwritten == ()


def test_metrics_that_only_the_last_checkpoint_has_are_written_by_the_next_start(tmp_path, monkeypatch):
    straight = loop.train(make(), tmp_path / "straight")

    def refuse(descriptor, size):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "ftruncate", refuse)
        loop.train(make(), tmp_path / "full")
    assert records(tmp_path / "full") == []
    again = loop.train(make(), tmp_path / "full")
    assert records(tmp_path / "full") == records(tmp_path / "straight")
    assert everything(again.state) == everything(straight.state)
