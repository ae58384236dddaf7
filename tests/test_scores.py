"""Scores: rows are accepted only with the command that trains them again, and that command does."""

import copy
import json
import shlex

import numpy as np
import pytest
from running import ROOT, train

from podarcade import leaderboard
from podarcade.configuration import command_line
from podarcade.reporting import results, scores
from podarcade.runtime.metrics import read_metrics
from podarcade.sweeps import recorded

FILE = f"{ROOT}/configs/ppo.py"
ARGUMENTS = (f"--config={FILE}:game=tmaze,level=easy,partial=true,preset=smoke,memory=gru", "--config.seeds=2")
START = {"started": "2026-11-30T10:00:00+00:00", "code": {"commit": "a" * 40, "clean": True}, "python": "3.11"}
ORIGIN = scores.origin_of([START])
TASK = {"game": "tmaze", "level": "easy", "twin": "partial"}


def records(seeds=2):
    found = [
        {"updates": index, "frames": [100 * index] * seeds, "seconds": 1.0 + index}
        | {f"eval/return_{twin}": [index + 0.5 * seed for seed in range(seeds)] for twin in ("full", "partial")}
        | {f"random/return_{twin}": [-1.0] * seeds for twin in ("full", "partial")}
        for index in range(3)
    ]
    found[-1]["final/return_partial"] = [2.0 + seed / 3 for seed in range(seeds)]
    return found


def result(arguments=ARGUMENTS, agent="gru", task=TASK):
    config = command_line.configured(list(arguments)).to_dict()
    return results.row(task, agent, config, records(config["seeds"]), 0.25)


def score(arguments=ARGUMENTS, **more):
    made = result(arguments, **more)
    return scores.row(made, scores.command(arguments, made["config"]), ORIGIN)


def test_a_row_holds_each_seed_and_how_to_train_it_again():
    found = score()
    assert tuple(found) == scores.FIELDS
    assert (found["final"], found["end"], found["area"]) == ([2.0, 2.333333], [2.0, 2.5], [1.0, 1.5])
    assert (found["frames"], found["budget"], found["random"], found["seeds"]) == (200, 1280, -1.0, [0, 1])
    assert (found["kind"], found["agent"], found["algorithm"], found["memory"]) == ("vector", "gru", "ppo", "gru")
    assert found["command"] == f"podarcade launch {' '.join(ARGUMENTS)}"
    assert found["changes"] == found["environment"] == {}
    assert found["origin"]["date"] == "2026-11-30" and found["origin"]["commit"] == "a" * 40


def test_what_differs_from_the_preset_and_from_the_level_is_kept():
    arguments = (ARGUMENTS[0] + ",match=parameters", "--config.seeds=3", "--config.algorithm.discount=0.5")
    arguments += ("--config.environment.corridor_length=4", "--config.environment.rules=published")
    found = score(arguments)
    assert found["environment"] == {"corridor_length": 4, "rules": "published"}
    assert found["changes"].pop("memory.states") > 0
    assert found["changes"] == {"algorithm.discount": 0.5, "network.match": "parameters"}
    assert results.known_bounds({"name": "tmaze", "level": "easy"}) is not None
    assert results.known_bounds({"name": "tmaze", "level": "easy"} | found["environment"]) is None


def test_a_file_without_presets_has_no_changes(tmp_path):
    file = tmp_path / "mine.py"
    text = "from podarcade import presets\n\ndef get_config():\n"
    file.write_text(text + "    return presets.experiment('ppo', 'game=tmaze,memory=gru,preset=smoke')\n")
    assert score((f"--config={file}",))["changes"] is None


def test_seeds_do_not_change_a_fingerprint_and_options_do():
    plain, more = score(), score((ARGUMENTS[0], "--config.seeds=3", "--config.seed=2"))
    other = score((*ARGUMENTS, "--config.algorithm.discount=0.5"))
    assert plain["fingerprint"] == more["fingerprint"] != other["fingerprint"] and more["seeds"] == [2, 3, 4]


def test_a_command_names_the_preset_that_auto_stood_for():
    arguments = (f"--config={FILE}:game=tmaze,preset=auto,memory=gru",)
    assert scores.command(arguments, {"preset_asked": "auto", "preset": "gpu"}) == (
        f"podarcade launch --config={FILE}:game=tmaze,memory=gru,preset=gpu"
    )
    bare = scores.command([f"--config={FILE}"], {"preset_asked": "auto", "preset": "cpu"})
    assert bare == f"podarcade launch --config={FILE}:preset=cpu"
    assert "preset=auto" in scores.command(arguments, {"preset_asked": "cpu", "preset": "cpu"})


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("", "tmaze-easy-partial gru: command none; expected the one that trains it"),
        (None, "command none"),
        ("python train.py", "command 'python train.py'; expected the one that trains it, podarcade launch --config="),
        ("podarcade launch --workdir=runs/x", "expected the one that trains it"),
        (f"podarcade launch {ARGUMENTS[0]}", "another configuration .seeds: saved 2, now 1"),
        (f"podarcade launch {' '.join(ARGUMENTS)} --config.algorithm.discount=0.5", "another configuration .*discount"),
        (f"podarcade launch {' '.join(ARGUMENTS).replace('gru', 'lru')}", "another configuration .memory"),
        (f"podarcade launch {' '.join(ARGUMENTS)} --config.seed=2", "another configuration .seed: saved 0, now 2"),
    ],
)
def test_a_row_without_the_command_that_makes_it_is_refused(command, message):
    with pytest.raises(ValueError, match=message):
        scores.row(result(), command, ORIGIN)


