"""Encoders: sizes, float frames, the two forms of a convolution, bfloat16."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from podarcade import plugins
from podarcade.models.encoders import DTYPES
from podarcade.models.encoders.popgym_cnn import LAYERS, PopgymCNN, matmul_convolution, max_pool


def count(params):
    return sum(leaf.size for leaf in jax.tree.leaves(params))


def noise(number):
    return jax.random.randint(jax.random.key(0), (number, 128, 128, 3), 0, 256).astype(jnp.uint8)


@functools.cache
def compiled(name, dtype):
    """Compiled init, apply, and the gradient of a random projection of the features (with the features)."""
    encoder = plugins.find("encoders", name)(dtype=dtype)

    def project(params, frames):
        features = encoder.apply(params, frames)
        return jnp.sum(features * jax.random.normal(jax.random.key(2), features.shape)), features

    return jax.jit(encoder.init), jax.jit(encoder.apply), jax.jit(jax.grad(project, has_aux=True))


@functools.cache
def parameters(name):
    return compiled(name, "float32")[0](jax.random.key(1), noise(2))


@pytest.mark.parametrize(("side", "parameters"), [(128, 505_472), (256, 1_558_656)])
def test_popgym_cnn_has_the_published_size(side, parameters):
    frames = jax.ShapeDtypeStruct((1, side, side, 3), jnp.uint8)
    encoder = PopgymCNN(convolution="xla")
    params = jax.eval_shape(encoder.init, jax.random.key(0), frames)
    assert count(params) == parameters
    assert jax.eval_shape(encoder.apply, params, frames).shape == (1, 512)


def test_the_released_initialiser_is_uniform_by_fan_in():
    params = jax.jit(PopgymCNN(initialiser="uniform").init)(jax.random.key(0), noise(1))["params"]
    for index, inputs in enumerate((5 * 5 * 3, 3 * 3 * 64, 3 * 3 * 128, 256)):
        kernel, bias = params[f"kernel_{index}"], params[f"bias_{index}"]
        assert inputs**-0.5 * 0.99 < np.abs(kernel).max() < inputs**-0.5
        np.testing.assert_allclose(np.std(kernel), (3 * inputs) ** -0.5, rtol=0.03)
        assert inputs**-0.5 * 0.9 < np.abs(bias).max() < inputs**-0.5
    with pytest.raises(ValueError, match="expected one of: lecun_normal, uniform"):
        PopgymCNN(initialiser="zeros")


@pytest.mark.parametrize("name", plugins.names("encoders"))
@pytest.mark.parametrize("side", [128, 256])
def test_every_encoder_takes_both_sizes(name, side):
    frames = jax.ShapeDtypeStruct((3, side, side, 3), jnp.uint8)
    encoder = plugins.find("encoders", name)()
    features, _ = jax.eval_shape(encoder.init_with_output, jax.random.key(0), frames)
    assert features.shape[0] == 3
    assert features.ndim == 2
    assert features.dtype == jnp.float32
    with pytest.raises(ValueError, match="frames of 64 pixels; expected one of: 128, 256"):
        jax.eval_shape(encoder.init, jax.random.key(0), jax.ShapeDtypeStruct((1, 64, 64, 3), jnp.uint8))


@pytest.mark.parametrize("name", plugins.names("encoders"))
def test_float_frames_have_equal_features_and_the_true_gradient(name):
    """The slope along the gradient, by finite differences, is the gradient's norm."""
    frames = noise(2).astype(jnp.float32)
    encoder, params = plugins.find("encoders", name)(), parameters(name)
    features = compiled(name, "float32")[1](params, noise(2))
    np.testing.assert_array_equal(jax.jit(encoder.apply)(params, frames), features)

    @jax.jit
    @jax.value_and_grad
    def project(frames):
        return jnp.sum(encoder.apply(params, frames) * jax.random.normal(jax.random.key(2), features.shape))

    gradient = project(frames)[1]
    norm = float(jnp.linalg.norm(gradient))
    assert norm > 1e-3
    step = 2.0 * gradient / norm  # in levels of brightness, shared by all pixels
    slope = (project(frames + step)[0] - project(frames - step)[0]) / 4.0
    np.testing.assert_allclose(slope, norm, rtol=0.02)


def test_the_patch_encoder_sees_every_pixel():
    encoder = plugins.find("encoders", "patch")()
    frames = noise(1)
    params = encoder.init(jax.random.key(1), frames)
    assert params["params"]["patch"]["kernel"].shape == (4 * 4 * 3, 32)
    features = encoder.apply(params, frames)
    for row, column in [(0, 0), (127, 127), (5, 90), (64, 63)]:
        changed = encoder.apply(params, frames.at[0, row, column].add(128))
        assert jnp.abs(changed - features).max() > 1e-6


