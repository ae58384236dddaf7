"""Adapters: the same environments behind the interfaces of gymnax and Gymnasium."""

import dataclasses
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
    """Return an environment by name: the class of a game or a task followed by a level, as in "MineSweeperEasy".

    For example, a batch of four:

        environment = make("CartPoleHard", partial_obs=True)
        state, timestep = jax.vmap(environment.reset)(jax.random.split(jax.random.key(0), 4))
        state, timestep = jax.vmap(environment.step)(state, jnp.zeros(4, jnp.int32))
        timestep.observation  # uint8[4, 128, 128, 3]

    Args:
      name: one of `podarcade.envs.environment.environment_names()`, or "gymnax:" and the name of an environment there.
      partial_obs: whether to draw the partial twin.
      obs_size: side of the frame in pixels, 128 or 256; tasks without pixels have none.
      rules: "strict", the games as described, or "published", as released.
      api: the interface to return:
        "podarcade": an `environment.Environment`, whose next step starts a new episode;
        "gymnax": that of gymnax 1.x; `step` returns (observation, state, reward, terminated, truncated, info);
        "gymnax0": that of gymnax 0.0.x and of the released benchmark: the pair (environment, parameters), whose
        `step` returns (observation, state, reward, done, info);
        "gymnasium": a `gymnasium.vector.VectorEnv` with NumPy arrays.
        All but the first start a new episode in the step that ends one, and return the final observation in `info`;
        "gymnax0" drops it, since its agents stack every `info` of a rollout.
      **options: fields of the game, as `corridor_length=20`; and `num_envs` for "gymnasium".

    Raises:
      ValueError: an unknown name, size, rule set or interface, or a game that breaks the contract.
      TypeError: an option that the interface does not have.
      ModuleNotFoundError: `api="gymnasium"` without Gymnasium installed.
    """
    if api not in APIS:
        raise ValueError(f"api={api!r}; expected one of: {', '.join(APIS)}")
    names = {field.name for field in dataclasses.fields(environment.find(name)[0])}
    fields = {key: options.pop(key) for key in list(options) if key in names}
    made = environment.make(name, partial_obs, obs_size, rules, **fields)
    if api != "podarcade":
        return importlib.import_module(f"podarcade.envs.adapters.{api}").wrap(made, name, **options)
    if options:
        raise TypeError(f"api='podarcade' has no option {', '.join(options)}; batch its functions with jax.vmap")
    return made
