r"""PPO with any memory on one game, on its full or its partial twin.

    python -m podarcade.launch --config=configs/ppo.py
    python -m podarcade.launch --config=configs/ppo.py:game=cartpole,partial=false,memory=none
    python -m podarcade.launch --config=configs/ppo.py --config.algorithm.shared=false

Arguments and presets are those of configs/pqn.py; published sizes are in configs/popgym_arcade/.
"""

from podarcade import presets


def get_config(argument=None):
    """Return the experiment."""
    return presets.experiment("ppo", argument, presets.PPO)
