"""Memory of the host and of a compiled program are reported apart."""

import mmap

import jax
import jax.numpy as jnp
import numpy as np

from podarcade.runtime import memory_usage


def test_planned_memory_counts_arguments_and_temporaries():
    x = jax.ShapeDtypeStruct((1000, 1000), jnp.float32)
    program = jax.jit(lambda x: (x @ x) @ x, donate_argnums=0).lower(x).compile()
    plan = memory_usage.planned(program)
    assert plan.arguments == 4_000_000 and plan.temporaries >= 4_000_000
    assert plan.total == plan.arguments + plan.temporaries


def test_a_backend_without_a_plan_has_none():
    class Program:
        def memory_analysis(self):
            return None

    assert memory_usage.planned(Program()) is None


def test_resident_memory_grows_with_what_is_allocated():
    content = bytes(50_000_000)
    with mmap.mmap(-1, len(content)) as block:  # an allocator may hand out freed pages, which are resident already
        before = memory_usage.resident()
        block.write(content)
        assert memory_usage.resident() >= before + 0.9 * len(content)
    assert memory_usage.available() > 0


def test_resident_memory_is_nan_where_unknown(monkeypatch):
    def missing(*_, **__):
        raise FileNotFoundError

    monkeypatch.setattr(memory_usage.pathlib.Path, "read_text", missing)
    assert np.isnan(memory_usage.resident())
    assert memory_usage.available() == float("inf")
