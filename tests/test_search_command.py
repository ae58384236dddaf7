"""`podarcade.search` through its real command: rounds, the winner on fresh seeds, and a second start."""

import json

import pytest

from podarcade import search
from podarcade.runtime.signals import DONE, ERROR

COMMAND = [
    "search", "--config=configs/ppo.py:game=repeat_first,memory=gru,preset=smoke", "--method=halving", "--trials=4",
    "--seeds=2", "--fresh_seeds=2", "--frames=1024", "--processes=1", "--override=config.num_envs=8",
    "--override=config.max_skipped=1",
]  # fmt: skip
SPACE = "--space=algorithm.learning_rate=1e-3,1e-2,1e30"  # of which one diverges


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    folder = tmp_path_factory.mktemp("search")
    code = search.main([*COMMAND, SPACE, f"--workdir={folder}"])
    return folder, code, json.loads((folder / "search.json").read_text())


def test_rounds_winner_and_fresh_seeds(searched):
    _, code, found = searched
    assert code == DONE
    first, last = found["rounds"]
    assert (first["frames"], last["frames"]) == (256, 1024)
    assert len(first["trials"]) == 4 and len(last["trials"]) == 1
    assert all(len(trial["seeds"]) == 2 for trial in first["trials"] if trial["score"] is not None)
    assert len(found["fresh"]) == len(found["fresh_untuned"]) == 2
    assert found["winner"] == last["trials"][0]["values"] and found["chosen_at"] == last["trials"][0]["score"]


def test_what_diverged_is_no_winner_and_stops_no_other(searched):
    _, _, found = searched
    scores = {trial["values"]["algorithm.learning_rate"]: trial["score"] for trial in found["rounds"][0]["trials"]}
    assert scores.pop(1e30) is None and None not in scores.values()
    best = max(scores, key=scores.get)
    assert found["rounds"][1]["trials"][0]["values"]["algorithm.learning_rate"] == best


def test_final_runs_have_seeds_that_no_trial_had(searched):
    folder, _, _ = searched
    seeds = {}
    for path in folder.rglob("config.json"):
        config = json.loads(path.read_text())
        seeds.setdefault(path.relative_to(folder).parts[0], set()).update(
            range(config["seed"], config["seed"] + config["seeds"])
        )
    assert seeds["final"] == {2, 3} and seeds["round-1"] == seeds["round-2"] == {0, 1}


def test_the_command_again_trains_nothing(searched):
    folder, _, found = searched
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("metrics.jsonl")}
    assert search.main([*COMMAND, SPACE, f"--workdir={folder}"]) == DONE
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("metrics.jsonl")} == before
    again = json.loads((folder / "search.json").read_text())
    assert again["rounds"] == found["rounds"] and again["fresh"] == found["fresh"]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("foo", "expected config.x=y"),
        ("config.seeds=3", "config.seeds is set by the search; give --seeds"),
        ("config.frames=3", "config.frames is set by the search; give --frames"),
        ("config.algorithm.learning_rate=3", "--space searches over it"),
    ],
)
def test_overrides_of_what_the_search_chooses_are_one_line(override, message, tmp_path, capsys):
    arguments = ["search", "--config=configs/ppo.py:game=repeat_first,preset=smoke", SPACE, f"--workdir={tmp_path}"]
    assert search.main([*arguments, f"--override={override}"]) == ERROR
    assert message in capsys.readouterr().err and not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ("", "--space is empty"),
        ("algorithm.num_epochs=1,2", "unknown option of --space 'algorithm.num_epochs'"),
        ("algorithm.td_lambda=0,1", "unknown option of --space"),
    ],
)
def test_bad_spaces_are_one_line(space, message, tmp_path, capsys):
    assert search.main([*COMMAND, f"--space={space}", f"--workdir={tmp_path}"]) == ERROR
    assert message in capsys.readouterr().err and not list(tmp_path.iterdir())


def test_a_final_run_that_fails_is_an_error(monkeypatch, tmp_path):
    options = search.make_flags()
    options([*COMMAND, SPACE, f"--workdir={tmp_path}"])
    one = search.Search(options, COMMAND)
    monkeypatch.setattr(one, "_runs", lambda *_: [None])
    assert one._finish({"values": one._first, "score": 1.0}) == ERROR
