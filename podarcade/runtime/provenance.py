"""Provenance of a result: versions, source revision, machine, devices and jax settings."""

import datetime
import importlib.metadata
import os
import pathlib
import platform
import re
import subprocess

import jax

import podarcade
from podarcade.runtime import backend

NAMES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")
GIT_TIMEOUT = 10.0  # seconds
# What can change the bits of a resumed run without being configured. Devices may change: resuming on others is allowed.
REPRODUCIBILITY = ("code", "processor", "cores", "xla_flags", "jax_settings")


def collect(arguments: list[str]) -> dict:
    """Return the provenance of a run or of a result, JSON-serialisable.

    Args:
      arguments: the command line, starting with the name of the program.
    """
    return {
        "arguments": arguments[1:],
        "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "machine": platform.platform(),
        "processor": f"{os.cpu_count()} x {processor()}",
        "cores": cores(),
        "devices": [device.device_kind for device in jax.devices()],
        "processes": jax.process_count(),
        "xla_flags": os.environ.get("XLA_FLAGS", ""),
        "jax_settings": backend.settings(),
        "versions": versions(),
        "code": code(pathlib.Path(__file__).parent),
    }


def versions() -> dict[str, str]:
    """Return the versions of the packages that compute and save."""
    return {"podarcade": podarcade.__version__} | {name: importlib.metadata.version(name) for name in NAMES}


def code(folder: pathlib.Path) -> dict | None:
    """Return the git commit of the source code and whether its tree is clean; None outside a git checkout.

    Args:
      folder: source folder. A checkout that merely contains it untracked, as of a virtual environment, does not count.
    """
    try:
        if not _git(folder, "ls-files", "--", "."):
            return None
        return {"commit": _git(folder, "rev-parse", "HEAD"), "clean": not _git(folder, "status", "--porcelain")}
    except (OSError, subprocess.SubprocessError):
        return None


def _git(folder: pathlib.Path, *arguments: str) -> str:
    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0"}
    command = ["git", "-C", str(folder), *arguments]
    result = subprocess.run(
        command, check=True, capture_output=True, text=True, timeout=GIT_TIMEOUT, env=environment, errors="replace"
    )
    return result.stdout.strip()


def processor() -> str:
    """Return the model of the CPU: models round differently, so that training diverges between them."""
    try:
        found = re.search(r"^model name\s*:\s*(.+)$", pathlib.Path("/proc/cpuinfo").read_text("utf-8"), re.MULTILINE)
    except OSError:
        found = None
    return found[1] if found else platform.processor() or platform.machine()


def cores() -> int:
    """Return the number of CPU cores that this process may use, by its affinity where the system has one."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
