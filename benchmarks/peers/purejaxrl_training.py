"""Peer that trains with the recurrent PPO of purejaxrl, `ppo_rnn.py`.

The script is imported and not modified. Its training is one compiled program from the first reset to the last update,
and every call is a whole training of a few updates, without evaluation. Two names that it looks up are replaced:
`gymnax.make` by a function that returns our task, and `nn.GRUCell`, which it calls as in flax 0.6, by the same cell of
the flax that runs on our jax. Options are those at the end of the script, without the printing of returns (`DEBUG`).
"""

import pathlib
import sys
from unittest import mock

import jax
import jax.numpy as jnp
from flax import linen as nn

from benchmarks.peers import gymnax0_tasks, whole_program

sys.path.append(str(pathlib.Path(sys.prefix) / "checkout" / "purejaxrl"))
import ppo_rnn

WIDTH = 128  # of its dense layers and of its GRU


class GRUCell(nn.GRUCell):
    """GRU cell with the interface of flax 0.6."""

    features: int = WIDTH

    @staticmethod
    def initialize_carry(key: jax.Array, batch_dims: tuple[int, ...], size: int) -> jax.Array:
        """Return the carry of fresh environments, float32[*batch_dims, size]."""
        return jnp.zeros((*batch_dims, size), jnp.float32)


ppo_rnn.nn.GRUCell = GRUCell


def make(setting: whole_program.Setting) -> whole_program.Training:
    """Return the training.

    Raises:
      ValueError: another algorithm, memory or width than it has.
    """
    if (setting.algorithm, setting.memory, setting.width) != ("ppo", "gru", WIDTH):
        given = f"{setting.algorithm}, {setting.memory}, width {setting.width}"
        raise ValueError(f"{given}; purejaxrl has ppo with a gru of width {WIDTH}")
    config = {
        "LR": 2.5e-4, "NUM_ENVS": setting.envs, "NUM_STEPS": setting.rollout_length,
        "TOTAL_TIMESTEPS": setting.frames,
        "UPDATE_EPOCHS": setting.num_epochs, "NUM_MINIBATCHES": setting.num_minibatches,
        "GAMMA": 0.99, "GAE_LAMBDA": 0.95,
        "CLIP_EPS": 0.2, "ENT_COEF": 0.01, "VF_COEF": 0.5, "MAX_GRAD_NORM": 0.5, "ENV_NAME": setting.task,
        "ANNEAL_LR": True,
        "DEBUG": False,
    }  # fmt: skip
    with mock.patch.object(ppo_rnn.gymnax, "make", gymnax0_tasks.make):
        train = ppo_rnn.make_train(config)
    return whole_program.Training(
        train=train,
        arguments=(jax.random.PRNGKey(30),),
        proceed=lambda results: (results["runner_state"][-1],),
        params=lambda results: results["runner_state"][0].params,
    )


if __name__ == "__main__":
    whole_program.Server(make, "gymnax", "distrax", "flax", "optax", "jax").serve()
