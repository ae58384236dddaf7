"""Checkpoints restore exactly what was saved or nothing, and a failing disk ends no run."""

import contextlib
import gc
import json
import os
import shutil
import sys
import threading
import time
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from builders import pqn, updater
from probes import Probe
from running import mounted

from podarcade.runtime import checkpoint
from podarcade.runtime.checkpoint import AllDamaged, Checkpoints, Mismatch

GAME = Probe(length=4, pays="match")
LIKE = {"w": jnp.zeros((64, 33)), "keys": jnp.zeros((5, 2), jnp.uint32), "on": jnp.zeros(3, bool)}


def state(step):
    """Return a state that differs between steps in every byte of its largest array."""
    w = jax.random.normal(jax.random.key(step), (64, 33))
    return {"w": w, "keys": jnp.full((5, 2), step, jnp.uint32), "on": jnp.asarray([True, False, step % 2 == 0])}


def same(one, other):
    for a, b in zip(*map(jax.tree.leaves, (one, other)), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)


def saved(folder, *steps, **options):
    """Save checkpoints of some steps and wait for them."""
    checkpoints = Checkpoints(folder, **options)
    for step in steps:
        checkpoints.save(step, state(step), {"step": step})
    checkpoints.close()
    assert checkpoints.steps() == list(steps)


def contents(folder):
    return {path: path.read_bytes() for path in files(folder)}


def restored(folder, like=LIKE, **options):
    """Return the newest intact state, its progress, and the logged messages."""
    logged = []
    found = Checkpoints(folder, log=logged.append, **options).restore(like)
    return (*(found or (None, None)), "\n".join(logged))


@pytest.mark.parametrize("burn_in", [0, 4])
def test_a_state_is_restored(tmp_path, burn_in):
    """Without burn-in the history is empty, which orbax refuses to save."""
    trainer = updater(GAME, pqn(burn_in=burn_in))
    begun = trainer.init(np.asarray([3, 4]))
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(7, begun, {"frames": [1, 2]})
    checkpoints.close()
    again, progress, logged = restored(tmp_path, trainer.init(np.asarray([0, 0])))
    assert progress == {"frames": [1, 2]} and not logged
    same(begun, again)


def test_a_state_is_restored_on_other_devices(tmp_path):
    begun = updater(GAME, pqn(), mesh=(2, 4)).init(np.asarray([3, 4]))
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, begun, {})
    checkpoints.close()
    like = updater(GAME, pqn(), mesh=(1, 2)).init(np.asarray([0, 0]))
    again, _, logged = restored(tmp_path, like)
    assert not logged
    same(begun, again)
    for leaf, expected in zip(*map(jax.tree.leaves, (again, like)), strict=True):
        assert leaf.sharding == expected.sharding


def test_a_donated_state_is_saved_as_it_was(tmp_path):
    """The state may be overwritten while it is being saved."""
    change = jax.jit(lambda tree: jax.tree.map(lambda x: x + x, tree), donate_argnums=0)
    big = {"w": jax.random.normal(jax.random.key(0), (2000, 2000))}
    expected = jax.tree.map(np.array, big)
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, big, {})
    for _ in range(20):
        big = change(big)
    checkpoints.close()
    again, _, logged = restored(tmp_path, {"w": jnp.zeros((2000, 2000))})
    same(expected, again)
    assert not logged


def test_the_latest_the_best_and_every_tenth_are_kept(tmp_path):
    checkpoints = Checkpoints(tmp_path, keep=2, keep_every=10)
    scores = {4: 0.5, 6: 0.9, 7: 0.1, 11: 0.2}
    for step in range(1, 15):
        checkpoints.save(step, state(step), {"step": step}, scores.get(step))
    checkpoints.close()
    assert checkpoints.steps() == [6, 10, 13, 14]
    again, progress, _ = restored(tmp_path)
    assert progress["step"] == 14
    same(state(14), again)
    # The best is still known after a restart.
    checkpoints = Checkpoints(tmp_path, keep=2, keep_every=10)
    for step in (15, 16, 17):
        checkpoints.save(step, state(step), {"step": step}, 0.8)
    checkpoints.close()
    assert checkpoints.steps() == [6, 10, 16, 17]


def test_saves_leave_nothing_behind_in_memory(tmp_path):
    """orbax keeps about twenty lists of a save; records, leaves, threads and checkpointers must not accumulate."""
    checkpoints = Checkpoints(tmp_path)

    def count_after(*steps):
        for step in steps:
            checkpoints.save(step, state(step), {"step": step})
        checkpoints.wait()
        gc.collect()
        return len(gc.get_objects()), threading.active_count()

    objects, threads = count_after(*range(1, 6))
    more_objects, more_threads = count_after(*range(6, 16))
    assert more_objects - objects < 10 * 30 and more_threads == threads
    checkpoints.close()


