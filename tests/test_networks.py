"""Trunks and heads: sizes, resets at a start, frames encoded in chunks."""

import functools
import operator

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from podarcade import plugins
from podarcade.actions import Continuous, Discrete
from podarcade.anakin import sharding
from podarcade.models.memory import sizes
from podarcade.models.networks import TRUNKS, ActorCritic, QNetwork
from podarcade.models.popgym_trunks import PopgymTrunk
from podarcade.models.trunks import INPUTS, encode

T, B, D, ACTIONS = 5, 2, 3, 4
WITH_MEMORY = [trunk for trunk in TRUNKS if trunk != "popgym_mlp"]


def count(params):
    return sum(leaf.size for leaf in jax.tree.leaves(params))


@functools.cache
def network(memory, trunk="residual", layers=2, width=16, **options):
    layer = plugins.find("memory", memory)
    memory = functools.partial(layer, **({layer.SIZE: 8} if memory != "none" else {}))
    trunk = TRUNKS[trunk](
        encoder=plugins.find("encoders", "patch"),
        memory=memory,
        actions=Discrete(ACTIONS),
        width=width,
        layers=layers,
        **options,
    )
    network = QNetwork(trunk)
    params = jax.jit(network.init)(jax.random.key(0), network.initial(B), *inputs())
    return network, jax.tree.map(lambda p: p + 0.1, params), jax.jit(network.apply)


def inputs(seed=0):
    observation = jax.random.normal(jax.random.key(seed), (T, B, D))
    previous = jax.random.randint(jax.random.key(seed + 1), (T, B), 0, ACTIONS)
    return observation, previous, jnp.zeros((T, B), jnp.float32), jnp.zeros((T, B), bool)


@pytest.mark.parametrize("memory", ["none", "lru"])
@pytest.mark.parametrize("trunk", WITH_MEMORY)
def test_values_after_a_start_do_not_depend_on_the_past(memory, trunk):
    q, params, apply = network(memory, trunk)
    observation, previous, reward, start = inputs()
    start, previous = start.at[2].set(True), previous.at[2].set(-1)
    carry, values = apply(params, q.initial(B), observation, previous, reward, start)
    other = jax.tree.map(lambda x: x + 3.0, q.initial(B))
    _, changed = apply(params, other, observation.at[:2].add(1.0), previous.at[:2].set(0), reward, start)
    np.testing.assert_allclose(values[2:], changed[2:], rtol=1e-5, atol=1e-6)
    assert len(carry) == 2
    assert values.shape == (T, B, ACTIONS)


@pytest.mark.parametrize("trunk", WITH_MEMORY)
def test_no_previous_action_is_the_zero_vector(trunk):
    """The action's columns of the first layer must not matter at a start."""
    q, params, apply = network("none", trunk)
    observation, previous, reward, start = inputs()
    _, values = apply(params, q.initial(B), observation, jnp.full_like(previous, -1), reward, start)
    kernel = params["params"]["trunk"]["enter"]["kernel"]
    params = jax.tree.map(lambda x: x, params)
    params["params"]["trunk"]["enter"]["kernel"] = kernel.at[-ACTIONS:].add(jnp.arange(16.0)[None])
    _, same = apply(params, q.initial(B), observation, jnp.full_like(previous, -1), reward, start)
    _, other = apply(params, q.initial(B), observation, previous, reward, start)
    # The bypass passes the one-hot to the head as well, where -1 is zeros again.
    np.testing.assert_array_equal(values, same)
    assert jnp.abs(values - other).max() > 1e-3


@pytest.mark.parametrize("trunk", WITH_MEMORY)
@pytest.mark.parametrize(("memory", "remembers"), [("lru", True), ("none", False)])
def test_the_memory_matters_and_its_absence_does_not(trunk, memory, remembers):
    q, params, apply = network(memory, trunk)
    observation, previous, reward, start = inputs()
    _, values = apply(params, q.initial(B), observation, previous, reward, start)
    _, changed = apply(params, q.initial(B), observation.at[0].add(1.0), previous, reward, start)
    assert bool(jnp.abs(values[-1] - changed[-1]).max() > 1e-5) == remembers


