"""Peer that plays the released benchmark, popgym-arcade."""

import dataclasses
import importlib.metadata

import jax
import jax.numpy as jnp
import numpy as np
import popgym_arcade

from benchmarks import measure, peers

_running = {}


def prepare(name: str, partial: bool, size: int, batch: int, steps: int, frames: bool, seconds: float) -> dict:
    """Compile random play and warm it up."""
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
    """Play randomly for about the duration given to `prepare`, at least one call."""
    program, calls = _running["program"], _running["calls"]
    return {"frames": calls * program.frames_per_call, "seconds": program.seconds(calls), "checksum": program.checksum}


def play(name: str, actions: str, prepared: str, result: str, seed: int, states: bool) -> None:
    """Play first episodes under given actions, without restarts or drawing.

    Args:
      actions: file of int32[T, B].
      prepared: file of variables [B, ...] by name that replace those of the initial state; may be empty.
      result: file to write: reward float32[T, B], done bool[T, B] and, if `states`, every variable of the latent state
        [T + 1, B, ...] by name.
    """
    environment, params = popgym_arcade.make(name)

    def variables(state):
        return {field.name: jnp.asarray(getattr(state, field.name)) for field in dataclasses.fields(state)}

    def one(carry, action):
        state, key = carry
        key, step_key = jax.random.split(key)
        keys = jax.random.split(step_key, len(action))
        _, after, reward, done, _ = jax.vmap(environment.step_env, in_axes=(0, 0, 0, None))(keys, state, action, params)
        return (after, key), ({"reward": reward, "done": done}, variables(after) if states else {})

    @jax.jit
    def roll(key, actions, prepared):
        reset_key, key = jax.random.split(key)
        _, state = jax.vmap(environment.reset_env, in_axes=(0, None))(
            jax.random.split(reset_key, actions.shape[1]), params
        )
        state = dataclasses.replace(
            state,
            **{variable: jnp.asarray(value, getattr(state, variable).dtype) for variable, value in prepared.items()},
        )
        _, (outcome, later) = jax.lax.scan(one, (state, key), actions)
        first = variables(state) if states else {}
        return outcome | jax.tree.map(lambda start, rest: jnp.concatenate([start[None], rest]), first, later)

    with np.load(prepared) as variables_prepared:
        arrays = roll(jax.random.key(seed), jnp.asarray(np.load(actions)), dict(variables_prepared))
    np.savez(result, **{key: np.asarray(value) for key, value in arrays.items()})


if __name__ == "__main__":
    peers.serve({"prepare": prepare, "run": run, "play": play})
