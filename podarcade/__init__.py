"""podarcade: a Podracer trainer in JAX for memory under partial observability."""

import contextlib

from podarcade.envs.adapters import make

__version__ = "0.1.0"
__all__ = ["make"]

# `gymnasium.make("podarcade/TetrisHard-v0")` works once podarcade is imported, where Gymnasium is installed.
with contextlib.suppress(ImportError):
    from podarcade.envs.adapters.gymnasium import register

    register()
