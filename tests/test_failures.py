"""Errors: one line, the right exit code, and no second attempt unless one can succeed."""

import json
import pathlib
import re
import shutil
import subprocess
import sys

import jax
import jax.numpy as jnp
import pytest
from running import PLAIN, ROOT, finish

from podarcade import launch
from podarcade.runtime import failures, loop, starts, supervisor
from podarcade.runtime.failures import Failure, classify
from podarcade.runtime.signals import DIVERGED, ERROR, REQUEUE

TESTS = pathlib.Path(__file__).parent
# Where each mistake is, by the end of its line in faulty.py, and what Python says of it.
PLACE = "# the line that is reported"
FAULTS = {
    "reset": (PLACE, "AssertionError"),
    "step": (PLACE, "KeyError: 'no such tile'"),
    "draw": (PLACE, "OwnError: nothing to draw"),
    "memory": (PLACE, "TypeError: not a gate"),
    "loss": (PLACE, "ValueError: no targets"),
    "shape": ("# shapes that do not fit", "TypeError: dot_general requires contracting dimensions"),
    "pure_callback": ("# pure_callback", "IndexError: in a pure callback"),
    "io_callback": ("# io_callback, debug_callback", "ZeroDivisionError: in an effect"),
    "debug_callback": ("# io_callback, debug_callback", "ZeroDivisionError: in an effect"),
}


@pytest.fixture(scope="module")
def plugins(tmp_path_factory):
    """The folder of the faulty plug-ins."""
    folder = tmp_path_factory.mktemp("plugins")
    shutil.copy(TESTS / "faulty.py", folder)
    return folder


def command(plugins, workdir, fault):
    file = plugins / "faulty.py"
    memory = file if fault == "memory" else "min_gru"
    config = f"{ROOT}/configs/pqn.py:preset=smoke,algorithm={file},game={file},memory={memory}"
    return [f"--config={config}", f"--workdir={workdir}", "--config.evaluation.episodes=1"]


def begin(plugins, workdir, fault, *flags, **variables):
    """A run in processes of its own."""
    environment = PLAIN | {"FAULT": fault} | variables
    whole = [sys.executable, "-m", "podarcade.launch", *command(plugins, workdir, fault), "--cpu_devices=1", *flags]
    return subprocess.Popen(
        whole, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment, cwd=ROOT
    )


def expected(plugins, fault):
    end, text = FAULTS[fault]
    lines = (TESTS / "faulty.py").read_text().splitlines()
    (number,) = [number for number, line in enumerate(lines, 1) if line.endswith(end)]
    return f"{plugins}/faulty.py:{number}: {text}"


@pytest.mark.parametrize("fault", FAULTS)
def test_a_mistake_in_a_plugin_is_one_line_that_names_it(fault, plugins, tmp_path, monkeypatch, capsys, caplog):
    monkeypatch.setenv("FAULT", fault)
    assert launch.main(["launch", *command(plugins, tmp_path, fault), "--config.mesh.data=1"]) == ERROR
    error = capsys.readouterr().err
    assert error.startswith("error: ") and expected(plugins, fault) in error and error.count("\n") == 1, error
    assert not caplog.records


