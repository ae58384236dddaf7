"""The study of keeping a token: its sequences, and a measurement that can be stopped and resumed."""

import functools
import json

import numpy as np
import pytest

from benchmarks import keep
from podarcade import configuration, plugins

WORDS = ["keep", "--memories=none,min_gru", "--width=16", "--steps=2", "--batch=2", "--seeds=2"]


def test_the_token_is_shown_once_and_asked_for_at_the_end():
    shown, token = map(np.asarray, keep.sequences(9, 50, 3, 4))
    assert shown.shape == (50, 3, 10, 4) and token.shape == (50, 3, 4)
    np.testing.assert_array_equal(shown[:, :, 0], token)
    assert set(token.ravel()) == set(range(keep.TOKENS))
    assert set(shown[:, :, 1:-1].ravel()) == set(range(keep.TOKENS, keep.TOKENS + keep.DISTRACTORS))
    assert np.all(shown[:, :, -1] == keep.INPUTS - 1)
    assert not np.array_equal(shown[0], shown[1]) and not np.array_equal(shown[:, 0], shown[:, 1])


def test_all_layers_see_the_same_sequences_and_lags_differ():
    again = keep.sequences.__wrapped__(9, 50, 3, 4)
    np.testing.assert_array_equal(keep.sequences(9, 50, 3, 4)[0], again[0])
    assert not np.array_equal(keep.sequences(8, 50, 3, 4)[1], again[1])


def test_every_layer_is_planned_at_both_initialisations_where_it_has_two():
    rows = list(keep.plan(plugins.names("memory"), (16, 32)))
    assert len({(name, init, lag) for name, init, _, lag in rows}) == len(rows) == 2 * (18 + 12)
    assert {changes.get("init_horizon", 0.0) for _, init, changes, _ in rows if init == "matched"} == {
        configuration.MATCHED_HORIZON
    }


def test_a_token_is_learned_over_a_few_steps():
    memory = functools.partial(plugins.find("memory", "min_gru"), init_horizon=8.0)
    accuracy = keep.train(memory, 4, width=16, steps=100, batch=16, learning_rate=1e-2, seeds=1)
    assert len(accuracy) == 1 and accuracy[0] > 0.9


def test_a_measurement_goes_back_to_the_rows_that_are_missing(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(keep, "train", lambda memory, lag, seeds, **settings: [1 / lag] * seeds)
    path = tmp_path / "keep.json"
    assert keep.main([*WORDS, "--lags=2", f"--json={path}"]) == 0
    first = json.loads(path.read_text(encoding="utf-8"))["rows"]
    assert len(capsys.readouterr().out.splitlines()) == len(first) == 3
    assert all(len(row["accuracy"]) == 2 for row in first)
    assert keep.main([*WORDS, "--lags=2", "--memories=none,min_gru,stack", f"--json={path}"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in out] == ["stack"]
    rows = json.loads(path.read_text(encoding="utf-8"))["rows"]
    assert rows[:3] == first and rows[3]["memory"] == "stack"
    assert path.with_suffix(".png").stat().st_size > 1000


@pytest.mark.parametrize(
    ("word", "message"),
    [("--steps=3", "has steps=2, not 3; choose another"), ("--memories=lur", "unknown memory 'lur'")],
)
def test_a_wrong_measurement_is_one_line(tmp_path, capsys, word, message):
    path = tmp_path / "keep.json"
    settings = {"batch": 2, "learning_rate": keep.SETTINGS["learning_rate"], "seeds": 2, "init_horizon": 256.0}
    path.write_text(json.dumps({"width": 16, "steps": 2, "rows": []} | settings), encoding="utf-8")
    assert keep.main([*WORDS, word, f"--json={path}"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ") and message in error and len(error.splitlines()) == 1
