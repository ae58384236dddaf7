"""Tests run on eight virtual CPU devices; a silent broadcast is an error."""

import gc
import importlib.metadata
import os
import pathlib
import re
import tempfile

import pytest

# One cache of compiled programs for all processes of a run; gone at its end.
if "PYTEST_XDIST_WORKER" not in os.environ:
    CACHE = tempfile.TemporaryDirectory(prefix="podarcade-tests-")
    os.environ["JAX_COMPILATION_CACHE_DIR"] = CACHE.name
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
os.environ.setdefault("JAX_PLATFORMS", "cpu")
# Tests compile far more than they compute. An unknown flag ends the process: the second is gone from newer ones.
flags = ["--xla_backend_optimization_level=0"]
if importlib.metadata.version("jaxlib").startswith("0.10."):
    flags.append("--xla_cpu_use_fusion_emitters=false")
os.environ.setdefault("XLA_FLAGS", " ".join(flags))

import jax

jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_numpy_rank_promotion", "raise")


MAPS, MANY_MAPS = pathlib.Path("/proc/self/maps"), 20_000

# Files whose tests have the marker `thorough`: they start processes, train, or compile much.
THOROUGH = re.findall(
    r"\w+",
    """
    adapters agent aggregates algorithms backend benchmarks benchmarks_accelerator benchmarks_keep
    benchmarks_needs_memory benchmarks_programs benchmarks_roofline benchmarks_scaling benchmarks_training
    benchmarks_training_tasks bounds checkpoint churn compare contamination continuous diagnose diagnostics
    distributed docs doctor dqn eleventh_game evaluate evaluate_command export failures finite follow gallery
    games gap_bias host_memory launch lock loop memory memory_diagonal memory_matrix memory_recurrent
    memory_tasks networks packaging platforms plugins popgym_arcade popgym_experiments population ppo probe
    probes recall_density report report_browser report_diagnostics rollout saliency scores search_command
    staleness statistics surroundings survival sweep sweep_planning sweep_slurm sweeps switch tasks time_scales
    twins update warm_start x64
    """,
)


def pytest_collection_modifyitems(items):
    """Mark thorough tests. A file's tests run in one process (`--dist loadfile`), since they share compiled programs.

    The longest files come first, so that no process is left alone with one at the end.
    """
    items.sort(key=lambda item: item.path.name not in ("test_survival.py", "test_update.py"))
    for item in items:
        name = item.path.stem.removeprefix("test_")
        if name in THOROUGH or name.startswith(("game_", "task_")):
            item.add_marker(pytest.mark.thorough)


def pytest_runtest_teardown(item, nextitem):
    """Forget compiled programs before they exhaust the 65,530 memory maps that Linux allows a process."""
    item.session.finished = getattr(item.session, "finished", 0) + 1
    if item.session.finished % 10 == 0 and len(MAPS.read_bytes().splitlines()) > MANY_MAPS:
        jax.clear_caches()
        gc.collect()
