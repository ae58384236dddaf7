r"""PQN with a memory on one game, on its full or its partial twin.

    python -m podarcade.launch --config=configs/pqn_lru.py
    python -m podarcade.launch --config=configs/pqn_lru.py:game=cartpole,partial=false,memory=none
    python -m podarcade.launch --config=configs/pqn_lru.py:level=hard,preset=gpu --config.seeds=4
    python -m podarcade.launch --config=configs/pqn_lru.py:memory=gated_deltanet,match=parameters

Arguments choose the structure (game, level, partial, memory, trunk, match, encoder, preset), `--config.x=y` the values.
Presets: `auto` takes `cpu` where there is no accelerator and `gpu` where there is one; `smoke` runs in seconds and
learns nothing. The published sizes and schedules are in configs/popgym_arcade/.
"""

from podarcade import presets


def get_config(argument=None):
    """The experiment, as a ConfigDict."""
    return presets.experiment("pqn", argument, cpu=cpu, gpu=gpu, pod=pod, smoke=presets.smoke)


def cpu(config):
    """Four minutes on two cores."""
    presets.cpu(config)
    config.algorithm.update(
        learning_rate=3e-4, learning_rate_end=1e-5, learning_rate_fraction=0.5, reward_scale=2.0, epsilon_fraction=0.4,
        epsilon_end=0.05,
    )  # fmt: skip


def gpu(config):
    """One accelerator at work. Not measured."""
    presets.gpu(config)
    config.algorithm.update(learning_rate=3e-4, reward_scale=2.0)


def pod(config):
    """As `gpu`, on many. Not measured."""
    gpu(config)
    presets.pod(config)
