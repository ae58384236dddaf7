"""Windowed attention, stacks, GRU and LSTM against loops in double precision and against the cells of flax."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from podarcade.models.memory.gru import GRU
from podarcade.models.memory.lstm import LSTM
from podarcade.models.memory.sequential import sequential_scan
from podarcade.models.memory.stack import Stack
from podarcade.models.memory.transformer import Transformer
from podarcade.models.memory.windowed_attention import causal_convolution, sliding_windows, windowed_attention

WINDOW, BATCH, HEADS, DIM, WIDTH = 4, 3, 2, 4, 8
SLOPES = np.array([0.5, 0.03], np.float32)
POSITIONS = {"none": {}, "alibi": {"slopes": SLOPES}, "rope": {"rotary": True}}


def normal(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def starts(length, probability=0.2, seed=3):
    return np.random.default_rng(seed).random((length, BATCH)) < probability


def close(a, b, tolerance=2e-5):
    np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


def windows_by_hand(carry, x, start):
    """The last k steps, as lists."""
    k = carry.shape[1] + 1
    windows = np.zeros((*x.shape[:2], k, x.shape[2]))
    for b in range(x.shape[1]):
        seen = list(carry[b])
        for t in range(x.shape[0]):
            seen = [np.zeros(x.shape[2])] * (k - 1) if start[t, b] else seen
            seen = [*seen, x[t, b]][-k:]
            windows[t, b] = seen
    return windows


@pytest.mark.parametrize(("k", "length"), [(1, 5), (4, 1), (4, 2), (4, 11)])
def test_windows_hold_the_last_steps(k, length):
    carry, x, start = normal(0, BATCH, k - 1, 3), normal(1, length, BATCH, 3), starts(length)
    new, windows = sliding_windows(carry, x, start)
    expected = windows_by_hand(carry, x, start)
    np.testing.assert_array_equal(windows, expected)
    np.testing.assert_array_equal(new, expected[-1, :, 1:])


def test_a_convolution_is_causal_and_depthwise():
    kernel, bias, x = normal(0, 3, 2), normal(1, 2), normal(2, 9, 1, 2)
    whole = jnp.zeros((1, 2, 2)), x, np.zeros((9, 1), bool)
    for feature in range(2):
        expected = np.convolve(x[:, 0, feature], kernel[::-1, feature])[:9]
        close(causal_convolution(*whole, kernel)[1][:, 0, feature], expected)
        close(causal_convolution(*whole, kernel, bias)[1][:, 0, feature], expected + bias[feature])


@pytest.mark.parametrize("length", [1, 2, 11])
def test_a_convolution_sees_its_windows(length):
    carry, x, start, kernel = normal(0, BATCH, 3, 2), normal(1, length, BATCH, 2), starts(length), normal(2, 4, 2)
    new, y = causal_convolution(carry, x, start, kernel)
    windows = windows_by_hand(carry, x, start)
    close(y, (windows * kernel).sum(2))
    np.testing.assert_array_equal(new, windows[-1, :, 1:])


def rotated(x, position):
    """RoPE with complex numbers instead of pairs, at absolute positions."""
    half = x.shape[-1] // 2
    z = (x[..., :half] + 1j * x[..., half:]) * np.exp(1j * position * 10000.0 ** (-np.arange(half) / half))
    return np.concatenate([z.real, z.imag], axis=-1)


def attention_by_hand(queries, keys, values, start, past, slopes=(0, 0), rotary=False):
    """One step at a time, in double precision, with positions that count from 70."""
    queries, keys, values = (np.asarray(part, np.float64) for part in (queries, keys, values))
    new, y = [np.zeros_like(part) for part in past], np.zeros_like(queries)
    window = past[0].shape[1] + 1
    for b in range(queries.shape[1]):
        valid = [j for j in range(window - 1) if past[2][b, j]]
        seen = [(70 - window + 1 + j, past[0][b, j], past[1][b, j]) for j in valid]
        for t in range(len(queries)):
            now = 70 + t
            seen = [] if start[t, b] else seen
            seen = [step for step in [*seen, (now, keys[t, b], values[t, b])] if step[0] > now - window]
            query = rotated(queries[t, b], now) if rotary else queries[t, b]
            scores = np.stack([np.sum(query * (rotated(key, at) if rotary else key), -1) for at, key, _ in seen])
            scores = scores / 2 - np.stack([np.asarray(slopes) * (now - at) for at, _, _ in seen])
            weights = np.exp(scores) / np.exp(scores).sum(0)
            y[t, b] = np.sum(weights[..., None] * np.stack([value for _, _, value in seen]), axis=0)
        for at, key, value in seen:
            slot = at - (now - window + 2)
            if slot >= 0:
                new[0][b, slot], new[1][b, slot], new[2][b, slot] = key, value, 1
    return new, y


def some_past(window=WINDOW):
    """A cache with the newest two steps of the first sequence, all of the second, none of the third."""
    valid = np.zeros((BATCH, window - 1), np.float32)
    valid[0, -2:], valid[1] = 1, 1
    keys, values = normal(7, 2, BATCH, window - 1, HEADS, DIM) * valid[None, :, :, None, None]
    return keys, values, valid


@functools.cache
def attention(position):
    return jax.jit(functools.partial(windowed_attention, **POSITIONS[position]))


@pytest.mark.parametrize("position", POSITIONS)
@pytest.mark.parametrize("length", [1, 5, 10])
def test_attention_equals_a_loop_over_steps(position, length):
    steps, start = normal(length, 3, length, BATCH, HEADS, DIM), starts(length, 0.15)
    past, y = attention(position)(*steps, start, some_past())
    expected_past, expected = attention_by_hand(*steps, start, some_past(), **POSITIONS[position])
    close(y, expected)
    for part, expected_part in zip(past, expected_past, strict=True):
        close(part, expected_part, 0)


def test_attention_memory_is_not_quadratic_in_time():
    steps = normal(0, 3, 64, BATCH, HEADS, DIM)
    jaxpr = jax.make_jaxpr(functools.partial(windowed_attention, rotary=True))(*steps, starts(64), some_past())
    sizes = [variable.aval.size for equation in jaxpr.eqns for variable in equation.outvars]
    assert max(sizes) <= 64 * 2 * WINDOW * BATCH * HEADS * DIM


@pytest.mark.parametrize("length", [1, 7, 10])
def test_non_finite_numbers_are_visible_for_one_window(length):
    steps = normal(0, 3, length, BATCH, HEADS, DIM)
    start = np.zeros((length, BATCH), bool)
    start[2:3, 1] = True
    for part, poison in enumerate([np.nan, np.inf, -np.inf]):
        bad = steps.copy()
        bad[part, 0, :, 0, 0] = poison
        seen = np.zeros((length, BATCH), bool)
        seen[: WINDOW if part else 1] = True  # a query affects its own step only
        seen[2:, 1] = False
        past, y = attention("none")(*bad, start, some_past())
        expected_past, expected = attention("none")(*steps, start, some_past())
        np.testing.assert_array_equal(np.isnan(y).all((2, 3)), seen)
        close(y[~seen], expected[~seen])
        if length > WINDOW:
            close(past[0], expected_past[0])


def test_masked_steps_receive_no_gradient():
    steps = normal(0, 3, 10, BATCH, HEADS, DIM)
    start = np.zeros((10, BATCH), bool)
    start[3] = True

    @jax.jit
    @jax.grad
    def gradient(steps, past):
        return jnp.sum(windowed_attention(*steps, start, past, rotary=True)[1][3:] ** 2)

    expected = gradient(steps, some_past())
    for poison in (np.nan, np.inf, 1e25):  # the last one overflows only in the scores
        bad = steps.copy()
        bad[:, :3] = poison
        found = gradient(bad, jax.tree.map(lambda part, poison=poison: np.full_like(part, poison), some_past()))
        close(found[:, 3:], expected[:, 3:])
        assert poison == 1e25 or np.all(found[:, :3] == 0)


def layer(memory, length, seed=0):
    """Non-zero parameters, the compiled layer, features and starts."""
    x, start = normal(seed, length, BATCH, WIDTH), starts(length)
    params = jax.jit(memory.init)(jax.random.key(1), memory.initial(BATCH), x, start)
    move = [0.1 * np.cos(np.arange(p.size, dtype=np.float32)).reshape(p.shape) for p in jax.tree.leaves(params)]
    params = jax.tree.map(
        lambda p, by: np.asarray(p) + by, params, jax.tree.unflatten(jax.tree.structure(params), move)
    )
    return params, jax.jit(memory.apply), x, start


def doubles(params):
    return jax.tree.map(lambda p: np.asarray(p, np.float64), params["params"])


@pytest.mark.parametrize("position", ["alibi", "none", "rope"])
def test_the_transformer_is_projections_around_attention(position):
    memory = Transformer(width=WIDTH, heads=HEADS, head_dim=DIM, window=3, position=position)
    params, run, x, start = layer(memory, 8)
    carry, y = run(params, memory.initial(BATCH), x, start)
    p = doubles(params)
    projected = np.split(x @ p["queries_keys_values"]["kernel"], 3, axis=-1)
    projected = [part.reshape(8, BATCH, HEADS, DIM) for part in projected]
    options = {"none": {}, "alibi": {"slopes": [2.0**-4, 2.0**-8]}, "rope": {"rotary": True}}[position]
    expected_carry, attended = attention_by_hand(*projected, start, memory.initial(BATCH), **options)
    close(y, attended.reshape(8, BATCH, HEADS * DIM) @ p["out"]["kernel"] + p["out"]["bias"])
    for part, expected_part in zip(carry, expected_carry, strict=True):
        close(part, expected_part)


def test_a_window_of_one_step_gives_the_value():
    memory = Transformer(width=WIDTH, window=1)
    params, run, x, start = layer(memory, 6)
    carry, y = run(params, memory.initial(BATCH), x, start)
    p = doubles(params)
    close(y, x @ p["queries_keys_values"]["kernel"][:, 2 * WIDTH :] @ p["out"]["kernel"] + p["out"]["bias"])
    assert carry == memory.initial(BATCH) == ()


def test_without_queries_attention_is_the_mean_of_the_last_values():
    keys, values = normal(0, 2, 11, BATCH, HEADS, DIM)
    empty = jax.tree.map(np.zeros_like, some_past())
    _, y = attention("rope")(np.zeros_like(keys), keys, values, np.zeros((11, BATCH), bool), empty)
    for t in range(11):
        close(y[t], values[max(0, t - WINDOW + 1) : t + 1].mean(0))


def test_a_step_that_left_the_window_has_no_influence():
    memory = Transformer(width=WIDTH, window=WINDOW)
    params, run, x, _ = layer(memory, 9)

    def summed(x):
        y = run(params, memory.initial(BATCH), x, np.zeros((9, BATCH), bool))[1]
        return jnp.sum(jnp.sin(y), axis=(1, 2))

    influence = np.abs(jax.jit(jax.jacobian(summed))(x)).sum((2, 3))
    distance = np.arange(9)[:, None] - np.arange(9)[None]
    np.testing.assert_array_equal(influence > 0, (distance >= 0) & (distance < WINDOW))


def test_only_differences_of_position_count():
    """The same steps after 0 to 5 steps of another sequence, at every offset within a block."""
    keys = normal(0, 3, 5, BATCH, HEADS, DIM)
    late = []
    for before in range(6):
        steps = np.concatenate([normal(9, 3, before, BATCH, HEADS, DIM), keys], axis=1)
        start = np.zeros((before + 5, BATCH), bool)
        start[before] = True
        late.append(attention("rope")(*steps, start, some_past())[1][before:])
    for other in late[1:]:
        close(other, late[0])


def cell_parameters(p, gates, biases):
    """Parameters of flax's cells from ours: `gates` names the blocks of columns, `biases` the recurrent ones."""
    size = p["recurrent"].shape[0]
    found = {}
    for index, gate in enumerate(gates):
        columns = slice(index * size, (index + 1) * size)
        found[f"i{gate}"] = {"kernel": p["input"]["kernel"][:, columns], "bias": p["input"]["bias"][columns]}
        found[f"h{gate}"] = {"kernel": p["recurrent"][:, columns]} | biases.get(gate, {})
    return {"params": found}


