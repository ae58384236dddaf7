"""The trunk of a network: an encoder and memory layers."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax import struct, traverse_util

from podarcade.actions import ActionSpace
from podarcade.models.encoders import Encoder
from podarcade.models.memory import ATTENTION, COLLECTION, Memory, scan

Initialisers = dict[str, Callable]
INPUTS = ("o", "a", "r", "oa", "or", "ar", "oar")
ENCODED = "encoded"  # name that trunks `sow` the features of observations under


@struct.dataclass
class Encoded:
    """Features of observations, to apply a network to without encoding the same frames again: see `encode`."""

    features: dict[str, jax.Array]  # path of a trunk -> float32[T, B, features]


def encode(network: nn.Module, params: Any, *inputs: Any) -> Encoded:
    """Return the features of the observations among the inputs of a network.

    The network takes the result in place of the observation, and has the same outputs.
    """
    return Encoded({"/".join(path): found for path, found in _kept(network, params, inputs, ENCODED).items()})


def attention(network: nn.Module, params: Any, *inputs: Any) -> list[jax.Array]:
    """Return the attention of each layer that has any, of the policy's trunk, float32[T, B, T], a row for each query.

    The weights are means over heads. Layers that do not attend to single steps are left out.
    """
    found = _kept(network, params, inputs, ATTENTION)
    paths = [path for path in found if "critic" not in path]
    return [found[path] for path in sorted(paths, key=_layer)]


def _layer(path: tuple[str, ...]) -> int:
    """Return the number of the memory layer that a path leads to."""
    return next(int(part.rpartition("_")[2]) for part in path if part.startswith("memory_"))


def _kept(network: nn.Module, params: Any, inputs: tuple, name: str) -> dict[tuple[str, ...], jax.Array]:
    _, state = network.apply(params, *inputs, mutable=COLLECTION)
    leaves = traverse_util.flatten_dict(state.get(COLLECTION, {}))
    return {path[:-1]: found for path, (found,) in leaves.items() if path[-1] == name}


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
