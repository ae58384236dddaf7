"""Tasks behind the interface of gymnax 0.0.x, for the trainers that expect it."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import popjym
from gymnax.environments import spaces
from gymnax.environments.classic_control.cartpole import CartPole


class PositionOnlyCartPole(CartPole):
    """CartPole that shows the position of the cart and the angle of the pole, and neither velocity."""

    def get_obs(self, state: Any, params: Any = None, key: Any = None) -> jax.Array:
        """Return the positions, float32[2]."""
        return super().get_obs(state, params, key)[np.array([0, 2])]

    def observation_space(self, params: Any) -> spaces.Box:
        """Return the space of the positions."""
        high = jnp.array([2 * params.x_threshold, 2 * params.theta_threshold_radians])
        return spaces.Box(-high, high, (2,), jnp.float32)


def make(task: str) -> tuple[Any, Any]:
    """Return the environment of gymnax or popjym that is closest to the easy level of a task, and its parameters.

    Raises:
      ValueError: there is none.
    """
    match task:
        case "position_only_cartpole":
            environment = PositionOnlyCartPole()
            return environment, environment.default_params.replace(max_steps_in_episode=200)
        case "repeat_previous":
            return popjym.make("RepeatPreviousEasy")
    raise ValueError(f"task={task}; expected position_only_cartpole or repeat_previous")
