r"""Switching twins: train on one twin for half a run and then on the other, beside agents of one twin; five seeds.

    python -m podarcade.sweep --config=configs/sweeps/observability_switch.py --dry_run
    python -m podarcade.sweep --config=configs/sweeps/observability_switch.py:preset=cpu

GRU and LRU on the easy games of 20,000,000 frames; both POPGym Arcade papers mention the experiment as possible. A
run that switches counts on the twin that it ends with.
"""

from podarcade import popgym_arcade
from podarcade.configuration import parse_argument

GAMES = ("battleship", "breakout", "countrecall", "minesweeper", "navigator", "skittles", "tetris")
TWINS = ("full", "partial")


def get_sweep(argument=""):
    """Yield the cells; argument: preset, `published` or `cpu`."""
    choice = parse_argument(argument, preset="published")
    frames = popgym_arcade.CPU_FRAMES if choice.preset == "cpu" else popgym_arcade.FULL[0]
    for game in GAMES:
        for old, new in (TWINS, reversed(TWINS)):
            for memory in ("gru", "lru"):
                shared = {
                    "file": "configs/popgym_arcade/pqn.py",
                    "version": "v2",
                    "preset": choice.preset,
                    "game": game,
                    "partial": new == "partial",
                    "memory": memory,
                    "seeds": 5,
                }
                schedule = {"config.environment.observability": f"{old},{new}@{frames // 2}"}
                yield {**shared, "agent": memory}
                yield {**shared, **schedule, "agent": f"{memory} from {old}"}