def test_an_existing_checkpoint_is_not_overwritten(tmp_path):
    saved(tmp_path, 1)
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, state(2), {"step": 2})
    checkpoints.close()
    same(state(1), restored(tmp_path)[0])


def test_partial_files_of_a_killed_writer_are_ignored_and_removed(tmp_path):
    saved(tmp_path, 1)
    left = tmp_path / "2.orbax-checkpoint-tmp"
    left.mkdir()
    (left / "part").write_bytes(bytes(1000))
    assert Checkpoints(tmp_path).steps() == [1]
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(2, state(2), {"step": 2})
    checkpoints.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1", "2"]
    same(state(2), restored(tmp_path)[0])


def test_without_checkpoints_restore_returns_none(tmp_path):
    assert Checkpoints(tmp_path).restore(LIKE) is None


def files(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file())


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0b100
    path.write_bytes(content)


DAMAGES = {
    "deleted": lambda path: path.unlink(),
    "cut short": lambda path: os.truncate(path, path.stat().st_size // 2 if path.stat().st_size % 2 else 0),
    "flipped": flip,
}


@pytest.mark.parametrize(
    "damage", [*(pytest.param(kind, marks=pytest.mark.slow) for kind in ("deleted", "cut short")), "flipped"]
)
def test_a_damaged_file_never_restores_another_state(tmp_path, damage):
    """Damage each file in turn: the restored state is that saved, or with a warning that of the previous checkpoint."""
    whole = tmp_path / "whole"
    saved(whole, 1, 2)
    names = [path.relative_to(whole / "2") for path in files(whole / "2")]
    assert len(names) >= 8
    outcomes = {}
    for name in names:
        folder = tmp_path / "damaged"
        shutil.copytree(whole, folder)
        DAMAGES[damage](folder / "2" / name)
        again, progress, logged = restored(folder)
        same(state(progress["step"]), again)
        outcomes[str(name)] = progress["step"]
        if progress["step"] == 1:
            assert "WARNING: the checkpoint after 2 updates is corrupt (" in logged and logged.count("\n") == 0
            assert sorted(path.name for path in folder.iterdir()) == ["1", "damaged-2"]
        else:
            assert not logged
        if name == names[0] or name == names[-1]:  # the run resumes from there, and can save
            saved_again = Checkpoints(folder, log=print)
            saved_again.save(3, state(3), {"step": 3})
            saved_again.close()
            same(state(3), restored(folder)[0])
        shutil.rmtree(folder)
    # Files with array data must matter.
    data = [name for name in outcomes if "/d/" in name]
    assert data and any(outcomes[name] == 1 for name in data), outcomes
    assert outcomes["_CHECKPOINT_METADATA"] == 1


def test_a_changed_record_counts_as_corrupt(tmp_path):
    saved(tmp_path, 1, 2)
    path = tmp_path / "2" / "_CHECKPOINT_METADATA"
    content = path.read_text()
    changed = content.replace('\\"step\\": 2', '\\"step\\": 3')
    assert changed != content
    path.write_text(changed)
    again, progress, logged = restored(tmp_path)
    assert progress["step"] == 1 and "its record differs from what was saved" in logged
    same(state(1), again)


def test_an_older_corrupt_checkpoint_does_no_harm(tmp_path):
    saved(tmp_path, 1, 2, 3)
    for path in files(tmp_path / "1"):
        os.truncate(path, 0)
    again, _, logged = restored(tmp_path)
    assert not logged
    same(state(3), again)
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(4, state(4), {"step": 4})
    checkpoints.close()
    assert checkpoints.steps() == [2, 3, 4]


def test_two_corrupt_checkpoints_fall_back_twice_and_nothing_is_lost(tmp_path):
    saved(tmp_path, 1, 2, 3)
    for step in "3", "2":
        flip(max(files(tmp_path / step), key=lambda path: path.stat().st_size))
    again, progress, logged = restored(tmp_path)
    assert progress["step"] == 1 and logged.count("WARNING") == 2
    same(state(1), again)
    flip(max(files(tmp_path / "1"), key=lambda path: path.stat().st_size))
    for _ in range(2):  # the second start does not start over either
        with pytest.raises(AllDamaged, match=r"all checkpoints .* corrupt; .*, none was removed; choose"):
            Checkpoints(tmp_path, log=print).restore(LIKE)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["damaged-1", "damaged-2", "damaged-3"]


@pytest.mark.parametrize(
    ("like", "difference"),
    [
        (LIKE | {"w": jnp.zeros((64, 32))}, r"w: saved float32\[64, 33\], now float32\[64, 32\]"),
        (LIKE | {"w": jnp.zeros((64, 33), jnp.bfloat16)}, r"w: saved float32\[64, 33\], now bfloat16\[64, 33\]"),
        (LIKE | {"keys": jnp.zeros((5, 2), jnp.int32)}, r"keys: saved uint32\[5, 2\], now int32\[5, 2\]"),
        ({"w": LIKE["w"], "keys": LIKE["keys"]}, r"on: saved bool\[3\], now absent"),
        (LIKE | {"more": jnp.zeros(2)}, r"more: saved absent, now float32\[2\]"),
    ],
)
def test_another_program_is_refused_naming_the_difference(tmp_path, like, difference):
    saved(tmp_path, 1, 2)
    with pytest.raises(Mismatch, match=difference):
        restored(tmp_path, like)
    assert Checkpoints(tmp_path).steps() == [1, 2]


def test_another_configuration_is_refused_and_other_versions_are_logged(tmp_path):
    origin = {"config": {"algorithm": {"discount": 0.99}}, "versions": {"jax": "1.0"}}
    saved(tmp_path, 1, origin=origin)
    assert not restored(tmp_path, origin=origin)[-1]
    logged = restored(tmp_path, origin=origin | {"versions": {"jax": "2.0"}})[-1]
    assert "jax: saved 1.0, now 2.0" in logged and "round differently" in logged
    with pytest.raises(Mismatch, match=r"algorithm.discount: saved 0.99, now 0.5"):
        restored(tmp_path, origin=origin | {"config": {"algorithm": {"discount": 0.5}}})


def test_check_compares_the_newest_readable_record_and_writes_nothing(tmp_path):
    origin = {"config": {"algorithm": {"discount": 0.99}}, "versions": {}}
    saved(tmp_path, 1, 2, origin=origin)
    (tmp_path / "2" / "_CHECKPOINT_METADATA").write_text("torn")
    before = contents(tmp_path)
    Checkpoints(tmp_path, origin=origin).check(LIKE)
    with pytest.raises(Mismatch, match=r"the checkpoint .*/1 has another configuration .*: saved 0.99, now 0.5"):
        Checkpoints(tmp_path, origin={"config": {"algorithm": {"discount": 0.5}}}).check(LIKE)
    with pytest.raises(Mismatch, match="does not fit this program"):
        Checkpoints(tmp_path, origin=origin).check(LIKE | {"more": jnp.zeros(2)})
    assert contents(tmp_path) == before
    Checkpoints(tmp_path / "none", origin=origin).check(LIKE)
    assert not (tmp_path / "none").exists()


@pytest.fixture
def small_disk(tmp_path):
    with mounted(tmp_path / "disk", "size=8m") as disk:
        yield disk


@pytest.mark.parametrize("spare", [0, 1 << 20], ids=["while writing", "before writing"])
def test_a_full_disk_loses_nothing_and_is_retried(small_disk, monkeypatch, spare, capfd):
    monkeypatch.setattr(checkpoint, "SPARE", spare)
    monkeypatch.setattr(checkpoint, "RETRY", (0.2, 1.0))
    free = shutil.disk_usage
    if not spare:
        monkeypatch.setattr(checkpoint.shutil, "disk_usage", lambda path: free("/"))
    logged = []
    checkpoints = Checkpoints(small_disk / "checkpoints", log=logged.append)

    def big(step):
        return {"w": jax.random.normal(jax.random.key(step), (700, 700))}  # 2 MB: there is room for three

    for step in (1, 2):
        checkpoints.save(step, big(step), {"step": step})
        assert checkpoints.wait()
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(free(small_disk).free - 500_000))
    checkpoints.save(3, big(3), {"step": 3})
    assert not checkpoints.wait()
    (message,) = logged
    assert message.startswith("WARNING: saving the checkpoint after 3 updates failed (")
    assert message.endswith("retrying in 0 s or later; newest checkpoint: after 2 updates") and "\n" not in message
    assert sorted(path.name for path in (small_disk / "checkpoints").iterdir()) == ["1", "2"], "what it left is removed"
    assert not checkpoints.should_save(True), "not before some time has passed"
    ballast.unlink()
    while not checkpoints.should_save(False):
        pass
    checkpoints.save(4, big(4), {"step": 4})
    assert (
        checkpoints.wait() and not checkpoints.should_save(False) and checkpoints.should_save(True) and len(logged) == 1
    )
    checkpoints.close()
    again, progress, _ = restored(small_disk / "checkpoints", big(0))
    assert progress["step"] == 4
    same(big(4), again)
    assert "Traceback" not in capfd.readouterr().err


