"""A game from outside: one file on the plug-in path, and the contract tests cover it."""

import os
import pathlib
import re
import shutil
import subprocess
import sys

import pytest

TESTS = pathlib.Path(__file__).parent
PLUGIN = "import podarcade.envs.games\n\npodarcade.envs.games.__path__.append({folder!r})\n"


@pytest.fixture(scope="module")
def contracts(tmp_path_factory):
    """Run the contract tests on the toy game, optionally after a change to its text."""
    folder = tmp_path_factory.mktemp("games")
    (folder / "plugin_path.py").write_text(PLUGIN.format(folder=str(folder)), encoding="utf-8")

    def run(change=lambda text: text, only="lamps"):
        text = (TESTS / "eleventh_game.py").read_text(encoding="utf-8")
        changed = change(text)
        (folder / "lamps.py").write_text(changed, encoding="utf-8")
        shutil.rmtree(folder / "__pycache__", ignore_errors=True)
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-n0",
            "-m",
            "not slow",
            "-p",
            "plugin_path",
            str(TESTS / "test_games.py"),
            "-k",
            only,
        ]
        environment = os.environ | {"PYTHONPATH": f"{folder}{os.pathsep}{TESTS.parent}"}
        environment.pop("PYTEST_XDIST_WORKER", None)
        done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=TESTS.parent, check=False)
        return {word: int(count) for count, word in re.findall(r"(\d+) (passed|failed)", done.stdout)}, done.stdout

    return run


def test_contracts_cover_a_game_the_moment_its_file_exists(contracts):
    counts, output = contracts()
    assert counts.get("passed", 0) >= 16 and "failed" not in counts, output[-3000:]


@pytest.mark.parametrize(
    ("right", "wrong", "only"),
    [
        ("jax.random.randint(key, (), 0, 4)", "jnp.int32(0)", "restarts"),
        ("1 / self.max_steps, 0.0", "2.0, 0.0", "their_range"),
    ],
)
def test_contracts_notice_a_mistake(contracts, right, wrong, only):
    counts, output = contracts(lambda text: text.replace(right, wrong), f"lamps and {only}")
    assert counts.get("failed", 0) >= 1, output[-3000:]