def test_a_row_that_pools_runs_is_refused():
    """Seeds of two runs have two commands."""
    with pytest.raises(ValueError, match=r"its command trains seeds \[0, 1\], expected \[0, 1, 7\]"):
        scores.row(result() | {"seeds": [0, 1, 7]}, score()["command"], ORIGIN)


def test_a_row_without_returns_on_fresh_starts_is_refused():
    made = result()
    del made["fresh"]
    with pytest.raises(ValueError, match="no return on fresh starts; train it with this version"):
        scores.row(made, scores.command(ARGUMENTS, made["config"]), ORIGIN)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"command": ""}, "command none"),
        ({"final": [1.0]}, "final=.1.0.; expected a finite return for each of seeds .0, 1."),
        ({"area": [1.0, float("nan")]}, "area="),
        ({"end": [1.0, None]}, "end="),
    ],
)
def test_a_row_that_was_edited_is_refused(change, message, tmp_path):
    path, broken = tmp_path / "x.json", score() | change
    with pytest.raises(ValueError, match=message):
        scores.write(path, [score(), broken])
    assert not list(tmp_path.iterdir())
    path.write_text(json.dumps({"origins": [ORIGIN], "rows": [broken | {"origin": 0}]}), encoding="utf-8")
    with pytest.raises(ValueError, match=f"x.json: tmaze-easy-partial gru: .*{message}"):
        scores.read(path)


@pytest.mark.parametrize("field", sorted({*scores.FIELDS} - {"task", "origin"}))
def test_a_row_without_a_field_is_refused(field):
    row = score()
    del row[field]
    with pytest.raises(ValueError, match=field):
        scores.check(row)


@pytest.mark.parametrize("text", ["{", "[]", '{"rows": []}', '{"origins": [], "rows": [{"origin": 3}]}'])
def test_a_file_that_is_none_of_scores_is_refused(text, tmp_path):
    (tmp_path / "x.json").write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=r"x\.json is no file of scores"):
        scores.read(tmp_path / "x.json")
    with pytest.raises(ValueError, match="has no scores; expected files"):
        scores.read_folder(tmp_path / "elsewhere")


def test_files_have_a_line_for_each_row_and_each_origin_once(tmp_path):
    rows = [score(), score(agent="again"), score(agent="later") | {"origin": ORIGIN | {"date": "2027-01-01"}}]
    scores.write(tmp_path / "b.json", rows)
    lines = (tmp_path / "b.json").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 2 + 4 + 5 and [line.count("podarcade launch") for line in lines[6:9]] == [1, 1, 1]
    assert scores.read(tmp_path / "b.json") == rows
    scores.write(tmp_path / "a.json", rows[:1])
    assert [row["file"] for row in scores.read_folder(tmp_path)] == ["a.json", "b.json", "b.json", "b.json"]


def test_a_new_row_replaces_that_of_the_same_run():
    old = [score(), score(agent="other"), score((ARGUMENTS[0], "--config.seeds=2", "--config.seed=2"))]
    new = copy.deepcopy(old[0]) | {"final": [9.0, 9.0]}
    found = scores.merged(old, [new])
    assert [row["final"][0] for row in found] == [9.0, 2.0, 2.0]
    longer = score((*ARGUMENTS, "--config.frames=9000"))
    assert len(scores.merged(old, [longer])) == 4, "another budget is another row"


def test_all_commits_of_a_resumed_run_are_kept():
    other = START | {"started": "2026-12-01T10:00:00+00:00", "code": {"commit": "b" * 40, "clean": False}}
    found = scores.origin_of([START, START, other])
    assert (found["commit"], found["clean"], found["date"]) == (f"{'a' * 40}, {'b' * 40}", False, "2026-12-01")
    assert scores.origin_of([{"code": None}])["commit"] == scores.origin_of([])["commit"] == "unknown"


def comparison(path, arguments, rows):
    about = {"arguments": arguments, "last": 0.25, "runs": rows} | START
    path.write_text(json.dumps(about), encoding="utf-8")
    return path


COMPARED = [
    f"--config={FILE}:preset=smoke",
    "--tasks=tmaze+repeat_first/partial",
    "--memories=none,gru",
    "--variant=fast:memory=gru,config.algorithm.learning_rate=0.25",
    "--override=config.frames=640",
    "--seeds=2",
    "--workdir=runs/elsewhere",
]


