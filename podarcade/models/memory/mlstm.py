"""The matrix LSTM of xLSTM (Beck et al. 2024, arXiv 2405.04517)."""

from typing import ClassVar

import jax
import jax.numpy as jnp
from flax import linen as nn

from podarcade.models.memory import Memory, linear_attention, time_scales
from podarcade.models.memory.resets import zero_where


class MLSTM(Memory):
    """A matrix memory with an exponential input gate and a sigmoid forget gate per head.

        qₜ, kₜ, vₜ = W_q xₜ, d^(-½) W_k xₜ, W_v xₜ;  fₜ = sigmoid(w_f xₜ + b_f);  iₜ = exp(w_i xₜ + b_i)
        Cₜ = fₜ Cₜ₋₁ + iₜ kₜ vₜᵀ,  nₜ = fₜ nₜ₋₁ + iₜ kₜ      per head, in R^(d × d) and R^d
        hₜ = Cₜᵀ qₜ / max(|nₜᵀ qₜ|, 1)
        yₜ = out(sigmoid(W_o xₜ) ⊙ LN(hₜ))                   the norm over each head

    Since iₜ itself would overflow, the layer computes and carries the stabilised C e⁻ᵐ and n e⁻ᵐ:

        mₜ = max(log fₜ + mₜ₋₁, log iₜ, 0),  hₜ = (C e⁻ᵐ)ᵀ q / max(|(n e⁻ᵐ)ᵀ q|, e⁻ᵐ)

    h does not depend on m, so no gradient needs to flow through m. The paper's m is unbounded below. The bound at 0
    makes a fresh sequence (C = n = 0, m = 0) equal to a start, keeps e⁻ᵐ from overflowing when all gates are closed,
    and costs no precision, because |nᵀq| is compared with 1. At initialisation w_f = w_i = 0, b_f = 3 .. 6 over the
    heads, and b_i ~ N(0, 0.1²). The norm has a scale and no bias. The paper adds an up-projection, a short convolution
    and a skip connection, which are left to the trunk; its gates read q, k and v, these read x.

    Horizon at initialisation: relative gradient 9e-2 at k = 32, 4e-2 at k = 128.

    Attributes:
      heads: number of heads.
      head_dim: d; the carry takes 4 heads (d² + d + 1) bytes per environment.
      init_horizon: longest initial time constant in steps (`time_scales`); 0 for the b_f above.
        b_i stays, since n divides the scale of i out.
      form: implementation of the recurrence, "auto" or one of FORMS.
    """

    FORMS: ClassVar[tuple[str, ...]] = linear_attention.FORMS
    SIZE: ClassVar[str] = "head_dim"

    heads: int = 4
    head_dim: int = 64
    init_horizon: float = 0.0
    form: str = "auto"

    def initial(self, batch: int) -> tuple[jax.Array, jax.Array]:
        """Return [C, n] = 0, float32[batch, heads, head_dim, head_dim + 1], and m = 0, float32[batch, heads]."""
        state = jnp.zeros((batch, self.heads, self.head_dim, self.head_dim + 1), jnp.float32)
        return state, jnp.zeros((batch, self.heads), jnp.float32)

    @nn.compact
    def __call__(
        self, carry: tuple[jax.Array, jax.Array], x: jax.Array, start: jax.Array
    ) -> tuple[tuple[jax.Array, jax.Array], jax.Array]:
        """Map (([C, n], m), x [T, B, width], start [T, B]) to (([C, n], m), y [T, B, width])."""
        query, key, value = linear_attention.project_qkv(x, self.heads, self.head_dim)
        log_forget, log_input = self._gates(x)
        state, last_m = carry
        m = jax.lax.stop_gradient(_stabiliser(log_forget, log_input, start, last_m, self.form))
        previous_m = zero_where(start, jnp.concatenate([last_m[None], m[:-1]]))
        key = key * (self.head_dim**-0.5 * jnp.exp(log_input - m))[..., None]
        log_decay = log_forget + previous_m - m
        state, read = linear_attention.linear_attention(
            query, key, linear_attention.append_one(value), start, state, log_decay=log_decay, form=self.form
        )
        # A bound below 1e-13 is less than the rounding error of n q; clipping it there avoids 0 / 0.
        bound = jnp.exp(-jnp.minimum(m, 30.0))[..., None]
        hidden = read[..., :-1] / jnp.maximum(jnp.abs(read[..., -1:]), bound)
        hidden = nn.LayerNorm(use_bias=False, name="norm")(hidden)
        gate = nn.sigmoid(linear_attention.project_heads(x, self.heads, self.head_dim, "gate"))
        return (state, m[-1]), linear_attention.merge_heads(gate * hidden, self.width, x.dtype)

    def _gates(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Return log f and log i, float32[T, B, heads]."""
        zeros, normal = nn.initializers.zeros, nn.initializers.normal(0.1)

        def draw_forget_bias(key, shape, dtype=jnp.float32):
            if self.init_horizon:
                return jnp.asarray(time_scales.forget_bias(*shape, self.init_horizon), dtype)
            return jnp.linspace(3.0, 6.0, *shape, dtype=dtype)

        gates = [
            nn.Dense(self.heads, dtype=x.dtype, kernel_init=zeros, bias_init=bias, name=name)(x).astype(jnp.float32)
            for name, bias in (("forget", draw_forget_bias), ("input", normal))
        ]
        return nn.log_sigmoid(gates[0]), gates[1]


def _stabiliser(
    log_forget: jax.Array, log_input: jax.Array, start: jax.Array, initial: jax.Array, form: str
) -> jax.Array:
    """Return mₜ = max(log fₜ + mₜ₋₁, log iₜ, 0), float32[T, B, heads]; a start sets mₜ₋₁ to zero.

    Maps m ↦ max(a + m, b) combine as (a, b) ∘ (a', b') = (a + a', max(b + a', b')), left = earlier.
    """
    drive = jnp.maximum(log_input, 0.0)
    flags = jnp.broadcast_to(start[..., None], drive.shape)
    if len(start) == 1 or linear_attention.resolve_form(form) == "sequential":
        return jax.lax.scan(_step, initial, (log_forget, drive, flags))[1]
    decay, maximum, started = jax.lax.associative_scan(_combine, (log_forget, drive, flags))
    return jnp.where(started, maximum, jnp.maximum(decay + initial[None], maximum))


def _step(m, step):
    log_forget, drive, start = step
    # From m = 0 after a start the drive wins, because log f <= 0 <= drive.
    m = jnp.where(start, drive, jnp.maximum(log_forget + m, drive))
    return m, m


def _combine(left, right):
    (decay_left, drive_left, start_left), (decay_right, drive_right, start_right) = left, right
    drive = jnp.where(start_right, drive_right, jnp.maximum(drive_left + decay_right, drive_right))
    return jnp.where(start_right, decay_right, decay_left + decay_right), drive, start_left | start_right
