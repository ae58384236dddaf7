"""The S5 layer: one diagonal state space with many inputs and outputs (Smith et al. 2023, arXiv 2208.04933)."""

import functools
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from podarcade.models.memory import Memory, scan
from podarcade.models.memory.scan import Number


class S5(Memory):
    """A continuous linear system, diagonal and stable, sampled with a step of its own for every state.

        ẋ = Λ x + B̃ u        →        hₜ = λ̄ ⊙ hₜ₋₁ + g ⊙ (B̃ xₜ)             λ̄, g from `discretise`
                                      yₜ = 2 Re(C̃ hₜ) + D ⊙ xₜ              without the 2 if all states are kept

    The real part of an eigenvalue is -exp(ρ) with a trained ρ, so that it stays negative whatever training does; in the
    paper's program it is free, and clipped only on request. Λ begins as `blocks` copies of the spectrum of `hippo`,
    whose eigenvectors V turn the first matrices: B̃ = Vᴴ B and C̃ = C V, with B real and C complex, LeCun-normal; D is
    normal, and log Δ uniform between the logarithms of the two steps. At Re λ = -1/2 half of what is remembered is
    gone after 1.4 / Δ steps.

    With `conjugate_symmetry` one of each pair of conjugate eigenvalues is kept, and its conjugate's part of y is its
    own: hence the factor 2.

    Attributes:
      states: P, before conjugate symmetry halves it; a multiple of `blocks`, with symmetry of 2 * `blocks`.
        4 P bytes of carry per environment with symmetry, else 8 P.
      blocks: J, number of blocks that Λ begins with.
      discretisation: "zoh" (the input is held between samples) or "bilinear".
      conjugate_symmetry: whether half of the states are kept.
      minimum_step: of Δ at the start of training; smaller remembers longer.
      maximum_step: of Δ at the start of training.
      form: of the scan.
    """

    FORMS: ClassVar[tuple[str, ...]] = scan.FORMS
    SIZE: ClassVar[str] = "states"

    states: int = 256
    blocks: int = 1
    discretisation: str = "zoh"
    conjugate_symmetry: bool = True
    minimum_step: float = 1e-3
    maximum_step: float = 0.1
    form: str = "auto"

    def initial(self, batch: int) -> Number:
        """h₀ = 0, as real and imaginary part, float32[batch, states kept]."""
        shape = (batch, self._kept())
        return jnp.zeros(shape), jnp.zeros(shape)

    @nn.compact
    def __call__(self, carry: Number, x: jax.Array, start: jax.Array) -> tuple[Number, jax.Array]:
        """(h, x [T, B, width], start [T, B]) -> (h, y [T, B, width])."""
        kept = self._kept()
        frequency, vectors = hippo(self.states // self.blocks)
        # The half of a block's spectrum whose frequencies are positive stands last.
        first = (self.states - kept) // self.blocks
        frequency, vectors = frequency[first:], vectors[:, first:]
        log_rate = self.param("log_rate", lambda key: jnp.full(kept, np.log(0.5)))
        turn = self.param("frequency", lambda key: jnp.asarray(np.tile(frequency, self.blocks), jnp.float32))
        log_step = self.param("log_step", self._draw_log_step, (kept,))
        # The bounds keep products of the two finite; no trained value comes near them.
        eigenvalue = -jnp.exp(jnp.clip(log_rate, -20.0, 20.0)), turn
        decay, gain = discretise(eigenvalue, jnp.exp(jnp.clip(log_step, -20.0, 20.0)), self.discretisation)

        into = self.param("B", self._draw_input, vectors)
        out = self.param("C", self._draw_output, vectors)
        skip = self.param("D", nn.initializers.normal(1.0), (self.width,))
        g_real, g_imaginary = (part[None] for part in gain)
        into = (g_real * into[0] - g_imaginary * into[1], g_real * into[1] + g_imaginary * into[0])
        drive = tuple((x @ part.astype(x.dtype)).astype(jnp.float32) for part in into)
        decay = tuple(part[None, None] for part in decay)
        real, imaginary = scan.linear_scan(decay, drive, start, carry, self.form)
        out = (2.0 if self.conjugate_symmetry else 1.0) * out
        y = real @ out[0] - imaginary @ out[1] + skip[None, None] * x.astype(jnp.float32)
        return (real[-1], imaginary[-1]), y.astype(x.dtype)

    def _kept(self) -> int:
        """Number of states that are stepped."""
        halves = 2 if self.conjugate_symmetry else 1
        if self.states < 1 or self.states % (halves * self.blocks):
            raise ValueError(
                f"states={self.states}; with blocks={self.blocks} there are multiples of {halves * self.blocks}"
            )
        return self.states // halves

    def _draw_log_step(self, key, shape):
        return jax.random.uniform(key, shape, minval=np.log(self.minimum_step), maxval=np.log(self.maximum_step))

    def _draw_input(self, key, vectors):
        """Vᴴ B block by block, float32[2, width, states kept]."""
        b = nn.initializers.lecun_normal()(key, (self.width, self.states)).reshape(self.width, self.blocks, -1)
        parts = [jnp.einsum("wjn,nk->wjk", b, part) for part in (vectors.real, -vectors.imag)]
        return jnp.stack(parts).reshape(2, self.width, -1).astype(jnp.float32)

    def _draw_output(self, key, vectors):
        """C V block by block, transposed, float32[2, states kept, width]."""
        keys = jax.random.split(key)
        planes = [nn.initializers.lecun_normal()(key, (self.states, self.width)) for key in keys]
        real, imaginary = (plane.reshape(self.blocks, -1, self.width) for plane in planes)
        times = functools.partial(jnp.einsum, "nk,jnw->jkw")
        parts = [
            times(vectors.real, real) - times(vectors.imag, imaginary),
            times(vectors.real, imaginary) + times(vectors.imag, real),
        ]
        return jnp.stack(parts).reshape(2, -1, self.width).astype(jnp.float32)


@functools.cache
def hippo(size: int) -> tuple[np.ndarray, np.ndarray]:
    """The spectrum of the normal part of HiPPO-LegS (Gu et al. 2020, arXiv 2008.07669).

        Aₙₖ = -√((2n+1)(2k+1)) below the diagonal, -(n+1) on it, 0 above        pₙ = √(n + 1/2)
        A + p pᵀ = V diag(-1/2 + i ω) Vᴴ

    Args:
      size: of A.

    Returns:
      ω float64[size], ascending, and V complex128[size, size], unitary.
    """
    n = np.arange(size)
    legendre = -np.tril(np.sqrt(np.outer(2 * n + 1, 2 * n + 1)), -1) - np.diag(n + 1.0)
    p = np.sqrt(n + 0.5)
    skew = legendre + np.outer(p, p) + 0.5 * np.eye(size)
    return np.linalg.eigh(-1j * skew)


def discretise(eigenvalue: Number, step: jax.Array, method: str) -> tuple[Number, Number]:
    """From ẋ = λ x + u to xₜ = λ̄ xₜ₋₁ + g uₜ with samples Δ apart.

        zoh         λ̄ = exp(λΔ)                        g = (λ̄ - 1) / λ
        bilinear    λ̄ = (1 + λΔ/2) / (1 - λΔ/2)        g = Δ / (1 - λΔ/2)

    Args:
      eigenvalue: λ as a pair, [N]; the real part is negative.
      step: Δ, [N].
      method: "zoh" or "bilinear".

    Returns:
      λ̄ and g as pairs, [N]; |λ̄| is held below 1 - 1e-6, which rounding could otherwise take to 1.

    Raises:
      ValueError: there is no such method.
    """
    real, imaginary = eigenvalue[0] * step, eigenvalue[1] * step
    if method == "zoh":
        radius = jnp.exp(real)
        decay = radius * jnp.cos(imaginary), radius * jnp.sin(imaginary)
        # λ̄ - 1 without the cancellation at small steps.
        rise = jnp.expm1(real) * jnp.cos(imaginary) - 2.0 * jnp.sin(0.5 * imaginary) ** 2, decay[1]
        gain = _divide(rise, eigenvalue)
    elif method == "bilinear":
        below = 1.0 - 0.5 * real, -0.5 * imaginary
        decay = _divide((1.0 + 0.5 * real, 0.5 * imaginary), below)
        gain = _divide((step, jnp.zeros_like(step)), below)
    else:
        raise ValueError(f"discretisation={method!r}; there are bilinear, zoh")
    shrink = jnp.minimum(1.0, (1.0 - 1e-6) * jax.lax.rsqrt(decay[0] ** 2 + decay[1] ** 2 + 1e-30))
    return tuple(shrink * part for part in decay), gain


def _divide(x: Number, y: Number) -> Number:
    # By the larger part first: the square of a rate of 1e-9 would leave few digits.
    largest = jnp.maximum(jnp.abs(y[0]), jnp.abs(y[1]))
    real, imaginary = y[0] / largest, y[1] / largest
    norm = (real**2 + imaginary**2) * largest
    return (x[0] * real + x[1] * imaginary) / norm, (x[1] * real - x[0] * imaginary) / norm
