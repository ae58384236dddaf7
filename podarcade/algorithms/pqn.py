"""Parallelised Q-Network: Q(λ) without target network or replay (Gallici et al. 2024, arXiv 2407.04811)."""

import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import optax

from podarcade import ranges
from podarcade.algorithms import Algorithm, Params, policies, returns
from podarcade.models.networks import QNetwork
from podarcade.types import Batch, Slots, TimeStep


@dataclasses.dataclass(frozen=True)
class PQN(Algorithm):
    """ε-greedy rollouts, regression on λ-returns of the network's own current values.

        L = ½ mean ( Q(sₜ, aₜ) - Gₜ )²,       Gₜ by `returns.lambda_returns` with vₜ = maxₐ Q(sₜ, a)

    Targets and predictions come from the same forward pass, so targets are fresh in every gradient step; no gradient
    flows through them. Every transition is used once per epoch.

    Attributes:
      td_lambda: λ.
      reward_scale: factor on all rewards, inside the loss only. The games pay 1 over a whole episode; values of a few
        units suit the learning rate better.
      epsilon_start: initial ε.
      epsilon_end: ε from `epsilon_fraction` of the schedule on; linear in between.
      epsilon_fraction: fraction of the schedule over which ε decays.
    """

    GROUP: ClassVar[str] = "q"
    RANGES: ClassVar[dict[str, ranges.Range]] = {
        "td_lambda": ranges.UNIT,
        "reward_scale": ranges.POSITIVE,
        "epsilon_start": ranges.UNIT,
        "epsilon_end": ranges.UNIT,
        "epsilon_fraction": ranges.FRACTION,
    }

    VALUES: ClassVar[tuple[str, ...]] = ("td_lambda", "reward_scale", "epsilon_start", "epsilon_end")

    td_lambda: float = 0.95
    reward_scale: float = 1.0
    epsilon_start: float = 1.0
    epsilon_end: float = 0.05
    epsilon_fraction: float = 0.5

    @property
    def network(self) -> QNetwork:
        """Q-network: one value for each action."""
        return QNetwork(self.trunk)

    def act(
        self,
        params: Params,
        carry: Any,
        timestep: TimeStep,
        previous_action: jax.Array,
        keys: jax.Array,
        exploration: jax.Array,
    ) -> tuple[Any, jax.Array, None]:
        """Act ε-greedily with ε = `exploration`."""
        carry, values = self.apply_step(params, carry, timestep, previous_action)
        return carry, policies.epsilon_greedy(values, exploration, keys), None

    def named_outputs(self, outputs: jax.Array) -> dict[str, jax.Array]:
        """Return {"q": action values in units of the reward}."""
        return {"q": outputs / self.reward_scale}

    def exploration(self, progress: jax.Array) -> jax.Array:
        """Return ε after a fraction `progress` of the schedule."""
        return self.epsilon_schedule(self.epsilon_fraction)(progress)

    def epsilon_schedule(self, fraction: float) -> optax.Schedule:
        """Return ε as a function of progress: linear over `fraction` of the schedule, then constant."""
        return optax.linear_schedule(self.epsilon_start, self.epsilon_end, fraction)

    def loss(
        self, params: Params, target: Params | None, batch: Batch
    ) -> tuple[jax.Array, jax.Array, dict[str, jax.Array]]:
        """Return squared errors to fresh λ-returns over the training slots."""
        batch = self.apply_burn_in(params, batch)
        values = self.values(params, batch)
        return td_loss(batch.slots, values, self.lambda_returns(batch.slots, values))

    def values(self, params: Params, batch: Batch) -> jax.Array:
        """Return Q of all slots of a drawn batch, float32[L, B, A]."""
        return self.apply(params, batch)[1]

    def lambda_returns(self, slots: Slots, values: jax.Array) -> jax.Array:
        """Return λ-returns of all slots but the last, without gradient.

        Args:
          slots: L slots.
          values: Q of the slots, float32[L, B, A].

        Returns:
          float32[L - 1, B].
        """
        v_t = self.bootstrap_values(jax.lax.stop_gradient(values.max(axis=-1))[1:], slots.terminal[1:])
        reward = self.reward_scale * slots.reward[1:]
        return returns.lambda_returns(
            reward, slots.terminal[1:], slots.truncated[1:], v_t, self.discount, self.td_lambda
        )

    def bootstrap_values(self, v_t: jax.Array, terminal_t: jax.Array) -> jax.Array:
        """Return the values that returns bootstrap from, float32[T, B]; a hook for subclasses that change them."""
        return v_t


def td_loss(slots: Slots, values: jax.Array, td_target: jax.Array) -> tuple[jax.Array, jax.Array, dict[str, jax.Array]]:
    """Return losses, weights and metrics of the transitions between L slots, float32[L - 1, B].

    Args:
      slots: L slots.
      values: Q of the slots, float32[L, B, A].
      td_target: targets of Q for the actions of all slots but the last, float32[L - 1, B].
    """
    # A transition into a start is a reset, or padding in front of the first rollout.
    return masked_td_loss(slots.map(lambda x: x[:-1]), values[:-1], td_target, slots.start[1:])


def masked_td_loss(
    slots: Slots, values: jax.Array, td_target: jax.Array, masked: jax.Array
) -> tuple[jax.Array, jax.Array, dict[str, jax.Array]]:
    """Return ½ (Q - target)², weights and metrics of slots, float32[L, B]; weights are 0 where `masked` is set."""
    taken = jnp.take_along_axis(values, slots.action[..., None], axis=-1)[..., 0]
    return 0.5 * jnp.square(taken - td_target), (~masked).astype(jnp.float32), {"value": taken, "target": td_target}
