"""Quirks that several released POPGym Arcade trainers share, as mixins of their subclasses here.

Each quirk is a switch that is off by default. With all of a trainer's switches on and the sizes of
configs/popgym_arcade/, a run does what the released code does; each switch turned off alone is one row of an ablation.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import optax

from podarcade.algorithms import Params
from podarcade.algorithms.buffers import OnPolicyBuffer, TransitionBuffer
from podarcade.types import Batch


@dataclasses.dataclass(frozen=True)
class StaleCarry:
    """Mixin of recurrent trainers.

    Attributes:
      stale_carry: training sequences start from the carry of the actors, computed with parameters that are one update
        old, whatever `carry_init` says.
    """

    stale_carry: bool = False

    def __post_init__(self):
        super().__post_init__()
        if self.stale_carry and self.carry_init == "zero":
            raise ValueError(
                "algorithm.stale_carry=true with algorithm.carry_init=zero; stale_carry starts sequences from the "
                "stored carry, so set stale_carry=false, or carry_init=stored or recomputed"
            )

    @property
    def effective_carry_init(self) -> str:
        """Return "stored" if `stale_carry` and the network has memory, else what the algorithm says."""
        return "stored" if self.stale_carry and self.has_memory else super().effective_carry_init


@dataclasses.dataclass(frozen=True)
class QLearningQuirks(StaleCarry):
    """Mixin of the released Q-learners, PQN and DQN.

    Attributes:
      action_leak: the first slot of an episode sees the last action of the episode before, and the very first slot
        action 0; otherwise a start sees no action.
      epsilon_horizon: ε decays M times slower than its options say, M the number of minibatches.
      held_return: log the published training metric as `train/return_held`: the return of the last finished episode,
        0 before there is one, averaged over all slots. An episode thus counts in proportion to the length of the next.
      off_by_one: the λ-returns of the feed-forward trainers, see `misplaced_values`.
    """

    action_leak: bool = False
    epsilon_horizon: bool = False
    held_return: bool = False
    off_by_one: bool = False

    def initial_action(self, batch: int) -> jax.Array:
        """Return action 0 if `action_leak`, else no action."""
        none = super().initial_action(batch)
        return jnp.zeros_like(none) if self.action_leak else none

    def next_previous_action(self, previous_action: jax.Array, action: jax.Array, start: jax.Array) -> jax.Array:
        """Keep the previous action across a start with `action_leak`."""
        if self.action_leak:
            return jnp.where(start, previous_action, action)
        return super().next_previous_action(previous_action, action, start)

    def epsilon_schedule(self, fraction: float) -> optax.Schedule:
        """Stretch the schedule by M with `epsilon_horizon`."""
        return super().epsilon_schedule(fraction * (self.num_minibatches if self.epsilon_horizon else 1))

    def training_metrics(self, counts: Any, slots: int) -> dict[str, Any]:
        """Add `return_held` with `held_return`."""
        held = {"return_held": counts.held / slots} if self.held_return else {}
        return super().training_metrics(counts, slots) | held

    def bootstrap_values(self, v_t: jax.Array, terminal_t: jax.Array) -> jax.Array:
        """Misplace a value with `off_by_one`."""
        v_t = super().bootstrap_values(v_t, terminal_t)
        return misplaced_values(v_t, terminal_t) if self.off_by_one else v_t


@dataclasses.dataclass(frozen=True)
class FeedForward:
    """Mixin of trainers with a memoryless variant that is trained differently.

    Attributes:
      feed_forward: targets are computed once per update with the parameters that acted, and minibatches hold single
        transitions, so the released agent without memory differs from the others in more than memory. The released
        trainer draws them uniformly over environments and time; here every minibatch has as many from each
        environment, and one of every M consecutive steps.
    """

    feed_forward: bool = False

    @property
    def buffer(self) -> OnPolicyBuffer:
        """`TransitionBuffer` with `feed_forward`, else the buffer of the algorithm."""
        return TransitionBuffer(self.num_epochs, self.num_minibatches) if self.feed_forward else super().buffer

    def __post_init__(self):
        super().__post_init__()
        if self.feed_forward and (self.burn_in or self.has_memory):
            raise ValueError(
                f"algorithm.feed_forward=true with algorithm.burn_in={self.burn_in} or a memory; it trains on single "
                "transitions, so it needs memory=none and algorithm.burn_in=0"
            )

    def training_slots(self, params: Params, batch: Batch) -> Batch:
        """Return the whole batch of single transitions if `feed_forward`, else the training slots."""
        return batch if self.feed_forward else super().training_slots(params, batch)


def misplaced_values(v_t: jax.Array, terminal_t: jax.Array) -> jax.Array:
    """Return the values that the released feed-forward trainers bootstrap from, one of which belongs to another step.

        v'_{T-1} = (1 - e_T) v_T,     v'ₜ = vₜ elsewhere

    The recursion then starts as in purejaxql's Gymnax and MinAtar trainers and in POPGym Arcade's PQN and DQN: the
    target of the second to last transition is off by γ (1 - e_{T-1}) (1 - λ) (v'_{T-1} - v_{T-1}), and each earlier
    one by γλ times the error of its successor.

    Args:
      v_t: vₜ for t in 1..T, float32[T, B].
      terminal_t: eₜ, bool[T, B].

    Returns:
      float32[T, B].
    """
    if len(v_t) < 2:
        return v_t
    return v_t.at[-2].set((~terminal_t[-1]).astype(v_t.dtype) * v_t[-1])
