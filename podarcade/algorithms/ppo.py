"""Proximal Policy Optimisation (Schulman et al. 2017, arXiv 1707.06347)."""

import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from podarcade import ranges
from podarcade.actions import Continuous, Discrete
from podarcade.algorithms import Algorithm, Params, policies, returns
from podarcade.models.networks import ActorCritic
from podarcade.types import Batch, Slots, TimeStep


@dataclasses.dataclass(frozen=True)
class PPO(Algorithm):
    """Rollouts by a stochastic policy, improved within a clip range.

        L = mean( - min( ρₜ Âₜ, clip(ρₜ, 1 ± ε) Âₜ ) + c_v ℓₜ - c_H H(πₜ) )
        ℓₜ = ½ max( (Vₜ - Rₜ)², (V°ₜ + clip(Vₜ - V°ₜ, ±ε_v) - Rₜ)² )

        ρₜ = π(aₜ) / π°(aₜ),     Âₜ = (Aₜ - mean A) / std A,     Rₜ = Aₜ + V°ₜ

    A is the generalised advantage of `returns.gae`, and ° marks the parameters that acted. Their probabilities and
    values are computed once per update, from the same carry that gradient steps start from, so ρ = 1 before the first
    of them for every `carry_init`. Mean and standard deviation are over the minibatch on all devices.

    With `carry_init="recomputed"` that carry is not the one the policy acted with, so π° differs slightly from the
    acting policy μ; the metric `behaviour_kl` estimates KL(μ | π°). `carry_init="stored"` is exact: it is 0 there.

    π is a softmax over discrete actions, or a Gaussian over continuous ones whose samples the game clips to [-1, 1].

    Attributes:
      gae_lambda: λ of the advantage.
      reward_scale: factor on all rewards, inside the loss only.
      clip: ε.
      value_clip: ε_v, 0 to disable.
      value_coefficient: c_v.
      entropy_coefficient: c_H.
      standardised: whether advantages are standardised to mean 0 and standard deviation 1.
      shared: whether actor and critic share an encoder and memory, or have one each.
    """

    GROUP: ClassVar[str] = "actor_critic"
    ACTIONS: ClassVar[tuple[type, ...]] = (Discrete, Continuous)
    STOCHASTIC: ClassVar[bool] = True
    RANGES: ClassVar[dict[str, ranges.Range]] = {
        "gae_lambda": ranges.UNIT,
        "reward_scale": ranges.POSITIVE,
        "clip": ranges.UNIT,
        "value_clip": ranges.NON_NEGATIVE,
        "value_coefficient": ranges.NON_NEGATIVE,
        "entropy_coefficient": ranges.NON_NEGATIVE,
    }

    VALUES: ClassVar[tuple[str, ...]] = (
        "gae_lambda", "reward_scale", "clip", "value_coefficient", "entropy_coefficient"
    )  # fmt: skip

    gae_lambda: float = 0.95
    reward_scale: float = 1.0
    clip: float = 0.2
    value_clip: float = 0.2
    value_coefficient: float = 0.5
    entropy_coefficient: float = 0.01
    standardised: bool = True
    shared: bool = True

    @property
    def network(self) -> ActorCritic:
        """Actor-critic network: outputs of the policy, and a value."""
        return ActorCritic(self.trunk, self.shared)

    @property
    def policy(self) -> type[policies.Categorical] | type[policies.Gaussian]:
        """Distribution over actions that the outputs of the policy head describe."""
        return policies.distribution(self.trunk.actions)

    def act(
        self,
        params: Params,
        carry: Any,
        timestep: TimeStep,
        previous_action: jax.Array,
        keys: jax.Array,
        exploration: jax.Array,
    ) -> tuple[Any, jax.Array, dict[str, jax.Array]]:
        """Sample from the policy at temperature `exploration`; extras hold the log-probability at temperature 1."""
        carry, (outputs, _) = self.apply_step(params, carry, timestep, previous_action)
        action = self.policy.sample(outputs, exploration, keys)
        return carry, action, {"log_probability": self.policy.log_probability(outputs, action)}

    def initial_extras(self, batch: int) -> dict[str, jax.Array]:
        """Return placeholders for the log-probabilities of actions."""
        return {"log_probability": jnp.zeros(batch, jnp.float32)}

    def named_outputs(self, outputs: tuple[jax.Array, jax.Array]) -> dict[str, jax.Array]:
        """Return {"logits": ...} or {"mean": ..., "log_std": ...}, and {"value": values in units of the reward}."""
        policy, value = outputs
        names = ("logits",) if isinstance(self.trunk.actions, Discrete) else ("mean", "log_std")
        parts = jnp.split(policy, len(names), axis=-1)
        return dict(zip(names, parts, strict=True)) | {"value": value / self.reward_scale}

    def exploration(self, progress: jax.Array) -> jax.Array:
        """Return 1: the policy is sampled as it is throughout training."""
        return jnp.ones_like(progress)

    def prepare(self, params: Params, batch: Batch) -> dict[str, jax.Array]:
        """Compute log-probabilities, values, advantages and value targets with the parameters that acted."""
        batch = self.apply_burn_in(params, batch)
        slots, (_, (outputs, value)) = batch.slots, self.apply(params, batch)
        advantage = returns.gae(
            self.reward_scale * slots.reward[1:],
            slots.terminal[1:],
            slots.truncated[1:],
            value,
            self.discount,
            self.gae_lambda,
        )
        return {
            "log_probability": self.policy.log_probability(outputs, slots.action)[:-1],
            "value": value[:-1],
            "advantage": advantage,
            "target": advantage + value[:-1],
        }

    def standardise(self, batch: Batch, mean: Callable[[jax.Array, jax.Array], jax.Array]) -> Batch:
        """Standardise advantages over the unmasked transitions of the minibatch."""
        if not self.standardised:
            return batch
        advantage, weights = batch.prepared["advantage"], self.weights(batch.slots)
        centred = advantage - mean(advantage, weights)
        scaled = centred / (jnp.sqrt(mean(jnp.square(centred), weights)) + 1e-8)
        return batch.replace(prepared=batch.prepared | {"advantage": scaled})

    def loss(
        self, params: Params, target: Params | None, batch: Batch
    ) -> tuple[jax.Array, jax.Array, dict[str, jax.Array]]:
        """Return the clipped objective with value loss and entropy bonus over the training slots."""
        old, weights = batch.prepared, self.weights(batch.slots)
        batch = self.training_slots(params, batch)
        slots, (_, (outputs, value)) = batch.slots, self.apply(params, batch)
        log_ratio = self.policy.log_probability(outputs, slots.action) - old["log_probability"]
        entropy = self.policy.entropy(outputs)
        policy_loss, clipped = clipped_objective(log_ratio, old["advantage"], self.clip)
        value_loss = clipped_value_loss(value, old["value"], old["target"], self.value_clip)
        losses = policy_loss + self.value_coefficient * value_loss - self.entropy_coefficient * entropy
        metrics = {
            "policy_loss": policy_loss,
            "value_loss": value_loss,
            "entropy": entropy,
            "clip_fraction": clipped,
            "kl": kl_estimate(log_ratio),
            "behaviour_kl": kl_estimate(old["log_probability"] - slots.extras["log_probability"]),
            "value": value,
            "target": old["target"],
        }
        return losses, weights, metrics

    def weights(self, slots: Slots) -> jax.Array:
        """Return the weights of the training slots, float32[T, B]: 0 at the final slot of an episode, else 1."""
        is_final = slots.terminal | slots.truncated
        return (~is_final[-self.rollout_length - 1 : -1]).astype(jnp.float32)