@pytest.mark.parametrize("actions", [Discrete(ACTIONS), Continuous(2)], ids=["discrete", "continuous"])
@pytest.mark.parametrize("trunk", WITH_MEMORY)
def test_a_network_sees_the_inputs_that_it_names(trunk, actions):
    """Each of observation, previous action and reward matters if and only if `inputs` names it."""
    encoder, memory = plugins.find("encoders", "patch"), plugins.find("memory", "none")
    observation, _, reward, start = inputs()
    previous = actions.sample(jax.random.key(5), T, B)
    seen = {"o": observation, "a": previous, "r": reward}
    other = {"o": observation + 1, "a": (actions.sample(jax.random.key(6), T, B)), "r": reward + 1}
    for named in INPUTS:
        net = TRUNKS[trunk](encoder, memory, actions=actions, width=8, layers=1, inputs=named)
        params = net.init(jax.random.key(0), net.initial(B), *seen.values(), start)
        _, before = net.apply(params, net.initial(B), *seen.values(), start)
        for name in "oar":
            _, after = net.apply(params, net.initial(B), *(seen | {name: other[name]}).values(), start)
            assert bool(jnp.abs(before - after).max() > 1e-4) == (name in named), (named, name)
    with pytest.raises(ValueError, match=r"network.inputs='ao'; expected one of: o, a, r, oa, or, ar, oar"):
        TRUNKS[trunk](encoder, memory, actions=actions, inputs="ao")


def test_the_head_of_continuous_actions_gives_mean_and_log_std():
    trunk = TRUNKS["residual"](
        plugins.find("encoders", "patch"), plugins.find("memory", "none"), actions=Continuous(2), width=8
    )
    net, (observation, _, reward, start) = ActorCritic(trunk), inputs()
    arguments = net.initial(B), observation, jnp.zeros((T, B, 2)), reward, start
    params = net.init(jax.random.key(0), *arguments)
    _, (policy, value) = net.apply(params, *arguments)
    assert policy.shape == (T, B, 4) and value.shape == (T, B)
    np.testing.assert_array_equal(policy[..., 2:], -0.5)
    params["params"]["log_std"] = jnp.array([-9.0, 9.0])
    np.testing.assert_array_equal(net.apply(params, *arguments)[1][0][0, 0, 2:], [-5.0, 2.0])


def test_without_bypass_the_head_sees_the_memory_only():
    kernels = [
        network("lru", **options)[1]["params"]["trunk"]["leave"]["kernel"] for options in ({}, {"bypass": False})
    ]
    assert [kernel.shape[0] for kernel in kernels] == [16 + 16 + ACTIONS, 16]


def test_the_popgym_trunk_has_the_published_sizes():
    """Layer by layer, at the widths of the released code: 512 features, 2 layers, 5 actions, a 512-feature encoder."""
    trunk = PopgymTrunk(
        encoder=plugins.find("encoders", "popgym_cnn"),
        memory=plugins.find("memory", "none"),
        actions=Discrete(5),
        width=512,
        layers=2,
    )
    q = QNetwork(trunk)
    frames = jax.ShapeDtypeStruct((1, 1, 128, 128, 3), jnp.uint8)
    previous, reward, start = (jax.ShapeDtypeStruct((1, 1), dtype) for dtype in (jnp.int32, jnp.float32, bool))
    params = jax.eval_shape(q.init, jax.random.key(0), q.initial(1), frames, previous, reward, start)["params"]
    sizes = {name: count(layer) for name, layer in params["trunk"].items()} | {"value": count(params["value"])}
    expected = {
        "encoder": 505_472,
        "enter": 265_216,
        "mix_0": 262_656,
        "mix_1": 262_656,
        "leave": 131_328,
        "value": 1285,
    }
    assert sizes == expected


def test_the_published_network_without_memory_has_the_published_size():
    """It ignores the action; the block of version 1 has a dense layer after its memory."""
    q, params, apply = network("none", "popgym_mlp", width=256)
    observation, previous, reward, start = inputs()
    values = apply(params, q.initial(B), observation, previous, reward, start)[1]
    np.testing.assert_array_equal(values, apply(params, q.initial(B), observation, previous - 1, reward, start)[1])
    sizes = {name: count(layer) for name, layer in params["params"]["trunk"].items()}
    # The published encoder has 512 features, the dense layer in its place here 256.
    assert (
        sizes["dense_0"] + 256 * 256 + sizes["dense_0_norm"] + sizes["dense_1"] + sizes["dense_1_norm"] + 1285
        == 199_429
    )
    first = network("none", "popgym", dense=1)[1]["params"]["trunk"]
    assert (count(first["dense_0"]), count(first["dense_0_norm"])) == (256 * 256 + 256, 512)
    with pytest.raises(ValueError, match="has no memory layer"):
        network("lru", "popgym_mlp")
    with pytest.raises(ValueError, match="dense=1; set network"):
        network("none", "popgym_mlp", dense=1)
    with pytest.raises(ValueError, match=r"network.inputs='oa'; trunk=popgym_mlp sees observations only"):
        network("none", "popgym_mlp", inputs="oa")


