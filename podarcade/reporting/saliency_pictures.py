"""Pictures of saliency: a strip of frames, an animation along an episode, a heat map for observations of numbers.

Saliency by pixels is blurred for display alone (`BLUR`); the arrays are not.
"""

import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from podarcade.diagnostics.saliency import TWINS
from podarcade.reporting import clips, figures

SHOWN = 8  # frames of a strip
BLUR = 1.5  # pixels: gradients by single pixels are noisy, and where they are large together is what can be seen
LEVELS = 32  # of saliency that pictures tell apart; more make files larger and show nothing
LABEL, STEP, GAP = 92, 20, 4  # pixels: width of a row's label, height of a frame's, and between frames
PAPER = 248  # grey between frames, as that of captions
# Black, purple, orange, yellow: dark to light for every kind of colour vision.
COLOURS = np.array([[0, 0, 4], [66, 10, 104], [147, 38, 103], [221, 81, 58], [252, 165, 10], [252, 255, 164]], float)


def overlay(picture: np.ndarray, saliency: np.ndarray) -> np.ndarray:
    """Return pictures in grey with saliency in colour, uint8[..., H, W, 3].

    Args:
      picture: uint8[..., H, W, 3].
      saliency: [..., H, W], in [0, 1]. It is shown by its square root, so that weak parts are visible.
    """
    strength = np.sqrt(np.clip(np.asarray(saliency, float), 0, 1))[..., None]
    position = strength * (len(COLOURS) - 1)
    low = np.minimum(position.astype(int), len(COLOURS) - 2)[..., 0]
    share = position - low[..., None]
    colour = COLOURS[low] * (1 - share) + COLOURS[low + 1] * share
    grey = 96 + 0.6 * np.mean(picture, axis=-1, keepdims=True)
    return np.round(grey * (1 - strength) + colour * strength).astype(np.uint8)


def smooth(saliency: np.ndarray, blur: float = BLUR) -> np.ndarray:
    """Return saliency of an episode blurred for display, in `LEVELS` levels, its largest value 1 again.

    Args:
      saliency: [n, H, W].
      blur: standard deviation of the Gaussian in pixels; edges are repeated.
    """
    reach = int(np.ceil(3 * blur))
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / blur) ** 2)
    weights /= weights.sum()
    found = np.asarray(saliency, float)
    for axis in (1, 2):
        padded = np.pad(found, [(reach, reach) if axis == one else (0, 0) for one in range(3)], mode="edge")
        windows = np.lib.stride_tricks.sliding_window_view(padded, len(weights), axis=axis)
        found = windows @ weights
    found = found / max(found.max(initial=0), np.finfo(float).tiny)
    return np.square(np.round(np.sqrt(found) * (LEVELS - 1)) / (LEVELS - 1))


def episode(found: Mapping[str, np.ndarray], twin: str, name: str, seed: int = 0, number: int = 0):
    """Return (pictures, saliency) of the steps of one episode: uint8[n, H, W, 3], and float[n, H, W] or float[n, D].

    Args:
      found: arrays of the diagnostic, of all seeds [S, B, T, ...].
      twin: "full" or "partial".
      name: "past" or "present".
      seed: index of the seed.
      number: index of the episode.
    """
    last = int(found[f"{twin}/last"][seed, number]) + 1
    picture = found[f"{twin}/picture"][seed, number, :last] if f"{twin}/picture" in found else None
    return picture, np.asarray(found[f"{twin}/{name}"][seed, number, :last], float)


def strip(picture: np.ndarray, saliency: np.ndarray, shown: int = SHOWN) -> np.ndarray:
    """Return frames of an episode above the same frames with their saliency, the first and the last among them.

    Each frame has its step above it, the last one that of the decision, and each row a label on the left.

    Args:
      picture: uint8[n, H, W, 3].
      saliency: [n, H, W], as it is shown.
      shown: number of frames, fewer in shorter episodes.

    Returns:
      uint8[STEP + 2 H + GAP, LABEL + frames (GAP + W), 3].
    """
    height, width = picture.shape[1:3]
    last = len(picture) - 1
    chosen = sorted({int(step) for step in np.linspace(0, last, shown).round()})
    steps = [clips.caption(f"step {step}" + ", decision" * (step == last), width, STEP) for step in chosen]
    labels = clips.caption("as drawn", LABEL, height), clips.caption("saliency", LABEL, height)
    lines = [_row(np.full((STEP, LABEL, 3), PAPER, np.uint8), steps)]
    for label, row in zip(labels, (picture[chosen], overlay(picture[chosen], saliency[chosen])), strict=True):
        lines += [_row(label, row), np.full((GAP, lines[0].shape[1], 3), PAPER, np.uint8)]
    return np.concatenate(lines[:-1], axis=0)


def _row(label: np.ndarray, frames: Sequence[np.ndarray]) -> np.ndarray:
    gap = np.full((len(label), GAP, 3), PAPER, np.uint8)
    return np.concatenate([label, *(part for frame in frames for part in (gap, frame))], axis=1)


def film(found: Mapping[str, np.ndarray], seed: int = 0) -> np.ndarray:
    """Return the saliency of each step of the first episode for its own decision, both twins, uint8[n, H', W', 3].

    Args:
      found: arrays of the diagnostic, of all seeds, of a game with pictures.
      seed: index of the seed.
    """
    shown = {}
    for twin in TWINS:
        picture, saliency = episode(found, twin, "present", seed)
        shown[twin] = overlay(picture, smooth(saliency))
    pages = []
    for step in range(max(map(len, shown.values()))):
        now = {twin: min(step, len(frames) - 1) for twin, frames in shown.items()}
        captions = tuple(f"{twin} twin, step {now[twin]}" for twin in TWINS)
        frames = (shown[twin][now[twin]][None] for twin in TWINS)
        pages.append(clips.side_by_side(*frames, captions, scale=1))
    return np.concatenate(pages)


def draw(found: Mapping[str, np.ndarray], stem: pathlib.Path) -> list[pathlib.Path]:
    """Draw the saliency of the first episode of the first seed; return the files.

    Args:
      found: arrays of the diagnostic, of all seeds.
      stem: path without its end. Pixels give STEM-TWIN.png, a strip for the last decision, and STEM.gif, the saliency
        of each step for its own decision on both twins. Vectors give STEM.png, heat maps over time.
    """
    if found["full/past"].ndim == 4:
        path = stem.with_name(f"{stem.name}.png")
        panels = {f"{twin} twin": episode(found, twin, "past")[1].T for twin in TWINS}
        figures.heat_maps(panels, path, "step", "feature", "saliency of the last decision (largest = 1)")
        return [path]
    paths = []
    for twin in TWINS:
        path = stem.with_name(f"{stem.name}-{twin}.png")
        picture, saliency = episode(found, twin, "past")
        clips.save_png(strip(picture, smooth(saliency)), path)
        paths.append(path)
    path = stem.with_name(f"{stem.name}.gif")
    clips.animation(film(found), path, frame_ms=250, scale=1)
    return [*paths, path]
