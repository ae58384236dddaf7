"""Sections of the report on diagnostics, on Gap and Bias, and on what was logged while training."""

import io
import json
import time
import types

import numpy as np
import pytest
import reported
from PIL import Image
from reported import made

from podarcade.agents import training
from podarcade.diagnostics import numbers
from podarcade.diagnostics.probes import PROBES, SOURCES
from podarcade.diagnostics.recall_density import MEASURES
from podarcade.diagnostics.twins import PATHS
from podarcade.reporting import clips, saliency_pictures, statistics
from podarcade.reporting.report import (
    contamination,
    curves,
    drawing,
    in_training,
    parameters,
    recall,
    sections,
    twins,
    writing,
)
from podarcade.reporting.report.reading import KEPT, Curve

STEPS = 9  # lags 0 to 8
MEASURE_LABELS = [label for label, *_ in recall.ROWS.values()]  # in the table of recall density
HALF = {"trained": 0.5, "untrained": 0.25}  # e(l) is this to the power of l


@pytest.fixture(scope="module", autouse=True)
def counted():
    """Numbers of parameters take a second of tracing for each network: another test counts them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parameters, "_count", lambda text: {"all": 1234, "memory": 56})
        yield


def disturbed(seeds):
    """Arrays of contamination with e(l) = r^l; a third of the greedy actions flip at lag 1, none elsewhere."""
    arrays = {}
    for agent, prefix in (("trained", ""), ("untrained", "untrained/")):
        for kind in ("noise", "swap", "shuffle", "shuffle_moved"):
            size = np.full((seeds, 2, STEPS), 3.0)
            arrays[f"{prefix}{kind}_size"] = size
            arrays[f"{prefix}{kind}_change"] = size * HALF[agent] ** np.arange(STEPS)
            arrays[f"{prefix}{kind}_pairs"] = np.full((seeds, 2, STEPS), 6.0)
            flips = np.zeros((seeds, 2, STEPS))
            flips[..., 1] = 2
            arrays[f"{prefix}{kind}_flips"] = flips
            arrays[f"{prefix}{kind}_near_tie_flips"] = 0 * flips
    return arrays


def lost(seeds):
    """Summaries of contamination: seed k has a half-life of k + 1, and loses k."""
    return {
        str(k): {
            "swap": {"half_life": k + 1},
            "noise": {"half_life": None},
            "closed_loop": {"swap": {"drop": float(k)}, "noise": {"drop": 0.5}},
        }
        for k in range(seeds)
    }


def read(seeds, has_memory=True):
    """Arrays of probes: a quantity with few values that is needed, one that is not, and one of many values."""
    arrays = {}
    values = {"memory": 0.9, "untrained": 0.6, "observation": 0.2, "present": 0.3}
    for quantity in ("needed.suit", "clock", "needed.speed"):
        for source in SOURCES:
            value = values[source] if has_memory or source in ("observation", "present") else np.nan
            for place, probe in enumerate(PROBES):
                for score in ("r2", "within") + ("accuracy",) * (quantity != "needed.speed"):
                    name = f"{quantity}/{source}/{probe}/{score}"
                    arrays[name] = np.full(seeds, value + 0.05 * place, np.float32)
                    arrays[f"{name}_at"] = np.full((seeds, STEPS), value + 0.05 * place, np.float32)
        if quantity != "needed.speed":
            arrays[f"{quantity}/chance/accuracy"] = np.full(seeds, 0.25, np.float32)
            arrays[f"{quantity}/chance/accuracy_at"] = np.full((seeds, STEPS), 0.25, np.float32)
    return arrays


def apart(seeds):
    """Summaries of twins: preference 1.5, of which seed k sees k / 10, on episodes of either twin."""
    one = {"preference": 1.5, "remembering": 0.5, "flips": 0.25, "clear_flips": 0.25, "value": -1.0, "value_size": 1.0}
    return {str(k): {path: one | {"seeing": k / 10} for path in PATHS} for k in range(seeds)}


def seen(seeds, steps=5, features=3):
    """Arrays of saliency of features: feature 1 alone, as much as the step."""
    past = np.zeros((seeds, 1, steps, features), np.float16)
    past[..., 1] = np.arange(steps) / (steps - 1)
    last = np.full((seeds, 1), steps - 1)
    return {f"{twin}/{name}": x for twin in PATHS for name, x in (("past", past), ("present", past), ("last", last))}


def measured(run, seeds, has_memory=True):
    """Write everything that can be measured into the folder of a run."""
    reported.diagnose(run, "recall_density", {str(k): {} for k in range(seeds)}, densities(seeds))
    reported.diagnose(run, "contamination", lost(seeds), disturbed(seeds), untrained=lost(seeds))
    reported.diagnose(run, "probes", {str(k): {} for k in range(seeds)}, read(seeds, has_memory))
    reported.diagnose(run, "twins", apart(seeds))
    now = {twin: {"now": 0.25} for twin in PATHS}
    reported.diagnose(run, "saliency", {str(k): now for k in range(seeds)}, seen(seeds))


def densities(seeds, steps=6):
    """Occlusion is all at time 1, which is needed; that of untrained networks is all at the present."""
    last, needed = np.full(3, steps - 1), np.full(3, 1)
    early, late = np.zeros((2, 3, steps))
    early[:, 1] = late[:, -1] = 1
    arrays = {"l1": late, "occlusion": early, "integrated": early, "attention": late, "last": last, "needed": needed}
    control = {"l1": late, "occlusion": late, "last": last, "needed": needed}
    arrays |= {f"untrained/{name}": value for name, value in control.items()}
    return {name: np.stack([value] * seeds) for name, value in arrays.items()}


def logged(about, evaluations=4):
    """Lines of metrics.jsonl with churn, which halves, and with diagnostics; twenty more of these than are drawn."""
    lines, seeds = reported.records(about, evaluations=evaluations), about["seeds"]
    for place, line in enumerate(lines):
        line |= {"train/churn": [0.5**place] * seeds, "train/churn_step": [0.1] * seeds, "train/loss": [1.0] * seeds}
        line |= {"train/churn_near_ties": [None] * seeds if place else [0.5] * seeds, "diagnostics/seconds": 1.0}
        line |= {"diagnostics/recall_density/occlusion/now": [place / 10 + k if place else None for k in range(seeds)]}
        line |= {f"diagnostics/mine/number{k:02}": [k] * seeds for k in range(31)}
    lines[1]["diagnostics/mine/ragged"] = [1.0] * (seeds + 1)
    return lines


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Runs on both twins of a task, with and without memory, with everything that can be measured."""
    root = tmp_path_factory.mktemp("runs")
    for twin, partial in (("partial", "true"), ("full", "false")):
        for memory, seeds, shift in (("gru", 5, 0.0), ("none", 3, 0.1)):
            about = reported.config(memory=memory, seeds=seeds, partial=partial)
            lines = reported.records(about, shift=shift)
            run = reported.write(root / f"tmaze-{twin}" / memory, about, logged(about) if memory == "gru" else lines)
            measured(run, seeds, has_memory=memory == "gru")
    return root


