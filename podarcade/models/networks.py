"""Networks: an encoder, a trunk of memory layers, a head."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from podarcade.models.encoders import Encoder
from podarcade.models.encoders.popgym_cnn import uniform
from podarcade.models.memory import Memory, scan

Initialisers = dict[str, Callable]


class Trunk(nn.Module):
    """Memory layers between pre-normalised residual connections.

        e = [LN(encoder(oₜ)), one-hot(aₜ₋₁)]
        u = W e
        u ← u + GLU(gelu(memory(LN(u))))        once per layer
        y = relu(LN(W [LN(u), e]))              `bypass`: e is there, so the head may ignore the memory

    The action before a start is the zero vector. A rank-1 observation (a task without pixels)
    goes through one dense layer in the encoder's place.

    Attributes:
      encoder: makes the encoder of pixels.
      memory: makes a memory layer of a given width.
      num_actions: of the environment.
      width: of u and of y.
      layers: number of memory layers.
      bypass: whether the features before the memory reach the head too.
      encode_chunk: the most frames that are encoded at once, 0 for all. Chunks come one after the other and are
        encoded once more when their gradient comes back: a third more work, and activations of one chunk only.

    Raises:
      ValueError: `encode_chunk` is negative.
    """

    encoder: Callable[..., Encoder]
    memory: Callable[..., Memory]
    num_actions: int
    width: int = 128
    layers: int = 1
    bypass: bool = True
    encode_chunk: int = 0

    def __post_init__(self):
        if self.encode_chunk < 0:
            raise ValueError(f"network.encode_chunk={self.encode_chunk}; give a number of frames, or 0 for all at once")
        super().__post_init__()

    @property
    def head(self) -> Initialisers:
        """How the last layer of a network on this trunk begins: small, so that the first targets are rewards."""
        return {"kernel_init": nn.initializers.variance_scaling(0.01, "fan_in", "truncated_normal")}

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
        seen = self._with_action(seen, previous)
        u = nn.Dense(self.width, name="enter")(seen)
        carries = []
        for layer, layer_carry in enumerate(carry):
            memory = self.memory(width=self.width, name=f"memory_{layer}")
            layer_carry, y = memory(layer_carry, nn.LayerNorm(name=f"norm_{layer}")(u), start)
            value, gate = jnp.split(nn.Dense(2 * self.width, name=f"mix_{layer}")(nn.gelu(y)), 2, axis=-1)
            u = u + value * nn.sigmoid(gate)
            carries.append(layer_carry)
        u = nn.LayerNorm(name="exit_norm")(u)
        u = jnp.concatenate([u, seen], axis=-1) if self.bypass else u
        return tuple(carries), nn.relu(nn.LayerNorm(name="leave_norm")(nn.Dense(self.width, name="leave")(u)))

    def _encode(self, observation: jax.Array) -> jax.Array:
        if observation.ndim == 3:
            return nn.relu(nn.Dense(self.width, name="observation")(observation))
        frames = observation.reshape(-1, *observation.shape[2:])
        encoder = self.encoder(name="encoder")
        if self.is_initializing() or not 0 < self.encode_chunk < frames.shape[0]:
            flat = encoder(frames)
        else:
            encoder, params = encoder.unbind()
            _, flat = scan.in_chunks(
                lambda _, chunk: (None, encoder.apply(params, chunk)), None, frames, self.encode_chunk
            )
        return flat.reshape(*observation.shape[:2], -1)

    def _with_action(self, seen: jax.Array, previous: jax.Array) -> jax.Array:
        return jnp.concatenate([seen, jax.nn.one_hot(previous, self.num_actions)], axis=-1)


class PopgymTrunk(Trunk):
    """The block around the memories that the released POPGym Arcade baselines use (memax 0.1.1, February 2026).

        u = W [encoder(oₜ), one-hot(aₜ₋₁)]
        u ← leaky-relu(LN(W memory(u)))         once per layer; LN without scale and bias
        y = W u                                 256 features
        y ← leaky-relu(LN(W y))                 `dense` times: once in version 1, after one layer of memory

    There is no residual and no bypass in it, whatever its name there says, and layer 1 sees features that nothing
    normalised. Weights and biases begin uniform on ±1/√n, n the number of inputs.

    Attributes:
      dense: layers of 256 features after the memories.
    """

    bypass: bool = False
    dense: int = 0

    def __post_init__(self):
        if self.bypass:
            raise ValueError("bypass=True; the paper's trunk has none, use trunk=residual")
        super().__post_init__()

    @property
    def head(self) -> Initialisers:
        """As every other layer here."""
        return _uniform(256)

    @nn.compact
    def __call__(
        self, carry: tuple[Any, ...], observation: jax.Array, previous: jax.Array, start: jax.Array
    ) -> tuple[tuple[Any, ...], jax.Array]:
        """As `Trunk`."""
        seen = self._with_action(self._encode(observation), previous)
        u = nn.Dense(self.width, name="enter", **_uniform(seen.shape[-1]))(seen)
        carries = []
        for layer, layer_carry in enumerate(carry):
            layer_carry, y = self.memory(width=self.width, name=f"memory_{layer}")(layer_carry, u, start)
            mixed = nn.Dense(self.width, name=f"mix_{layer}", **_uniform(self.width))(y)
            norm = nn.LayerNorm(epsilon=1e-5, use_bias=False, use_scale=False, name=f"norm_{layer}")
            u = nn.leaky_relu(norm(mixed), 0.01)
            carries.append(layer_carry)
        y = nn.Dense(256, name="leave", **_uniform(self.width))(u)
        for layer in range(self.dense):
            y = _popgym_dense(y, 256, f"dense_{layer}")
        return tuple(carries), y


class PopgymMLP(PopgymTrunk):
    """The network of the released feed-forward trainer: no memory, and no action.

        y = encoder(oₜ)
        y ← leaky-relu(LN(W y))                 `layers` times, `width` features

    199,429 parameters with two layers of 256 features and the linear head, besides the encoder.

    Raises:
      ValueError: there is a memory.
    """

    def __post_init__(self):
        if self.dense:
            raise ValueError(f"dense={self.dense}; this trunk has `layers` dense layers and no others")
        if jax.tree.leaves(jax.eval_shape(lambda: self.initial(1))):
            raise ValueError("trunk=popgym_mlp has no room for a memory; use memory=none or trunk=popgym")
        super().__post_init__()

    @property
    def head(self) -> Initialisers:
        """As every other layer here."""
        return _uniform(self.width)

    @nn.compact
    def __call__(
        self, carry: tuple[Any, ...], observation: jax.Array, previous: jax.Array, start: jax.Array
    ) -> tuple[tuple[Any, ...], jax.Array]:
        """As `Trunk`; there is nothing to carry."""
        y = self._encode(observation)
        for layer in range(self.layers):
            y = _popgym_dense(y, self.width, f"dense_{layer}")
        return carry, y


TRUNKS = {"residual": Trunk, "popgym": PopgymTrunk, "popgym_mlp": PopgymMLP}


def _uniform(inputs: int) -> Initialisers:
    """Weights and biases uniform on ±1/√inputs."""
    return dict.fromkeys(("kernel_init", "bias_init"), uniform(inputs))


def _popgym_dense(x: jax.Array, features: int, name: str) -> jax.Array:
    """A dense layer of the released networks, in a module of the caller's."""
    y = nn.Dense(features, name=name, **_uniform(x.shape[-1]))(x)
    return nn.leaky_relu(nn.LayerNorm(epsilon=1e-5, name=f"{name}_norm")(y), 0.01)


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
        return carry, nn.Dense(self.num_actions, name="value", **self.trunk.head)(features)


