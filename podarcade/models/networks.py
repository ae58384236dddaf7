"""Networks: an encoder, a trunk of memory layers, and heads."""

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
    """Memory layers in pre-norm residual blocks.

        e = [LN(encoder(oₜ)), one-hot(aₜ₋₁)]
        u = W e
        u ← u + GLU(gelu(memory(LN(u))))        once per layer
        y = relu(LN(W [LN(u), e]))              e enters here if `bypass`, so that the head can ignore the memory

    At a start the previous action is encoded as the zero vector. Rank-1 observations (tasks without pixels) pass
    through a dense layer instead of the encoder.

    Attributes:
      encoder: factory of the pixel encoder.
      memory: factory of a memory layer of a given width.
      num_actions: number of actions of the environment.
      width: number of features of u and of y.
      layers: number of memory layers.
      bypass: whether the features in front of the memory also reach the head.
      encode_chunk: maximum number of frames encoded together, 0 for all. Chunks run one after another and are
        rematerialised in the backward pass, which costs a third more computation and keeps the activations of a single
        chunk in memory.

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
            raise ValueError(
                f"network.encode_chunk={self.encode_chunk}; expected a number of frames, or 0 to encode all together"
            )
        super().__post_init__()

    @property
    def head_init(self) -> Initialisers:
        """Initialisers of a head on this trunk: small outputs, so that the first targets are rewards."""
        return {"kernel_init": nn.initializers.variance_scaling(0.01, "fan_in", "truncated_normal")}

    def initial(self, batch: int) -> tuple[Any, ...]:
        """Return the carry of `batch` fresh environments: one entry per layer."""
        return tuple(self.memory(width=self.width, parent=None).initial(batch) for _ in range(self.layers))

    @nn.compact
    def __call__(
        self, carry: tuple[Any, ...], observation: jax.Array, previous_action: jax.Array, start: jax.Array
    ) -> tuple[tuple[Any, ...], jax.Array]:
        """Apply the trunk to a segment of time.

        Args:
          carry: one entry per layer, arrays [B, ...].
          observation: uint8[T, B, side, side, 3] or float32[T, B, D].
          previous_action: int32[T, B], -1 for none.
          start: bool[T, B].

        Returns:
          The new carry, and float32[T, B, features].
        """
        features = nn.LayerNorm(name="encoder_norm")(self._encode(observation))
        features = self._append_action(features, previous_action)
        u = nn.Dense(self.width, name="enter")(features)
        carries = []
        for layer, layer_carry in enumerate(carry):
            memory = self.memory(width=self.width, name=f"memory_{layer}")
            layer_carry, y = memory(layer_carry, nn.LayerNorm(name=f"norm_{layer}")(u), start)
            value, gate = jnp.split(nn.Dense(2 * self.width, name=f"mix_{layer}")(nn.gelu(y)), 2, axis=-1)
            u = u + value * nn.sigmoid(gate)
            carries.append(layer_carry)
        u = nn.LayerNorm(name="exit_norm")(u)
        u = jnp.concatenate([u, features], axis=-1) if self.bypass else u
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
            _, flat = scan.checkpointed_scan(
                lambda _, chunk: (None, encoder.apply(params, chunk)), None, frames, self.encode_chunk
            )
        return flat.reshape(*observation.shape[:2], -1)

    def _append_action(self, features: jax.Array, previous_action: jax.Array) -> jax.Array:
        one_hot = jax.nn.one_hot(previous_action, self.num_actions, dtype=jnp.float32)
        return jnp.concatenate([features, one_hot], axis=-1)


class PopgymTrunk(Trunk):
    """The block around the memory in the released POPGym Arcade baselines (memax 0.1.1, February 2026).

        u = W [encoder(oₜ), one-hot(aₜ₋₁)]
        u ← leaky-relu(LN(W memory(u)))         once per layer; LN without scale and bias
        y = W u                                 256 features
        y ← leaky-relu(LN(W y))                 `dense` times: once in version 1, after one memory layer

    Although called a residual model there, it has neither a residual nor a bypass, and layer 1 receives unnormalised
    features. Weights and biases are initialised uniform on ±1/√n for n inputs.

    Attributes:
      dense: number of dense layers of 256 features after the memory layers.

    Raises:
      ValueError: `bypass` is set.
    """

    bypass: bool = False
    dense: int = 0

    def __post_init__(self):
        if self.bypass:
            raise ValueError("network.bypass=True; trunk=popgym has no bypass, use trunk=residual")
        super().__post_init__()

    @property
    def head_init(self) -> Initialisers:
        """Initialisers of a head on this trunk: those of its other layers."""
        return _uniform(256)

    @nn.compact
    def __call__(
        self, carry: tuple[Any, ...], observation: jax.Array, previous_action: jax.Array, start: jax.Array
    ) -> tuple[tuple[Any, ...], jax.Array]:
        """Apply the trunk to a segment of time; see `Trunk`."""
        features = self._append_action(self._encode(observation), previous_action)
        u = nn.Dense(self.width, name="enter", **_uniform(features.shape[-1]))(features)
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
    """The network of the released feed-forward trainer, without memory and without the previous action.

        y = encoder(oₜ)
        y ← leaky-relu(LN(W y))                 `layers` times, `width` features

    Two layers of 256 features and a linear head for 5 actions have 199,429 parameters on top of the encoder.

    Raises:
      ValueError: the memory has a carry, or `dense` is set.
    """

    def __post_init__(self):
        if self.dense:
            raise ValueError(f"network.dense={self.dense}; set network.layers, the dense layers of trunk=popgym_mlp")
        if jax.tree.leaves(jax.eval_shape(lambda: self.initial(1))):
            raise ValueError("trunk=popgym_mlp has no memory layer; use memory=none, or trunk=popgym")
        super().__post_init__()

    @property
    def head_init(self) -> Initialisers:
        """Initialisers of a head on this trunk: those of its other layers."""
        return _uniform(self.width)

    @nn.compact
    def __call__(
        self, carry: tuple[Any, ...], observation: jax.Array, previous_action: jax.Array, start: jax.Array
    ) -> tuple[tuple[Any, ...], jax.Array]:
        """Apply the dense layers to each step; see `Trunk`. The carry is returned unchanged."""
        y = self._encode(observation)
        for layer in range(self.layers):
            y = _popgym_dense(y, self.width, f"dense_{layer}")
        return carry, y


TRUNKS = {"residual": Trunk, "popgym": PopgymTrunk, "popgym_mlp": PopgymMLP}


def _uniform(inputs: int) -> Initialisers:
    """Return the initialisers of a dense layer: weights and biases uniform on ±1/√inputs."""
    return dict.fromkeys(("kernel_init", "bias_init"), uniform(inputs))


def _popgym_dense(x: jax.Array, features: int, name: str) -> jax.Array:
    """Return a dense layer of the released networks, named within the calling module."""
    y = nn.Dense(features, name=name, **_uniform(x.shape[-1]))(x)
    return nn.leaky_relu(nn.LayerNorm(epsilon=1e-5, name=f"{name}_norm")(y), 0.01)


class QNetwork(nn.Module):
    """A trunk with a linear head: one value per action."""

    trunk: Trunk
    num_actions: int

    def initial(self, batch: int) -> tuple[Any, ...]:
        """Return the carry of `batch` fresh environments."""
        return self.trunk.initial(batch)

    @nn.compact
    def __call__(self, carry, observation, previous_action, start) -> tuple[tuple[Any, ...], jax.Array]:
        """Return the new carry and Q float32[T, B, num_actions]; arguments as in `Trunk`."""
        carry, features = self.trunk(carry, observation, previous_action, start)
        return carry, nn.Dense(self.num_actions, name="value", **self.trunk.head_init)(features)


class ActorCritic(nn.Module):
    """A policy head and a value head, on one shared trunk or on two separate ones.

    Attributes:
      trunk: trunk of the actor and of the critic.
      num_actions: number of actions of the environment.
      shared: whether both heads share one trunk; otherwise each has its own trunk and memory.
      sees_action: whether the trunks receive the previous action.
    """

    trunk: Trunk
    num_actions: int
    shared: bool = True
    sees_action: bool = True

    def initial(self, batch: int) -> tuple[tuple[Any, ...], ...]:
        """Return the carry of `batch` fresh environments: one entry per trunk."""
        return tuple(self.trunk.initial(batch) for _ in range(1 if self.shared else 2))

    @nn.compact
    def __call__(
        self, carry, observation, previous_action, start
    ) -> tuple[tuple[Any, ...], tuple[jax.Array, jax.Array]]:
        """Return the new carry, and (logits float32[T, B, num_actions], values float32[T, B]); see `Trunk`."""
        if not self.sees_action:
            previous_action = jnp.full_like(previous_action, -1)
        names = ("actor_critic",) if self.shared else ("actor", "critic")
        carries, features = [], []
        for name, trunk_carry in zip(names, carry, strict=True):
            trunk = self.trunk.clone(parent=self, name=name)
            trunk_carry, trunk_features = trunk(trunk_carry, observation, previous_action, start)
            carries.append(trunk_carry)
            features.append(trunk_features)
        logits = nn.Dense(self.num_actions, name="policy", **self.trunk.head_init)(features[0])
        value = nn.Dense(1, name="value", **self.trunk.head_init)(features[-1])
        return tuple(carries), (logits, value[..., 0])
