r"""Minutes on two cores: two tasks that need memory, both twins, three memories, three seeds.

python -m podarcade.sweep --config=configs/sweeps/smoke.py
python -m podarcade.sweep --config=configs/sweeps/smoke.py:frames=50000 --workdir=runs/quick
"""

from podarcade.configuration import parse_argument


def get_sweep(argument=""):
    """Yield the cells; argument: frames of a run."""
    choice = parse_argument(argument, frames="200000")
    for game in ("tmaze", "repeat_first"):
        for partial in (True, False):
            for memory in ("none", "gru", "lru"):
                yield {
                    "file": "configs/ppo.py",
                    "game": game,
                    "partial": partial,
                    "memory": memory,
                    "preset": "cpu",
                    "config.frames": choice.frames,
                    "seeds": 3,
                }
