"""The published experiments of configs/popgym_arcade/: budgets, networks, sizes and quirks of both paper versions."""

from podarcade import configuration, plugins

# (frames of a run, frames over which its schedules run), from the papers' hyper-parameter tables.
SHORT, MIDDLE, FULL, LONG = (10**7, 10**6), (10**7, 2 * 10**6), (2 * 10**7, 2 * 10**6), (10**8, 2 * 10**7)
BUDGETS = {
    "v1": {"cartpole": SHORT, "noisycartpole": SHORT, "autoencode": MIDDLE, "navigator": MIDDLE, "minesweeper": MIDDLE},
    "v2": {"cartpole": SHORT, "noisycartpole": SHORT, "autoencode": MIDDLE},
}
CPU_FRAMES = 400_000
# `dense`: dense layers after the memory layers of the Q-learners.
VERSIONS = {"v1": {"obs_size": 256, "layers": 1, "dense": 1}, "v2": {"obs_size": 128, "layers": 2, "dense": 0}}


def parse_choice(argument: str | None) -> configuration.ConfigDict:
    """Return the version, game, level, partial, memory, budget, preset and trainer that an argument asks for.

    Raises:
      ValueError: unknown argument or value.
    """
    choice = configuration.parse_argument(
        argument, version="v2", game="minesweeper", level="easy", partial=True, memory="lru", budget="table",
        preset="published", trainer="auto",
    )  # fmt: skip
    configuration.check_choice("version", choice.version, VERSIONS)
    configuration.check_choice("budget", choice.budget, ("table", "long"))
    configuration.check_choice("preset", choice.preset, ("published", "cpu"))
    configuration.check_choice("trainer", choice.trainer, ("auto", "recurrent"))
    configuration.check_level(choice.game, choice.level)
    return choice


def is_recurrent(choice: configuration.ConfigDict) -> bool:
    """Return whether the released recurrent trainer and its network are used.

    They are for every memory, and with `trainer=recurrent` also for `none`: a control for Memory Bias that differs from
    the others in nothing but the memory, unlike the released feed-forward trainer.
    """
    return choice.memory != "none" or choice.trainer == "recurrent"


def budget(choice: configuration.ConfigDict) -> tuple[int, int]:
    """Return the frames of a Q-learner's run, and the frames over which its schedules run."""
    return LONG if choice.budget == "long" else BUDGETS[choice.version].get(choice.game, FULL)


def experiment(
    algorithm: str, choice: configuration.ConfigDict, frames: tuple[int, int], dense: int
) -> configuration.ConfigDict:
    """Return a released trainer at the sizes all of them share, with its quirks on.

    Args:
      algorithm: "popgym_pqn", "popgym_ppo" or "popgym_dqn".
      choice: result of `parse_choice`.
      frames: frames of a run, and frames over which its schedules run, 0 for all.
      dense: dense layers after the memory layers.
    """
    config = configuration.root(choice.preset, choice.preset)
    config.version, config.budget = choice.version, choice.budget
    config.environment = configuration.environment(choice)
    config.environment.update(rules="published", obs_size=VERSIONS[choice.version]["obs_size"], limit_is_terminal=True)
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
    kind = "recurrent" if is_recurrent(choice) else "feed-forward"
    config.algorithm.update(dict.fromkeys(plugins.find("algorithms", algorithm).QUIRKS[kind], True))
    set_network(config, kind, dense)
    return config


def switches(config: configuration.ConfigDict) -> tuple[str, ...]:
    """Return the dotted paths of a configuration's quirk switches that are on; none for other experiments."""
    quirks = getattr(plugins.find("algorithms", config.algorithm.name), "QUIRKS", {})
    names = dict.fromkeys(name for kind in quirks.values() for name in kind if config.algorithm[name])
    terminal = ["environment.limit_is_terminal"] if config.environment.limit_is_terminal else []
    return (*(f"algorithm.{name}" for name in names), *terminal)


def finish(config: configuration.ConfigDict, **rates: float) -> configuration.ConfigDict:
    """Return the experiment with its learning rates, in the preset asked for."""
    config.algorithm.update(rates)
    if config.preset == "cpu":
        shrink_for_cpu(config)
    set_memory(config)
    configuration.initialise_memory(config, "paper")
    configuration.match_memory(config, "width")
    return config


def set_network(config: configuration.ConfigDict, kind: str, dense: int) -> None:
    """Set the network of the released trainers of a kind, "recurrent" or "feed-forward"."""
    if kind == "feed-forward":
        config.algorithm.update(burn_in=0, carry_init="zero")
        config.network = configuration.network("popgym_mlp", "none", width=256, layers=2)
    else:
        layers = VERSIONS[config.version]["layers"]
        config.network = configuration.network("popgym", config.memory.name, width=512, layers=layers)
        config.network.dense = dense


def set_memory(config: configuration.ConfigDict) -> None:
    """Set sizes and ranges of the released memory layers where ours have them: matrix memories get one small head."""
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


def shrink_for_cpu(config: configuration.ConfigDict) -> None:
    """Shrink the run to minutes on two cores: a small network, few frames, learning rates ten times as high."""
    config.encoder = configuration.section("encoders", "patch")
    if config.network.trunk == "popgym":
        config.network.width = 128
    config.schedule_frames = CPU_FRAMES * config.schedule_frames // config.frames
    config.frames = CPU_FRAMES
    algorithm = config.algorithm
    algorithm.update(learning_rate=10 * algorithm.learning_rate, learning_rate_end=10 * algorithm.learning_rate_end)
    config.evaluation.every = 4
