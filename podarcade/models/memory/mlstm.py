"""The matrix LSTM of xLSTM (Beck et al. 2024, arXiv 2405.04517)."""

from typing import ClassVar

import jax
import jax.numpy as jnp
from flax import linen as nn

from podarcade.models.memory import Memory, linear_attention
from podarcade.models.memory.resets import forget


class MLSTM(Memory):
    """A matrix memory with an exponential input gate, and a forget gate for each head.

        qₜ, kₜ, vₜ = W_q xₜ, d^(-½) W_k xₜ, W_v xₜ;  fₜ = sigmoid(w_f xₜ + b_f);  iₜ = exp(w_i xₜ + b_i)
        Cₜ = fₜ Cₜ₋₁ + iₜ kₜ vₜᵀ,  nₜ = fₜ nₜ₋₁ + iₜ kₜ      per head, in R^(d × d) and R^d
        hₜ = Cₜᵀ qₜ / max(|nₜᵀ qₜ|, 1)
        yₜ = out(sigmoid(W_o xₜ) ⊙ LN(hₜ))                   the norm over each head

    What is computed and carried is C e⁻ᵐ and n e⁻ᵐ, as iₜ itself would overflow:

        mₜ = max(log fₜ + mₜ₋₁, log iₜ, 0),  hₜ = (C e⁻ᵐ)ᵀ q / max(|(n e⁻ᵐ)ᵀ q|, e⁻ᵐ)

    which is the same h whatever m is; so no gradient needs to flow through m. The paper's m has no bound. At 0 it
    makes a fresh sequence (C = n = 0, m = 0) the same as a start, keeps e⁻ᵐ from overflowing where all gates are
    shut, and costs no digits, as |nᵀq| is compared with 1. At first w_f = w_i = 0, b_f = 3 .. 6 over the heads and
    b_i is N(0, 0.1²). The norm has a scale and no bias. Around this recurrence the paper puts an up-projection,
    a short convolution and a skip connection, which are the trunk's here; its gates see q, k and v, these see x.

    Attributes:
      heads: number of heads.
      head_dim: d; 4 heads (d² + d + 1) bytes of carry per environment.
      form: one of FORMS, or "auto".
    """

    FORMS: ClassVar[tuple[str, ...]] = linear_attention.FORMS
    SIZE: ClassVar[str] = "head_dim"

    heads: int = 4
    head_dim: int = 64
    form: str = "auto"

    def initial(self, batch: int) -> tuple[jax.Array, jax.Array]:
        """[C, n] = 0, float32[batch, heads, head_dim, head_dim + 1], and m = 0, float32[batch, heads]."""
        return jnp.zeros((batch, self.heads, self.head_dim, self.head_dim + 1)), jnp.zeros((batch, self.heads))

    @nn.compact
    def __call__(
        self, carry: tuple[jax.Array, jax.Array], x: jax.Array, start: jax.Array
    ) -> tuple[tuple[jax.Array, jax.Array], jax.Array]:
        """(([C, n], m), x [T, B, width], start [T, B]) -> (([C, n], m), y [T, B, width])."""
        query, key, value = (
            linear_attention.heads_of(x, self.heads, self.head_dim, name) for name in ("query", "key", "value")
        )
        log_forget, log_input = self._gates(x)
        state, before = carry
        level = jax.lax.stop_gradient(_level(log_forget, log_input, start, before, self.form))
        previous = forget(start, jnp.concatenate([before[None], level[:-1]]))
        key = key * (self.head_dim**-0.5 * jnp.exp(log_input - level))[..., None]
        log_decay = log_forget + previous - level
        state, read = linear_attention.matrix_memory(
            query, key, linear_attention.with_one(value), start, state, log_decay=log_decay, form=self.form
        )
        # Below 1e-13 the bound is less than the rounding of n q; held there it keeps 0 / 0 away.
        bound = jnp.exp(-jnp.minimum(level, 30.0))[..., None]
        hidden = read[..., :-1] / jnp.maximum(jnp.abs(read[..., -1:]), bound)
        hidden = nn.LayerNorm(use_bias=False, name="norm")(hidden)
        gate = nn.sigmoid(linear_attention.heads_of(x, self.heads, self.head_dim, "gate"))
        return (state, level[-1]), linear_attention.merge(gate * hidden, self.width, x.dtype)

    def _gates(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        """log f and log i, float32[T, B, heads]."""
        zeros, normal = nn.initializers.zeros, nn.initializers.normal(0.1)

        def rising(key, shape, dtype=jnp.float32):
            return jnp.linspace(3.0, 6.0, *shape, dtype=dtype)

        gates = [
            nn.Dense(self.heads, dtype=x.dtype, kernel_init=zeros, bias_init=bias, name=name)(x).astype(jnp.float32)
            for name, bias in (("forget", rising), ("input", normal))
        ]
        return nn.log_sigmoid(gates[0]), gates[1]


def _level(log_forget: jax.Array, log_input: jax.Array, start: jax.Array, before: jax.Array, form: str) -> jax.Array:
    """mₜ = max(log fₜ + mₜ₋₁, log iₜ, 0), where a start makes mₜ₋₁ zero: float32[T, B, heads].

    Segments (a, b), m ↦ max(a + m, b), combine as (a, b) ∘ (a', b') = (a + a', max(b + a', b')), left = earlier.
    """
    drive = jnp.maximum(log_input, 0.0)
    flags = jnp.broadcast_to(start[..., None], drive.shape)
    if len(start) == 1 or linear_attention.resolve(form) == "sequential":
        return jax.lax.scan(_raise, before, (log_forget, drive, flags))[1]
    decay, raised, started = jax.lax.associative_scan(_combine, (log_forget, drive, flags))
    return jnp.where(started, raised, jnp.maximum(decay + before[None], raised))


def _raise(level, step):
    log_forget, drive, start = step
    # The forget gate is at most 1 and the drive at least 0: after a start there is the drive alone.
    level = jnp.where(start, drive, jnp.maximum(log_forget + level, drive))
    return level, level


def _combine(left, right):
    (decay_left, drive_left, start_left), (decay_right, drive_right, start_right) = left, right
    drive = jnp.where(start_right, drive_right, jnp.maximum(drive_left + decay_right, drive_right))
    return jnp.where(start_right, decay_right, decay_left + decay_right), drive, start_left | start_right
