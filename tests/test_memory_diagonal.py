"""The layers on the diagonal scan: loops in double precision, closed forms, and stability for any parameters."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks import layers
from podarcade import plugins
from podarcade.models.memory import Memory
from podarcade.models.memory.agalite import AGaLiTe
from podarcade.models.memory.ffm import FFM
from podarcade.models.memory.mamba import Mamba
from podarcade.models.memory.min_gru import MinGRU
from podarcade.models.memory.rg_lru import RGLRU
from podarcade.models.memory.s5 import S5, discretise, hippo
from podarcade.models.memory.scan import FORMS, linear_scan

# 71 steps are two segments of 36, the last padded by one step.
STEPS, BATCH, WIDTH = 71, 3, 8
LAYERS = {
    "min_gru": {"states": 5},
    "min_gru as wide as x": {"states": 0},
    "min_lstm": {"states": 5},
    "s5": {"states": 12, "blocks": 3, "maximum_step": 0.5},
    "s5 bilinear": {"states": 6, "discretisation": "bilinear", "conjugate_symmetry": False, "maximum_step": 0.5},
    "rg_lru": {"states": 5},
    "ffm": {"traces": 2, "contexts": 3},
    "mamba": {"inner": 6, "states": 3, "convolution": 3},
    "agalite": {"heads": 2, "head_dim": 3, "expansion": 2, "oscillators": 4},
}


@functools.cache
def compiled(name):
    """A layer, its perturbed parameters, and its compiled function."""
    memory = plugins.find("memory", name.split()[0])(width=WIDTH, **LAYERS[name])
    x, start = inputs()
    params = jax.jit(memory.init)(jax.random.key(1), memory.initial(BATCH), x[:1], start[:1])["params"]
    leaves, tree = jax.tree.flatten(params)
    noise = np.random.default_rng(2)
    leaves = [np.asarray(leaf) + 0.3 * noise.standard_normal(leaf.shape).astype(np.float32) for leaf in leaves]
    return memory, jax.tree.unflatten(tree, leaves), jax.jit(lambda params, *xs: memory.apply({"params": params}, *xs))


@functools.cache
def inputs():
    """Features and starts; the last environment has no start."""
    noise = np.random.default_rng(3)
    start = noise.uniform(size=(STEPS, BATCH)) < [0.2, 0.05, 0.0]
    return noise.standard_normal((STEPS, BATCH, WIDTH)).astype(np.float32), start


def carry_of(memory):
    """A carry that differs from a fresh one: positive, as AGaLiTe's normaliser is, with an integer tick."""
    noise = np.random.default_rng(5)
    carry = jax.tree.map(lambda part: np.abs(noise.standard_normal(part.shape)), memory.initial(BATCH))
    return (*carry[:2], np.array([1.0, 2.0, 3.0])) if isinstance(memory, AGaLiTe) else carry


def float32(tree):
    return jax.tree.map(lambda part: np.asarray(part, np.float32), tree)


def sigmoid(x):
    return 0.5 * (1.0 + np.tanh(0.5 * x))


def softplus(x):
    return np.logaddexp(x, 0.0)


def dense(p, x):
    return x @ p["kernel"] + p.get("bias", 0.0)


def loop_min_gru(memory, p, h, x):
    z, c = sigmoid(dense(p["gate"], x)), dense(p["candidate"], x)
    h = (1 - z) * h + z * c
    return h, dense(p["out"], h) if "out" in p else h


def loop_min_lstm(memory, p, h, x):
    f, i = sigmoid(dense(p["forget_gate"], x)), sigmoid(dense(p["input_gate"], x))
    h = f / (f + i) * h + i / (f + i) * dense(p["candidate"], x)
    return h, dense(p["out"], h)


