"""The report of runs: what it shows, and that nothing in a folder can break it or get out of it."""

import base64
import csv
import json
import re
import time

import jax
import numpy as np
import pytest
import reported
from reported import command, made
from running import ROOT, train

from podarcade import diagnose
from podarcade.build import build
from podarcade.configuration import ConfigDict
from podarcade.diagnostics.recall_density import summary
from podarcade.reporting import statistics
from podarcade.reporting.report import drawing, folders, looks, parameters, pictures, reading, recall, sections, writing
from podarcade.reporting.report.markup import Markup, element, escape, number, table
from podarcade.runtime.metrics import read_metrics

COUNT = parameters._count
HOSTILE = "\"'><script>alert(1)</script><img src=x onerror=alert(2)>\u202e\x00&amp;"


@pytest.fixture(scope="module", autouse=True)
def counted():
    """Numbers of parameters take a second of tracing for each network: one test counts them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parameters, "_count", lambda text: {"all": 1234, "memory": 56})
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Runs on two tasks, with few and with many seeds, with diagnostics and an animation."""
    root = tmp_path_factory.mktemp("runs")
    for memory, seeds, shift in (("gru", 5, 0.0), ("none", 2, 0.1)):
        about = reported.config(memory=memory, seeds=seeds)
        run = reported.write(root / "tmaze" / memory, about, reported.records(about, shift=shift))
        reported.diagnose(run, "recall_density", {str(seed): {} for seed in range(seeds)}, densities(seeds))
    about = reported.config(game="repeat_first", memory="gru", partial="false", seeds=1)
    run = reported.write(root / "repeat_first" / "gru", about)
    (run / "greedy_episode.gif").write_bytes(b"GIF89a" + bytes(20))
    reported.diagnose(run, "churn", {"0": {"share": 0.25, "by": {"layer": [0.5, 1.5]}}})
    return root


def densities(seeds, episodes_=4, steps=6):
    """All mass of the gradient is at the present, and of occlusion at the needed time."""
    last, needed = np.array([5, 5, 3, 5]), np.array([1, 1, 1, -1])
    l1, occlusion = np.zeros((2, episodes_, steps))
    l1[np.arange(4), last] = 1
    occlusion[np.arange(4), 1] = 1
    occlusion[3] = np.nan  # nothing changes that decision
    arrays = {"l1": l1, "occlusion": occlusion, "last": last, "needed": needed}
    return {name: np.stack([value] * seeds) for name, value in arrays.items()}