def test_the_popgym_trunk_is_the_published_block():
    """Against the block written out in numpy: no residual, no norm before the memory, none with parameters."""
    q, params, apply = network("none", "popgym")
    observation, previous, *_ = inputs()
    p = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params["params"])

    def dense(name, x):
        layer = p["trunk"][name] if name in p["trunk"] else p[name]
        return x @ layer["kernel"] + layer["bias"]

    seen = np.maximum(dense("observation", np.asarray(observation, np.float64)), 0)
    u = dense("enter", np.concatenate([seen, np.eye(ACTIONS)[np.asarray(previous)]], axis=-1))
    for layer in range(2):
        mixed = dense(f"mix_{layer}", u)
        normal = (mixed - mixed.mean(-1, keepdims=True)) / np.sqrt(mixed.var(-1, keepdims=True) + 1e-5)
        u = np.where(normal > 0, normal, 0.01 * normal)
    expected = dense("value", dense("leave", u))
    np.testing.assert_allclose(apply(params, q.initial(B), *inputs())[1], expected, rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="bypass=True; trunk=popgym has no bypass"):
        network("none", "popgym", bypass=True)


def test_the_popgym_trunk_is_initialised_uniform():
    trunk = PopgymTrunk(
        plugins.find("encoders", "patch"), plugins.find("memory", "none"), actions=Discrete(ACTIONS), width=64
    )
    params = jax.jit(trunk.init)(jax.random.key(0), trunk.initial(B), *inputs())["params"]
    for name, fan_in in [("mix_0", 64), ("leave", 64), ("enter", 64 + ACTIONS)]:
        for leaf in (params[name]["kernel"], params[name]["bias"]):
            largest = float(jnp.abs(leaf).max()) * fan_in**0.5
            assert 0.9 < largest <= 1.0


@pytest.mark.parametrize("width", [64, pytest.param(128, marks=pytest.mark.slow)])
@pytest.mark.parametrize("memory", [name for name in plugins.names("memory") if plugins.find("memory", name).SIZE])
def test_every_memory_can_be_matched_to_the_parameter_budget(memory, width):
    layer = plugins.find("memory", memory)
    size = sizes.matched_size(layer, width)
    matched = layer(width=width, **{layer.SIZE: size})
    assert abs(sizes.parameters(matched) / (4 * width**2) - 1) <= 0.05
    assert sizes.is_matched(matched)
    assert not sizes.is_matched(layer(width=width, **{layer.SIZE: 3 * size + size % 2}))


def test_a_memory_that_cannot_be_matched_is_an_error():
    class Odd(plugins.find("memory", "none")):
        SIZE = ""

    with pytest.raises(ValueError, match="Odd does not define SIZE"):
        sizes.matched_size(Odd, 64)
    with pytest.raises(
        ValueError,
        match=r"=\d+ gives GatedDeltaNet \+8% parameters compared with the 4096",
    ):
        sizes.matched_size(plugins.find("memory", "gated_deltanet"), 32)


def test_carry_bytes():
    """The published table, at 256 features."""
    expected = {
        "none": 0, "gru": 1024, "lstm": 2048, "min_gru": 1024, "lru": 2048, "rg_lru": 1024, "s5": 1024, "stack": 3072,
        "linear_transformer": 66_560, "mlstm": 66_576, "transformer": 2 * 127 * 256 * 4 + 127 * 4,
        "delta_net": 65_536, "ffm": 2048, "agalite": 14_336 + 4, "mamba": 32_768 + 6144,
        "gated_deltanet": 65_536 + 9216,
    }  # fmt: skip
    found = {name: sizes.carry_bytes(plugins.find("memory", name)(width=256)) for name in expected}
    assert found == expected


@functools.cache
def on_frames(chunk, trunk="residual"):
    """Initialiser of parameters and loss per frame of a network with the given `encode_chunk`."""
    encoder = functools.partial(plugins.find("encoders", "patch"), patch_features=8, group_features=8, features=8)
    memory = plugins.find("memory", "none")
    q = QNetwork(TRUNKS[trunk](encoder, memory, actions=Discrete(ACTIONS), width=8, layers=0, encode_chunk=chunk))

    def inputs(observation):
        zeros = jnp.zeros(observation.shape[:2], jnp.int32)
        return q.initial(observation.shape[1]), observation, zeros, zeros.astype(jnp.float32), zeros == 1

    def loss(params, observation):
        _, values = q.apply(params, *inputs(observation))
        return jnp.square(values - 1.0).sum(axis=-1), jnp.ones(values.shape[:2]), {}

    return jax.jit(lambda key, observation: q.init(key, *inputs(observation))), loss


