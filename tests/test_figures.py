"""The figures show the numbers they are given: read back from matplotlib, and from the SVG that is written."""

import contextlib
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from podarcade.reporting import figures, statistics

svg = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def made(monkeypatch):
    """The matplotlib figures that are saved."""
    found, original = [], figures.saved

    @contextlib.contextmanager
    def keep(path, width, height):
        with original(path, width, height) as figure:
            yield figure
        found.append(figure)

    monkeypatch.setattr(figures, "saved", keep)
    return found


def drawn(tmp_path, made, records, baselines=None, title="CartPole"):
    """The axes of a learning curve, and the SVG."""
    path = tmp_path / "curve.svg"
    figures.learning_curve(records, path, title, baselines)
    (axes,) = made[-1].axes
    return axes, ElementTree.parse(path).getroot()


def texts(root):
    return [element.text for element in root.iter(f"{svg}text")]


def lines(axes):
    return {line.get_gid(): line.get_xydata() for line in axes.lines}


def record(frames, **metrics):
    return {"updates": frames // 10, "frames": frames} | {f"eval/{key}": value for key, value in metrics.items()}


def test_points_lie_where_the_axes_say(tmp_path, made):
    records = [record(frames, return_full=frames / 200_000) for frames in (0, 100_000, 150_000, 200_000)]
    axes, root = drawn(tmp_path, made, records)
    np.testing.assert_allclose(lines(axes)["eval/return_full"], [(0, 0), (1e5, 0.5), (1.5e5, 0.75), (2e5, 1)])
    assert {"0", "100k", "200k", "frames (environment steps)", "undiscounted return"} <= set(texts(root))
    assert axes.get_xlim()[0] == 0


def test_a_band_spans_the_seeds_and_the_line_is_their_mean(tmp_path, made):
    records = [
        {"updates": 1, "frames": [50, 50, 50], "train/return": [0.0, 1.0, 0.5]},
        {"updates": 2, "frames": [100, 100, 100], "train/return": [0.25, None, 0.75]},
    ]
    axes, root = drawn(tmp_path, made, records)
    (band,) = axes.collections
    assert band.get_gid() == "train/return/range"
    corners = {tuple(point) for point in band.get_paths()[0].vertices}
    assert {(50, 0), (50, 1), (100, 0.25), (100, 0.75)} == corners
    np.testing.assert_allclose(lines(axes)["train/return"][:, 1], [0.5, 0.5])
    assert any("3 seeds" in text and "lowest to highest" in text for text in texts(root))


def test_one_seed_has_no_band(tmp_path, made):
    axes, root = drawn(tmp_path, made, [record(10, return_full=[1.0]), record(20, return_full=[2.0])])
    assert not axes.collections
    assert "one seed" in texts(root)


def test_null_and_missing_values_are_left_out(tmp_path, made):
    records = [
        record(0, return_full=0.5, return_partial=None),
        record(10),
        record(20, return_full=[None, float("nan")]),
        record(30, return_full=1.0, return_partial=0.25),
        {"updates": 4, "return_full": 3.0},
    ]
    axes, _ = drawn(tmp_path, made, records)
    assert {key: len(points) for key, points in lines(axes).items()} == {
        "eval/return_full": 2,
        "eval/return_partial": 1,
    }


def test_one_point_is_visible(tmp_path, made):
    axes, _ = drawn(tmp_path, made, [record(0, return_full=7.0)], {"random policy": 7.0})
    line = axes.lines[0]
    assert line.get_marker() == "o" and line.get_xydata().tolist() == [[0, 7]]


@pytest.mark.parametrize("records", [[], [{"updates": 0, "frames": 0}], [record(10, return_full=None)]])
def test_a_run_without_returns_still_has_a_picture(tmp_path, made, records):
    assert "no returns yet" in texts(drawn(tmp_path, made, records)[1])


def test_baselines_are_dashed_at_their_return(tmp_path, made):
    baselines = {"random policy": -0.5, "unknown": None, "none": float("nan")}
    axes, root = drawn(tmp_path, made, [record(10, return_full=1.0)], baselines)
    (line,) = [line for line in axes.lines if line.get_gid().startswith("baseline/")]
    assert line.get_linestyle() == "--" and list(line.get_ydata()) == [-0.5, -0.5]
    assert "random policy: -0.5" in texts(root)


def test_text_is_escaped(tmp_path, made):
    title, name = "<script>&\x00\x1b</script> $x^2$", 'a < "b" & c'
    _, root = drawn(tmp_path, made, [record(10, return_full=1.0)], {name: 0.0}, title=title)
    assert "<script>&</script> $x^2$" in texts(root)
    assert 'a < "b" & c: 0' in texts(root)


def test_a_long_run_stays_a_small_file_and_repeats_to_the_last_byte(tmp_path, made):
    records = [record(10 * k, return_full=[k / 5000, None if k % 7 else 1.0]) for k in range(5000)]
    axes, _ = drawn(tmp_path, made, records)
    assert len(lines(axes)["eval/return_full"]) == 300
    first = (tmp_path / "curve.svg").read_bytes()
    assert len(first) < 60_000
    drawn(tmp_path, made, records)
    assert (tmp_path / "curve.svg").read_bytes() == first


def row(twin, name, returns):
    """A row of a comparison, of a level without known bounds: evaluated at 0 and 100 frames, returns [n][S]."""
    other = "full" if twin == "partial" else "partial"
    return {
        "task": {"game": "tetris", "level": "other", "twin": twin}, "variant": name, "random": -0.5, "end": returns[-1],
        "curve": {"frames": [0, 100], twin: returns, other: returns},
    }  # fmt: skip


def compared():
    seeds = np.random.default_rng(0).normal(size=(2, 6)).tolist()
    return [
        row("full", "one", [[0.0], [0.5]]),
        row("full", "few", [[0.0, 0.2], [0.5, 0.7]]),
        row("partial", "few", [[0.0, 0.2], [0.5, 0.7]]),
        row("partial", "many", seeds),
    ]


def test_comparison_curves_have_a_panel_per_task_and_bands_from_enough_seeds_only(tmp_path, made):
    rows = compared()
    figures.comparison_curves(rows, tmp_path / "curves.png")
    full, partial = made[-1].axes
    assert [axes.get_title() for axes in (full, partial)] == ["tetris other, full twin", "tetris other, partial twin"]
    assert lines(full)["few"].tolist() == [[0, 0.1], [100, 0.6]]
    assert not full.collections, "one and two seeds have no band"
    assert len(full.lines) == 1 + (1 + 2) + 1, "a line for one seed; mean and seeds of two; the random policy"
    (band,) = partial.collections
    _, low, high, _ = statistics.interval(rows[3]["curve"]["partial"])
    np.testing.assert_allclose(band.get_paths()[0].get_extents().intervaly, [low.min(), high.max()])
    (legend,) = made[-1].legends
    assert [text.get_text() for text in legend.get_texts()] == ["one", "few", "many", "random policy"]
    assert "mean of 1 to 6 seeds" in made[-1].get_suptitle() and "95 % Student t" in made[-1].get_suptitle()
    assert (tmp_path / "curves.png").stat().st_size > 10_000


def test_many_variants_differ_in_colour_or_style():
    looks = figures._looks([{"variant": str(number)} for number in range(20)])
    assert len(set(looks.values())) == 20


def test_comparison_returns_show_every_seed_and_no_interval_of_one(tmp_path, made):
    figures.comparison_returns(compared(), tmp_path / "returns.png")
    full = made[-1].axes[0]
    assert [label.get_text() for label in full.get_yticklabels()] == ["many", "few", "one"]
    shown = {(line.get_marker(), len(line.get_xdata())) for line in full.lines if line.get_ydata()[0] == 2}
    assert shown == {("o", 1), ("D", 1)}, "one seed: a point and its mean, no bar"
    (bar,) = [line for line in full.lines if line.get_marker() == "None" and list(line.get_ydata()) == [1, 1]]
    mean, low, high, _ = statistics.interval([0.5, 0.7])
    np.testing.assert_allclose(bar.get_xdata(), [low, high])
    assert {line.get_gid(): line.get_xdata()[0] for line in full.lines if line.get_marker() == "D"}["few"] == mean
