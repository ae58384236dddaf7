r"""DQN as published with POPGym Arcade, as far as it can be stated: no target network, and targets that never change.

    python -m podarcade.launch --config=configs/popgym_arcade/dqn.py:game=battleship,memory=none --config.seeds=5
    python -m podarcade.launch --config=configs/popgym_arcade/dqn.py:memory=gru
    python -m podarcade.launch --config=configs/popgym_arcade/dqn.py --config.compat.frozen_targets=false

Arguments and budgets are those of configs/popgym_arcade/pqn.py. The one-step return that the network gave when a transition was
stored is what it is learnt from as long as it is kept. This is a variant, not a reproduction: theirs draws single
transitions (`memory=none`), or 32 sequences that an update's four epochs share, whose four slots before the rollout are
learnt from too; ours draws a rollout of one environment anew in each gradient step. The program that they released
never calls their recurrent trainer, so no published number can come of it. For a DQN to trust see configs/dqn.py.
"""

from podarcade import popgym_arcade

SHARED = ("epsilon_horizon", "limit_is_terminal", "held_return", "frozen_targets")
QUIRKS = {"recurrent": (*SHARED, "stale_carry", "action_leak"), "feed-forward": (*SHARED, "off_by_one")}


def get_config(argument=None):
    """The experiment, as a ConfigDict."""
    choice = popgym_arcade.choose(argument)
    dense = popgym_arcade.VERSIONS[choice.version]["dense"]
    config = popgym_arcade.experiment("dqn", choice, popgym_arcade.budget(choice), dense, QUIRKS)
    config.algorithm.update(capacity=100_000, returns="lambda", td_lambda=0.0, double=False, epsilon_fraction=0.25)
    if choice.memory != "none":
        config.algorithm.burn_in = 4
    return popgym_arcade.finish(config, learning_rate=5e-5, learning_rate_end=5e-7)
