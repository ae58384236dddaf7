"""Clips of an agent: animated GIFs and PNGs from frames uint8[n, H, W, 3]."""

import os
import pathlib
from typing import BinaryIO

import jax
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from podarcade.anakin import evaluate
from podarcade.envs.rendering import canvas
from podarcade.runtime.evaluation import KEY_SEED
from podarcade.runtime.run import Run

CLIP = "greedy_episode.gif"  # the last file that a complete run writes
LONGEST = 300  # steps of an episode that are shown
STARTS = 16  # episodes played, of which the one with the median return is shown


def greedy_episode(run: Run, params, path: pathlib.Path) -> bool:
    """Write an animation of a typical greedy episode of the first seed, on both twins from the same start.

    Args:
      run: provides algorithm and environment.
      params: parameters of all seeds, on the host.
      path: GIF to write.

    Returns:
      Whether there is a clip: games that cannot be rendered have none.
    """
    algorithm, environment = run.updater.algorithm, run.updater.environment
    if not environment.has_picture:
        return False
    params = jax.tree.map(lambda x: x[0], params)
    key = jax.random.key_data(jax.random.key(KEY_SEED))
    limit = min(environment.game.time_limit or LONGEST, LONGEST)
    clips = evaluate.play(algorithm, environment, params, key, limit, STARTS)
    captions = tuple(
        f"{name} twin: {value:.2f}{'' if over else f' in {limit} steps'}, median of {STARTS}"
        for name, (_, value, over) in clips.items()
    )
    animation(side_by_side(*(frames for frames, *_ in clips.values()), captions), path, scale=1)
    return True


def _is_frame(shape, dtype) -> bool:
    return len(shape) == 3 and shape[-1] == 3 and dtype == np.uint8


def _clip(frames) -> np.ndarray:
    """Return frames as an array; raise ValueError unless they are uint8[n, H, W, 3] and not empty."""
    clip = np.asarray(frames)
    if clip.ndim != 4 or not _is_frame(clip.shape[1:], clip.dtype) or not clip.size:
        raise ValueError(f"clip {clip.dtype}{list(clip.shape)}; expected uint8[n, H, W, 3] with n >= 1")
    return clip


def _packed(frame: np.ndarray) -> np.ndarray:
    """Pack the colour of each pixel uint8[H, W, 3] in one number below 2²⁴, int32[H, W]."""
    red, green, blue = np.moveaxis(frame.astype(np.int32), -1, 0)
    return red << 16 | green << 8 | blue


