"""MemoryChain: see some bits, wait, and name one of them."""

import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from flax import struct

from podarcade.actions import ActionSpace, Discrete
from podarcade.envs.tasks import Fields, Task


@struct.dataclass
class MemoryChainState:
    """State of MemoryChain: 9 + n bytes."""

    cue: jax.Array  # int8[n] bits, 0 or 1
    query: jax.Array  # int8[] index of the bit that is asked for, -1 where nothing is
    time: jax.Array  # int32[]
    score: jax.Array  # int32[] right answers


@dataclasses.dataclass(frozen=True)
class MemoryChain(Task):
    """A cue of n random bits, a wait, and a question about one of the bits (bsuite's memory_len).

    L = `memory_length`, n = `num_bits`; the bits are independent and fair, the question is uniform.

    - observation: visible `clock`, 1 - t / L, and `query`, (index + 1) / n at t = L, when the question is asked, else
      0; hidden `cue`, the bits as -1 and 1 (n).
    - action: 0 or 1. Only the last one counts.
    - reward: the last action pays 1 if it is the bit that was asked for, else -1; all others pay 0.
    - end: terminal after L + 1 actions.
    - twin: history. The partial twin shows the cue at time 0 only, exactly L steps before the answer.
    - channel: open. A policy without memory that sees its previous action repeats the majority of the bits, for a
      return of 2 C(n - 1, ⌊(n - 1) / 2⌋) / 2^n: 1 for one bit, 0.5 for three. Without its previous action it has 0,
      like a random policy; the best has 1.

    Published rules: the observation lags a step behind, as in the released code: it is that of t' = max(t - 1, 0), so
    the cue is seen twice, and L = 1 needs no memory. `query` is the index itself, at t' = L - 1: index 0 looks like no
    question.

    Raises:
      ValueError: `memory_length` or `num_bits` is not in its range.
    """

    memory_length: int = 10
    num_bits: int = 1

    LEVELS: ClassVar[dict[str, dict[str, Any]]] = {
        "easy": {"memory_length": 10},
        "medium": {"memory_length": 30},
        "hard": {"memory_length": 100},
    }
    RETURNS: ClassVar[tuple[float, float]] = (-1.0, 1.0)
    actions: ClassVar[ActionSpace] = Discrete(2)

    def __post_init__(self):
        super().__post_init__()
        if self.memory_length < 1 or not 1 <= self.num_bits <= 127:
            raise ValueError(
                f"memory_length={self.memory_length}, num_bits={self.num_bits}; expected >= 1 and 1 to 127"
            )

    @property
    def max_steps(self) -> int:
        """L + 1, the length of every episode."""
        return self.memory_length + 1

    def needed_time(self, time: jax.Array) -> jax.Array | int:
        """Return when the bits are shown last: at the start, under published rules once more."""
        return 0 if self.rules == "strict" else 1

    def needed(self, state: MemoryChainState) -> Fields:
        """Return the bits, int8[n]: which one is asked for is not known before the last action."""
        return {"bits": state.cue}

    def reset(self, key: jax.Array) -> MemoryChainState:
        """Draw the bits; under published rules the question too, which L = 1 shows at once."""
        bits = jax.random.bits(key, (self.num_bits + 1,), jnp.uint32)
        return MemoryChainState(
            cue=(bits[1:] >> 31).astype(jnp.int8),
            query=self._question(bits[0]) if self.rules == "published" else jnp.int8(-1),
            time=jnp.int32(0),
            score=jnp.int32(0),
        )

    def step(self, state: MemoryChainState, action: jax.Array, key: jax.Array):
        """Return (state, reward, terminal)."""
        time = state.time + 1
        query = state.query
        if self.rules == "strict":
            asked = self._question(jax.random.bits(key, (), jnp.uint32))
            query = jnp.where(time == self.memory_length, asked, query)
        last = time >= self.max_steps
        right = last & (action == state.cue[state.query])
        reward = jnp.where(last, jnp.where(right, 1.0, -1.0), 0.0).astype(jnp.float32)
        new = state.replace(query=query, time=time, score=state.score + right)
        return new, reward, self.is_over(new, last)

    def visible(self, state: MemoryChainState) -> Fields:
        """Return the time left until the question, and the question."""
        length = self.memory_length
        if self.rules == "published":
            seen = jnp.maximum(state.time - 1, 0)
            query = jnp.where(seen == length - 1, state.query, 0).astype(jnp.float32)
        else:
            seen = state.time
            query = jnp.where(seen == length, state.query + 1, 0).astype(jnp.float32) / self.num_bits
        return {"clock": 1 - seen[None].astype(jnp.float32) / length, "query": query[None]}

    def hidden(self, state: MemoryChainState) -> Fields:
        """Return the bits as -1 and 1."""
        return {"cue": 2 * state.cue - 1}

    def shown(self, state: MemoryChainState, partial: jax.Array) -> jax.Array:
        """Return whether the cue is shown, bool[]: under published rules also at time 1."""
        lagging = self.rules == "published" and state.time == 1
        return super().shown(state, partial) | lagging

    def _question(self, bits):
        """Return an index of a bit, int8[], for 32 random bits; its bias is below n / 2^32."""
        return (bits % self.num_bits).astype(jnp.int8)
