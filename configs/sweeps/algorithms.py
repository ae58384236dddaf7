r"""Algorithms: PQN, PPO and DQN with and without memory, on both twins of five tasks; five seeds.

python -m podarcade.sweep --config=configs/sweeps/algorithms.py
python -m podarcade.sweep --config=configs/sweeps/algorithms.py:preset=gpu
"""

from podarcade.configuration import parse_argument


def get_sweep(argument=""):
    """Yield the cells; argument: preset."""
    choice = parse_argument(argument, preset="cpu")
    for game in ("tmaze", "repeat_previous", "repeat_first", "concentration", "position_only_cartpole"):
        for partial in (False, True):
            for algorithm in ("pqn", "ppo", "dqn"):
                for memory in ("none", "gru", "lru"):
                    yield {
                        "file": f"configs/{algorithm}.py",
                        "game": game,
                        "partial": partial,
                        "memory": memory,
                        "preset": choice.preset,
                        "match": "parameters",
                        "seeds": 5,
                    }