@pytest.fixture(scope="module")
def shown(folder, tmp_path_factory):
    return made(tmp_path_factory.mktemp("out"), folder)


def rows(columns, **chosen):
    """Rows of columns in which some of them have given values."""
    found = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    return [row for row in found if all(row[name] == value for name, value in chosen.items())]


def section_of(folder, name):
    """A section as report.json has it, with its text, without drawing anything; None if it is left out."""
    found = [section for section in sections.made(*writing.gather([folder])) if section.name == name]
    texts = [str(part) for section in found for part in section.parts if isinstance(part, str)]
    return json.loads(json.dumps(found[0].content())) | {"text": " ".join(texts)} if found else None


def figures_of(folder):
    runs, broken = writing.gather([folder])
    return {figure.name: figure for section in sections.made(runs, broken) for figure in section.figures}


def drawn(figure):
    """Everything that a figure draws: lines, bars, areas and texts."""
    with drawing._drawn(figure) as canvas:
        found = []
        for axes in canvas.axes:
            found += [line.get_xydata().tolist() for line in axes.lines]
            found += [path.vertices.tolist() for area in axes.collections for path in area.get_paths()]
            found += [image.get_array().tolist() for image in axes.images]
            found += [patch.get_window_extent().bounds for patch in axes.patches]
            found += [axes.get_title(loc="left"), axes.get_xlabel(), axes.get_ylabel()]
        return found


