"""Linear attention and the delta rule against a loop in double precision; five layers against their equations."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from podarcade import plugins
from podarcade.models.memory import linear_attention

BATCH, HEADS, KEYS, VALUES = 2, 2, 3, 5
LENGTH, WIDTH, HEAD = 37, 6, 4


@functools.cache
def compiled(form="chunked", chunk=64):
    return jax.jit(functools.partial(linear_attention.linear_attention, form=form, chunk=chunk))


def unit(x):
    return x / np.sqrt(np.sum(x**2, -1, keepdims=True) + 1e-6)


def some_steps(length, seed=0, starts=0.2, batch=BATCH):
    """query, key, value, start, initial; keys have unit norm, and every third repeats its predecessor."""
    draw = np.random.default_rng(seed)
    query, key = draw.normal(size=(2, length, batch, HEADS, KEYS))
    key = unit(key)
    key[2::3] = key[1 : length - 1 : 3]
    value = draw.normal(size=(length, batch, HEADS, VALUES))
    start = draw.random((length, batch)) < starts
    return query, key, value, start, draw.normal(size=(batch, HEADS, KEYS, VALUES))


def loop(query, key, value, start, initial, log_decay=None, beta=None):
    """The recurrence by definition, with the transition as a matrix, one head at a time."""
    length, batch, heads, _ = key.shape
    state, y = np.array(initial, np.float64), np.zeros(value.shape)
    for t, b, h in np.ndindex(length, batch, heads):
        k, v, q = (part[t, b, h].astype(np.float64) for part in (key, value, query))
        transition, write = np.eye(len(k)), 1.0
        if beta is not None:
            write = beta[t, b, h]
            transition = np.eye(len(k)) - write * np.outer(k, k)
        if log_decay is not None:
            transition = np.exp(log_decay[t, b, h]) * transition
        before = np.zeros_like(state[b, h]) if start[t, b] else state[b, h]
        state[b, h] = transition @ before + write * np.outer(k, v)
        y[t, b, h] = state[b, h].T @ q
    return state, y


def assert_close(found, expected, tolerance=1e-5):
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(one, other, rtol=tolerance, atol=tolerance)


def single(*parts):
    """[T, d] -> [T, 1, 1, d] in float32."""
    return tuple(np.asarray(part, np.float32).reshape(len(part), 1, 1, *np.shape(part)[1:]) for part in parts)


def plain(function, query, key, value, **gates):
    """One head, no start, zero initial state."""
    query, key, value = single(query, key, value)
    gates = {name: single(gate)[0] for name, gate in gates.items()}
    initial = np.zeros((1, 1, key.shape[-1], value.shape[-1]), np.float32)
    state, y = function(query, key, value, np.zeros((len(key), 1), bool), initial, **gates)
    return state[0, 0], y[:, 0, 0]


# ---- the primitive ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("chunk", [1, 4])
@settings(max_examples=12, deadline=None)
@given(
    st.integers(0, 999),
    st.sampled_from([(False, False), (True, True), (False, True)]),
    st.sampled_from([0.0, 0.2, 1.0]),
    st.sampled_from([0.0, -0.1, -5.0, -50.0, -1e30, -np.inf]),
)
def test_chunks_are_the_loop(chunk, seed, gates, starts, strongest):
    steps = some_steps(13, seed, starts)
    draw = np.random.default_rng(seed)
    shape = steps[1].shape[:3]
    given_gates = {}
    if gates[0]:
        given_gates["log_decay"] = np.where(draw.random(shape) < 0.3, strongest, -0.2 * draw.random(shape))
    if gates[1]:
        given_gates["beta"] = draw.choice([0.0, 1.0, 2.0, 0.7], shape)
    floats = jax.tree.map(lambda part: part if part.dtype == bool else part.astype(np.float32), (steps, given_gates))
    assert_close(compiled("chunked", chunk)(*floats[0], **floats[1]), loop(*steps, **given_gates))


@pytest.mark.parametrize("gates", ["log_decay", "beta"])
def test_every_form_is_the_loop(gates):
    steps = some_steps(7)
    given_gates = {gates: np.full(steps[1].shape[:3], -0.3 if gates == "log_decay" else 1.5)}
    for form in linear_attention.FORMS:
        assert_close(compiled(form)(*steps, **given_gates), loop(*steps, **given_gates))
    first = tuple(part[:1] for part in steps[:4])
    gates = {name: gate[:1] for name, gate in given_gates.items()}
    assert_close(compiled("chunked")(*first, steps[4], **gates), loop(*first, steps[4], **gates))


def test_chunks_are_the_product_of_dense_affine_maps():
    """Steps combine as (M, X) ∘ (M', X') = (M' M, M' X + X'): here all 13, in the order of a tree."""
    query, key, value, start, initial = some_steps(13, starts=0.0)
    beta, log_decay = np.random.default_rng(3).random((2, *key.shape[:3]))
    final, _ = compiled("chunked", 4)(query, key, value, start, initial, log_decay=-log_decay, beta=beta)

    def tree(low, high, b, h):
        if high - low == 1:
            k, write = key[low, b, h], beta[low, b, h]
            transition = np.exp(-log_decay[low, b, h]) * (np.eye(KEYS) - write * np.outer(k, k))
            return transition, write * np.outer(k, value[low, b, h])
        middle = (low + high) // 2
        (m, x), (m_right, x_right) = tree(low, middle, b, h), tree(middle, high, b, h)
        return m_right @ m, m_right @ x + x_right

    for b, h in np.ndindex(BATCH, HEADS):
        m, x = tree(0, 13, b, h)
        np.testing.assert_allclose(final[b, h], m @ initial[b, h] + x, rtol=1e-5, atol=1e-5)


def test_small_decays_keep_their_digits_after_large_ones():
    """A running sum would reach 1500, from which the last decays of 0.01 each would have to be recovered."""
    length = 64
    log_decay = np.where(np.arange(length) < 30, -50.0, -0.01)
    ones = np.ones((length, 1))
    state, y = plain(compiled(), ones, ones, ones, log_decay=log_decay)
    expected = np.concatenate([np.ones(30), (1 - 0.990049833749168 ** np.arange(2, 36)) / (1 - 0.990049833749168)])
    np.testing.assert_allclose(y[:, 0], expected, rtol=2e-6)
    np.testing.assert_allclose(state[0, 0], expected[-1], rtol=2e-6)


@pytest.mark.parametrize("form", linear_attention.FORMS)
def test_a_full_decay_equals_a_start_and_has_a_gradient(form):
    query, key, value, start, initial = some_steps(13, starts=0.0)
    log_decay, beta = (np.full(key.shape[:3], number) for number in (-0.1, 0.5))
    at = (np.arange(13) == 6)[:, None]

    @jax.jit
    def gradient(floats, start):
        def loss(floats):
            query, key, value, initial, log_decay, beta = floats
            final, y = linear_attention.linear_attention(
                query, key, value, start, initial, log_decay=log_decay, beta=beta, form=form
            )
            return jnp.sum(jnp.sin(y[6:])) + jnp.sum(jnp.cos(final)), (final, y)

        return jax.grad(loss, has_aux=True)(floats)

    floats = tuple(part.astype(np.float32) for part in (query, key, value, initial, log_decay, beta))
    _, expected = gradient(floats, start | at)
    for strongest in (-1e30, -np.inf):
        shut = np.where(at[..., None], np.float32(strongest), floats[4])
        found_gradient, found = gradient((*floats[:4], shut, floats[5]), start)
        assert_close(found, expected, 1e-6)
        assert all(np.all(np.isfinite(leaf)) for leaf in found_gradient)
        assert np.abs(found_gradient[3]).max() < 1e-20, "steps before a full decay have no influence"


def test_non_finite_numbers_are_visible_until_the_next_start():
    steps = list(some_steps(13, starts=0.0))
    steps[3][8] = True
    for form in linear_attention.FORMS:
        run = compiled(form, 4)
        _, clean = run(*steps)
        for which, alone in ((0, True), (1, False), (2, False)):
            poisoned = [part.copy() for part in steps]
            poisoned[which][3, 0, 1, 2] = np.nan
            final, y = run(*poisoned)
            spoilt = ~np.all(np.isfinite(y), axis=(2, 3))
            expected = np.zeros((13, BATCH), bool)
            expected[3 if alone else slice(3, 8), 0] = True
            np.testing.assert_array_equal(spoilt, expected)
            np.testing.assert_array_equal(np.asarray(y)[~spoilt], np.asarray(clean)[~spoilt])
            assert np.all(np.isfinite(final))
        steps_without_start = [*steps[:3], np.zeros_like(steps[3]), np.full_like(steps[4], np.inf)]
        assert not np.any(np.isfinite(run(*steps_without_start)[0])), "a non-finite carry stays until the end"


def test_bad_options_are_errors():
    steps = some_steps(3)
    with pytest.raises(ValueError, match="form='neumann'; expected one of: auto, sequential, chunked"):
        linear_attention.linear_attention(*steps, form="neumann")
    with pytest.raises(ValueError, match="chunk=-1; expected a number of steps >= 1"):
        linear_attention.linear_attention(*steps, chunk=-1)


@pytest.mark.parametrize("form", linear_attention.FORMS)
def test_the_delta_rule_replaces_the_stored_value(form):
    key = np.array([[0.6, 0.8, 0.0]] * 2)
    value = np.array([[1.0, -2, 3, 4, 5], [9, 8, 7, -6, 0.5]])
    state, y = plain(compiled(form), key, key, value, beta=np.ones(2))
    np.testing.assert_allclose(y, value, rtol=1e-6)
    np.testing.assert_allclose(state.T @ key[0], value[1], rtol=1e-6)


def test_the_delta_rule_recalls_as_many_pairs_as_a_key_has_numbers():
    keys = np.linalg.qr(np.random.default_rng(0).normal(size=(8, 8)))[0]
    values = np.random.default_rng(1).normal(size=(8, 5))
    state, _ = plain(compiled("chunked", 3), keys, keys, values, beta=np.ones(8))
    np.testing.assert_allclose(keys @ state, values, atol=1e-6)


def test_a_repeated_key_stays_exact():
    """1024 times in one chunk, where an inverse as a product of powers loses all digits."""
    key = np.tile(np.eye(3)[:1], (1024, 1))
    value = np.random.default_rng(0).normal(size=(1024, 2)).astype(np.float32)
    for chunk, tolerance in ((1024, 1e-4), (64, 5e-6)):
        state, y = plain(compiled("chunked", chunk), key, key, value, beta=np.ones(1024))
        np.testing.assert_allclose(y, value, atol=tolerance)
        np.testing.assert_allclose(state[0], value[-1], atol=tolerance)


def test_with_beta_zero_the_state_only_decays():
    query, key, value, _, initial = some_steps(9)
    nothing = np.zeros(key.shape[:3])
    final, _ = compiled()(query, key, value, np.zeros((9, BATCH), bool), initial, log_decay=nothing - 0.1, beta=nothing)
    np.testing.assert_allclose(final, np.exp(-0.9) * initial, rtol=1e-5)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 999))
