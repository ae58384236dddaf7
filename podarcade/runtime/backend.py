"""Settings of jax and XLA that must precede the first use of a device."""

import logging
import os
import pathlib
import sys
from typing import Any

import jax

CACHE = pathlib.Path(".cache") / "podarcade"  # of compiled programs, in the home directory
# Settings that a run does not take from the environment. Only threefry's streams stay the same however environments
# are batched. Programs are written for 32 bits: with 64 only index types would change, and compile times.
REQUIRED = {"jax_default_prng_impl": "threefry2x32", "jax_enable_x64": False}
# Settings that change random streams or rounding, recorded with every run and compared when it is resumed.
SETTINGS = ("threefry_partitionable", "default_prng_impl", "default_matmul_precision", "enable_x64")


def configure(cpu_devices: int, deterministic: bool = False) -> None:
    """Configure jax; call it before the first use of a device.

    Args:
      cpu_devices: number of devices to split the CPU into, one thread each; 0 leaves it as one device.
      deterministic: use deterministic XLA ops on GPUs.
    """
    for name, required in REQUIRED.items():
        _require(name, required)
    if not _logging_requested():
        logging.getLogger("jax").setLevel(logging.ERROR)
    if cpu_devices:
        jax.config.update("jax_num_cpu_devices", cpu_devices)
        # Otherwise every device uses all cores, for XLA's own threads and for those of its matrix products.
        os.environ.setdefault("NPROC", str(cpu_devices))
        _add_xla_flag("xla_cpu_multi_thread_eigen", "false")
    if deterministic:
        _add_xla_flag("xla_gpu_deterministic_ops", "true")
    jax.config.update("jax_transfer_guard", "allow")  # setting up moves data on purpose; see `transfer_guard`
    if jax.config.jax_compilation_cache_dir is None:
        _enable_compilation_cache()


def transfer_guard() -> str:
    """Return the transfer guard that the user asked for; it applies to the calls of the compiled update."""
    return os.environ.get("JAX_TRANSFER_GUARD") or "allow"


def settings() -> dict[str, str]:
    """Return the jax settings that change random streams or rounding, by name."""
    return {name: str(getattr(jax.config, f"jax_{name}")) for name in SETTINGS}


_owner: list[Any] = []  # what the compiled programs of this process are for


def keep_programs_of(owner: Any) -> None:
    """Forget all compiled programs, unless they are for the same owner as in the last call.

    Programs map memory, those of one network and all diagnostics some 4,000 pieces, and Linux allows a process 65,530:
    one that goes through the networks of many runs is killed by a segmentation fault there.

    Args:
      owner: anything that is equal for what can share programs.
    """
    if _owner and _owner[0] != owner:
        jax.clear_caches()
    _owner[:] = [owner]


def accelerator() -> str | None:
    """Return the kind of accelerator that JAX uses, "gpu" or "tpu"; None on a machine with only a CPU."""
    platform = jax.default_backend()
    return None if platform == "cpu" else platform


def device_choices() -> list[dict[str, str]]:
    """Return the environment variables that give a process one of this machine's GPUs, for each of them.

    Empty on a machine without a GPU, with one, and for accelerators that processes cannot share out this way.
    """
    if accelerator() != "gpu" or jax.local_device_count() == 1:
        return []
    version = getattr(jax.local_devices()[0].client, "platform_version", "")
    name = "ROCR_VISIBLE_DEVICES" if "rocm" in version.lower() else "CUDA_VISIBLE_DEVICES"
    visible = [word.strip() for word in os.environ.get(name, "").split(",") if word.strip()]
    return [{name: visible[index] if visible else str(index)} for index in range(jax.local_device_count())]


def _require(name: str, required: str | bool) -> None:
    """Set a jax setting that training needs, with a warning if the user chose another value."""
    if (chosen := getattr(jax.config, name)) != required:
        print(f"WARNING: {name}={chosen} is not supported in training; using {required}", file=sys.stderr)
        jax.config.update(name, required)


def _logging_requested() -> bool:
    """Return whether the user asked jax to log, by its environment variables or by the logging module."""
    config = jax.config
    by_flag = config.jax_log_compiles or config.jax_explain_cache_misses or config.jax_debug_log_modules
    by_level = config.jax_logging_level not in (None, "", "NOTSET")
    return bool(by_flag or by_level or logging.getLogger("jax").level != logging.NOTSET)


def _enable_compilation_cache() -> None:
    try:
        home = pathlib.Path.home()
    except RuntimeError:  # HOME is unset, and the user has no entry in the password database
        print(
            "WARNING: no home directory for the compilation cache; every start compiles again. "
            "Set HOME or JAX_COMPILATION_CACHE_DIR",
            file=sys.stderr,
        )
    else:
        jax.config.update("jax_compilation_cache_dir", str(home / CACHE))


def _add_xla_flag(name: str, value: str) -> None:
    flags = os.environ.get("XLA_FLAGS", "")
    if name not in flags:
        os.environ["XLA_FLAGS"] = f"{flags} --{name}={value}".strip()
