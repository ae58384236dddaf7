r"""Recurrent double DQN with replay and any memory on one game, on its full or its partial twin.

    python -m podarcade.launch --config=configs/dqn.py
    python -m podarcade.launch --config=configs/dqn.py:game=cartpole,partial=false,memory=none
    python -m podarcade.launch --config=configs/dqn.py --config.algorithm.returns=lambda
    python -m podarcade.launch --config=configs/dqn.py --config.algorithm.priority_exponent=0.9

It takes as many frames and gradient steps as the other algorithms; the replay buffer of the preset `gpu` holds a
million transitions on the device. Arguments and presets are those of configs/pqn.py; published sizes are in
configs/popgym_arcade/.
"""

from podarcade import presets


def get_config(argument=None):
    """Return the experiment."""
    return presets.experiment("dqn", argument, presets.DQN)
