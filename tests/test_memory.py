"""The Memory contract, over every layer in the folder: parallel equals stepwise, starts isolate, causality.

A new file is covered without a change here. The cost is compilation: a layer is compiled once per length and form, and
most tests share the programs.
"""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jax.sharding import PartitionSpec as P

from podarcade import plugins
from podarcade.anakin import sharding

MEMORIES = plugins.names("memory")
# A CPU interprets the fused form, slowly: tests/test_scan.py and tests/test_fused.py test the scan alone.
FORMS = [
    (name, form) for name in MEMORIES for form in plugins.find("memory", name).FORMS or ("only",) if form != "fused"
]
LENGTHS = [1, 2, 3, 7, 64, 127, 128, 129, 132, 1024]
BATCH, WIDTH, SHORT = 3, 8, 7
# Probability of a start by environment: the last one never starts again.
RARELY, OFTEN = np.array([0.03, 0.01, 0.0]), np.array([0.3, 0.15, 0.0])


@pytest.fixture(autouse=True)
def allow_rank_promotion():
    """A layer may write `u * h`; the package's own layers are tested without it in the other files."""
    with jax.numpy_rank_promotion("allow"):
        yield


def make(name, form="auto"):
    """A small layer; a window of 5 is shorter than the SHORT segments."""
    memory = plugins.find("memory", name)
    options = {memory.SIZE: 4} if memory.SIZE else {}
    if hasattr(memory, "window"):
        options["window"] = 5
    if memory.FORMS:
        options["form"] = form
    return memory(width=WIDTH, **options)


@functools.cache
def parameters(name):
    """Parameters, perturbed: at initialisation biases are zero and skips are one."""
    memory = make(name)
    x, start = inputs(2)
    params = jax.jit(memory.init)(jax.random.key(1), memory.initial(BATCH), x, start)
    return jax.tree.map(lambda p: p + 0.05 * jnp.cos(jnp.arange(p.size, dtype=p.dtype)).reshape(p.shape), params)


@functools.cache
def compiled(name, form):
    return jax.jit(functools.partial(make(name, form).apply, parameters(name)))


def inputs(length, starts=OFTEN, seed=0):
    """The first steps of one long stream."""
    x = jax.random.normal(jax.random.key(seed), (1024, BATCH, WIDTH))
    start = jax.random.uniform(jax.random.key(seed + 1), (1024, BATCH)) < starts[None]
    return x[:length], start[:length]


@functools.cache
def some_carry(name):
    """The carry after 11 steps, so that dropping it has a visible effect."""
    x, start = inputs(11, np.zeros(BATCH), seed=5)
    return in_pieces(compiled(name, "auto"), make(name).initial(BATCH), x, start, [1] * 11)[0]


def in_pieces(run, carry, x, start, lengths):
    """Run segments of the given lengths one after another."""
    ys, low = [], 0
    for length in lengths:
        carry, y = run(carry, x[low : low + length], start[low : low + length])
        ys.append(y)
        low += length
    return carry, jnp.concatenate(ys)


@functools.cache
def stepwise(name):
    """y of 1024 single steps, and the carry after each of them."""
    run, carry = compiled(name, "auto"), some_carry(name)
    x, start = inputs(1024, RARELY)
    ys, carries = [], []
    for t in range(1024):
        carry, y = run(carry, x[t : t + 1], start[t : t + 1])
        ys.append(y)
        carries.append(carry)
    return jnp.concatenate(ys), carries


def assert_close(a, b, tolerance=2e-5):
    for one, other in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_allclose(one, other, rtol=tolerance, atol=tolerance)


def assert_stepwise(name, form, length):
    x, start = inputs(length, RARELY)
    carry, y = compiled(name, form)(some_carry(name), x, start)
    ys, carries = stepwise(name)
    assert_close((carry, y), (carries[length - 1], ys[:length]), tolerance=2e-5 if length < 1000 else 1e-4)


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("name", MEMORIES)
def test_any_length_is_stepwise(name, length):
    assert_stepwise(name, "auto", length)


@pytest.mark.parametrize("length", [SHORT, 33])
@pytest.mark.parametrize(("name", "form"), FORMS)
def test_every_form_is_stepwise(name, form, length):
    assert_stepwise(name, form, length)


@pytest.mark.parametrize("name", MEMORIES)
@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pieces=st.permutations([1, 1, 1, 2, 3, 7, 7, 64, 127]), seed=st.integers(0, 50))
def test_any_chunking_is_the_whole(name, pieces, seed):
    run, carry = compiled(name, "auto"), some_carry(name)
    x, start = inputs(132, RARELY, seed)
    kept = list(itertools.takewhile(lambda total: total <= 132, itertools.accumulate(pieces)))
    pieces = pieces[: len(kept)]
    rest = 132 - sum(pieces)
    assert_close(run(carry, x, start), in_pieces(run, carry, x, start, [*pieces, *[1] * rest]), 5e-5)


