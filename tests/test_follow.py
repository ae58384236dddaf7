"""Passing the metrics of a run on, beside the run and afterwards."""

import csv
import json
import sys
import types

import pytest
from running import SMOKE, load, records

from podarcade import follow, launch
from podarcade.configuration import total_updates
from podarcade.reporting import sinks
from podarcade.runtime import followers
from podarcade.runtime.metrics import Writer


@pytest.fixture
def run(tmp_path):
    """The folder of a run of two seeds, from seed 7 on, with two records."""
    (tmp_path / "config.json").write_text(json.dumps({"seed": 7, "seeds": 2}))
    with Writer(tmp_path) as writer:
        writer.write({"updates": 0, "frames": [0, 0], "eval/return_full": [0.5, None]})
        writer.write({"updates": 2, "frames": [8, 9], "train/loss": [0.1, 0.2], "frames_per_second": 3.0})
    return tmp_path


class Remembers:
    """A sink that keeps what it is given."""

    def __init__(self):
        self.given, self.closed = [], False

    def write(self, records):
        self.given.append([record["updates"] for record in records])

    def close(self):
        self.closed = True


def test_a_table_has_a_row_for_each_record_and_seed(run):
    assert follow.main(["follow", str(run), "--once"]) == 0
    with open(run / sinks.CSV, newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["seed"], row["updates"], row["frames"]) for row in rows] == [
        ("7", "0", "0"), ("8", "0", "0"), ("7", "2", "8"), ("8", "2", "9"),
    ]  # fmt: skip
    assert [row["eval/return_full"] for row in rows] == ["0.5", "", "", ""]
    assert [row["train/loss"] for row in rows] == ["", "", "0.1", "0.2"]
    assert [row["frames_per_second"] for row in rows] == ["", "", "3.0", "3.0"]


def test_what_is_new_is_passed_on_and_the_end_is_not_missed(run, monkeypatch):
    """The file grows, rests, is replaced by a shorter one as by a run that resumes, and grows at the very end."""
    sink, looks = Remembers(), []

    def ended():
        looks.append(len(looks))
        if looks[-1] in (1, 4):
            with Writer(run, 2) as writer:  # keeps the records of two updates
                writer.write({"updates": 4, "frames": [10, 10]})
        elif looks[-1] == 3:
            Writer(run, 2).close()
        return looks[-1] == 4

    monkeypatch.setattr(follow, "_rest", lambda *_: None)
    follow.follow(run, [sink], ended)
    assert sink.given == [[0, 2], [0, 2, 4], [0, 2], [0, 2, 4]] and sink.closed


@pytest.fixture
def wandb(monkeypatch):
    """A stand-in for the package wandb; returns what it was told."""
    told = {"logged": []}
    remote = types.SimpleNamespace(
        log=lambda values, step=None: told["logged"].append((step, values)),
        finish=lambda: told.update(finished=True),
    )
    module = types.ModuleType("wandb")
    module.init = lambda **options: told.update(options) or remote
    module.Html = lambda text: ("html", text)
    module.Video = lambda path, format: ("video", path)
    monkeypatch.setitem(sys.modules, "wandb", module)
    return told


def test_weights_and_biases_gets_each_record_once_and_the_pictures(run, wandb):
    (run / "learning_curve.svg").write_text("<svg/>")
    (run / "greedy_episode.gif").write_bytes(b"GIF")
    sink = sinks.WeightsAndBiases(run)
    follow.follow(run, [sink], lambda: True)
    sink.write([{"updates": 2, "frames": [8, 9]}])  # again, as after a resumption
    assert wandb["project"] == "podarcade" and wandb["resume"] == "allow" and wandb["config"]["seed"] == 7
    steps = [step for step, _ in wandb["logged"]]
    assert steps == [0, 2, 2]
    assert wandb["logged"][1][1]["train/loss"] == pytest.approx(0.15)
    assert wandb["logged"][1][1]["train/loss/seed_1"] == 0.2
    assert wandb["logged"][2][1] == {
        "learning_curve": ("html", "<svg/>"), "greedy_episode": ("video", str(run / "greedy_episode.gif")),
    }  # fmt: skip
    assert wandb["finished"]


def test_a_run_that_is_complete_is_not_followed_any_longer(tmp_path, monkeypatch):
    """Without --once, and only once its pictures are there."""
    monkeypatch.setattr(follow, "LOOK", 0.01)
    config = load(SMOKE)
    (tmp_path / "config.json").write_text(config.to_json())
    with Writer(tmp_path) as writer:
        writer.write({"updates": total_updates(config), "frames": 1280})
    ended = follow._run_ended(tmp_path)
    assert not ended()
    (tmp_path / "greedy_episode.gif").touch()
    assert ended()
    assert follow.main(["follow", str(tmp_path)]) == 0
    assert (tmp_path / sinks.CSV).exists()


def test_sinks_are_closed_when_something_fails(run):
    sink = Remembers()
    with pytest.raises(KeyboardInterrupt):
        follow.follow(run, [sink], lambda: (_ for _ in ()).throw(KeyboardInterrupt))
    assert sink.closed


def test_the_id_is_that_of_the_folder(run, wandb, tmp_path_factory):
    sinks.WeightsAndBiases(run)
    first = wandb["id"]
    sinks.WeightsAndBiases(run)
    assert wandb["id"] == first
    other = tmp_path_factory.mktemp("other")
    (other / "config.json").write_text("{}")
    sinks.WeightsAndBiases(other)
    assert wandb["id"] != first


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "0 runs given; expected one folder"),
        (["nowhere"], "nowhere holds no run"),
        (["RUN", "--log=wandbb"], "unknown --log 'wandbb'; did you mean 'wandb'?"),
    ],
)
def test_bad_input_is_one_line(run, capsys, words, message):
    assert follow.main(["follow", *[str(run) if word == "RUN" else word for word in words]]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ") and message in error and len(error.splitlines()) == 1


def test_a_missing_package_is_one_line(run, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    assert follow.main(["follow", str(run), "--log=wandb", "--once"]) == 1
    assert "error: --log=wandb needs wandb: pip install wandb" in capsys.readouterr().err


# Beside a run.


def test_a_run_starts_what_follows_it_and_does_not_fail_with_it(tmp_path, capsys, monkeypatch):
    """The table holds the whole run once it has ended; the other one cannot start."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "broken"))
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "wandb.py").write_text("raise RuntimeError('no account')\n")
    folder = tmp_path / "run"
    assert launch.main(["launch", SMOKE, "--log=csv,wandb", f"--workdir={folder}"]) == 0
    with open(folder / sinks.CSV, newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["updates"]) for row in rows] == [record["updates"] for record in records(folder)]
    assert f"WARNING: --log=wandb failed, see {folder / followers.LOG}" in capsys.readouterr().out
    assert "no account" in (folder / followers.LOG).read_text()


def test_an_unknown_name_is_one_line_and_writes_nothing(tmp_path, capsys):
    assert launch.main(["launch", SMOKE, "--log=cvs", f"--workdir={tmp_path / 'run'}"]) == 1
    assert "unknown --log 'cvs'; did you mean 'csv'?" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
