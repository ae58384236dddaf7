r"""PQN with a memory on one game, on its full or its partial twin.

    python -m podarcade.launch --config=configs/pqn_lru.py
    python -m podarcade.launch --config=configs/pqn_lru.py:game=cartpole,partial=false,memory=none
    python -m podarcade.launch --config=configs/pqn_lru.py:level=hard,preset=gpu --config.seeds=4
    python -m podarcade.launch --config=configs/pqn_lru.py:memory=gated_deltanet,match=parameters

Arguments choose the structure (game, level, partial, memory, trunk, match, encoder, preset), `--config.x=y` the values.
Presets: `auto` takes `cpu` where there is no accelerator and `gpu` where there is one; `smoke` runs in seconds and
learns nothing. The published sizes and schedules are in configs/paper/.
"""

from podarcade import config as configs


def get_config(argument=None):
    """The experiment, as a ConfigDict."""
    choice = configs.parse_argument(
        argument, game="minesweeper", level="easy", partial=True, memory="lru", trunk="residual", match="width",
        encoder="auto", preset="auto",
    )  # fmt: skip
    presets = {"cpu": cpu, "gpu": gpu, "pod": pod, "smoke": smoke}
    preset = configs.choose_preset(choice.preset, tuple(presets))
    configs.check_level(choice.game, choice.level)
    encoder = choice.encoder if choice.encoder != "auto" else "cpu" if preset in ("cpu", "smoke") else "paper"
    config = configs.root(preset, choice.preset)
    config.environment = configs.environment(choice)
    config.encoder = configs.section("encoders", encoder)
    config.memory = configs.section("memory", choice.memory)
    config.network = configs.network(choice.trunk, width=128, layers=1)
    config.algorithm = configs.section("algorithms", "pqn")
    presets[preset](config)
    configs.match_memory(config, choice.match)
    return config


def cpu(config):
    """Four minutes on two cores: a small encoder, few environments, long rollouts, many small gradient steps."""
    config.num_envs = 16
    config.frames = 400_000
    config.updates_per_call = 5
    config.evaluation.every = 2
    config.evaluation.episodes = 64
    config.checkpoint.every = 4
    config.algorithm.update(
        rollout=128, burn_in=32, epochs=4, minibatches=16, learning_rate=3e-4, learning_rate_end=1e-5,
        learning_rate_fraction=0.5, reward_scale=2.0, epsilon_fraction=0.4, epsilon_end=0.05,
    )  # fmt: skip


def gpu(config):
    """One accelerator at work: many environments, the paper's encoder, sixteen of them a minibatch. Not measured."""
    config.num_envs = 1024
    config.frames = 20_000_000
    config.updates_per_call = 4
    config.evaluation.every = 8
    config.evaluation.episodes = 256
    config.checkpoint.every = 16
    config.network.update(width=256, layers=2)
    config.algorithm.update(rollout=64, burn_in=32, epochs=2, minibatches=64, learning_rate=3e-4)


def pod(config):
    """Many accelerators, or one of 16 GB: as `gpu`, but 8192 environments and eight times the frames. Not measured."""
    gpu(config)
    config.num_envs = 8192
    config.frames = 160_000_000
    config.network.encode_chunk = 1024


def smoke(config):
    """Seconds: everything runs once, nothing is learnt; 8 environments, for 1, 2 or 4 devices."""
    config.num_envs = 8
    config.frames = 1280
    config.updates_per_call = 2
    config.evaluation.every = 2
    config.evaluation.episodes = 4
    config.checkpoint.every = 2
    config.network.update(width=32)
    if config.encoder.name == "cpu":
        config.encoder.update(patch_features=8, group_features=16, features=32)
    config.algorithm.update(rollout=8, burn_in=2, epochs=2, minibatches=2)
