"""Faces for other people's agents: the same environments behind the interfaces of gymnax and of Gymnasium."""

import importlib
from typing import Any

from podarcade.envs import environment

APIS = ("podarcade", "gymnax", "gymnax0", "gymnasium")


def make(
    name: str,
    partial_obs: bool = False,
    obs_size: int = 128,
    rules: str = "strict",
    api: str = "podarcade",
    **options: Any,
) -> Any:
    """An environment by name: the class of a game followed by a level, as in "MineSweeperEasy".

    For example, a batch of four:

        environment = make("CartPoleHard", partial_obs=True)
        state, time_step = jax.vmap(environment.reset)(jax.random.split(jax.random.key(0), 4))
        state, time_step = jax.vmap(environment.step)(state, jnp.zeros(4, jnp.int32))
        time_step.observation  # uint8[4, 128, 128, 3]

    Args:
      name: one of `podarcade.envs.environment.environment_names()`.
      partial_obs: whether the partial twin is drawn.
      obs_size: side of the frame in pixels, 128 or 256.
      rules: "strict", the games as described, or "published", as released.
      api: who is to play:
        "podarcade", an `environment.Environment`; a new episode starts with the step after an end;
        "gymnax", the interface of gymnax 1.x: `step` returns (observation, state, reward, terminated, truncated, info);
        "gymnax0", that of gymnax 0.0.x and of the released benchmark: the pair (environment, parameters), whose
        `step` returns (observation, state, reward, done, info);
        "gymnasium", a `gymnasium.vector.VectorEnv` with NumPy arrays.
        All but the first start a new episode in the step that ends one, and hand the true last frame over
        in `info`; "gymnax0" does not, as its agents keep all that is there.
      **options: `num_envs` for "gymnasium"; none for the others.

    Raises:
      ValueError: there is no such name, size, rule set or interface; says which there are.
      TypeError: an option that the interface does not have.
      ModuleNotFoundError: "gymnasium" is asked for and not installed.
    """
    if api not in APIS:
        raise ValueError(f"api={api!r}; there are {', '.join(APIS)}")
    made = environment.make(name, partial_obs, obs_size, rules)
    if api != "podarcade":
        return importlib.import_module(f"podarcade.envs.adapters.{api}").face(made, name, **options)
    if options:
        raise TypeError(f"{', '.join(options)}: no option of api='podarcade'; batch its functions with jax.vmap")
    return made
