"""PositionOnlyCartPole: balance a pole without seeing velocities."""

import dataclasses

from podarcade.envs.games.cartpole import CartPoleState
from podarcade.envs.tasks import Fields
from podarcade.envs.tasks.poles import _CartPoleTask, positions, velocities


@dataclasses.dataclass(frozen=True)
class PositionOnlyCartPole(_CartPoleTask):
    """CartPole that shows positions only (POPGym's PositionOnlyCartPole).

    With T = `max_steps`:

    - start: position, velocity, angle and spin are independent and uniform on [-0.05, 0.05).
    - dynamics: those of the pixel game CartPole, in steps of 0.02 s.
    - observation: visible `position` of the cart in m and `angle` of the pole in rad; hidden `velocity` in m/s and
      `spin` in rad/s. No value is scaled.
    - action: 0 pushes to the left with 10 N, 1 to the right.
    - reward: 1 / T for each action, the one that lets the pole fall included. Returns are in [8 / T, 1].
    - end: terminal when |position| > 2.4 or |angle| > 12 degrees; truncated after T actions.
    - twin: history. Velocities follow from two observations and the action between them. At time 0 both twins show
      them.
    - channel: small. The best known policy without memory has 0.424, 0.220 and 0.146 at the three levels, one that also
      sees its previous action 0.726, 0.398 and 0.266; a random policy has 22.2 steps, 0.111 at T = 200. The best has 1.

    Published rules: both twins hide the velocities at time 0 too, and the limit is terminal.

    With `max_steps=500` the full twin is Gymnasium's CartPole-v1, whose reward is T times this one.
    """

    def visible(self, state: CartPoleState) -> Fields:
        """Return the positions."""
        return positions(state)

    def hidden(self, state: CartPoleState) -> Fields:
        """Return the velocities."""
        return velocities(state)