def test_every_figure_is_drawn_from_its_columns(folder, shown):
    """The data of report.json draw the same figures."""
    _, numbers = shown
    recorded = {name: columns for section in numbers.values() for name, columns in section["figures"].items()}
    figures = figures_of(folder)
    new = {"gap-bars", "gap-scatter", "contamination", "probes-needed", "probes-time", "twins", "saliency", "churn"}
    assert new | {"in-training"} <= figures.keys() == recorded.keys()
    for name in sorted(new | {"in-training", "recall-curves", "recall-needed"}):
        again = figures[name].__class__(**{**figures[name].__dict__, "columns": recorded[name]})
        found = drawn(figures[name])
        assert len(found) > 4 and repr(drawn(again)) == repr(found), name


# Gap and Bias.


def test_gap_and_bias_are_those_of_the_final_returns(shown):
    """Final returns are 0.75 on the partial and 0.5 on the full twin, 0.1 more without memory; seeds add 0.01 each."""
    page, numbers = shown
    gru, none = numbers["gap_bias"]["entries"]
    assert (gru["variant"], gru["control"], none["control"]) == ("gru", "none", "none")
    assert gru["gap"]["mean"] == pytest.approx(0.5 - 0.75)
    assert gru["bias"]["mean"] == pytest.approx(0.52 - 0.61)  # five seeds and three
    assert gru["gap"]["low"] < gru["gap"]["mean"] < gru["gap"]["high"]
    row = next(row for row in page.rows if row[:3] == ["tmaze-easy", "gru", "none"])
    assert row[3] == "5/3" and row[6].startswith("−0.250") and row[7].startswith("−0.090")  # noqa: RUF001
    (drawn,) = rows(numbers["gap_bias"]["figures"]["gap-scatter"], variant="gru", panel="tmaze-easy")
    assert drawn["gap"] == pytest.approx(-0.25) and drawn["region_00"] is not None


def test_missing_cells_are_stated(tmp_path):
    for twin, memories in (("true", ("gru", "none", "stack")), ("false", ("gru", "none"))):
        for memory in memories:
            about = reported.config(memory=memory, partial=twin)
            reported.write(tmp_path / "runs" / twin / memory, about, reported.records(about))
    stopped = reported.config(memory="stack", partial="false")
    reported.write(tmp_path / "runs" / "stopped", stopped, reported.records(stopped, complete=False))
    found = section_of(tmp_path / "runs", "gap_bias")
    (line,) = found["missing"]
    assert "stack" in line and "full twin" in line and line in found["text"]
    assert "stack" not in found["figures"]["gap-bars"]["variant"]


@pytest.mark.parametrize(
    "runs, line",
    [
        ([("gru", "true"), ("none", "true")], "runs on both twins"),
        ([("gru", "true"), ("gru", "false")], "a control without memory"),
        ([("gru", "true"), ("stack", "true")], None),
        ([("none", "true")], None),
    ],
)
def test_what_gap_and_bias_lack_is_a_line(tmp_path, runs, line):
    for memory, partial in runs:
        about = reported.config(memory=memory, partial=partial)
        reported.write(tmp_path / "runs" / f"{memory}-{partial}", about, reported.records(about))
    found = section_of(tmp_path / "runs", "gap_bias")
    assert found is None if line is None else line in found["text"] and not found["figures"]


def test_memories_of_different_options_have_names_of_their_own(tmp_path):
    """Runs of one experiment share a name on both twins, although their paths differ; more seeds are pooled."""
    for partial in ("true", "false"):
        for name, memory, rate, seed in (
            ("a", "gru", 0.1, 0),
            ("b", "gru", 0.2, 0),
            ("c", "gru", 0.1, 7),
            ("d", "none", 0.1, 0),
        ):
            about = reported.config(memory=memory, partial=partial, seed=seed, **{"algorithm.learning_rate": rate})
            reported.write(tmp_path / "runs" / f"{name}-{partial}", about, reported.records(about))
    found = {entry["variant"]: entry for entry in section_of(tmp_path / "runs", "gap_bias")["entries"]}
    one, other = (f"ppo gru algorithm.learning_rate={rate}" for rate in (0.1, 0.2))
    assert found.keys() == {one, other, "ppo none"}
    assert len(found[one]["full"]) == 4 and len(found[other]["full"]) == 2
    assert found[one]["control"] == "ppo none" and not found[other]["control"]  # of another learning rate


