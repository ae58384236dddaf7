"""Buffers: which sequences a gradient step trains on, from the latest rollout or replayed.

A buffer is a pure description; the data it keeps between updates is an array tree that leads with environments. All
buffers have the same methods. Environments form groups of M neighbours, and each gradient step takes one sequence from
every group. Groups sample by their global index without communication, so the samples do not depend on the mesh.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from podarcade.types import Batch, Slots

MIN_PRIORITY = 1e-6


@dataclasses.dataclass(frozen=True)
class OnPolicyBuffer:
    """Every sequence of the latest rollout, once per epoch; nothing is kept between updates.

    Attributes:
      num_epochs: passes over the rollout per update.
      num_minibatches: M, gradient steps per pass.
    """

    num_epochs: int
    num_minibatches: int

    def check(self, num_envs: int) -> None:
        """Raise ValueError if the buffer cannot serve this number of environments."""

    def empty(self, window: Batch) -> Any:
        """Return the initial buffer state.

        Args:
          window: abstract, shaped like the batches that will be added.
        """
        return None

    def add(self, state: Any, batch: Batch) -> Any:
        """Return the experience to sample from, after a new batch [L, B]."""
        return batch

    def sample(self, key: jax.Array, experience: Any, shard: jax.Array) -> Any:
        """Sample what each gradient step of an update trains on.

        Sequences, one per environment unless said otherwise, form groups of M neighbours; each of the M minibatches
        takes one from every group.

        Args:
          key: typed PRNG key, the same on all devices.
          experience: result of `add`.
          shard: int32[], index of this device on the data axis.

        Returns:
          A selection with leaves [num_epochs * M, groups]; here int32 sequence indices.
        """
        groups = experience.slots.action.shape[1] // self.num_minibatches

        def shuffle(epoch: jax.Array, group: jax.Array) -> jax.Array:
            group_key = jax.random.fold_in(jax.random.fold_in(key, epoch), shard * groups + group)
            return group * self.num_minibatches + jax.random.permutation(group_key, self.num_minibatches)

        epochs, groups_index = jnp.arange(self.num_epochs, dtype=jnp.int32), jnp.arange(groups, dtype=jnp.int32)
        index = jax.vmap(jax.vmap(shuffle, (None, 0)), (0, None))(epochs, groups_index)
        return index.swapaxes(1, 2).reshape(self.num_epochs * self.num_minibatches, groups)

    def gather(self, experience: Any, selection: Any) -> Batch:
        """Return the sequences of one gradient step, with latent states."""
        return select_sequences(experience, selection)

    def priorities(self, losses: jax.Array, weights: jax.Array) -> Any:
        """Return new priorities from the losses and weights of a gradient step, float32[T, groups]."""
        return None

    def update_priorities(self, experience: Any, selection: Any, priorities: Any) -> Any:
        """Return the buffer state after an update, given its selection and the resulting priorities."""
        return None


@dataclasses.dataclass(frozen=True)
class TransitionBuffer(OnPolicyBuffer):
    """Single transitions of the latest rollout, each a sequence of its own with its prepared values."""

    def add(self, state: Any, batch: Batch) -> Batch:
        """Return [1, B T] transitions, environment by environment, without a carry."""

        def flatten(x):
            return x.swapaxes(0, 1).reshape(1, -1, *x.shape[2:])

        slots = batch.slots.map(lambda x: flatten(x[:-1]))
        return batch.replace(slots=slots, prepared=jax.tree.map(flatten, batch.prepared))


@struct.dataclass
class Blocks:
    """Contents of a replay buffer: the latest K rollouts of every environment, without frames."""

    slots: Slots  # [B, K, T + 1, ...]  latent; the last slot of a block is also the first slot of the next block
    carry: Any  # [B, K or 1, ...]  the carry W slots before each block
    prepared: Any  # [B, K, T]
    priority: jax.Array  # float32[B, K]
    written: jax.Array  # int32[B]  number of blocks written, equal for all environments


@struct.dataclass
class Windows:
    """Selection of replayed windows."""

    environment: jax.Array  # int32[..., groups]
    block: jax.Array  # int32[..., groups]  position in the ring
    importance: jax.Array  # float32[..., groups]


@dataclasses.dataclass(frozen=True)
class ReplayBuffer:
    """Ring buffer of aligned windows: a rollout, the slots before it, and one slot to bootstrap from.

    Each update writes its T slots as one block, over the oldest block once the ring is full. A gradient step samples
    one window per group of M environments, with probability pᵢ^α / Σ pⱼ^α over the windows j of the group (uniform for
    α = 0). A window is valid while the blocks it starts in are still in the ring, so no window crosses the seam
    between the newest and the oldest block. Its importance weight is (n qᵢ)^-β, n the number of valid windows and qᵢ
    that probability; with β = 1 the weighted loss equals uniform sampling in expectation. Priorities are

        p = η maxₜ |δₜ| + (1 - η) meanₜ |δₜ|,        δ the error of a squared loss ½ δ²

    from the last gradient step that used the window; a new window gets the highest priority of its group (Schaul et
    al. 2016; for sequences, with these settings: R2D2, Kapturowski et al. 2019).

    Attributes:
      num_epochs: replay ratio: average number of times a transition is used. An update makes num_epochs x M gradient
        steps.
      num_minibatches: M; a gradient step takes one window per M environments.
      capacity: transitions over all environments.
      length: T, slots of a block.
      burn_in: W, slots before a block; the stored carry precedes them.
      recompute_blocks: number of earlier blocks that a window includes, to recompute its carry from.
      stores_carry: whether the carry before each block is stored, or the same for all.
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
        """Slots of a window before its block."""
        return self.burn_in + self.recompute_blocks * self.length

    @property
    def num_prior_blocks(self) -> int:
        """Earlier blocks that the prefix of a window reaches into."""
        return -(-self.prefix_length // self.length)

    def check(self, num_envs: int) -> None:
        """Raise ValueError if the capacity is below one window per environment."""
        minimum = num_envs * self.length * (self.num_prior_blocks + 1)
        if self.capacity < minimum:
            raise ValueError(
                f"algorithm.capacity={self.capacity}; expected >= {minimum} transitions, one window for each of "
                f"num_envs={num_envs}"
            )

    def empty(self, window: Batch) -> Blocks:
        """Return a buffer without blocks."""
        num_envs = window.slots.action.shape[1]
        blocks = self.capacity // (num_envs * self.length)

        def zeros(tree: Any, *axes: int) -> Any:
            return jax.tree.map(lambda x: jnp.zeros((num_envs, *axes, *x.shape[len(axes) :]), x.dtype), tree)

        return Blocks(
            slots=zeros(window.slots, blocks, self.length + 1),
            carry=jax.tree.map(
                lambda x: jnp.zeros((num_envs, blocks if self.stores_carry else 1, *x.shape[1:]), x.dtype),
                window.carry,
            ),
            prepared=zeros(window.prepared, blocks, self.length),
            priority=jnp.ones((num_envs, blocks), jnp.float32),
            written=jnp.zeros(num_envs, jnp.int32),
        )

    def add(self, state: Blocks, batch: Batch) -> Blocks:
        """Return the buffer with the last T + 1 slots of the batch, [W + T + 1, B], as its newest block."""
        position = state.written[0] % state.priority.shape[1]

        def write(ring: Any, new: Any) -> Any:
            return jax.tree.map(
                lambda old, x: jax.lax.dynamic_update_index_in_dim(old, x, position % old.shape[1], 1), ring, new
            )

        def env_major(tree: Any) -> Any:
            return jax.tree.map(lambda x: x.swapaxes(0, 1), tree)

        highest = jnp.max(jnp.where(self._valid(state), state.priority, 0.0).reshape(-1, self._group(state)), axis=1)
        highest = jnp.where(highest > 0, highest, 1.0)
        return Blocks(
            slots=write(state.slots, env_major(batch.time_slice(self.burn_in, None).slots)),
            carry=write(state.carry, batch.carry),
            prepared=write(state.prepared, env_major(batch.prepared)),
            priority=write(state.priority, jnp.repeat(highest, self.num_minibatches)),
            written=state.written + 1,
        )

    def sample(self, key: jax.Array, experience: Blocks, shard: jax.Array) -> Windows:
        """Sample windows [num_epochs * M, groups] by their current priorities; importance is 0 while none is valid."""
        blocks, size = experience.priority.shape[1], self._group(experience)
        valid = self._valid(experience).reshape(-1, size)
        priority = jnp.maximum(experience.priority, MIN_PRIORITY).reshape(-1, size)
        logits = jnp.where(valid, self.priority_exponent * jnp.log(priority), -jnp.inf)
        probabilities, number = jax.nn.softmax(logits), jnp.sum(valid, axis=1, dtype=jnp.int32)

        def sample_one(step: jax.Array, group: jax.Array) -> Windows:
            group_key = jax.random.fold_in(jax.random.fold_in(key, step), shard * len(logits) + group)
            window = jax.random.categorical(group_key, logits[group]).astype(jnp.int32)
            ratio = number[group] * probabilities[group, window]
            importance = jnp.where(number[group] > 0, ratio**-self.importance_exponent, 0.0)
            return Windows(group * self.num_minibatches + window // blocks, window % blocks, importance)

        steps = jnp.arange(self.num_epochs * self.num_minibatches, dtype=jnp.int32)
        groups = jnp.arange(len(logits), dtype=jnp.int32)
        return jax.vmap(jax.vmap(sample_one, (None, 0)), (0, None))(steps, groups)

    def gather(self, experience: Blocks, selection: Windows) -> Batch:
        """Return the windows of one gradient step, with latent states, [prefix_length + T + 1, groups]."""
        environment, block, blocks = selection.environment, selection.block, experience.priority.shape[1]
        slot = jnp.arange(-self.prefix_length, self.length + 1, dtype=jnp.int32)[:, None]
        position = (block[None] + jnp.minimum(slot // self.length, 0)) % blocks  # a block holds its bootstrap slot too
        index = jnp.where(slot < 0, slot % self.length, slot)
        carry = jax.tree.map(lambda x: x[environment, (block - self.recompute_blocks) % x.shape[1]], experience.carry)
        return Batch(
            slots=experience.slots.map(lambda x: x[environment[None], position, index]),
            carry=carry,
            prepared=jax.tree.map(lambda x: x[environment, block].swapaxes(0, 1), experience.prepared),
            importance=selection.importance,
        )

    def priorities(self, losses: jax.Array, weights: jax.Array) -> jax.Array:
        """Return new priorities, float32[groups]; NaN where all transitions of a window are masked."""
        error, unmasked = jnp.sqrt(2 * losses), weights > 0
        mean = jnp.sum(error, axis=0, where=unmasked) / jnp.sum(unmasked, axis=0, dtype=jnp.int32)
        highest = jnp.max(error, axis=0, where=unmasked, initial=0.0)
        return self.priority_mix * highest + (1 - self.priority_mix) * mean

    def update_priorities(self, experience: Blocks, selection: Windows, priorities: jax.Array) -> Blocks:
        """Return the buffer with new priorities: the highest of a window sampled twice; non-finite ones are ignored."""
        old, finite = experience.priority, jnp.isfinite(priorities)
        index = selection.environment, selection.block
        new = jnp.full_like(old, -jnp.inf).at[index].max(jnp.where(finite, priorities, -jnp.inf))
        return experience.replace(priority=jnp.where(jnp.isfinite(new), new, old))

    def _group(self, state: Blocks) -> int:
        """Return the number of windows in a group, valid or not."""
        return self.num_minibatches * state.priority.shape[1]

    def _valid(self, state: Blocks) -> jax.Array:
        """Return whether all slots of the window that ends with each block are in the ring, bool[B, K]."""
        blocks, written = state.priority.shape[1], state.written[:, None]
        # Index of the rollout at each position of the ring.
        rollout = written - 1 - (written - 1 - jnp.arange(blocks, dtype=jnp.int32)[None]) % blocks
        return rollout - self.num_prior_blocks >= jnp.maximum(written - blocks, 0)


def select_sequences(batch: Batch, index: jax.Array) -> Batch:
    """Return the sequences of the environments in int32[N] `index`."""
    return batch.replace(
        slots=batch.slots.map(lambda x: x[:, index]),
        carry=jax.tree.map(lambda x: x[index], batch.carry),
        prepared=jax.tree.map(lambda x: x[:, index], batch.prepared),
    )