@pytest.fixture(scope="module")
def shown(folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("out")
    page, numbers = made(out, folder, flags=[f"--paper={out}/paper"])
    return out, page, numbers


# The page.


def test_the_page_needs_nothing_from_outside(shown):
    out, page, _ = shown
    for _, attributes in page.elements:
        for name in ("src", "href", "xlink:href", "action", "srcset", "poster", "background", "data", "style"):
            value = attributes.get(name) or ""
            assert "url(" not in value or "url(#" in value
            if name != "style":
                assert value.startswith(("#", "data:image/gif;base64,")) or not value
    assert not {"link", "iframe", "object", "embed", "base"} & {tag for tag, _ in page.elements}
    assert not re.search(r"@import|url\((?!#)", (out / "report.html").read_text())
    (policy,) = [one["content"] for tag, one in page.elements if one.get("http-equiv") == "Content-Security-Policy"]
    assert "default-src 'none'" in policy and "unsafe-inline'; script-src 'sha256-" in policy


def test_the_page_is_accessible(shown):
    _, page, _ = shown
    tags = [tag for tag, _ in page.elements]
    assert tags.count("h1") == tags.count("main") == tags.count("title") == 1
    assert ("html", {"lang": "en"}) in page.elements
    heads = [one for tag, one in page.elements if tag == "th"]
    assert heads and all(one["scope"] in ("col", "row") for one in heads)
    assert tags.count("table") == tags.count("caption")
    pictures = [one for tag, one in page.elements if tag == "img"]
    assert len(pictures) == 1 and "repeat_first" in pictures[0]["alt"]
    drawn = [one for tag, one in page.elements if tag == "svg"]
    assert drawn and all(one["role"] == "img" and len(one["aria-label"]) > 20 for one in drawn)
    ids = [one["id"] for _, one in page.elements if "id" in one]
    assert len(ids) == len(set(ids))
    targets = {one[name][1:] for _, one in page.elements for name in ("href", "xlink:href") if name in one}
    assert targets <= set(ids) | {""}


def test_each_run_has_a_row(shown):
    _, page, numbers = shown
    row = page.row("tmaze/gru")
    values = 0.75 + 0.01 * np.arange(5)
    _, low, high, _ = statistics.interval(values)
    assert row[1:4] == ["complete", "tmaze easy", "partial"]
    assert row[5] == f"0.770 {low:.3f} to {high:.3f}"
    assert row[6:9] == ["−0.250", "0.488", "1.000"] and row[9:12] == ["gru", "ppo", "5"]  # noqa: RUF001
    assert row[12] == "2.00k"
    found = {run["name"]: run for run in numbers["runs"]["runs"]}
    assert found["tmaze/gru"]["final_partial"]["seeds"] == pytest.approx(values.tolist())
    assert found["tmaze/gru"]["frames_per_second"] == 2500
    assert found["repeat_first/gru"]["final_partial"]["low"] is None  # one seed has no interval
    assert any("it attains 95 % on" in text for text in page.text)
    assert page.row("repeat_first/gru")[4] == "0.500"


def test_parameters_are_those_of_the_network(monkeypatch):
    monkeypatch.setattr(parameters, "_count", COUNT)
    config = reported.config()
    state = build(ConfigDict(config)).abstract_state()
    leaves = jax.tree.leaves(state.learner.params)
    found = parameters.count(config)
    assert type(config["seeds"]) is int and found["all"] == sum(leaf.size for leaf in leaves) // config["seeds"]
    assert 0 < found["memory"] < found["all"]
    assert parameters.count(config | {"memory": {"name": "gru", "unknown": 1}}) == {}


# Figures, and the numbers that they show.


def figures_of(folder):
    runs, broken = writing.gather([folder])
    return {figure.name: figure for section in sections.made(runs, broken) for figure in section.figures}, runs


def test_learning_curves_are_the_metrics(folder):
    figures, runs = figures_of(folder)
    assert {"learning-1", "learning-2", "final", "throughput"} <= figures.keys()
    name = next(name for name, figure in figures.items() if "tmaze easy" in figure.alt)
    gid = looks.looks_of(runs)["gru"].gid
    with drawing._drawn(figures[name]) as canvas:
        full, partial = canvas.axes
        (line,) = [line for line in partial.lines if line.get_gid() == gid]
        expected = -(np.arange(3) / 3).round(6) - 0.02
        np.testing.assert_allclose(line.get_xydata(), np.stack([[0, 1000, 2000], expected], 1), atol=1e-6)
        (band,) = partial.collections  # five seeds have a band, two have thin lines
        assert band.get_gid() == gid
        thin = [line for line in full.lines if line.get_linewidth() < 1]
        assert len(thin) == 2
        np.testing.assert_allclose(thin[1].get_ydata(), 0.1 + (np.arange(3) / 3) + 0.01, atol=1e-5)
        values = {line.get_label(): line.get_ydata()[0] for line in partial.lines}
        assert (values["random policy"], values["with memory"]) == (-0.25, 1.0) and values["memoryless"] < 0.5
        assert "memoryless" not in {line.get_label() for line in full.lines}
        assert "frames" in full.get_xlabel() and "return" in full.get_ylabel()


def test_final_returns_are_those_of_the_fresh_starts(folder):
    figures, runs = figures_of(folder)
    with drawing._drawn(figures["final"]) as canvas:
        axes = next(axes for axes in canvas.axes if "tmaze" in axes.get_title(loc="left"))
        circles = {line.get_gid(): line.get_xdata() for line in axes.lines if line.get_marker() == "o"}
        np.testing.assert_allclose(circles[looks.looks_of(runs)["gru"].gid], 0.75 + 0.01 * np.arange(5))


def test_numbers_and_files_are_what_is_drawn(shown, folder):
    out, _, numbers = shown
    figures, _ = figures_of(folder)
    recorded = {name: columns for section in numbers.values() for name, columns in section["figures"].items()}
    assert recorded == json.loads(json.dumps({name: figure.columns for name, figure in figures.items()}))
    for name, columns in recorded.items():
        assert (out / "paper" / f"{name}.pdf").read_bytes().startswith(b"%PDF")
        with open(out / "paper" / f"{name}.csv", encoding="utf-8", newline="") as file:
            head, *rows = csv.reader(file)
        assert head == list(columns) and len(rows) == len(next(iter(columns.values())))
        first = [columns[key][0] for key in head]
        assert rows[0] == ["" if value is None else str(value) for value in first]
    assert len(list((out / "paper").iterdir())) == 2 * len(recorded)


def test_drawings_use_their_columns_alone(folder):
    """Whatever the columns say is drawn: they are the data of the figure."""
    figures, _ = figures_of(folder)
    figure = figures["throughput"]
    changed = figure.columns | {"frames_per_second": [12345.0] * len(figure.columns["run"])}
    with drawing._drawn(figure.__class__(**{**figure.__dict__, "columns": changed})) as canvas:
        drawn = [line.get_xdata() for line in canvas.axes[0].lines]
    assert all(np.all(np.asarray(values) == 12345) for values in drawn)


def test_long_runs_are_thinned(tmp_path):
    about = reported.config(seeds=1)
    reported.write(tmp_path / "run", about, reported.records(about, evaluations=2000))
    figures, _ = figures_of(tmp_path)
    rows = [frames for frames in figures["learning-1"].columns["frames"] if frames is not None]
    assert len(rows) == 600 and rows[:300] == sorted(rows[:300])
    assert rows[0] == np.mean(np.arange(7)) * 1000 and rows[299] == np.mean(np.arange(1994, 2000)) * 1000


# Diagnostics.


def test_recall_density_is_where_the_mass_is(shown):
    _, page, numbers = shown
    rows = [row for row in page.rows if row[:2] == ["tmaze/gru", "trained"] and row[2] in ("gradient, L1", "occlusion")]
    # First, middle, last third; present; needed. Time 1 is in the first third of two episodes of 6 steps, and in the
    # middle third of one of 4 steps.
    assert rows[0][3:8] == ["0.000", "0.000", "1.000", "1.000", "0.000"]
    assert rows[1][3:8] == ["0.667", "0.333", "0.000", "0.000", "1.000"]
    assert numbers["recall_density"]["runs"]["tmaze/none"]["occlusion"]["needed"] == [1, 1]
    columns = numbers["recall_density"]["figures"]["recall-needed"]
    assert set(zip(columns["measure"], columns["now"], columns["needed"], strict=True)) == {
        ("l1", 1, 0),
        ("occlusion", 0, 1),
    }


def test_a_density_with_a_bin_for_each_step_is_its_own_curve():
    random = np.random.default_rng(0)
    density = random.dirichlet(np.ones(20), size=3)
    last, found = np.full(3, 19), recall.curve(density, np.full(3, 19), 20)
    np.testing.assert_allclose(found, density, atol=1e-12)
    arrays = {"l1": density, "occlusion": density, "last": last, "needed": -np.ones(3, int)}
    np.testing.assert_allclose(found, summary(arrays)["curve"])


def test_observations_are_spread_over_their_part_of_the_time():
    """Two steps in four bins: halves; three steps in two bins: the middle one is in both."""
    np.testing.assert_allclose(recall.curve(np.array([[0.4, 0.6, 0]]), [1], 4), [[0.2, 0.2, 0.3, 0.3]])
    np.testing.assert_allclose(recall.curve(np.array([[0.2, 0.6, 0.2]]), [2], 2), [[0.5, 0.5]])


def test_damaged_diagnostics_are_a_line(tmp_path):
    run = reported.write(tmp_path / "run")
    reported.diagnose(run, "recall_density", {"0": {}}, {"l1": np.zeros((2, 1, 3))})
    page, _ = made(tmp_path, run)
    assert any("run: 'last'" in text or "lacks" in text for text in page.text)
    (run / "diagnostics" / "recall_density-7.npz").write_bytes(b"PK broken")
    page, _ = made(tmp_path, run)
    assert any("cannot be read" in text for text in page.text)
    (run / "diagnostics.json").write_text("[1")
    made(tmp_path, run)


def test_other_diagnostics_are_in_a_table(shown):
    _, page, numbers = shown
    heads = next(row for row in page.rows if "share" in row)
    assert heads == ["run", "updates", "seeds", "share", "by/layer/0", "by/layer/1"]
    row = next(row for row in page.rows if row[0] == "repeat_first/gru" and row[1:3] == ["7", "1"])
    assert row[3:] == ["0.250", "0.500", "1.500"]
    found = numbers["diagnostics"]["diagnostics"]["churn"]["repeat_first/gru"]
    assert found["seeds"] == {"share": [0.25], "by/layer/0": [0.5], "by/layer/1": [1.5]}


def test_a_trained_and_measured_run(tmp_path):
    """What training, evaluation and diagnosis write is what the report reads."""
    overrides = f"--config={ROOT}/configs/ppo.py:game=memory_chain,memory=gru,preset=smoke", "--config.seeds=2"
    run = train(tmp_path / "run", *overrides)
    assert diagnose.main(["diagnose", str(run), "--with=recall_density"]) == 0
    _, numbers = made(tmp_path, run)
    (row,) = numbers["runs"]["runs"]
    last = read_metrics(run / "metrics.jsonl")[-1]
    assert (row["state"], row["name"], row["task"], row["seeds"]) == ("complete", "run", "memory_chain easy", [0, 1])
    for twin in ("full", "partial"):
        assert row[f"final_{twin}"]["seeds"] == last[f"final/return_{twin}"]
    (written,) = json.loads((run / "diagnostics.json").read_text())["recall_density"].values()
    found = numbers["recall_density"]["runs"]["run"]
    for measure in ("l1", "occlusion"):
        for key in ("now", "thirds", "needed"):
            expected = [written["seeds"][seed][measure][key] for seed in ("0", "1")]
            np.testing.assert_allclose(found[measure][key], expected, atol=1e-5)


# Differences, machines, commands, episodes.


def test_only_options_that_differ_are_compared(shown):
    _, page, numbers = shown
    found = numbers["options"]["differing"]
    assert found["tmaze/gru"]["memory.name"] == "gru" and found["tmaze/none"]["memory.name"] == "none"
    assert found["repeat_first/gru"]["environment.observability"] == "full"
    assert numbers["options"]["shared"]["algorithm.name"] == "ppo"
    assert "algorithm.name" not in found["tmaze/gru"]
    heads = next(row for row in page.rows if "memory.name" in row)
    assert page.rows[page.rows.index(heads) + 1][heads.index("memory.name")] == "gru"


def test_machines_and_commands_are_listed(shown):
    _, page, numbers = shown
    assert numbers["machines"]["shared"]["versions.jax"] == "0.10.2"
    assert "python -m podarcade.launch --config=configs/ppo.py --workdir=none" in page.row("tmaze/none") or any(
        "python -m podarcade.launch --config=configs/ppo.py --workdir=none" in row for row in page.rows
    )
    assert any("2 x cpu (2 x Nova)" in text for text in page.text)


def test_animations_are_inline_up_to_a_budget(tmp_path, monkeypatch):
    about = reported.config()
    for name, content in (("a", b"GIF89a" + bytes(44)), ("b", b"GIF89a" + bytes(94)), ("c", b"<svg onload=x>")):
        run = reported.write(tmp_path / name, about)
        (run / "greedy_episode.gif").write_bytes(content)
    monkeypatch.setattr(pictures, "BUDGET", 120)
    page, numbers = made(tmp_path, tmp_path)
    assert numbers["episodes"]["inline"] == ["a"]
    assert {path.rpartition("/")[0][-1] for path in numbers["episodes"]["others"]} == {"b", "c"}
    (image,) = [one for tag, one in page.elements if tag == "img"]
    assert base64.b64decode(image["src"].partition(",")[2]) == b"GIF89a" + bytes(44)


# Runs that are not whole, and folders that are not runs.


def test_states_of_runs(tmp_path):
    about = reported.config()
    reported.write(tmp_path / "stopped", about, reported.records(about, complete=False))
    run = reported.write(tmp_path / "failed", about, reported.records(about, complete=False))
    (run / "console.txt").write_text("frames\nerror: diverged <b>\n\n")
    page, numbers = made(tmp_path, tmp_path)
    states = {run["name"]: (run["state"], run["remark"]) for run in numbers["runs"]["runs"]}
    assert states["stopped"][0] == "unfinished" and states["stopped"][1].startswith("2 of ")
    assert states["failed"][0] == "failed" and states["failed"][1].endswith("error: diverged <b>")
    assert page.row("stopped")[4:6] == ["–", "–"]  # noqa: RUF001
    assert numbers["final"]["figures"] == {}


BREAK = {
    "config.json is missing": lambda run: (run / "config.json").unlink(),
    "config.json cannot be read": lambda run: (run / "config.json").write_text("{"),
    "is not that of a run": lambda run: (run / "config.json").write_text("[]"),
    "not that of a run (KeyError": lambda run: (run / "config.json").write_text("{}"),
    "metrics.jsonl is missing": lambda run: (run / "metrics.jsonl").unlink(),
    "holds no record": lambda run: (run / "metrics.jsonl").write_text(""),
    "holds no record ": lambda run: (run / "metrics.jsonl").write_bytes(b"\xff\x00 not JSON"),
    "not one number of frames": lambda run: (run / "metrics.jsonl").write_text('{"updates": 1, "frames": [1, 2, 3]}\n'),
    "ends with no number": lambda run: (run / "metrics.jsonl").write_text(
        '{"updates": 1, "frames": [null, 1], "seconds": 1}\n'
    ),
    "KeyError: 'seconds'": lambda run: (run / "metrics.jsonl").write_text('{"updates": 1, "frames": [1, 2]}\n'),
    "cannot be read: maximum": lambda run: (run / "config.json").write_text("[" * 100_000),
}


@pytest.mark.parametrize("problem", BREAK)
def test_why_a_run_is_broken_is_a_line(tmp_path, problem):
    run = reported.write(tmp_path / "run")
    BREAK[problem](run)
    found = reading.read(run)
    assert isinstance(found, folders.Broken) and problem.strip() in found.problem and "\n" not in found.problem


def test_broken_runs_are_reported_beside_whole_ones(tmp_path, capsys):
    for number_, damage in enumerate(BREAK.values()):
        damage(reported.write(tmp_path / "runs" / f"broken-{number_}"))
    page, numbers = made(tmp_path, tmp_path / "runs", code=1)
    assert len(numbers["runs"]["unreadable"]) == len(BREAK) and numbers.keys() == {"runs"}
    reported.write(tmp_path / "runs" / "whole")
    page, numbers = made(tmp_path, tmp_path / "runs")
    assert [run["name"] for run in numbers["runs"]["runs"]] == ["whole"]
    for found in numbers["runs"]["unreadable"]:
        assert page.row(found["folder"])[1] == found["why"]
    assert not capsys.readouterr().err


@pytest.mark.parametrize(
    "content", ["null", "[]", '{"a": 1}', "[1, null]", '[{"arguments": 3, "devices": [[1]]}]', "{"]
)
def test_damaged_records_of_starts_cost_nothing_else(tmp_path, content):
    run = reported.write(tmp_path / "run")
    (run / "run.json").write_text(content)
    runs, broken = writing.gather([run])
    assert runs[0].state == "complete" and len(sections.made(runs, broken)) > 5


def test_folders_are_expanded_once_and_foreign_ones_named(tmp_path):
    reported.write(tmp_path / "sweep" / "a" / "one")
    reported.write(tmp_path / "sweep" / "b" / "one")
    (tmp_path / "foreign").mkdir()
    (tmp_path / "file").write_text("text")
    given = [tmp_path / name for name in ("sweep", "sweep/a", "foreign", "file", "nowhere")]
    _, numbers = made(tmp_path, *given)
    assert [run["name"] for run in numbers["runs"]["runs"]] == ["a/one", "b/one"]
    why = {one["folder"].rpartition("/")[2]: one["why"] for one in numbers["runs"]["unreadable"]}
    assert why.keys() == {"foreign", "file", "nowhere"}
    assert "holds no run" in why["foreign"] and "a file" in why["file"] and "no such" in why["nowhere"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [([], "no run given"), (["x", "--output=report.pdf"], "--output=report.pdf; expected"), (["--outpt=x"], "outpt")],
)
def test_bad_input_is_one_line(capsys, arguments, message):
    assert command(*arguments) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ") and message in error and len(error.splitlines()) == 1


# What folders may hold.


def hostile(tmp_path):
    """A run in which every string is an attack."""
    about = reported.config()
    about["environment"] |= {"level": HOSTILE, "name": HOSTILE, "observability": HOSTILE}
    about["memory"] |= {"name": HOSTILE, HOSTILE: HOSTILE}
    about["algorithm"]["name"] = f"{HOSTILE}$x_{{2}}$"
    name = HOSTILE.replace("/", "").replace("\x00", "")
    run = reported.write(tmp_path / "runs" / name, about, reported.records(about, complete=False), arguments=[HOSTILE])
    (run / "console.txt").write_text(f"error: {HOSTILE}\n")
    reported.diagnose(run, f"../../{HOSTILE}", {HOSTILE: {HOSTILE: 1.0, "nan": float("nan"), "deep": {"a": "text"}}})
    second = reported.config(memory="none")
    reported.write(tmp_path / "runs" / f"{name}2", second, reported.records(second), started=HOSTILE, devices=[HOSTILE])
    return tmp_path / "runs"


def test_hostile_names_stay_text(tmp_path):
    nowhere = tmp_path / HOSTILE.replace("\x00", "")
    page, numbers = made(tmp_path, hostile(tmp_path), nowhere, flags=[f"--title={HOSTILE}"])
    assert len(numbers["runs"]["runs"]) == 2
    tags = [tag for tag, _ in page.elements]
    assert tags.count("script") == 1 and "img" not in tags
    assert not [name for _, one in page.elements for name in one if name.startswith("on")]
    assert any("<script>alert(1)</script>" in text for text in page.text)
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert not re.search("[\x00-\x08\x0b-\x1f\u202a-\u202e\ud800-\udfff]", text)


def test_names_that_are_no_text_are_shown(tmp_path):
    run = reported.write(tmp_path / "run")
    odd = run.rename(tmp_path / "od\udcffd")
    page, _ = made(tmp_path, odd)
    assert any("od\ufffdd" in text for text in page.text)


def test_plug_ins_of_a_run_are_not_executed(tmp_path, monkeypatch):
    monkeypatch.setattr(parameters, "_count", COUNT)
    spy = tmp_path / "spy.py"
    spy.write_text(f"open({str(tmp_path / 'executed')!r}, 'w')")
    for part in ("memory", "environment", "algorithm", "encoder"):
        about = reported.config()
        about[part]["name"] = str(spy)
        reported.write(tmp_path / "runs" / part, about)
    runs, broken = writing.gather([tmp_path / "runs"])
    assert len(runs) == 4 and not broken and not any(run.parameters for run in runs)
    assert len(sections.made(runs, broken)) > 5 and not (tmp_path / "executed").exists()


def test_markup_escapes_whatever_is_no_markup():
    assert element("a", "<b>", Markup("<i>"), href='"x\ny"', data_x="&", hidden=True, title=None) == (
        '<a href="&quot;x y&quot;" data-x="&amp;" hidden>&lt;b&gt;<i></a>'
    )
    assert escape("a\x07\ud800\u202e") == "a\ufffd\ufffd\ufffd"
    assert [number(value) for value in (None, float("nan"), 1234567, 0.12345, 0.0, 1e-5, "x", True)] == [
        "–", "–", "1,234,567", "0.123", "0.000", "1.0e-05".replace("-", "−"), "x", "True",  # noqa: RUF001
    ]  # fmt: skip
    assert "<b>" not in table("<b>", ["<b>"], [["<b>"]])


def test_runs_are_labelled_by_what_sets_them_apart(tmp_path):
    for name, memory, rate in (("a", "gru", 0.1), ("b", "gru", 0.2), ("c", "none", 0.1)):
        reported.write(tmp_path / name, reported.config(memory=memory, **{"algorithm.learning_rate": rate}))
    runs, _ = writing.gather([tmp_path / "a", tmp_path / "c"])
    assert [run.label for run in runs] == ["gru", "none"]
    runs, _ = writing.gather([tmp_path])
    assert [run.label for run in runs] == ["a", "b", "c"]


def test_thirty_runs_make_a_page_of_megabytes_in_seconds(tmp_path):
    for k in range(30):
        about = reported.config(memory=("gru", "none", "stack")[k % 3], seeds=5, seed=k // 3)
        run = reported.write(tmp_path / f"run-{k}", about, reported.records(about, evaluations=500))
        reported.diagnose(run, "recall_density", {str(seed): {} for seed in range(5)}, densities(5))
        (run / "greedy_episode.gif").write_bytes(b"GIF89a" + bytes(400_000))
    began = time.process_time()
    made(tmp_path, tmp_path)
    assert time.process_time() - began < 60  # of one core, whatever else the machine does
    assert (tmp_path / "report.html").stat().st_size < 10e6
