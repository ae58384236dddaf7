"""UmbrellaChain: decide at once whether an umbrella will be needed, amid noise."""

import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from podarcade.actions import ActionSpace, Discrete
from podarcade.envs.tasks import Fields, Task


@struct.dataclass
class UmbrellaChainState:
    """State of UmbrellaChain: 10 bytes, and one for each distractor."""

    need: jax.Array  # int8[] 1 if it will rain
    have: jax.Array  # int8[] 1 with an umbrella
    distractors: jax.Array  # int8[n] random bits of this step
    time: jax.Array  # int32[]
    score: jax.Array  # int32[] right decisions


@dataclasses.dataclass(frozen=True)
class UmbrellaChain(Task):
    """Take an umbrella or leave it, and learn L steps later whether that was right (bsuite's umbrella_length).

    L = `chain_length`, n = `n_distractor`. Whether it will rain is a fair coin.

    - observation: visible `clock`, 1 - t / L, and `distractors`, fair bits drawn for each step (n); hidden `need`,
      whether an umbrella will be needed, and `have`, whether the agent has one: a fair coin before the first action.
    - action: 0 or 1. The first one leaves or takes the umbrella, all others do nothing.
    - reward: actions 1 to L - 1 pay -1 or 1 at random; action L pays 1 if `have` equals `need`, else -1. Returns are in
      [-L, L].
    - end: terminal after L actions.
    - twin: critic. Both twins show the hidden block at time 0, when the decision is made; the value needs it later.
    - channel: closed. The best policy has a mean return of 1, with or without memory, a random one 0; the noise has a
      standard deviation of √(L - 1).

    Both rule sets are the same.

    Raises:
      ValueError: `chain_length` is less than 1, or `n_distractor` negative.
    """

    chain_length: int = 10
    n_distractor: int = 20

    LEVELS: ClassVar[dict[str, dict[str, Any]]] = {
        "easy": {"chain_length": 10},
        "medium": {"chain_length": 30},
        "hard": {"chain_length": 100},
    }
    TWIN: ClassVar[str] = "critic"
    CHANNEL: ClassVar[str] = "closed"
    actions: ClassVar[ActionSpace] = Discrete(2)

    def __post_init__(self):
        super().__post_init__()
        if self.chain_length < 1 or self.n_distractor < 0:
            raise ValueError(
                f"chain_length={self.chain_length}, n_distractor={self.n_distractor}; expected >= 1 and >= 0"
            )

    @property
    def RETURNS(self) -> tuple[float, float]:
        """Range of returns: L times -1 or 1."""
        return -float(self.chain_length), float(self.chain_length)

    @property
    def max_steps(self) -> int:
        """L, the length of every episode."""
        return self.chain_length

    def reset(self, key: jax.Array) -> UmbrellaChainState:
        """Toss the coins."""
        coins = self._coins(key, 2)
        return UmbrellaChainState(
            need=coins[0], have=coins[1], distractors=coins[2:], time=jnp.int32(0), score=jnp.int32(0)
        )

    def step(self, state: UmbrellaChainState, action: jax.Array, key: jax.Array):
        """Return (state, reward, terminal)."""
        have = jnp.where(state.time == 0, action == 1, state.have).astype(jnp.int8)
        time = state.time + 1
        coins = self._coins(key, 1)
        last = time >= self.chain_length
        right = have == state.need
        reward = jnp.where(jnp.where(last, right, coins[0] == 1), 1.0, -1.0).astype(jnp.float32)
        new = state.replace(have=have, distractors=coins[1:], time=time, score=state.score + (last & right))
        return new, reward, self.is_over(new, last)

    def visible(self, state: UmbrellaChainState) -> Fields:
        """Return the time left, and the distractors."""
        clock = 1 - state.time[None].astype(jnp.float32) / self.chain_length
        return {"clock": clock, "distractors": state.distractors}

    def hidden(self, state: UmbrellaChainState) -> Fields:
        """Return whether an umbrella is needed, and whether there is one."""
        return {"need": state.need[None], "have": state.have[None]}

    def _coins(self, key, more):
        """Return fair bits, int8[more + n_distractor], 32 from each random word."""
        count = more + self.n_distractor
        words = jax.random.bits(key, (-(-count // 32), 1), jnp.uint32)
        return (words >> np.arange(32, dtype=np.uint32)[None] & 1).astype(jnp.int8).reshape(-1)[:count]
