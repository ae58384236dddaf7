"""Networks: heads on a trunk of memory layers."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from podarcade.actions import Continuous
from podarcade.models.popgym_trunks import PopgymMLP, PopgymTrunk
from podarcade.models.trunks import Trunk

LOG_STD = -0.5, -5.0, 2.0  # of a Gaussian policy: initial value and bounds of log σ
TRUNKS = {"residual": Trunk, "popgym": PopgymTrunk, "popgym_mlp": PopgymMLP}


class QNetwork(nn.Module):
    """A trunk with a linear head: one value for each of n discrete actions."""

    trunk: Trunk

    def initial(self, batch: int) -> tuple[Any, ...]:
        """Return the carry of `batch` fresh environments."""
        return self.trunk.initial(batch)

    @nn.compact
    def __call__(self, carry, observation, previous_action, reward, start) -> tuple[tuple[Any, ...], jax.Array]:
        """Return the new carry and Q float32[T, B, n]; arguments as in `Trunk`."""
        carry, features = self.trunk(carry, observation, previous_action, reward, start)
        return carry, nn.Dense(self.trunk.actions.size, name="value", **self.trunk.head_init)(features)


class ActorCritic(nn.Module):
    """A policy head and a value head, on one shared trunk or on two separate ones.

    The policy head gives logits float32[T, B, n] of discrete actions; of continuous ones mean and log σ of a Gaussian,
    float32[T, B, 2 A], where log σ is a parameter of its own that depends on no input, clipped to [-5, 2].

    Attributes:
      trunk: trunk of the actor and of the critic.
      shared: whether both heads share one trunk; otherwise each has its own trunk and memory.
    """

    trunk: Trunk
    shared: bool = True

    def initial(self, batch: int) -> tuple[tuple[Any, ...], ...]:
        """Return the carry of `batch` fresh environments: one entry per trunk."""
        return tuple(self.trunk.initial(batch) for _ in range(1 if self.shared else 2))

    @nn.compact
    def __call__(
        self, carry, observation, previous_action, reward, start
    ) -> tuple[tuple[Any, ...], tuple[jax.Array, jax.Array]]:
        """Return the new carry, and (outputs of the policy head, values float32[T, B]); arguments as in `Trunk`."""
        names = ("actor_critic",) if self.shared else ("actor", "critic")
        carries, features = [], []
        for name, trunk_carry in zip(names, carry, strict=True):
            trunk = self.trunk.clone(parent=self, name=name)
            trunk_carry, trunk_features = trunk(trunk_carry, observation, previous_action, reward, start)
            carries.append(trunk_carry)
            features.append(trunk_features)
        policy = nn.Dense(self.trunk.actions.size, name="policy", **self.trunk.head_init)(features[0])
        if isinstance(self.trunk.actions, Continuous):
            start_at, low, high = LOG_STD
            log_std = self.param("log_std", nn.initializers.constant(start_at, jnp.float32), (policy.shape[-1],))
            log_std = jnp.broadcast_to(jnp.clip(log_std, low, high), policy.shape)
            policy = jnp.concatenate([policy, log_std], axis=-1)
        value = nn.Dense(1, name="value", **self.trunk.head_init)(features[-1])
        return tuple(carries), (policy, value[..., 0])