@pytest.mark.parametrize("name", MEMORIES)
@pytest.mark.parametrize("at", [[0], [1], [6], [2, 3], [0, 1, 2, 3, 4, 5, 6]])
def test_a_start_equals_a_fresh_sequence(name, at):
    memory, run = make(name), compiled(name, "auto")
    x, _ = inputs(SHORT)
    start = jnp.zeros((SHORT, BATCH), bool).at[jnp.array(at)].set(True)
    carry, y = run(some_carry(name), x, start)
    no_start = jnp.zeros((SHORT, BATCH), bool)
    edges = [*at, SHORT]
    for low, high in itertools.pairwise(edges):
        fresh = in_pieces(run, memory.initial(BATCH), x[low:high], no_start, [1] * (high - low))
        assert_close(y[low:high], fresh[1])
    assert_close(carry, fresh[0])


@pytest.mark.parametrize("name", MEMORIES)
@pytest.mark.parametrize("at", [0, 25, 26, 43, 86, 128])  # borders of windows of 5, chunks of 26, segments of 43
def test_a_start_at_the_border_of_a_chunk(name, at):
    x, _ = inputs(129)
    no_start = jnp.zeros((129, BATCH), bool)
    run = compiled(name, "auto")
    carry, y = run(some_carry(name), x, no_start.at[at].set(True))
    without_start = run(some_carry(name), x, no_start)[1]
    expected = in_pieces(run, make(name).initial(BATCH), x[at:], no_start, [1] * (129 - at))
    assert_close((carry, y[at:]), expected, 5e-5)
    assert_close(y[:at], without_start[:at], 5e-5)


@functools.cache
def gradients(name, form):
    """(x, carry, start, weights) -> gradients of a loss by parameters, x and carry, and its arguments (carry, y)."""
    memory = make(name, "auto" if form == "steps" else form)

    def loss(params, x, carry, start, weights):
        if form == "steps":

            def step(carry, inputs):
                carry, y = memory.apply(params, carry, inputs[0][None], inputs[1][None])
                return carry, y[0]

            carry, y = jax.lax.scan(step, carry, (x, start))
        else:
            carry, y = memory.apply(params, carry, x, start)
        # A select instead of a product: the steps left out may be NaN.
        selected = jnp.where(weights[:, None, None] > 0, jnp.sin(y), 0.0)
        return jnp.sum(selected) + sum(jnp.sum(jnp.cos(leaf)) for leaf in jax.tree.leaves(carry)), (carry, y)

    run = jax.jit(jax.grad(loss, argnums=(0, 1, 2), has_aux=True))
    return functools.partial(run, parameters(name))


@pytest.mark.parametrize(("name", "form"), FORMS)
def test_gradients_are_those_of_steps(name, form):
    x, start = inputs(SHORT)
    carry, weights = some_carry(name), jnp.ones(SHORT)
    found, _ = gradients(name, form)(x, carry, start, weights)
    expected, _ = gradients(name, "steps")(x, carry, start, weights)
    assert_close(found, expected, tolerance=2e-4)
    largest = max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(found[0]) or [jnp.ones(())])
    assert largest > 1e-3, "the gradient is zero"


@pytest.mark.parametrize(("name", "form"), FORMS)
@pytest.mark.parametrize("scale", [0.0, 1e4])
def test_gradients_are_finite_at_the_extremes(name, form, scale):
    """Gates at 0 and 1, keys of norm 0."""
    x, start = inputs(SHORT)
    x = scale * jnp.sign(x)
    found, (_, y) = gradients(name, form)(x, some_carry(name), start, jnp.ones(SHORT))
    for leaf in jax.tree.leaves((found, y)):
        assert jnp.all(jnp.isfinite(leaf))


@pytest.mark.parametrize(("name", "form"), FORMS)
@pytest.mark.parametrize("poison", [np.nan, np.inf])
def test_non_finite_numbers_before_a_start_do_not_pass_it(name, form, poison):
    x, _ = inputs(SHORT)
    start = jnp.zeros((SHORT, BATCH), bool).at[4].set(True)
    carry = some_carry(name)
    bad_carry = jax.tree.map(lambda part: jnp.full_like(part, poison), carry)
    after, run = jnp.arange(SHORT) >= 4, gradients(name, form)
    (_, found, _), (new_carry, y) = run(x.at[:4].set(poison), bad_carry, start, after.astype(jnp.float32))
    (_, expected, _), (expected_carry, expected_y) = run(x, carry, start, after.astype(jnp.float32))
    assert_close((new_carry, y[4:], found[4:]), (expected_carry, expected_y[4:], expected[4:]))
    assert jnp.all(jnp.isfinite(y[4:]))


