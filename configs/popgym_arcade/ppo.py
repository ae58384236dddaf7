r"""PPO as published with POPGym Arcade: its sizes, schedules, rules and quirks, each quirk behind a switch.

    python -m podarcade.launch --config=configs/popgym_arcade/ppo.py:game=battleship,memory=gru --config.seeds=5
    python -m podarcade.launch --config=configs/popgym_arcade/ppo.py:memory=none
    python -m podarcade.launch --config=configs/popgym_arcade/ppo.py --config.compat.no_action=false

Arguments are those of configs/popgym_arcade/pqn.py; there is one budget. Actor and critic have an encoder and memories each,
and sequences begin with what the actors remembered, without a burn-in. `memory=none` learns from single transitions.
Theirs begin with the same weights in the encoders of actor and critic, and log one episode in 25; ours do not.
"""

from podarcade import popgym_arcade

FRAMES = 10**7, 0
SHARED = ("limit_is_terminal", "no_action")
QUIRKS = {"recurrent": (*SHARED, "stale_carry"), "feed-forward": (*SHARED, "feed_forward")}


def get_config(argument=None):
    """The experiment, as a ConfigDict."""
    choice = popgym_arcade.choose(argument)
    config = popgym_arcade.experiment("ppo", choice, FRAMES, 1, QUIRKS)
    config.algorithm.update(shared=False, optimiser="adam", optimiser_epsilon=1e-5)
    return popgym_arcade.finish(config, learning_rate=1e-4, learning_rate_end=1e-10)
