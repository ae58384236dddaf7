"""The study of what memory does: how summaries of diagnostics become rows, grids and cells."""

import json

import numpy as np
import pytest

from benchmarks import diagnosis, tables_of_diagnosis
from podarcade import diagnose


def density(now, needed, thirds):
    return {"now": now, "needed": needed, "thirds": thirds, "agreement": 0.5, "curve": [0.1] * 20}


def summary(l1, occlusion):
    return {"l1": density(*l1), "occlusion": density(*occlusion), "l2": density(*l1)}


TRAINED = {
    "0": summary((0.5, 0.25, [0.25, 0.25, 0.5]), (0.1, 0.9, [0.8, 0.1, 0.1])),
    "1": summary((0.75, None, None), (0.3, 0.7, [0.6, 0.2, 0.2])),
}
UNTRAINED = {"0": summary((1.0, 0.0, [0.0, 0.0, 1.0]), (1.0, 0.0, [0.0, 0.0, 1.0]))}


def row(game="tmaze", twin="partial", variant="gru"):
    entry = {"options": {}, "seeds": TRAINED, "untrained": UNTRAINED}
    task = {"game": game, "level": "easy", "twin": twin}
    return {"task": task, "variant": variant, "returns": [1.0, 0.5], "diagnostics": {"recall_density": entry}}


def test_a_grid_is_of_means_over_the_seeds_that_have_a_number():
    rows = [row(), row(variant="none"), row(game="repeat_previous")]
    tasks, variants, values = diagnosis.grid(rows, "recall_density", "seeds", diagnosis.needed("l1"))
    assert (tasks, variants) == (["repeat_previous", "tmaze"], ["gru", "none"])
    np.testing.assert_allclose(values, [[0.25, np.nan], [0.25, 0.25]])
    _, _, early = diagnosis.grid(rows[:1], "recall_density", "seeds", diagnosis.early("occlusion"))
    np.testing.assert_allclose(early, [[(0.9 + 0.8) / 2]])
    _, _, unknown = diagnosis.grid(rows[:1], "contamination", "seeds", diagnosis.needed("l1"))
    assert np.isnan(unknown).all()


def test_a_row_keeps_what_tables_need(tmp_path):
    config = {
        "environment": {"name": "tmaze", "level": "easy", "observability": "partial"},
        "memory": {"name": "gru"},
        "network": {"init": "matched"},
        "seed": 3,
        "seeds": 2,
    }
    (tmp_path / "metrics.jsonl").write_text(json.dumps({"updates": 7, "final/return_partial": [1.0, 0.5]}) + "\n")
    probes = {"needed.goal": {"chance": 0.123456}, "time": {"chance": 1.0}}
    found = {
        "recall_density": {"7": {"options": {"episodes": 4}, "seeds": TRAINED, "untrained": UNTRAINED}},
        "probes": {"7": {"options": {}, "seeds": {"3": probes}}, "3": {"options": {}, "seeds": {}}},
        "twins": {"3": {"options": {}, "seeds": {}}},
    }
    (tmp_path / diagnose.RESULTS).write_text(json.dumps(found))
    made = diagnosis.row(tmp_path, config, dict.fromkeys(["recall_density", "probes", "twins"]))
    assert made["variant"] == "gru, matched" and made["seeds"] == [3, 4] and made["returns"] == [1.0, 0.5]
    assert made["diagnostics"].keys() == {"recall_density", "probes"}  # of the last number of updates
    assert made["diagnostics"]["probes"]["seeds"]["3"] == {"needed.goal": {"chance": 0.1235}}
    kept = made["diagnostics"]["recall_density"]
    assert kept["seeds"]["0"].keys() == {"l1", "occlusion"} and "curve" not in kept["seeds"]["0"]["l1"]
    assert kept["untrained"]["0"]["l1"]["now"] == 1.0


def test_pictures_of_the_twins_that_are_there(tmp_path):
    diagnosis.draw([row()], tmp_path / "study.json")
    assert [path.name for path in tmp_path.iterdir()] == ["study-needed.png"]
    diagnosis.draw([row(twin="full")], tmp_path / "study.json")
    assert (tmp_path / "study-early.png").exists()


@pytest.mark.parametrize(
    ("kind", "read", "expected"),
    [
        ("seeds", lambda one: one["l1"]["now"], "0.62"),
        ("seeds", lambda one: one["l1"]["needed"], "0.25"),
        ("untrained", lambda one: one["occlusion"]["now"], "1.00"),
        ("seeds", lambda one: None, "-"),
    ],
)
def test_cells(kind, read, expected):
    entry = row()["diagnostics"]["recall_density"]
    assert tables_of_diagnosis.mean(entry, read, kind) == expected
