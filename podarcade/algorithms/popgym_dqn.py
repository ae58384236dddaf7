"""DQN as released with POPGym Arcade, as far as it can be stated: `DQN` with its quirks, each behind a switch."""

import dataclasses
from typing import Any, ClassVar

import jax

from podarcade.algorithms import Params
from podarcade.algorithms.dqn import DQN
from podarcade.algorithms.popgym_quirks import QLearningQuirks
from podarcade.types import Batch


@dataclasses.dataclass(frozen=True)
class PopgymDQN(QLearningQuirks, DQN):
    """The released DQN trainer's targets; configs/popgym_arcade/dqn.py says what differs.

    Attributes:
      frozen_targets: there is no target network; the target of a transition is the λ-return that the network gave
        when the transition was stored, and is never recomputed.
    """

    QUIRKS: ClassVar[dict[str, tuple[str, ...]]] = {
        "recurrent": ("epsilon_horizon", "held_return", "frozen_targets", "stale_carry", "action_leak"),
        "feed-forward": ("epsilon_horizon", "held_return", "frozen_targets", "off_by_one"),
    }

    frozen_targets: bool = False

    def __post_init__(self):
        super().__post_init__()
        if self.frozen_targets and (self.rescale_values or self.returns != "lambda"):
            raise ValueError(
                f"algorithm.frozen_targets=true with algorithm.returns={self.returns}, "
                f"rescale_values={str(self.rescale_values).lower()}; expected returns=lambda, rescale_values=false"
            )

    def init_target(self, params: Params) -> Params | None:
        """Return None if `frozen_targets`, else a copy of the parameters."""
        return None if self.frozen_targets else super().init_target(params)

    def update_target(self, target: Params | None, params: Params) -> Params | None:
        """Return None if `frozen_targets`, else the updated target parameters."""
        return None if self.frozen_targets else super().update_target(target, params)

    def prepare(self, params: Params, batch: Batch) -> Any:
        """Return λ-returns of the network that acted if `frozen_targets`, else None."""
        if not self.frozen_targets:
            return None
        batch = self.apply_burn_in(params, batch)
        return {"target": self.lambda_returns(batch.slots, self.values(params, batch))}

    def targets(self, values: jax.Array, target: Params | None, batch: Batch) -> jax.Array:
        """Return the stored targets if `frozen_targets`, else those of the target network."""
        return batch.prepared["target"] if self.frozen_targets else super().targets(values, target, batch)
