"""The command that runs diagnostics on trained agents."""

import dataclasses
import json
import shutil
import signal

import jax
import numpy as np
import pytest
from running import ROOT, finish, load, records, same_bits, start, train

import podarcade
from podarcade import diagnose, launch, plugins
from podarcade.agents.training import InTraining
from podarcade.build import build
from podarcade.configuration import FrozenConfigDict
from podarcade.diagnostics import numbers
from podarcade.diagnostics.recall_density import MEASURES
from podarcade.runtime import loop
from podarcade.runtime.metrics import METRICS, read_metrics


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return train(
        tmp_path_factory.mktemp("run"),
        f"--config={ROOT}/configs/ppo.py:game=memory_chain,memory=gru,preset=smoke",
        "--config.seeds=2",
    )


def command(*arguments):
    return diagnose.main(["diagnose", *map(str, arguments)])


def test_arrays_and_summaries_of_all_seeds_are_written_once(run, capsys):
    assert command(run, "--with=recall_density") == 0
    updates = podarcade.load(run).updates
    path = run / "diagnostics" / f"recall_density-{updates}.npz"
    assert str(path) in capsys.readouterr().out
    arrays = np.load(path)
    assert arrays["l1"].shape == (2, 32, 11) and not np.array_equal(arrays["l1"][0], arrays["l1"][1])
    np.testing.assert_allclose(arrays["l1"].sum(axis=-1), 1, rtol=1e-5)
    found = json.loads((run / diagnose.RESULTS).read_text())["recall_density"][str(updates)]
    assert found["options"] == {"episodes": 32, "length": 0, "swaps": 4, "points": 0}
    for seed in (0, 1):
        numbers = found["seeds"][str(seed)]
        assert numbers.keys() == set(MEASURES)
        assert numbers["l1"]["needed"] == pytest.approx(arrays["l1"][seed, :, 0].mean(), abs=1e-4)
        assert sum(numbers["l1"]["thirds"]) == pytest.approx(1, abs=1e-4)
    control = found["untrained"]["0"]["l1"]
    assert control["now"] == pytest.approx(arrays["untrained/l1"][0, :, -1].mean(), abs=1e-4)
    assert control["now"] != numbers["l1"]["now"]
    # Only the cue at time 0 differs between episodes.
    assert found["seeds"]["0"]["occlusion"]["needed"] == found["seeds"]["0"]["spread"]["needed"] == 1
    before = path.stat().st_mtime_ns
    assert command(run, "--with=recall_density") == 0
    assert "found" in capsys.readouterr().out and path.stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "no run given"),
        (["nowhere"], "nowhere holds no run"),
        (["RUN", "--with=recall"], "unknown diagnostic 'recall'; did you mean 'recall_density'?"),
        (["RUN", "--override=recall_density"], "expected DIAGNOSTIC.OPTION=VALUE"),
        (["RUN", "--override=recall.swaps=1"], "unknown diagnostic 'recall'; did you mean 'recall_density'?"),
        (["RUN", "--override=recall_density.swap=1"], "unknown option 'swap'; did you mean 'swaps'?"),
        (["RUN", "--override=recall_density.swaps=many"], "expected a value of type int"),
        (["RUN", "--override=recall_density.episodes=1"], "episodes=1; expected a number >= 2"),
    ],
)
def test_bad_input_is_one_line(run, capsys, arguments, message):
    assert command(*[run if word == "RUN" else word for word in arguments]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ") and message in error and len(error.splitlines()) == 1


@pytest.mark.slow
def test_two_processes_measure_what_one_does(tmp_path):
    """The first one measures, on parameters that both fetch; nothing of it depends on how many there are."""
    words = [f"--config={ROOT}/configs/ppo.py:game=memory_chain,memory=gru,preset=smoke", "--config.seeds=2"]
    words += ["--config.diagnostics=recall_density,saliency", "--cpu_devices=1"]
    for name, processes in (("one", ()), ("two", ("--local_processes=2",))):
        code, output = finish(start(*words, f"--workdir={tmp_path / name}", *processes))
        assert code == 0, output
    one, two = (
        [{key: x for key, x in record.items() if key.startswith("diagnostics/")} for record in records(tmp_path / name)]
        for name in ("one", "two")
    )
    assert [found.keys() for found in one] == [found.keys() for found in two]
    assert sum("diagnostics/recall_density/l1/now" in found for found in one) > 2
    # At first to the last bit; later, parameters differ by the rounding of means over devices.
    assert one[0].keys() > {"diagnostics/seconds"}
    for number, (found, other) in enumerate(zip(one, two, strict=True)):
        for key in found.keys() - {"diagnostics/seconds"}:
            numbers = (np.array(x[key], float) for x in (found, other))
            np.testing.assert_allclose(*numbers, atol=0 if number == 0 else 2e-3, rtol=0, err_msg=key)


def test_a_run_in_training_measures_what_its_evaluations_include(run, tmp_path, capsys):
    task = f"--config={ROOT}/configs/ppo.py:game=memory_chain,memory=gru,preset=smoke"
    inside = tmp_path / "run"
    options = "--config.seeds=2", "--config.diagnostics=recall_density", f"--workdir={inside}"
    assert launch.main(["launch", task, *options]) == 0
    one, other = (
        [record for record in read_metrics(folder / METRICS) if "eval/return_partial" in record]
        for folder in (run, inside)
    )
    # Training is not changed by what is measured.
    assert [record["eval/return_partial"] for record in one] == [record["eval/return_partial"] for record in other]
    key = "diagnostics/recall_density/l1/now"
    assert not any(key in record for record in one) and all(key in record for record in other)
    assert command(inside, "--with=recall_density") == 0
    ((_, found),) = json.loads((inside / diagnose.RESULTS).read_text())["recall_density"].items()
    assert other[-1][key] == [found["seeds"][seed]["l1"]["now"] for seed in ("0", "1")]
    assert not any("curve" in name for name in other[-1]) and other[-1]["diagnostics/seconds"] > 0
    # Other diagnostics are no other run.
    again = ["launch", task, "--config.seeds=2", "--config.diagnostics=saliency", f"--workdir={inside}"]
    assert launch.main(again) == 0
    assert launch.main(["launch", task, "--config.diagnostics=recall_densit", f"--workdir={tmp_path}/other"]) == 1
    assert "unknown diagnostic 'recall_densit'; did you mean 'recall_density'?" in capsys.readouterr().err


def test_a_folder_of_runs_stands_for_these(run, tmp_path, capsys):
    for name in ("one", "two"):
        shutil.copytree(run, tmp_path / "compared" / "memory_chain-easy-partial" / name)
    options = "--with=saliency", "--override=saliency.length=3"
    two = tmp_path / "compared" / "memory_chain-easy-partial" / "two"
    assert command(two, tmp_path / "compared", *options) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition("  ")[0] for line in lines] == [str(two), str(two.with_name("one"))]
    assert all((path / "diagnostics.json").exists() for path in (two, two.with_name("one")))
    (tmp_path / "empty").mkdir()
    assert command(tmp_path / "empty", *options) == 1
    error = capsys.readouterr().err
    assert "empty holds no run: none of config.json" in error and len(error.splitlines()) == 1


