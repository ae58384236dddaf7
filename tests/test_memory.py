"""Every memory in the folder: parallel is stepwise, starts isolate, time has one direction."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from podarcade import plugins
from podarcade.memory import scan
from podarcade.memory.lru import LRU
from podarcade.memory.scan import linear_scan

MEMORIES = plugins.names("memory")
BATCH, WIDTH = 3, 8


@pytest.fixture(autouse=True, params=["parallel", "sequential"])
def form(request, monkeypatch):
    """Every test runs with both forms of the scan."""
    monkeypatch.setattr(scan, "default_form", lambda: request.param)
    return request.param


@functools.cache
def compiled(name, form):
    """A layer, its parameters moved away from their start, and its compiled function."""
    memory = plugins.find("memory", name)(width=WIDTH)
    x, start = inputs(4)
    params = memory.init(jax.random.key(1), memory.initial(BATCH), x, start)
    params = jax.tree.map(lambda p: p + 0.05 * jnp.cos(jnp.arange(p.size, dtype=p.dtype)).reshape(p.shape), params)
    return memory, params, jax.jit(lambda carry, x, start: memory.apply(params, carry, x, start))


def layer(name):
    return compiled(name, scan.default_form())


def inputs(length, starts=0.15, seed=0):
    x = jax.random.normal(jax.random.key(seed), (length, BATCH, WIDTH))
    start = jax.random.uniform(jax.random.key(seed + 1), (length, BATCH)) < starts
    return x, start


def some_carry(name, seed=5):
    """A carry as it is after a while, so that forgetting it can be seen."""
    x, _ = inputs(11, 0.0, seed)
    memory, _, run = layer(name)
    return run(memory.initial(BATCH), x, jnp.zeros((11, BATCH), bool))[0]


def in_pieces(run, carry, x, start, cuts):
    """Runs the pieces between the cuts one after the other."""
    edges = [0, *sorted(cuts), len(x)]
    ys = []
    for low, high in itertools.pairwise(edges):
        if low < high:
            carry, y = run(carry, x[low:high], start[low:high])
            ys.append(y)
    return carry, jnp.concatenate(ys)


def assert_close(a, b, tolerance=2e-5):
    for one, other in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_allclose(one, other, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", MEMORIES)
@pytest.mark.parametrize("length", [1, 2, 3, 7, 64, 129])
def test_parallel_is_stepwise(name, length):
    run = layer(name)[2]
    x, start = inputs(length)
    carry = some_carry(name)
    stepwise = in_pieces(run, carry, x, start, range(1, length))
    assert_close(run(carry, x, start), stepwise)


@pytest.mark.parametrize("name", MEMORIES)
@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cuts=st.sets(st.integers(1, 12), max_size=4), seed=st.integers(0, 50))
def test_any_chunking_is_the_whole(name, cuts, seed):
    x, start = inputs(13, seed=seed)
    carry = some_carry(name)
    run = layer(name)[2]
    assert_close(run(carry, x, start), in_pieces(run, carry, x, start, cuts))


@pytest.mark.parametrize("name", MEMORIES)
@pytest.mark.parametrize("at", [0, 1, 6, 12])
def test_a_start_is_a_fresh_beginning(name, at):
    memory, _, run = layer(name)
    x, _ = inputs(13)
    start = jnp.zeros((13, BATCH), bool).at[at].set(True)
    _, y = run(some_carry(name), x, start)
    _, fresh = run(memory.initial(BATCH), x[at:], jnp.zeros((13 - at, BATCH), bool))
    assert_close(y[at:], fresh)


@pytest.mark.parametrize("name", MEMORIES)
def test_starts_at_every_step_leave_no_memory(name):
    memory, _, run = layer(name)
    x, _ = inputs(6)
    _, y = run(some_carry(name), x, jnp.ones((6, BATCH), bool))
    alone = [run(memory.initial(BATCH), x[t : t + 1], jnp.ones((1, BATCH), bool))[1] for t in range(6)]
    assert_close(y, jnp.concatenate(alone))


@pytest.mark.parametrize("name", MEMORIES)
@pytest.mark.parametrize("poison", [np.nan, np.inf])
def test_poison_before_a_start_is_not_seen_after_it(name, poison):
    memory, params, _ = layer(name)
    x, _ = inputs(9)
    start = jnp.zeros((9, BATCH), bool).at[4].set(True)
    bad_x = x.at[:4].set(poison)
    bad_carry = jax.tree.map(lambda c: jnp.full_like(c, poison), memory.initial(BATCH))

    def after(x, carry):
        new_carry, y = memory.apply(params, carry, x, start)
        return jnp.sum(y[4:] ** 2), (new_carry, y[4:])

    after = jax.jit(jax.value_and_grad(after, has_aux=True))
    (_, outputs), gradient = after(bad_x, bad_carry)
    (_, expected), expected_gradient = after(x, memory.initial(BATCH))
    assert_close(outputs, expected)
    assert_close(gradient[4:], expected_gradient[4:])


@pytest.mark.parametrize("name", MEMORIES)
def test_time_has_one_direction(name):
    memory, params, _ = layer(name)
    x, _ = inputs(6)
    start = jnp.zeros((6, BATCH), bool).at[2].set(True)

    def summed(x):
        return jnp.sum(memory.apply(params, memory.initial(BATCH), x, start)[1], axis=(1, 2))

    influence = np.abs(np.asarray(jax.jit(jax.jacobian(summed))(x))).sum(axis=(2, 3))  # [t of y, u of x]
    later, forgotten = np.triu(np.ones((6, 6), bool), 1), np.zeros((6, 6), bool)
    forgotten[2:, :2] = True
    assert np.all(influence[later | forgotten] == 0)
    remembered = influence[~(later | forgotten)].reshape(-1)
    if name == "none":
        assert np.count_nonzero(influence) == 6  # the present only
    else:
        assert np.all(remembered > 0)


@pytest.mark.parametrize("name", MEMORIES)
def test_gradients_of_the_parallel_form_are_those_of_steps(name):
    memory, params, _ = layer(name)
    x, start = inputs(12)
    carry = some_carry(name)

    def parallel(params, x, carry):
        return jnp.sum(jnp.sin(memory.apply(params, carry, x, start)[1]))

    def stepwise(params, x, carry):
        run = functools.partial(memory.apply, params)
        return jnp.sum(jnp.sin(in_pieces(run, carry, x, start, range(1, 12))[1]))

    gradients = [jax.jit(jax.grad(f, argnums=(0, 1, 2)))(params, x, carry) for f in (parallel, stepwise)]
    assert_close(*gradients, tolerance=1e-4)
    assert all(jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(gradients[0]))


@pytest.mark.parametrize("name", MEMORIES)
def test_the_carry_stays_float32_under_bfloat16_features(name):
    memory, params, _ = layer(name)
    x, start = inputs(5)
    carry, y = memory.apply(params, memory.initial(BATCH), x.astype(jnp.bfloat16), start)
    assert y.dtype == jnp.bfloat16
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(carry))


@pytest.mark.parametrize("name", MEMORIES)
def test_environments_do_not_mix(name):
    run = layer(name)[2]
    x, start = inputs(9)
    carry = some_carry(name)
    _, y = run(carry, x, start)
    _, other = run(carry, x.at[:, 1].set(7.0), start.at[:, 1].set(True))
    assert_close(y[:, 0], other[:, 0])
    assert_close(y[:, 2], other[:, 2])


complex_numbers = st.complex_numbers(max_magnitude=2, allow_nan=False, allow_infinity=False)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_the_scan_equals_a_loop_in_double_precision(data):
    length = data.draw(st.sampled_from([1, 2, 13]))
    decay = np.asarray(data.draw(st.lists(complex_numbers, min_size=length, max_size=length))) * 0.5
    drive = np.asarray(data.draw(st.lists(complex_numbers, min_size=length, max_size=length)))
    start = np.asarray(data.draw(st.lists(st.booleans(), min_size=length, max_size=length)))
    h, expected = 0.7 - 0.2j, []
    initial = h
    for a, b, reset in zip(decay, drive, start, strict=True):
        h = (0 if reset else a * h) + b
        expected.append(h)

    def pair(x):
        x = np.asarray(x, np.complex64).reshape(-1, 1, 1)
        return jnp.asarray(x.real), jnp.asarray(x.imag)

    real, imaginary = jax.jit(linear_scan)(
        pair(decay), pair(drive), start[:, None], tuple(part[0] for part in pair(initial))
    )
    np.testing.assert_allclose(real[:, 0, 0] + 1j * imaginary[:, 0, 0], expected, rtol=1e-4, atol=1e-4)


def test_the_scan_of_real_numbers_decays_in_closed_form():
    decay, drive = jnp.full((1, 1, 1), 0.9), jnp.ones((30, 1, 1))
    h = linear_scan(decay, drive, jnp.zeros((30, 1), bool), jnp.full((1, 1), 5.0))
    steps = np.arange(1, 31)
    np.testing.assert_allclose(h[:, 0, 0], 0.9**steps * 5 + (1 - 0.9**steps) / 0.1, rtol=1e-5)


def test_lru_impulse_response():
    """y at distance n after an impulse u is Re(C λⁿ exp(g) B u), computed here in double precision."""
    lru = LRU(width=WIDTH, states=5)
    impulse = jnp.zeros((7, 1, WIDTH)).at[2].set(jnp.arange(WIDTH, dtype=jnp.float32))
    start = jnp.zeros((7, 1), bool)
    params = lru.init(jax.random.key(0), lru.initial(1), impulse, start)
    _, y = lru.apply(params, lru.initial(1), impulse, start)
    p = {name: np.asarray(value, np.float64) for name, value in params["params"].items()}
    decay = np.exp(-np.exp(p["nu"]) + 1j * np.exp(p["theta"]))
    matrix_b, matrix_c = p["B_real"] + 1j * p["B_imaginary"], p["C_real"] + 1j * p["C_imaginary"]
    u = np.arange(WIDTH)
    for t in range(7):
        n = t - 2
        response = np.real((decay**n * np.exp(p["g"]) * (u @ matrix_b)) @ matrix_c) if n >= 0 else np.zeros(WIDTH)
        np.testing.assert_allclose(y[t, 0], response + p["D"] * u * (n == 0), rtol=1e-4, atol=1e-5)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(scale=st.floats(-60, 60))
def test_lru_cannot_become_unstable(scale):
    memory, params, _ = layer("lru")
    params = jax.tree.map(lambda p: p + scale, params)
    x = jnp.zeros((2, BATCH, WIDTH))
    carry = jax.tree.map(jnp.ones_like, memory.initial(BATCH))
    (real, imaginary), _ = memory.apply(params, carry, x, jnp.zeros((2, BATCH), bool))
    assert jnp.all(jnp.hypot(real, imaginary) <= np.sqrt(2))


def test_an_unknown_form_is_an_error():
    x = jnp.ones((2, 1, 1))
    with pytest.raises(ValueError, match="there are auto, parallel, sequential"):
        linear_scan(x, x, jnp.zeros((2, 1), bool), x[0], form="pallas")


def test_lru_radii_start_in_their_range():
    lru = LRU(width=WIDTH, states=500, minimum_radius=0.9, maximum_radius=0.99)
    x = jnp.zeros((1, 1, WIDTH))
    params = lru.init(jax.random.key(0), lru.initial(1), x, jnp.zeros((1, 1), bool))["params"]
    radius = np.exp(-np.exp(params["nu"]))
    assert radius.min() >= 0.9 - 1e-5
    assert radius.max() <= 0.99 + 1e-5
    assert radius.max() - radius.min() > 0.08
    np.testing.assert_allclose(np.exp(params["g"]), np.sqrt(1 - radius**2), rtol=1e-3)
