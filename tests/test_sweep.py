"""The door of sweeps and its engines: retries, shared folders, kills and restarts, populations."""

import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import threading
import time

import pytest
from running import ROOT

from podarcade import sweep
from podarcade.reporting import results
from podarcade.runtime import lock
from podarcade.runtime.lock import Lock
from podarcade.runtime.metrics import read_metrics
from podarcade.sweeps import cells, processes, programs, record, structures

CHILD = ROOT / "tests" / "sweep_child.py"
GRID = "--grid=file=configs/ppo.py preset=smoke config.frames=256 game=tmaze memory={} seeds=1"  # four updates
RATES = "gru config.algorithm.learning_rate=1e-4,3e-4"


def stand_in(patch, modes):
    """Replace the trainer with a child that goes as `modes` says: a folder with a file for each name of a folder."""
    modes.mkdir(exist_ok=True)
    patch.setenv("MODES", str(modes))
    patch.setattr(programs, "LAUNCH", (sys.executable, str(CHILD)))
    patch.setattr(processes, "POLL", 0.05)
    patch.setattr(processes, "FIRST_LOOK", 0.2)
    patch.setattr(sweep, "_finish", lambda *_: None)


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Run the door with stand-ins for some memories; return exit code and output."""
    stand_in(monkeypatch, tmp_path / "modes")

    def run(memories, *arguments, **modes):
        for name, mode in modes.items():
            (tmp_path / "modes" / name).write_text(mode)
        workdir = f"--workdir={tmp_path / 'sweep'}"
        code = sweep.main(["sweep", GRID.format(memories), workdir, "--processes=2", *arguments])
        return code, capsys.readouterr()

    return run


def folder(tmp_path, name):
    return tmp_path / "sweep" / "tmaze-easy-partial" / name


def updates(path):
    return [record["updates"] for record in read_metrics(path / "metrics.jsonl")]


def starts(path):
    return len((path / "starts.txt").read_text().split())


def test_what_was_killed_or_lost_is_tried_again(run, tmp_path):
    code, output = run("gru,lru,none", gru="killed once", lru="lost once")
    assert code == 0, output
    assert "tmaze-easy-partial gru: was killed by SIGKILL; see " in output.out and "; retry 1 of 2" in output.out
    assert [starts(folder(tmp_path, name)) for name in ("gru", "lru", "none")] == [2, 2, 1]
    assert updates(folder(tmp_path, "gru")) == [0, 1, 2, 3, 4], "it has to resume"


def test_retries_have_a_limit_and_the_rest_goes_on(run, tmp_path):
    code, output = run("gru,lru,none", "--retries=1", gru="crash", lru="fail")
    assert code == 1
    assert [starts(folder(tmp_path, name)) for name in ("gru", "lru", "none")] == [2, 1, 1]
    table = output.out[output.out.index("failed run") :].splitlines()
    assert table[0].split() == ["failed", "run", "reason"]
    assert sorted(table[1:3]) == [
        f"tmaze-easy-partial gru  was killed by SIGKILL; see {folder(tmp_path, 'gru')}/console.txt",
        "tmaze-easy-partial lru  exited with code 1: no such thing",
    ]
    assert table[3] == "2 of 3 runs are not complete; re-run the same command to resume"


def test_without_retries_a_killed_run_fails_and_the_next_command_resumes_it(run, tmp_path):
    assert run("gru", "--retries=0", gru="killed once")[0] == 1
    code, output = run("gru", "--retries=0")
    assert code == 0 and updates(folder(tmp_path, "gru")) == [0, 1, 2, 3, 4]
    assert "tmaze-easy-partial gru: complete, last return 0.500; 1 of 1 runs" in output.out


def test_divergence_is_not_tried_again_and_has_its_exit_code(run, tmp_path):
    code, output = run("gru,lru", gru="diverge")
    assert code == 70 and starts(folder(tmp_path, "gru")) == 1
    assert "exited with code 70: every seed diverged" in output.out
    assert run("gru,none", gru="diverge", none="fail")[0] == 1, "an error counts more than a divergence"


def test_complete_runs_are_not_started_again(run, tmp_path):
    assert run("gru,lru")[0] == 0
    code, output = run("gru,lru,none")
    assert code == 0 and output.out.count("; read from ") == 2
    assert [starts(folder(tmp_path, name)) for name in ("gru", "lru", "none")] == [1, 1, 1]


def test_members_of_a_population_are_runs_of_their_own(run, tmp_path):
    code, output = run(RATES, "--processes=1")
    assert code == 0 and output.out.count("tmaze-easy-partial gru, 2 variants: started") == 1
    for rate in ("0.0001", "0.0003"):
        assert updates(folder(tmp_path, "gru") / f"algorithm.learning_rate={rate}") == [0, 1, 2, 3, 4]
    assert "tmaze-easy-partial gru, learning_rate=0.0003: complete" in output.out
    assert run(RATES, "--processes=1")[1].out.count("; read from ") == 2


def test_a_diverged_member_is_reported_and_the_others_are_complete(run, tmp_path):
    hidden = tmp_path / "sweep" / ".programs" / "tmaze-easy-partial" / "gru"
    hidden.mkdir(parents=True)
    (hidden / "diverge algorithm.learning_rate=0.0003").touch()
    for _ in range(2):  # the second time nothing is trained
        code, output = run(RATES, "--processes=1")
        assert code == 70, output
        assert "gru, learning_rate=0.0003: FAILED, not finite" in output.out
        assert "gru, learning_rate=0.0001: complete" in output.out
    assert starts(hidden) == 1
    _, output = run(RATES, "--dry_run")
    assert [line.split()[-1] for line in output.out.splitlines()[1:-1]] == ["diverged"], output
    code, output = run(RATES.replace(",3e-4", ""))  # the value that diverged leaves the sweep
    assert code == 0 and "0.0003" not in output.out and starts(hidden) == 1


def test_a_lost_member_is_trained_alone(run, tmp_path):
    run(RATES, "--processes=1")
    lost = folder(tmp_path, "gru") / "algorithm.learning_rate=0.0003"
    shutil.rmtree(lost)
    assert run(RATES, "--processes=1")[0] == 0
    assert updates(lost) == [0, 1, 2, 3, 4] and starts(lost) == 1, "by a program of its own"
    assert starts(tmp_path / "sweep" / ".programs" / "tmaze-easy-partial" / "gru") == 1


def test_failures_are_told_where_the_results_cannot_be_written(run, monkeypatch):
    def broken(*_):
        raise OSError("no room for the picture")

    monkeypatch.setattr(sweep, "_finish", broken)
    code, output = run("gru,lru", gru="fail")
    assert code == 1 and "no room" in output.err
    assert "tmaze-easy-partial gru  exited with code 1: no such thing" in output.out


def test_a_launcher_that_waits_for_another_says_so_once(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(record, "QUIET", 0.0)
    other = Lock(tmp_path)
    timer = threading.Timer(0.5, other.close)
    timer.start()
    with record.locked(tmp_path):
        timer.join()
    assert capsys.readouterr().out.count(f"another launcher plans in {tmp_path}") == 1


def test_a_killed_population_is_resumed(run, tmp_path):
    code, _ = run(RATES, "--processes=1", gru="killed once")
    assert code == 0 and starts(tmp_path / "sweep" / ".programs" / "tmaze-easy-partial" / "gru") == 2
    assert updates(folder(tmp_path, "gru") / "algorithm.learning_rate=0.0001") == [0, 1, 2, 3, 4]


def test_a_folder_in_use_is_left_and_looked_at_again(run, tmp_path):
    held = Lock(folder(tmp_path, "gru"))
    timer = threading.Timer(1.5, held.close)
    timer.start()
    code, output = run("gru,lru")
    timer.join()
    assert code == 0, output
    lines = output.out.splitlines()
    left = next(index for index, line in enumerate(lines) if "gru: left to another launcher (its folder is in" in line)
    assert any("lru: complete" in line for line in lines[left:]), "the others go on meanwhile"
    assert starts(folder(tmp_path, "gru")) == 1 and sum("left to" in line for line in lines) == 1


def test_a_process_that_finds_its_folder_in_use_is_no_failure(run, tmp_path, monkeypatch):
    """Where only the process itself finds out: locks between hosts, or two launchers at the same instant."""
    held = Lock(folder(tmp_path, "gru"))
    monkeypatch.setattr(lock, "is_held", lambda path: False)
    timer = threading.Timer(1.5, held.close)
    timer.start()
    code, output = run("gru", "--retries=1", gru="killed once")
    timer.join()
    assert code == 0, "starts that found it in use are no attempts"
    assert "retry 1 of 1" in output.out and "is in use by process" in output.out and "FAILED" not in output.out
    assert starts(folder(tmp_path, "gru")) >= 2


LAUNCHER = """
import pathlib, sys
sys.path[:0] = [sys.argv[1]]
import pytest, test_sweep
with pytest.MonkeyPatch.context() as patch:
    test_sweep.stand_in(patch, pathlib.Path(sys.argv[2]))
    sys.exit(test_sweep.sweep.main(["sweep", *sys.argv[3:]]))
