r"""PPO as published with POPGym Arcade: its sizes, schedules, rules and quirks, each quirk behind a switch.

    python -m podarcade.launch --config=configs/popgym_arcade/ppo.py:game=battleship,memory=gru --config.seeds=5
    python -m podarcade.launch --config=configs/popgym_arcade/ppo.py:memory=none
    python -m podarcade.launch --config=configs/popgym_arcade/ppo.py --config.algorithm.no_action=false

Arguments are those of configs/popgym_arcade/pqn.py, with a single budget. Actor and critic have an encoder and
memory layers each, and sequences start from the carry of the actors, without burn-in. `memory=none` trains on single
transitions. The released trainer also initialises the encoders of actor and critic with equal weights and logs one
episode in 25; this configuration does not.
"""

from podarcade import popgym_arcade

FRAMES = 10**7, 0


def get_config(argument=None):
    """Return the experiment as a ConfigDict."""
    choice = popgym_arcade.parse_choice(argument)
    config = popgym_arcade.experiment("popgym_ppo", choice, FRAMES, dense=1)
    config.algorithm.update(shared=False, optimiser="adam", optimiser_epsilon=1e-5)
    return popgym_arcade.finish(config, learning_rate=1e-4, learning_rate_end=1e-10)