def test_runs_that_have_no_gap_are_left_out(tmp_path):
    """A diverged seed, a task and a configuration of other versions."""
    for twin in ("true", "false"):
        for memory in ("gru", "none", "stack", "lru"):
            about = reported.config(memory=memory, partial=twin)
            lines = reported.records(about)
            if memory == "gru":
                lines[-1] |= {f"final/return_{name}": [0.5, None] for name in PATHS}
            if memory == "stack":
                about["network"] = []
            if memory == "lru":
                about["environment"]["name"] = "game_of_tomorrow"
            reported.write(tmp_path / "runs" / twin / memory, about, lines)
    found = section_of(tmp_path / "runs", "gap_bias")
    lines = found["missing"]
    assert {entry["variant"] for entry in found["entries"]} == {"none"}
    assert len(lines) == 6 and sum("returns of some seeds" in line for line in lines) == 2
    assert sum("no network" in line for line in lines) == 2 and sum("game_of_tomorrow" in line for line in lines) == 2


# Diagnostics.


def test_contamination_is_shown_beside_its_control(shown):
    page, numbers = shown
    columns = numbers["contamination"]["figures"]["contamination"]
    for agent, base in HALF.items():
        line = rows(columns, run="tmaze-partial/gru", agent=agent, kind="swap", curve="effect")
        assert [row["lag"] for row in line] == [0, 1, 2, 3, 4, 5, 6, 7, 8]
        np.testing.assert_allclose([row["mean"] for row in line], base ** np.arange(STEPS))
        flips = rows(columns, run="tmaze-partial/gru", agent=agent, kind="noise", curve="flips")
        np.testing.assert_allclose([row["mean"] for row in flips][:3], [0, 1 / 3, 0])
    trained, untrained = [
        row
        for row in page.rows
        if row[0] == "tmaze-partial/gru" and row[1] in HALF and len(row) == 14 and row[2] not in MEASURE_LABELS
    ]
    assert trained[2:5] == ["0.500", "0.062", "–"] and untrained[2:4] == ["0.250", "0.004"]  # noqa: RUF001
    assert trained[8:12] == ["3.000 (1.000 to 5.000)", "–", "2.000 (0.000 to 4.000)", "0.500"]  # noqa: RUF001
    assert numbers["contamination"]["runs"]["tmaze-partial/gru"]["untrained"]["swap"]["half_life"] == [1, 2, 3, 4, 5]


def test_lags_are_evenly_spaced_on_a_logarithmic_axis():
    lags = contamination.lags_of(500)
    assert lags[:6] == [0, 1, 2, 3, 4, 5] and lags == sorted(set(lags)) and lags[-1] < 500
    assert {2**power for power in range(9)} <= set(lags) and len(lags) < 40
    assert contamination.lags_of(1) == [0]


def test_contamination_without_a_control_is_shown(tmp_path):
    arrays = {name: array for name, array in disturbed(2).items() if not name.startswith("untrained/")}
    run = reported.write(tmp_path / "run")
    reported.diagnose(run, "contamination", lost(2), arrays)
    assert set(section_of(run, "contamination")["figures"]["contamination"]["agent"]) == {"trained"}


def test_probes_are_shown_beside_their_controls(shown):
    page, numbers = shown
    columns = numbers["probes"]["figures"]["probes-needed"]
    (suit,) = rows(columns, run="tmaze-full/gru", quantity="needed.suit")
    assert (suit["score"], suit["chance"]) == ("accuracy", 0.25)
    assert [suit[f"{source}_linear"] for source in SOURCES] == pytest.approx([0.9, 0.6, 0.2, 0.3])
    assert suit["memory_network"] == pytest.approx(0.95)
    (speed,) = rows(columns, run="tmaze-full/gru", quantity="needed.speed")
    assert (speed["score"], speed["chance"]) == ("r2", None)
    (none,) = rows(columns, run="tmaze-full/none", quantity="needed.suit")
    assert none["memory_linear"] is none["untrained_linear"] is None and none["present_linear"] == pytest.approx(0.3)
    assert (
        "clock" not in columns["quantity"]
        and "tmaze-full/none" not in numbers["probes"]["figures"]["probes-time"]["run"]
    )
    line = rows(numbers["probes"]["figures"]["probes-time"], run="tmaze-full/gru", quantity="needed.suit")
    assert [row["time"] for row in line] == list(range(STEPS)) and line[0]["untrained"] == pytest.approx(0.6)
    row = next(row for row in page.rows if row[:2] == ["tmaze-full/gru", "clock"])
    assert row[2:5] == ["accuracy", "0.250", "0.900"]
    assert "clock/memory/linear/within" in numbers["probes"]["runs"]["tmaze-full/gru"]["scores"]


