r"""PQN as published with POPGym Arcade: its sizes, schedules, rules and quirks, each quirk behind a switch.

    python -m podarcade.launch --config=configs/popgym_arcade/pqn.py:game=battleship,memory=gru --config.seeds=5
    python -m podarcade.launch --config=configs/popgym_arcade/pqn.py:version=v1,memory=min_gru --config.seeds=3
    python -m podarcade.launch --config=configs/popgym_arcade/pqn.py --config.compat.epsilon_horizon=false
    python -m podarcade.launch --config=configs/popgym_arcade/pqn.py:preset=cpu

`version` is v1 (March 2025: 256 pixels, one memory layer) or v2 (128 pixels, two); `budget` is table, that of the
tables, or long, that of the saliency maps. `memory=none` is their feed-forward trainer. Each run took them 40
to 80 minutes on a desktop GPU. Every `compat` switch that is turned off by itself is one row of an ablation. The preset
`cpu` has the small encoder and width of the `cpu` preset elsewhere and as many frames; its schedules are the same
fractions of the run as the published ones, and its learning rates ten times as high, for there are few gradient steps.
"""

from podarcade import popgym_arcade

SHARED = ("epsilon_horizon", "limit_is_terminal", "held_return")
QUIRKS = {
    "recurrent": (*SHARED, "window_loss", "stale_carry", "action_leak"),
    "feed-forward": (*SHARED, "off_by_one", "feed_forward"),
}


def get_config(argument=None):
    """The experiment, as a ConfigDict."""
    choice = popgym_arcade.choose(argument)
    dense = popgym_arcade.VERSIONS[choice.version]["dense"]
    config = popgym_arcade.experiment("pqn", choice, popgym_arcade.budget(choice), dense, QUIRKS)
    if choice.memory != "none":
        config.algorithm.burn_in = 4
    config.algorithm.epsilon_fraction = 0.25
    return popgym_arcade.finish(config, learning_rate=5e-5, learning_rate_end=5e-7)
