"""The stages of `benchmarks.accelerator`: each runs at toy size, resumes, survives a cut, asks for what exists."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import textwrap
import time

import pytest
from running import ROOT

from benchmarks import accelerator, accelerator_report, checkpoints, determinism, training
from benchmarks.accelerator_stages import FULL, STAGES, TOY, Measurement
from podarcade import compare, probe
from podarcade.configuration import command_line
from podarcade.sweeps import jobs


@pytest.mark.parametrize("stage", STAGES)
def test_each_stage_runs_at_toy_size_and_is_not_measured_twice(tmp_path, monkeypatch, capsys, stage):
    monkeypatch.chdir(ROOT)
    command = ["accelerator", f"--stage={stage}", "--toy", f"--json={tmp_path / 'found.json'}"]
    assert accelerator.main(command) == 0, capsys.readouterr().out
    found = json.loads((tmp_path / "found.json").read_text())["measurements"]
    assert list(found) == [one.name for one in STAGES[stage](TOY, tmp_path)]
    assert all(list(accelerator_report.figures(one)) for one in found.values()), found
    capsys.readouterr()
    assert accelerator.main(command) == 0 and not capsys.readouterr().out
    assert accelerator.main(["accelerator", f"--show={tmp_path / 'found.json'}"]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in found)


FLAGS = {"benchmarks.training": training, "podarcade.compare": compare, "podarcade.probe": probe}
PARSERS = {"benchmarks.determinism": determinism, "benchmarks.checkpoints": checkpoints}


@pytest.mark.parametrize("one", [one for stage in STAGES.values() for one in stage(FULL, pathlib.Path("x"))])
def test_what_is_asked_for_exists(monkeypatch, one):
    monkeypatch.chdir(ROOT)
    module, *arguments = [*one.command, f"{one.output}=file.json"]
    if module in PARSERS:
        options = PARSERS[module].parse(arguments)
        if module == "benchmarks.determinism":
            assert command_line.configured([f"--config={options.config}", *(f"--{item}" for item in options.override)])
    elif module in FLAGS:
        options = FLAGS[module].make_flags()
        if module == "podarcade.probe":
            assert command_line.load(options, [module, *arguments])
            return
        assert options([module, *arguments]) == [module]
        if module == "benchmarks.training":
            assert training.configurations(options)
        else:
            tasks = [task for text in options.tasks for task in jobs.read_tasks(text)]
            assert len(jobs.plan(tasks, compare.variants(options), 1, options.override, pathlib.Path("x"))) == 2
    else:  # the toys run with the same flags
        assert module in ("benchmarks.environments", "benchmarks.memory")
        assert names_of([one]) <= names_of(toys(module))


def toys(module):
    return [one for stage in STAGES.values() for one in stage(TOY, pathlib.Path("x")) if one.command[0] == module]


def names_of(measurements):
    return {word.partition("=")[0] for one in measurements for word in one.command[1:]}


def test_runs_that_differ_in_one_bit_are_not_the_same(monkeypatch):
    digests = iter(["a", "x", "b", "x"])  # arms take turns
    monkeypatch.setattr(
        determinism, "train",
        lambda options, more, folder: {"digests": next(digests), "frames_per_second": 2.0, "updates": 3},
    )  # fmt: skip
    rows = determinism.measure(determinism.parse([]))
    assert [(row["arm"], row["is_same"]) for row in rows] == [("as it is", False), ("deterministic", True)]
    assert "NOT the same" in determinism.line(rows[0]) and "2 and 2 frames/s" in determinism.line(rows[1])
    figures = dict(accelerator_report.figures({"command": ["benchmarks.determinism"], "result": {"rows": rows}}))
    assert figures["as it is"].startswith("does not repeat") and figures["deterministic"].startswith("repeats")


FAKE = """
    import json, pathlib, sys, time
    mode, path = sys.argv[1], pathlib.Path(sys.argv[2].partition("=")[2])
    path.write_text(json.dumps({"rows": []}))
    if mode == "slow":
        time.sleep(60)
    sys.exit(mode == "broken" and "error: no such thing")
