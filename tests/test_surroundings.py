"""Environments under other settings of jax: 64-bit mode, and another PRNG implementation."""

import functools
import json
import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parent.parent
# Digests of a game played by the trainer's environment and by an adapter, and the dtypes of all arrays.
PLAY = """
import hashlib, json, jax, numpy as np
import podarcade

def digest(tree):
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(tree)]
    data = b"".join(leaf.tobytes() for leaf in leaves)
    return hashlib.sha256(data).hexdigest(), sorted({str(leaf.dtype) for leaf in leaves})

name = "NoisyCartPoleEasy"
made, vectors = podarcade.make(name), podarcade.make(name, api="gymnasium", num_envs=2)
actions = np.random.default_rng(0).integers(0, 5, (40, 2)).astype(np.int32)

@jax.jit
def play(keys):
    def step(state, action):
        state, time_step = jax.vmap(made.step)(state, action)
        return state, (state, time_step.replace(observation=None))
    return jax.lax.scan(step, jax.vmap(made.reset)(keys)[0], actions)[1]

frames = [vectors.reset(seed=3)[0], *(leaf for row in actions[:6] for leaf in vectors.step(row)[:4])]
keys = jax.random.split(jax.random.key(1), 2)
same = jax.tree.map(np.array_equal, made.reset(keys[0]), made.reset(jax.random.key_data(keys[0])))
print(json.dumps({
    "environment": digest(play(jax.random.key_data(keys))),
    "gymnasium": digest(frames),
    "typed keys and key data are the same": all(jax.tree.leaves(same)),
}))
"""
# The contract of all environments under both rule sets, of games at both sizes, in shapes only.
CHECK = """
from podarcade.envs.environment import environment_names, make
from podarcade.envs.tasks import Task
for name, (game, level) in environment_names().items():
    for rules in ("strict", "published"):
        make(name, rules=rules, obs_size=256 if level == "hard" and not issubclass(game, Task) else 128)
print("checked")
"""


@functools.cache
def run(program, **settings):
    environment = os.environ | {"PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"} | settings
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout.splitlines()[-1]


def test_64_bit_mode_plays_the_same_numbers():
    default, wide = json.loads(run(PLAY)), json.loads(run(PLAY, JAX_ENABLE_X64="1"))
    assert default == wide
    assert default["environment"][1] == ["bool", "float32", "int32", "uint32"]
    assert default["gymnasium"][1] == ["bool", "float64", "uint8"]  # rewards are float64 in Gymnasium


def test_key_data_may_have_any_number_of_words():
    rbg, default = json.loads(run(PLAY, JAX_DEFAULT_PRNG_IMPL="rbg")), json.loads(run(PLAY))
    for name in ("environment", "gymnasium"):
        assert rbg[name][0] != default[name][0] and rbg[name][1] == default[name][1]
    assert rbg["typed keys and key data are the same"] and default["typed keys and key data are the same"]


@pytest.mark.parametrize("setting", ["JAX_ENABLE_X64=1", "JAX_DEFAULT_PRNG_IMPL=rbg"])
def test_every_game_keeps_its_contract(setting):
    assert run(CHECK, **dict([setting.split("=")])) == "checked"