@pytest.mark.parametrize(("name", "form"), FORMS)
def test_non_finite_numbers_stay_visible_within_their_episode(name, form):
    """Without a start in between NaN must not disappear: a broken run has to be noticed."""
    x, _ = inputs(SHORT)
    start = jnp.zeros((SHORT, BATCH), bool).at[4].set(True)
    _, y = compiled(name, form)(some_carry(name), x.at[2, 1, 0].set(jnp.nan), start)
    assert jnp.any(jnp.isnan(y[2, 1]))
    assert jnp.all(jnp.isfinite(y[:, 0])) and jnp.all(jnp.isfinite(y[:2])) and jnp.all(jnp.isfinite(y[4:]))


@pytest.mark.parametrize(("name", "form"), FORMS)
def test_causality(name, form):
    x, _ = inputs(SHORT)
    start = jnp.zeros((SHORT, BATCH), bool).at[2].set(True)
    run, carry = compiled(name, form), some_carry(name)
    _, y = run(carry, x, start)
    influence = np.zeros((SHORT, SHORT), bool)  # [t of y, u of x]
    for u in range(SHORT):
        influence[:, u] = np.any(np.asarray(run(carry, x.at[u].add(1.0), start)[1]) != np.asarray(y), axis=(1, 2))
    expected = np.tril(np.ones((SHORT, SHORT), bool))
    expected[2:, :2] = False
    window = {"none": 1, "stack": 4}.get(name, getattr(make(name), "window", SHORT))
    expected &= np.triu(np.ones((SHORT, SHORT), bool), 1 - window)
    np.testing.assert_array_equal(influence, expected)


@pytest.mark.parametrize("name", MEMORIES)
def test_the_carry_stays_float32_under_bfloat16_features(name):
    x, start = inputs(SHORT)
    x = x.astype(jnp.bfloat16)
    run = compiled(name, "auto")
    carry, y = run(make(name).initial(BATCH), x, start)
    assert y.dtype == jnp.bfloat16 and y.shape == x.shape
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(carry))
    exact = run(make(name).initial(BATCH), x.astype(jnp.float32), start)[1]
    assert float(jnp.abs(y.astype(jnp.float32) - exact).max()) < 0.05 * float(jnp.abs(exact).max())


@pytest.mark.parametrize(("name", "form"), FORMS)
def test_environments_do_not_mix(name, form):
    run, carry = compiled(name, form), some_carry(name)
    x, start = inputs(SHORT)
    _, y = run(carry, x, start)
    _, other = run(carry, x.at[:, 1].set(7.0), start.at[:, 1].set(True))
    np.testing.assert_array_equal(y[:, 0], other[:, 0])
    np.testing.assert_array_equal(y[:, 2], other[:, 2])


@pytest.mark.parametrize("name", MEMORIES)
def test_it_trains_over_seeds_and_a_mesh(name):
    """With seeds mapped and environments sharded, every seed and every shard computes what it computes alone."""
    memory = make(name)
    mesh = sharding.make_mesh(1, 3)
    x, start = inputs(SHORT)
    carry = some_carry(name)

    def alone(params, carry, x, start):
        def loss(params):
            new_carry, y = memory.apply(params, carry, x, start)
            return jnp.sum(jnp.sin(y)), (new_carry, y)

        gradient, (new_carry, y) = jax.grad(loss, has_aux=True)(params)
        return gradient, new_carry, y

    def shard(params, *inputs):
        gradient, new_carry, y = alone(sharding.vary(params), *inputs)
        return sharding.total(gradient), new_carry, y

    specs = (P(), P("data"), P(None, "data"), P(None, "data"))
    both = jax.shard_map(
        jax.vmap(shard, in_axes=(0, None, None, None)), mesh=mesh, in_specs=specs,
        out_specs=(P(), P(None, "data"), P(None, None, "data")),
    )  # fmt: skip
    params = jax.tree.map(lambda p: jnp.stack([p, 0.9 * p]), parameters(name))
    found = jax.jit(both)(params, carry, x, start)
    expected = jax.jit(jax.vmap(alone, in_axes=(0, None, None, None)))(params, carry, x, start)
    assert_close(found, expected, 5e-5)
    y = found[2]
    assert name == "none" or float(jnp.abs(y[1] - y[0]).max()) > 1e-3, "both seeds gave the same"


@pytest.mark.parametrize("name", [name for name in MEMORIES if plugins.find("memory", name).FORMS])
def test_an_unknown_form_is_an_error(name):
    x, start = inputs(2)
    with pytest.raises(ValueError, match="form='pallas'; expected one of: auto, "):
        jax.eval_shape(make(name, "pallas").apply, parameters(name), some_carry(name), x, start)
