r"""Contamination: agents whose decisions a noisy or shuffled frame may change long after; five seeds.

    python -m podarcade.sweep --config=configs/sweeps/contamination.py --workdir=runs/contamination
    python -m podarcade.diagnose runs/contamination --with=contamination

Figures 9 and 10 of POPGym Arcade, version 2: an LRU on all easy games, a transformer on CartPole, both twins. With
`memories=lru+gru+none` other memories are trained on all games, a control among them.
"""

from podarcade.configuration import parse_argument

GAMES = (
    "autoencode", "battleship", "breakout", "cartpole", "countrecall", "minesweeper", "navigator", "noisycartpole",
    "skittles", "tetris",
)  # fmt: skip


def get_sweep(argument=""):
    """Yield the cells; arguments: preset (`published` or `cpu`), memories joined by +."""
    choice = parse_argument(argument, preset="published", memories="lru")
    memories = choice.memories.split("+")
    pairs = [(game, memory) for game in GAMES for memory in memories]
    pairs += [("cartpole", "transformer")] if "transformer" not in memories else []
    for game, memory in pairs:
        for partial in (False, True):
            yield {
                "file": "configs/popgym_arcade/pqn.py",
                "version": "v2",
                "preset": choice.preset,
                "game": game,
                "partial": partial,
                "memory": memory,
                "seeds": 5,
            }