def cell_by_hand(cell, params, carry, x, start):
    """A cell of flax, step by step; a start sets the state to zero."""
    step, ys = jax.jit(cell.apply), []
    for features, begins in zip(x, start, strict=True):
        carry = jax.tree.map(lambda part, begins=begins: np.where(begins[:, None], 0.0, part), carry)
        carry, y = step(params, carry, features)
        ys.append(y)
    return carry, np.stack(ys)


@pytest.mark.parametrize("states", [0, 5])
def test_gru_is_the_cell_of_flax(states):
    memory = GRU(width=WIDTH, states=states)
    params, run, x, start = layer(memory, 12)
    p = params["params"]
    size = states or WIDTH
    carry = normal(4, BATCH, size)
    new, y = run(params, carry, x, start)
    cell = nn.GRUCell(size)
    expected, hidden = cell_by_hand(
        cell, cell_parameters(p, "rzn", {"n": {"bias": p["candidate_bias"]}}), carry, x, start
    )
    close(new, expected)
    close(y, hidden @ p["out"]["kernel"] + p["out"]["bias"] if states else hidden)


@pytest.mark.parametrize(("states", "forget_bias"), [(0, 0.0), (5, 1.5)])
def test_lstm_is_the_cell_of_flax(states, forget_bias):
    memory = LSTM(width=WIDTH, states=states, forget_bias=forget_bias)
    params, run, x, start = layer(memory, 12)
    p = params["params"]
    size = states or WIDTH
    carry = normal(4, BATCH, size), normal(5, BATCH, size)
    (h, c), y = run(params, carry, x, start)
    # That cell has biases on the recurrent side only.
    biases = {gate: {"bias": p["input"]["bias"][i * size : (i + 1) * size]} for i, gate in enumerate("ifgo")}
    biases["f"] = {"bias": biases["f"]["bias"] + forget_bias}
    theirs = cell_parameters(p, "ifgo", biases)
    for gate in "ifgo":
        del theirs["params"][f"i{gate}"]["bias"]
    (expected_c, expected_h), hidden = cell_by_hand(nn.OptimizedLSTMCell(size), theirs, carry[::-1], x, start)
    close(h, expected_h)
    close(c, expected_c)
    close(y, hidden @ p["out"]["kernel"] + p["out"]["bias"] if states else hidden)