def loop_s5(memory, p, carry, x):
    h = carry[0] + 1j * carry[1]
    eigenvalue, step = -np.exp(p["log_rate"]) + 1j * p["frequency"], np.exp(p["log_step"])
    if memory.discretisation == "zoh":
        decay = np.exp(eigenvalue * step)
        gain = (decay - 1) / eigenvalue
    else:
        decay = (1 + step * eigenvalue / 2) / (1 - step * eigenvalue / 2)
        gain = step / (1 - step * eigenvalue / 2)
    h = decay * h + gain * (x @ (p["B"][0] + 1j * p["B"][1]))
    factor = 2 if memory.conjugate_symmetry else 1
    return (h.real, h.imag), factor * np.real(h @ (p["C"][0] + 1j * p["C"][1])) + p["D"] * x


def loop_rg_lru(memory, p, h, x):
    a = np.exp(-8 * softplus(p["p"]) * sigmoid(dense(p["decay_gate"], x)))
    h = a * h + np.sqrt(1 - a**2) * sigmoid(dense(p["input_gate"], x)) * dense(p["value"], x)
    return h, dense(p["out"], h)


def loop_ffm(memory, p, carry, x):
    entering = dense(p["trace"], x) * sigmoid(dense(p["trace_gate"], x))
    decay = np.exp(-np.abs(p["a"])[:, None] + 1j * p["omega"][None])
    s = (carry[0] + 1j * carry[1]) * decay + entering[..., None]
    z = dense(p["read"], np.concatenate([s.real.reshape(BATCH, -1), s.imag.reshape(BATCH, -1)], axis=-1))
    z = (z - z.mean(-1, keepdims=True)) / np.sqrt(z.var(-1, keepdims=True) + 1e-6)
    gate = sigmoid(dense(p["gate"], x))
    return (s.real, s.imag), z * gate + dense(p["skip"], x) * (1 - gate)


def loop_mamba(memory, p, carry, x):
    h, before = carry
    u, z = np.split(dense(p["enter"], x), 2, axis=-1)
    window = np.concatenate([before, u[:, None]], axis=1)
    u = np.einsum("bke,ke->be", window, p["kernel"]) + p["kernel_bias"]
    u = u * sigmoid(u)
    small, b, c = np.split(dense(p["choose"], u), [1, 1 + memory.states], axis=-1)
    step = softplus(dense(p["step"], small))
    h = np.exp(-step[..., None] * np.exp(p["log_rate"])) * h + (step * u)[..., None] * b[:, None]
    y = np.einsum("ben,bn->be", h, c) + p["D"] * u
    return (h, window[:, 1:]), dense(p["out"], y * z * sigmoid(z))


def loop_agalite(memory, p, carry, x):
    (keys, values, tick), d, n = carry, memory.head_dim, memory.expansion
    s, keys = keys[:, 0], keys[:, 1:]
    k, q, v, beta, gamma = np.split(dense(p["enter"], x).reshape(BATCH, memory.heads, 5 * d), 5, axis=-1)
    p1, p2, p3 = np.split(dense(p["expand"], x).reshape(BATCH, memory.heads, 3 * n), 3, axis=-1)

    def outer(a, b):
        return np.einsum("bhn,bhd->bhnd", a, b).reshape(BATCH, memory.heads, -1)

    kappa = outer(np.maximum(p1, 0), np.maximum(k, 0))
    psi = outer(np.maximum(p2, 0), np.maximum(q, 0))
    gamma, beta = outer(sigmoid(p3), sigmoid(gamma)), sigmoid(beta)
    tick = tick + 1
    r, attended = memory.oscillators, 0.0
    new_keys, new_values = [], []
    for i, omega in enumerate(np.linspace(-np.pi, np.pi, r)):
        wave = np.cos(omega * tick)[:, None, None]
        new_keys.append((1 - gamma) * keys[:, i] + wave * gamma * kappa)
        new_values.append((1 - beta) * values[:, i] + wave * beta * v)
        attended += new_values[-1] * np.sum(new_keys[-1] * psi, -1, keepdims=True)
    s = (1 - gamma) * s + gamma * kappa
    attended /= 2 * r * np.sum(s * psi, -1, keepdims=True) + 1e-5
    carry = np.stack([s, *new_keys], axis=1), np.stack(new_values, axis=1), tick
    return carry, dense(p["out"], attended.reshape(BATCH, -1))