"""


@pytest.fixture
def fake(tmp_path, monkeypatch):
    """Measurements of a stage, by mode."""
    (tmp_path / "fake_benchmark.py").write_text(textwrap.dedent(FAKE))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(accelerator, "GRACE", 0.5)
    monkeypatch.setitem(accelerator_report._READERS, "fake_benchmark", lambda result: iter([("rows", str(result))]))

    def stage(*modes):
        found = [Measurement(mode, ("fake_benchmark", mode), 0.0) for mode in modes]
        monkeypatch.setitem(accelerator.STAGES, 1, lambda scale, folder: found)
        return tmp_path / "found.json"

    return stage


def run(path, minutes=9.0):
    code = accelerator.main(["accelerator", "--stage=1", f"--json={path}", f"--minutes={minutes}"])
    return code, json.loads(path.read_text())["measurements"] if path.exists() else {}


def test_what_is_cut_off_keeps_what_it_wrote_and_is_measured_again(fake, capsys):
    path = fake("good", "slow", "last")
    began = time.monotonic()
    code, found = run(path, minutes=3 / 60)
    assert code == 75 and time.monotonic() - began < 30
    assert found["slow"]["cut_off"] and found["slow"]["result"] == {"rows": []} and "last" not in found
    assert "slow (cut off after" in capsys.readouterr().out
    fake("good", "last")
    code, again = run(path)
    assert code == 0 and again["good"] == found["good"] and "last" in again, "what is complete is left alone"


def test_a_failure_does_not_stop_the_others(fake, capsys):
    code, found = run(fake("broken", "good"))
    assert code == 1 and "no such thing" in found["broken"]["error"] and "result" in found["good"]
    assert "no such thing" in capsys.readouterr().out


def test_another_command_is_another_measurement(fake):
    path = fake("good")
    run(path)
    content = json.loads(path.read_text())
    content["measurements"]["good"] |= {"command": ["fake_benchmark", "older"], "seconds": -1}
    path.write_text(json.dumps(content))
    assert run(path)[1]["good"]["seconds"] >= 0


def test_a_stopped_stage_leaves_no_process(fake, tmp_path):
    path = fake("slow")
    code = "import sys; from benchmarks import accelerator as a; from benchmarks.accelerator_stages import Measurement;"
    code += "a.STAGES[1] = lambda *_: [Measurement('slow', ('fake_benchmark', 'slow'), 0.0)];"
    code += "import signal; signal.signal(signal.SIGTERM, lambda *_: sys.exit(143)); sys.exit(a.main(sys.argv))"
    paths = f"{tmp_path}:{ROOT}:{ROOT / 'tests'}"
    process = subprocess.Popen(
        [sys.executable, "-c", code, "--stage=1", f"--json={path}"], env=os.environ | {"PYTHONPATH": paths}
    )
    log = tmp_path / "found" / "slow.json"
    deadline = time.monotonic() + 60
    while not log.exists():
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 143
    left = subprocess.run(["pgrep", "-f", f"fake_benchmark slow --json={log}"], capture_output=True, text=True)
    assert not left.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--stage=5", "--json=x"], "invalid choice"),
        (["--stage=1"], "expected --stage=1 to 4 and --json=FILE.json"),
        (["--stage=1", "--json=x", "--minutes=0"], "--minutes=0; expected a number > 0"),
    ],
)
def test_bad_options_are_one_line(arguments, message):
    with pytest.raises(SystemExit, match=message):
        accelerator.parse(arguments)


def test_a_file_of_something_else_is_left_alone(tmp_path, capsys):
    path = tmp_path / "other.json"
    path.write_text("{}")
    assert accelerator.main(["accelerator", "--stage=1", f"--json={path}"]) == 1
    assert "holds no results of benchmarks.accelerator" in capsys.readouterr().err and path.read_text() == "{}"
