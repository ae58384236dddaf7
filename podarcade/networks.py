"""Networks: an encoder, a trunk of memory layers, a head."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from podarcade.encoders import Encoder
from podarcade.memory import Memory


class Trunk(nn.Module):
    """Memory layers between pre-normalised residual connections.

        e = [LN(encoder(oₜ)), one-hot(aₜ₋₁)]
        u = W e
        u ← u + GLU(gelu(memory(LN(u))))        once per layer
        y = [LN(u), e]                          `bypass`: the head may ignore the memory

    The action before a start is the zero vector. A rank-1 observation (a task without pixels)
    goes through one dense layer in the encoder's place.

    Attributes:
      encoder: makes the encoder of pixels.
      memory: makes a memory layer of a given width.
      width: of u.
      layers: number of memory layers.
      bypass: whether the features before the memory reach the head too.
    """

    encoder: Callable[..., Encoder]
    memory: Callable[..., Memory]
    num_actions: int
    width: int = 128
    layers: int = 1
    bypass: bool = True

    def initial(self, batch: int) -> tuple[Any, ...]:
        """The memory of `batch` fresh environments: one carry per layer."""
        return tuple(self.memory(width=self.width, parent=None).initial(batch) for _ in range(self.layers))

    @nn.compact
    def __call__(
        self, carry: tuple[Any, ...], observation: jax.Array, previous: jax.Array, start: jax.Array
    ) -> tuple[tuple[Any, ...], jax.Array]:
        """One stretch of time.

        Args:
          carry: one per layer, [B, ...].
          observation: uint8[T, B, side, side, 3] or float32[T, B, D].
          previous: int32[T, B], the action before, -1 for none.
          start: bool[T, B].

        Returns:
          The new carry, and float32[T, B, features].
        """
        seen = nn.LayerNorm(name="encoder_norm")(self._encode(observation))
        seen = jnp.concatenate([seen, jax.nn.one_hot(previous, self.num_actions)], axis=-1)
        u = nn.Dense(self.width, name="enter")(seen)
        carries = []
        for layer, layer_carry in enumerate(carry):
            memory = self.memory(width=self.width, name=f"memory_{layer}")
            layer_carry, y = memory(layer_carry, nn.LayerNorm(name=f"norm_{layer}")(u), start)
            value, gate = jnp.split(nn.Dense(2 * self.width, name=f"mix_{layer}")(nn.gelu(y)), 2, axis=-1)
            u = u + value * nn.sigmoid(gate)
            carries.append(layer_carry)
        u = nn.LayerNorm(name="exit_norm")(u)
        return tuple(carries), jnp.concatenate([u, seen], axis=-1) if self.bypass else u

    def _encode(self, observation: jax.Array) -> jax.Array:
        if observation.ndim == 3:
            return nn.relu(nn.Dense(self.width, name="observation")(observation))
        flat = self.encoder(name="encoder")(observation.reshape(-1, *observation.shape[2:]))
        return flat.reshape(*observation.shape[:2], -1)


class QNetwork(nn.Module):
    """A trunk and a linear head: one value per action."""

    trunk: Trunk
    num_actions: int

    def initial(self, batch: int) -> tuple[Any, ...]:
        """The memory of `batch` fresh environments."""
        return self.trunk.initial(batch)

    @nn.compact
    def __call__(self, carry, observation, previous, start) -> tuple[tuple[Any, ...], jax.Array]:
        """As `Trunk`; returns the new carry and Q float32[T, B, num_actions]."""
        carry, features = self.trunk(carry, observation, previous, start)
        features = nn.relu(nn.LayerNorm(name="head_norm")(nn.Dense(self.trunk.width, name="head")(features)))
        # Values start near zero, so that the first targets are rewards and not noise.
        small = nn.initializers.variance_scaling(0.01, "fan_in", "truncated_normal")
        return carry, nn.Dense(self.num_actions, kernel_init=small, name="value")(features)