@pytest.mark.parametrize("name", LAYERS)
def test_the_layer_is_a_loop_in_double_precision(name):
    memory, params, run = compiled(name)
    x, start = inputs()
    carry = carry_of(memory)
    found, found_y = run(params, float32(carry), x, start)
    params, x, start = jax.tree.map(lambda part: np.asarray(part, np.float64), (params, x, start))
    step, ys = globals()[f"loop_{name.split()[0]}"], []
    for x_now, start_now in zip(x, start.astype(bool), strict=True):
        carry = jax.tree.map(lambda c, s=start_now: np.where(s.reshape(-1, *[1] * (c.ndim - 1)), 0.0, c), carry)
        carry, y = step(memory, params, carry, x_now)
        ys.append(y)
    if name == "agalite":  # the loop counts without bound, the layer modulo 6, the period of multiples of π / 3
        carry = (*carry[:2], carry[2] % 6)
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=2e-5, atol=2e-5), (found, found_y), (carry, ys))


def leaf(params, path, value):
    """Parameters with `value` at "layer/name"."""
    head, *rest = path.split("/", 1)
    new = leaf(params[head], rest[0], value) if rest else np.full_like(params[head], value)
    return {**params, head: new}


def edit(params, **values):
    for path, value in values.items():
        params = leaf(params, path.replace("__", "/"), value)
    return params


@pytest.mark.parametrize("z", [0.02, 0.5, 0.97])
def test_min_gru_with_a_constant_gate_has_a_closed_form(z):
    _, params, run = compiled("min_gru as wide as x")
    constant = {
        "gate__kernel": 0.0,
        "gate__bias": np.log(z / (1 - z)),
        "candidate__kernel": 0.0,
        "candidate__bias": 0.7,
    }
    x, _ = inputs()
    carry, y = run(
        edit(params, **constant), np.full((BATCH, WIDTH), -2.0, np.float32), x, np.zeros((STEPS, BATCH), bool)
    )
    kept = (1 - z) ** np.arange(1, STEPS + 1)
    expected = np.broadcast_to((kept * -2.0 + (1 - kept) * 0.7)[:, None, None], y.shape)
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(carry, y[-1])


@pytest.mark.parametrize("form", FORMS)
def test_min_gru_keeps_the_product_of_all_gates(form):
    """An operator that keeps only the last gate is far off when gates differ from step to step."""
    x = jax.random.normal(jax.random.key(8), (129, 1, 2))
    params = {"gate": {"kernel": jnp.eye(2), "bias": jnp.zeros(2)}}
    params["candidate"] = {"kernel": jnp.ones((2, 2)) - jnp.eye(2), "bias": jnp.zeros(2)}
    memory = MinGRU(width=2, form=form)
    _, y = jax.jit(memory.apply)({"params": params}, memory.initial(1), x, jnp.zeros((129, 1), bool))
    h, z = np.zeros(2), sigmoid(np.asarray(x[:, 0], np.float64))
    for t in range(129):
        h = (1 - z[t]) * h + z[t] * np.asarray(x[t, 0])[::-1]
        np.testing.assert_allclose(y[t, 0], h, rtol=1e-5, atol=1e-6)


