"""Players of MaskedAcrobot: bang-bang rules found by a cross-entropy search."""

import jax.numpy as jnp

from benchmarks.bounds import Player
from podarcade.envs.tasks.masked_acrobot import MaskedAcrobot


def memoryless(task: MaskedAcrobot) -> Player:
    """A torque by the angles alone."""

    def act(memory, observation, previous, key):
        return memory, 2 * (_lean(observation, (-1.8, -2.01, -1.12, 0.13, -2.43, -4.91, -0.38)) > 0).astype(jnp.int32)

    return Player(act)


def with_action(task: MaskedAcrobot) -> Player:
    """A torque by the angles, kept up by the previous action."""

    def act(memory, observation, previous, key):
        lean = _lean(observation, (-1.5, -1.53, -0.96, -1.69, -2.31, -2.96, 0.1))
        lean = lean + (previous - 1) * (1.99 - 1.94 * observation[0] + 1.48 * observation[2])
        return memory, 2 * (lean > 0).astype(jnp.int32)

    return Player(act)


def memory(task: MaskedAcrobot) -> Player:
    """A torque by angles and speeds."""

    def act(memory, observation, previous, key):
        lean = jnp.array([-2.46, -2.35, -4.12, 2.09], jnp.float32) @ observation[jnp.array([1, 3, 4, 5])]
        return memory, 2 * (lean > 0).astype(jnp.int32)

    return Player(act, twin="full")


def _lean(observation, weights):
    """Return a weighted sum of sines, of sines of doubled angles and of mixed products, float32[]."""
    first_cosine, first_sine, second_cosine, second_sine = observation[:4]
    features = (
        first_sine,
        second_sine,
        first_sine * first_cosine,
        second_sine * second_cosine,
        first_cosine * second_sine,
        first_sine * second_cosine,
        1.0,
    )
    return sum(weight * feature for weight, feature in zip(weights, features, strict=True))