@pytest.mark.parametrize("memory", [GRU(width=WIDTH), LSTM(width=WIDTH)], ids=["gru", "lstm"])
def test_recurrent_matrices_are_initialised_orthogonal(memory):
    x, start = normal(0, 1, BATCH, WIDTH), np.zeros((1, BATCH), bool)
    recurrent = memory.init(jax.random.key(0), memory.initial(BATCH), x, start)["params"]["recurrent"]
    blocks = np.split(np.asarray(recurrent), recurrent.shape[1] // WIDTH, axis=1)
    for block in blocks:
        close(block @ block.T, np.eye(WIDTH), 1e-5)
    assert np.abs(blocks[0] - blocks[1]).max() > 0.1


@pytest.mark.parametrize("memory", [GRU(width=WIDTH), LSTM(width=WIDTH)], ids=["gru", "lstm"])
def test_gradients_are_finite_at_closed_gates(memory):
    params, run, x, start = layer(memory, 12)

    @jax.jit
    @jax.value_and_grad
    def loss(params):
        return jnp.sum(run(params, memory.initial(BATCH), x, start)[1] ** 2)

    for scale in (300.0, -300.0, 1e6):
        value, gradient = loss(jax.tree.map(lambda p, scale=scale: scale * p, params))
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((value, gradient)))


