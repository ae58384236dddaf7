"""VelocityOnlyPendulum: swing a pendulum up without seeing its angle."""

import dataclasses

from podarcade.envs.tasks import Fields
from podarcade.envs.tasks.pendulums import PendulumState, _PendulumTask, direction, speed


@dataclasses.dataclass(frozen=True)
class VelocityOnlyPendulum(_PendulumTask):
    """Swing-up of a pendulum that shows its speed only (Ni et al. 2022, Pendulum-V).

    Start, dynamics, actions, reward and end are those of PositionOnlyPendulum, with T = `max_steps` = 200.

    - observation: visible `speed` in rad/s, not scaled; hidden `cosine` and `sine` of the angle.
    - twin: history. The angle is the sum of all speeds since time 0, when both twins show it.
    - channel: open. A policy without memory that sees its previous action can keep the angle in the small digits of its
      actions, 0.906. Without its previous action the best known policy has 0.647: speeds alone earn much, and the gap
      is smaller than PositionOnlyPendulum's. A random policy has 0.243, the best 0.914.

    Published rules: both twins hide the angle at time 0 too, and the limit is terminal.
    """

    def visible(self, state: PendulumState) -> Fields:
        """Return the speed."""
        return speed(state)

    def hidden(self, state: PendulumState) -> Fields:
        """Return cosine and sine of the angle."""
        return direction(state)
