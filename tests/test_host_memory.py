"""Memory of the host and of a compiled program are reported apart."""

import jax
import jax.numpy as jnp
import numpy as np

from podarcade.runtime import memory


def test_planned_memory_counts_arguments_and_temporaries():
    x = jax.ShapeDtypeStruct((1000, 1000), jnp.float32)
    program = jax.jit(lambda x: (x @ x) @ x, donate_argnums=0).lower(x).compile()
    plan = memory.planned(program)
    assert plan.arguments == 4_000_000 and plan.temporaries >= 4_000_000
    assert plan.total == plan.arguments + plan.temporaries


def test_a_backend_without_a_plan_has_none():
    class Program:
        def memory_analysis(self):
            return None

    assert memory.planned(Program()) is None


def test_resident_memory_grows_with_what_is_allocated():
    before = memory.resident()
    block = np.ones(50_000_000, np.uint8)
    assert memory.resident() >= before + 0.9 * block.nbytes
    assert memory.available() > 0


def test_resident_memory_is_nan_where_unknown(monkeypatch):
    def missing(*_, **__):
        raise FileNotFoundError

    monkeypatch.setattr(memory.pathlib.Path, "read_text", missing)
    assert np.isnan(memory.resident())
    assert memory.available() == float("inf")
