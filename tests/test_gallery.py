"""The gallery, from its command line."""

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from probes import Probe

from podarcade import gallery
from podarcade.envs import environment
from podarcade.envs.environment import Environment


def run(folder, *arguments):
    command = [sys.executable, "-m", "podarcade.gallery", f"--folder={folder}", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_gallery_shows_every_game_asked_for(tmp_path):
    options = ["--games=CartPoleEasy,MineSweeperHard", "--episodes=64", "--frames=24"]
    done = run(tmp_path / "new", *options)
    assert done.returncode == 0, done.stderr
    sheet = np.asarray(Image.open(tmp_path / "new" / "gallery.png"))
    for k, name in enumerate(("CartPoleEasy", "MineSweeperHard")):
        clip = Image.open(tmp_path / "new" / f"{name}.gif")
        assert clip.size == (2 * 128 + 3 * 8, 128 + 48) and 5 < clip.n_frames <= 24
        cell = sheet[40:168, k * 280 :][:, : 2 * 128 + 16]
        full, partial = cell[:, 8:136], cell[:, 144:272]
        assert (full != partial).any(), "the twins look the same"
        assert len(np.unique(full.reshape(-1, 3), axis=0)) > 4
    assert sheet.shape == (176, 560, 3)


def test_gallery_shows_the_longest_of_the_best():
    full, partial, total = gallery.clips(environment.make("CartPoleEasy"), episodes=64, steps=40)
    assert len(full) == len(partial) == 41, "a good episode outlasts forty steps"
    assert abs(total - 40 / 200) < 1e-5
    np.testing.assert_array_equal(full[0], partial[0])


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("--games=CartPolEasy", "error: unknown environment 'CartPolEasy'; did you mean "),
        ("--frames=1", "error: flag --frames=1: "),
        ("CartPoleEasy", "error: unexpected argument 'CartPoleEasy'; expected flags only"),
    ],
)
def test_bad_arguments_are_one_line_and_write_nothing(tmp_path, capsys, argument, message):
    assert gallery.main(["gallery", f"--folder={tmp_path / 'new'}", argument]) == 1
    assert capsys.readouterr().err.startswith(message)
    assert not (tmp_path / "new").exists()


def test_help_is_no_error(capsys):
    assert gallery.main(["gallery", "--help"]) == 0
    assert "--obs_size" in capsys.readouterr().out


def test_tasks_are_drawn_as_cells(tmp_path):
    assert gallery.main(["gallery", f"--folder={tmp_path}", "--games=TMazeEasy,CartPoleEasy", "--episodes=8"]) == 0
    with Image.open(tmp_path / "TMazeEasy.gif") as clip:
        assert clip.n_frames == 12
    assert np.asarray(Image.open(tmp_path / "gallery.png")).shape == (176, 752, 3)


def test_games_that_cannot_be_rendered_are_refused(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(environment, "make", lambda name, obs_size: Environment(Probe()))
    assert gallery.main(["gallery", f"--folder={tmp_path / 'new'}", "--games=Probe"]) == 1
    assert capsys.readouterr().err == (
        "error: --games=Probe: Probe has no picture; expected games that can be rendered\n"
    )
    assert not (tmp_path / "new").exists()
