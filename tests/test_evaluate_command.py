"""The command that evaluates the agents of runs."""

import csv
import json
import re
import shutil

import numpy as np
import pytest
from running import ROOT, load, train

import podarcade
from podarcade import evaluate


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return train(
        tmp_path_factory.mktemp("run"),
        f"--config={ROOT}/configs/ppo.py:game=tmaze,memory=gru,preset=smoke",
        "--config.seeds=2",
    )


def command(*arguments):
    return evaluate.main(["evaluate", *map(str, arguments)])


def test_every_episode_of_every_seed_and_level_is_written(run, tmp_path, capsys):
    files = [f"--json={tmp_path}/out/e.json", f"--csv={tmp_path}/out/e.csv"]
    assert command(run, "--episodes=6", "--levels=easy,medium", *files) == 0
    out = capsys.readouterr().out
    assert f"2/2  {run}  tmaze/medium" in out and "2 seeds: bootstrap over seeds and episodes" in out
    content = json.loads((tmp_path / "out/e.json").read_text())
    assert [row["environment"]["level"] for row in content["runs"]] == ["easy", "medium"]
    assert np.shape(content["runs"][0]["return_partial"]) == (2, 6)
    with open(tmp_path / "out/e.csv", newline="") as file:
        records = list(csv.DictReader(file))
    assert len(records) == 2 * 2 * 2 * 6
    for seed in range(2):
        wanted = podarcade.load(run, seed=seed).play(6)
        for twin in ("full", "partial"):
            chosen = [r for r in records if (r["level"], r["twin"], r["seed"]) == ("easy", twin, str(seed))]
            assert [float(r["return"]) for r in chosen] == wanted[f"return_{twin}"].tolist()
            assert [int(r["length"]) for r in chosen] == wanted[f"length_{twin}"].tolist()


def test_a_folder_of_runs_stands_for_these(run, tmp_path, capsys):
    for name in ("gru", "lru"):
        shutil.copytree(run, tmp_path / "compared" / "tmaze-easy-partial" / name)
    assert command(tmp_path / "compared", "--episodes=2", "--seeds=0", f"--json={tmp_path}/e.json") == 0
    rows = json.loads((tmp_path / "e.json").read_text())["runs"]
    found = tmp_path / "compared" / "tmaze-easy-partial"
    assert [row["run"] for row in rows] == [str(found / "gru"), str(found / "lru")]


def test_the_starts_of_its_evaluations_give_the_recorded_returns(run, tmp_path, capsys):
    episodes = load(f"--config={run}/config.json").evaluation.episodes
    path = tmp_path / "e.json"
    assert command(run, "--starts=recorded", f"--episodes={episodes}", "--seeds=1", f"--json={path}") == 0
    found = json.loads(path.read_text())["runs"][0]
    assert found["seeds"] == [1]
    last = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])
    assert np.mean(found["return_partial"][0]) == last["eval/return_partial"][1]
    assert "1 seed: bootstrap over its episodes" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "no run given; expected the folders of runs"),
        (["nowhere"], "nowhere holds no run"),
        (["RUN", "--levels=nightmare"], "unknown level of tmaze 'nightmare'"),
        (["RUN", "--seeds=7"], "--seeds=7; .* has the seeds 0, 1"),
        (["RUN", "--starts=old"], "--starts=old; expected a number or recorded"),
        (["RUN", "--step=last"], "--step=last; expected a number"),
        (["RUN", "--tasks=tmaze"], "--tasks=tmaze; expected GAME/LEVEL"),
        (["RUN", "--tasks=repeat_first/easy"], "the parameters do not fit"),
        (["RUN", "--tasks=tmaze/easy", "--levels=easy"], "give one of them"),
        (["RUN", "--episode=3"], "Unknown command line flag 'episode'"),
    ],
)
def test_bad_input_is_one_line(run, capsys, arguments, message):
    assert command(*[str(run) if word == "RUN" else word for word in arguments]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ") and len(error.splitlines()) == 1, error
    assert re.search(message, error), error