def test_beta_up_to_two_never_grows_the_state(seed):
    query, key, value, _, initial = some_steps(64, seed)
    beta = 2.0 * np.random.default_rng(seed).random(key.shape[:3])
    final, _ = compiled()(query, key, 0.0 * value, np.zeros((64, BATCH), bool), initial, beta=beta)
    assert np.all(np.linalg.norm(final, axis=(2, 3)) <= 1.00001 * np.linalg.norm(initial, axis=(2, 3)))


# ---- the layers ------------------------------------------------------------------------------------------------------


def make(name, **options):
    return plugins.find("memory", name)(width=WIDTH, heads=HEADS, head_dim=HEAD, **options)


def stream(seed=0):
    draw = np.random.default_rng(seed)
    x = draw.normal(size=(LENGTH, BATCH, WIDTH)).astype(np.float32)
    return x, draw.random((LENGTH, BATCH)) < 0.1


@functools.cache
def prepared(name, options=()):
    """A layer, its perturbed parameters, and its compiled function of parameters."""
    memory = make(name, **dict(options))
    x, start = stream()
    params = jax.jit(memory.init)(jax.random.key(0), memory.initial(BATCH), x[:1], start[:1])["params"]
    params = jax.tree.map(lambda p: p + 0.3 * np.sin(np.arange(p.size, dtype=p.dtype)).reshape(p.shape), params)
    return memory, params, jax.jit(lambda params, *inputs: memory.apply({"params": params}, *inputs))