def test_a_disk_full_to_the_last_byte_is_one_line(small_disk, monkeypatch):
    """The first array that cannot be written fails the save; the errors of the others arrive later, one by one."""
    unraisable = []
    monkeypatch.setattr(sys, "unraisablehook", unraisable.append)
    monkeypatch.setattr(checkpoint, "SPARE", -(1 << 60))
    logged = []
    checkpoints = Checkpoints(small_disk / "checkpoints", log=logged.append)
    many = {f"w{i}": jax.random.normal(jax.random.key(i), (50, 50)) for i in range(80)}
    checkpoints.save(1, many, {})
    assert checkpoints.wait()
    with contextlib.suppress(OSError), open(small_disk / "ballast", "wb", buffering=0) as ballast:
        while True:
            ballast.write(bytes(4096))
    for step in (2, 3):
        checkpoints.save(step, many, {})
        assert not checkpoints.wait() and len(logged) == step - 1
    time.sleep(0.5)
    gc.collect()
    assert not unraisable, unraisable
    other = types.SimpleNamespace(exc_value=ValueError("something else"))
    sys.unraisablehook(other)
    assert unraisable == [other]


def test_a_directory_that_cannot_be_read_ends_no_run(tmp_path):
    logged = []
    folder = tmp_path / "checkpoints"
    checkpoints = Checkpoints(folder, log=logged.append)
    checkpoints.save(1, state(1), {})
    checkpoints.wait()
    shutil.rmtree(folder)
    folder.write_text("a file in its place")
    checkpoints.save(2, state(2), {})
    assert not checkpoints.wait() and "saving the checkpoint after 2 updates failed" in logged[0]
    folder.unlink()
    checkpoints.save(3, state(3), {"step": 3})
    checkpoints.close()
    same(state(3), restored(folder)[0])


