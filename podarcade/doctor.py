"""Is this machine fit to train? A line for each check, with advice where it is not.

python -m podarcade.doctor
python -m podarcade.doctor --workdir=/scratch/runs

Exit code 0: nothing is in the way; 1: something is, marked FAIL.
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
from podarcade.configuration import command_line
from podarcade.runtime import backend, distributed, provenance, supervisor
from podarcade.runtime.checkpoint import Checkpoints
from podarcade.runtime.digests import digests
from podarcade.runtime.failures import one_line
from podarcade.runtime.leaves import abstract, leaves_of
from podarcade.runtime.lock import Lock, WorkdirInUse

OK, NOTE, FAIL = "ok", "note", "FAIL"
# What the tests run with, by the minor version of Python.
TESTED = {
    (3, 11): {
        "jax": "0.10.2", "jaxlib": "0.10.2", "flax": "0.12.8", "optax": "0.2.8", "orbax-checkpoint": "0.12.8",
    },
    (3, 13): {
        "jax": "0.12.0.1", "jaxlib": "0.12.0.1", "flax": "0.12.12", "optax": "0.2.8", "orbax-checkpoint": "0.12.8",
    },
}  # fmt: skip
FLOORS = {"jax": "0.10.2", "jaxlib": "0.10.2", "flax": "0.12.8", "optax": "0.2.8", "orbax-checkpoint": "0.12.4"}
MEMORY = 1e9, 4e9  # bytes: less than the first fails, less than the second is worth a note
DISK = 0.5e9, 5e9
PEER_SECONDS = 90  # that two processes have to find each other
SMOKE = "configs/pqn_lru.py:preset=smoke"


class Found(NamedTuple):
    """The outcome of a check."""

    verdict: str
    text: str


def main(arguments: list[str]) -> int:
    """Runs all checks; returns the exit code."""
    values = flags.FlagValues()
    flags.DEFINE_string("workdir", "runs", "where runs are to be kept", flag_values=values)
    flags.DEFINE_boolean("help", False, "shows this help", flag_values=values, short_name="h")
    if arguments[1:2] == ["--peer"]:
        return _peer(arguments[2:])
    try:
        values(arguments)
    except flags.Error as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if values.help:
        print(f"{__doc__}\n{values.get_help()}")
        return 0
    backend.configure(0)
    worst = OK
    for name, check in checks(pathlib.Path(values.workdir)):
        verdict, text = examine(check)
        print(f"{_coloured(verdict)}  {name:12} {text}", flush=True)
        worst = FAIL if verdict == FAIL else worst
    return 1 if worst == FAIL else 0


def checks(workdir: pathlib.Path) -> Iterator[tuple[str, Callable[[], Found]]]:
    """All checks, by name, the quick ones first."""
    folder = existing(workdir)
    yield "versions", lambda: versions(sys.version_info[:2], provenance.versions())
    yield "devices", devices
    yield "memory", lambda: memory(free_memory(), provenance.cores())
    yield "disk", lambda: disk(folder)
    yield "cache", lambda: cache(pathlib.Path(jax.config.jax_compilation_cache_dir))
    yield "lock", lambda: lock(folder)
    yield "processes", two_processes
    trained: list = []
    yield "repeats", lambda: repeats(trained)
    yield "checkpoint", lambda: checkpoint(folder, trained)


def examine(check: Callable[[], Found]) -> Found:
    """The outcome of a check; a failure where it raises."""
    try:
        return check()
    except Exception as error:  # a doctor does not die of what he finds
        return Found(FAIL, one_line(error))


def _coloured(verdict: str) -> str:
    text = f"{verdict:4}"
    if not sys.stdout.isatty() or "NO_COLOR" in os.environ:
        return text
    return f"\033[{ {OK: 32, NOTE: 33, FAIL: 31}[verdict] }m{text}\033[0m"


def versions(python: tuple[int, int], found: dict[str, str]) -> Found:
    """Versions against the floors of the package and against what its tests run with."""
    text = f"python {python[0]}.{python[1]}, " + ", ".join(f"{name} {found[name]}" for name in FLOORS)
    low = [name for name, floor in FLOORS.items() if _numbers(found[name]) < _numbers(floor)]
    if low:
        older = ", ".join(f"{name} {found[name]} is older than {FLOORS[name]}" for name in low)
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
    """What jax computes on."""
    found = jax.devices()
    limits = [(device.memory_stats() or {}).get("bytes_limit") for device in found]
    size = f", {limits[0] / 1e9:.0f} GB each" if limits[0] else ""
    text = f"{len(found)} x {found[0].device_kind}{size}"
    if found[0].platform == "cpu" and (shutil.which("nvidia-smi") or pathlib.Path("/dev/nvidia0").exists()):
        return Found(NOTE, f"{text}; there is an NVIDIA GPU, and jax does not see it: pip install -e '.[cuda12]'")
    return Found(OK, text)


def free_memory() -> float:
    """Bytes that this process may still take, as far as the system tells."""
    limits = [float("inf")]
    try:
        lines = pathlib.Path("/proc/meminfo").read_text(encoding="utf-8").splitlines()
        limits += [1024.0 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")]
        group = pathlib.Path("/sys/fs/cgroup")
        limits += [float((group / "memory.max").read_text()) - float((group / "memory.current").read_text())]
    except (OSError, ValueError):  # another system, or no limit
        pass
    return min(limits)


def memory(free: float, cores: int) -> Found:
    """Memory and cores of the host."""
    if free == float("inf"):
        return Found(NOTE, f"{cores} cores; this system does not tell how much memory is free")
    text = f"{free / 1e9:.1f} GB free, {cores} cores"
    advice = "; lower num_envs, or close other programs"
    return Found(*_graded(free, MEMORY, text, advice))


def _graded(value: float, limits: tuple[float, float], text: str, advice: str) -> tuple[str, str]:
    if value < limits[0]:
        return FAIL, text + advice
    return (NOTE, text + advice) if value < limits[1] else (OK, text)


def existing(path: pathlib.Path) -> pathlib.Path:
    """The nearest folder above, or the path itself, that is there."""
    path = path.absolute()
    return next(folder for folder in (path, *path.parents) if folder.is_dir())


def disk(folder: pathlib.Path) -> Found:
    """Room for checkpoints, and how fast the disk says that it has something."""
    free = shutil.disk_usage(folder).free
    with tempfile.NamedTemporaryFile(dir=folder) as file:
        began = time.monotonic()
        file.write(bytes(1 << 20))
        file.flush()
        os.fsync(file.fileno())
        seconds = time.monotonic() - began
    text = f"{free / 1e9:.1f} GB free in {folder}, 1 MB is safe after {seconds * 1e3:.0f} ms"
    return Found(*_graded(free, DISK, text, "; free some, or give another --workdir"))


def cache(folder: pathlib.Path) -> Found:
    """Compiled programs are kept, so that the next start is quick."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    except OSError as error:
        return Found(NOTE, f"{error}; every start compiles anew: set JAX_COMPILATION_CACHE_DIR to another folder")
    return Found(OK, f"{size / 1e6:.0f} MB of compiled programs in {folder}")