SATURATED = [
    # layer, gates (all kernels of which are zero), the weight of the carry and of the candidate afterwards
    ("min_gru", {"gate": 1e4}, 0.0, 1.0),
    ("min_gru", {"gate": -1e4}, 1.0, 0.0),
    ("min_lstm", {"forget_gate": 1e4, "input_gate": -1e4}, 1.0, 0.0),
    ("min_lstm", {"forget_gate": -1e4, "input_gate": 1e4}, 0.0, 1.0),
    ("min_lstm", {"forget_gate": -1e4, "input_gate": -1e4}, 0.5, 0.5),
    ("rg_lru", {"decay_gate": -1e4, "input_gate": -1e4}, 1.0, 0.0),
    ("rg_lru", {"decay_gate": 1e4, "input_gate": 1e4, "p": 1e4}, 0.0, 1.0),
    ("rg_lru", {"decay_gate": 1e4, "input_gate": -1e4, "p": -1e4}, 1.0, 0.0),
]


@functools.cache
def one_step(name):
    """Compiled: (params, carry, x [B, width]) -> (h, gradients of its sum)."""
    memory, _, _ = compiled(name)

    def run(params, carry, x):
        h, y = memory.apply({"params": params}, carry, x[None], jnp.zeros((1, BATCH), bool))
        return sum(jnp.sum(part) for part in jax.tree.leaves((h, y))), h

    return jax.jit(jax.value_and_grad(run, argnums=(0, 1, 2), has_aux=True))


def assert_finite(tree):
    assert all(np.all(np.isfinite(part)) for part in jax.tree.leaves(tree))


@pytest.mark.parametrize(("name", "gates", "kept", "taken"), SATURATED)
def test_saturated_gates_keep_or_take_exactly(name, gates, kept, taken):
    memory, params, _ = compiled(name)
    for gate, value in gates.items():
        params = (
            edit(params, p=value) if gate == "p" else edit(params, **{f"{gate}__kernel": 0.0, f"{gate}__bias": value})
        )
    x, carry = inputs()[0][0], float32(carry_of(memory))
    (_, h), gradients = one_step(name)(params, carry, x)
    candidate = dense(params["value" if name == "rg_lru" else "candidate"], x)
    np.testing.assert_allclose(h, kept * carry + taken * candidate, rtol=1e-5, atol=1e-5)
    assert_finite(gradients)


@pytest.mark.parametrize("logit", [-1e4, 1e4])
def test_mamba_with_a_saturated_step_holds_or_replaces(logit):
    memory, params, _ = compiled("mamba")
    params = edit(params, step__kernel=0.0, step__bias=logit)
    carry = float32(carry_of(memory))
    (_, (h, _)), gradients = one_step("mamba")(params, carry, inputs()[0][0])
    other_carry = (carry[0] + 1.0, carry[1])
    (_, (other, _)), _ = one_step("mamba")(params, other_carry, inputs()[0][0])
    np.testing.assert_array_equal(h, carry[0] if logit < 0 else other)
    assert_finite(gradients)


# Parameters to set to zero so that x = 0 has no effect: one step from a carry of ones is then the decay.
SILENT = {"s5": {}, "s5 bilinear": {}, "ffm": {"trace__bias": 0.0}, "rg_lru": {"value__bias": 0.0}}
SILENT["mamba"] = {"kernel_bias": 0.0}


@pytest.mark.parametrize("name", SILENT)
@settings(max_examples=25, deadline=None)
@given(shift=st.floats(-60, 60), spread=st.floats(0, 30), seed=st.integers(0, 99))
def test_no_parameters_make_it_unstable(name, shift, spread, seed):
    memory, params, _ = compiled(name)
    noise = np.random.default_rng(seed)
    params = jax.tree.map(lambda p: p + np.float32(shift + spread * noise.standard_normal(p.shape)), params)
    fresh = memory.initial(BATCH)
    # A complex 1, or for Mamba a state of 1 and no steps before.
    carry = (np.ones_like(fresh[0]), fresh[1]) if isinstance(fresh, tuple) else np.ones_like(fresh)
    (_, h), _ = one_step(name)(edit(params, **SILENT[name]), carry, np.zeros((BATCH, WIDTH), np.float32))
    if name == "mamba":  # where Δ is zero a state is held, exactly
        assert np.all((h[0] >= 0) & (h[0] <= 1))
        step = softplus(np.asarray(params["step"]["bias"], np.float64))[:, None]
        fades = step * np.exp(np.asarray(params["log_rate"], np.float64)) > 1e-6
        assert np.all(h[0][:, fades] < 1)
    else:
        modulus = np.hypot(*np.asarray(h, np.float64)) if isinstance(h, tuple) else np.abs(h)
        assert np.all(modulus < 1)