def test_twins_are_shown_by_cause(shown):
    page, numbers = shown
    (row,) = rows(numbers["twins"]["figures"]["twins"], run="tmaze-partial/gru")
    assert [row[name] for name in twins.BARS] == pytest.approx([0.2, 0.5, 1.5])
    assert (row["seeing_low"], row["seeing_high"]) == (0, 0.4)
    assert page.rows[[row[:3] for row in page.rows].index(["tmaze-partial/gru", "partial", "full"])][3:7] == [
        "0.200 (0.000 to 0.400)", "0.500", "1.500", "0.250",
    ]  # fmt: skip


def test_recall_is_shown_beside_its_control(shown):
    page, numbers = shown
    columns = numbers["recall_density"]["figures"]["recall-needed"]
    found = {(row["agent"], row["measure"]): (row["now"], row["needed"]) for row in rows(columns, run="tmaze-full/gru")}
    assert found == {
        ("trained", "l1"): (1, 0), ("trained", "occlusion"): (0, 1),
        ("untrained", "l1"): (1, 0), ("untrained", "occlusion"): (1, 0),
    }  # fmt: skip
    curves = rows(numbers["recall_density"]["figures"]["recall-curves"], run="tmaze-full/gru", agent="untrained")
    assert {row["twin"] for row in curves} == {"full"} and curves[-1]["mean"] == 1
    table = {tuple(row[1:3]): row for row in page.rows if row[0] == "tmaze-full/gru" and row[1] in HALF}
    # Thirds, present, needed; shuffled: all episodes need time 1; chance: of 6 observations; horizon: time 1 is 4 steps
    # old; agreement with occlusion.
    shares = ["1.000", "0.000", "0.000", "0.000", "1.000", "1.000", "0.167", "4.000", "1.000"]
    assert table["trained", "integrated gradients"][3:12] == shares
    assert table["trained", "attention roll-out"][10:12] == ["0.000", "−0.200"]  # noqa: RUF001
    assert numbers["recall_density"]["runs"]["tmaze-full/gru"]["untrained"]["occlusion"]["horizon"] == [0] * 5


def test_shares_have_both_intervals():
    """Student's over the means of seeds, and the bootstrap of seeds and episodes; of what is known."""
    random, last = np.random.default_rng(0), np.full((3, 8), 5)
    arrays = {name: random.dirichlet(np.ones(6), (3, 8)) for name in MEASURES}
    arrays |= {"last": last, "needed": np.where(np.arange(8) < 6, 1, -1) * np.ones((3, 1), int)}
    arrays["occlusion"][0, 3], arrays["occlusion"][2] = np.nan, np.nan  # no density in an episode, and in a seed
    run = types.SimpleNamespace(seeds=(0, 1, 2))
    entry = types.SimpleNamespace(arrays=lambda: arrays, updates=7, path="here")
    found = recall._density(run, entry)
    (share,) = (cells for cells in recall._interval_cells(found, "trained", "occlusion") if "needed" in cells[0])
    values = [np.delete(arrays["occlusion"][k, :6, 1], [3][k:]) for k in range(2)]
    student, bootstrap = statistics.interval([x.mean() for x in values]), statistics.hierarchical(values)
    assert share == ["at needed time", *map(pytest.approx, (*student[:3], *bootstrap[1:3])), 2]
    assert [cells[0] for cells in recall._interval_cells(found, "trained", "l1")] == [*recall.THIRDS, "at needed time"]
    assert found.resampled["trained", "l1"]["curve"].low.shape == (6,)
    assert np.isnan(found.means["trained", "occlusion"]["needed"]).tolist() == [False, False, True]


def test_saliency_of_features_is_a_map(shown):
    _, numbers = shown
    columns = numbers["saliency"]["figures"]["saliency"]
    one, two, three = rows(columns, run="tmaze-partial/gru", twin="full")
    assert [two[f"step_{k}"] for k in range(5)] == [0, 0.25, 0.5, 0.75, 1] and one["step_4"] == three["step_4"] == 0
    assert (two["feature"], two["seed"], two["trained_on"]) == (1, 0, "partial")
    assert numbers["saliency"]["runs"]["tmaze-partial/gru"]["full"]["now"] == [0.25] * 5


