"""podarcade: a Podracer trainer in JAX for memory under partial observability."""

import contextlib

from podarcade.envs.adapters import make

__all__ = ["make"]

# Where Gymnasium is installed it knows the environments as soon as this package is imported.
with contextlib.suppress(ImportError):
    from podarcade.envs.adapters.gymnasium import register

    register()