def test_a_start_sets_the_carry_to_zero():
    start = np.array([[False, True], [False, False], [True, False]])
    inputs = np.arange(6.0, dtype=np.float32).reshape(3, 2, 1)
    kernel, bias = jnp.full((1, 1), 2.0), jnp.full(1, 0.5)

    def step(carry, drive, product):
        return carry + drive, 10 * carry + product

    first = jnp.array([[100.0], [200.0]])
    carry, y = sequential_scan(step, first, inputs, start, kernel, bias)
    np.testing.assert_array_equal(y[..., 0], [[1200.5, 0.5], [1200.5, 12.5], [0.5, 48.5]])
    np.testing.assert_array_equal(carry[:, 0], [4, 9])
    carry, y = sequential_scan(step, first, inputs[:1], start[:1], kernel, bias)
    np.testing.assert_array_equal(y[..., 0], [[1200.5, 0.5]])
    np.testing.assert_array_equal(carry[:, 0], [100, 1])


def cell_step(cell, drive, product):
    h, c = cell
    c = jnp.tanh(product) * c + drive
    return (jnp.sin(c) * h, c), h + c


def test_the_gradient_of_a_scan_is_that_of_its_steps():
    start, inputs, kernel, bias = starts(9), normal(0, 9, BATCH, WIDTH), normal(1, WIDTH, WIDTH), normal(2, WIDTH)
    cell, weights = (normal(3, BATCH, WIDTH), normal(4, BATCH, WIDTH)), normal(5, 9, BATCH, WIDTH)

    def plain(cell, inputs, kernel, bias):
        ys = []
        for x, begins in zip(inputs, start, strict=True):
            cell = jax.tree.map(lambda part, drop=begins: jnp.where(drop[:, None], 0.0, part), cell)
            cell, y = cell_step(cell, x, cell[0] @ kernel + bias[None])
            ys.append(y)
        return cell, jnp.stack(ys)

    def scanned(cell, inputs, kernel, bias):
        return sequential_scan(cell_step, cell, inputs, start, kernel, bias)

    def loss(function, *args):
        (h, c), y = function(*args)
        return jnp.sum(weights * jnp.sin(y)) + jnp.sum(h * c)

    found, expected = (
        jax.grad(lambda *args, function=function: loss(function, *args), argnums=(0, 1, 2, 3))(
            cell, inputs, 0.3 * kernel, bias
        )
        for function in (scanned, plain)
    )
    jax.tree.map(close, found, expected)


