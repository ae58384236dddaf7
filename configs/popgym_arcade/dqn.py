r"""DQN as published with POPGym Arcade, as far as it can be stated: no target network, and targets that never change.

    python -m podarcade.launch --config=configs/popgym_arcade/dqn.py:game=battleship,memory=none --config.seeds=5
    python -m podarcade.launch --config=configs/popgym_arcade/dqn.py:memory=gru
    python -m podarcade.launch --config=configs/popgym_arcade/dqn.py --config.algorithm.frozen_targets=false

Arguments and budgets are those of configs/popgym_arcade/pqn.py. The target of a transition is the one-step return that
the network gave when the transition was stored, for as long as it is kept.

This is a variant, not a reproduction. The released trainer samples single transitions (`memory=none`), or 32 sequences
that the four epochs of an update share, and also trains on the four slots before the rollout; this one samples one
rollout of one environment per gradient step. The released program never calls its recurrent trainer, so no published
number can come from it. For a DQN to rely on, see configs/dqn.py.
"""

from podarcade import popgym_arcade


def get_config(argument=None):
    """Return the experiment as a ConfigDict."""
    choice = popgym_arcade.parse_choice(argument)
    dense = popgym_arcade.VERSIONS[choice.version]["dense"]
    config = popgym_arcade.experiment("popgym_dqn", choice, popgym_arcade.budget(choice), dense)
    config.algorithm.update(capacity=100_000, returns="lambda", td_lambda=0.0, double=False, epsilon_fraction=0.25)
    if popgym_arcade.is_recurrent(choice):
        config.algorithm.burn_in = 4
    return popgym_arcade.finish(config, learning_rate=5e-5, learning_rate_end=5e-7)
