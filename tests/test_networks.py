"""Encoders and trunk: sizes, the two forms of a convolution, what a start forgets."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from podarcade import plugins
from podarcade.encoders.paper import PaperEncoder, matmul_convolution
from podarcade.networks import QNetwork, Trunk

T, B, D, ACTIONS = 5, 2, 3, 4


def count(params):
    return sum(leaf.size for leaf in jax.tree.leaves(params))


@pytest.mark.parametrize(("side", "parameters"), [(128, 505_472), (256, 1_558_656)])
def test_the_paper_encoder_has_the_published_size(side, parameters):
    frames = jax.ShapeDtypeStruct((1, side, side, 3), jnp.uint8)
    encoder = PaperEncoder(convolution="xla")
    params = jax.eval_shape(encoder.init, jax.random.key(0), frames)
    assert count(params) == parameters
    assert jax.eval_shape(encoder.apply, params, frames).shape == (1, 512)


@pytest.mark.parametrize("name", plugins.names("encoders"))
@pytest.mark.parametrize("side", [128, 256])
def test_every_encoder_takes_both_sizes(name, side):
    frames = jax.ShapeDtypeStruct((3, side, side, 3), jnp.uint8)
    encoder = plugins.find("encoders", name)()
    features, _ = jax.eval_shape(encoder.init_with_output, jax.random.key(0), frames)
    assert features.shape[0] == 3
    assert features.ndim == 2
    assert features.dtype == jnp.float32
    with pytest.raises(ValueError, match="frames of 64 pixels; there are 128, 256"):
        jax.eval_shape(encoder.init, jax.random.key(0), jax.ShapeDtypeStruct((1, 64, 64, 3), jnp.uint8))


def test_the_cpu_encoder_sees_every_pixel():
    encoder = plugins.find("encoders", "cpu")()
    frames = jax.random.randint(jax.random.key(0), (1, 128, 128, 3), 0, 256).astype(jnp.uint8)
    params = encoder.init(jax.random.key(1), frames)
    assert params["params"]["patch"]["kernel"].shape == (4 * 4 * 3, 32)
    features = encoder.apply(params, frames)
    for row, column in [(0, 0), (127, 127), (5, 90), (64, 63)]:
        changed = encoder.apply(params, frames.at[0, row, column].add(128))
        assert jnp.abs(changed - features).max() > 1e-6


@pytest.mark.parametrize(("side", "stride", "kernel"), [(13, 2, 5), (14, 2, 3), (9, 1, 3), (6, 1, 1), (16, 4, 3)])
def test_the_matrix_form_of_a_convolution_is_the_convolution(side, stride, kernel):
    x = jax.random.normal(jax.random.key(0), (2, side, side + 2, 3))
    weights = jax.random.normal(jax.random.key(1), (kernel, kernel, 3, 4))
    expected = jax.lax.conv_general_dilated(
        x, weights, (stride, stride), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    np.testing.assert_allclose(matmul_convolution(x, weights, stride), expected, rtol=1e-4, atol=1e-4)


def test_both_forms_of_the_paper_encoder_agree_in_value_and_gradient():
    frames = jax.random.randint(jax.random.key(0), (1, 128, 128, 3), 0, 256).astype(jnp.uint8)
    forms = [PaperEncoder(convolution=form) for form in ("xla", "matmul")]
    params = forms[0].init(jax.random.key(1), frames)
    grad = [
        jax.jit(jax.value_and_grad(lambda p, form=form: jnp.sum(jnp.sin(form.apply(p, frames)))))(params)
        for form in forms
    ]
    for one, other in zip(*map(jax.tree.leaves, grad), strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-3, atol=1e-4)


def test_an_unknown_form_of_convolution_is_an_error():
    with pytest.raises(ValueError, match="there are auto, matmul, xla"):
        PaperEncoder(convolution="winograd").init(jax.random.key(0), jnp.zeros((1, 128, 128, 3), jnp.uint8))


@functools.cache
def network(memory, bypass=True, layers=2):
    trunk = Trunk(
        encoder=plugins.find("encoders", "cpu"),
        memory=plugins.find("memory", memory),
        num_actions=ACTIONS,
        width=16,
        layers=layers,
        bypass=bypass,
    )
    network = QNetwork(trunk, ACTIONS)
    params = network.init(jax.random.key(0), network.initial(B), *inputs())
    return network, jax.tree.map(lambda p: p + 0.1, params)


def inputs(seed=0):
    observation = jax.random.normal(jax.random.key(seed), (T, B, D))
    previous = jax.random.randint(jax.random.key(seed + 1), (T, B), 0, ACTIONS)
    return observation, previous, jnp.zeros((T, B), bool)


@pytest.mark.parametrize("memory", plugins.names("memory"))
def test_values_after_a_start_do_not_depend_on_the_past(memory):
    q, params = network(memory)
    observation, previous, start = inputs()
    start, previous = start.at[2].set(True), previous.at[2].set(-1)
    carry, values = q.apply(params, q.initial(B), observation, previous, start)
    other = jax.tree.map(lambda x: x + 3.0, q.initial(B))
    _, changed = q.apply(params, other, observation.at[:2].add(1.0), previous.at[:2].set(0), start)
    np.testing.assert_allclose(values[2:], changed[2:], rtol=1e-5, atol=1e-6)
    assert len(carry) == 2
    assert values.shape == (T, B, ACTIONS)


def test_no_previous_action_is_the_zero_vector():
    """The action's columns of the first layer must not matter at a start."""
    q, params = network("none")
    observation, previous, start = inputs()
    _, values = q.apply(params, q.initial(B), observation, jnp.full_like(previous, -1), start)
    kernel = params["params"]["trunk"]["enter"]["kernel"]
    params = jax.tree.map(lambda x: x, params)
    params["params"]["trunk"]["enter"]["kernel"] = kernel.at[-ACTIONS:].add(5.0)
    _, same = q.apply(params, q.initial(B), observation, jnp.full_like(previous, -1), start)
    _, other = q.apply(params, q.initial(B), observation, previous, start)
    # The bypass hands the one-hot to the head as well, where -1 is zeros again.
    np.testing.assert_array_equal(values, same)
    assert jnp.abs(values - other).max() > 1e-3


def test_the_memory_matters_and_its_absence_does_not():
    for memory, remembers in [("lru", True), ("none", False)]:
        q, params = network(memory)
        observation, previous, start = inputs()
        _, values = q.apply(params, q.initial(B), observation, previous, start)
        _, changed = q.apply(params, q.initial(B), observation.at[0].add(1.0), previous, start)
        assert bool(jnp.abs(values[-1] - changed[-1]).max() > 1e-5) == remembers


def test_without_bypass_the_head_sees_the_memory_only():
    q, params = network("lru", bypass=False)
    assert params["params"]["head"]["kernel"].shape[0] == 16
    assert network("lru")[1]["params"]["head"]["kernel"].shape[0] > 16
    assert q.trunk.bypass is False
