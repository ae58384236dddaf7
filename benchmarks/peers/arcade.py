"""The peer that plays the released benchmark, popgym-arcade."""

import importlib.metadata

import jax
import popgym_arcade

from benchmarks import measure, peers

_running = {}


def prepare(name: str, partial: bool, size: int, batch: int, steps: int, frames: bool, seconds: float) -> dict:
    """Compiles random play, and warms it up."""
    environment, params = popgym_arcade.make(name, partial_obs=partial, obs_size=size)

    def reset(key):
        return environment.reset(key, params)[1]

    def step(key, state, action):
        frame, state, *_ = environment.step(key, state, action, params)
        return state, frame

    program = measure.Program(reset, step, batch, steps, frames)
    _running.update(program=program, calls=program.calls_for(seconds))
    return {
        "compile_seconds": program.compile_seconds,
        "bytes": program.bytes,
        "version": importlib.metadata.version("popgym-arcade"),
        "jax": jax.__version__,
    }


def run() -> dict:
    """Random play for about as long as `prepare` was told, at least one call."""
    program, calls = _running["program"], _running["calls"]
    return {"frames": calls * program.frames_per_call, "seconds": program.seconds(calls), "checksum": program.checksum}


if __name__ == "__main__":
    peers.serve({"prepare": prepare, "run": run})