class ActorCritic(nn.Module):
    """Logits of a policy and a value, on one trunk or on two.

    Attributes:
      trunk: of the actor, and of the critic.
      num_actions: of the environment.
      shared: whether both heads are on one trunk, or each on its own, with its own memory.
      sees_action: whether the trunks are shown the action before.
    """

    trunk: Trunk
    num_actions: int
    shared: bool = True
    sees_action: bool = True

    def initial(self, batch: int) -> tuple[tuple[Any, ...], ...]:
        """The memory of `batch` fresh environments: one carry per trunk."""
        return tuple(self.trunk.initial(batch) for _ in range(1 if self.shared else 2))

    @nn.compact
    def __call__(self, carry, observation, previous, start) -> tuple[tuple[Any, ...], tuple[jax.Array, jax.Array]]:
        """As `Trunk`; returns the new carry, and logits float32[T, B, num_actions] with values float32[T, B]."""
        previous = previous if self.sees_action else jnp.full_like(previous, -1)
        names = ("actor_critic",) if self.shared else ("actor", "critic")
        carries, features = [], []
        for name, one in zip(names, carry, strict=True):
            after, seen = self.trunk.clone(parent=self, name=name)(one, observation, previous, start)
            carries.append(after)
            features.append(seen)
        logits = nn.Dense(self.num_actions, name="policy", **self.trunk.head)(features[0])
        value = nn.Dense(1, name="value", **self.trunk.head)(features[-1])
        return tuple(carries), (logits, value[..., 0])
