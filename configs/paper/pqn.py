r"""PQN as published with POPGym Arcade: its sizes, schedules, rules and quirks, each quirk behind a switch.

    python -m podarcade.launch --config=configs/paper/pqn.py:game=battleship,memory=gru --config.seeds=5
    python -m podarcade.launch --config=configs/paper/pqn.py:version=v1,memory=min_gru --config.seeds=3
    python -m podarcade.launch --config=configs/paper/pqn.py --config.compat.epsilon_horizon=false
    python -m podarcade.launch --config=configs/paper/pqn.py:preset=cpu

`version` is v1 (March 2025: 256 pixels, one memory layer) or v2 (128 pixels, two); `budget` is table, that of the
tables, or long, that of the saliency maps. `memory=none` is their feed-forward trainer. Each run took them 40
to 80 minutes on a desktop GPU. Every `compat` switch that is turned off by itself is one row of an ablation. The preset
`cpu` has the small encoder and width of the `cpu` preset elsewhere and as many frames; its schedules are the same
fractions of the run as the published ones, and its learning rates ten times as high, for there are few gradient steps.
"""

from podarcade import config as configs

# Frames of a run, and those over which its schedules run (appendix on hyper-parameters).
SHORT, MIDDLE, FULL, LONG = (10**7, 10**6), (10**7, 2 * 10**6), (2 * 10**7, 2 * 10**6), (10**8, 2 * 10**7)
BUDGETS = {
    "v1": {"cartpole": SHORT, "noisycartpole": SHORT, "autoencode": MIDDLE, "navigator": MIDDLE, "minesweeper": MIDDLE},
    "v2": {"cartpole": SHORT, "noisycartpole": SHORT, "autoencode": MIDDLE},
}
CPU_FRAMES = 400_000

SHARED = ("epsilon_horizon", "limit_is_terminal", "held_return")
QUIRKS = {
    "recurrent": (*SHARED, "window_loss", "stale_carry", "action_leak"),
    "feed-forward": (*SHARED, "off_by_one", "feed_forward"),
}


def get_config(argument=None):
    """The experiment, as a ConfigDict."""
    choice = configs.parse_argument(
        argument, version="v2", game="minesweeper", level="easy", partial=True, memory="lru", budget="table",
        preset="published",
    )  # fmt: skip
    configs.check_choice("version", choice.version, ("v1", "v2"))
    configs.check_choice("budget", choice.budget, ("table", "long"))
    configs.check_choice("preset", choice.preset, ("published", "cpu"))
    configs.check_level(choice.game, choice.level)
    config = configs.root(choice.preset, choice.preset)
    config.version, config.budget = choice.version, choice.budget
    config.environment = configs.environment(choice)
    config.environment.update(rules="published", obs_size={"v1": 256, "v2": 128}[choice.version])
    config.encoder = configs.section("encoders", "paper", initialiser="uniform")
    config.memory = configs.section("memory", choice.memory)
    config.num_envs = 16
    table = BUDGETS[choice.version].get(choice.game, FULL)
    config.frames, config.schedule_frames = table if choice.budget == "table" else LONG
    config.updates_per_call = 5
    config.evaluation.update(every=20, episodes=64)
    config.checkpoint.every = 100
    config.algorithm = configs.section(
        "algorithms", "pqn", rollout=128, burn_in=4, epochs=4, minibatches=16, learning_rate=5e-5,
        learning_rate_end=5e-7, epsilon_fraction=0.25,
    )  # fmt: skip
    network(config)
    if choice.preset == "cpu":
        cpu(config)
    memory(config)
    configs.match_memory(config, "width")
    config.compat.update(dict.fromkeys(QUIRKS["feed-forward" if choice.memory == "none" else "recurrent"], True))
    return config


def network(config):
    """The block around the memories; without one, the head of the feed-forward trainer, which has no window."""
    if config.memory.name == "none":
        config.algorithm.update(burn_in=0, carry="zero")
        config.network = configs.network("paper_mlp", width=256, layers=2)
    else:
        config.network = configs.network("paper", width=512, layers={"v1": 1, "v2": 2}[config.version])
        config.network.dense = {"v1": 1, "v2": 0}[config.version]


def memory(config):
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


def cpu(config):
    """Minutes on two cores, to see what the quirks do: a small network, and rates ten times the published ones."""
    config.encoder = configs.section("encoders", "cpu")
    if config.memory.name != "none":
        config.network.width = 128
    config.schedule_frames = CPU_FRAMES * config.schedule_frames // config.frames
    config.frames = CPU_FRAMES
    config.algorithm.update(learning_rate=5e-4, learning_rate_end=5e-6)
    config.evaluation.every = 4