def lock(folder: pathlib.Path) -> Found:
    """Whether a second run in a directory is refused."""
    with tempfile.TemporaryDirectory(dir=folder) as place, Lock(place):
        began = time.monotonic()
        try:
            Lock(place, beat=0.2, say=lambda _: None).close()
        except WorkdirInUse:
            seconds = time.monotonic() - began
            if seconds < 0.2:
                return Found(OK, "a second run in a directory is refused at once")
            return Found(NOTE, "no file locks here: a second run is refused once it has watched the first one for 20 s")
    return Found(FAIL, f"two runs could use a directory in {folder} at once; give another --workdir")


def two_processes() -> Found:
    """Whether two processes find each other over TCP."""
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
        said = [process.communicate(timeout=PEER_SECONDS)[0] for process in both]
    except subprocess.TimeoutExpired:
        said = ["no answer"]
    finally:
        for process in both:
            process.kill()
    if any(process.wait() for process in both):
        last = (said[0].strip() or "no answer").splitlines()[-1]
        return Found(
            FAIL, f"two processes on this machine do not find each other ({last[:120]}): does localhost resolve?"
        )
    return Found(OK, f"two of them found each other over TCP, and agreed, in {time.monotonic() - began:.1f} s")


def _peer(arguments: list[str]) -> int:
    """One of the two."""
    coordinator, number, index = (argument.partition("=")[2] for argument in arguments)
    distributed.join(distributed.find(coordinator, int(number), int(index), {}), peer_timeout=30)
    return 0 if distributed.max_over_processes(int(index)) == int(number) - 1 else 1


def repeats(trained: list) -> Found:
    """Two short trainings from the same seed, compared bit by bit; leaves a state behind, in `trained`."""
    file = pathlib.Path(__file__).parent.parent / SMOKE.partition(":")[0]
    if not file.exists():
        return Found(NOTE, f"not tried: it needs {SMOKE.partition(':')[0]} beside the package")
    config = command_line.load(flags.FlagValues(), ["doctor", f"--config={file.parent.parent}/{SMOKE}"])
    config.mesh.seed = config.mesh.data = 1
    run = build(config)
    began = time.monotonic()
    program = run.updater.compile(run.abstract_state(), run.updates_per_call)
    compiled = time.monotonic() - began
    trained += [program(run.init())[0] for _ in range(2)]
    one, other = (digests(leaves_of(state)) for state in trained)
    seconds = time.monotonic() - began
    wrong = [name for name in one if one[name] != other[name]]
    if wrong:
        verdict = FAIL if jax.default_backend() == "cpu" else NOTE
        return Found(verdict, f"{len(wrong)} of {len(one)} arrays differ between two trainings: try --deterministic")
    text = f"two trainings of {run.updates_per_call} updates are equal to the last bit"
    return Found(OK, f"{text}, {seconds:.1f} s ({compiled:.1f} s of compiling)")


def checkpoint(folder: pathlib.Path, trained: list) -> Found:
    """Whether a state comes back from this disk as it was."""
    if not trained:
        return Found(NOTE, "not tried: there is no state to save")
    state, said = trained[0], []
    with tempfile.TemporaryDirectory(dir=folder) as place:
        began = time.monotonic()
        checkpoints = Checkpoints(place, say=said.append)
        checkpoints.save(1, state, {})
        complete = checkpoints.finish()
        checkpoints.close()
        found = checkpoints.restore(abstract(state)) if complete else None
        seconds = time.monotonic() - began
    if found is None or digests(leaves_of(found[0])) != digests(leaves_of(state)):
        return Found(FAIL, (said or ["what came back is not what was saved"])[-1])
    return Found(OK, f"{sum(x.nbytes for x in jax.tree.leaves(state)) / 1e6:.1f} MB came back in {seconds:.1f} s")


if __name__ == "__main__":
    supervisor.leave(main(sys.argv))
