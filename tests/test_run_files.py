"""The working directory is resolved and checked before anything is written; run.json records what changes results."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

from podarcade.runtime import backend, provenance, run_files, starts
from podarcade.runtime.run_files import resolve_workdir


def test_tilde_is_the_home_directory(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert resolve_workdir("~/runs/x") == tmp_path / "runs" / "x"
    assert resolve_workdir("runs/~x") == pathlib.Path("runs/~x")
    assert not list(tmp_path.iterdir())


def test_an_existing_or_new_directory_is_accepted(tmp_path):
    (tmp_path / "target").mkdir()
    (tmp_path / "link").symlink_to("target")
    for name in ("target", "link/new", "new/new", "with space", "grün", "x" * 255):
        assert resolve_workdir(tmp_path / name) == tmp_path / name
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "target"]


def test_an_impossible_directory_is_refused_with_a_remedy(tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "link").symlink_to("file")
    for name, message in {
        "file": "file is a file; expected a directory; choose another --workdir",
        "file/run": "file is a file; expected a directory; choose another --workdir",
        "link": "link is a symbolic link to a file; expected a directory",
        "dangling": "dangling is a symbolic link to nowhere, which does not exist; create that directory",
        "dangling/run": "dangling is a symbolic link to nowhere, which does not exist; create that directory",
        "loop": "loop is a symbolic link to loop",
        "x" * 260: "the name x{20}... of 260 bytes is longer than the file system allows .*; choose a shorter",
        "/".join(50 * ["x" * 100]): "the path is longer than the file system allows",
    }.items():
        with pytest.raises(ValueError, match=message) as error:
            resolve_workdir(tmp_path / name)
        assert str(error.value).startswith(f"--workdir={tmp_path}"[:60]) and "\n" not in str(error.value)
    with pytest.raises(ValueError, match="--workdir=~no-such-user/x: no home directory to expand"):
        resolve_workdir("~no-such-user/x")


def test_a_name_that_the_locale_cannot_read_is_refused_before_training(tmp_path):
    """Python then hands undecodable bytes to orbax, which cannot save."""
    (tmp_path / "grün").mkdir()
    program = "from podarcade.runtime.run_files import resolve_workdir; resolve_workdir('run')"
    environment = os.environ | {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "LC_ALL": "C"}
    environment["PYTHONPATH"] = str(pathlib.Path(run_files.__file__).parents[2])
    result = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path / "grün", env=environment, capture_output=True, text=True
    )
    last = result.stderr.splitlines()[-1]
    assert last.startswith("ValueError: the path ") and "set PYTHONUTF8=1, or choose a --workdir of ASCII" in last


def test_run_json_records_every_start_and_a_difference_is_one_warning(tmp_path, monkeypatch):
    assert starts.record(tmp_path, ["launch", "--x"]) == ""
    assert starts.record(tmp_path, ["launch", "--x"]) == ""
    monkeypatch.setattr(provenance, "cores", lambda: 99)
    monkeypatch.setenv("XLA_FLAGS", "--some_flag=1")
    backend.jax.config.update("jax_threefry_partitionable", False)
    try:
        warning = starts.record(tmp_path, ["launch", "--x"])
    finally:
        backend.jax.config.update("jax_threefry_partitionable", True)
    assert warning.startswith("WARNING: the run was last started under other conditions (cores: saved ")
    assert "jax_settings.threefry_partitionable: saved True, now False" in warning and "\n" not in warning
    assert "xla_flags: saved " in warning and "now --some_flag=1" in warning
    recorded = json.loads((tmp_path / "run.json").read_text())
    assert [start["arguments"] for start in recorded] == [["--x"]] * 3
    assert recorded[-1]["cores"] == 99 != recorded[0]["cores"]
    assert set(recorded[0]["jax_settings"]) == set(backend.SETTINGS)


def test_run_json_of_an_older_version_or_a_corrupt_one_is_no_obstacle(tmp_path):
    (tmp_path / "run.json").write_text('[{"arguments": []}]')
    assert starts.record(tmp_path, ["launch"]) == ""
    (tmp_path / "run.json").write_text('[{"argu')
    assert starts.record(tmp_path, ["launch"]) == ""
    assert len(json.loads((tmp_path / "run.json").read_text())) == 1


def git(folder, *arguments):
    name = ["-c", "user.name=x", "-c", "user.email=x@example.org"]
    return subprocess.run(["git", *name, *arguments], cwd=folder, check=True, capture_output=True, text=True).stdout


def test_the_commit_and_whether_the_tree_is_clean_are_recorded(tmp_path):
    assert provenance.code(tmp_path) is None, "not a checkout"
    package = tmp_path / "package"
    package.mkdir()
    (package / "module.py").write_text("x = 1\n")
    git(tmp_path, "init")
    assert provenance.code(package) is None, "an installed package inside somebody's checkout"
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "x")
    commit = git(tmp_path, "rev-parse", "HEAD").strip()
    assert provenance.code(package) == {"commit": commit, "clean": True}
    (package / "module.py").write_text("x = 2\n")
    assert provenance.code(package) == {"commit": commit, "clean": False}
    assert provenance.code(tmp_path / "missing") is None


def test_without_git_there_is_no_commit(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert provenance.code(pathlib.Path(__file__).parent) is None
