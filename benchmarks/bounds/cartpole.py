"""Players of CartPole."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.stats import norm

from benchmarks.bounds import Player, controllers, tabular
from podarcade.envs.games import cartpole
from podarcade.envs.games.cartpole import LEVELS_OF_SPEED, CartPole, CartPoleState

ITERATIONS = 100
FINEST = 1 / 500  # to which a frame shows the variables
DRIFT = 1e-6  # variance that a step adds to every variable, for what the linear dynamics leave out


class Seen(NamedTuple):
    """What the partial frame shows."""

    start: jax.Array  # bool[] cart, pole and gauges are shown
    variables: jax.Array  # float32[4] position, velocity, angle and spin at time 0, to 1/500; later zeros
    velocity: jax.Array  # int32[] arrow of the cart's velocity, 1 (slow) to 6, negative to the left
    spin: jax.Array  # int32[] arrow of the pole's spin
    score: jax.Array  # int32[] the time


def seen(state: CartPoleState) -> Seen:
    """The arrows for signs and coarse magnitudes of both speeds, and the score; cart, pole and gauges at time 0."""
    start = state.time == 0
    variables = jnp.stack([state.position, state.velocity, state.angle, state.spin])
    arrows = (_arrow(state.velocity), _arrow(state.spin))
    return Seen(start, jnp.where(start, variables, 0), *arrows, state.score)


def _arrow(speed):
    size = 1 + jnp.sum(jnp.abs(speed) >= LEVELS_OF_SPEED.astype(np.float32), dtype=jnp.int32)
    return jnp.where(speed > 0, size, -size)


def memoryless(game: CartPole) -> Player:
    """A table from both arrows to pushes, found by search."""
    return table(game, seen)


def memory(game: CartPole) -> Player:
    """Balance by the estimate of a Kalman filter that takes each arrow for an interval of the speed."""
    return filtering(seen, 0.0)


def table(game: CartPole, see: Callable) -> Player:
    """Return the player that maps both arrows to a push, by search."""
    most = 1 + len(LEVELS_OF_SPEED)

    def index(seen):
        return (seen.velocity + most) * (2 * most + 1) + seen.spin + most

    return tabular.player(game, see, index, (2 * most + 1) ** 2, iterations=ITERATIONS)


def filtering(see: Callable, noise: float) -> Player:
    """Return the player that balances by an estimate of all variables, which it has from its pushes and the arrows.

    Means follow the dynamics, covariances the dynamics linearised at upright. An arrow says in which interval a speed
    with noise lies; the moments of the normal distribution that is cut to this interval correct the estimate.

    Args:
      see: latent state -> `Seen`.
      noise: standard deviation of the noise in what is seen.
    """
    first, transition = max(noise, FINEST) ** 2, jnp.asarray(controllers.cart_and_pole(), jnp.float32)

    def act(memory, seen, previous, key):
        mean, covariance = memory
        # All four variables are shown at time 0, where their covariance is a multiple of the identity.
        gain = jnp.where(seen.start, covariance[0, 0] / (covariance[0, 0] + first), 0.0)
        mean, covariance = mean + gain * (seen.variables - mean), (1 - gain) * covariance
        for place, arrow in ((1, seen.velocity), (3, seen.spin)):
            mean, covariance = _within(mean, covariance, place, _interval(arrow), noise**2)
        position, velocity, angle, spin = mean
        right = controllers.balance(position, angle, velocity, spin)
        state = CartPoleState(*mean, time=jnp.int32(0), score=jnp.int32(0))
        state = cartpole.push(state, jnp.where(right == 1, cartpole.FORCE, -cartpole.FORCE))
        after = jnp.stack([state.position, state.velocity, state.angle, state.spin])
        covariance = transition @ covariance @ transition.T + DRIFT * jnp.eye(4)
        return (after, (covariance + covariance.T) / 2), 2 + right

    return Player(act, initial=(jnp.zeros(4), jnp.eye(4) * cartpole.START**2 / 3), sees=see)


def _interval(arrow):
    """Return the least and the greatest speed that an arrow stands for, float32[] each."""
    edges = jnp.asarray([0.0, *LEVELS_OF_SPEED, 100.0], jnp.float32)
    size = jnp.abs(arrow)
    low, high = edges[size - 1], edges[size]
    return jnp.where(arrow > 0, low, -high), jnp.where(arrow > 0, high, -low)


def _within(mean, covariance, place, interval, noise):
    """Condition a normal estimate, float32[4] and float32[4, 4], on a noisy variable being within an interval."""
    spread = jnp.sqrt(jnp.maximum(covariance[place, place], DRIFT) + noise)
    low, high = ((edge - mean[place]) / spread for edge in interval)
    mass = norm.cdf(high) - norm.cdf(low)
    possible = mass > 1e-4
    mass = jnp.where(possible, mass, 1.0)
    at_low, at_high = norm.pdf(low), norm.pdf(high)
    shift = jnp.where(possible, (at_low - at_high) / mass, jnp.clip(0.0, low, high))
    kept = jnp.where(possible, 1 + (low * at_low - high * at_high) / mass - shift**2, 0.0)
    gain = covariance[:, place] / spread
    return mean + gain * shift, covariance - jnp.outer(gain, gain) * (1 - jnp.clip(kept, 0.0, 1.0))