def test_options_are_part_of_what_was_measured(run, capsys):
    assert command(run, "--with=saliency", "--override=saliency.length=3") == 0
    assert command(run, "--with=saliency", "--override=saliency.length=3") == 0
    assert "found" in capsys.readouterr().out
    updates = podarcade.load(run).updates
    path = run / "diagnostics" / f"saliency-{updates}.npz"
    assert np.load(path)["full/past"].shape[:3] == (2, 1, 3) and path.with_suffix(".png").exists()
    assert command(run, "--with=saliency", "--override=saliency.length=4") == 0
    assert np.load(path)["full/past"].shape[:3] == (2, 1, 4)


def test_seeds_keep_their_places_where_a_number_is_unknown(monkeypatch, run):
    """A seed without a density has None in the place of every number."""
    summaries = iter([{"thirds": [0.1, 0.2, 0.7], "now": 0.5}, {"thirds": None, "now": None}])
    made = InTraining(FrozenConfigDict(podarcade.load(run).config.to_dict() | {"diagnostics": "recall_density"}))
    monkeypatch.setattr(made, "_measure", lambda diagnostic, agent: next(summaries))
    params = jax.tree.map(lambda x: np.stack([x, x]), podarcade.load(run).params)
    found = {name.removeprefix("diagnostics/recall_density/"): values for name, values in made(params, 3).items()}
    assert found == {"thirds": [None] * 2, "now": [0.5, None]} | {
        f"thirds/{k}": [x, None] for k, x in enumerate([0.1, 0.2, 0.7])
    }


