"""Proximal Policy Optimisation (Schulman et al. 2017, arXiv 1707.06347)."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from podarcade.algorithms import Algorithm, policies, returns
from podarcade.models.networks import ActorCritic
from podarcade.types import TimeStep, Trajectory


@dataclasses.dataclass(frozen=True)
class PPO(Algorithm):
    """Rollouts by a stochastic policy, which is then improved near what it was.

        L = mean( - min( ρₜ Âₜ, clip(ρₜ, 1 ± ε) Âₜ ) + c_v ℓₜ - c_H H(πₜ) )
        ℓₜ = ½ max( (Vₜ - Rₜ)², (V°ₜ + clip(Vₜ - V°ₜ, ±ε_v) - Rₜ)² )

        ρₜ = π(aₜ) / π°(aₜ),     Âₜ = (Aₜ - mean A) / std A,     Rₜ = Aₜ + V°ₜ

    A is the generalised advantage of `returns.gae`, and ° marks the parameters that acted: their probabilities and
    values are computed once per update, over the same memory that gradient steps begin with, so that ρ = 1 before the
    first of them whatever `carry` is. Mean and standard deviation are over the gradient step's batch on all devices.

    Attributes:
      gae_lambda: λ of the advantage.
      reward_scale: factor of all rewards, inside the loss only.
      clip: ε.
      value_clip: ε_v, 0 for none.
      value_coefficient: c_v.
      entropy_coefficient: c_H.
      standardised: whether advantages have mean 0 and standard deviation 1, or are left as they are.
      shared: whether actor and critic have one encoder and memory, or each its own.
    """

    QUIRKS: ClassVar[tuple[str, ...]] = ("no_action", "feed_forward")

    gae_lambda: float = 0.95
    reward_scale: float = 1.0
    clip: float = 0.2
    value_clip: float = 0.2
    value_coefficient: float = 0.5
    entropy_coefficient: float = 0.01
    standardised: bool = True
    shared: bool = True

    def __post_init__(self):
        super().__post_init__()
        self.check_between(0, 1, "clip", "gae_lambda")
        self.check_between(0, math.inf, "value_clip", "value_coefficient", "entropy_coefficient")

    @property
    def network(self) -> ActorCritic:
        """Logits of the policy, and the value."""
        return ActorCritic(self.trunk, self.num_actions, self.shared, not self.compat.no_action)

    def act(
        self, params: Any, carry: Any, timestep: TimeStep, previous: jax.Array, keys: jax.Array, exploration: jax.Array
    ) -> tuple[Any, jax.Array]:
        """Draws from the policy at the temperature `exploration`."""
        carry, (logits, _) = self.network.apply(
            params, carry, timestep.observation[None], previous[None], timestep.start[None]
        )
        return carry, policies.sample(logits[0], exploration, keys)

    def exploration(self, progress: jax.Array) -> jax.Array:
        """The policy as it is, all along."""
        return jnp.ones_like(progress)

    def prepare(self, params: Any, batch: Trajectory) -> dict[str, jax.Array]:
        """Log-probabilities, values, advantages and value targets by the parameters that acted."""
        batch = self.warm_up(params, batch)
        _, (logits, value) = self.apply(params, batch)
        advantage = returns.gae(
            self.reward_scale * batch.reward[1:],
            batch.terminal[1:],
            batch.truncated[1:],
            value,
            self.discount,
            self.gae_lambda,
        )
        return {
            "log_probability": policies.log_probability(logits, batch.action)[:-1],
            "value": value[:-1],
            "advantage": advantage,
            "target": advantage + value[:-1],
        }

    def standardise(self, batch: Trajectory, mean: Callable[[jax.Array, jax.Array], jax.Array]) -> Trajectory:
        """Advantages with mean 0 and standard deviation 1 over the transitions that are experience."""
        if not self.standardised:
            return batch
        advantage, weights = batch.prepared["advantage"], self._weights(batch)
        centred = advantage - mean(advantage, weights)
        scaled = centred / (jnp.sqrt(mean(jnp.square(centred), weights)) + 1e-8)
        return batch.replace(prepared=batch.prepared | {"advantage": scaled})

    def loss(
        self, params: Any, target: Any, batch: Trajectory, key: jax.Array
    ) -> tuple[jax.Array, jax.Array, dict[str, jax.Array]]:
        """The clipped objective with its value loss and entropy, over the T slots of the rollout."""
        old, weights = batch.prepared, self._weights(batch)
        batch = batch if self.compat.feed_forward else self.warm_up(params, batch).slots(0, -1)
        _, (logits, value) = self.apply(params, batch)
        log_ratio = policies.log_probability(logits, batch.action) - old["log_probability"]
        entropy = policies.entropy(logits)
        policy_loss, clipped = clipped_objective(log_ratio, old["advantage"], self.clip)
        value_loss = clipped_value_loss(value, old["value"], old["target"], self.value_clip)
        losses = policy_loss + self.value_coefficient * value_loss - self.entropy_coefficient * entropy
        metrics = {
            "policy_loss": policy_loss,
            "value_loss": value_loss,
            "entropy": entropy,
            "clip_fraction": clipped,
            # Schulman's estimate of the divergence KL(π° | π), which is never negative.
            "kl": jnp.expm1(log_ratio) - log_ratio,
            "value": value,
            "target": old["target"],
        }
        return losses, weights, metrics

    def _weights(self, batch: Trajectory) -> jax.Array:
        """0 where a slot that is learnt from is the last of its episode, elsewhere 1: float32, as what is prepared."""
        over = batch.terminal | batch.truncated
        return 1.0 - (over if self.compat.feed_forward else over[-self.rollout_length - 1 : -1])


def clipped_objective(log_ratio: jax.Array, advantage: jax.Array, clip: float) -> tuple[jax.Array, jax.Array]:
    """- min( ρ A, clip(ρ, 1 ± ε) A ), and where ρ lies beyond the clip, as 0 or 1; elementwise."""
    ratio = jnp.exp(log_ratio)
    lesser = jnp.minimum(ratio * advantage, jnp.clip(ratio, 1 - clip, 1 + clip) * advantage)
    return -lesser, (jnp.abs(ratio - 1) > clip).astype(jnp.float32)


def clipped_value_loss(value: jax.Array, old: jax.Array, target: jax.Array, clip: float) -> jax.Array:
    """½ max( (V - R)², (V° + clip(V - V°, ±ε) - R)² ), or ½ (V - R)² where ε is 0; elementwise."""
    error = jnp.square(value - target)
    if clip:
        near = old + jnp.clip(value - old, -clip, clip)
        error = jnp.maximum(error, jnp.square(near - target))
    return 0.5 * error
