"""What the published experiments of configs/popgym_arcade/ have in common: tasks, networks and sizes of both versions."""

from podarcade import configuration

# Frames of a run, and those over which its schedules run (appendix on hyper-parameters).
SHORT, MIDDLE, FULL, LONG = (10**7, 10**6), (10**7, 2 * 10**6), (2 * 10**7, 2 * 10**6), (10**8, 2 * 10**7)
BUDGETS = {
    "v1": {"cartpole": SHORT, "noisycartpole": SHORT, "autoencode": MIDDLE, "navigator": MIDDLE, "minesweeper": MIDDLE},
    "v2": {"cartpole": SHORT, "noisycartpole": SHORT, "autoencode": MIDDLE},
}
CPU_FRAMES = 400_000
# `dense`: layers after the memories of the Q-learners.
VERSIONS = {"v1": {"obs_size": 256, "layers": 1, "dense": 1}, "v2": {"obs_size": 128, "layers": 2, "dense": 0}}


def choose(argument: str | None) -> configuration.ConfigDict:
    """What is asked for: version, game, level, partial, memory, budget and preset.

    Raises:
      ValueError: an argument that there is not, or with a value that there is not.
    """
    choice = configuration.parse_argument(
        argument, version="v2", game="minesweeper", level="easy", partial=True, memory="lru", budget="table",
        preset="published",
    )  # fmt: skip
    configuration.check_choice("version", choice.version, VERSIONS)
    configuration.check_choice("budget", choice.budget, ("table", "long"))
    configuration.check_choice("preset", choice.preset, ("published", "cpu"))
    configuration.check_level(choice.game, choice.level)
    return choice


def budget(choice: configuration.ConfigDict) -> tuple[int, int]:
    """Frames of a run of the Q-learners, and those over which its schedules run."""
    return LONG if choice.budget == "long" else BUDGETS[choice.version].get(choice.game, FULL)


def experiment(
    algorithm: str,
    choice: configuration.ConfigDict,
    frames: tuple[int, int],
    dense: int,
    quirks: dict[str, tuple[str, ...]],
) -> configuration.ConfigDict:
    """An algorithm at the sizes that all of them have.

    Args:
      algorithm: name of the plug-in.
      choice: what `choose` returned.
      frames: of a run, and those over which its schedules run, 0 for all.
      dense: layers after the memories.
      quirks: of the released "recurrent" and "feed-forward" trainers.
    """
    config = configuration.root(choice.preset, choice.preset)
    config.version, config.budget = choice.version, choice.budget
    config.environment = configuration.environment(choice)
    config.environment.update(rules="published", obs_size=VERSIONS[choice.version]["obs_size"])
    config.encoder = configuration.section("encoders", "popgym_cnn", initialiser="uniform")
    config.memory = configuration.section("memory", choice.memory)
    config.num_envs = 16
    config.frames, config.schedule_frames = frames
    config.updates_per_call = 5
    config.evaluation.update(every=20, episodes=64)
    config.checkpoint.every = 100
    config.algorithm = configuration.section(
        "algorithms", algorithm, rollout_length=128, burn_in=0, num_epochs=4, num_minibatches=16
    )
    kind = "feed-forward" if choice.memory == "none" else "recurrent"
    config.compat.update(dict.fromkeys(quirks[kind], True))
    network(config, dense)
    return config


def finish(config: configuration.ConfigDict, **rates: float) -> configuration.ConfigDict:
    """The experiment with its learning rates, in the preset that was asked for."""
    config.algorithm.update(rates)
    if config.preset == "cpu":
        cpu(config)
    memory(config)
    configuration.match_memory(config, "width")
    return config


def network(config: configuration.ConfigDict, dense: int) -> None:
    """The block around the memories; without one, the head of the feed-forward trainers, which have no window."""
    if config.memory.name == "none":
        config.algorithm.update(burn_in=0, carry_init="zero")
        config.network = configuration.network("popgym_mlp", width=256, layers=2)
    else:
        config.network = configuration.network("popgym", width=512, layers=VERSIONS[config.version]["layers"])
        config.network.dense = dense


def memory(config: configuration.ConfigDict) -> None:
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


def cpu(config: configuration.ConfigDict) -> None:
    """Minutes on two cores, to see what the quirks do: a small network, and rates ten times the published ones."""
    config.encoder = configuration.section("encoders", "patch")
    if config.memory.name != "none":
        config.network.width = 128
    config.schedule_frames = CPU_FRAMES * config.schedule_frames // config.frames
    config.frames = CPU_FRAMES
    algorithm = config.algorithm
    algorithm.update(learning_rate=10 * algorithm.learning_rate, learning_rate_end=10 * algorithm.learning_rate_end)
    config.evaluation.every = 4


def switches(config: configuration.ConfigDict) -> list[str]:
    """Return the dotted paths of the quirk switches that are on, as `config.PATH=false` takes them."""
    return [f"compat.{name}" for name, is_on in config.compat.items() if is_on]
