r"""The experiment of the README: PQN with an LRU on the partial twin of MineSweeper, for minutes on two cores.

    python -m podarcade.launch --config=configs/pqn_lru.py
    python -m podarcade.launch --config=configs/pqn_lru.py:memory=none

It is configs/pqn.py under the name that results refer to; arguments and presets are described there.
"""

from podarcade import presets


def get_config(argument=None):
    """Return the experiment."""
    return presets.experiment("pqn", argument, presets.PQN)