def test_failures_back_off_exponentially(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "RETRY", (10.0, 35.0))
    monkeypatch.setattr(checkpoint, "SPARE", 1 << 60)
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    logged = []
    checkpoints = Checkpoints(tmp_path, log=logged.append)
    for delay in (10, 20, 35, 35):
        checkpoints.save(1, state(1), {})
        assert f"retrying in {delay} s" in logged[-1] and "newest checkpoint: none" in logged[-1]
        now[0] += delay - 1
        assert not checkpoints.should_save(True)
        now[0] += 1
        assert checkpoints.should_save(False)
    monkeypatch.setattr(checkpoint, "SPARE", 0)
    checkpoints.save(1, state(1), {})
    assert checkpoints.wait() and checkpoints.steps() == [1]


def test_an_existing_checkpoint_is_complete_even_if_deleting_older_ones_failed(tmp_path, monkeypatch):
    """orbax deletes old checkpoints in the same task, and those of another user cannot be deleted."""
    logged = []
    checkpoints = Checkpoints(tmp_path, keep=1, log=logged.append)
    checkpoints.save(1, state(1), {"step": 1})
    assert checkpoints.wait()
    checkpoints.save(2, state(2), {"step": 2})
    checkpoints.wait()
    checkpoints._task.mark_failed("[Errno 1] Operation not permitted")
    assert not checkpoints.wait()
    checkpoints.save(2, state(2), {"step": 2})
    assert checkpoints.wait() and len(logged) == 1


def test_a_save_that_orbax_refuses_has_failed(tmp_path):
    saved(tmp_path, 9)
    logged = []
    checkpoints = Checkpoints(tmp_path, log=logged.append)
    checkpoints.save(3, state(3), {})
    assert not checkpoints.wait()
    assert "saving the checkpoint after 3 updates failed (" in logged[0]
    assert "holds a checkpoint of more than 3 updates)" in logged[0]


def test_a_save_that_times_out_has_failed(tmp_path):
    """orbax times out after minutes; a poll that does not wait is no timeout."""
    logged, gave_up = [], threading.Event()

    class Slow:
        def save_async(self, *arguments, **options):
            return self

        def result(self):
            gave_up.wait(20)
            raise TimeoutError("gave up")

        def close(self):
            pass

    checkpoints = Checkpoints(tmp_path, log=logged.append)
    checkpoints._checkpointer = Slow()
    checkpoints.save(7, state(7), {})
    assert not checkpoints.should_save(False) and not logged
    gave_up.set()
    assert not checkpoints.wait()
    assert logged[0].startswith("WARNING: saving the checkpoint after 7 updates failed (gave up)")


def test_the_record_is_plain_json(tmp_path):
    saved(tmp_path, 1)
    found = json.loads((tmp_path / "1" / "_CHECKPOINT_METADATA").read_text())["custom_metadata"]
    record = json.loads(found["record"])
    assert record["leaves"] == {"keys": "uint32[5, 2]", "on": "bool[3]", "w": "float32[64, 33]"}
    assert set(record["digests"]) == set(record["leaves"])
