r"""Capacity: layers x width of memories and of their control, on both twins of BattleShip and MineSweeper.

    python -m podarcade.sweep --config=configs/sweeps/capacity.py --dry_run
    python -m podarcade.sweep --config=configs/sweeps/capacity.py:preset=cpu

Figure 6 of POPGym Arcade, version 2: three seeds, and a control of each size, trained as the agents with memory are.
"""

from podarcade.configuration import parse_argument

SIZES = ((1, 512), (2, 512), (8, 512), (2, 128), (2, 256))  # layers, width
MEMORIES = {"battleship": ("min_gru",), "minesweeper": ("lru", "transformer")}


def get_sweep(argument=""):
    """Yield the cells; argument: preset, `published` or `cpu`."""
    choice = parse_argument(argument, preset="published")
    for game, memories in MEMORIES.items():
        agents = [{"memory": memory, "agent": memory} for memory in memories]
        agents += [{"memory": "none", "trainer": "recurrent", "agent": "control"}]
        for partial in (False, True):
            for agent in agents:
                for layers, width in SIZES:
                    yield {
                        "file": "configs/popgym_arcade/pqn.py",
                        "version": "v2",
                        "preset": choice.preset,
                        "game": game,
                        "partial": partial,
                        "config.network.layers": layers,
                        "config.network.width": width,
                        "seeds": 3,
                        **agent,
                        "agent": f"{agent['agent']} {layers}x{width}",
                    }
