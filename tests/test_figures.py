"""The learning curve puts numbers where they belong; the clips are pixel for pixel what was given."""

import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from PIL import Image

from podarcade.reporting import figures
from podarcade.reporting.figures import animation, learning_curve, save_png, side_by_side

svg = "{http://www.w3.org/2000/svg}"


def drawn(tmp_path, records, baselines=None, title="CartPole"):
    path = tmp_path / "curve.svg"
    learning_curve(records, path, title, baselines)
    return ElementTree.parse(path).getroot()


def texts(root):
    return [element.text for element in root.iter(f"{svg}text")]


def lines(root):
    return {
        line.get("data-metric"): np.array([[float(n) for n in pair.split(",")] for pair in line.get("points").split()])
        for line in root.iter(f"{svg}polyline")
    }


def band(root):
    (polygon,) = root.iter(f"{svg}polygon")
    return np.array([[float(n) for n in pair.split(",")] for pair in polygon.get("points").split()])


def place(root, label, axis):
    """Where the axis says that a number is: the middle of the grid line drawn just before its label."""
    before = None
    for element in root:
        if element.tag == f"{svg}text" and element.text == label:
            return float(before.get(axis))
        before = element
    raise AssertionError(f"no label {label} in {texts(root)}")


def record(frames, **metrics):
    return {"updates": frames // 10, "frames": frames} | {f"eval/{key}": value for key, value in metrics.items()}


def test_points_lie_where_the_axes_say(tmp_path):
    root = drawn(tmp_path, [record(frames, return_full=frames / 200_000) for frames in (0, 100_000, 150_000, 200_000)])
    points = lines(root)["eval/return_full"]
    zero, half, one = (place(root, label, "y1") for label in ("0", "0.5" if "0.5" in texts(root) else "0.4", "1"))
    assert points[0, 1] == zero and points[-1, 1] == one and one < half < zero
    assert points[2, 1] == pytest.approx(zero + 0.75 * (one - zero), abs=0.02)
    assert points[1, 0] == place(root, "100k", "x1")
    assert points[2, 0] == place(root, "150k", "x1")
    assert points[3, 0] == place(root, "200k", "x1")


def test_a_band_spans_the_seeds_and_the_line_is_their_mean(tmp_path):
    records = [
        {"updates": 1, "frames": [50, 50, 50], "train/return": [0.0, 1.0, 0.5]},
        {"updates": 2, "frames": [100, 100, 100], "train/return": [0.25, None, 0.75]},
    ]
    root = drawn(tmp_path, records)
    zero, one = (place(root, label, "y1") for label in ("0", "1"))
    heights = (band(root)[:, 1] - zero) / (one - zero)
    assert heights == pytest.approx([0, 0.25, 0.75, 1], abs=1e-3)
    assert (lines(root)["train/return"][:, 1] - zero) / (one - zero) == pytest.approx([0.5, 0.5], abs=1e-3)
    assert any("3 seeds" in text and "lowest to highest" in text for text in texts(root))


def test_one_seed_has_no_band(tmp_path):
    root = drawn(tmp_path, [record(10, return_full=[1.0]), record(20, return_full=[2.0])])
    assert not list(root.iter(f"{svg}polygon"))
    assert "one seed" in texts(root)


def test_what_is_null_or_missing_is_left_out(tmp_path):
    records = [
        record(0, return_full=0.5, return_partial=None),
        record(10),
        record(20, return_full=[None, float("nan")]),
        record(30, return_full=1.0, return_partial=0.25),
        {"updates": 4, "return_full": 3.0},
    ]
    assert {key: len(points) for key, points in lines(drawn(tmp_path, records)).items()} == {
        "eval/return_full": 2,
        "eval/return_partial": 1,
    }


def test_one_point_is_visible(tmp_path):
    root = drawn(tmp_path, [record(0, return_full=7.0)], {"random policy": 7.0})
    (dot,) = root.iter(f"{svg}circle")
    assert float(dot.get("cy")) == place(root, "7", "y1")
    assert float(dot.get("cx")) == place(root, "0", "x1")


@pytest.mark.parametrize("records", [[], [{"updates": 0, "frames": 0}], [record(10, return_full=None)]])
def test_a_run_without_returns_still_has_a_picture(tmp_path, records):
    assert "no returns yet" in texts(drawn(tmp_path, records))


def test_baselines_are_dashed_at_their_return(tmp_path):
    root = drawn(
        tmp_path, [record(10, return_full=1.0)], {"random policy": -0.5, "unknown": None, "none": float("nan")}
    )
    (line,) = [line for line in root.iter(f"{svg}line") if line.get("data-baseline")]
    assert line.get("stroke-dasharray")
    above, below = place(root, "\N{MINUS SIGN}0.4", "y1"), place(root, "\N{MINUS SIGN}0.6", "y1")
    assert float(line.get("y1")) == pytest.approx((above + below) / 2, abs=0.02)
    assert "random policy: \N{MINUS SIGN}0.5" in texts(root)


def test_text_is_escaped(tmp_path):
    root = drawn(tmp_path, [record(10, return_full=1.0)], {'a < "b" & c': 0.0}, title="<script>&\x00\x1b</script>")
    assert "<script>&</script>" in texts(root)
    assert 'a < "b" & c: 0' in texts(root)


def test_a_long_run_stays_a_small_file(tmp_path):
    records = [record(10 * k, return_full=[k / 5000, None if k % 7 else 1.0]) for k in range(5000)]
    root = drawn(tmp_path, records)
    assert len(lines(root)["eval/return_full"]) == 300
    assert (tmp_path / "curve.svg").stat().st_size < 40_000


@pytest.mark.parametrize(
    "low, high, expected",
    [
        (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (-0.45, 0.9, [-0.6, -0.4, -0.2, 0, 0.2, 0.4, 0.6, 0.8, 1]),
        (0, 0.3, [0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3]),
        (-21, 21, [-30, -20, -10, 0, 10, 20, 30]),
    ],
)
def test_ticks_are_round(low, high, expected):
    assert figures._ticks(low, high, 8) == expected


@pytest.mark.parametrize(
    "number, label",
    [(0, "0"), (5000, "5000"), (10_000, "10k"), (200_000, "200k"), (1_500_000, "1.5M"), (2e9, "2B"), (0.25, "0.25")],
)
def test_labels(number, label):
    assert figures._label(number) == label


def shapes(length, colours, size=12):
    """A clip of a dot that moves over flat ground."""
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
def test_what_is_no_clip_is_refused(tmp_path, frames):
    with pytest.raises(ValueError, match=r"uint8\[n, H, W, 3\].*this one is"):
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
