"""podarcade: a Podracer trainer in JAX for memory under partial observability."""

from podarcade.environment import make

__all__ = ["make"]
