r"""PQN as published with POPGym Arcade: its sizes, schedules, rules and quirks, each quirk behind a switch.

    python -m podarcade.launch --config=configs/popgym_arcade/pqn.py:game=battleship,memory=gru --config.seeds=5
    python -m podarcade.launch --config=configs/popgym_arcade/pqn.py:version=v1,memory=min_gru --config.seeds=3
    python -m podarcade.launch --config=configs/popgym_arcade/pqn.py --config.algorithm.epsilon_horizon=false
    python -m podarcade.launch --config=configs/popgym_arcade/pqn.py:preset=cpu

`version` is v1 (March 2025: 256 pixels, one memory layer) or v2 (128 pixels, two); `budget` is `table`, the budget of
the papers' tables, or `long`, that of their saliency maps. `memory=none` is the published feed-forward trainer; with
`trainer=recurrent` it is trained as agents with memory are, which makes it the clean control of Memory Bias. The
authors report 40 to 80 minutes per run on a desktop GPU. Each quirk turned off alone is one row of an ablation.

The preset `cpu` uses the small encoder, width and number of frames of the `cpu` preset elsewhere. Its schedules are the
same fractions of the run as the published ones, and its learning rates ten times as high, since there are few gradient
steps.
"""

from podarcade import popgym_arcade


def get_config(argument=None):
    """Return the experiment as a ConfigDict."""
    choice = popgym_arcade.parse_choice(argument)
    dense = popgym_arcade.VERSIONS[choice.version]["dense"]
    config = popgym_arcade.experiment("popgym_pqn", choice, popgym_arcade.budget(choice), dense)
    if popgym_arcade.is_recurrent(choice):
        config.algorithm.burn_in = 4
    config.algorithm.epsilon_fraction = 0.25
    return popgym_arcade.finish(config, learning_rate=5e-5, learning_rate_end=5e-7)
