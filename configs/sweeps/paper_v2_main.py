r"""The main experiment of POPGym Arcade, version 2: MLP and seven memories on 30 levels, both twins, five seeds.

    python -m podarcade.sweep --config=configs/sweeps/paper_v2_main.py --dry_run
    python -m podarcade.sweep --config=configs/sweeps/paper_v2_main.py --engine=slurm --slurm_options=partition=gpu
    python -m podarcade.sweep --config=configs/sweeps/paper_v2_main.py:control=true
    python -m podarcade.sweep --config=configs/sweeps/paper_v2_main.py:algorithm=ppo --grid="level=easy"

Figure 5: 2,400 agents in 480 runs; as `v2/main` of docs/reproducing_popgym_arcade.md. `control=true` adds the clean
control of Memory Bias, an agent without memory under the recurrent trainer.
"""

from podarcade.configuration import parse_argument

GAMES = (
    "autoencode", "battleship", "breakout", "cartpole", "countrecall", "minesweeper", "navigator", "noisycartpole",
    "skittles", "tetris",
)  # fmt: skip
MEMORIES = ("transformer", "linear_transformer", "ttt_linear", "gated_deltanet", "min_gru", "gru", "lru")


def get_sweep(argument=""):
    """Yield the cells; arguments: preset (`published` or `cpu`), algorithm (pqn, ppo or dqn), control."""
    choice = parse_argument(argument, preset="published", algorithm="pqn", control=False)
    agents = [{"memory": memory} for memory in ("none", *MEMORIES)]
    agents += [{"memory": "none", "trainer": "recurrent", "agent": "control"}] if choice.control else []
    for game in GAMES:
        for level in ("easy", "medium", "hard"):
            for partial in (False, True):
                for agent in agents:
                    yield {
                        "file": f"configs/popgym_arcade/{choice.algorithm}.py",
                        "version": "v2",
                        "preset": choice.preset,
                        "game": game,
                        "level": level,
                        "partial": partial,
                        "seeds": 5,
                        **agent,
                    }
