"""Check whether this machine can train: one line per check, with advice where one fails.

python -m podarcade.doctor
python -m podarcade.doctor --workdir=/scratch/runs

Exit code 0: all checks passed, perhaps with notes; 1: at least one is marked FAIL.
"""

import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import jax
from absl import flags

from podarcade.build import build
from podarcade.configuration import command_line, files
from podarcade.runtime import backend, distributed, output, provenance, supervisor
from podarcade.runtime.checkpoint import Checkpoints
from podarcade.runtime.digests import digests
from podarcade.runtime.failures import classify
from podarcade.runtime.leaves import abstract, named_leaves, num_bytes
from podarcade.runtime.lock import Lock, WorkdirInUse
from podarcade.runtime.memory_usage import available
from podarcade.runtime.run_files import resolve_workdir

OK, NOTE, FAIL = "ok", "note", "FAIL"
# Versions that the tests run with, by minor version of Python.
TESTED = {
    (3, 11): {
        "jax": "0.10.2", "jaxlib": "0.10.2", "flax": "0.12.8", "optax": "0.2.8", "orbax-checkpoint": "0.12.8",
    },
    (3, 13): {
        "jax": "0.12.0.1", "jaxlib": "0.12.0.1", "flax": "0.12.12", "optax": "0.2.8", "orbax-checkpoint": "0.12.8",
    },
}  # fmt: skip
MINIMUM = {"jax": "0.10.2", "jaxlib": "0.10.2", "flax": "0.12.8", "optax": "0.2.8", "orbax-checkpoint": "0.12.4"}
MEMORY = 1e9, 4e9  # bytes: below the first the check fails, below the second it is a note
DISK = 0.5e9, 5e9
PEER_SECONDS = 90  # for two processes to connect
SMOKE = "configs/pqn_lru.py:preset=smoke"


class Found(NamedTuple):
    """The outcome of a check."""

    verdict: str
    text: str


def main(arguments: list[str]) -> int:
    """Run all checks; return the exit code."""
    values = flags.FlagValues()
    flags.DEFINE_string("workdir", "runs", "directory in which runs will be stored", flag_values=values)
    flags.DEFINE_boolean("help", False, "show this help", flag_values=values, short_name="h")
    if arguments[1:2] == ["--peer"]:
        return _peer(arguments[2:])
    try:
        if stray := values(arguments)[1:]:
            raise ValueError(f"unexpected argument {stray[0]!r}; did you mean --workdir={stray[0]}?")
        if values.help:
            print(f"{__doc__}\n{values.get_help()}")
            return 0
        workdir = resolve_workdir(values.workdir)
    except (flags.Error, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    backend.configure(0)
    worst = OK
    for name, check in checks(workdir):
        verdict, text = examine(check)
        print(f"{_coloured(verdict)}  {name:12} {text}", flush=True)
        worst = FAIL if verdict == FAIL else worst
    return 1 if worst == FAIL else 0


def checks(workdir: pathlib.Path) -> Iterator[tuple[str, Callable[[], Found]]]:
    """Yield all checks by name, quick ones first."""
    folder = existing(workdir)
    yield "versions", lambda: versions(sys.version_info[:2], provenance.versions())
    yield "devices", devices
    yield "memory", lambda: memory(available(), provenance.cores())
    yield "disk", lambda: disk(folder)
    yield "cache", lambda: cache(jax.config.jax_compilation_cache_dir)
    yield "lock", lambda: lock(folder)
    yield "processes", two_processes
    trained: list = []
    yield "repeats", lambda: repeats(trained)
    yield "checkpoint", lambda: checkpoint(folder, trained)


def examine(check: Callable[[], Found]) -> Found:
    """Return the outcome of a check; an exception is a failure."""
    try:
        return check()
    except Exception as error:  # one broken check must not hide the others
        return Found(FAIL, classify(error).line)


def _coloured(verdict: str) -> str:
    text = f"{verdict:4}"
    if not sys.stdout.isatty() or "NO_COLOR" in os.environ:
        return text
    return f"\033[{ {OK: 32, NOTE: 33, FAIL: 31}[verdict] }m{text}\033[0m"


def versions(python: tuple[int, int], found: dict[str, str]) -> Found:
    """Compare versions with the minimum of the package and with those that its tests run with."""
    text = f"python {python[0]}.{python[1]}, " + ", ".join(f"{name} {found[name]}" for name in MINIMUM)
    low = [name for name, floor in MINIMUM.items() if _numbers(found[name]) < _numbers(floor)]
    if low:
        older = ", ".join(f"{name} {found[name]} is older than {MINIMUM[name]}" for name in low)
        return Found(FAIL, f"{older}: pip install -U {' '.join(low)}")
    if _numbers(found["jax"])[:2] != _numbers(found["jaxlib"])[:2]:
        return Found(FAIL, f"jax {found['jax']} does not fit jaxlib {found['jaxlib']}: pip install -U jax jaxlib")
    tested = TESTED.get(python)
    if tested is None:
        return Found(NOTE, f"{text}; the tests run with python {', '.join(f'{a}.{b}' for a, b in TESTED)}")
    other = [f"{name} {version}" for name, version in tested.items() if found[name] != version]
    return Found(NOTE, f"{text}; tested with {', '.join(other)}") if other else Found(OK, f"{text} (the tested set)")


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("+")[0].split(".")[:3] if part.isdecimal())


