"""Programs of platforms that this machine lacks: traced and lowered here, in the forms that a GPU or TPU would run."""

import collections
import dataclasses
import functools
import sys

import jax
import jax.numpy as jnp
import pytest
from builders import pqn, updater
from cue_game import Cue

from benchmarks import stablehlo
from podarcade import make, plugins, presets
from podarcade.agents import Agent
from podarcade.agents.records import Origin
from podarcade.anakin import sharding
from podarcade.anakin.evaluate import Evaluator
from podarcade.build import build
from podarcade.configuration import FrozenConfigDict
from podarcade.models.memory import linear_attention, scan
from podarcade.models.platform import platform, tracing_for

ACCELERATORS = ("cuda", "tpu")


def lower(traced, target):
    """A program lowered for a platform; this needs neither its devices nor its compiler."""
    return traced.lower(lowering_platforms=(target,))


def check(operations):
    """Assert what holds on any accelerator: no host in the program, and no wide numbers."""
    assert not {one.target for one in operations if one.name == "custom_call"}  # callbacks are such calls
    assert not {one.name for one in operations} & set(stablehlo.HOST)
    dtypes = set().union(*(one.dtypes for one in operations))
    assert "f32" in dtypes and not dtypes & {"f64", "i64", "complex<f64>"}
    # Random numbers are made from their positions, which JAX counts with 64 bits.
    assert {one.primitive for one in operations if "ui64" in one.dtypes} <= {"iota_2x32_shape"}


def trace_update(algorithm, name):
    """The update that the trainer would run, with pixels and the LRU, over two devices of a kind."""
    made = build(presets.experiment(algorithm, "preset=smoke,encoder=popgym_cnn")).updater
    made = dataclasses.replace(made, mesh=sharding.abstract_mesh(1, 2, name))
    return made.trace(made.abstract_state(1), 2)


@pytest.mark.parametrize("algorithm", plugins.names("algorithms"))
def test_updates_lower_for_accelerators_in_their_forms(algorithm):
    traced = trace_update(algorithm, "gpu")
    for target in ACCELERATORS:
        operations = stablehlo.operations(lower(traced, target))
        check(operations)
        convolved = {one.loops[-1] for one in operations if one.name == "convolution"}
        assert {"rollout", "Updater._update"} <= convolved <= {"rollout", "Updater._update", "Updater._in_groups"}
        # No loop over time in the loss, and none in a step of the rollout: all time steps are combined at once. The
        # n-step returns of a replay buffer loop over n, without any network.
        inner = {one.loops[1:] for one in operations if len(one.loops) > 2}
        assert inner <= {("Updater._update", "n_step_returns")}
        # A gradient step sends one message; advantages that are standardised need their mean and variance before it.
        sent = collections.Counter(one.loops[1:] for one in operations if one.name in stablehlo.COLLECTIVES)
        assert sent == {("Updater._update",): 3 if "ppo" in algorithm else 1, (): 4}


def test_updates_on_a_cpu_have_other_forms():
    operations = stablehlo.operations(lower(trace_update("pqn", "cpu"), "cpu"))
    check(operations)
    assert "convolution" not in {one.name for one in operations}
    assert ("Updater.trace.many", "Updater._update", "_sequential") in {one.loops for one in operations}


def trace_layer(memory, name):
    """The layer over 40 steps and the gradient by its parameters and inputs, in the forms of a platform."""
    x, start = jax.ShapeDtypeStruct((40, 2, memory.width), jnp.float32), jax.ShapeDtypeStruct((40, 2), bool)
    carry = jax.eval_shape(lambda: memory.initial(2))
    params = jax.eval_shape(memory.init, jax.random.key(0), carry, x, start)

    def loss(params, x, start, carry):
        return sum(jnp.sum(part**2) for part in jax.tree.leaves(memory.apply(params, carry, x, start)))

    with tracing_for(name):
        return jax.jit(jax.value_and_grad(loss, (0, 1))).trace(params, x, start, carry)


@pytest.mark.parametrize("memory", plugins.names("memory"))
def test_memories_lower_for_accelerators_in_their_forms(memory):
    kind = plugins.find("memory", memory)
    traced = trace_layer(kind(width=8), "gpu")
    texts = {}
    for target in ACCELERATORS:
        lowered = lower(traced, target)
        check(stablehlo.operations(lowered))
        texts[target] = lowered.as_text()
    if "form" not in {field.name for field in dataclasses.fields(kind)}:
        return  # it has one form
    assert texts["cuda"] != lower(trace_layer(kind(width=8), "cpu"), "cuda").as_text()
    # Where the form is all that differs, naming it gives the same program.
    if not hasattr(sys.modules[kind.__module__], "linear_attention"):
        named = trace_layer(kind(width=8, form="associative"), "cpu")
        assert texts["cuda"] == lower(named, "cuda").as_text()


class Lowered(Exception):
    """Raised in place of running a program, with what was traced."""


@pytest.mark.parametrize("name", plugins.names("diagnostics"))
def test_diagnostics_lower_for_accelerators(name, monkeypatch):
    environment, key = make("CartPoleEasy", partial_obs=True), jax.random.key(0)
    algorithm = pqn(num_actions=5, encoder="popgym_cnn")
    params = jax.eval_shape(lambda key: algorithm.init(key, environment.reset(key)[1]), key)
    agent = Agent(params, algorithm, environment, Origin(FrozenConfigDict({}), 0, 0))
    kind = plugins.find("diagnostics", name)

    def instead(function, *arguments):
        raise Lowered(function.trace(*arguments))

    module = sys.modules[kind.__module__]
    for attribute, function in list(vars(module).items()):
        if isinstance(function, jax.stages.Wrapped):
            monkeypatch.setattr(module, attribute, functools.partial(instead, function))
    with pytest.raises(Lowered) as raised, tracing_for("gpu"):
        kind(episodes=4, length=6)(agent, key)
    for target in ACCELERATORS:
        operations = stablehlo.operations(lower(raised.value.args[0], target))
        check(operations)
        assert any(one.name == "convolution" for one in operations)


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
