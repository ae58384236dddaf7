r"""Recurrent double DQN with replay and a memory on one game, on its full or its partial twin.

    python -m podarcade.launch --config=configs/dqn.py
    python -m podarcade.launch --config=configs/dqn.py:game=cartpole,partial=false,memory=none
    python -m podarcade.launch --config=configs/dqn.py --config.algorithm.returns=lambda
    python -m podarcade.launch --config=configs/dqn.py --config.algorithm.priority_exponent=0.9

Arguments and presets are those of configs/pqn_lru.py; the published sizes and schedules are in configs/popgym_arcade/.
"""

from podarcade import presets


def get_config(argument=None):
    """The experiment, as a ConfigDict."""
    return presets.experiment("dqn", argument, cpu=cpu, gpu=gpu, pod=pod, smoke=smoke)


def cpu(config):
    """Minutes on two cores: as many frames and gradient steps as the other algorithms."""
    presets.cpu(config)
    config.algorithm.update(
        carry_init="stored", learning_rate=3e-4, learning_rate_end=1e-5, learning_rate_fraction=0.5, reward_scale=2.0,
        epsilon_fraction=0.4, epsilon_end=0.05, target_rate=0.02,
    )  # fmt: skip


def gpu(config):
    """One accelerator at work, a million transitions on it. Not measured."""
    presets.gpu(config)
    config.algorithm.update(carry_init="stored", capacity=1_000_000, learning_rate=3e-4, reward_scale=2.0)


def pod(config):
    """As `gpu`, on many, ten million transitions over all of them. Not measured."""
    gpu(config)
    presets.pod(config)
    config.algorithm.capacity = 10_000_000


def smoke(config):
    """Seconds: everything runs once, nothing is learnt."""
    presets.smoke(config)
    config.algorithm.capacity = 1024
