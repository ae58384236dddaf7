"""Programs of platforms that this machine lacks: traced and lowered here, with the forms that a GPU or TPU would run."""

import jax
import jax.numpy as jnp
import pytest
from builders import pqn, updater
from cue_game import Cue

from podarcade.anakin import sharding
from podarcade.anakin.evaluate import Evaluator
from podarcade.models.memory import linear_attention, scan
from podarcade.models.platform import platform, tracing_for


def test_traces_are_not_shared_between_platforms():
    function = jax.jit(lambda: jnp.float32(["cpu", "gpu", "tpu"].index(platform())))
    assert function() == 0
    for index, name in enumerate(("cpu", "gpu", "tpu")):
        with tracing_for(name):
            assert function() == index and jax.vmap(lambda _: function())(jnp.ones(2)).tolist() == [index] * 2
    assert function() == 0 and platform() == jax.default_backend() == "cpu"


def test_forms_follow_the_platform():
    assert (scan.default_form(), linear_attention.default_chunk()) == ("sequential", 32)
    for name in ("gpu", "tpu"):
        with tracing_for(name):
            assert (scan.default_form(), linear_attention.default_chunk()) == ("associative", 64)


@pytest.mark.parametrize("name", ["cpu", "gpu", "tpu"])
def test_devices_of_a_mesh_decide_inside_its_programs(name):
    found = []

    def function(x):
        found.append(platform())
        return x

    mesh = sharding.abstract_mesh(1, 2, name)
    specs = (sharding.SPECS.actors,)
    mapped = sharding.map_over(mesh, function, specs, *specs)
    jax.jit(mapped).trace(jax.ShapeDtypeStruct((1, 4), jnp.float32))
    assert found == [name]


@pytest.mark.parametrize(("name", "expected"), [("cpu", 3), ("gpu", 12)])
def test_an_evaluation_plays_all_lanes_at_once_on_an_accelerator(name, expected):
    made = updater(Cue(), pqn())
    evaluator = Evaluator(made.algorithm, made.environment, made.mesh, 6)
    with tracing_for(name):
        assert evaluator._num_players(12) == expected
