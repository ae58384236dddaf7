r"""PPO with a memory on one game, on its full or its partial twin.

    python -m podarcade.launch --config=configs/ppo.py
    python -m podarcade.launch --config=configs/ppo.py:game=cartpole,partial=false,memory=none
    python -m podarcade.launch --config=configs/ppo.py --config.algorithm.shared=false

Arguments and presets are those of configs/pqn_lru.py; the published sizes and schedules are in configs/popgym_arcade/.
"""

from podarcade import presets


def get_config(argument=None):
    """The experiment, as a ConfigDict."""
    return presets.experiment("ppo", argument, cpu=cpu, gpu=gpu, pod=pod, smoke=presets.smoke)


def cpu(config):
    """Three minutes on two cores: gradient steps of four environments, for advantages are standardised over them."""
    presets.cpu(config)
    config.algorithm.update(
        num_minibatches=4, optimiser="adam", learning_rate=1e-3, learning_rate_end=1e-5, reward_scale=2.0,
    )  # fmt: skip


def gpu(config):
    """One accelerator at work. Not measured."""
    presets.gpu(config)
    config.algorithm.update(num_epochs=4, num_minibatches=16, optimiser="adam", learning_rate=5e-4, reward_scale=2.0)


def pod(config):
    """As `gpu`, on many. Not measured."""
    gpu(config)
    presets.pod(config)