def clipped_objective(log_ratio: jax.Array, advantage: jax.Array, clip: float) -> tuple[jax.Array, jax.Array]:
    """Return -min( ρ A, clip(ρ, 1 ± ε) A ) and, as 0 or 1, whether ρ is outside the clip range; elementwise."""
    ratio = jnp.exp(log_ratio)
    surrogate = jnp.minimum(ratio * advantage, jnp.clip(ratio, 1 - clip, 1 + clip) * advantage)
    return -surrogate, (jnp.abs(ratio - 1) > clip).astype(jnp.float32)


def clipped_value_loss(value: jax.Array, old: jax.Array, target: jax.Array, clip: float) -> jax.Array:
    """Return ½ max( (V - R)², (V° + clip(V - V°, ±ε) - R)² ), or ½ (V - R)² where ε is 0; elementwise."""
    error = jnp.square(value - target)
    if clip:
        clipped_value = old + jnp.clip(value - old, -clip, clip)
        error = jnp.maximum(error, jnp.square(clipped_value - target))
    return 0.5 * error


def kl_estimate(log_ratio: jax.Array) -> jax.Array:
    """Return the estimate r - 1 - log r >= 0 of KL(p | q), r = q/p at a sample of p (Schulman 2020); elementwise."""
    return jnp.expm1(log_ratio) - log_ratio
