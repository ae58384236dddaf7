"""PPO as released with POPGym Arcade: `PPO` with its quirks, each behind a switch."""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp

from podarcade.algorithms.popgym_quirks import FeedForward, StaleCarry
from podarcade.algorithms.ppo import PPO
from podarcade.models.networks import ActorCritic
from podarcade.types import Slots


@dataclasses.dataclass(frozen=True)
class PopgymPPO(FeedForward, StaleCarry, PPO):
    """The released PPO trainers: recurrent, and feed-forward for agents without memory.

    Attributes:
      no_action: the networks do not see the previous action.
    """

    QUIRKS: ClassVar[dict[str, tuple[str, ...]]] = {
        "recurrent": ("no_action", "stale_carry"),
        "feed-forward": ("no_action", "feed_forward"),
    }

    no_action: bool = False

    @property
    def network(self) -> ActorCritic:
        """Actor-critic network, blind to the previous action with `no_action`."""
        inputs = self.trunk.inputs.replace("a", "") if self.no_action else self.trunk.inputs
        return ActorCritic(self.trunk.clone(inputs=inputs), self.shared)

    def weights(self, slots: Slots) -> jax.Array:
        """Return weights that mask every final slot if `feed_forward`, else those of the training slots."""
        if not self.feed_forward:
            return super().weights(slots)
        return (~(slots.terminal | slots.truncated)).astype(jnp.float32)
