"""Peer that plays environments of gymnax 1.x."""

import importlib.metadata

import gymnax
import jax
import jax.numpy as jnp

from benchmarks import measure, peers

_running = {}


def prepare(name: str, parameters: dict, batch: int, steps: int, seconds: float) -> dict:
    """Compile random play of an environment with some of its parameters set, and warm it up."""
    environment, params = gymnax.make(name)
    params = params.replace(**parameters)
    space = environment.action_space(params)

    def reset(key):
        return environment.reset(key, params)[1]

    def step(key, state, action):
        observation, state, reward, terminated, truncated, _ = environment.step(key, state, action, params)
        return state, (observation, reward, terminated, truncated)

    def sample(key, batch):
        if hasattr(space, "n"):
            return jax.random.randint(key, (batch,), 0, space.n, jnp.int32)
        return jax.random.uniform(key, (batch, *space.shape), jnp.float32, space.low, space.high)

    program = measure.Program(reset, step, batch, steps, frames=True, sample=sample)
    _running[name] = program, program.calls_for(seconds)
    return {
        "environment": name,
        "compile_seconds": program.compile_seconds,
        "bytes_per_environment": program.bytes / batch,
        "version": importlib.metadata.version("gymnax"),
        "jax": jax.__version__,
    }


def run(name: str) -> dict:
    """Play a prepared environment for about the duration given to `prepare`, at least one call."""
    program, calls = _running[name]
    return {"frames": calls * program.frames_per_call, "seconds": program.seconds(calls), "checksum": program.checksum}


if __name__ == "__main__":
    peers.serve({"prepare": prepare, "run": run})