def some_carry(memory):
    draw = np.random.default_rng(9)
    return jax.tree.map(lambda part: draw.normal(size=part.shape).astype(np.float32), memory.initial(BATCH))


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def silu(x):
    return x * sigmoid(x)


def gelu(x):
    return x / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def softplus(x):
    return np.logaddexp(0, x)


class Parameters:
    """A layer's parameters in double precision, applied to x."""

    def __init__(self, params, x):
        self.params = jax.tree.map(lambda p: np.asarray(p, np.float64), dict(params))
        self.x = np.asarray(x, np.float64)

    def __getitem__(self, name):
        return self.params[name]

    def dense(self, name, x=None):
        x = self.x if x is None else x
        return x @ self.params[name]["kernel"] + self.params[name].get("bias", 0.0)

    def heads(self, name):
        flat = self.dense(name)
        return flat.reshape(*flat.shape[:2], HEADS, -1)

    def out(self, y):
        return self.dense("out", y.reshape(*y.shape[:2], -1))

    def root_mean_square_norm(self, y):
        return y / np.sqrt(np.mean(y**2, -1, keepdims=True) + 1e-5) * self.params["norm"]["scale"]

    def layer_norm(self, y):
        y = y - y.mean(-1, keepdims=True)
        y = y / np.sqrt(np.mean(y**2, -1, keepdims=True) + 1e-6) * self.params["norm"]["scale"]
        return y + self.params["norm"].get("bias", 0.0)