def test_the_traceback_is_printed_if_asked_for(plugins, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("FAULT", "step")
    assert launch.main(["launch", *command(plugins, tmp_path, "step"), "--verbosity=1"]) == ERROR
    error = capsys.readouterr().err
    assert "Traceback (most recent call last):" in error and 'faulty.py", line' in error
    assert error.splitlines()[-1].endswith(expected(plugins, "step"))


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("compile", r"podarcade/\S+\.py:\d+: JaxRuntimeError: \w+: .*no_such_kernel"),
        ("out_of_memory", r".*Out of memory .*; lower num_envs, raise algorithm.num_minibatches, or set"),
    ],
)
def test_what_xla_refuses_is_an_error(fault, message, plugins, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("FAULT", fault)
    assert launch.main(["launch", *command(plugins, tmp_path, fault), "--config.mesh.data=1"]) == ERROR
    error = capsys.readouterr().err
    assert re.match(f"error: {message}", error) and error.count("\n") == 1, error


def test_a_transfer_guard_is_an_error_that_names_the_transfer(plugins, tmp_path):
    code, output = finish(begin(plugins, tmp_path, "", "--restarts=2", JAX_TRANSFER_GUARD="disallow"))
    assert code in (0, ERROR), output
    assert "restart" not in output
    if code == ERROR:
        assert re.search(r"^error: podarcade/\S+\.py:\d+: JaxRuntimeError: .*Disallowed .*transfer", output, re.M), (
            output
        )


@pytest.mark.parametrize(
    "fault",
    [
        "step",
        "pure_callback",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("draw", "loss", "io_callback")),
    ],
)
def test_two_processes_give_the_same_answer_once(fault, plugins, tmp_path):
    code, output = finish(begin(plugins, tmp_path, fault, "--local_processes=2", "--restarts=2"))
    assert code == ERROR, output
    errors = [line for line in output.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and expected(plugins, fault) in errors[0], output
    for word in ("restart ", "Traceback", "Check failure", "coordination service"):
        assert word not in output, output


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["compile", "out_of_memory"])
def test_two_processes_do_not_try_again_what_xla_refuses(fault, plugins, tmp_path):
    code, output = finish(begin(plugins, tmp_path, fault, "--local_processes=2", "--restarts=2"))
    assert code == ERROR and "restart " not in output and output.count("error: ") == 1, output


# Status codes. The texts are what jax 0.10.2 raised when one of two processes was killed in a psum, in an evaluation,
# in `process_allgather` and in a barrier of the coordination service.

LOST = [
    jax.errors.JaxRuntimeError("UNKNOWN: Gloo all-reduce failed: [pair.cc:538] Read error [::1]:1: Connection reset"),
    ValueError("UNKNOWN: Gloo AllGather failed: [gloo/transport/tcp/pair.cc:547] Connection closed by peer [::1]:1"),
    jax.errors.JaxRuntimeError(
        "INTERNAL: Barrier failed because: task is set to ERROR: UNAVAILABLE: Task 1 heartbeat timeout."
    ),
    jax.errors.JaxRuntimeError("UNAVAILABLE: Failed to send RPC to coordination service."),
    jax.errors.JaxRuntimeError("ABORTED: the slice was restarted"),
    jax.errors.JaxRuntimeError("DEADLINE_EXCEEDED: Barrier timed out."),
    jax.errors.JaxRuntimeError(
        "INTERNAL: NCCL operation failed: remote process exited or there was a network error. Last NCCL warning: ''"
    ),
]


@pytest.mark.parametrize("error", LOST, ids=lambda error: str(error).partition(":")[0])
def test_a_lost_process_is_retryable(error):
    failure = classify(error)
    assert failure.exit_code == REQUEUE and failure.is_retryable
    assert failure.line.startswith("lost a process or a device (") and "re-run the same command" in failure.line


@pytest.mark.parametrize(
    "error",
    [
        jax.errors.JaxRuntimeError("INTERNAL: something in XLA"),
        jax.errors.JaxRuntimeError("INVALID_ARGUMENT: a shape"),
        jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory while UNAVAILABLE: x"),
        jax.errors.JaxRuntimeError("UNIMPLEMENTED: on this device"),
        ValueError("a number; expected another"),
        RuntimeError("UNKNOWN: of a library"),
        KeyError("UNAVAILABLE: a key"),
        MemoryError(),
        loop.Diverged("100 gradient steps were not finite"),
    ],
    ids=lambda error: f"{type(error).__name__}-{str(error)[:12]}",
)
def test_nothing_else_is_retryable(error):
    assert classify(error).exit_code == (DIVERGED if isinstance(error, loop.Diverged) else ERROR)


