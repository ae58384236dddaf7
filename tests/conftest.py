"""Tests run on eight virtual CPU devices; a silent broadcast is an error."""

import os
import pathlib
import tempfile

# One cache of compiled programs for this process and for those that tests start.
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(pathlib.Path(tempfile.mkdtemp(prefix="podarcade-tests-"))))
os.environ.setdefault("JAX_PLATFORMS", "cpu")
# Tests compile far more than they compute.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")

import jax

jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_numpy_rank_promotion", "raise")
