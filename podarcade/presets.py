"""Building blocks of the experiments in configs/: arguments choose the structure, presets the sizes.

A custom experiment:

    from podarcade import presets

    def get_config(argument=None):
        config = presets.experiment("pqn", argument, presets.PQN)
        config.algorithm.learning_rate = 1e-3
        return config
"""

from collections.abc import Mapping
from typing import Any

from podarcade import configuration, plugins
from podarcade.envs.tasks import Task

ARGUMENTS = {
    "game": "minesweeper",
    "level": "easy",
    "partial": True,
    "memory": "lru",
    "trunk": "residual",
    "match": "width",
    "init": "paper",
    "encoder": "auto",
    "preset": "auto",
}

# Options of the algorithms by preset; `cpu_tasks` is `cpu` for tasks without pixels. Results are measured with the two,
# `gpu` and `pod` are not measured.
PQN: dict[str, dict[str, Any]] = {
    "cpu": {
        "learning_rate": 3e-4, "learning_rate_end": 1e-5, "learning_rate_fraction": 0.5, "reward_scale": 2.0,
        "epsilon_fraction": 0.4, "epsilon_end": 0.05,
    },
    "cpu_tasks": {
        "learning_rate": 1e-3, "learning_rate_end": 1e-5, "td_lambda": 0.7, "epsilon_fraction": 0.4,
        "epsilon_end": 0.02,
    },
    **{name: {"learning_rate": 3e-4, "reward_scale": 2.0} for name in ("gpu", "pod")},
}  # fmt: skip
PPO: dict[str, dict[str, Any]] = {
    # Gradient steps of four environments each, because advantages are standardised over them.
    "cpu": {
        "num_minibatches": 4, "optimiser": "adam", "learning_rate": 1e-3, "learning_rate_end": 1e-5,
        "reward_scale": 2.0,
    },
    "cpu_tasks": {"optimiser": "adam", "learning_rate": 1e-3, "learning_rate_end": 1e-5},
    **{
        name: {
            "num_epochs": 4, "num_minibatches": 16, "optimiser": "adam", "learning_rate": 5e-4, "reward_scale": 2.0,
        }
        for name in ("gpu", "pod")
    },
}  # fmt: skip
DQN: dict[str, dict[str, Any]] = {
    "cpu": {
        "carry_init": "stored", "learning_rate": 3e-4, "learning_rate_end": 1e-5, "learning_rate_fraction": 0.5,
        "reward_scale": 2.0, "epsilon_fraction": 0.4, "epsilon_end": 0.05, "target_rate": 0.02,
    },
    "cpu_tasks": {
        "carry_init": "stored", "learning_rate": 1e-3, "learning_rate_end": 1e-5, "epsilon_fraction": 0.4,
        "epsilon_end": 0.02, "target_rate": 0.02,
    },
    "gpu": {"carry_init": "stored", "capacity": 1_000_000, "learning_rate": 3e-4, "reward_scale": 2.0},
    "pod": {"carry_init": "stored", "capacity": 10_000_000, "learning_rate": 3e-4, "reward_scale": 2.0},
    "smoke": {"capacity": 1024},
}  # fmt: skip


def experiment(
    algorithm: str, argument: str | None, options: Mapping[str, Mapping[str, Any]] | None = None
) -> configuration.ConfigDict:
    """Return an experiment: an algorithm with a memory on one game, by default an LRU on partial MineSweeper.

    Args:
      algorithm: the plug-in, unless the argument names another.
      argument: as in `--config=FILE.py:ARGUMENT`; its names are `algorithm` and those of `ARGUMENTS`. The preset `auto`
        is `gpu` where there is an accelerator, else `cpu`.
      options: {preset: options of the algorithm}, applied after the sizes of the preset.

    Raises:
      ValueError: an unknown argument, or an unknown value of one.
    """
    choice = configuration.parse_argument(argument, algorithm=algorithm, **ARGUMENTS)
    preset = configuration.choose_preset(choice.preset, PRESETS)
    configuration.check_level(choice.game, choice.level)
    encoder = choice.encoder if choice.encoder != "auto" else "patch" if preset in ("cpu", "smoke") else "popgym_cnn"
    config = configuration.root(preset, choice.preset)
    config.environment = configuration.environment(choice)
    config.encoder = configuration.section("encoders", encoder)
    config.memory = configuration.section("memory", choice.memory)
    config.network = configuration.network(choice.trunk, choice.memory, width=128, layers=1)
    config.algorithm = configuration.section("algorithms", choice.algorithm)
    is_task = issubclass(plugins.find("games", choice.game), Task)
    sizes = f"{preset}_tasks" if is_task and f"{preset}_tasks" in SIZES else preset
    SIZES[sizes](config)
    config.algorithm.update((options or {}).get(sizes, {}))
    configuration.initialise_memory(config, choice.init)
    configuration.match_memory(config, choice.match)
    return config


def cpu(config: configuration.ConfigDict) -> None:
    """Apply `cpu`, for minutes on two cores: a small encoder, few environments, many small gradient steps."""
    config.num_envs = 16
    config.frames = 400_000
    config.updates_per_call = 5
    config.evaluation.update(every=2, episodes=64)
    config.checkpoint.every = 4
    config.algorithm.update(rollout_length=128, burn_in=32, num_epochs=4, num_minibatches=16)


def cpu_tasks(config: configuration.ConfigDict) -> None:
    """Apply `cpu` to a task without pixels: a narrow network, more environments, fewer gradient steps, more frames."""
    config.num_envs = 64
    config.frames = 500_000
    config.updates_per_call = 4
    config.evaluation.update(every=4, episodes=64)
    config.checkpoint.every = 8
    config.network.update(width=64)
    config.algorithm.update(rollout_length=64, burn_in=0, num_epochs=2, num_minibatches=8)


def gpu(config: configuration.ConfigDict) -> None:
    """Apply `gpu`, for one accelerator: many environments, sixteen to a minibatch, the published encoder."""
    config.num_envs = 1024
    config.frames = 20_000_000
    config.updates_per_call = 4
    config.evaluation.update(every=8, episodes=256)
    config.checkpoint.every = 16
    config.network.update(width=256, layers=2)
    config.algorithm.update(rollout_length=64, burn_in=32, num_epochs=2, num_minibatches=64)


def pod(config: configuration.ConfigDict) -> None:
    """Apply `pod`, for many accelerators, or one of 16 GB: `gpu` with 8192 environments and eight times the frames."""
    gpu(config)
    config.num_envs = 8192
    config.frames = 160_000_000
    config.network.encode_chunk = 1024


def smoke(config: configuration.ConfigDict) -> None:
    """Apply `smoke`, which exercises every code path in seconds and learns nothing; for 1, 2 or 4 devices."""
    config.num_envs = 8
    config.frames = 1280
    config.updates_per_call = 2
    config.evaluation.update(every=2, episodes=4)
    config.checkpoint.every = 2
    config.network.update(width=32)
    if config.encoder.name == "patch":
        config.encoder.update(patch_features=8, group_features=16, features=32)
    config.algorithm.update(rollout_length=8, burn_in=2, num_epochs=2, num_minibatches=2)


SIZES = {"cpu": cpu, "cpu_tasks": cpu_tasks, "gpu": gpu, "pod": pod, "smoke": smoke}
PRESETS = ("cpu", "gpu", "pod", "smoke")
