"""PQN as released with POPGym Arcade: `PQN` with its quirks, each behind a switch."""

import dataclasses
from typing import Any, ClassVar

import jax

from podarcade.algorithms import Params
from podarcade.algorithms.popgym_quirks import FeedForward, QLearningQuirks
from podarcade.algorithms.pqn import PQN, masked_td_loss
from podarcade.types import Batch


@dataclasses.dataclass(frozen=True)
class PopgymPQN(FeedForward, QLearningQuirks, PQN):
    """The released PQN trainers: recurrent, and feed-forward for agents without memory.

    Attributes:
      window_loss: the W slots before a rollout are trained on instead of warming up the memory, so W - 1 transitions
        are used in two updates, and the newest one waits for the next update.
    """

    QUIRKS: ClassVar[dict[str, tuple[str, ...]]] = {
        "recurrent": ("epsilon_horizon", "held_return", "window_loss", "stale_carry", "action_leak"),
        "feed-forward": ("epsilon_horizon", "held_return", "off_by_one", "feed_forward"),
    }

    window_loss: bool = False

    def apply_burn_in(self, params: Params, batch: Batch) -> Batch:
        """Return all slots but the newest if `window_loss`, else the training slots after the burn-in."""
        return batch.time_slice(0, -1) if self.window_loss else super().apply_burn_in(params, batch)

    def prepare(self, params: Params, batch: Batch) -> Any:
        """Return λ-returns of the parameters that acted if `feed_forward`, else None."""
        if not self.feed_forward:
            return None
        return {"target": self.lambda_returns(batch.slots, self.values(params, batch))}

    def loss(
        self, params: Params, target: Params | None, batch: Batch
    ) -> tuple[jax.Array, jax.Array, dict[str, jax.Array]]:
        """Return squared errors to the prepared targets if `feed_forward`, else to fresh λ-returns."""
        if not self.feed_forward:
            return super().loss(params, target, batch)
        slots = batch.slots
        over = slots.terminal | slots.truncated
        return masked_td_loss(slots, self.values(params, batch), batch.prepared["target"], over)
