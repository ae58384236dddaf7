"""podarcade: a Podracer trainer in JAX for memory under partial observability."""

__all__ = ["make"]


def __getattr__(name):
    # Imported when asked for, so that a program can set jax up first and the command line answers at once.
    if name == "make":
        from podarcade.environment import make

        return make
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