def linear_transformer(p, carry, start):
    query, key = (np.where(u > 0, 1 + u, np.exp(u)) for u in (p.heads("query"), p.heads("key")))
    value = p.heads("value")
    state, read = loop(query, key, np.concatenate([value, np.ones_like(value[..., :1])], -1), start, carry)
    return state, p.out(read[..., :-1] / (1e-6 + read[..., -1:]))


def delta_net(p, carry, start, scale=1.0):
    query, key = unit(silu(p.heads("query"))), unit(silu(p.heads("key")))
    state, y = loop(query, key, p.heads("value"), start, carry, beta=scale * sigmoid(p.dense("rate")))
    return state, p.out(p.root_mean_square_norm(y))


def gated_deltanet(p, carry, start, scale=1.0):
    state, *past = carry
    mixed = p.dense("query_key_value")
    if past:
        padded = np.concatenate([np.swapaxes(past[0], 0, 1), mixed])
        convolved = np.zeros_like(mixed)
        for t, b in np.ndindex(start.shape):
            since = np.flatnonzero(start[: t + 1, b])
            oldest = since[-1] if len(since) else -3
            for back in range(4):
                if t - back >= oldest:
                    convolved[t, b] += p["kernel"][3 - back] * padded[3 + t - back, b]
                    past_steps = padded
        tail = np.zeros_like(past[0], np.float64)
        for b, slot in np.ndindex(tail.shape[:2]):
            if not np.any(start[LENGTH - 3 + slot + 1 :, b]):
                tail[b, slot] = past_steps[LENGTH + slot, b]
        past, mixed = [tail], convolved
    mixed = silu(mixed).reshape(LENGTH, BATCH, HEADS, -1)
    query, key, value = mixed[..., :HEAD], mixed[..., HEAD : 2 * HEAD], mixed[..., 2 * HEAD :]
    log_decay = -np.exp(p["A_log"]) * softplus(p.dense("decay") + p["dt_bias"])
    beta = scale * sigmoid(p.dense("rate"))
    state, y = loop(unit(query) / np.sqrt(HEAD), unit(key), value, start, state, log_decay, beta)
    return (state, *past), p.out(p.root_mean_square_norm(y) * silu(p.heads("gate")))