def devices() -> Found:
    """Report the devices that jax uses."""
    found = jax.devices()
    limits = [(device.memory_stats() or {}).get("bytes_limit") for device in found]
    size = f", {limits[0] / 1e9:.0f} GB each" if limits[0] else ""
    text = f"{len(found)} x {found[0].device_kind}{size}"
    if found[0].platform == "cpu" and (shutil.which("nvidia-smi") or pathlib.Path("/dev/nvidia0").exists()):
        return Found(NOTE, f"{text}; jax does not see the NVIDIA GPU of this machine: pip install 'jax[cuda12]'")
    return Found(OK, text)


def memory(free: float, cores: int) -> Found:
    """Check the free memory of the host; report its cores."""
    if free == float("inf"):
        return Found(NOTE, f"{cores} cores; free memory unknown on this system")
    text = f"{free / 1e9:.1f} GB free, {cores} cores"
    advice = "; lower num_envs, or close other programs"
    return Found(*_graded(free, MEMORY, text, advice))


def _graded(value: float, limits: tuple[float, float], text: str, advice: str) -> tuple[str, str]:
    if value < limits[0]:
        return FAIL, text + advice
    return (NOTE, text + advice) if value < limits[1] else (OK, text)


def existing(path: pathlib.Path) -> pathlib.Path:
    """Return the path, or its nearest ancestor that exists."""
    path = path.absolute()
    return next(folder for folder in (path, *path.parents) if folder.is_dir())


def disk(folder: pathlib.Path) -> Found:
    """Check the free disk space, and measure how long an fsync takes."""
    free = shutil.disk_usage(folder).free
    with tempfile.NamedTemporaryFile(dir=folder) as file:
        began = time.monotonic()
        file.write(bytes(1 << 20))
        file.flush()
        os.fsync(file.fileno())
        seconds = time.monotonic() - began
    text = f"{free / 1e9:.1f} GB free in {folder}, 1 MB written and synced in {seconds * 1e3:.0f} ms"
    return Found(*_graded(free, DISK, text, "; free some space, or choose another --workdir"))


def cache(directory: str | None) -> Found:
    """Check that compiled programs can be cached, which makes later starts fast."""
    if directory is None:
        return Found(NOTE, "no compilation cache; every start compiles again: set JAX_COMPILATION_CACHE_DIR")
    folder = pathlib.Path(directory)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    except OSError as error:
        return Found(NOTE, f"{error}; every start compiles again: set JAX_COMPILATION_CACHE_DIR to another directory")
    return Found(OK, f"{size / 1e6:.0f} MB of compiled programs in {folder}")


