"""Approximate gated linear attention (Pramanik et al. 2023, arXiv 2310.15719)."""

import functools
from collections.abc import Callable
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from podarcade.models.memory import Memory, resets, scan, time_scales

ORTHOGONAL = nn.initializers.orthogonal(2.0**0.5)
SEGMENT = 64  # steps whose states, many times larger than their inputs, are in memory together


class AGaLiTe(Memory):
    """Gated linear attention that approximates the matrix of keys and values by r oscillating vectors of each.

    Per head, with k, q, v, β', γ' in Rᵈ and p₁, p₂, p₃ in Rᵑ linear in xₜ, and ⊗ the flattened outer product:

        κ = relu(p₁) ⊗ relu(k)      ψ = relu(p₂) ⊗ relu(q)      γ = sigmoid(p₃) ⊗ sigmoid(γ')      β = sigmoid(β')
        k̃ⁱ ← (1 - γ) ⊙ k̃ⁱ + cos(ωᵢ τ) γ ⊙ κ        i = 0..r        k̃ in Rᵑᵈ
        ṽⁱ ← (1 - β) ⊙ ṽⁱ + cos(ωᵢ τ) β ⊙ v         i = 1..r        ṽ in Rᵈ
        o = Σᵢ ṽⁱ (k̃ⁱ · ψ) / (2 r (k̃⁰ · ψ) + 1e-5)                 i = 1..r
        yₜ = W_o [o of all heads] + b_o

    The frequencies ω₁..ωᵣ are spread evenly on [-π, π]; k̃⁰, with ω₀ = 0, is the paper's normaliser s. With r = 2 both
    cosines are (-1)^τ, as in the authors' program.

    The tick τ counts the steps of an episode from 1. The authors let it continue over episodes; here a start resets
    it with the rest of the state. It is stored modulo the common period of the cosines, which keeps it exact in
    episodes of any length. This layer is the attention only; the authors' gated block around it is left to the trunk.

    Horizon at initialisation: relative gradient 1e-5 at k = 32, 2e-17 at k = 128 (both gates start near 1/4 or 1/2).

    Attributes:
      heads: H.
      head_dim: d; the carry takes 4 H ((r + 1) η d + r d) + 4 bytes per environment.
      expansion: η, the expansion factor of keys and queries.
      oscillators: r.
      init_horizon: longest initial time constant in steps (`time_scales`); 0 for biases of zero. It sets the biases of
        β' and γ' in each head; p₃ keeps a bias of zero.
      form: implementation of the scan, "auto" or one of FORMS.
    """

    FORMS: ClassVar[tuple[str, ...]] = scan.FORMS
    SIZE: ClassVar[str] = "head_dim"

    heads: int = 4
    head_dim: int = 64
    expansion: int = 4
    oscillators: int = 2
    init_horizon: float = 0.0
    form: str = "auto"

    def initial(self, batch: int) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Return k̃, ṽ and τ, all zeros: float32[batch, r + 1, H, η d], [batch, r, H, d], [batch]."""
        keys = jnp.zeros((batch, self.oscillators + 1, self.heads, self.expansion * self.head_dim), jnp.float32)
        values = jnp.zeros((batch, self.oscillators, self.heads, self.head_dim), jnp.float32)
        return keys, values, jnp.zeros(batch, jnp.float32)

    @nn.compact
    def __call__(self, carry: tuple, x: jax.Array, start: jax.Array) -> tuple[tuple, jax.Array]:
        """Map ((k̃, ṽ, τ), x [T, B, width], start [T, B]) to ((k̃, ṽ, τ), y [T, B, width])."""
        *memory, tick = carry
        cosines, tick = self._oscillate(tick, start)
        # Two layers: the columns of one orthogonal matrix share its scale, and those of p₁, p₂, p₃ are few.
        key, query, value, value_gate, key_gate = self._project(x, "enter", self.head_dim, 5, self._draw_gate_biases)
        expand = self._project(x, "expand", self.expansion, 3)
        # Gates are computed before padding: a gate of zero leaves the state unchanged.
        inputs = {
            "start": start,
            "cosines": cosines,
            "value": value,
            "value_gate": nn.sigmoid(value_gate),
            "key": (nn.relu(expand[0]), nn.relu(key)),
            "query": (nn.relu(expand[1]), nn.relu(query)),
            "key_gate": (nn.sigmoid(expand[2]), nn.sigmoid(key_gate)),
        }
        memory, attended = scan.checkpointed_scan(functools.partial(_attend, self.form), tuple(memory), inputs, SEGMENT)
        attended = attended.reshape(*x.shape[:2], -1).astype(x.dtype)
        y = nn.Dense(self.width, dtype=x.dtype, kernel_init=ORTHOGONAL, name="out")(attended)
        return (*memory, tick), y

    def _project(
        self, x: jax.Array, name: str, size: int, parts: int, bias_init: Callable = nn.initializers.zeros
    ) -> list[jax.Array]:
        """Return `parts` projections for each head, float32[T, B, heads, size] each."""
        features = self.heads * parts * size
        y = nn.Dense(features, dtype=x.dtype, kernel_init=ORTHOGONAL, bias_init=bias_init, name=name)(x)
        return jnp.split(y.astype(jnp.float32).reshape(*x.shape[:2], self.heads, -1), parts, axis=-1)

    def _draw_gate_biases(self, key, shape, dtype=jnp.float32):
        bias = jnp.zeros((self.heads, 5, self.head_dim), dtype)
        if self.init_horizon:
            written = -np.expm1(-1.0 / time_scales.time_constants(self.head_dim, self.init_horizon))
            # The gate of keys is a product with another, which is 1/2 at zero input.
            value_gate, key_gate = (np.log(gate / (1.0 - gate)) for gate in (written, 2.0 * written))
            bias = bias.at[:, 3].set(value_gate).at[:, 4].set(key_gate)
        return bias.reshape(shape)

    def _oscillate(self, tick: jax.Array, start: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Return cos(ωᵢ τ) for i = 0..r, float32[T, B, r + 1], and the final tick, float32[B]."""
        if self.oscillators < 1:
            raise ValueError(f"memory.oscillators={self.oscillators}; must be >= 1")
        # All ωᵢ are multiples of π / (r - 1), so the cosines have the common period 2 (r - 1).
        period = 2 * max(self.oscillators - 1, 1)
        frequencies = np.append(0.0, np.linspace(-np.pi, np.pi, self.oscillators))
        table = jnp.asarray(np.cos(np.outer(np.arange(period), frequencies)), jnp.float32)
        ticks = resets.steps_since_start(start, tick.astype(jnp.int32)) % period
        return table[ticks], ticks[-1].astype(jnp.float32)