def test_a_scan_inside_shard_map_varies_like_its_inputs_and_so_do_its_gradients():
    mesh = jax.make_mesh((2,), ("data",), (jax.sharding.AxisType.Auto,))
    spec, whole = jax.sharding.PartitionSpec(None, "data"), jax.sharding.PartitionSpec()

    def total(kernel, x, start):
        return jnp.sum(sequential_scan(cell_step, (x[0], x[0]), x, start, kernel, jnp.zeros(WIDTH))[1])

    x, kernel, start = normal(0, 5, 4, WIDTH), 0.3 * normal(1, WIDTH, WIDTH), np.zeros((5, 4), bool)
    sharded = jax.shard_map(jax.grad(total), mesh=mesh, in_specs=(whole, spec, spec), out_specs=whole)
    close(jax.jit(sharded)(kernel, x, start), jax.grad(total)(kernel, x, start))

    def run(x, start):
        return sequential_scan(lambda c, x, _: (c + x, c + x), jnp.zeros(x.shape[1:]), x, start, kernel, x[0, 0])[1]

    sharded = jax.jit(jax.shard_map(run, mesh=mesh, in_specs=(spec, spec), out_specs=spec))
    np.testing.assert_array_equal(sharded(np.ones_like(x), start), np.cumsum(np.ones_like(x), 0))


@pytest.mark.parametrize(("frames", "features"), [(1, 0), (4, 0), (3, 5)])
def test_a_stack_concatenates_the_last_steps(frames, features):
    memory = Stack(width=WIDTH, frames=frames, features=features)
    params, run, x, start = layer(memory, 9)
    p = doubles(params)
    before = normal(6, BATCH, frames - 1, WIDTH)
    carry, y = run(params, before if frames > 1 else (), x, start)
    windows = windows_by_hand(before, x, start)
    expected = windows.reshape(9, BATCH, frames * WIDTH)
    if features:
        expected = expected @ p["hidden"]["kernel"] + p["hidden"]["bias"]
        expected = 0.5 * expected * (1 + np.tanh(np.sqrt(2 / np.pi) * (expected + 0.044715 * expected**3)))
    close(y, expected @ p["out"]["kernel"] + p["out"]["bias"])
    if frames > 1:
        np.testing.assert_array_equal(carry, np.float32(windows[-1, :, 1:]))
    else:
        assert carry == memory.initial(BATCH) == ()


@pytest.mark.parametrize(
    ("memory", "message"),
    [
        (Transformer(position="rotary"), "position='rotary'; expected one of: alibi, none, rope"),
        (Transformer(window=0), "memory.window=0; expected >= 1"),
        (Transformer(head_dim=5), "head_dim=5"),
        (Transformer(width=2, position="none"), "memory.head_dim=0, from width=2, memory.heads=4"),
        (Stack(frames=0), "memory.frames=0; expected >= 1"),
    ],
)
def test_invalid_options_are_errors(memory, message):
    with pytest.raises(ValueError, match=message):
        memory.initial(1)