def pixels(side=16, steps=3):
    """Arrays of saliency of pixels: one pixel, brighter by the step."""
    saliency = np.zeros((1, 1, steps, side, side))
    saliency[..., 5, 9] = np.arange(1, steps + 1) / steps
    picture = np.full((1, 1, steps, side, side, 3), 200, np.uint8)
    arrays = {"past": saliency, "present": saliency, "picture": picture, "last": np.full((1, 1), steps - 1)}
    return {f"{twin}/{name}": value for twin in PATHS for name, value in arrays.items()}


def test_saliency_of_pixels_is_inline(tmp_path):
    run = reported.write(tmp_path / "run", reported.config(seeds=1))
    path = reported.diagnose(run, "saliency", {"0": {}}, pixels())
    assert "no pictures beside it" in section_of(run, "saliency")["text"]
    files = saliency_pictures.draw(pixels(), path.with_suffix(""))
    page, numbers = made(tmp_path, run)
    pictures = [one for tag, one in page.elements if tag == "img"]
    assert [one["src"].partition(";")[0] for one in pictures] == ["data:image/png", "data:image/png", "data:image/gif"]
    assert "full twin" in pictures[0]["alt"] and "partial twin" in pictures[1]["alt"]
    assert any("seed 0" in text and "Blurred" in text for text in page.text) and not numbers["saliency"]["others"]
    files[0].write_bytes(b"<svg onload=x>")
    page, numbers = made(tmp_path, run)
    assert numbers["saliency"]["others"] == [str(files[0])]
    assert len([tag for tag, _ in page.elements if tag == "img"]) == 2


def test_saliency_is_blurred_in_place():
    random = np.random.default_rng(0).random((2, 20, 24))
    point = np.zeros((2, 20, 24))
    point[1, 5, 9] = 0.3
    smooth = saliency_pictures.smooth(point)
    assert np.unravel_index(smooth.argmax(), smooth.shape) == (1, 5, 9) and smooth.max() == 1 and not smooth[0].any()
    np.testing.assert_allclose(smooth[1, 5, 4:9], smooth[1, 5, 14:9:-1])
    # exp(-1 / (2 1.5²)) = 0.80 beside the peak: the nearest level of the square root.
    levels = np.sqrt(smooth[1]) * (saliency_pictures.LEVELS - 1)
    assert levels[5, 10] == pytest.approx(round(np.exp(-1 / 9) * 31)) and levels[6, 9] == levels[5, 10]
    assert (
        saliency_pictures.smooth(np.full((1, 9, 9), 0.2)).min() == 1 and not saliency_pictures.smooth(0 * point).any()
    )
    assert saliency_pictures.smooth(random).std() < random.std()


def test_strips_and_films_are_labelled(tmp_path):
    found = pixels(side=64, steps=12)
    picture, saliency = saliency_pictures.episode(found, "full", "past")
    strip = saliency_pictures.strip(picture, saliency, shown=4)
    size, label, step, gap = 64, saliency_pictures.LABEL, saliency_pictures.STEP, saliency_pictures.GAP
    assert strip.shape == (step + 2 * size + gap, label + 4 * (size + gap), 3)
    columns = [slice(label + gap + k * (size + gap), label + (k + 1) * (size + gap)) for k in range(4)]
    for column, time_ in zip(columns, (0, 4, 7, 11), strict=True):
        np.testing.assert_array_equal(strip[step : step + size, column], picture[time_])
        words = f"step {time_}" + ", decision" * (time_ == 11)
        np.testing.assert_array_equal(strip[:step, column], clips.caption(words, size, step))
    film = saliency_pictures.film(found)
    assert len(film) == 12 and np.any(film[0] != film[11])
    buffer = io.BytesIO()
    clips.animation(film, buffer, scale=1)
    assert Image.open(buffer).n_frames == 12


# What was logged while training.


def test_churn_is_the_metric(shown):
    page, numbers = shown
    columns = numbers["churn"]["figures"]["churn"]
    assert set(columns["run"]) == {"tmaze-partial/gru", "tmaze-full/gru"}
    line = rows(columns, run="tmaze-full/gru", metric="train/churn")
    assert [row["mean"] for row in line] == [1, 0.5, 0.25, 0.125] and line[2]["frames"] == 2000
    heads = next(row for row in page.rows if "churn_near_ties" in row)
    row = page.rows[page.rows.index(heads) + 1]
    assert row[1:] == ["0.469 last 0.125", "0.500", "0.100 last 0.100"]


