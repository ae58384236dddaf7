"""What a result depends on besides its configuration: versions, machine, devices."""

import datetime
import importlib.metadata
import os
import pathlib
import platform
import re

import jax

import podarcade

NAMES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")


def of(arguments: list[str]) -> dict:
    """The provenance of what a command line makes, for JSON.

    Args:
      arguments: the command line, the program's name first.
    """
    return {
        "arguments": arguments[1:],
        "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "machine": platform.platform(),
        "processor": f"{os.cpu_count()} x {processor()}",
        "devices": [device.device_kind for device in jax.devices()],
        "processes": jax.process_count(),
        "xla_flags": os.environ.get("XLA_FLAGS", ""),
        "versions": versions(),
    }


def versions() -> dict[str, str]:
    """Of what computes and what saves."""
    return {"podarcade": podarcade.__version__} | {name: importlib.metadata.version(name) for name in NAMES}


def processor() -> str:
    """The model of the CPU: each rounds in its own way, and training makes different runs of that."""
    try:
        found = re.search(r"^model name\s*:\s*(.+)$", pathlib.Path("/proc/cpuinfo").read_text("utf-8"), re.MULTILINE)
    except OSError:
        found = None
    return found[1] if found else platform.processor() or platform.machine()


def cores() -> int:
    """CPU cores that this process may use, which a scheduler or `taskset` may have limited."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
