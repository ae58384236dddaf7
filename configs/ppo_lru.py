r"""PPO with a memory on one game, on its full or its partial twin.

    python -m podarcade.launch --config=configs/ppo_lru.py
    python -m podarcade.launch --config=configs/ppo_lru.py:game=cartpole,partial=false,memory=none
    python -m podarcade.launch --config=configs/ppo_lru.py --config.algorithm.shared=false

Arguments and presets are those of configs/pqn_lru.py; the published sizes and schedules are in configs/paper/.
"""

from podarcade import experiment


def get_config(argument=None):
    """The experiment, as a ConfigDict."""
    return experiment.experiment("ppo", argument, cpu=cpu, gpu=gpu, pod=pod, smoke=experiment.smoke)


def cpu(config):
    """Three minutes on two cores: gradient steps of four environments, for advantages are standardised over them."""
    experiment.cpu(config)
    config.algorithm.update(
        minibatches=4, optimiser="adam", learning_rate=1e-3, learning_rate_end=1e-5, reward_scale=2.0,
    )  # fmt: skip


def gpu(config):
    """One accelerator at work. Not measured."""
    experiment.gpu(config)
    config.algorithm.update(epochs=4, minibatches=16, optimiser="adam", learning_rate=5e-4, reward_scale=2.0)


def pod(config):
    """As `gpu`, on many. Not measured."""
    gpu(config)
    experiment.pod(config)
