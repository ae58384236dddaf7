"""The gallery, through its door."""

import subprocess
import sys

import numpy as np
from PIL import Image

from podarcade import gallery


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
        assert (full != partial).any(), "the twins look alike"
        assert len(np.unique(full.reshape(-1, 3), axis=0)) > 4
    assert sheet.shape == (176, 560, 3)


def test_gallery_shows_the_longest_of_the_best():
    full, partial, total = gallery.clips("CartPoleEasy", 128, episodes=64, steps=40)
    assert len(full) == len(partial) == 41, "a good episode outlasts forty steps"
    assert abs(total - 40 / 200) < 1e-5
    np.testing.assert_array_equal(full[0], partial[0])


def test_gallery_refuses_what_does_not_exist(tmp_path):
    done = run(tmp_path, "--games=CartPolEasy")
    assert done.returncode == 1 and "did you mean CartPoleEasy?" in done.stderr
    assert "Traceback" not in done.stderr
