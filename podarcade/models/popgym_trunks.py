"""Trunks of the released POPGym Arcade baselines (memax 0.1.1, February 2026)."""

from typing import Any

import jax
from flax import linen as nn

from podarcade.models.encoders.popgym_cnn import uniform
from podarcade.models.trunks import Initialisers, Trunk


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


def _uniform(inputs: int) -> Initialisers:
    """Return the initialisers of a dense layer: weights and biases uniform on ±1/√inputs."""
    return dict.fromkeys(("kernel_init", "bias_init"), uniform(inputs))


def _popgym_dense(x: jax.Array, features: int, name: str) -> jax.Array:
    """Return a dense layer of the released networks, named within the calling module."""
    y = nn.Dense(features, name=name, **_uniform(x.shape[-1]))(x)
    return nn.leaky_relu(nn.LayerNorm(epsilon=1e-5, name=f"{name}_norm")(y), 0.01)
