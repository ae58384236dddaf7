"""Initial time constants: one option, `init_horizon`, with one meaning for every layer that has a time scale."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import layers, markdown
from podarcade import plugins
from podarcade.models.contract import check_memory
from podarcade.models.memory import time_scales

WIDTH = 12
TIMELESS = {"none", "stack", "transformer", "linear_transformer", "delta_net", "ttt_linear"}
NAMES = [name for name in plugins.names("memory") if name not in TIMELESS]
# The parameters that set a time scale, by the last words of their paths; all others keep their values.
SET = {
    "agalite": {"enter bias"},
    "ffm": {"a"},
    "gated_deltanet": {"dt_bias"},
    "gru": {"input bias"},
    "lru": {"nu", "g"},
    "lstm": {"input bias"},
    "mamba": {"step bias"},
    "min_gru": {"gate bias"},
    "min_lstm": {"forget_gate bias", "input_gate bias"},
    "mlstm": {"forget bias"},
    "rg_lru": {"p"},
    "s5": {"log_step"},
}


def make(name, horizon, **options):
    return plugins.find("memory", name)(width=WIDTH, init_horizon=horizon, **options)


@functools.cache
def parameters(name, horizon):
    """Parameters as {path: array}, compiled once per layer and horizon."""
    memory = make(name, horizon)
    x, start = jnp.zeros((1, 1, WIDTH)), jnp.zeros((1, 1), bool)
    return jax.jit(memory.init)(jax.random.key(0), memory.initial(1), x, start)


def by_path(params):
    leaves = jax.tree_util.tree_leaves_with_path(params["params"])
    return {" ".join(part.key for part in path): np.asarray(leaf) for path, leaf in leaves}


def test_every_layer_with_a_time_scale_has_the_option():
    found = {}
    for name in plugins.names("memory"):
        fields = {field.name: field.default for field in dataclasses.fields(plugins.find("memory", name))}
        found[name] = fields.get("init_horizon")
    assert {name for name, default in found.items() if default is None} == TIMELESS
    assert {type(found[name]) for name in NAMES} == {float} and not any(found[name] for name in NAMES)


@pytest.mark.parametrize("size", [1, 2, 4, 100])
def test_time_constants_are_geometric_from_the_horizon_to_two(size):
    found = time_scales.time_constants(size, 128.0)
    assert found.shape == (size,) and found.dtype == np.float32
    exponents = np.linspace(7, 1, size) if size > 1 else [7]
    np.testing.assert_allclose(np.log2(found), exponents, rtol=1e-5)


@pytest.mark.parametrize("horizon", [2.0, 40.0, 1e6])
def test_the_bias_of_a_gate_has_its_time_constant(horizon):
    bias = time_scales.forget_bias(9, horizon).astype(np.float64)
    expected = time_scales.time_constants(9, horizon)
    np.testing.assert_allclose(1 / np.log1p(np.exp(-bias)), expected, rtol=2e-5)  # -log sigmoid(b)
    chrono = expected > 20
    np.testing.assert_allclose(bias[chrono], np.log(expected[chrono] - 1), atol=0.03)


@pytest.mark.parametrize("name", NAMES)
def test_only_the_time_scale_differs(name):
    own, long = (by_path(parameters(name, horizon)) for horizon in (0.0, 256.0))
    assert own.keys() == long.keys()
    assert {path for path, leaf in own.items() if not np.array_equal(leaf, long[path])} == SET[name]
    for path, leaf in own.items():
        assert (leaf.shape, leaf.dtype) == (long[path].shape, long[path].dtype)


def one_step(name, params):
    """Return the carry after a step with an input of zero, from a state of ones."""
    memory = make(name, 256.0)
    carry = memory.initial(1)
    if isinstance(carry, tuple):  # imaginary parts, the inputs of a convolution, h of an LSTM and the like are zero
        kept = {"lstm": (1,), "agalite": (0, 1)}.get(name, (0,))
        carry = tuple(jnp.ones_like(part) if index in kept else part for index, part in enumerate(carry))
    else:
        carry = jnp.ones_like(carry)
    x, start = jnp.zeros((1, 1, WIDTH)), jnp.zeros((1, 1), bool)
    return jax.tree.map(np.asarray, jax.jit(memory.apply)(params, carry, x, start)[0])


def measured(name):
    """Return the time constants of all states of a layer with `init_horizon` 256, measured in one step."""
    params = parameters(name, 256.0)["params"]
    if name == "gru":  # without the recurrent matrix, a gate sees its bias only
        params = params | {"recurrent": jnp.zeros_like(params["recurrent"])}
    if name == "mamba":
        params = params | {"kernel_bias": jnp.zeros_like(params["kernel_bias"])}
    carry = one_step(name, {"params": params})
    if name in ("lru", "s5", "ffm"):
        decay = np.hypot(*carry)
    elif name == "mlstm":
        decay = carry[0] * np.exp(carry[1])[..., None, None]
    elif name == "lstm":
        decay = carry[1]
    elif name == "agalite":
        decay = np.concatenate([carry[0].ravel(), carry[1].ravel()])
    elif name == "mamba":
        decay = carry[0] ** (1.0 / np.arange(1, 17))  # state n decays n times faster
    else:
        decay = carry[0] if isinstance(carry, tuple) else carry
    return -1.0 / np.log(decay.astype(np.float64).ravel())


@pytest.mark.parametrize("name", NAMES)
def test_measured_time_constants_have_the_distribution(name):
    number = {"agalite": 64, "ffm": 4, "gated_deltanet": 4, "mamba": 2 * WIDTH, "mlstm": 4, "s5": 128}.get(name, WIDTH)
    found = np.sort(measured(name))
    expected = np.sort(np.repeat(time_scales.time_constants(number, 256.0), len(found) // number))
    np.testing.assert_allclose(found, expected, rtol=3e-4)  # a decay near 1 has few digits


def test_gates_of_an_lstm_are_opposite_and_include_the_constant():
    bias = parameters("lstm", 256.0)["params"]["input"]["bias"]
    np.testing.assert_allclose(bias[:WIDTH], -(bias[WIDTH : 2 * WIDTH] + 1.0), rtol=1e-6)
    assert not np.any(bias[2 * WIDTH :])


def test_s5_mixes_time_constants_over_frequencies():
    step = by_path(parameters("s5", 256.0))["log_step"]
    assert abs(np.corrcoef(step, np.arange(len(step)))[0, 1]) < 0.3


@pytest.mark.parametrize("name", ["agalite", "gru", "lstm", "min_gru", "min_lstm"])
def test_a_layer_that_forgets_sees_back_to_its_horizon(name):
    """Their own initialisations pass less than 1e-11 of the gradient back over 128 steps."""
    assert layers.horizon(make(name, 256.0), (128,), seeds=1)[0] > 1e-3


@pytest.mark.parametrize("name", NAMES)
def test_the_contract_holds(name):
    check_memory(make(name, 256.0))


@pytest.mark.parametrize("name", NAMES)
def test_a_horizon_below_two_steps_is_an_error(name):
    with pytest.raises(ValueError, match=r"^memory\.init_horizon=1\.5; expected 0 \(the layer's own init.*\) or >= 2"):
        check_memory(make(name, 1.5))


@pytest.mark.parametrize("horizon", [-1.0, float("nan"), float("inf"), 1e7])
def test_a_horizon_out_of_range_is_an_error(horizon):
    with pytest.raises(ValueError, match=r"^memory\.init_horizon=.*; expected 0 "):
        time_scales.time_constants(3, horizon)


def test_recorded_horizons_are_long_and_close_to_each_other_when_matched():
    rows = markdown.result("horizon-cpu")
    at = rows["steps"].index(128)
    own, matched = ({name: rows["rows"][init][name][at] for name in NAMES} for init in ("paper", "matched"))
    assert min(own.values()) < 1e-30 and min(matched.values()) > 1e-4
    assert max(matched.values()) / min(matched.values()) < 1e3
    assert rows["rows"]["matched"].keys() == set(NAMES)
