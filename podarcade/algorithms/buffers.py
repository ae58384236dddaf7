"""Stores: which sequences a gradient step learns from, the latest or replayed ones.

A store is a pure description; what it keeps between updates is an array tree that leads with environments. All have
the same methods, and each gradient step takes one sequence out of every group of M neighbouring environments. Groups
draw by their global number, and nothing is asked of others: what is learnt from does not depend on the mesh.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from podarcade.types import Trajectory

LEAST_PRIORITY = 1e-6


@dataclasses.dataclass(frozen=True)
class OnPolicyBuffer:
    """On-policy: every sequence of the rollout just made, once per epoch; nothing is kept.

    Attributes:
      num_epochs: passes over the rollout per update.
      num_minibatches: M, gradient steps per pass.
    """

    num_epochs: int
    num_minibatches: int

    def check(self, environments: int) -> None:
        """Raises ValueError where the store does not fit so many environments."""

    def empty(self, window: Trajectory) -> Any:
        """What is kept before the first update; `window` is abstract, and like what will be added."""
        return None

    def add(self, kept: Any, trajectory: Trajectory) -> Any:
        """What can be learnt from, now that there is a new trajectory [L, B]."""
        return trajectory

    def sample(self, key: jax.Array, experience: Any, shard: jax.Array) -> Any:
        """What each gradient step of an update takes: leaves [epochs * M, groups], here int32, of sequences.

        The sequences, one per environment as a rule, are cut in groups of M neighbours, and each of the M minibatches
        takes one of every group. `shard` is the number of this device's share.
        """
        groups = experience.action.shape[1] // self.num_minibatches

        def shuffle(epoch: jax.Array, group: jax.Array) -> jax.Array:
            group_key = jax.random.fold_in(jax.random.fold_in(key, epoch), shard * groups + group)
            return group * self.num_minibatches + jax.random.permutation(group_key, self.num_minibatches)

        index = jax.vmap(jax.vmap(shuffle, (None, 0)), (0, None))(jnp.arange(self.num_epochs), jnp.arange(groups))
        return index.swapaxes(1, 2).reshape(self.num_epochs * self.num_minibatches, groups)

    def gather(self, experience: Any, chosen: Any) -> Trajectory:
        """The sequences of one gradient step, latent."""
        return sequences(experience, chosen)

    def priorities(self, losses: jax.Array, weights: jax.Array) -> Any:
        """What `learnt` is told of a gradient step's losses and weights, [T, groups]."""
        return None

    def update_priorities(self, experience: Any, chosen: Any, errors: Any) -> Any:
        """What is kept, after the gradient steps that took `chosen` and met `errors`."""
        return None


@dataclasses.dataclass(frozen=True)
class TransitionBuffer(OnPolicyBuffer):
    """On-policy, single transitions: each is a sequence of its own, with what was prepared for it."""

    def add(self, kept: Any, trajectory: Trajectory) -> Any:
        """[1, B T], environment by environment; there is no memory to carry."""

        def alone(x):
            return x.swapaxes(0, 1).reshape(1, -1, *x.shape[2:])

        return trajectory.slots(0, -1).map_slots(alone).replace(prepared=jax.tree.map(alone, trajectory.prepared))


@struct.dataclass
class Blocks:
    """What a ring keeps: the last K rollouts of every environment, frames not among them."""

    slots: Trajectory  # [B, K, T + 1, ...]  latent; the last slot of a block is the first of the next one
    carry: Any  # [B, K or 1, ...]  the memory W slots before each block
    prepared: Any  # [B, K, T]
    priority: jax.Array  # float32[B, K]
    written: jax.Array  # int32[B]  blocks so far, in all environments alike


@struct.dataclass
class Windows:
    """Which windows gradient steps take."""

    environment: jax.Array  # int32[..., groups]
    block: jax.Array  # int32[..., groups]  its place in the ring
    importance: jax.Array  # float32[..., groups]


