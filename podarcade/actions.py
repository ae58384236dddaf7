"""Action spaces: all that environments, networks, policies and buffers ask of an action; and near-ties of choices."""

import dataclasses
import numbers
from typing import Any

import jax
import jax.numpy as jnp

NEAR_TIE = 1e-3  # gap between the best two actions, in units of the reward or in nats, up to which a flip is noise


@dataclasses.dataclass(frozen=True)
class Discrete:
    """Actions 0 to n - 1, int32[].

    Attributes:
      n: number of actions.

    Raises:
      ValueError: n is not an int >= 1.
    """

    n: int

    shape = ()
    dtype = jnp.int32

    def __post_init__(self):
        _check_count("Discrete", self.n)

    @property
    def size(self) -> int:
        """Number of features of an encoded action: n."""
        return self.n

    def none(self, *batch: int) -> jax.Array:
        """Return "no action", int32[*batch]: -1."""
        return jnp.full(batch, -1, jnp.int32)

    def encode(self, action: jax.Array) -> jax.Array:
        """Return network features of actions int32[...]: one-hot float32[..., n], zeros for no action."""
        # By comparison: the one-hot operation of ONNX takes -1 for the last class.
        kinds = jax.lax.broadcasted_iota(action.dtype, (*action.shape, self.n), action.ndim)
        return (action[..., None] == kinds).astype(jnp.float32)

    def sample(self, key: jax.Array, *batch: int) -> jax.Array:
        """Return uniformly random actions, int32[*batch]."""
        return jax.random.randint(key, batch, 0, self.n, jnp.int32)

    def __str__(self) -> str:
        return f"{self.n} discrete actions"


@dataclasses.dataclass(frozen=True)
class Continuous:
    """Actions float32[dim] in [-1, 1]; a game clips whatever lies outside, and scales them to its own units.

    Attributes:
      dim: A, number of components.

    Raises:
      ValueError: dim is not an int >= 1.
    """

    dim: int

    dtype = jnp.float32

    def __post_init__(self):
        _check_count("Continuous", self.dim)

    @property
    def shape(self) -> tuple[int]:
        """Shape of one action: (A,)."""
        return (self.dim,)

    @property
    def size(self) -> int:
        """Number of features of an encoded action: A."""
        return self.dim

    def none(self, *batch: int) -> jax.Array:
        """Return "no action", float32[*batch, A]: zeros."""
        return jnp.zeros((*batch, self.dim), jnp.float32)

    def encode(self, action: jax.Array) -> jax.Array:
        """Return network features of actions float32[..., A]: the actions, clipped to [-1, 1] as games clip them."""
        return jnp.clip(action, -1.0, 1.0)

    def sample(self, key: jax.Array, *batch: int) -> jax.Array:
        """Return uniformly random actions, float32[*batch, A]."""
        return jax.random.uniform(key, (*batch, self.dim), jnp.float32, -1.0, 1.0)

    def __str__(self) -> str:
        return f"{self.dim} continuous actions"


ActionSpace = Discrete | Continuous


def _check_count(name: str, count: Any) -> None:
    if not isinstance(count, numbers.Integral) or isinstance(count, bool) or count < 1:
        raise ValueError(f"{name}({count!r}); expected an int >= 1")


def select(condition: jax.Array, one: jax.Array, other: jax.Array) -> jax.Array:
    """Return `jnp.where` of actions [B, ...] of either kind, for a condition bool[B]."""
    return jnp.where(condition.reshape(condition.shape + (1,) * (one.ndim - condition.ndim)), one, other)


def is_near_tie(values: jax.Array, within: jax.Array | float = NEAR_TIE) -> jax.Array:
    """Return whether a greedy choice is a near-tie, bool[...]: the best two of n actions are at most `within` apart.

        max_a y(a) - max_{a ≠ a*} y(a) <= within,      a* = argmax_a y(a)

    The one rule of all that counts flips of greedy actions; other choices are clear. An exact tie is a near-tie
    whatever `within` is, so that an agent without preferences has no clear choice. A single action is a clear choice.

    Args:
      values: float32[..., n], action values, logits, or either without what all actions share.
      within: float32[], in their units.
    """
    is_best = jax.nn.one_hot(jnp.argmax(values, axis=-1), values.shape[-1], dtype=bool)
    gap = jnp.max(values, axis=-1) - jnp.max(values, axis=-1, where=~is_best, initial=-jnp.inf)
    return gap <= within
