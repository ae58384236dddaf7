"""The diagonal scan and resets: every form against plain loops in double precision."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jax.sharding import PartitionSpec as P

from podarcade.anakin import sharding
from podarcade.models.memory import resets
from podarcade.models.memory.lru import LRU
from podarcade.models.memory.scan import FORMS, _combine, checkpointed_scan, linear_scan

BATCH, STATES = 2, 3


def problem(length, *, constant=False, starts=0.1, seed=0):
    """A complex recurrence: decay, drive, start, initial."""
    keys = jax.random.split(jax.random.key(seed), 7)
    lead = (1, 1) if constant else (length, BATCH)
    decay = tuple(0.68 * jax.random.uniform(key, (*lead, STATES), minval=-1) for key in keys[:2])
    drive = tuple(jax.random.normal(key, (length, BATCH, STATES)) for key in keys[2:4])
    initial = tuple(jax.random.normal(key, (BATCH, STATES)) for key in keys[4:6])
    return decay, drive, jax.random.uniform(keys[6], (length, BATCH)) < starts, initial


def loop(decay, drive, start, initial):
    """The definition, in double precision."""
    decay, drive, h = (
        np.asarray(real, np.complex128) + 1j * np.asarray(imag) for real, imag in (decay, drive, initial)
    )
    decay, hidden = np.broadcast_to(decay, drive.shape), []
    for a, b, flag in zip(decay, drive, np.asarray(start), strict=True):
        h = np.where(flag[:, None], 0, a * h) + b
        hidden.append(h)
    return np.stack(hidden)


def joined(pair):
    return np.asarray(pair[0]) + 1j * np.asarray(pair[1])


@functools.cache
def compiled(form):
    return jax.jit(functools.partial(linear_scan, form=form))


@pytest.mark.parametrize("length", [1, 2, 3, 32, 33, 129, 1024])
@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_the_loop(form, length):
    for starts in (0.0, 0.1):
        arguments = problem(length, starts=starts)
        np.testing.assert_allclose(joined(compiled(form)(*arguments)), loop(*arguments), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("form", FORMS)
def test_a_constant_decay_is_one_at_every_step(form):
    arguments = problem(33, constant=True)
    np.testing.assert_allclose(joined(compiled(form)(*arguments)), loop(*arguments), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("constant", [False, True])
@pytest.mark.parametrize("form", FORMS)
def test_the_backward_pass_is_that_of_the_loop(form, constant):
    decay, drive, start, initial = problem(40, constant=constant)

    def loss(decay, drive, initial, scan):
        return sum(jnp.sum(jnp.sin(part)) for part in scan(decay, drive, start, initial))

    def in_steps(decay, drive, start, initial):
        decay = tuple(jnp.broadcast_to(part, drive[0].shape) for part in decay)

        def step(h, inputs):
            (real, imaginary), b, flag = inputs
            h = tuple(jnp.where(flag[:, None], 0.0, part) for part in h)
            h = real * h[0] - imaginary * h[1] + b[0], real * h[1] + imaginary * h[0] + b[1]
            return h, h

        return jax.lax.scan(step, initial, (decay, drive, start))[1]

    found, expected = (
        jax.jit(jax.grad(functools.partial(loss, scan=scan), argnums=(0, 1, 2)))(decay, drive, initial)
        for scan in (functools.partial(linear_scan, form=form), in_steps)
    )
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        assert one.shape == other.shape
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)


def test_the_lifted_operator_is_associative():
    """On combined elements, with flags inside any of them."""
    generator = np.random.default_rng(0)

    def leaf():
        real, imaginary, b, c = generator.normal(size=(4, 5)).astype(np.float32)
        return (real, imaginary), (b, c), generator.random(5) < 0.3

    elements = [_combine(leaf(), _combine(leaf(), leaf())) for _ in range(3)]
    left = _combine(_combine(elements[0], elements[1]), elements[2])
    right = _combine(elements[0], _combine(elements[1], elements[2]))
    for one, other in zip(jax.tree.leaves(left), jax.tree.leaves(right), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("form", FORMS)
def test_real_numbers_decay_in_closed_form(form):
    decay, drive = jnp.full((1, 1, 1), 0.9), jnp.ones((30, 1, 1))
    h = compiled(form)(decay, drive, jnp.zeros((30, 1), bool), jnp.full((1, 1), 5.0))
    steps = np.arange(1, 31)
    np.testing.assert_allclose(h[:, 0, 0], 0.9**steps * 5 + (1 - 0.9**steps) / 0.1, rtol=1e-5)


@pytest.mark.parametrize("form", FORMS)
def test_a_non_finite_decay_ends_at_the_next_start(form):
    decay, drive, _, initial = problem(40)
    start = jnp.zeros((40, BATCH), bool).at[20].set(True)
    bad = tuple(part.at[10:20].set(jnp.nan) for part in decay)
    found = joined(compiled(form)(bad, drive, start, initial))
    np.testing.assert_allclose(found[20:], loop(decay, drive, start, initial)[20:], rtol=1e-5, atol=1e-5)
    assert np.all(np.isnan(found[10:20])) and np.all(np.isfinite(found[:10]))


@pytest.mark.parametrize("form", FORMS)
def test_forms_and_gradients_are_the_same_on_a_mesh(form):
    decay, drive, start, initial = problem(40)

    def gradient(decay, drive, start, initial):
        def loss(*arguments):
            return sum(jnp.sum(jnp.sin(part)) for part in linear_scan(*arguments, form=form))

        return jax.grad(lambda *numbers: loss(*numbers[:2], start, numbers[2]), argnums=(0, 1, 2))(
            decay, drive, initial
        )

    over_time, batch = P(None, "data"), P("data")
    mapped = jax.shard_map(
        gradient, mesh=sharding.make_mesh(1, 2), in_specs=(over_time, over_time, over_time, batch),
        out_specs=(over_time, over_time, batch),
    )  # fmt: skip
    for one, other in zip(
        *(jax.tree.leaves(jax.jit(run)(decay, drive, start, initial)) for run in (mapped, gradient)), strict=True
    ):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("form", FORMS)
def test_a_gradient_ends_at_a_start_even_if_the_next_sequence_is_not_finite(form):
    decay, drive, _, initial = problem(12)
    start = jnp.zeros((12, BATCH), bool).at[6].set(True)
    bad = tuple(part.at[6:].set(jnp.nan) for part in decay)

    def loss(drive, decay):
        return jnp.sum(linear_scan(decay, drive, start, initial, form)[0][:6])

    gradient = jax.jit(jax.grad(loss))
    np.testing.assert_allclose(gradient(drive, bad)[0][:6], gradient(drive, decay)[0][:6], rtol=1e-6)


def test_an_unknown_form_is_an_error():
    x = jnp.ones((2, 1, 1))
    with pytest.raises(ValueError, match="expected one of: auto, sequential, associative, chunked, fused"):
        linear_scan(x, x, jnp.zeros((2, 1), bool), x[0], form="pallas")


@pytest.mark.parametrize("length", [3, 5, 12, 40])
def test_a_checkpointed_scan_equals_one_segment_and_so_does_its_gradient(length):
    decay, drive, start, initial = problem(12)

    def body(h, inputs):
        # A padding step has zero inputs and must keep the carry, so the input is the decay minus 1.
        (less_one, imaginary), *rest = inputs
        hidden = linear_scan((less_one + 1, imaginary), *rest, h)
        return jax.tree.map(lambda part: part[-1], hidden), hidden[0]

    def summed(drive, chunked):
        inputs = (decay[0] - 1, decay[1]), drive, start
        h, y = checkpointed_scan(body, initial, inputs, length) if chunked else body(initial, inputs)
        return jnp.sum(jnp.sin(y)) + jnp.sum(h[1]), (h, y)

    (_, found), gradient = jax.jit(jax.value_and_grad(summed, has_aux=True), static_argnums=1)(drive, True)
    (_, expected), expected_gradient = jax.jit(jax.value_and_grad(summed, has_aux=True), static_argnums=1)(drive, False)
    for one, other in zip(
        jax.tree.leaves((found, gradient)), jax.tree.leaves((expected, expected_gradient)), strict=True
    ):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(start=st.lists(st.booleans(), min_size=6, max_size=6), bad=st.integers(0, 5), before=st.integers(0, 9))
def test_segments_and_counts_equal_a_loop(start, bad, before):
    flags = np.array(start)
    sees, count = np.zeros((6, 6), bool), before
    for i in range(6):
        since = max([j for j in range(i + 1) if flags[j]], default=0)
        sees[i, since : i + 1] = True
        count = 1 if flags[i] else count + 1
        steps = resets.steps_since_start(flags[:, None], jnp.full(1, before))
        assert steps[i, 0] == count
    np.testing.assert_array_equal(resets.segment_ids(jnp.asarray(flags[:, None]))[:, 0], np.cumsum(flags))
    values = jnp.ones((6, 1, 2)).at[bad, 0, 1].set(jnp.inf)
    (clean, other), where = resets.zero_non_finite(values, jnp.ones((6, 1)))
    assert bool(where[bad, 0]) and where.sum() == 1 and jnp.all(jnp.isfinite(clean)) and other[bad, 0] == 0
    np.testing.assert_array_equal(resets.sees_non_finite(jnp.asarray(sees[None]), where)[:, 0], sees[:, bad])


def test_lru_impulse_response():
    """y at distance n after an impulse u is Re(C λⁿ exp(g) B u), computed here in double precision."""
    width = 8
    lru = LRU(width=width, states=5)
    impulse = jnp.zeros((7, 1, width)).at[2].set(jnp.arange(width, dtype=jnp.float32)[None])
    start = jnp.zeros((7, 1), bool)
    params = jax.jit(lru.init)(jax.random.key(0), lru.initial(1), impulse, start)
    _, y = jax.jit(lru.apply)(params, lru.initial(1), impulse, start)
    p = {name: np.asarray(value, np.float64) for name, value in params["params"].items()}
    decay = np.exp(-np.exp(p["nu"]) + 1j * np.exp(p["theta"]))
    matrix_b, matrix_c = p["B_real"] + 1j * p["B_imaginary"], p["C_real"] + 1j * p["C_imaginary"]
    u = np.arange(width)
    for t in range(7):
        n = t - 2
        response = np.real((decay**n * np.exp(p["g"]) * (u @ matrix_b)) @ matrix_c) if n >= 0 else np.zeros(width)
        np.testing.assert_allclose(y[t, 0], response + p["D"] * u * (n == 0), rtol=1e-4, atol=1e-5)


@functools.cache
def small_lru():
    lru = LRU(width=4)
    arguments = lru.initial(1), jnp.zeros((2, 1, 4)), jnp.zeros((2, 1), bool)
    return lru, jax.jit(lru.init)(jax.random.key(0), *arguments), jax.jit(lru.apply)


@settings(max_examples=20, deadline=None)
@given(scale=st.floats(-60, 60))
def test_lru_cannot_become_unstable(scale):
    lru, params, apply = small_lru()
    params = jax.tree.map(lambda p: p + scale, params)
    carry = jax.tree.map(jnp.ones_like, lru.initial(1))
    (real, imaginary), _ = apply(params, carry, jnp.zeros((2, 1, 4)), jnp.zeros((2, 1), bool))
    assert jnp.all(jnp.hypot(real, imaginary) <= np.sqrt(2))


def test_lru_radii_are_initialised_in_their_range():
    lru = LRU(width=8, states=500, minimum_radius=0.9, maximum_radius=0.99)
    x = jnp.zeros((1, 1, 8))
    params = jax.jit(lru.init)(jax.random.key(0), lru.initial(1), x, jnp.zeros((1, 1), bool))["params"]
    radius = np.exp(-np.exp(params["nu"]))
    assert radius.min() >= 0.9 - 1e-5
    assert radius.max() <= 0.99 + 1e-5
    assert radius.max() - radius.min() > 0.08
    np.testing.assert_allclose(np.exp(params["g"]), np.sqrt(1 - radius**2), rtol=1e-3)
