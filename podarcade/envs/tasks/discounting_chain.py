"""DiscountingChain: one choice now, its reward much later."""

import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from podarcade.actions import ActionSpace, Discrete
from podarcade.envs.tasks import Fields, Task

DELAYS = (1, 3, 10, 30, 100)  # actions until each chain pays


@struct.dataclass
class DiscountingChainState:
    """State of DiscountingChain: 9 bytes."""

    chain: jax.Array  # int8[] the chain chosen by the first action, -1 before
    time: jax.Array  # int32[]
    score: jax.Array  # int32[] rewards received


@dataclasses.dataclass(frozen=True)
class DiscountingChain(Task):
    """The first of 100 actions chooses one of five chains; each pays once, after its own delay (bsuite).

    - observation: visible `clock`, t / 100; hidden `chain`, (chain + 1) / 5, 0 before the choice.
    - action: the number of a chain, 0 to 4; others are clipped. Only the first action counts.
    - reward: chain 0, 1, 2, 3 or 4 pays at action 1, 3, 10, 30 or 100, counted from 1: 1, or 1.1 if it is the chain
      `mapping_seed` mod 5. Returns are 1 or 1.1.
    - end: terminal after 100 actions.
    - twin: critic. The policy only has to choose right at time 0; the value needs the chain.
    - channel: closed. The best policy has 1.1, with or without memory, a random one 1.02.

    A discount above 1.1^(-1 / (d - 1)) is needed for the chain of delay d to be worth its wait: 0.99904 for 100,
    0.99672 for 30.

    Published rules: `chain` is -1 before the choice and the number of the chain after it.

    Raises:
      ValueError: `mapping_seed` is negative.
    """

    mapping_seed: int = 1

    LEVELS: ClassVar[dict[str, dict[str, Any]]] = {
        "easy": {"mapping_seed": 1},
        "medium": {"mapping_seed": 3},
        "hard": {"mapping_seed": 4},
    }
    RETURNS: ClassVar[tuple[float, float]] = (1.0, 1.1)
    TWIN: ClassVar[str] = "critic"
    CHANNEL: ClassVar[str] = "closed"
    actions: ClassVar[ActionSpace] = Discrete(len(DELAYS))
    max_steps: ClassVar[int] = 100

    def __post_init__(self):
        super().__post_init__()
        if self.mapping_seed < 0:
            raise ValueError(f"mapping_seed={self.mapping_seed}; expected >= 0")

    def reset(self, key: jax.Array) -> DiscountingChainState:
        """Return the state before the choice."""
        return DiscountingChainState(chain=jnp.int8(-1), time=jnp.int32(0), score=jnp.int32(0))

    def step(self, state: DiscountingChainState, action: jax.Array, key: jax.Array):
        """Return (state, reward, terminal)."""
        chosen = jnp.clip(action, 0, len(DELAYS) - 1).astype(jnp.int8)
        chain = jnp.where(state.time == 0, chosen, state.chain)
        time = state.time + 1
        paid = time == jnp.asarray(DELAYS, jnp.int32)[chain]
        new = state.replace(chain=chain, time=time, score=state.score + paid)
        amount = jnp.where(chain == self.mapping_seed % len(DELAYS), jnp.float32(1.1), jnp.float32(1.0))
        return new, jnp.where(paid, amount, 0.0).astype(jnp.float32), self.is_over(new, time >= self.max_steps)

    def visible(self, state: DiscountingChainState) -> Fields:
        """Return the time."""
        return {"clock": state.time[None].astype(jnp.float32) / self.max_steps}

    def hidden(self, state: DiscountingChainState) -> Fields:
        """Return the chain."""
        chain = state.chain[None].astype(jnp.float32)
        return {"chain": chain if self.rules == "published" else (chain + 1) / np.float32(len(DELAYS))}