def test_diagnostics_of_training_are_drawn_up_to_a_limit(shown):
    _, numbers = shown
    columns = numbers["in_training"]["figures"]["in-training"]
    panels = dict.fromkeys(zip(columns["twin"], columns["metric"], strict=True))
    assert len(panels) == in_training.MOST == 12
    line = rows(columns, twin="full", metric="diagnostics/recall_density/occlusion/now")
    np.testing.assert_allclose([row["mean"] for row in line[1:]], 2 + np.arange(1, 4) / 10)  # the first is unknown
    assert next(iter(panels))[1] == line[0]["metric"]  # it alone varies
    curves = numbers["in_training"]["curves"]["tmaze-full/gru"]
    assert len(curves) == 32 and curves["diagnostics/mine/number30"]["values"] == [[30] * 5] * 4
    assert "diagnostics/mine/ragged" not in curves and "diagnostics/seconds" not in curves


def test_thinned_curves_are_means_of_what_is_known():
    """Seven points in three groups of 3, 2 and 2."""
    values = np.array([[1, np.nan], [2, np.nan], [6, 5], [np.nan, 1], [np.nan, 3], [4, 0], [5, 1]], float)
    thin = curves.thinned(Curve(np.arange(7.0), values), 3)
    np.testing.assert_array_equal(thin.frames, [1, 3.5, 5.5])
    np.testing.assert_array_equal(thin.values, [[3, 5], [np.nan, 2], [4.5, 0.5]])
    assert curves.thinned(thin, 3) is thin


def test_only_what_sections_draw_is_kept():
    written = dict(numbers({"a": 1.0, "b": {"c": [1.0, None]}}, training.LONGEST, "diagnostics/mine"))
    kept = (*written, "train/churn", "train/churn_step_clear", "train/return")
    assert len(kept) == 6 and all(KEPT.fullmatch(name) for name in kept)
    assert not any(map(KEPT.fullmatch, ("train/loss", "diagnostics/seconds", "eval/return_full", "train/return_x")))


# Folders that are damaged, and many runs.


@pytest.mark.parametrize("name", ["recall_density", "contamination", "probes", "twins", "saliency"])
def test_damaged_diagnostics_are_a_line(tmp_path, name):
    run = reported.write(tmp_path / "runs" / "run")
    whole = reported.write(tmp_path / "runs" / "whole", reported.config(memory="none"))
    measured(whole, 2)
    for summaries, arrays in (
        ({"0": {}}, {"l1": np.zeros((2, 1, 3))}),
        ({"0": {"full": 3, "partial": {"preference": "x"}}}, {"full/past": np.zeros(3), "swap_pairs": np.zeros(2)}),
        ({"0": []}, {"needed.x/memory/linear/r2": np.zeros(7), "last": np.zeros(2), "needed": np.zeros(1)}),
    ):
        path = reported.diagnose(run, name, summaries, arrays)
        found = section_of(tmp_path / "runs", name)
        assert found["figures"] and found["text"].count('<p class="note">run: ') == 1
    path.write_bytes(b"PK broken")
    found = section_of(run, name)
    assert not found["figures"] and found["text"].startswith('<p class="note">run: ')
    (run / "diagnostics.json").write_text(json.dumps({name: {"7": {"seeds": {}, "untrained": [], "options": 3}}}))
    assert section_of(run, name) is None


@pytest.mark.slow
def test_thirty_runs_with_diagnostics_make_a_page_of_megabytes_in_seconds(tmp_path):
    for k in range(30):
        about = reported.config(
            memory=("gru", "none", "stack")[k % 3], seeds=5, seed=5 * (k // 6), partial=("true", "false")[k // 3 % 2]
        )
        run = reported.write(tmp_path / "runs" / f"run-{k}", about, logged(about, evaluations=150))
        measured(run, 5)
    began = time.process_time()
    made(tmp_path, tmp_path / "runs")
    assert time.process_time() - began < 60  # of one core, whatever else the machine does
    assert (tmp_path / "report.html").stat().st_size < 10e6
    assert len(json.loads((tmp_path / "report.json").read_text())["sections"]) > 12