def first_parameters(memory):
    x = jnp.zeros((1, 1, memory.width))
    return jax.jit(memory.init)(jax.random.key(0), memory.initial(1), x, jnp.zeros((1, 1), bool))["params"]


def test_rg_lru_squared_radii_are_initialised_uniform_in_their_range():
    p = first_parameters(RGLRU(width=2, states=2000, minimum_radius=0.8, maximum_radius=0.99))["p"]
    squared = np.exp(-16 * softplus(np.asarray(p, np.float64)))
    assert squared.min() >= 0.8**2 - 1e-4
    assert squared.max() <= 0.99**2 + 1e-4
    np.testing.assert_allclose(squared.mean(), (0.8**2 + 0.99**2) / 2, atol=0.01)


def test_mamba_is_initialised_as_published():
    params = first_parameters(Mamba(width=40, inner=500, states=3))
    np.testing.assert_allclose(np.exp(params["log_rate"]), np.tile([1.0, 2.0, 3.0], (500, 1)), rtol=1e-6)
    log_step = np.log(softplus(np.asarray(params["step"]["bias"], np.float64)))
    np.testing.assert_allclose([log_step.min(), log_step.max()], np.log([1e-3, 0.1]), atol=0.1)
    assert params["step"]["kernel"].shape == (3, 500)  # ⌈40 / 16⌉
    assert np.abs(params["step"]["kernel"]).max() <= 3**-0.5
    assert np.all(params["D"] == 1)


SPECTRA = {
    2: [0.8660],
    4: [0.5565, 4.6033],
    8: [0.4275, 1.9578, 5.3542, 19.8574],
    16: [0.3520, 1.3720, 2.8997, 5.0900, 8.3621, 13.8343, 25.6292, 80.9661],
}


sample = jax.jit(discretise, static_argnums=2)


