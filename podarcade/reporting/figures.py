"""Pictures of a finished run: the learning curve, and clips of the agent; from records and frames only."""

import math
import os
import pathlib
from collections.abc import Sequence
from html import escape
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont


class _Curve(NamedTuple):
    """A line of the learning curve: the metric, its name in the legend, and how it is drawn."""

    key: str
    name: str
    colour: str  # Okabe and Ito's: told apart by colour-blind eyes, and by their lightness in grey
    width: float


_curves = (
    _Curve("train/return", "training episodes, exploring", "#8a8f98", 1.5),
    _Curve("eval/return_partial", "greedy, partially observable", "#d55e00", 2.5),
    _Curve("eval/return_full", "greedy, fully observable", "#0072b2", 2.5),
)


def _points(records: Sequence[dict], key: str, most: int = 300) -> tuple[np.ndarray, np.ndarray]:
    """Frames [n] and values [n, seeds] of a metric; many points are averaged in groups."""
    frames, values = [], []
    for record in records:
        value = np.atleast_1d(np.array(record.get(key), float))
        count = np.mean(np.array(record.get("frames"), float))
        if np.isfinite(value).any() and np.isfinite(count):
            frames.append(count)
            values.append(np.where(np.isfinite(value), value, np.nan))
    if not frames:
        return np.zeros(0), np.zeros((0, 1))
    seeds = max(map(len, values))
    table = np.stack([np.pad(value, (0, seeds - len(value)), constant_values=np.nan) for value in values])
    groups = np.array_split(np.arange(len(frames)), min(most, len(frames)))
    means = [np.ma.masked_invalid(table[group]).mean(0).filled(np.nan) for group in groups]
    return np.array([np.mean(np.array(frames)[group]) for group in groups]), np.stack(means)


