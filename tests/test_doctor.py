"""The doctor reports what fails and what to do, and a failing check does not stop it."""

import contextlib
import pathlib
import re

import jax.numpy as jnp
import pytest
from running import finish, spawn

from podarcade import doctor
from podarcade.doctor import FAIL, NOTE, OK, Found

FIT = dict(doctor.TESTED[3, 11], podarcade="0.1.0", numpy="2.0.0")
NAMES = ["versions", "devices", "memory", "disk", "cache", "lock", "processes", "repeats", "checkpoint"]


def test_every_check_prints_one_line(tmp_path):
    code, output = finish(spawn("-m", "podarcade.doctor", f"--workdir={tmp_path}/runs/mine"))
    lines = output.splitlines()
    assert [line.split()[1] for line in lines] == NAMES, output
    assert code == 0 and all(line.split()[0] in (OK, NOTE) for line in lines), output
    assert "bitwise equal" in output and "connected over TCP" in output
    assert f"free in {tmp_path}," in output, "the nearest existing directory"
    assert not list(tmp_path.iterdir()), "nothing is left behind"


@pytest.mark.parametrize(
    ("python", "changes", "verdict", "text"),
    [
        ((3, 11), {}, OK, "(the tested set)"),
        ((3, 11), {"flax": "0.13.0"}, NOTE, "flax 0.13.0, .*; tested with flax 0.12.8"),
        ((3, 13), doctor.TESTED[3, 13], OK, "(the tested set)"),
        ((3, 14), {}, NOTE, "the tests run with python 3.11, 3.13"),
        ((3, 11), {"jax": "0.4.38"}, FAIL, "jax 0.4.38 is older than 0.10.2: pip install -U jax$"),
        ((3, 11), {"orbax-checkpoint": "0.12.3"}, FAIL, "orbax-checkpoint 0.12.3 is older than 0.12.4"),
        ((3, 12), {"jax": "0.11.2", "jaxlib": "0.12.0.1"}, FAIL, "jax 0.11.2 does not fit jaxlib 0.12.0.1"),
    ],
)
def test_versions(python, changes, verdict, text):
    found = doctor.versions(python, FIT | changes)
    assert found.verdict == verdict and re.search(text.replace("(the tested set)", r"\(the tested set\)"), found.text)


def test_minimum_versions_match_setup_py():
    setup = (pathlib.Path(__file__).parent.parent / "setup.py").read_text()
    for name, floor in doctor.MINIMUM.items():
        assert re.search(rf'"{name}>={re.escape(floor)}[",]', setup), name


@pytest.mark.parametrize(("seen", "verdict"), [("/usr/bin/nvidia-smi", NOTE), (None, OK)])
def test_a_gpu_that_jax_does_not_see_is_a_note(seen, verdict, monkeypatch):
    monkeypatch.setattr(doctor.shutil, "which", lambda name: seen)
    monkeypatch.setattr(doctor.pathlib.Path, "exists", lambda path: False)
    found = doctor.devices()
    assert found.verdict == verdict and ("cuda12" in found.text) == (verdict == NOTE)


@pytest.mark.parametrize(("free", "verdict"), [(8e9, OK), (2e9, NOTE), (0.5e9, FAIL), (float("inf"), NOTE)])
def test_memory(free, verdict):
    assert doctor.memory(free, 2).verdict == verdict


@pytest.mark.parametrize(("free", "verdict"), [(8e9, OK), (2e9, NOTE), (0.1e9, FAIL)])
def test_disk(free, verdict, tmp_path, monkeypatch):
    real = doctor.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda path: real._replace(free=int(free)))
    assert doctor.disk(tmp_path).verdict == verdict


def test_an_unwritable_cache_is_a_note(tmp_path):
    (tmp_path / "file").write_text("")
    found = doctor.cache(str(tmp_path / "file" / "cache"))
    assert found.verdict == NOTE and "every start compiles again" in found.text
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "program").write_bytes(bytes(3_000_000))
    assert doctor.cache(str(tmp_path / "cache")).text.startswith("3 MB")
    assert doctor.cache(None).verdict == NOTE


def test_locks(tmp_path, monkeypatch):
    assert doctor.lock(tmp_path).verdict == OK
    free = contextlib.nullcontext()
    free.close = lambda: None
    monkeypatch.setattr(doctor, "Lock", lambda *_, **__: free)
    assert doctor.lock(tmp_path).verdict == FAIL


def test_processes_that_cannot_connect_fail(monkeypatch):
    monkeypatch.setattr(doctor.supervisor, "addresses", lambda number: [["--coordinator=localhost:1"]] * number)
    found = doctor.two_processes()
    assert found.verdict == FAIL and "cannot connect" in found.text


def test_one_different_bit_is_a_failure(monkeypatch):
    class Updater:
        calls = 0

        def compile(self, state, updates):
            return self.run

        def run(self, state):
            self.calls += 1
            return {"w": state["w"].at[0].set(self.calls)}, None

    class Run:
        updater, updates_per_call = Updater(), 1
        init = abstract_state = staticmethod(lambda: {"w": jnp.zeros(3)})

    monkeypatch.setattr(doctor, "build", lambda config: Run)
    found = doctor.repeats([])
    assert found == Found(FAIL, "1 of 1 arrays differ between two trainings: try --deterministic")


def test_a_checkpoint_restored_differently_is_a_failure(tmp_path, monkeypatch):
    state = {"w": jnp.arange(3.0)}
    assert doctor.checkpoint(tmp_path, [state]).verdict == OK
    assert doctor.checkpoint(tmp_path, []).verdict == NOTE
    monkeypatch.setattr(doctor.Checkpoints, "restore", lambda self, like: ({"w": jnp.zeros(3)}, {}))
    assert doctor.checkpoint(tmp_path, [state]).verdict == FAIL
    assert not list(tmp_path.iterdir())


def test_a_check_that_raises_fails_and_the_others_run(monkeypatch, capsys):
    def broken():
        raise RuntimeError("the devices are gone\nand more")

    monkeypatch.setattr(doctor, "checks", lambda _: [("devices", broken), ("disk", lambda: Found(OK, "room"))])
    assert doctor.main(["doctor"]) == 1
    first, second = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"FAIL  devices      \S*test_doctor.py:\d+: RuntimeError: the devices are gone", first)
    assert second == "ok    disk         room"
    monkeypatch.setattr(doctor, "checks", lambda _: [("disk", lambda: Found(NOTE, "room"))])
    assert doctor.main(["doctor"]) == 0


def test_an_unknown_flag_is_one_line(capsys):
    assert doctor.main(["doctor", "--wrkdir=x"]) == 1
    assert capsys.readouterr().err.startswith("error: ")
    assert doctor.main(["doctor", "--workdir=~no-such-user/runs"]) == 1
    assert "no home directory to expand" in capsys.readouterr().err
    assert doctor.main(["doctor", "--help"]) == 0