@pytest.mark.parametrize("size", SPECTRA)
def test_hippo_spectrum(size):
    frequency, vectors = hippo(size)
    np.testing.assert_allclose(frequency[size // 2 :], SPECTRA[size], atol=5e-5)
    np.testing.assert_allclose(frequency, -frequency[::-1], atol=1e-10)
    normal = np.array(
        [
            [-0.5 if n == k else np.sign(k - n) * np.sqrt((n + 0.5) * (k + 0.5)) for k in range(size)]
            for n in range(size)
        ]
    )
    np.testing.assert_allclose(vectors * (-0.5 + 1j * frequency) @ vectors.conj().T, normal, atol=1e-11)


@pytest.mark.parametrize(
    ("method", "decay", "gain"),
    [("bilinear", 0.932823 + 0.188568j, 0.0966411 + 0.0094284j), ("zoh", 0.932268 + 0.188980j, 0.0969003 + 0.0096408j)],
)
def test_discretise_known_values(method, decay, gain):
    found = sample(float32((np.array([-0.5]), np.array([2.0]))), float32(np.array([0.1])), method)
    assert [complex(*np.concatenate(pair)) for pair in found] == [
        pytest.approx(decay, abs=2e-6),
        pytest.approx(gain, abs=2e-7),
    ]


@pytest.mark.parametrize("method", ["zoh", "bilinear"])
def test_discretise_is_accurate_at_small_steps_and_rates(method):
    rate, turn, step = (
        a.ravel() for a in np.meshgrid([1e-8, 1e-3, 0.5, 30.0], [0.0, 1e-6, 0.4, 80.0], [1e-8, 1e-4, 0.1])
    )
    _, found = sample(float32((-rate, turn)), float32(step), method)
    eigenvalue = -rate + 1j * turn
    expected = np.expm1(eigenvalue * step) / eigenvalue if method == "zoh" else step / (1 - eigenvalue * step / 2)
    error = np.abs(np.asarray(found[0], np.float64) + 1j * np.asarray(found[1], np.float64) - expected)
    assert np.all(error <= 2e-6 * np.abs(expected))


def test_a_discretised_recurrence_from_a_state_of_its_own():
    decay, gain = sample(float32((np.array([-0.5]), np.array([2.0]))), float32(np.array([0.1])), "bilinear")
    u, start = np.array([1.0, 0, 0, 2.0, 0]), np.array([True, False, False, True, False])
    fresh = complex(*(float(part[0]) for part in decay)) * (0.25 + 0.5j)  # what a start at 0.25 + 0.5i leaves
    drive = complex(*(float(part[0]) for part in gain)) * u + fresh * start

    def pair(z, shape):
        return jnp.asarray(np.real(z), jnp.float32).reshape(shape), jnp.asarray(np.imag(z), jnp.float32).reshape(shape)

    lead = tuple(part.reshape(1, 1, 1) for part in decay)
    real, imaginary = linear_scan(lead, pair(drive, (5, 1, 1)), start[:, None], pair(0.9 - 0.1j, (1, 1)))
    expected = [0.235563 + 0.522982j, 0.121121 + 0.532269j, 0.012615 + 0.519352j, 0.332204 + 0.532410j]
    expected.append(0.209492 + 0.559287j)
    np.testing.assert_allclose(real[:, 0, 0] + 1j * imaginary[:, 0, 0], expected, atol=3e-6)


@pytest.mark.parametrize("symmetry", [True, False])
def test_s5_is_initialised_as_a_real_system_in_other_coordinates(symmetry):
    memory, kept = S5(width=300, states=16, blocks=2, conjugate_symmetry=symmetry), 4 if symmetry else 8
    frequency, vectors = hippo(8)
    frequency, vectors = frequency[-kept:], vectors[:, -kept:]

    @functools.partial(jax.jit, static_argnums=0)
    def draw(turned):
        basis = vectors if turned else np.eye(8, dtype=complex)
        return memory._draw_B_tilde(jax.random.key(0), basis), memory._draw_C_tilde(jax.random.key(1), basis)

    (b, c), (turned_b, turned_c) = (
        [part[0] + 1j * part[1] for part in map(np.asarray, draw(t))] for t in (False, True)
    )
    for block, turned in ((slice(0, 8), slice(0, kept)), (slice(8, 16), slice(kept, 2 * kept))):
        np.testing.assert_allclose(turned_b[:, turned], b[:, block] @ vectors.conj(), atol=1e-5)  # Vᴴ B
        np.testing.assert_allclose(turned_c[turned], vectors.T @ c[block], atol=1e-5)  # C V, transposed
    assert np.all(b.imag == 0)
    np.testing.assert_allclose([b.real.var(), c.real.var(), c.imag.var()], [1 / 300, 1 / 16, 1 / 16], rtol=0.15)

    params = first_parameters(memory)
    np.testing.assert_allclose(params["frequency"], np.tile(frequency, 2), rtol=1e-6)
    np.testing.assert_allclose(-np.exp(params["log_rate"]), -0.5, rtol=1e-6)
    assert np.all((params["log_step"] >= np.log(1e-3) - 1e-5) & (params["log_step"] <= np.log(0.1) + 1e-5))


def test_ffm_two_halves_combine_to_the_whole():
    memory, params, run = compiled("ffm")
    x, nothing = inputs()[0][:40], np.zeros((40, BATCH), bool)
    fresh = memory.initial(BATCH)
    whole, first, second = (
        run(params, fresh, *piece)[0] for piece in ((x, nothing), (x[:20], nothing[:20]), (x[20:], nothing[20:]))
    )
    decay = np.exp(-np.abs(params["a"])[:, None] + 1j * params["omega"][None])
    whole, first, second = (np.asarray(s[0]) + 1j * np.asarray(s[1]) for s in (whole, first, second))
    np.testing.assert_allclose(whole, decay**20 * first + second, rtol=1e-4, atol=1e-5)


def test_ffm_initial_rates_and_periods():
    params = first_parameters(FFM(width=4, traces=3, contexts=5))
    np.testing.assert_allclose(params["a"], [1e-6, 0.25, 0.5], rtol=1e-5)
    np.testing.assert_allclose(2 * np.pi / params["omega"], [1, 2500.75, 5000.5, 7500.25, 10000], rtol=1e-5)


def test_agalite_ticks_modulo_the_period_and_from_one_at_a_start():
    memory = AGaLiTe(width=4, oscillators=2)
    start = jnp.zeros((6, 2), bool).at[2, 1].set(True)
    waves, tick = memory._oscillate(jnp.array([1.0, 1.0]), start)
    np.testing.assert_array_equal(waves[:, 0, 1], [1, -1, 1, -1, 1, -1])  # ticks 2, 3, ...: both cosines are (-1)^τ
    np.testing.assert_array_equal(waves[:, 1, 1], [1, -1, -1, 1, -1, 1])
    np.testing.assert_array_equal(waves[..., 0], 1)
    np.testing.assert_array_equal(waves[..., 1], waves[..., 2])
    np.testing.assert_array_equal(tick, [1, 0])


def test_agalite_without_features_is_zero_instead_of_nan():
    memory, params, _ = compiled("agalite")
    params = edit(params, enter__kernel=0.0, enter__bias=-1.0)
    (_, _), gradients = one_step("agalite")(params, memory.initial(BATCH), inputs()[0][0])
    _, y = compiled("agalite")[2](params, memory.initial(BATCH), *inputs())
    np.testing.assert_array_equal(y, np.broadcast_to(params["out"]["bias"], y.shape))
    assert_finite(gradients)


class Leaky(Memory):
    """h ← 0.9 h + x, y = h."""

    def initial(self, batch):
        return jnp.zeros((batch, self.width), jnp.float32)

    def __call__(self, carry, x, start):
        y = linear_scan(jnp.full((1, 1, 1), 0.9, jnp.float32), x, start, carry)
        return y[-1], y


def test_the_horizon_of_a_leaky_integrator_is_its_decay():
    np.testing.assert_allclose(layers.horizon(Leaky(width=4)), [0.9**32, 0.9**128], rtol=1e-4)


def test_bytes_of_the_carry():
    def size(memory):
        return sum(4 * leaf.size for leaf in jax.tree.leaves(jax.eval_shape(lambda: memory.initial(1))))

    wide = {"width": 256}
    assert size(MinGRU(**wide)) == size(RGLRU(**wide)) == size(S5(**wide)) == 1024
    assert size(S5(conjugate_symmetry=False, **wide)) == size(FFM(**wide)) == 2048
    assert size(Mamba(**wide)) == 32768 + 6144
    assert size(AGaLiTe(**wide)) == 14336 + 4


BAD = [
    (S5(width=4, states=6, blocks=2), "memory.states=6; expected a multiple of 4 at memory.blocks=2"),
    (S5(width=4, states=0), "states=0"),
    (
        S5(width=4, states=9, blocks=2, conjugate_symmetry=False),
        "memory.states=9; expected a multiple of 2",
    ),
    (S5(width=4, states=4, discretisation="euler"), "discretisation='euler'; expected one of: bilinear, zoh"),
    (Mamba(width=4, convolution=0), "convolution=0"),
    (AGaLiTe(width=4, oscillators=0), "oscillators=0"),
]


@pytest.mark.parametrize(("memory", "message"), BAD)
def test_bad_options_are_errors(memory, message):
    with pytest.raises(ValueError, match=message):
        jax.eval_shape(lambda: first_parameters(memory))
