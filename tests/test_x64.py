"""JAX_ENABLE_X64 changes no number of encoders, memories and trunks: every dtype is stated."""

import os
import pathlib
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np

from podarcade import plugins
from podarcade.actions import Discrete
from podarcade.models.networks import TRUNKS, ActorCritic, QNetwork

T, B, WIDTH, ACTIONS = 3, 2, 8, 5


def draw(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def modules():
    """Name, module and arguments of each layer and of each network, all small."""
    x, start = draw(0, T, B, WIDTH), np.array([[True, False], [False, False], [False, True]])
    for name in plugins.names("memory"):
        memory = plugins.find("memory", name)
        layer = memory(width=WIDTH, **({memory.SIZE: 4} if memory.SIZE else {}))
        yield name, layer, (layer.initial(B), x, start)
    frames = np.random.default_rng(1).integers(0, 256, (B, 128, 128, 3)).astype(np.uint8)
    for name in plugins.names("encoders"):
        yield name, plugins.find("encoders", name)(), (frames,)
    actions = np.array([[-1, 2], [0, 1], [4, -1]], np.int32)
    for name, trunk in TRUNKS.items():
        trunk = trunk(plugins.find("encoders", "patch"), plugins.find("memory", "none"), Discrete(ACTIONS), width=WIDTH)
        for network in (QNetwork(trunk), ActorCritic(trunk, shared=False)):
            arguments = network.initial(B), draw(2, T, B, 6), actions, draw(3, T, B), start
            yield f"{name} {type(network).__name__}", network, arguments


def numbers():
    """Initial parameters and results of every module."""
    found = {}
    for name, module, arguments in modules():
        with jax.numpy_rank_promotion("allow"):  # a layer may write `u * h`
            results, params = jax.jit(module.init_with_output)(jax.random.key(0), *arguments)
        for path, leaf in jax.tree_util.tree_leaves_with_path((params, results, arguments[0])):
            found[name + jax.tree_util.keystr(path)] = np.asarray(leaf)
    return found


def test_x64_gives_the_same_numbers(tmp_path):
    path = tmp_path / "numbers.npz"
    root = str(pathlib.Path(__file__).parent.parent)
    subprocess.run(
        [sys.executable, __file__, str(path)],
        env=os.environ | {"JAX_ENABLE_X64": "1", "PYTHONPATH": root},
        check=True,
        timeout=500,
    )
    expected = numbers()
    with np.load(path) as found:
        assert sorted(found) == sorted(expected)
        for name, array in expected.items():
            assert found[name].dtype == array.dtype, name
            np.testing.assert_array_equal(found[name], array, err_msg=name)


if __name__ == "__main__":
    assert jnp.zeros(1).dtype == jnp.float64, "JAX_ENABLE_X64 is not set"
    np.savez(sys.argv[1], **numbers())
