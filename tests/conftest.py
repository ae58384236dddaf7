"""Tests run on eight virtual CPU devices; a silent broadcast is an error."""

import os
import tempfile

# One cache of compiled programs for this process and for those that tests start; gone at the end.
CACHE = tempfile.TemporaryDirectory(prefix="podarcade-tests-")
os.environ["JAX_COMPILATION_CACHE_DIR"] = CACHE.name
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
os.environ.setdefault("JAX_PLATFORMS", "cpu")
# Tests compile far more than they compute.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")

import jax

jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_numpy_rank_promotion", "raise")
