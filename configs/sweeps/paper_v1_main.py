r"""The main experiment of POPGym Arcade, version 1: MLP, MinGRU and LRU on 21 levels, both twins, three seeds.

    python -m podarcade.sweep --config=configs/sweeps/paper_v1_main.py --dry_run
    python -m podarcade.sweep --config=configs/sweeps/paper_v1_main.py --engine=slurm --slurm_options=partition=gpu
    python -m podarcade.sweep --config=configs/sweeps/paper_v1_main.py:preset=cpu --grid="level=easy"

Figures 3a, 11, 12 and the tables of appendix A, 378 agents; as `v1/main` of docs/reproducing_popgym_arcade.md.
"""

from podarcade.configuration import parse_argument

GAMES = ("autoencode", "battleship", "cartpole", "countrecall", "minesweeper", "navigator", "noisycartpole")


def get_sweep(argument=""):
    """Yield the cells; argument: preset, `published` or `cpu`."""
    choice = parse_argument(argument, preset="published")
    for game in GAMES:
        for level in ("easy", "medium", "hard"):
            for partial in (False, True):
                for memory in ("none", "min_gru", "lru"):
                    yield {
                        "file": "configs/popgym_arcade/pqn.py",
                        "version": "v1",
                        "preset": choice.preset,
                        "game": game,
                        "level": level,
                        "partial": partial,
                        "memory": memory,
                        "config.churn": True,
                        "seeds": 3,
                    }
