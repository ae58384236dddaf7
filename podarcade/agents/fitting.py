"""Whether parameters fit an environment."""

import jax

from podarcade.algorithms import Algorithm, Params
from podarcade.envs.environment import Environment
from podarcade.runtime.differences import differences
from podarcade.runtime.leaves import named_leaves, signatures


def check_fit(algorithm: Algorithm, environment: Environment, found: dict[str, str], what: str) -> Params:
    """Check that parameters fit an environment.

    Args:
      algorithm: whose network they are of.
      environment: where it is to act.
      found: signatures of the parameters by name.
      what: name of the environment, for the message.

    Returns:
      Abstract parameters.

    Raises:
      ValueError: the actions or the shapes of some parameters differ.
    """
    if environment.game.actions != algorithm.trunk.actions:
        raise ValueError(f"{what} has the actions {environment.game.actions}; the agent has {algorithm.trunk.actions}")
    like = abstract_params(algorithm, environment)
    if different := differences(found, signatures(named_leaves(like))):
        raise ValueError(f"the parameters do not fit {what} ({different})")
    return like


def abstract_params(algorithm: Algorithm, environment: Environment) -> Params:
    """Return shapes and dtypes of an algorithm's parameters in an environment."""
    key = jax.random.key(0)
    return jax.eval_shape(lambda: algorithm.init(key, environment.reset(key)[1]))