def test_a_callback_that_meets_a_network_error_is_the_users_error():
    """The status code in its text is not one of jax's."""

    def fetch(x):
        raise RuntimeError("UNAVAILABLE: a server of the user's")

    with pytest.raises(jax.errors.JaxRuntimeError) as caught:
        jax.jit(lambda x: jax.pure_callback(fetch, jax.ShapeDtypeStruct((), jnp.float32), x))(0.0).block_until_ready()
    failure = classify(caught.value)
    assert failure.exit_code == ERROR
    assert re.fullmatch(r"\S*test_failures\.py:\d+: RuntimeError: UNAVAILABLE: a server of the user's", failure.line)


def test_a_syntax_error_is_placed_in_its_own_file(tmp_path):
    (tmp_path / "half.py").write_text("x = 1\ndef (")
    with pytest.raises(SyntaxError) as caught:
        compile((tmp_path / "half.py").read_text(), str(tmp_path / "half.py"), "exec")
    assert classify(caught.value) == Failure(f"{tmp_path}/half.py:2: SyntaxError: invalid syntax", ERROR)


def test_an_error_that_podarcade_raises_on_purpose_is_its_message(tmp_path):
    with pytest.raises(ValueError) as caught:
        supervisor.os.environ["PODARCADE_SERIES"] = "mine"
        try:
            (tmp_path / "run.json").write_text('[{"updates": 0, "series": "mine"}, {"updates": 0, "series": "mine"}]')
            starts.check_progress(tmp_path)
        finally:
            del supervisor.os.environ["PODARCADE_SERIES"]
    error = caught.value.with_traceback(caught.value.__traceback__.tb_next)  # without this test's own frame
    assert classify(error).line == str(error)


def test_an_error_in_podarcade_itself_is_placed_there(monkeypatch):
    with pytest.raises(TypeError) as caught:
        failures.one_line(ValueError("text"), max_length="many")
    error = caught.value.with_traceback(caught.value.__traceback__.tb_next)
    assert re.fullmatch(r"\S*podarcade/runtime/failures\.py:\d+: TypeError: .*", classify(error).line)


# Progress.


def run_json(folder, *updates, series="mine"):
    (folder / "run.json").write_text(json.dumps([{"updates": number, "series": series} for number in updates]))


@pytest.mark.parametrize(
    ("recorded", "newest", "refused"),
    [
        ((), 0, False),
        ((0,), 0, False),
        ((0, 0), 0, True),
        ((0, 0), 4, False),
        ((0, 4), 4, False),
        ((0, 4, 4), 4, True),
        ((4, 4, 0), 0, False),
    ],
)
def test_two_starts_without_progress_are_the_last(recorded, newest, refused, tmp_path, monkeypatch):
    for number in {2, newest} if newest else set():
        (tmp_path / "checkpoints" / str(number)).mkdir(parents=True)
    run_json(tmp_path, *recorded)
    starts.check_progress(tmp_path)  # by hand: never refused
    monkeypatch.setenv("PODARCADE_SERIES", "another")
    starts.check_progress(tmp_path)
    monkeypatch.setenv("PODARCADE_SERIES", "mine")
    if not refused:
        starts.check_progress(tmp_path)
        return
    with pytest.raises(ValueError, match=f"the last two starts made no progress, both ended after {newest} updates"):
        starts.check_progress(tmp_path)


def test_restarts_stop_when_a_run_dies_at_the_same_update_each_time(plugins, tmp_path):
    code, output = finish(begin(plugins, tmp_path, "die_again", "--restarts=9", "--config.checkpoint.every=9"))
    assert code == ERROR, output
    assert output.count("supervisor: process 0 was killed by SIGKILL; restart") == 2, output
    assert "error: the last two starts made no progress, both ended after 0 updates; not restarting" in output


@pytest.mark.slow
def test_restarts_go_on_while_a_run_makes_progress(plugins, tmp_path):
    code, output = finish(begin(plugins, tmp_path, "die_later", "--restarts=9", "--config.frames=640"))
    assert code == 0, output
    assert "supervisor: process 0 was killed by SIGKILL; restart 1 of 9" in output and "resuming after" in output