def test_numbers_are_named_by_their_path_and_curves_are_left_out():
    summary = {"a": {"b": [1, None], "curve": [1.0, 2.0, 3.0]}, "c": None, "d": "text", "e": True}
    assert dict(numbers(summary, 2)) == {"a/b/0": 1, "a/b/1": None, "c": None, "e": True}
    assert dict(numbers([0.5], 1, "here")) == {"here/0": 0.5}


# A stop request while a run measures.


def stops_after(monkeypatch, measurements):
    """Have every measurement return a number at once, and return a stop request that begins during one of them."""
    made = []

    def measure(self, diagnostic, agent):
        made.append((plugins.label(type(diagnostic).__module__.rpartition(".")[2]), agent.updates, agent.seed))
        return {"number": float(agent.updates + agent.seed)}

    monkeypatch.setattr(InTraining, "_measure", measure)
    return made, lambda: signal.SIGTERM if len(made) >= measurements else 0


@pytest.mark.parametrize(("measurements", "complete"), [(0, 0), (1, 0), (2, 1), (3, 1), (4, 2)])
def test_a_stop_request_ends_diagnostics_after_the_seed_that_is_measured(run, monkeypatch, measurements, complete):
    made, stop_requested = stops_after(monkeypatch, measurements)
    config = podarcade.load(run).config.to_dict() | {"diagnostics": "saliency,twins"}
    params = jax.tree.map(lambda x: np.stack([x, x]), podarcade.load(run).params)
    found = InTraining(FrozenConfigDict(config))(params, 3, stop_requested)
    names = [f"diagnostics/{name}/number" for name in ("saliency", "twins")][:complete]
    assert found == {key: [3.0, 4.0] for key in names} and len(made) == measurements


def test_a_run_that_is_stopped_while_it_measures_resumes_without_these_numbers_only(tmp_path, monkeypatch):
    """The same parameters and the same metrics as of a run that was not stopped, less what it was stopped in."""
    config = load(f"--config={ROOT}/configs/ppo.py:game=memory_chain,memory=gru,preset=smoke")
    config.diagnostics = "saliency,twins"
    states = {}
    for name, limits in (("whole", [np.inf]), ("stopped", [5, np.inf])):
        (tmp_path / name).mkdir()
        for limit in limits:
            _, stop_requested = stops_after(monkeypatch, limit)
            run = dataclasses.replace(build(config), diagnose=InTraining(config))
            outcome = loop.train(run, tmp_path / name, stop_requested)
        states[name] = outcome.state
    same_bits(*(jax.device_get(state.learner.params) for state in states.values()))
    whole, stopped = (
        [{key: value for key, value in record.items() if key != "diagnostics/seconds"} for record in records(folder)]
        for folder in (tmp_path / "whole", tmp_path / "stopped")
    )
    missing = [(a["updates"], set(a) - set(b)) for a, b in zip(whole, stopped, strict=True) if a != b]
    assert missing == [(8, {"diagnostics/twins/number"})]
    assert all(one.items() >= other.items() for one, other in zip(whole, stopped, strict=True))


def test_a_run_that_cannot_be_read_does_not_keep_others_from_being_measured(run, tmp_path, capsys):
    shutil.copytree(run, tmp_path / "good", ignore=shutil.ignore_patterns("diagnostics*"))
    (tmp_path / "bad").mkdir()
    shutil.copy(run / "config.json", tmp_path / "bad")
    assert command(tmp_path, "--with=twins", "--override=twins.episodes=4", "--override=twins.length=3") == 1
    said = capsys.readouterr()
    assert "error: " in said.err and "bad" in said.err and len(said.err.splitlines()) == 1
    assert (tmp_path / "good" / diagnose.RESULTS).exists()