@dataclasses.dataclass(frozen=True)
class ReplayBuffer:
    """Replay of aligned windows: a rollout, the slots before it, and one to bootstrap from.

    Each update writes its T slots as one block, over the oldest where the ring is full, and a gradient step takes
    a window out of every group of M environments: with probability pᵢ^α / Σ pⱼ^α over the windows j of the group, which
    is evenly where α = 0. A window is valid while the blocks that it begins in are still there, so none crosses the
    seam between the newest and the oldest. Its importance is (n qᵢ)^-β, n the number of valid windows and qᵢ that
    probability: the loss, weighted with it, is in expectation that of even sampling where β = 1. Priorities are

        p = η maxₜ |δₜ| + (1 - η) meanₜ |δₜ|,        δ the error of a squared loss ½ δ²

    of the last time that a window was learnt from; a new one has the highest of its group (prioritised replay: Schaul
    et al. 2016; of sequences, with these settings: Kapturowski et al. 2019, R2D2).

    Attributes:
      num_epochs: how often a transition is learnt from, on average: each update makes epochs x M gradient steps.
      num_minibatches: M; a gradient step takes a window for every M environments.
      capacity: transitions of all environments together.
      length: T.
      burn_in: W, slots before a block that the memory there is kept for.
      recompute_blocks: blocks before those slots that a window begins with too, for its memory to be recomputed.
      stores_carry: whether the memory before each block is kept, or is the same for all.
      priority_exponent: α.
      importance_exponent: β.
      priority_mix: η.
    """

    num_epochs: int
    num_minibatches: int
    capacity: int
    length: int
    burn_in: int
    recompute_blocks: int = 0
    stores_carry: bool = True
    priority_exponent: float = 0.0
    importance_exponent: float = 0.6
    priority_mix: float = 0.9

    @property
    def prefix_length(self) -> int:
        """Slots that a window has before its block."""
        return self.burn_in + self.recompute_blocks * self.length

    @property
    def num_prior_blocks(self) -> int:
        """Blocks that those slots lie in."""
        return -(-self.prefix_length // self.length)

    def check(self, environments: int) -> None:
        """Raises ValueError where the capacity is less than one window of each environment."""
        least = environments * self.length * (self.num_prior_blocks + 1)
        if self.capacity < least:
            raise ValueError(
                f"algorithm.capacity={self.capacity} holds no window of each of num_envs={environments}; "
                f"give {least} transitions or more"
            )

    def empty(self, window: Trajectory) -> Blocks:
        """A ring without blocks."""
        environments = window.action.shape[1]
        blocks = self.capacity // (environments * self.length)

        def zeros(tree: Any, *axes: int) -> Any:
            return jax.tree.map(lambda x: jnp.zeros((environments, *axes, *x.shape[len(axes) :]), x.dtype), tree)

        slots = window.replace(carry=None, prepared=None)
        return Blocks(
            slots=zeros(slots, blocks, self.length + 1),
            carry=jax.tree.map(
                lambda x: jnp.zeros((environments, blocks if self.stores_carry else 1, *x.shape[1:]), x.dtype),
                window.carry,
            ),
            prepared=zeros(window.prepared, blocks, self.length),
            priority=jnp.ones((environments, blocks)),
            written=jnp.zeros(environments, jnp.int32),
        )

    def add(self, kept: Blocks, trajectory: Trajectory) -> Blocks:
        """The ring with the last T + 1 slots of the trajectory, [W + T + 1, B], as its newest block."""
        place = kept.written[0] % kept.priority.shape[1]

        def write(ring: Any, new: Any) -> Any:
            return jax.tree.map(
                lambda old, x: jax.lax.dynamic_update_index_in_dim(old, x, place % old.shape[1], 1), ring, new
            )

        def by_environment(tree: Any) -> Any:
            return jax.tree.map(lambda x: x.swapaxes(0, 1), tree)

        slots = trajectory.slots(self.burn_in, None).replace(carry=None, prepared=None)
        highest = jnp.max(jnp.where(self._valid(kept), kept.priority, 0.0).reshape(-1, self._group(kept)), axis=1)
        highest = jnp.where(highest > 0, highest, 1.0)
        return Blocks(
            slots=write(kept.slots, by_environment(slots)),
            carry=write(kept.carry, trajectory.carry),
            prepared=write(kept.prepared, by_environment(trajectory.prepared)),
            priority=write(kept.priority, jnp.repeat(highest, self.num_minibatches)),
            written=kept.written + 1,
        )

    def sample(self, key: jax.Array, experience: Blocks, shard: jax.Array) -> Windows:
        """Windows [epochs * M, groups] by the priorities of now; of importance 0 while none is valid."""
        blocks, size = experience.priority.shape[1], self._group(experience)
        valid = self._valid(experience).reshape(-1, size)
        priority = jnp.maximum(experience.priority, LEAST_PRIORITY).reshape(-1, size)
        logits = jnp.where(valid, self.priority_exponent * jnp.log(priority), -jnp.inf)
        chances, number = jax.nn.softmax(logits), jnp.sum(valid, axis=1)

        def draw(step: jax.Array, group: jax.Array) -> Windows:
            group_key = jax.random.fold_in(jax.random.fold_in(key, step), shard * len(logits) + group)
            window = jax.random.categorical(group_key, logits[group])
            ratio = number[group] * chances[group, window]
            importance = jnp.where(number[group] > 0, ratio**-self.importance_exponent, 0.0)
            return Windows(group * self.num_minibatches + window // blocks, window % blocks, importance)

        steps = jnp.arange(self.num_epochs * self.num_minibatches)
        return jax.vmap(jax.vmap(draw, (None, 0)), (0, None))(steps, jnp.arange(len(logits)))

    def gather(self, experience: Blocks, chosen: Windows) -> Trajectory:
        """The windows of one gradient step, latent, [before + T + 1, groups]."""
        environment, block, blocks = chosen.environment, chosen.block, experience.priority.shape[1]
        slot = jnp.arange(-self.prefix_length, self.length + 1)[:, None]
        place = (block[None] + jnp.minimum(slot // self.length, 0)) % blocks  # the last slot is in the own block too
        index = jnp.where(slot < 0, slot % self.length, slot)
        slots = jax.tree.map(lambda x: x[environment[None], place, index], experience.slots)
        carry = jax.tree.map(lambda x: x[environment, (block - self.recompute_blocks) % x.shape[1]], experience.carry)
        prepared = jax.tree.map(lambda x: x[environment, block].swapaxes(0, 1), experience.prepared)
        return slots.replace(carry=carry, prepared=prepared, importance=chosen.importance)

    def priorities(self, losses: jax.Array, weights: jax.Array) -> jax.Array:
        """New priorities, float32[groups]; NaN where a window had nothing to learn from."""
        error, real = jnp.sqrt(2 * losses), weights > 0
        mean = jnp.sum(error, axis=0, where=real) / jnp.sum(real, axis=0)
        return self.priority_mix * jnp.max(error, axis=0, where=real, initial=0.0) + (1 - self.priority_mix) * mean

    def update_priorities(self, experience: Blocks, chosen: Windows, errors: jax.Array) -> Blocks:
        """The ring with new priorities; a window taken twice has the higher one, and what is not finite is none."""
        old, finite = experience.priority, jnp.isfinite(errors)
        place = chosen.environment, chosen.block
        new = jnp.full_like(old, -jnp.inf).at[place].max(jnp.where(finite, errors, -jnp.inf))
        return experience.replace(priority=jnp.where(jnp.isfinite(new), new, old))

    def _group(self, kept: Blocks) -> int:
        """Windows in a group, valid or not."""
        return self.num_minibatches * kept.priority.shape[1]

    def _valid(self, kept: Blocks) -> jax.Array:
        """bool[B, K]: whether all slots of the window that ends with a block are there."""
        blocks, written = kept.priority.shape[1], kept.written[:, None]
        # The number of the rollout that is at each place: the newest one there can be.
        rollout = written - 1 - (written - 1 - jnp.arange(blocks)[None]) % blocks
        return rollout - self.num_prior_blocks >= jnp.maximum(written - blocks, 0)


def sequences(trajectory: Trajectory, index: jax.Array) -> Trajectory:
    """The sequences of some environments."""
    slots = trajectory.map_slots(lambda x: x[:, index])
    carry, prepared = trajectory.carry, trajectory.prepared
    return slots.replace(
        carry=jax.tree.map(lambda x: x[index], carry), prepared=jax.tree.map(lambda x: x[:, index], prepared)
    )
