"""Optimisers and their learning-rate schedule."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

KINDS = {"radam": optax.radam, "adam": optax.adam, "sgd": lambda rate, eps: optax.sgd(rate)}


def chain(options: Any, gradient_steps: int) -> optax.GradientTransformation:
    """Return an optimiser after clipping by global norm, on a schedule.

    Args:
      options: an algorithm, whose fields `optimiser`, `learning_rate` and so on are documented there.
      gradient_steps: length of the schedule.
    """
    steps = max(gradient_steps, 1)
    decay = optax.linear_schedule(
        options.learning_rate, options.learning_rate_end, options.learning_rate_fraction * steps
    )
    warm_up = optax.constant_schedule(1.0)
    if options.learning_rate_warm_up:
        warm_up = optax.linear_schedule(0.0, 1.0, options.learning_rate_warm_up * steps)

    def rate(step: jax.Array) -> jax.Array:
        step = step.astype(jnp.float32)
        return decay(step) * warm_up(step)

    # Flattened to one vector: fewer operations to compile and to launch than a tree of small leaves.
    optimiser = optax.flatten(KINDS[options.optimiser](rate, eps=options.optimiser_epsilon))
    return optax.chain(optax.clip_by_global_norm(options.max_gradient_norm), optimiser)