"""


def launcher(tmp_path, memories="gru,lru,none,lstm,min_gru,s5", seconds=0.05, **environment):
    """Start a launcher with one worker in a process of its own."""
    arguments = [GRID.format(memories), f"--workdir={tmp_path / 'sweep'}", "--processes=1"]
    return subprocess.Popen(
        [sys.executable, "-c", LAUNCHER, str(ROOT / "tests"), str(tmp_path / "modes"), *arguments],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path]), "SECONDS_EACH": str(seconds),
             "CI": "true", **environment},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip


def check_trained_once(tmp_path):
    runs = sorted((tmp_path / "sweep" / "tmaze-easy-partial").iterdir())
    assert len(runs) == 6
    for path in runs:
        assert updates(path) == [0, 1, 2, 3, 4], path


def test_two_launchers_share_a_folder(tmp_path):
    both = [launcher(tmp_path, seconds=0.3) for _ in range(2)]
    outputs = [process.communicate(timeout=120)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], outputs
    check_trained_once(tmp_path)
    trained = [output.count(": started in") for output in outputs]
    # Both may start a process for the same run at the same moment: one of the two finds the folder in use, and ends.
    assert min(trained) >= 1 and sum(trained) >= 6, outputs


def pids(tmp_path):
    """Processes of the children that are running."""
    found = [int(pid) for path in (tmp_path / "sweep").glob("*/*/starts.txt") for pid in path.read_text().split()]
    return [pid for pid in found if pathlib.Path(f"/proc/{pid}").exists()]


@pytest.mark.parametrize("seed", range(2))
def test_any_kills_and_restarts_end_with_every_run_trained_once(tmp_path, seed):
    draw = random.Random(seed)
    running = []
    for _ in range(4):
        running = [process for process in running if process.poll() is None]
        running += [launcher(tmp_path, seconds=0.15) for _ in range(draw.randint(1, 2) - len(running))]
        time.sleep(draw.uniform(1.5, 4.0))
        victims = draw.sample(running, draw.randint(0, len(running)))
        for victim in victims:
            victim.send_signal(draw.choice((signal.SIGKILL, signal.SIGTERM, signal.SIGINT)))
        for pid in draw.sample(found := pids(tmp_path), draw.randint(0, len(found))):
            os.kill(pid, signal.SIGKILL)
    for process in running:
        process.wait(60)
    code = (last := launcher(tmp_path, seconds=0.15)).wait(60)
    assert code == 0, last.stdout.read()
    check_trained_once(tmp_path)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 0), (signal.SIGTERM, 75)])
def test_signals_stop_every_worker_after_its_checkpoint(tmp_path, number, code):
    (tmp_path / "modes").mkdir()
    (tmp_path / "modes" / "gru").write_text("wait")
    process = launcher(tmp_path, "gru,lru")
    deadline = time.monotonic() + 60
    while not (path := folder(tmp_path, "gru") / "metrics.jsonl").exists() or updates(path.parent)[-1:] != [1]:
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.05)
    process.send_signal(number)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == code, output
    assert (folder(tmp_path, "gru") / "saved").exists() and not folder(tmp_path, "lru").exists()
    assert "2 of 2 runs are not complete; re-run the same command to resume" in output


def test_a_dry_run_prints_the_plan_and_writes_nothing(run, tmp_path):
    code, output = run(RATES, "--dry_run")
    rows = output.out.splitlines()
    assert code == 0 and not (tmp_path / "sweep").exists()
    assert rows[0].split() == ["program", "runs", "slots", "frames", "hours", "state"]
    assert rows[1].split() == [
        "tmaze-easy-partial",
        "gru,",
        "learning_rate=0.0001",
        "1",
        "1",
        "256",
        "unknown",
        "waiting",
    ]
    assert (
        rows[-1].startswith("2 programs, 2 runs, 512 frames; 0.00 hours left") and "2 programs of unknown" in rows[-1]
    )


def test_commands_are_printed_in_shell_quotes(run, tmp_path):
    assert run("lru")[0] == 0
    code, output = run("gru,lru config.algorithm.learning_rate=1e-4,3e-4", "--engine=print", "--processes=1")
    header, *commands = output.out.splitlines()
    assert code == 0 and header.startswith("# 2 commands train 4 runs")
    assert commands[0].startswith("python ") and "'--config.population=algorithm" not in commands[0]
    quoted = [line for line in commands if "config.population" in line]
    assert all("--config.population=algorithm.learning_rate=0.0001,0.0003" in line for line in quoted)
    for line in commands:
        done = subprocess.run(
            ["bash", "-c", line.replace("python ", f"{sys.executable} ", 1)],
            env=os.environ | {"PODARCADE_SUPERVISOR": "0"},
        )
        assert done.returncode in (0, 75)


def test_printed_commands_are_nothing_but_commands(run, tmp_path, monkeypatch):
    monkeypatch.setattr(sweep.sizes, "WORTHWHILE", {True: 0, False: 0})
    kinds = [sweep.sizes._kind(one.structure) for one in structures.resolve(cells.read("", GRID[7:].format("gru")))]
    rows = [{"seeds": 1, "frames_per_second": 9.0, "compile_seconds": 1.0}]
    (tmp_path / "sweep").mkdir()
    (tmp_path / "sweep" / "probe.json").write_text(json.dumps(dict.fromkeys(kinds, rows)))
    code, output = run("gru", "--engine=print")
    assert code == 0 and all(line.startswith(("#", "python ")) for line in output.out.splitlines())
    assert "1 in one program" in output.err


def test_what_diverged_is_not_said_to_resume(run, tmp_path):
    code, output = run("gru,lru", gru="diverge")
    assert code == 70 and "1 of 2 runs are not complete; they diverged, and would again" in output.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["stray"], "unexpected argument 'stray'"),
        (["--grid=memory"], "expected key=value,value"),
        (["--grid=game=tmaze"], "has no seeds"),
        (["--grid=game=tmaze seeds=1 memory=lruu"], "unknown memory 'lruu'"),
        (["--override=frames=3", "--grid=game=tmaze seeds=1"], "expected config.x=y"),
        (["--engine=cloud", "--grid=game=tmaze seeds=1"], "--engine=cloud"),
        (["--config=configs/ppo.py"], "has no function get_sweep"),
        ([], "nothing to train"),
        (["--engine=slurm", "--slurm_options=time", "--grid=game=tmaze seeds=1"], "'time'; expected name=value"),
        (["--engine=slurm", "--grid=game=tmaze seeds=1"], "found no sbatch"),
        (["--grid=game=tmaze seeds=1 config.x=[a,b"], "opens and closes different numbers of brackets"),
        (["--grid=game=tmaze seeds=1 config.num_envs=0"], "num_envs=0; expected a number >= 1"),
        (["--grid=game=tmaze seeds=1 config.schedule_frames=5"], "schedule_frames=5; expected 0"),
        (["--grid=game=tmaze seeds=2 seed=2147483647"], "expected a last seed below 2**31"),
        (["--grid=game=tmaze seeds=1 config.environment.observability=ful"], "cannot read 'ful'"),
    ],
)
def test_errors_are_one_line(tmp_path, capsys, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sweep.slurm.shutil, "which", lambda _: None)
    monkeypatch.setattr(sweep.slurm.importlib.util, "find_spec", lambda _: True)
    assert sweep.main(["sweep", *arguments]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ") and message in error and error.count("\n") == 1
    assert not list(tmp_path.iterdir()), "nothing is written"


def test_the_folder_is_named_after_the_file_or_the_grid():
    options = sweep.make_flags()
    options(["sweep", "--config=configs/sweeps/vector_main.py:frames=1000"])
    assert sweep.default_workdir(options) == "runs/sweep-vector_main-frames=1000"
    options = sweep.make_flags()
    options(["sweep", "--grid=game=tmaze memory=gru,lru seeds=2"])
    assert sweep.default_workdir(options) == "runs/sweep-game=tmaze-memory=gru,lru-seeds=2"


def test_a_real_sweep_ends_in_a_table_and_a_file(tmp_path, capsys):
    arguments = [f"--workdir={tmp_path}", "--processes=2"]
    assert sweep.main(["sweep", GRID.format("none,gru").replace("tmaze", "repeat_first"), *arguments]) == 0
    output = capsys.readouterr().out
    assert "greedy return on the twin trained on" in output
    rows, _ = results.read_rows(tmp_path / "results.json")
    assert [(row["variant"], row["seeds"]) for row in rows] == [("none", [0]), ("gru", [0])]
    found = {path.name for path in tmp_path.iterdir()}
    assert found >= {"plan.json", "results.json", "results.png", "sweep.html", "scores", "repeat_first-easy-partial"}
    assert (
        sweep.main(["sweep", GRID.format("none,gru,lru").replace("tmaze", "repeat_first"), *arguments, "--dry_run"])
        == 0
    )
    states = [line.split()[-1] for line in capsys.readouterr().out.splitlines()[1:-1]]
    assert sorted(states) == ["complete", "complete", "waiting"]
    assert sweep.main(["sweep", GRID.format("gru").replace("tmaze", "repeat_first"), *arguments]) == 0
    page = (tmp_path / "sweep.json").read_text()
    assert "gru" in page and '"none"' not in page, "a run that has left the sweep is not shown"
