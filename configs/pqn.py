r"""PQN with any memory on one game, on its full or its partial twin.

    python -m podarcade.launch --config=configs/pqn.py
    python -m podarcade.launch --config=configs/pqn.py:game=cartpole,partial=false,memory=none
    python -m podarcade.launch --config=configs/pqn.py:level=hard,preset=gpu --config.seeds=4
    python -m podarcade.launch --config=configs/pqn.py:memory=gated_deltanet,match=parameters,init=matched

Arguments choose the structure (game, level, partial, memory, trunk, match, init, encoder, preset), `--config.x=y` the
values. A game, a memory or an encoder may also be a Python file (`memory=layers/indrnn.py`) or an importable module
(`game=my_package.tmaze`); `algorithm=FILE.py` replaces the algorithm. Presets: `auto` is `gpu` where there is an
accelerator and `cpu` otherwise; `pod` is for many accelerators; `smoke` runs in seconds and learns nothing. Published
sizes are in configs/popgym_arcade/.
"""

from podarcade import presets


def get_config(argument=None):
    """Return the experiment."""
    return presets.experiment("pqn", argument, presets.PQN)
