"""PositionOnlyPendulum: swing a pendulum up without seeing its speed."""

import dataclasses
from typing import Any, ClassVar

from podarcade.envs.tasks import Fields
from podarcade.envs.tasks.pendulums import PendulumState, _PendulumTask, direction, speed


@dataclasses.dataclass(frozen=True)
class PositionOnlyPendulum(_PendulumTask):
    """Swing-up of a pendulum that shows its angle only (POPGym's PositionOnlyPendulum).

    With T = `max_steps`, angle θ from upright in (-π, π], speed w and torque u:

    - start: θ is uniform on [-π, π), w on [-1, 1).
    - dynamics: w' = clip(w + 0.05 (15 sin θ + 3 u), -8, 8), θ' = θ + 0.05 w'.
    - observation: visible `cosine` and `sine` of θ; hidden `speed`, w in rad/s.
    - action: one number a in [-1, 1], u = 2 a N m; values outside are clipped.
    - reward: (C - c) / (C T), with the cost c = θ² + 0.1 w² + 0.001 u² of the state before the move and C = 8.1368022.
      Returns are in [-1, 1]. Gymnasium's Pendulum-v1 pays -c: its return is 8.1368 T (return - 1).
    - end: truncated after T actions.
    - twin: history. The speed follows from two observations. At time 0 both twins show it.
    - channel: open. A policy without memory that sees its previous action can write the angle into the small digits of
      each action and read it there, and then swings up like one with memory, 0.906 at T = 200. Without its previous
      action the best known policy has 0.375; a random one has 0.243, 0.240 and 0.248 at the three levels, the best
      0.914, 0.884 and 0.832.

    Published rules: both twins hide the speed at time 0 too, and the limit is terminal.
    """

    LEVELS: ClassVar[dict[str, dict[str, Any]]] = {
        "easy": {"max_steps": 200},
        "medium": {"max_steps": 150},
        "hard": {"max_steps": 100},
    }

    def visible(self, state: PendulumState) -> Fields:
        """Return cosine and sine of the angle."""
        return direction(state)

    def hidden(self, state: PendulumState) -> Fields:
        """Return the speed."""
        return speed(state)
