"""podarcade: a Podracer trainer in JAX for memory under partial observability."""

import contextlib
import importlib

from podarcade.envs.adapters import make

__version__ = "0.1.0"
__all__ = ["load", "make"]

# `gymnasium.make("podarcade/TetrisHard-v0")` works once podarcade is imported, where Gymnasium is installed.
with contextlib.suppress(ImportError):
    from podarcade.envs.adapters.gymnasium import register

    register()


def __getattr__(name):
    """Import `load` when it is first used: environments alone need neither networks nor checkpoints."""
    if name != "load":
        raise AttributeError(f"module 'podarcade' has no attribute {name!r}")
    return importlib.import_module("podarcade.agents.loading").load