def _attend(form: str, memory: tuple[jax.Array, jax.Array], inputs: dict) -> tuple[tuple, jax.Array]:
    """Attend over a segment of time: (k̃, ṽ) -> ((k̃, ṽ), o [T, B, H, d]); the oscillator axis follows the batch axis."""
    cosines = inputs["cosines"][..., None, None]
    key, query, gate = (_outer(*inputs[name]) for name in ("key", "query", "key_gate"))
    value, value_gate = inputs["value"], inputs["value_gate"]
    scan_time = functools.partial(scan.linear_scan, start=inputs["start"], form=form)
    keys = scan_time((1.0 - gate)[:, :, None], cosines * (gate * key)[:, :, None], initial=memory[0])
    drive = cosines[:, :, 1:] * (value_gate * value)[:, :, None]
    values = scan_time((1.0 - value_gate)[:, :, None], drive, initial=memory[1])
    match = jnp.sum(keys * query[:, :, None], axis=-1, keepdims=True)  # [T, B, r + 1, H, 1]
    oscillators = values.shape[2]
    attended = jnp.sum(values * match[:, :, 1:], axis=2) / (2.0 * oscillators * match[:, :, 0] + 1e-5)
    return (keys[-1], values[-1]), attended


def _outer(x: jax.Array, y: jax.Array) -> jax.Array:
    """Return the flattened outer product of [..., η] and [..., d], [..., η d]."""
    return (x[..., :, None] * y[..., None, :]).reshape(*x.shape[:-1], -1)