def compared(game, agent, *more):
    memory = "gru" if agent == "fast" else agent
    words = [f"--config={FILE}:game={game},level=easy,partial=true,preset=smoke,memory={memory}"]
    words += ["--config.seeds=2", "--config.frames=640", *more]
    return result(words, agent, TASK | {"game": game})


def test_a_result_of_a_comparison_is_added_with_the_commands_of_its_runs(tmp_path, capsys):
    fast = compared("repeat_first", "fast", "--config.algorithm.learning_rate=0.25")
    file = comparison(tmp_path / "c.json", COMPARED, [compared("tmaze", "none"), compared("tmaze", "gru"), fast])
    where = [f"--scores={tmp_path}/scores", f"--output={tmp_path}/board.md"]
    assert leaderboard.main(["leaderboard", f"--add={file}", "--name=mine", *where]) == 0
    rows = scores.read(tmp_path / "scores" / "mine.json")
    assert [(row["task"]["game"], row["agent"]) for row in rows] == [
        ("tmaze", "none"), ("tmaze", "gru"), ("repeat_first", "fast"),
    ]  # fmt: skip
    assert rows[2]["command"].endswith(
        "memory=gru --config.seeds=2 --config.frames=640 --config.algorithm.learning_rate=0.25"
    )
    assert "3 runs of" in capsys.readouterr().out
    # What a sweep has written is added as it is, and twice is once.
    assert leaderboard.main(["leaderboard", f"--add={tmp_path}/scores/mine.json", "--name=mine", *where]) == 0
    assert scores.read(tmp_path / "scores" / "mine.json") == rows


def test_a_row_that_its_comparison_did_not_plan_is_refused_and_nothing_is_written(tmp_path, capsys):
    where = [f"--scores={tmp_path}/scores", f"--output={tmp_path}/board.md"]
    stranger = compared("tmaze", "lru")
    file = comparison(tmp_path / "c.json", COMPARED, [compared("tmaze", "gru"), stranger])
    assert leaderboard.main(["leaderboard", f"--add={file}", *where]) == 1
    assert "tmaze-easy-partial lru: not planned by the recorded command line" in capsys.readouterr().err
    changed = compared("tmaze", "gru", "--config.algorithm.discount=0.5")
    file = comparison(tmp_path / "c.json", COMPARED, [changed])
    assert leaderboard.main(["leaderboard", f"--add={file}", *where]) == 1
    assert "its command makes another configuration (algorithm.discount" in capsys.readouterr().err
    assert not (tmp_path / "scores").exists() and not (tmp_path / "board.md").exists()


def test_a_file_that_repeats_seeds_is_refused_and_nothing_is_written(tmp_path, capsys):
    where = [f"--scores={tmp_path}/scores", f"--output={tmp_path}/board.md"]
    file = comparison(tmp_path / "c.json", COMPARED, [compared("tmaze", "none"), compared("tmaze", "gru")])
    assert leaderboard.main(["leaderboard", f"--add={file}", *where]) == 0
    assert leaderboard.main(["leaderboard", f"--add={file}", "--name=again", *where]) == 1
    assert "are scored twice (again.json, c.json)" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "scores").glob("*.json")] == ["c.json"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["more"], "unexpected argument 'more'"),
        (["--output=x.html"], "expected the name of a file that ends with .md"),
        (["--add=missing.json"], "missing.json cannot be read"),
        (["--scores=nowhere"], "nowhere has no scores"),
    ],
)
def test_bad_input_is_one_line(arguments, message, capsys):
    assert leaderboard.main(["leaderboard", *arguments]) == 1
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_a_result_that_names_no_command_line_is_refused(tmp_path):
    for text in ('{"runs": []}', '{"runs": [], "arguments": "--seeds=3"}'):
        (tmp_path / "x.json").write_text(text, encoding="utf-8")
        with pytest.raises(ValueError, match="names no command line"):
            recorded.read(tmp_path / "x.json")


def test_every_memory_of_a_comparison_is_planned():
    words = [f"--config={FILE}:preset=smoke", "--tasks=tmaze/partial", "--memories=all"]
    row = {"task": TASK, "variant": "lru"}
    ((config, seeds),) = recorded.commands(words, [row])
    assert "memory=lru" in config and seeds == "--config.seeds=3"


def test_the_command_of_a_row_trains_it_again(tmp_path):
    """The whole way: a run, its scores, and a second run by the command of its row, to the last digit."""
    arguments = (*ARGUMENTS, "--config.frames=256", "--config.mesh.data=1")
    _, _, *words = shlex.split(score(arguments)["command"])
    found = []
    for folder, given in ((tmp_path / "once", arguments), (tmp_path / "again", words)):
        train(folder, *given)
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        rows = read_metrics(folder / "metrics.jsonl")
        made = results.row(TASK, "gru", config, rows, 0.25)
        found.append(scores.row(made, score(arguments)["command"], ORIGIN))
        np.testing.assert_allclose(found[-1]["final"], rows[-1]["final/return_partial"], atol=1e-6)
    assert found[0] == found[1]
