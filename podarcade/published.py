"""What the published experiments of configs/paper/ have in common: tasks, networks and sizes of both versions."""

from podarcade import config as configs

# Frames of a run, and those over which its schedules run (appendix on hyper-parameters).
SHORT, MIDDLE, FULL, LONG = (10**7, 10**6), (10**7, 2 * 10**6), (2 * 10**7, 2 * 10**6), (10**8, 2 * 10**7)
BUDGETS = {
    "v1": {"cartpole": SHORT, "noisycartpole": SHORT, "autoencode": MIDDLE, "navigator": MIDDLE, "minesweeper": MIDDLE},
    "v2": {"cartpole": SHORT, "noisycartpole": SHORT, "autoencode": MIDDLE},
}
CPU_FRAMES = 400_000
# `dense`: layers after the memories of the Q-learners.
VERSIONS = {"v1": {"obs_size": 256, "layers": 1, "dense": 1}, "v2": {"obs_size": 128, "layers": 2, "dense": 0}}


def choose(argument: str | None) -> configs.ConfigDict:
    """What is asked for: version, game, level, partial, memory, budget and preset.

    Raises:
      ValueError: an argument that there is not, or with a value that there is not.
    """
    choice = configs.parse_argument(
        argument, version="v2", game="minesweeper", level="easy", partial=True, memory="lru", budget="table",
        preset="published",
    )  # fmt: skip
    configs.check_choice("version", choice.version, VERSIONS)
    configs.check_choice("budget", choice.budget, ("table", "long"))
    configs.check_choice("preset", choice.preset, ("published", "cpu"))
    configs.check_level(choice.game, choice.level)
    return choice


def budget(choice: configs.ConfigDict) -> tuple[int, int]:
    """Frames of a run of the Q-learners, and those over which its schedules run."""
    return LONG if choice.budget == "long" else BUDGETS[choice.version].get(choice.game, FULL)


def experiment(
    algorithm: str, choice: configs.ConfigDict, frames: tuple[int, int], dense: int, quirks: dict[str, tuple[str, ...]]
) -> configs.ConfigDict:
    """An algorithm at the sizes that all of them have.

    Args:
      algorithm: name of the plug-in.
      choice: what `choose` returned.
      frames: of a run, and those over which its schedules run, 0 for all.
      dense: layers after the memories.
      quirks: of the released "recurrent" and "feed-forward" trainers.
    """
    config = configs.root(choice.preset, choice.preset)
    config.version, config.budget = choice.version, choice.budget
    config.environment = configs.environment(choice)
    config.environment.update(rules="published", obs_size=VERSIONS[choice.version]["obs_size"])
    config.encoder = configs.section("encoders", "paper", initialiser="uniform")
    config.memory = configs.section("memory", choice.memory)
    config.num_envs = 16
    config.frames, config.schedule_frames = frames
    config.updates_per_call = 5
    config.evaluation.update(every=20, episodes=64)
    config.checkpoint.every = 100
    config.algorithm = configs.section("algorithms", algorithm, rollout=128, burn_in=0, epochs=4, minibatches=16)
    kind = "feed-forward" if choice.memory == "none" else "recurrent"
    config.compat.update(dict.fromkeys(quirks[kind], True))
    network(config, dense)
    return config


def finish(config: configs.ConfigDict, **rates: float) -> configs.ConfigDict:
    """The experiment with its learning rates, in the preset that was asked for."""
    config.algorithm.update(rates)
    if config.preset == "cpu":
        cpu(config)
    memory(config)
    configs.match_memory(config, "width")
    return config


def network(config: configs.ConfigDict, dense: int) -> None:
    """The block around the memories; without one, the head of the feed-forward trainers, which have no window."""
    if config.memory.name == "none":
        config.algorithm.update(burn_in=0, carry="zero")
        config.network = configs.network("paper_mlp", width=256, layers=2)
    else:
        config.network = configs.network("paper", width=512, layers=VERSIONS[config.version]["layers"])
        config.network.dense = dense


def memory(config: configs.ConfigDict) -> None:
    """Sizes and ranges of the released memories, as far as ours have them: matrix memories have one small head."""
    head = {"heads": 1, "head_dim": round(config.network.width**0.5)}
    config.memory.update(
        {
            "lru": {"minimum_radius": 0.0, "maximum_radius": 1.0},
            "transformer": {"heads": 1},
            "linear_transformer": head,
            "ttt_linear": head,
            "gated_deltanet": head | {"convolution": 0, "negative_eigenvalues": True},
        }.get(config.memory.name, {})
    )


def cpu(config: configs.ConfigDict) -> None:
    """Minutes on two cores, to see what the quirks do: a small network, and rates ten times the published ones."""
    config.encoder = configs.section("encoders", "cpu")
    if config.memory.name != "none":
        config.network.width = 128
    config.schedule_frames = CPU_FRAMES * config.schedule_frames // config.frames
    config.frames = CPU_FRAMES
    algorithm = config.algorithm
    algorithm.update(learning_rate=10 * algorithm.learning_rate, learning_rate_end=10 * algorithm.learning_rate_end)
    config.evaluation.every = 4
