"""VelocityOnlyCartPole: balance a pole without seeing positions."""

import dataclasses

import jax.numpy as jnp

from podarcade.envs.games.cartpole import CartPoleState
from podarcade.envs.tasks import Fields
from podarcade.envs.tasks.poles import _CartPoleTask, positions, velocities


@dataclasses.dataclass(frozen=True)
class VelocityOnlyCartPole(_CartPoleTask):
    """CartPole that shows velocities only (POPGym's VelocityOnlyCartPole): no test of memory.

    Start, dynamics, actions, reward and end are those of PositionOnlyCartPole.

    - observation: visible `velocity` of the cart in m/s and `spin` of the pole in rad/s; hidden `position` in m and
      `angle` in rad. No value is scaled.
    - twin: history. Positions are sums of all velocities since time 0, when both twins show the positions.
    - channel: small. A policy without memory reaches 1.000, 0.994 and 0.840 at the three levels, and 0.998 at the hard
      one if it sees its previous action: balancing needs velocities alone. So this task is a negative control.

    Published rules: the limit is terminal, the hidden block is zero at time 0, and the first observation shows the
    positions where later ones show velocities, as the released code does.
    """

    def visible(self, state: CartPoleState) -> Fields:
        """Return the velocities; under published rules the positions at time 0."""
        seen = velocities(state)
        if self.rules == "published":
            first = jnp.stack(list(positions(state).values()))
            seen = dict(zip(seen, jnp.where(state.time == 0, first, jnp.stack(list(seen.values()))), strict=True))
        return seen

    def hidden(self, state: CartPoleState) -> Fields:
        """Return the positions."""
        return positions(state)
