"""Parallelised Q-Network: Q(λ) without target network or replay (Gallici et al. 2024, arXiv 2407.04811)."""

import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from podarcade.algorithms import Algorithm, policies, returns, schedules
from podarcade.models.networks import QNetwork
from podarcade.types import TimeStep, Trajectory


@dataclasses.dataclass(frozen=True)
class PQN(Algorithm):
    """ε-greedy rollouts, regression on λ-returns of the network's own current values.

        L = ½ mean ( Q(sₜ, aₜ) - Gₜ )²,       Gₜ by `returns.lambda_returns` with vₜ = maxₐ Q(sₜ, a)

    The targets come from the same forward pass as the predictions, so they are fresh in every gradient step; no
    gradient flows through them. The memory enters each sequence as `carry` says, runs W burn-in slots without
    gradient, and every transition is learnt from once per epoch.

    Attributes:
      td_lambda: λ.
      reward_scale: factor of all rewards, inside the loss only. The games pay 1 in a whole episode; values of some
        units suit the learning rate better.
      epsilon_start: ε at the start of the run.
      epsilon_end: ε from `epsilon_fraction` of the schedule on; linear in between.
      epsilon_fraction: see above.
    """

    QUIRKS: ClassVar[tuple[str, ...]] = ("epsilon_horizon", "window_loss", "off_by_one", "feed_forward")

    td_lambda: float = 0.95
    reward_scale: float = 1.0
    epsilon_start: float = 1.0
    epsilon_end: float = 0.05
    epsilon_fraction: float = 0.5

    def __post_init__(self):
        super().__post_init__()
        self.check_between(0, 1, "td_lambda")

    @property
    def network(self) -> QNetwork:
        """Q(history, action)."""
        return QNetwork(self.trunk, self.num_actions)

    def act(
        self, params: Any, carry: Any, timestep: TimeStep, previous: jax.Array, keys: jax.Array, exploration: jax.Array
    ) -> tuple[Any, jax.Array]:
        """ε-greedy, where ε is `exploration`."""
        carry, values = self.network.apply(
            params, carry, timestep.observation[None], previous[None], timestep.start[None]
        )
        return carry, policies.epsilon_greedy(values[0], exploration, keys)

    def exploration(self, progress: jax.Array) -> jax.Array:
        """ε after a fraction `progress` of the schedule."""
        horizon = self.epsilon_fraction * (self.num_minibatches if self.compat.epsilon_horizon else 1)
        return schedules.linear(progress, self.epsilon_start, self.epsilon_end, horizon)

    def prepare(self, params: Any, batch: Trajectory) -> Any:
        """With `compat.feed_forward` the λ-returns of the values that these parameters have."""
        return {"target": self.lambda_returns(batch, self.values(params, batch))} if self.compat.feed_forward else None

    def loss(
        self, params: Any, target: Any, batch: Trajectory, key: jax.Array
    ) -> tuple[jax.Array, jax.Array, dict[str, jax.Array]]:
        """Squared error to fresh λ-returns, over the T slots of the rollout; to those prepared where there are any."""
        if batch.prepared is not None:
            goal, over = batch.prepared["target"], batch.terminal | batch.truncated
            return squared_errors(batch, self.values(params, batch), goal, over)
        batch = batch.slots(0, -1) if self.compat.window_loss else self.warm_up(params, batch)
        values = self.values(params, batch)
        return transition_errors(batch, values, self.lambda_returns(batch, values))

    def values(self, params: Any, batch: Trajectory) -> jax.Array:
        """Q of all slots of a drawn batch, float32[L, B, A]."""
        return self.apply(params, batch)[1]

    def lambda_returns(self, batch: Trajectory, values: jax.Array) -> jax.Array:
        """λ-returns of all slots but the last that bootstrap from the greatest of these values; no gradient."""
        best, terminal = jax.lax.stop_gradient(values.max(axis=-1))[1:], batch.terminal[1:]
        if self.compat.off_by_one:
            best = returns.misplaced_values(best, terminal)
        reward = self.reward_scale * batch.reward[1:]
        return returns.lambda_returns(reward, terminal, batch.truncated[1:], best, self.discount, self.td_lambda)


def transition_errors(batch: Trajectory, values: jax.Array, goal: jax.Array):
    """Losses, weights and metrics of the transitions between slots, [L - 1, B].

    Args:
      batch: L slots.
      values: Q of them, float32[L, B, A].
      goal: what Q of the action in each slot but the last should be, float32[L - 1, B].
    """
    # Steps to a start are restarts, and those of a history that was made up before there was one.
    return squared_errors(batch.slots(0, -1), values[:-1], goal, batch.start[1:])


def squared_errors(batch: Trajectory, values: jax.Array, goal: jax.Array, ignored: jax.Array):
    """Losses, weights and metrics of slots, [L, B]; `ignored` bool[L, B] is no experience."""
    taken = jnp.take_along_axis(values, batch.action[..., None], axis=-1)[..., 0]
    return 0.5 * jnp.square(taken - goal), 1.0 - ignored, {"value": taken, "target": goal}
