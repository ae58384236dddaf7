"""Runs started by the command line in separate processes, and the files that they leave."""

import contextlib
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pytest

from podarcade import launch
from podarcade.build import build
from podarcade.configuration import command_line
from podarcade.runtime import loop, run_files
from podarcade.runtime.metrics import read_metrics

ROOT = pathlib.Path(__file__).parent.parent
CONFIG = f"--config={ROOT}/configs/pqn_lru.py"
SMOKE = f"{CONFIG}:preset=smoke"
PLAIN = {**os.environ, "CI": "true", "COLUMNS": "200"}
CLOCKS = ("seconds", "frames_per_second", "eval/seconds", "random/seconds", "final/seconds")


def start(*arguments, **options):
    return spawn("-m", "podarcade.launch", *arguments, **options)


def spawn(*arguments, **options):
    """Start a Python process with stdout and stderr in one pipe."""
    return subprocess.Popen(
        [sys.executable, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=PLAIN,
        cwd=ROOT,
        # Background jobs of a shell ignore SIGINT, and children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        **options,
    )


def finish(process):
    output, _ = process.communicate(timeout=300)
    return process.returncode, output


def wait_for_records(workdir, number, process):
    """Wait until metrics.jsonl has `number` records."""
    path = pathlib.Path(workdir) / "metrics.jsonl"
    wait_for(lambda: path.exists() and len(read_metrics(path)) >= number, process)


def wait_for_lock(workdir, process):
    """Wait until the process has locked the directory."""
    path = pathlib.Path(workdir) / "lock"
    wait_for(lambda: path.exists() and f'"pid": {process.pid},' in path.read_text(), process)


def wait_for(condition, process):
    deadline = time.monotonic() + 120
    while not condition():
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()[0]
        time.sleep(0.02)


@contextlib.contextmanager
def mounted(folder, options):
    """Mount a tmpfs at `folder`; skip the test without the permission."""
    folder.mkdir()
    try:
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("mounting a disk takes root, and Linux")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def load(*arguments):
    return command_line.load(launch.make_flags(), ["launch", *arguments])


def train(folder, *arguments):
    """Train a run in this process, without its pictures; return its folder."""
    config = load(*arguments)
    run_files.write_config(config.to_dict(), folder)
    loop.train(build(config), folder)
    return folder


def final_state(workdir, *arguments):
    """Return the state of the newest checkpoint on the host, and its progress."""
    run = build(load(*arguments))
    state, progress = run.checkpoints(pathlib.Path(workdir)).restore(run.abstract_state())
    return jax.device_get(state), progress


def same_bits(one, other):
    for a, b in zip(*map(jax.tree.leaves, (one, other)), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a.view(np.uint8), b.view(np.uint8))


def records(workdir):
    """Return the records of metrics.jsonl without timings."""
    found = read_metrics(pathlib.Path(workdir) / "metrics.jsonl")
    return [{key: value for key, value in record.items() if key not in CLOCKS} for record in found]


def starts(workdir):
    return json.loads((pathlib.Path(workdir) / "run.json").read_text())
