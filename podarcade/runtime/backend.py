"""Settings of jax and XLA that have to precede the first use of a device."""

import logging
import os
import pathlib

import jax


def configure(cpu_devices: int, deterministic: bool = False) -> None:
    """Settings that have to come before the first use of a device."""
    logging.getLogger("jax").setLevel(logging.ERROR)
    if cpu_devices:
        jax.config.update("jax_num_cpu_devices", cpu_devices)
        # Else all devices would use all cores, and wait for each other: the threads of XLA, then those of its products.
        os.environ.setdefault("NPROC", str(cpu_devices))
        _add_flag("xla_cpu_multi_thread_eigen", "false")
    if deterministic:
        _add_flag("xla_gpu_deterministic_ops", "true")
    if jax.config.jax_compilation_cache_dir is None:
        jax.config.update("jax_compilation_cache_dir", str(pathlib.Path.home() / ".cache" / "podarcade"))


def _add_flag(name: str, value: str) -> None:
    given = os.environ.get("XLA_FLAGS", "")
    if name not in given:
        os.environ["XLA_FLAGS"] = f"{given} --{name}={value}".strip()
