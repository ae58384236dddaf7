"""Networks: an encoder, a trunk of memory layers, and heads."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax import struct, traverse_util

from podarcade.actions import ActionSpace, Continuous
from podarcade.models.encoders import Encoder
from podarcade.models.encoders.popgym_cnn import uniform
from podarcade.models.memory import Memory, scan

Initialisers = dict[str, Callable]
INPUTS = ("o", "a", "r", "oa", "or", "ar", "oar")
LOG_STD = -0.5, -5.0, 2.0  # of a Gaussian policy: initial value and bounds of log σ
COLLECTION, ENCODED = "intermediates", "encoded"  # where flax keeps the features of observations, if it is asked to


@struct.dataclass
class Encoded:
    """Features of observations, to apply a network to without encoding the same frames again: see `encode`."""

    features: dict[str, jax.Array]  # path of a trunk -> float32[T, B, features]


def encode(network: nn.Module, params: Any, *inputs: Any) -> Encoded:
    """Return the features of the observations among the inputs of a network.

    The network takes the result in place of the observation, and has the same outputs.
    """
    _, state = network.apply(params, *inputs, mutable=COLLECTION)
    leaves = traverse_util.flatten_dict(state[COLLECTION])
    return Encoded({"/".join(path[:-1]): found for path, (found,) in leaves.items() if path[-1] == ENCODED})


class Trunk(nn.Module):
    """Memory layers in pre-norm residual blocks.

        e = [LN(encoder(oₜ)), aₜ₋₁, rₜ]         the parts that `inputs` names
        u = W e
        u ← u + GLU(gelu(memory(LN(u))))        once per layer
        y = relu(LN(W [LN(u), e]))              e enters here if `bypass`, so that the head can ignore the memory

    aₜ₋₁ is the previous action, one-hot if discrete, and rₜ the reward that it was paid; at a start both are zeros.
    Rank-1 observations (tasks without pixels) pass through a dense layer instead of the encoder.

    Attributes:
      encoder: factory of the pixel encoder.
      memory: factory of a memory layer of a given width.
      actions: action space of the environment.
      width: number of features of u and of y.
      layers: number of memory layers.
      bypass: whether the features in front of the memory also reach the head.
      inputs: what the network sees: o the observation, a the previous action, r the previous reward. A policy without
        memory that sees its previous action can store information in it: controls without memory see "o".
      encode_chunk: maximum number of frames encoded together, 0 for all. Chunks run one after another and are
        rematerialised in the backward pass, which costs a third more computation and keeps the activations of a single
        chunk in memory.

    Raises:
      ValueError: `encode_chunk` is negative, or unknown `inputs`.
    """

    encoder: Callable[..., Encoder]
    memory: Callable[..., Memory]
    actions: ActionSpace
    width: int = 128
    layers: int = 1
    bypass: bool = True
    inputs: str = "oa"
    encode_chunk: int = 0

    def __post_init__(self):
        if self.encode_chunk < 0:
            raise ValueError(
                f"network.encode_chunk={self.encode_chunk}; expected a number of frames, or 0 to encode all together"
            )
        if self.inputs not in INPUTS:
            raise ValueError(f"network.inputs={self.inputs!r}; expected one of: {', '.join(INPUTS)}")
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
        self,
        carry: tuple[Any, ...],
        observation: jax.Array,
        previous_action: jax.Array,
        reward: jax.Array,
        start: jax.Array,
    ) -> tuple[tuple[Any, ...], jax.Array]:
        """Apply the trunk to a segment of time.

        Args:
          carry: one entry per layer, arrays [B, ...].
          observation: uint8[T, B, side, side, 3] or float32[T, B, D].
          previous_action: int32[T, B], -1 for none, or float32[T, B, A].
          reward: float32[T, B], of the step that led to the observation.
          start: bool[T, B].

        Returns:
          The new carry, and float32[T, B, features].
        """
        norm = nn.LayerNorm(name="encoder_norm")
        features = self._features(lambda: norm(self._encode(observation)), previous_action, reward)
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

    def _encode(self, observation: jax.Array | Encoded) -> jax.Array:
        path = "/".join(self.path)
        features = observation.features[path] if isinstance(observation, Encoded) else self._encode_new(observation)
        self.sow(COLLECTION, ENCODED, features)
        return features

    def _encode_new(self, observation: jax.Array) -> jax.Array:
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

    def _features(self, encode: Callable[[], jax.Array], previous_action: jax.Array, reward: jax.Array) -> jax.Array:
        """Return the parts that `inputs` names, float32[T, B, features]; `encode` gives those of the observation."""
        parts = {"o": encode, "a": lambda: self.actions.encode(previous_action), "r": lambda: reward[..., None]}
        return jnp.concatenate([parts[name]() for name in self.inputs], axis=-1)


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
        self,
        carry: tuple[Any, ...],
        observation: jax.Array,
        previous_action: jax.Array,
        reward: jax.Array,
        start: jax.Array,
    ) -> tuple[tuple[Any, ...], jax.Array]:
        """Apply the trunk to a segment of time; see `Trunk`."""
        features = self._features(lambda: self._encode(observation), previous_action, reward)
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
    """The network of the released feed-forward trainer, without memory; it sees the observation only.

        y = encoder(oₜ)
        y ← leaky-relu(LN(W y))                 `layers` times, `width` features

    Two layers of 256 features and a linear head for 5 actions have 199,429 parameters on top of the encoder.

    Raises:
      ValueError: the memory has a carry, `dense` is set, or `inputs` names more than the observation.
    """

    inputs: str = "o"

    def __post_init__(self):
        if self.dense:
            raise ValueError(f"network.dense={self.dense}; set network.layers, the dense layers of trunk=popgym_mlp")
        if jax.tree.leaves(jax.eval_shape(lambda: self.initial(1))):
            raise ValueError("trunk=popgym_mlp has no memory layer; use memory=none, or trunk=popgym")
        if self.inputs != "o":
            raise ValueError(f"network.inputs={self.inputs!r}; trunk=popgym_mlp sees observations only, use inputs=o")
        super().__post_init__()

    @property
    def head_init(self) -> Initialisers:
        """Initialisers of a head on this trunk: those of its other layers."""
        return _uniform(self.width)

    @nn.compact
    def __call__(
        self,
        carry: tuple[Any, ...],
        observation: jax.Array,
        previous_action: jax.Array,
        reward: jax.Array,
        start: jax.Array,
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
    """A trunk with a linear head: one value for each of n discrete actions."""

    trunk: Trunk

    def initial(self, batch: int) -> tuple[Any, ...]:
        """Return the carry of `batch` fresh environments."""
        return self.trunk.initial(batch)

    @nn.compact
    def __call__(self, carry, observation, previous_action, reward, start) -> tuple[tuple[Any, ...], jax.Array]:
        """Return the new carry and Q float32[T, B, n]; arguments as in `Trunk`."""
        carry, features = self.trunk(carry, observation, previous_action, reward, start)
        return carry, nn.Dense(self.trunk.actions.size, name="value", **self.trunk.head_init)(features)


class ActorCritic(nn.Module):
    """A policy head and a value head, on one shared trunk or on two separate ones.

    The policy head gives logits float32[T, B, n] of discrete actions; of continuous ones mean and log σ of a Gaussian,
    float32[T, B, 2 A], where log σ is a parameter of its own that depends on no input, clipped to [-5, 2].

    Attributes:
      trunk: trunk of the actor and of the critic.
      shared: whether both heads share one trunk; otherwise each has its own trunk and memory.
    """

    trunk: Trunk
    shared: bool = True

    def initial(self, batch: int) -> tuple[tuple[Any, ...], ...]:
        """Return the carry of `batch` fresh environments: one entry per trunk."""
        return tuple(self.trunk.initial(batch) for _ in range(1 if self.shared else 2))

    @nn.compact
    def __call__(
        self, carry, observation, previous_action, reward, start
    ) -> tuple[tuple[Any, ...], tuple[jax.Array, jax.Array]]:
        """Return the new carry, and (outputs of the policy head, values float32[T, B]); arguments as in `Trunk`."""
        names = ("actor_critic",) if self.shared else ("actor", "critic")
        carries, features = [], []
        for name, trunk_carry in zip(names, carry, strict=True):
            trunk = self.trunk.clone(parent=self, name=name)
            trunk_carry, trunk_features = trunk(trunk_carry, observation, previous_action, reward, start)
            carries.append(trunk_carry)
            features.append(trunk_features)
        policy = nn.Dense(self.trunk.actions.size, name="policy", **self.trunk.head_init)(features[0])
        if isinstance(self.trunk.actions, Continuous):
            start_at, low, high = LOG_STD
            log_std = self.param("log_std", nn.initializers.constant(start_at, jnp.float32), (policy.shape[-1],))
            log_std = jnp.broadcast_to(jnp.clip(log_std, low, high), policy.shape)
            policy = jnp.concatenate([policy, log_std], axis=-1)
        value = nn.Dense(1, name="value", **self.trunk.head_init)(features[-1])
        return tuple(carries), (policy, value[..., 0])
