"""MultiarmedBandit: find the arm that pays best."""

import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from podarcade.actions import ActionSpace, Discrete
from podarcade.envs.tasks import Fields, Task, cards


@struct.dataclass
class MultiarmedBanditState:
    """State of MultiarmedBandit: 10 + 8 `arms` bytes."""

    payout: jax.Array  # float32[arms] probabilities
    wins: jax.Array  # int16[arms]
    pulls: jax.Array  # int16[arms]
    last: jax.Array  # int8[] last arm, -1 for none
    paid: jax.Array  # bool[] whether it paid
    time: jax.Array  # int32[]
    score: jax.Array  # int32[] wins


@dataclasses.dataclass(frozen=True)
class MultiarmedBandit(Task):
    """Arms pay with unknown probabilities, which are fixed for an episode (POPGym's MultiarmedBandit).

    With T = `steps`, the probability of each arm is uniform in [0, 1).

    - observation: visible `paid` (1), `arm`, the last one pulled one-hot (`arms`), both zero at time 0; hidden `wins`
      and `pulls` of each arm, divided by T (`arms` each). With `oracle=True` the hidden block is `payout` (`arms`).
    - action: an arm, 0 to `arms` - 1.
    - reward: 1 / T if the arm pays, else -1 / T. Returns are in [-1, 1].
    - end: truncated after T actions.
    - twin: history: wins and pulls are sufficient. With `oracle=True` it is an oracle, shown from time 1 on.
    - channel: open. The observation shows the last arm, so a policy without memory can stay on a win and move to the
      next arm on a loss: 0.476, 0.554 and 0.596 at the three levels. A random policy has 0. An index policy,
      (1 + wins) / (2 + pulls) + 0.5 sqrt(0.3 ln T / (1 + pulls)), has 0.709, 0.795 and 0.821. The best arm pays 0.818,
      0.905 and 0.935 on average.

    Published rules: the limit of T actions is terminal. POPGym shows `paid` alone and leaves the arm to a wrapper.

    Raises:
      ValueError: `arms` is not in 1 to 127, or `steps` not in 1 to 32767.
    """

    arms: int = 10
    steps: int = 200
    oracle: bool = False

    LEVELS: ClassVar[dict[str, dict[str, Any]]] = {
        "easy": {"arms": 10, "steps": 200},
        "medium": {"arms": 20, "steps": 400},
        "hard": {"arms": 30, "steps": 600},
    }
    RETURNS: ClassVar[tuple[float, float]] = (-1.0, 1.0)

    def __post_init__(self):
        super().__post_init__()
        if not 1 <= self.arms <= 127 or not 1 <= self.steps <= 32767:
            raise ValueError(f"arms={self.arms}, steps={self.steps}; expected 1 to 127 and 1 to 32767")

    @property
    def actions(self) -> ActionSpace:
        """The arms."""
        return Discrete(self.arms)

    @property
    def max_steps(self) -> int:
        """T, the length of every episode."""
        return self.steps

    @property
    def hidden_at_start(self) -> bool:
        """Whether the hidden block is zero at time 0: an oracle is shown from time 1 on."""
        return self.oracle

    def reset(self, key: jax.Array) -> MultiarmedBanditState:
        """Draw the probabilities."""
        none = jnp.zeros(self.arms, jnp.int16)
        return MultiarmedBanditState(
            payout=jax.random.uniform(key, (self.arms,), jnp.float32),
            wins=none,
            pulls=none,
            last=jnp.int8(-1),
            paid=jnp.asarray(False),
            time=jnp.int32(0),
            score=jnp.int32(0),
        )

    def step(self, state: MultiarmedBanditState, action: jax.Array, key: jax.Array):
        """Return (state, reward, terminal)."""
        pulled = np.arange(self.arms, dtype=np.int32) == action
        paid = jax.random.uniform(key, (), jnp.float32) < jnp.sum(jnp.where(pulled, state.payout, 0.0))
        new = state.replace(
            wins=state.wins + (pulled & paid),
            pulls=state.pulls + pulled,
            last=jnp.where((action >= 0) & (action < self.arms), action, -1).astype(jnp.int8),
            paid=paid,
            time=state.time + 1,
            score=state.score + paid,
        )
        reward = jnp.where(paid, 1.0, -1.0).astype(jnp.float32) / self.steps
        return new, reward, self.is_over(new)

    def visible(self, state: MultiarmedBanditState) -> Fields:
        """Return whether the last arm paid, and which one it was."""
        return {"paid": state.paid[None], "arm": cards.one_hot(state.last, self.arms)}

    def hidden(self, state: MultiarmedBanditState) -> Fields:
        """Return wins and pulls of each arm as shares of T, or the probabilities."""
        if self.oracle:
            return {"payout": state.payout}
        wins, pulls = (count.astype(jnp.float32) / self.steps for count in (state.wins, state.pulls))
        return {"wins": wins, "pulls": pulls}
