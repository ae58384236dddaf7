"""Players of NoisyPositionOnlyCartPole."""

import jax.numpy as jnp
import numpy as np

from benchmarks.bounds import Player, controllers
from podarcade.envs.games import cartpole
from podarcade.envs.games.cartpole import CartPoleState
from podarcade.envs.tasks.noisy_position_only_cartpole import NoisyPositionOnlyCartPole


def memoryless(task: NoisyPositionOnlyCartPole) -> Player:
    """Push to the side to which the pole seems to lean, less the far from the centre."""
    weight = {0.1: -0.11, 0.2: -0.1, 0.3: -0.34}.get(task.noise, -0.1)

    def act(memory, observation, previous, key):
        return memory, (weight * observation[0] + observation[1] > 0).astype(jnp.int32)

    return Player(act)


def with_action(task: NoisyPositionOnlyCartPole) -> Player:
    """Alternate pushes, and repeat one only if the pole seems to lean far to its side."""
    weight = {0.1: 8.3, 0.2: 5.7, 0.3: 3.7}.get(task.noise, 5.7)

    def act(memory, observation, previous, key):
        last = jnp.where(previous < 0, 0, 2 * previous - 1)
        return memory, (weight * observation[1] - 0.2 * observation[0] - last > 0).astype(jnp.int32)

    return Player(act)


def memory(task: NoisyPositionOnlyCartPole) -> Player:
    """Balance by the estimate of a Kalman filter."""
    gains = jnp.asarray(_gains(task.noise, task.max_steps + 1), jnp.float32)

    def act(memory, observation, previous, key):
        expected, time = memory
        seen = observation[:2] - jnp.stack([expected.position, expected.angle])
        change = gains[time] @ seen
        names = ("position", "velocity", "angle", "spin")
        state = expected.replace(**{name: getattr(expected, name) + change[i] for i, name in enumerate(names)})
        action = controllers.balance(state.position, state.angle, state.velocity, state.spin)
        force = jnp.where(action == 1, cartpole.FORCE, -cartpole.FORCE)
        return (cartpole.push(state, force), time + 1), action

    zero = jnp.float32(0)
    return Player(act, initial=(CartPoleState(zero, zero, zero, zero, jnp.int32(0), jnp.int32(0)), jnp.int32(0)))


def _gains(noise: float, steps: int) -> np.ndarray:
    """Return the gains of the filter for the dynamics linearised at upright, float64[steps, 4, 2]."""
    transition, seen = controllers.cart_and_pole(), np.eye(4)[[0, 2]]
    covariance, gains = np.eye(4) * cartpole.START**2 / 3, []
    for _ in range(steps):
        gain = covariance @ seen.T @ np.linalg.inv(seen @ covariance @ seen.T + max(noise, 1e-3) ** 2 * np.eye(2))
        gains.append(gain)
        covariance = transition @ (np.eye(4) - gain @ seen) @ covariance @ transition.T
    return np.array(gains)
