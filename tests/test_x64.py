"""JAX_ENABLE_X64 changes no number of encoders, memories and trunks: every dtype is stated."""

import json
import os
import pathlib
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

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


def traced(evaluate):
    """Initial parameters, results and carry of every module, as `evaluate` makes them of a function and arguments."""
    found = {}
    for name, module, arguments in modules():
        with jax.numpy_rank_promotion("allow"):  # a layer may write `u * h`
            results, params = evaluate(module.init_with_output, jax.random.key(0), *arguments)
        for path, leaf in jax.tree_util.tree_leaves_with_path((params, results, arguments[0])):
            found[name + jax.tree_util.keystr(path)] = leaf
    return found


def dtypes():
    return {name: str(leaf.dtype) for name, leaf in traced(jax.eval_shape).items()}


def numbers():
    return traced(lambda function, *arguments: jax.device_get(jax.jit(function)(*arguments)))


def in_x64(*arguments):
    """Run this file in the 64-bit mode; return what it prints."""
    root = str(pathlib.Path(__file__).parent.parent)
    environment = os.environ | {"JAX_ENABLE_X64": "1", "PYTHONPATH": root}
    command = [sys.executable, __file__, *map(str, arguments)]
    return subprocess.run(command, env=environment, check=True, timeout=500, capture_output=True, text=True).stdout


def test_x64_changes_no_dtype():
    assert json.loads(in_x64()) == dtypes()


@pytest.mark.slow
def test_x64_gives_the_same_numbers(tmp_path):
    path = tmp_path / "numbers.npz"
    in_x64(path)
    expected = numbers()
    with np.load(path) as found:
        assert sorted(found) == sorted(expected)
        for name, array in expected.items():
            np.testing.assert_array_equal(found[name], array, err_msg=name)


if __name__ == "__main__":
    assert jnp.zeros(1).dtype == jnp.float64, "JAX_ENABLE_X64 is not set"
    if sys.argv[1:]:
        np.savez(sys.argv[1], **numbers())
    else:
        print(json.dumps(dtypes()))