def ttt_linear(p, carry, start):
    """Gradient descent on the inner model itself."""
    query, key, value = unit(p.heads("query")), unit(p.heads("key")), p.heads("value")
    first = np.concatenate([p["W"], p["c"][:, None]], axis=1)  # [H, d + 1, d]
    model, y = first[None] + carry, np.zeros(value.shape)
    beta = sigmoid(p.dense("rate"))
    for t, b, h in np.ndindex(value.shape[:3]):
        if start[t, b]:
            model[b, h] = first[h]
        extended = np.append(key[t, b, h], 1.0)
        error = extended @ model[b, h] - (value[t, b, h] - key[t, b, h])
        model[b, h] -= beta[t, b, h] * np.outer(extended, error)
        y[t, b, h] = query[t, b, h] + np.append(query[t, b, h], 1.0) @ model[b, h]
    return model - first[None], p.out(p.layer_norm(y) * gelu(p.heads("gate")))


def mlstm(p, carry, start):
    """Without a stabiliser: e²⁰⁰ is finite in double precision. The carry is compared as C and n themselves."""
    state = carry[0] * np.exp(carry[1].astype(np.float64))[..., None, None]
    value = p.heads("value")
    key = p.heads("key") * np.exp(p.dense("input"))[..., None] / np.sqrt(HEAD)
    value = np.concatenate([value, np.ones_like(value[..., :1])], -1)
    state, read = loop(p.heads("query"), key, value, start, state, log_decay=-softplus(-p.dense("forget")))
    hidden = read[..., :-1] / np.maximum(np.abs(read[..., -1:]), 1.0)
    return state, p.out(p.layer_norm(hidden) * sigmoid(p.heads("gate")))


def stabiliser(p, level, start):
    for t in range(LENGTH):
        level = np.where(start[t][:, None], 0.0, level)
        level = np.maximum(np.maximum(level - softplus(-p.dense("forget")[t]), p.dense("input")[t]), 0.0)
    return level


TWICE = (("negative_eigenvalues", True),)
CASES = [
    (linear_transformer, ()),
    (delta_net, ()),
    (functools.partial(delta_net, scale=2.0), TWICE),
    (gated_deltanet, ()),
    (functools.partial(gated_deltanet, scale=2.0), (*TWICE, ("expand_value", 1.5), ("convolution", 0))),
    (ttt_linear, ()),
    (mlstm, ()),
]


@pytest.mark.parametrize(("equations", "options"), CASES)
def test_a_layer_is_its_equations(equations, options):
    name = getattr(equations, "func", equations).__name__
    memory, params, run = prepared(name, options)
    x, start = stream()
    carry = some_carry(memory)
    found_carry, found = run(params, carry, x, start)
    expected_carry, expected = equations(Parameters(params, x), jax.tree.map(np.copy, carry), start)
    if name == "mlstm":
        np.testing.assert_allclose(found_carry[1], stabiliser(Parameters(params, x), carry[1], start), rtol=1e-5)
        found_carry = found_carry[0] * np.exp(found_carry[1])[..., None, None]
    assert_close(found, expected, 2e-5)
    assert_close(found_carry, expected_carry, 5e-5)
    assert np.abs(expected[0]).max() > 0.01, "the expected values are zero"


def replaced(params, **changes):
    """Parameters with some arrays replaced, as layer__array=number or array."""
    params = jax.tree.map(np.asarray, params)
    for name, value in changes.items():
        layer, array = name.split("__")
        params[layer][array] = np.broadcast_to(np.float32(value), params[layer][array].shape)
    return params


