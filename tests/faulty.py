"""A game, a memory and an algorithm of a user, with the mistake that the environment variable FAULT names."""

import dataclasses
import os
import signal
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax.experimental import io_callback

from podarcade.algorithms.pqn import PQN
from podarcade.envs.games import Game
from podarcade.models.memory.min_gru import MinGRU
from podarcade.runtime.metrics import Writer

NUMBER = jax.ShapeDtypeStruct((), jnp.float32)


class OwnError(Exception):
    """An exception type that podarcade does not know."""


def fail_if(fault: str, error: Exception) -> None:
    """Raises the error if this fault is chosen, here, in a helper of the plug-in."""
    if os.environ.get("FAULT") == fault:
        raise error  # the line that is reported


def pure(time):
    """A host callback."""
    if time > 3:
        raise IndexError("in a pure callback\nand more")  # pure_callback
    return np.float32(0)


def effect(time):
    """A host callback for its effect."""
    if time > 3:
        raise ZeroDivisionError("in an effect")  # io_callback, debug_callback


def die_after_updates(fault):
    """Has this process kill itself: after update 4 each time it starts, or some updates and a checkpoint after that."""
    write, first = Writer.write, []

    def write_or_die(self, record):
        first.append(record["updates"])
        checkpoints = (path.name for path in (self.path.parent / "checkpoints").glob("*"))
        saved = any(name.isdecimal() and int(name) > first[0] for name in checkpoints)
        if saved if fault == "die_later" else record["updates"] >= 4:
            os.kill(os.getpid(), signal.SIGKILL)
        write(self, record)

    Writer.write = write_or_die


if os.environ.get("FAULT") in ("die_again", "die_later"):
    die_after_updates(os.environ["FAULT"])


@struct.dataclass
class FaultyState:
    """What the faulty game remembers."""

    time: jax.Array  # int32[]
    score: jax.Array  # int32[]
    extra: jax.Array  # uint8[1]; too large to allocate where that is the fault


@dataclasses.dataclass(frozen=True)
class Faulty(Game):
    """A game of 12 black frames."""

    max_steps: int = 12
    LEVELS: ClassVar[dict[str, dict[str, Any]]] = {"easy": {}, "medium": {}, "hard": {}}

    def reset(self, key):
        fail_if("reset", AssertionError())
        too_large = os.environ.get("FAULT") == "out_of_memory"
        return FaultyState(jnp.int32(0), jnp.int32(0), jnp.zeros((1 << 46 if too_large else 1,), jnp.uint8))

    def step(self, state, action, key):
        fail_if("step", KeyError("no such tile"))
        reward, fault = jnp.float32(0), os.environ.get("FAULT")
        if fault == "pure_callback":
            reward = jax.pure_callback(pure, NUMBER, state.time, vmap_method="sequential")
        elif fault == "io_callback":
            io_callback(effect, None, state.time)
        elif fault == "debug_callback":
            jax.debug.callback(effect, state.time)
        elif fault == "compile":
            reward = jax.ffi.ffi_call("no_such_kernel", NUMBER, vmap_method="sequential")(reward)
        elif fault == "shape":
            reward = jnp.ones((2,)) @ jnp.ones((3,))  # shapes that do not fit
        return state.replace(time=state.time + 1), reward, state.time >= self.max_steps - 1

    def draw(self, state, partial):
        fail_if("draw", OwnError("nothing to draw"))
        return jnp.zeros((self.obs_size, self.obs_size, 3), jnp.uint8)


class FaultyMemory(MinGRU):
    """A memory."""

    def __call__(self, carry, x, start):
        fail_if("memory", TypeError("not a gate"))
        return super().__call__(carry, x, start)


@dataclasses.dataclass(frozen=True)
class FaultyAlgorithm(PQN):
    """An algorithm."""

    def loss(self, *arguments, **options):
        fail_if("loss", ValueError("no targets"))
        return super().loss(*arguments, **options)