@functools.cache
def gradient(chunk, trunk="residual"):
    def mean(params, observation):
        losses = on_frames(chunk, trunk)[1](params, observation)[0]
        return jnp.mean(losses), losses

    return jax.jit(jax.grad(mean, has_aux=True))


def frames(time, batch):
    return jax.random.randint(jax.random.key(0), (time, batch, 128, 128, 3), 0, 256).astype(jnp.uint8)


def assert_close(one, other):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-6), one, other)


@pytest.mark.parametrize("trunk", TRUNKS)
def test_encoding_in_chunks_is_the_same_function(trunk):
    """Ten frames, at most four together: two of the last chunk are padding."""
    whole, chunks = on_frames(0, trunk)[0], on_frames(4, trunk)[0]
    params = whole(jax.random.key(1), frames(5, 2))
    jax.tree.map(np.testing.assert_array_equal, params, chunks(jax.random.key(1), frames(5, 2)))
    expected = gradient(0, trunk)(params, frames(5, 2))
    assert jnp.abs(expected[0]["params"]["trunk"]["encoder"]["patch"]["kernel"]).max() > 1e-3
    assert_close(expected, gradient(4, trunk)(params, frames(5, 2)))


def test_at_most_one_chunk_of_frames_is_encoded_together():
    params = on_frames(0)[0](jax.random.key(1), frames(1, 1))
    for chunk, scans in [(0, False), (9, True), (10, False)]:
        assert ("scan" in str(jax.make_jaxpr(on_frames(chunk)[1])(params, frames(5, 2)))) == scans


def test_chunks_bound_the_memory_of_activations():
    params = on_frames(0)[0](jax.random.key(1), frames(1, 1))
    observation = jax.ShapeDtypeStruct((8, 16, 128, 128, 3), jnp.uint8)
    whole, chunks = (
        gradient(chunk).lower(params, observation).compile().memory_analysis().temp_size_in_bytes for chunk in (0, 16)
    )
    assert chunks < whole / 2


def test_chunks_on_a_mesh_with_two_seeds():
    """Two devices share the environments and hold both seeds: each seed has the gradients of a single device."""
    init, loss = on_frames(4)
    observation = jnp.stack([frames(5, 4), 255 - frames(5, 4)])
    params = jax.vmap(init, (0, None))(jax.random.split(jax.random.key(1)), frames(1, 1))
    split = P("seed", None, "data")

    def gradients(params, observation):
        return sharding.weighted_mean_gradient(loss, params, observation)[0]

    mapped = sharding.map_over(sharding.make_mesh(1, 2), gradients, (P("seed"), split), P("seed"))
    found = jax.jit(mapped)(params, observation)
    for seed in range(2):
        one = jax.tree.map(operator.itemgetter(seed), (params, observation, found))
        assert_close(gradient(0)(*one[:2])[0], one[2])


@pytest.mark.parametrize("trunk", TRUNKS)
def test_a_negative_chunk_is_an_error(trunk):
    with pytest.raises(ValueError, match=r"network\.encode_chunk=-1; expected a number of frames, or 0"):
        on_frames(-1, trunk)


@pytest.mark.parametrize(("kind", "options"), [(QNetwork, {}), (ActorCritic, {}), (ActorCritic, {"shared": False})])
@pytest.mark.parametrize("trunk", TRUNKS)
def test_features_take_the_place_of_observations(trunk, kind, options):
    made = TRUNKS[trunk](
        encoder=plugins.find("encoders", "patch"),
        memory=plugins.find("memory", "none" if trunk == "popgym_mlp" else "gru"),
        actions=Discrete(ACTIONS),
        width=16,
    )
    network = kind(made, **options)
    for observation in (inputs()[0], jax.random.bits(jax.random.key(3), (T, B, 128, 128, 3), jnp.uint8)):
        rest = inputs()[1:]
        params = jax.jit(network.init)(jax.random.key(0), network.initial(B), observation, *rest)
        assert params.keys() == {"params"}
        features = encode(network, params, network.initial(B), observation, *rest)
        assert len(features.features) == (1 if options.get("shared", True) else 2)
        expected = network.apply(params, network.initial(B), observation, *rest)
        given = network.apply(params, network.initial(B), features, *rest)
        jax.tree.map(np.testing.assert_array_equal, given, expected)
        changed = jax.tree.map(lambda x: x.at[1].add(1.0), features)
        assert not np.array_equal(
            jax.tree.leaves(network.apply(params, network.initial(B), changed, *rest)[1])[0],
            jax.tree.leaves(expected[1])[0],
        )