def _ticks(low: float, high: float, most: int) -> list[float]:
    """Round numbers, 1, 2 or 5 times a power of ten apart, from at or below `low` to at or above `high`."""
    power = 10.0 ** math.floor(math.log10((high - low) / most))
    step = next(power * times for times in (1, 2, 5, 10) if power * times * most >= (high - low) * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    # Multiplied rather than added up, and rounded, so that 0.3 does not become 0.30000000000000004.
    return [float(f"{number * step:.10g}") for number in range(first, last + 1)]


def _label(number: float, digits: int = 10) -> str:
    """A number in at most so many digits and a letter, with a true minus sign: 0.25, −300, 200k, 1.5M."""
    sizes = ((1e9, 1e9, "B"), (1e6, 1e6, "M"), (1e4, 1e3, "k"))
    size, letter = next((pair for least, *pair in sizes if abs(number) >= least), (1, ""))
    return f"{number / size:.{digits}g}{letter}".replace("-", "\N{MINUS SIGN}")


def _text(x: float, y: float, text: str, size: int = 13, anchor: str = "start", more: str = 'fill="#3c4043"') -> str:
    # What is not printable is not XML either.
    text = escape("".join(letter for letter in text if letter.isprintable()))
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" {more}>{text}</text>'


class _Plot:
    """The plane of a plot: where numbers lie in the picture."""

    left, right, top, bottom = 70.0, 696.0, 62.0, 352.0

    def __init__(self, frames: float, low: float, high: float):
        if high - low < 1e-6 * max(abs(high), 1e-6):
            low, high = low - 0.5, high + 0.5
        self.frames = frames if frames > 0 else 1.0
        self.ticks = _ticks(low, high, 8)

    def x(self, frames: float) -> float:
        """Horizontal place of a number of frames."""
        return self.left + (self.right - self.left) * frames / self.frames

    def y(self, value: float) -> float:
        """Vertical place of a return."""
        low, high = self.ticks[0], self.ticks[-1]
        return self.bottom - (self.bottom - self.top) * (value - low) / (high - low)

    def pairs(self, frames, values) -> str:
        """The points of a line, as SVG writes them."""
        return " ".join(f"{self.x(x):.2f},{self.y(y):.2f}" for x, y in zip(frames, values, strict=True))

    def axes(self) -> list[str]:
        """Grid lines, their numbers, and the names of both axes."""
        parts, grid = [], 'stroke="#e6e8eb" stroke-width="1"'
        for tick in self.ticks:
            y = self.y(tick)
            parts.append(f'<line x1="{self.left}" x2="{self.right}" y1="{y:.2f}" y2="{y:.2f}" {grid}/>')
            parts.append(_text(self.left - 9, y + 4.5, _label(tick), anchor="end"))
        for tick in (tick for tick in _ticks(0, self.frames, 7) if tick <= self.frames * 1.0001 and tick % 1 == 0):
            x = self.x(tick)
            parts.append(f'<line x1="{x:.2f}" x2="{x:.2f}" y1="{self.top}" y2="{self.bottom}" {grid}/>')
            parts.append(_text(x, self.bottom + 19, _label(tick), anchor="middle"))
        line = 'stroke="#80868b" stroke-width="1.2"'
        parts.append(f'<line x1="{self.left}" x2="{self.right}" y1="{self.bottom}" y2="{self.bottom}" {line}/>')
        middle = (self.top + self.bottom) / 2
        parts.append(_text((self.left + self.right) / 2, self.bottom + 39, "frames", anchor="middle"))
        turn = f'fill="#3c4043" transform="rotate(-90 18 {middle:.1f})"'
        return [*parts, _text(18, middle, "undiscounted return", anchor="middle", more=turn)]


def _drawn(plot: _Plot, curve: _Curve, frames: np.ndarray, values: np.ndarray) -> tuple[str, str]:
    """A curve's band, which goes below every line, and its line."""
    mean, band, marks = np.nanmean(values, 1), "", ""
    if values.shape[1] > 1:
        edge = plot.pairs([*frames, *frames[::-1]], [*np.nanmin(values, 1), *np.nanmax(values, 1)[::-1]])
        band = f'<polygon points="{edge}" fill="{curve.colour}" fill-opacity="0.16"/>'
    if len(frames) <= 30:
        radius = curve.width + 0.6
        places = [(plot.x(x), plot.y(y)) for x, y in zip(frames, mean, strict=True)]
        dots = [f'<circle cx="{x:.2f}" cy="{y:.2f}" r="{radius:.1f}" fill="{curve.colour}"/>' for x, y in places]
        marks = "".join(dots)
    line = f'fill="none" stroke="{curve.colour}" stroke-width="{curve.width}" stroke-linejoin="round"'
    return band, f'<polyline data-metric="{curve.key}" points="{plot.pairs(frames, mean)}" {line}/>{marks}'


def _legend(entries: Sequence[tuple[str, str, float]], top: float) -> list[str]:
    """Lines with their names and last values, in two columns below the plot."""
    parts = []
    for k, (stroke, name, value) in enumerate(entries):
        x, y = 70 + 328 * (k % 2), top + 22 * (k // 2)
        parts.append(f'<line x1="{x}" x2="{x + 26}" y1="{y - 4.5}" y2="{y - 4.5}" {stroke}/>')
        parts.append(_text(x + 34, y, f"{name}: {_label(round(float(value), 3), 5)}", size=12))
    return parts


def learning_curve(
    records: Sequence[dict], path: str | os.PathLike, title: str, baselines: dict[str, float] | None = None
) -> None:
    """Draws the returns of a run over its frames, as an SVG that stands alone.

    Several seeds are shown by their mean, in a band from the lowest to the highest of them.

    Args:
      records: the lines of metrics.jsonl; what is null or missing is not drawn.
      path: the file to write.
      title: the heading.
      baselines: names and returns of dashed horizontal lines, such as the random policy's.

    Raises:
      OSError: the file cannot be written.
    """
    lines = [(curve, *_points(records, curve.key)) for curve in _curves]
    lines = [(curve, frames, values) for curve, frames, values in lines if len(frames)]
    baselines = {name: value for name, value in (baselines or {}).items() if value is not None and math.isfinite(value)}
    seen = [*baselines.values(), *(v for _, _, values in lines for v in values[np.isfinite(values)])] or [0.0, 1.0]
    plot = _Plot(max((frames.max() for _, frames, _ in lines), default=1.0), min(seen), max(seen))
    drawn = [_drawn(plot, *line) for line in lines]
    entries = [
        (f'stroke="{curve.colour}" stroke-width="{curve.width + 1}"', curve.name, np.nanmean(values, 1)[-1])
        for curve, _, values in reversed(lines)
    ]
    dashes = []
    for k, (name, value) in enumerate(baselines.items()):
        stroke = f'stroke="#202124" stroke-width="1.3" stroke-dasharray="{("7 5", "2 4", "9 3 2 3")[k % 3]}"'
        y = f"{plot.y(value):.2f}"
        dashes.append(f'<line data-baseline="{k}" x1="{plot.left}" x2="{plot.right}" y1="{y}" y2="{y}" {stroke}/>')
        entries.append((stroke, name, value))
    seeds = max((values.shape[1] for _, _, values in lines), default=1)
    note = f"mean of {seeds} seeds; band: lowest to highest seed" if seeds > 1 else "one seed"
    parts = [
        _text(plot.left, 30, title, size=18, more='fill="#202124" font-weight="600"'),
        _text(plot.left, 49, note if lines else "no returns yet", size=12, more='fill="#5f6368"'),
        *plot.axes(), *(band for band, _ in drawn), *dashes, *(line for _, line in drawn),
        *_legend(entries, plot.bottom + 70),
    ]  # fmt: skip
    height = round(plot.bottom + 70 + 22 * ((len(entries) + 1) // 2))
    fonts = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', 'DejaVu Sans', Arial, sans-serif"
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 720 {height}" width="720" height="{height}"'
    body = "\n".join([f'<rect width="720" height="{height}" fill="#ffffff"/>', *filter(None, parts)])
    pathlib.Path(path).write_text(f'{head} role="img" font-family="{fonts}">\n{body}\n</svg>\n', encoding="utf-8")


def _clip(frames) -> np.ndarray:
    """Frames as uint8[n, H, W, 3], or an error that says what they are."""
    clip = np.asarray(frames)
    if clip.ndim != 4 or clip.shape[-1] != 3 or clip.dtype != np.uint8 or not clip.size:
        raise ValueError(f"a clip is uint8[n, H, W, 3] and not empty; this one is {clip.dtype}{list(clip.shape)}")
    return clip


def _enlarged(image: np.ndarray, scale: int) -> np.ndarray:
    """Every pixel as a square of `scale` by `scale`, of images [H, W] or [H, W, 3]."""
    return image.repeat(scale, axis=0).repeat(scale, axis=1)


def _packed(frame: np.ndarray) -> np.ndarray:
    """Each pixel as one number below 2²⁴."""
    red, green, blue = np.moveaxis(frame.astype(np.int32), -1, 0)
    return red << 16 | green << 8 | blue


def _palette(clip: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A palette uint8[n, 3] for all frames, and the entry uint8[2²⁴] of every colour in them."""
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
    # The flat colours of the game stay as they are; a median cut divides the rest, which are shades.
    exact = min(int((counts[seen] * 1024 >= counts.sum(dtype=np.int64)).sum()), 128)
    cut = Image.fromarray(colours[exact:][None]).quantize(256 - exact, Image.Quantize.MEDIANCUT)
    palette = np.concatenate([colours[:exact], np.array(cut.getpalette(), np.uint8).reshape(-1, 3)[: 256 - exact]])
    entries[seen] = np.concatenate([np.arange(exact), exact + np.asarray(cut)[0].astype(int)])
    return palette, entries


def animation(frames, path: str | os.PathLike, frame_ms: int = 120, scale: int = 2) -> None:
    """Writes a GIF that repeats for ever, and rests a second on its last frame.

    Up to 256 colours are kept exactly; of more, those that fill a thousandth of the clip are.

    Args:
      frames: uint8[n, H, W, 3].
      path: the file to write.
      frame_ms: how long a frame stays; GIF counts in tens of milliseconds.
      scale: how many pixels wide a pixel becomes.

    Raises:
      ValueError: the frames are none.
      OSError: the file cannot be written.
    """
    clip = _clip(frames)
    palette, entries = _palette(clip)
    images = [Image.fromarray(_enlarged(entries[_packed(frame)], scale)) for frame in clip]
    for image in images:
        image.putpalette(palette.tobytes())
    durations = [frame_ms] * (len(images) - 1) + [max(frame_ms, 1000)]
    images[0].save(path, "GIF", save_all=True, append_images=images[1:], duration=durations, loop=0, optimize=False)


def _caption(text: str, width: int, height: int) -> np.ndarray:
    """A light strip uint8[height, width, 3] with one or two lines of text, as large as fits."""
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
    # A few greys are enough for smooth letters, and leave the palette of a GIF to the game.
    return np.repeat(np.asarray(strip)[..., None] // 8 * 8, 3, axis=-1)


def side_by_side(left, right, captions: tuple[str, str], scale: int = 2) -> np.ndarray:
    """Two clips next to each other, each below its caption; the shorter one holds its last frame.

    The captions are drawn after the frames are enlarged, so show the result with a scale of 1.

    Args:
      left, right: uint8[n, H, W, 3]; lengths and sizes may differ.
      captions: what stands above each, such as "fully observable · return 0.93".
      scale: how many pixels wide a pixel of the clips becomes.

    Returns:
      uint8[n, H', W', 3], the longer n.

    Raises:
      ValueError: a clip is none.
    """
    clips = [_clip(clip).repeat(scale, axis=1).repeat(scale, axis=2) for clip in (left, right)]
    length, tallest = (max(clip.shape[axis] for clip in clips) for axis in (0, 1))
    strip, gap = 40, 8
    width = sum(clip.shape[2] for clip in clips) + 3 * gap
    canvas = np.full((length, strip + tallest + gap, width, 3), 248, np.uint8)
    x = gap
    for clip, caption in zip(clips, captions, strict=True):
        held = clip[np.minimum(np.arange(length), len(clip) - 1)]
        canvas[:, :strip, x : x + clip.shape[2]] = _caption(caption, clip.shape[2], strip)
        canvas[:, strip : strip + clip.shape[1], x : x + clip.shape[2]] = held
        x += clip.shape[2] + gap
    return canvas


def save_png(frame, path: str | os.PathLike, scale: int = 1) -> None:
    """Writes a frame uint8[H, W, 3] as a PNG, each pixel as a square of `scale` by `scale`.

    Raises:
      ValueError: it is no frame.
      OSError: the file cannot be written.
    """
    Image.fromarray(_enlarged(_clip(np.asarray(frame)[None])[0], scale)).save(path, "PNG")