def test_linear_attention_with_one_key_is_the_running_mean():
    memory, params, run = prepared("linear_transformer")
    x, _ = stream()
    start = np.zeros((LENGTH, BATCH), bool)
    start[10] = True
    _, y = run(replaced(params, key__kernel=0.0), some_carry(memory), x, start)
    p = Parameters(params, x)
    mean = np.cumsum(p.heads("value")[10:], axis=0) / np.arange(1, LENGTH - 9)[:, None, None, None]
    np.testing.assert_allclose(y[10:], p.out(mean), rtol=2e-5, atol=2e-5)


def test_the_inner_model_recalls_the_last_pair():
    """With η|k'|² = 1 one gradient step fits the pair: the read is k + (v - k)."""
    memory, params, run = prepared("ttt_linear")
    x, start = stream()
    params = replaced(params, rate__kernel=0.0, rate__bias=0.0, query__kernel=params["key"]["kernel"])
    _, y = run(params, some_carry(memory), x, start)
    p = Parameters(params, x)
    expected = p.out(p.layer_norm(p.heads("value")) * gelu(p.heads("gate")))
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-4)


def test_the_inner_model_cannot_diverge():
    _, params, run = prepared("ttt_linear")
    x, _ = stream()
    params = replaced(params, rate__bias=50.0)
    carry = prepared("ttt_linear")[0].initial(BATCH)
    for _ in range(20):
        carry, y = run(params, carry, x, np.zeros((LENGTH, BATCH), bool))
    assert np.abs(carry).max() < 100
    assert np.all(np.isfinite(y))


def test_mlstm_is_invariant_to_a_shift_of_all_input_gates():
    """Where |n q| is above the bound of 1, which holds here except for a few steps."""
    memory, params, run = prepared("mlstm")
    x, _ = stream()
    start = np.arange(LENGTH)[:, None] == np.array([[0, 0]])
    low, high = (run(replaced(params, input__bias=bias), memory.initial(BATCH), x, start)[1] for bias in (20.0, 300.0))
    np.testing.assert_allclose(low, high, rtol=2e-3, atol=2e-3)
    unbounded = run(replaced(params, input__bias=-3.0), memory.initial(BATCH), x, start)[1]
    assert np.abs(unbounded - high).max() > 0.1, "there the bound of 1 is above |n q|"


@pytest.mark.parametrize("forget", [-80.0, 0.0, 80.0])
@pytest.mark.parametrize("gate", [-200.0, -20.0, 20.0, 200.0])
def test_mlstm_gates_may_be_anything(forget, gate):
    """Equal to the equations without a stabiliser, in double precision."""
    memory, params, run = prepared("mlstm")
    x, start = stream()
    start[0] = True
    params = replaced(params, forget__bias=forget, input__bias=gate)
    (state, level), y = run(params, memory.initial(BATCH), x, start)
    _, expected = mlstm(Parameters(params, x), jax.tree.map(np.asarray, memory.initial(BATCH)), start)
    np.testing.assert_allclose(y, expected, rtol=1e-3, atol=1e-3)
    assert np.all(np.isfinite(state)) and np.all(level >= 0)


def test_mlstm_reads_zero_with_a_zero_query():
    """Where e⁻ᵐ underflows in float32."""
    memory, params, run = prepared("mlstm")
    params = replaced(params, query__kernel=0.0, input__bias=200.0)
    _, y = run(params, memory.initial(BATCH), *stream())
    np.testing.assert_allclose(y, np.broadcast_to(params["out"]["bias"], y.shape), atol=1e-6)


