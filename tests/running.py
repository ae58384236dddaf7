"""Runs as people start them, in processes of their own, and what they leave."""

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
from podarcade.runtime.metrics import read_metrics

ROOT = pathlib.Path(__file__).parent.parent
CONFIG = f"--config={ROOT}/configs/pqn_lru.py"
SMOKE = f"{CONFIG}:preset=smoke"
PLAIN = {**os.environ, "CI": "true", "COLUMNS": "200"}
CLOCKS = ("seconds", "frames_per_second", "eval/seconds", "random/seconds")


def start(*arguments, **options):
    return spawn("-m", "podarcade.launch", *arguments, **options)


def spawn(*arguments, **options):
    """A Python process, with its output and errors in one pipe."""
    return subprocess.Popen(
        [sys.executable, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=PLAIN,
        cwd=ROOT,
        # A shell starts what runs in its background deaf to Ctrl-C, and children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        **options,
    )


def finish(process):
    output, _ = process.communicate(timeout=300)
    return process.returncode, output


def wait_for_records(workdir, number, process):
    """Returns when metrics.jsonl has so many records."""
    path = pathlib.Path(workdir) / "metrics.jsonl"
    wait_for(lambda: path.exists() and len(read_metrics(path)) >= number, process)


def wait_for_lock(workdir, process):
    """Returns when the process has the directory."""
    path = pathlib.Path(workdir) / "lock"
    wait_for(lambda: path.exists() and f'"pid": {process.pid},' in path.read_text(), process)


def wait_for(condition, process):
    deadline = time.monotonic() + 120
    while not condition():
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()[0]
        time.sleep(0.02)


@contextlib.contextmanager
def mounted(folder, options):
    """A disk in memory, where this user may mount one; else the test is skipped."""
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


def final_state(workdir, *arguments):
    """Every leaf of the newest checkpoint, by path, and its progress."""
    run = build(load(*arguments))
    state, progress = run.checkpoints(pathlib.Path(workdir)).restore(run.abstract_state())
    return jax.device_get(state), progress


def same_bits(one, other):
    for a, b in zip(*map(jax.tree.leaves, (one, other)), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a.view(np.uint8), b.view(np.uint8))


def records(workdir):
    """Of metrics.jsonl, without what clocks say."""
    found = read_metrics(pathlib.Path(workdir) / "metrics.jsonl")
    return [{key: value for key, value in record.items() if key not in CLOCKS} for record in found]


def starts(workdir):
    return json.loads((pathlib.Path(workdir) / "run.json").read_text())
