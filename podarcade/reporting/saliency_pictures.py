"""Pictures of saliency: a strip of frames, an animation along an episode, a heat map for observations of numbers."""

import pathlib
from collections.abc import Mapping

import numpy as np

from podarcade.reporting import clips, figures

SHOWN = 8  # frames of a strip
TWINS = ("full", "partial")
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

    Args:
      picture: uint8[n, H, W, 3].
      saliency: [n, H, W].
      shown: number of frames, fewer in shorter episodes.
    """
    chosen = np.unique(np.linspace(0, len(picture) - 1, shown).round().astype(int))
    rows = picture[chosen], overlay(picture[chosen], saliency[chosen])
    gap = np.full((picture.shape[1], 4, 3), 255, np.uint8)
    lines = [np.concatenate([part for frame in row for part in (frame, gap)][:-1], axis=1) for row in rows]
    return np.concatenate([lines[0], np.full((4, lines[0].shape[1], 3), 255, np.uint8), lines[1]], axis=0)


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
        clips.save_png(strip(*episode(found, twin, "past")), path)
        paths.append(path)
    both = (overlay(*episode(found, twin, "present")) for twin in TWINS)
    path = stem.with_name(f"{stem.name}.gif")
    captions = tuple(f"{twin} twin: saliency of each step" for twin in TWINS)
    clips.animation(clips.side_by_side(*both, captions), path, scale=1)
    return [*paths, path]