def test_the_stop_gradient_of_mlstm_loses_no_gradient():
    """The gradient of y equals that of the recurrence without a stabiliser, also through the gates and the carry."""
    memory, params, run = prepared("mlstm")
    x, start = stream()
    carry = (some_carry(memory)[0], jnp.full((BATCH, HEADS), 1.5))
    weights = np.random.default_rng(2).normal(size=x.shape).astype(np.float32)

    def loss(params, carry, x):
        return jnp.sum(weights * run(params, carry, x, start)[1])

    def plainly(params, carry, x):
        def heads(name):
            return (x @ params[name]["kernel"]).reshape(LENGTH, BATCH, HEADS, HEAD)

        forget, gate = (x @ params[name]["kernel"] + params[name]["bias"][None, None] for name in ("forget", "input"))
        key = heads("key") * jnp.exp(gate)[..., None] / np.sqrt(HEAD)
        state = carry[0] * jnp.exp(carry[1])[..., None, None]
        _, read = linear_attention.linear_attention(
            heads("query"), key, linear_attention.append_one(heads("value")), start, state,
            log_decay=jax.nn.log_sigmoid(forget), form="sequential",
        )  # fmt: skip
        hidden = read[..., :-1] / jnp.maximum(jnp.abs(read[..., -1:]), 1.0)
        hidden = hidden - hidden.mean(-1, keepdims=True)
        hidden = hidden * jax.lax.rsqrt(jnp.mean(hidden**2, -1, keepdims=True) + 1e-6)
        hidden = hidden * params["norm"]["scale"][None, None, None] * jax.nn.sigmoid(heads("gate"))
        y = hidden.reshape(LENGTH, BATCH, -1) @ params["out"]["kernel"] + params["out"]["bias"][None, None]
        return jnp.sum(weights * y)

    found = jax.jit(jax.grad(loss, argnums=(0, 1, 2)))(params, carry, x)
    expected = jax.jit(jax.grad(plainly, argnums=(0, 1, 2)))(params, carry, x)
    assert_close(found, expected, 1e-3)
    assert np.abs(expected[1][1]).max() > 1e-3 and np.abs(expected[0]["forget"]["kernel"]).max() > 1e-3


def test_gated_deltanet_is_initialised_as_published():
    memory = plugins.find("memory", "gated_deltanet")(width=2, heads=2000, head_dim=1, convolution=0)
    x, start = jnp.zeros((1, 1, 2)), jnp.zeros((1, 1), bool)
    params = jax.jit(memory.init)(jax.random.key(0), memory.initial(1), x, start)["params"]
    rate, step = np.exp(params["A_log"]), softplus(np.asarray(params["dt_bias"]))
    assert 0 < rate.min() < 0.1 and 15.9 < rate.max() <= 16
    np.testing.assert_allclose(rate.mean(), 8, atol=0.4)
    assert 0.00099 < step.min() < 0.0011 and 0.09 < step.max() < 0.1001
    np.testing.assert_allclose(np.log(step).mean(), np.log(0.01), atol=0.1)


def test_mlstm_is_initialised_as_published():
    memory = make("mlstm")
    params = jax.jit(memory.init)(jax.random.key(0), memory.initial(BATCH), *(part[:1] for part in stream()))["params"]
    np.testing.assert_allclose(params["forget"]["bias"], [3, 6])
    assert not np.any(params["forget"]["kernel"]) and not np.any(params["input"]["kernel"])
    assert 0 < np.abs(params["input"]["bias"]).max() < 0.5


def test_the_carry_is_as_large_as_the_docstring_says():
    """Bytes per environment at the default sizes, 4 heads of 64."""
    sizes = {
        "linear_transformer": 66560,
        "delta_net": 65536,
        "gated_deltanet": 65536 + 3 * 4 * 3 * 256,
        "ttt_linear": 66560,
        "mlstm": 66576,
    }
    for name, size in sizes.items():
        carry = jax.eval_shape(lambda name=name: plugins.find("memory", name)().initial(1))
        assert sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(carry)) == size
    memory = make("gated_deltanet", expand_value=1.5, convolution=2)
    state, past = jax.eval_shape(lambda: memory.initial(3))
    assert state.shape == (3, HEADS, HEAD, 6) and past.shape == (3, 1, HEADS * (2 * HEAD + 6))