def _palette(clip: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return a palette uint8[n, 3] for all frames, and the palette index uint8[2²⁴] of each packed colour."""
    counts = np.zeros(1 << 24, np.int32)
    for frame in clip:
        np.add.at(counts, _packed(frame), 1)
    seen = np.flatnonzero(counts)
    seen = seen[np.argsort(-counts[seen], kind="stable")]
    colours = np.stack([seen >> 16, seen >> 8 & 255, seen & 255], axis=-1).astype(np.uint8)
    entries = np.zeros(1 << 24, np.uint8)
    if len(seen) <= 256:
        entries[seen] = np.arange(len(seen))
        return colours, entries
    # Flat colours of the game are kept; a median cut quantises the rest, which are shades.
    exact = min(int((counts[seen] * 1024 >= counts.sum(dtype=np.int64)).sum()), 128)
    cut = Image.fromarray(colours[exact:][None]).quantize(256 - exact, Image.Quantize.MEDIANCUT)
    palette = np.concatenate([colours[:exact], np.array(cut.getpalette(), np.uint8).reshape(-1, 3)[: 256 - exact]])
    entries[seen] = np.concatenate([np.arange(exact), exact + np.asarray(cut)[0].astype(int)])
    return palette, entries


def animation(frames, path: str | os.PathLike | BinaryIO, frame_ms: int = 120, scale: int = 2) -> None:
    """Write a GIF that loops, with a pause of one second on the last frame.

    Up to 256 colours are kept exactly; with more, those that cover at least a thousandth of the clip are.

    Args:
      frames: uint8[n, H, W, 3].
      path: file to write, or an open one.
      frame_ms: milliseconds per frame; GIF resolves tens of milliseconds.
      scale: enlargement of each pixel.

    Raises:
      ValueError: the frames have another shape or dtype.
      OSError: the file cannot be written.
    """
    clip = _clip(frames)
    palette, entries = _palette(clip)
    images = [Image.fromarray(canvas.enlarge(entries[_packed(frame)], scale)) for frame in clip]
    for image in images:
        image.putpalette(palette.tobytes())
    durations = [frame_ms] * (len(images) - 1) + [max(frame_ms, 1000)]
    images[0].save(path, "GIF", save_all=True, append_images=images[1:], duration=durations, loop=0, optimize=False)


def caption(text: str, width: int, height: int) -> np.ndarray:
    """Return a light strip uint8[height, width, 3] with one or two lines of text in the largest font that fits."""
    text = text.replace("\N{MINUS SIGN}", "-")  # Pillow's own font has no minus sign
    words, strip = text.split(), Image.new("L", (width, height), 248)
    draw = ImageDraw.Draw(strip)
    layouts = [text, text.replace(" · ", "\n", 1)]
    layouts += ["\n".join((" ".join(words[:k]), " ".join(words[k:]))) for k in range(len(words) - 1, 0, -1)]
    for size in range(16, 7, -1):
        font = ImageFont.load_default(size)
        boxes = [draw.multiline_textbbox((0, 0), layout, font=font, spacing=3) for layout in layouts]
        fitting = [k for k, box in enumerate(boxes) if box[2] <= width - 8 and box[3] <= height - 4]
        if fitting:
            break
    layout = layouts[fitting[0]] if fitting else text
    draw.multiline_text((width / 2, height / 2), layout, fill=32, font=font, spacing=3, anchor="mm", align="center")
    # A few greys are enough for smooth letters and leave the palette of a GIF to the game.
    return np.repeat(np.asarray(strip)[..., None] // 8 * 8, 3, axis=-1)


def side_by_side(left, right, captions: tuple[str, str], scale: int = 2) -> np.ndarray:
    """Return two clips next to each other, each below its caption; the shorter one holds its last frame.

    The captions are drawn after the frames are enlarged, so save the result with a scale of 1.

    Args:
      left, right: uint8[n, H, W, 3]; lengths and sizes may differ.
      captions: text above each clip, such as "fully observable · return 0.93".
      scale: enlargement of each pixel of the clips.

    Returns:
      uint8[n, H', W', 3] with the n of the longer clip.

    Raises:
      ValueError: a clip has another shape or dtype.
    """
    clips = [_clip(clip).repeat(scale, axis=1).repeat(scale, axis=2) for clip in (left, right)]
    length, tallest = (max(clip.shape[axis] for clip in clips) for axis in (0, 1))
    strip, gap = 40, 8
    width = sum(clip.shape[2] for clip in clips) + 3 * gap
    page = np.full((length, strip + tallest + gap, width, 3), 248, np.uint8)
    x = gap
    for clip, words in zip(clips, captions, strict=True):
        held = clip[np.minimum(np.arange(length), len(clip) - 1)]
        page[:, :strip, x : x + clip.shape[2]] = caption(words, clip.shape[2], strip)
        page[:, strip : strip + clip.shape[1], x : x + clip.shape[2]] = held
        x += clip.shape[2] + gap
    return page


def save_png(frame, path: str | os.PathLike | BinaryIO, scale: int = 1) -> None:
    """Write a frame uint8[H, W, 3] as a PNG, each pixel enlarged to a square of `scale` by `scale`.

    Raises:
      ValueError: the frame has another shape or dtype.
      OSError: the file cannot be written.
    """
    Image.fromarray(canvas.enlarge(_clip(np.asarray(frame)[None])[0], scale)).save(path, "PNG")
