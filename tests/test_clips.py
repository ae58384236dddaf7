"""Clips are pixel for pixel what was given; the greedy episode is a typical one."""

import dataclasses
import types

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from probes import Probe

from podarcade.envs.environment import Environment
from podarcade.reporting import clips
from podarcade.reporting.clips import animation, save_png, side_by_side


def shapes(length, colours, size=12):
    """A clip of a dot that moves over a flat background."""
    rng = np.random.default_rng(0)
    table = rng.integers(0, 256, (colours, 3), dtype=np.uint8)
    clip = np.broadcast_to(
        table[np.arange(size * size) % colours].reshape(size, size, 3), (length, size, size, 3)
    ).copy()
    for k in range(length):
        clip[k, k % size, k % size] = table[0] if k % 2 else table[1]
    return clip


def read_gif(path):
    with Image.open(path) as image:
        frames, durations = [], []
        for k in range(image.n_frames):
            image.seek(k)
            frames.append(np.asarray(image.convert("RGB")))
            durations.append(image.info["duration"])
        return np.stack(frames), durations, image.info["loop"]


@pytest.mark.parametrize("colours", [2, 5, 120, 256])
def test_few_colours_are_exact(tmp_path, colours):
    clip = shapes(7, colours, size=17)
    animation(clip, tmp_path / "clip.gif", frame_ms=90, scale=3)
    frames, durations, loop = read_gif(tmp_path / "clip.gif")
    assert np.array_equal(frames, clip.repeat(3, axis=1).repeat(3, axis=2))
    assert durations == [90] * 6 + [1000]
    assert loop == 0


def test_flat_colours_stay_exact_before_a_gradient(tmp_path):
    clip = np.zeros((3, 64, 64, 3), np.uint8)
    clip[..., 0], clip[..., 1], clip[..., 2] = 4 * np.arange(64), 4 * np.arange(64)[:, None], 120
    for k in range(3):
        clip[k, 10:20, 10 * k : 10 * k + 10] = (101, 99, 121)
    animation(clip, tmp_path / "clip.gif", scale=1)
    frames, _, _ = read_gif(tmp_path / "clip.gif")
    error = np.abs(frames.astype(int) - clip)
    assert error[(clip == (101, 99, 121)).all(-1)].max() == 0
    assert error.mean() < 4


def test_frames_that_stand_still_keep_their_time(tmp_path):
    clip = shapes(4, 3)[[0, 0, 0, 1]]
    animation(list(clip), tmp_path / "clip.gif", frame_ms=100)
    _, durations, _ = read_gif(tmp_path / "clip.gif")
    assert sum(durations) == 3 * 100 + 1000
    animation(clip[:1], tmp_path / "one.gif", scale=1)
    with Image.open(tmp_path / "one.gif") as image:
        assert np.array_equal(np.asarray(image.convert("RGB")), clip[0])


@pytest.mark.parametrize(
    "frames", [[], np.zeros((3, 4, 4, 3)), np.zeros((4, 4, 3), np.uint8), np.zeros((0, 4, 4, 3), np.uint8)]
)
def test_other_arrays_are_refused(tmp_path, frames):
    with pytest.raises(ValueError, match=r"expected uint8\[n, H, W, 3\]"):
        animation(frames, tmp_path / "clip.gif")


def test_side_by_side_holds_the_shorter_clip(tmp_path):
    left, right = shapes(5, 4, size=60), shapes(2, 6, size=50)
    captions = ("fully observable · return 0.93", "partially observable · return \N{MINUS SIGN}0.12")
    both = side_by_side(left, right, captions, scale=2)
    assert both.dtype == np.uint8 and both.shape == (5, 40 + 120 + 8, 8 + 120 + 8 + 100 + 8, 3)
    assert np.array_equal(both[:, 40:160:2, 8:128:2], left)
    assert np.array_equal(both[:, 41:141:2, 137:237:2], right[[0, 1, 1, 1, 1]])
    for strip in (both[:, :40, 8:128], both[:, :40, 136:236]):
        assert (strip < 100).sum() > 100, "a caption is dark letters"
        assert (strip[:, :, :2] == 248).all() and (strip[:, :, -2:] == 248).all(), "and does not run over the edge"
    assert len(np.unique(both.reshape(-1, 3), axis=0)) < 60


def test_a_png_is_exact(tmp_path):
    frame = shapes(1, 9)[0]
    save_png(frame, tmp_path / "frame.png", scale=4)
    with Image.open(tmp_path / "frame.png") as image:
        assert np.array_equal(np.asarray(image), frame.repeat(4, axis=0).repeat(4, axis=1))
    with pytest.raises(ValueError, match="float64"):
        save_png(np.zeros((3, 3, 3)), tmp_path / "frame.png")


@dataclasses.dataclass(frozen=True)
class Shown(Probe):
    """A probe whose picture is an array of zeros."""

    shape: tuple = (8, 8, 3)
    dtype: str = "uint8"

    time_limit = 5

    def render(self, state, partial):
        return jnp.zeros(self.shape, self.dtype)


def run_of(*picture):
    """A run as far as a clip needs it."""
    environment = Environment(Shown(shape=picture[0], dtype=picture[1]))
    return types.SimpleNamespace(updater=types.SimpleNamespace(algorithm=None, environment=environment))


@pytest.mark.parametrize("picture", [((4,), "float32"), ((8, 8, 3), "float32"), ((8, 8), "uint8")])
def test_games_without_pictures_have_no_clip(tmp_path, picture):
    assert not clips.greedy_episode(run_of(*picture), {}, tmp_path / "clip.gif")
    assert not list(tmp_path.iterdir())


def test_the_caption_says_which_episode_is_shown(tmp_path, monkeypatch):
    frames = np.zeros((3, 80, 80, 3), np.uint8)
    seen = {}
    played = {"full": (frames, 0.5, True), "partial": (frames, 0.25, False)}
    monkeypatch.setattr(clips.evaluate, "play", lambda *_: played)
    monkeypatch.setattr(clips, "caption", lambda text, width, height: seen.setdefault(text, np.uint8(248)))
    params = {"w": jnp.zeros((1, 2))}
    assert clips.greedy_episode(run_of((8, 8, 3), "uint8"), params, tmp_path / "clip.gif")
    assert list(seen) == [
        "full twin: 0.50, median of 16", "partial twin: 0.25 in 5 steps, median of 16"
    ]  # fmt: skip
    assert (tmp_path / "clip.gif").exists()
