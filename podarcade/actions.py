"""Action spaces: all that environments, networks, policies and buffers ask of an action."""

import dataclasses
import numbers
from typing import Any

import jax
import jax.numpy as jnp


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