@pytest.mark.parametrize(("side", "stride", "kernel"), [(13, 2, 5), (14, 2, 3), (9, 1, 3), (6, 1, 1), (16, 4, 3)])
def test_the_matmul_form_equals_the_convolution(side, stride, kernel):
    x = jax.random.normal(jax.random.key(0), (2, side, side + 2, 3))
    weights = jax.random.normal(jax.random.key(1), (kernel, kernel, 3, 4))
    expected = jax.lax.conv_general_dilated(
        x, weights, (stride, stride), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    np.testing.assert_allclose(matmul_convolution(x, weights, stride), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("shape", "side"), [((2, 6, 6, 3), 2), ((1, 7, 5, 2), 2), ((2, 3, 3, 4), 3), ((2, 3, 3, 4), 1)]
)
def test_max_pool_and_its_gradient_equal_those_of_linen(shape, side):
    """Integers, so that windows have ties: the gradient goes to the first maximum."""
    x = jax.random.randint(jax.random.key(0), shape, 0, 3).astype(jnp.float32)
    weights = jax.random.normal(jax.random.key(1), shape)
    pools = [lambda x: max_pool(x, side), lambda x: nn.max_pool(x, (side, side), (side, side))]
    ours, linens = (
        jax.jit(
            jax.value_and_grad(
                lambda x, pool=pool: jnp.sum(pool(x) * weights[:, : shape[1] // side, : shape[2] // side])
            )
        )(x)
        for pool in pools
    )
    np.testing.assert_allclose(ours[0], linens[0], rtol=1e-6)
    np.testing.assert_array_equal(ours[1], linens[1])
    np.testing.assert_array_equal(max_pool(x, side), pools[1](x))


def test_both_forms_of_popgym_cnn_agree_in_value_and_gradient():
    frames = noise(1)
    forms = [PopgymCNN(convolution=form) for form in ("xla", "matmul")]
    params = forms[0].init(jax.random.key(1), frames)
    grad = [
        jax.jit(jax.value_and_grad(lambda p, form=form: jnp.sum(jnp.sin(form.apply(p, frames)))))(params)
        for form in forms
    ]
    for one, other in zip(*map(jax.tree.leaves, grad), strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-3, atol=1e-4)


def test_popgym_cnn_equals_linen_convolutions_of_frames_over_255():
    params = {name: leaf + 0.1 * name.startswith("bias") for name, leaf in parameters("popgym_cnn")["params"].items()}
    x = noise(1) / 255.0
    for index, (side, stride, channels, pool) in enumerate(LAYERS[128]):
        layer = {name: params[f"{name}_{index}"] for name in ("kernel", "bias")}
        x = nn.Conv(channels, (side, side), stride, padding="VALID").apply({"params": layer}, x)
        x = nn.max_pool(nn.leaky_relu(x), (pool, pool), (pool, pool))
    found = compiled("popgym_cnn", "float32")[1]({"params": params}, noise(1))
    np.testing.assert_allclose(found, x.reshape(1, -1), rtol=1e-3, atol=1e-4)


def test_an_unknown_form_of_convolution_is_an_error():
    with pytest.raises(ValueError, match="expected one of: auto, matmul, xla"):
        PopgymCNN(convolution="winograd").init(jax.random.key(0), jnp.zeros((1, 128, 128, 3), jnp.uint8))


def distance(x, y):
    return float(jnp.linalg.norm(x - y) / jnp.linalg.norm(x))


@pytest.mark.parametrize("name", plugins.names("encoders"))
def test_bfloat16_equals_float32_up_to_rounding(name):
    """Features within 1 %, gradients within 25 %: where rounding changes a sign or the maximum of a pool, the whole
    gradient takes another path (with an exact backward pass too)."""
    (expected_gradient, expected), (gradient, features) = (
        compiled(name, dtype)[2](parameters(name), noise(2)) for dtype in DTYPES
    )
    assert features.dtype == jnp.float32
    assert 1e-4 < distance(expected, features) < 0.01
    for one, other in zip(*map(jax.tree.leaves, (expected_gradient, gradient)), strict=True):
        assert other.dtype == jnp.float32
        assert distance(one, other) < 0.25


@pytest.mark.parametrize("name", plugins.names("encoders"))
def test_products_take_bfloat16_forward_and_backward(name):
    """Except for a first layer that must not round its input, and the gradient of its weights."""
    program = compiled(name, "bfloat16")[2].lower(parameters(name), noise(2)).as_text()
    products = [line for line in program.splitlines() if "stablehlo.dot_general" in line or ".convolution" in line]
    assert len(products) >= 5
    assert sum("f32" in line.replace("bf16", "") for line in products) <= 2


@pytest.mark.parametrize("name", plugins.names("encoders"))
def test_parameters_do_not_depend_on_the_dtype(name):
    begun = compiled(name, "bfloat16")[0](jax.random.key(1), noise(2))
    jax.tree.map(np.testing.assert_array_equal, begun, parameters(name))
    assert {leaf.dtype for leaf in jax.tree.leaves(begun)} == {jnp.dtype("float32")}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", plugins.names("encoders"))
def test_one_level_of_one_pixel_in_a_flat_area_is_seen(name, dtype):
    """It can be one in a sum of 400, which bfloat16 cannot represent. Rounded features sometimes lose it."""
    frames = np.full((33, 128, 128, 3), 100, np.uint8)
    for frame, (row, column) in enumerate(np.random.default_rng(0).integers(20, 100, (32, 2)), start=1):
        frames[frame, row, column] += 1
    features = compiled(name, dtype)[1](parameters(name), frames)
    seen = (features[1:] != features[:1]).any(axis=-1)
    assert seen.all() if dtype == "float32" else seen.mean() > 0.75


@pytest.mark.parametrize("name", plugins.names("encoders"))
def test_an_unknown_dtype_is_an_error(name):
    with pytest.raises(ValueError, match=r"encoder\.dtype='float16'; expected one of: float32, bfloat16"):
        plugins.find("encoders", name)(dtype="float16")
