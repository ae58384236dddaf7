"""What the tasks with a pole on a cart share: POPGym's rules on the dynamics of the pixel game."""

import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from podarcade.actions import ActionSpace, Discrete
from podarcade.envs.games.cartpole import FORCE, START, CartPoleState, fallen, push
from podarcade.envs.tasks import Fields, Task

EVERY_LENGTH = {"easy": {"max_steps": 200}, "medium": {"max_steps": 400}, "hard": {"max_steps": 600}}


@dataclasses.dataclass(frozen=True)
class _CartPoleTask(Task):
    """Balance a pole on a cart with T = `max_steps` steps; subclasses say which variables are visible."""

    max_steps: int = 200

    LEVELS: ClassVar[dict[str, dict[str, Any]]] = EVERY_LENGTH
    CHANNEL: ClassVar[str] = "small"
    actions: ClassVar[ActionSpace] = Discrete(2)

    @property
    def RETURNS(self) -> tuple[float, float]:
        """Range of returns: the fastest fall takes 8 steps."""
        return min(8 / self.max_steps, 1.0), 1.0

    @property
    def hidden_at_start(self) -> bool:
        """Whether the hidden block is zero at time 0: an oracle's, and any under published rules, as in POPGym."""
        return self.TWIN == "oracle" or self.rules == "published"

    def reset(self, key: jax.Array) -> Any:
        """Return a cart near the centre with a pole near upright."""
        return self.start(jax.random.uniform(key, (4,), jnp.float32, -1.0, 1.0))

    def start(self, uniform: jax.Array) -> CartPoleState:
        """Return the state at time 0 for numbers in [-1, 1), float32[4]."""
        return CartPoleState(*(START * uniform), time=jnp.int32(0), score=jnp.int32(0))

    def step(self, state: Any, action: jax.Array, key: jax.Array):
        """Return (state, reward, terminal)."""
        new = push(state, jnp.where(action == 1, FORCE, -FORCE).astype(jnp.float32))
        new = new.replace(time=state.time + 1, score=state.score + 1)
        return new, jnp.float32(1 / self.max_steps), self.is_over(new, fallen(new))


def positions(state: Any) -> Fields:
    """Return the position of the cart in metres and the angle of the pole in radians."""
    return {"position": state.position[None], "angle": state.angle[None]}


def velocities(state: Any) -> Fields:
    """Return the velocities of the cart and of the pole, per second."""
    return {"velocity": state.velocity[None], "spin": state.spin[None]}