def lock(folder: pathlib.Path) -> Found:
    """Check that a second run in the same directory is refused."""
    with tempfile.TemporaryDirectory(dir=folder) as place, Lock(place):
        began = time.monotonic()
        try:
            Lock(place, beat=0.2, log=lambda _: None).close()
        except WorkdirInUse:
            seconds = time.monotonic() - began
            if seconds < 0.2:
                return Found(OK, "a second run in a directory is refused at once")
            return Found(
                NOTE,
                "no file locks here: a second run is refused after waiting 20 s for a heartbeat",
            )
    return Found(FAIL, f"two runs could use the same directory in {folder}; choose another --workdir")


def two_processes() -> Found:
    """Check that two processes can connect over TCP."""
    began = time.monotonic()
    environment = {**os.environ, "JAX_PLATFORMS": "cpu"}
    both = [
        subprocess.Popen(
            [sys.executable, "-m", "podarcade.doctor", "--peer", *address],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for address in supervisor.addresses(2)
    ]
    try:
        outputs = [process.communicate(timeout=PEER_SECONDS)[0] for process in both]
    except subprocess.TimeoutExpired:
        outputs = ["no answer"]
    finally:
        for process in both:
            process.kill()
    if any(process.wait() for process in both):
        last = (outputs[0].strip() or "no answer").splitlines()[-1]
        return Found(FAIL, f"two processes on this machine cannot connect ({last[:120]}): does localhost resolve?")
    return Found(OK, f"two processes connected over TCP and reduced a value in {time.monotonic() - began:.1f} s")


def _peer(arguments: list[str]) -> int:
    """Run one of the two processes."""
    coordinator, number, index = (argument.partition("=")[2] for argument in arguments)
    distributed.join(distributed.detect(coordinator, int(number), int(index), {}), peer_timeout=30)
    return 0 if distributed.max_over_processes(int(index)) == int(number) - 1 else 1


def repeats(trained: list) -> Found:
    """Train twice from the same seed and compare the states bit by bit; append them to `trained`."""
    config = command_line.load(flags.FlagValues(), ["doctor", f"--config={files.experiments().parent / SMOKE}"])
    config.mesh.seed = config.mesh.data = 1
    run = build(config)
    began = time.monotonic()
    program = run.updater.compile(run.abstract_state(), run.updates_per_call)
    compiled = time.monotonic() - began
    trained += [program(run.init())[0] for _ in range(2)]
    one, other = (digests(named_leaves(state)) for state in trained)
    seconds = time.monotonic() - began
    wrong = [name for name in one if one[name] != other[name]]
    if wrong:
        verdict = FAIL if jax.default_backend() == "cpu" else NOTE
        return Found(verdict, f"{len(wrong)} of {len(one)} arrays differ between two trainings: try --deterministic")
    text = f"two trainings of {run.updates_per_call} updates are bitwise equal"
    return Found(OK, f"{text}, {seconds:.1f} s ({compiled:.1f} s compiling)")


def checkpoint(folder: pathlib.Path, trained: list) -> Found:
    """Check that a state saved to this disk is restored bitwise."""
    if not trained:
        return Found(NOTE, "skipped: no state to save, because training failed")
    state, messages = trained[0], []
    with tempfile.TemporaryDirectory(dir=folder) as place:
        began = time.monotonic()
        checkpoints = Checkpoints(place, log=messages.append)
        checkpoints.save(1, state, {})
        complete = checkpoints.wait()
        checkpoints.close()
        found = checkpoints.restore(abstract(state)) if complete else None
        seconds = time.monotonic() - began
    if found is None or digests(named_leaves(found[0])) != digests(named_leaves(state)):
        return Found(FAIL, (messages or ["the restored state differs from the saved one"])[-1])
    return Found(OK, f"{num_bytes(named_leaves(state)) / 1e6:.1f} MB saved and restored in {seconds:.1f} s")


if __name__ == "__main__":
    output.tolerate_broken_streams()
    supervisor.leave(main(sys.argv))
