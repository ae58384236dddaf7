"""Parallelised Q-Network: Q(λ) without target network or replay (Gallici et al. 2024, arXiv 2407.04811)."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from podarcade import policies, returns, schedules
from podarcade.algorithms import Algorithm
from podarcade.networks import QNetwork
from podarcade.types import TimeStep, Trajectory


@dataclasses.dataclass(frozen=True)
class PQN(Algorithm):
    """ε-greedy rollouts, regression on λ-returns of the network's own current values.

        L = ½ mean ( Q(sₜ, aₜ) - Gₜ )²,       Gₜ by `returns.lambda_returns` with vₜ = maxₐ Q(sₜ, a)

    The targets come from the same forward pass as the predictions, so they are fresh in every gradient step; no
    gradient flows through them. The memory enters each sequence as `carry` says, runs W burn-in slots without
    gradient, and every transition is learnt from once per epoch.

    Attributes:
      num_actions: of the environment.
      trace: λ.
      reward_scale: factor of all rewards, inside the loss only. The games pay 1 in a whole episode; values of some
        units suit the learning rate better.
      epsilon_start: ε at the start of the run.
      epsilon_end: ε from `epsilon_fraction` of the schedule on; linear in between.
      epsilon_fraction: see above.
    """

    num_actions: int = 5
    trace: float = 0.95
    reward_scale: float = 1.0
    epsilon_start: float = 1.0
    epsilon_end: float = 0.05
    epsilon_fraction: float = 0.5

    @property
    def network(self) -> QNetwork:
        """Q(history, action)."""
        return QNetwork(self.trunk, self.num_actions)

    def init(self, key: jax.Array, timestep: TimeStep) -> Any:
        """Parameters of the Q-network."""
        observation, start = timestep.observation[None, None], timestep.start[None, None]
        return self.network.init(key, self.initial(1), observation, jnp.full((1, 1), -1), start)

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
        horizon = self.epsilon_fraction * (self.minibatches if self.compat.epsilon_horizon else 1)
        return schedules.linear(progress, self.epsilon_start, self.epsilon_end, horizon)

    def remember(self, params: Any, batch: Trajectory) -> Any:
        """The memory after all slots of a drawn batch."""
        carry, _ = self.network.apply(params, batch.carry, batch.observation, batch.previous, batch.start)
        return carry

    def targets(self, params: Any, batch: Trajectory) -> jax.Array:
        """λ-returns of the values that these parameters have."""
        return self._returns(batch, self._values(params, batch))

    def loss(self, params: Any, batch: Trajectory, key: jax.Array) -> tuple[jax.Array, jax.Array, dict[str, jax.Array]]:
        """Squared error to fresh λ-returns, over the T slots of the rollout; to `batch.target` where there is one."""
        if batch.target is not None:
            return _errors(batch, self._values(params, batch), batch.target, batch.terminal | batch.truncated)
        batch = batch.slots(0, -1) if self.compat.window_loss else self._warm_up(params, batch)
        values = self._values(params, batch)
        # Steps to a start are restarts, and those of a history that was made up before there was one.
        return _errors(batch.slots(0, -1), values[:-1], self._returns(batch, values), batch.start[1:])

    def _values(self, params: Any, batch: Trajectory) -> jax.Array:
        return self.network.apply(params, batch.carry, batch.observation, batch.previous, batch.start)[1]

    def _returns(self, batch: Trajectory, values: jax.Array) -> jax.Array:
        best, terminal = jax.lax.stop_gradient(values.max(axis=-1))[1:], batch.terminal[1:]
        if self.compat.off_by_one:
            best = returns.misplaced_values(best, terminal)
        reward = self.reward_scale * batch.reward[1:]
        return returns.lambda_returns(reward, terminal, batch.truncated[1:], best, self.discount, self.trace)

    def _warm_up(self, params: Any, batch: Trajectory) -> Trajectory:
        """The batch without its burn-in slots, its carry brought up to the first slot that is learnt from."""
        if not self.burn_in:
            return batch
        carry = self.remember(jax.lax.stop_gradient(params), batch.slots(0, self.burn_in))
        return batch.slots(self.burn_in, None).replace(carry=jax.lax.stop_gradient(carry))


def _errors(batch: Trajectory, values: jax.Array, target: jax.Array, ignored: jax.Array):
    """Losses, weights and metrics of slots, [L, B]; `ignored` bool[L, B] is no experience."""
    taken = jnp.take_along_axis(values, batch.action[..., None], axis=-1)[..., 0]
    return 0.5 * jnp.square(taken - target), 1.0 - ignored, {"value": taken, "target": target}
