"""Memory of the host and of a compiled program, in bytes."""

import pathlib
from typing import Any, NamedTuple

UNKNOWN = float("nan")


class DeviceMemory(NamedTuple):
    """Memory that XLA plans for a compiled program on each device.

    Attributes:
      arguments: bytes of its arguments, the training state; outputs reuse the memory of donated arguments.
      temporaries: bytes needed besides while it runs.
    """

    arguments: int
    temporaries: int

    @property
    def total(self) -> int:
        """Bytes of arguments and temporaries."""
        return self.arguments + self.temporaries


def planned(program: Any) -> DeviceMemory | None:
    """Return the memory that a compiled jax program takes on each device; None if the backend does not say."""
    plan = program.memory_analysis()
    return None if plan is None else DeviceMemory(plan.argument_size_in_bytes, plan.temp_size_in_bytes)


def resident() -> float:
    """Return the resident memory of this process; NaN if the system does not say.

    On a CPU it includes the memory of the devices.
    """
    try:
        lines = pathlib.Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return UNKNOWN
    return next((1024.0 * int(line.split()[1]) for line in lines if line.startswith("VmRSS:")), UNKNOWN)  # in kB


def available() -> float:
    """Return the memory that this process may still allocate, by the system and its cgroup; infinity if unknown."""
    limits = [float("inf")]
    try:
        lines = pathlib.Path("/proc/meminfo").read_text(encoding="utf-8").splitlines()
        limits += [1024.0 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")]
        group = pathlib.Path("/sys/fs/cgroup")
        limits += [float((group / "memory.max").read_text()) - float((group / "memory.current").read_text())]
    except (OSError, ValueError):  # another system, or no limit
        pass
    return min(limits)
