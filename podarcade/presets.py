"""What the experiments of configs/ have in common: arguments for the structure, and presets for the sizes."""

from collections.abc import Callable

from podarcade import configuration

Preset = Callable[[configuration.ConfigDict], None]


def experiment(algorithm: str, argument: str | None, **presets: Preset) -> configuration.ConfigDict:
    """An algorithm with a memory on one game; the LRU on the partial twin of MineSweeper unless asked otherwise.

    Args:
      algorithm: name of the plug-in.
      argument: as in `--config=FILE.py:ARGUMENT`, any of game, level, partial, memory, trunk, match, encoder, preset.
      **presets: what sets the sizes; `auto` takes cpu or gpu.

    Raises:
      ValueError: an argument that there is not, or with a value that there is not.
    """
    choice = configuration.parse_argument(
        argument, game="minesweeper", level="easy", partial=True, memory="lru", trunk="residual", match="width",
        encoder="auto", preset="auto",
    )  # fmt: skip
    preset = configuration.choose_preset(choice.preset, tuple(presets))
    configuration.check_level(choice.game, choice.level)
    encoder = choice.encoder if choice.encoder != "auto" else "patch" if preset in ("cpu", "smoke") else "popgym_cnn"
    config = configuration.root(preset, choice.preset)
    config.environment = configuration.environment(choice)
    config.encoder = configuration.section("encoders", encoder)
    config.memory = configuration.section("memory", choice.memory)
    config.network = configuration.network(choice.trunk, width=128, layers=1)
    config.algorithm = configuration.section("algorithms", algorithm)
    presets[preset](config)
    configuration.match_memory(config, choice.match)
    return config


def cpu(config: configuration.ConfigDict) -> None:
    """Minutes on two cores: a small encoder, few environments, long rollouts, many small gradient steps."""
    config.num_envs = 16
    config.frames = 400_000
    config.updates_per_call = 5
    config.evaluation.update(every=2, episodes=64)
    config.checkpoint.every = 4
    config.algorithm.update(rollout_length=128, burn_in=32, num_epochs=4, num_minibatches=16)


def gpu(config: configuration.ConfigDict) -> None:
    """One accelerator at work: many environments, the paper's encoder, sixteen of them a minibatch."""
    config.num_envs = 1024
    config.frames = 20_000_000
    config.updates_per_call = 4
    config.evaluation.update(every=8, episodes=256)
    config.checkpoint.every = 16
    config.network.update(width=256, layers=2)
    config.algorithm.update(rollout_length=64, burn_in=32, num_epochs=2, num_minibatches=64)


def pod(config: configuration.ConfigDict) -> None:
    """Many accelerators, or one of 16 GB: as `gpu`, but 8192 environments and eight times the frames. Not measured."""
    config.num_envs = 8192
    config.frames = 160_000_000
    config.network.encode_chunk = 1024


def smoke(config: configuration.ConfigDict) -> None:
    """Seconds: everything runs once, nothing is learnt; 8 environments, for 1, 2 or 4 devices."""
    config.num_envs = 8
    config.frames = 1280
    config.updates_per_call = 2
    config.evaluation.update(every=2, episodes=4)
    config.checkpoint.every = 2
    config.network.update(width=32)
    if config.encoder.name == "patch":
        config.encoder.update(patch_features=8, group_features=16, features=32)
    config.algorithm.update(rollout_length=8, burn_in=2, num_epochs=2, num_minibatches=2)
