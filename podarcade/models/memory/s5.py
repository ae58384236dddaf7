"""The S5 layer: a diagonal multi-input, multi-output state space (Smith et al. 2023, arXiv 2208.04933)."""

import functools
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from podarcade.models.memory import Memory, scan, time_scales
from podarcade.models.memory.scan import Number
from podarcade.ranges import POSITIVE, Range


class S5(Memory):
    """A stable diagonal linear system in continuous time, discretised with a learned step size per state.

        ẋ = Λ x + B̃ u        →        hₜ = λ̄ ⊙ hₜ₋₁ + g ⊙ (B̃ xₜ)             λ̄, g from `discretise`
                                      yₜ = 2 Re(C̃ hₜ) + D ⊙ xₜ              without the 2 if all states are kept

    The real part of an eigenvalue is -exp(ρ) with a trained ρ, so it stays negative throughout training; in the
    authors' code it is unconstrained, with optional clipping. Λ is initialised as `blocks` copies of the spectrum of
    `hippo`, whose eigenvectors V transform the initial matrices: B̃ = Vᴴ B and C̃ = C V, with B real and C complex,
    LeCun-normal; D is normal, and log Δ uniform between the logarithms of the two step sizes. At Re λ = -1/2 the
    half-life of the state is 1.4 / Δ steps.

    `conjugate_symmetry` keeps one of each pair of conjugate eigenvalues. Both contribute the same real part to y, hence
    the factor 2.

    Horizon at initialisation: relative gradient 1e-2 at k = 32, 5e-3 at k = 128.

    Attributes:
      states: P, before conjugate symmetry halves it; a multiple of `blocks`, and of 2 * `blocks` with symmetry. The
        carry takes 4 P bytes per environment with symmetry, 8 P without.
      blocks: J, the number of blocks in the initial Λ.
      discretisation: "zoh" (zero-order hold) or "bilinear".
      conjugate_symmetry: whether to keep half of the states.
      minimum_step: lower bound of Δ at initialisation; smaller for a longer horizon.
      maximum_step: upper bound of Δ at initialisation.
      init_horizon: longest initial time constant in steps (`time_scales`); 0 for the Δ above. Δ = 2/τ, in a random
        order over the frequencies; exact for "zoh".
      form: implementation of the scan, "auto" or one of FORMS.
    """

    RANGES: ClassVar[dict[str, Range]] = dict.fromkeys(("minimum_step", "maximum_step"), POSITIVE)
    FORMS: ClassVar[tuple[str, ...]] = scan.FORMS
    SIZE: ClassVar[str] = "states"

    states: int = 256
    blocks: int = 1
    discretisation: str = "zoh"
    conjugate_symmetry: bool = True
    minimum_step: float = 1e-3
    maximum_step: float = 0.1
    init_horizon: float = 0.0
    form: str = "auto"

    def initial(self, batch: int) -> Number:
        """Return h₀ = 0 as real and imaginary part, float32[batch, states kept] each."""
        shape = (batch, self._num_kept())
        return jnp.zeros(shape, jnp.float32), jnp.zeros(shape, jnp.float32)

    @nn.compact
    def __call__(self, carry: Number, x: jax.Array, start: jax.Array) -> tuple[Number, jax.Array]:
        """Map (h, x [T, B, width], start [T, B]) to (h, y [T, B, width])."""
        kept = self._num_kept()
        frequency, vectors = hippo(self.states // self.blocks)
        # Frequencies ascend, so the positive half of a block's spectrum comes last.
        first = (self.states - kept) // self.blocks
        frequency, vectors = frequency[first:], vectors[:, first:]
        log_rate = self.param("log_rate", lambda key: jnp.full(kept, np.log(0.5), jnp.float32))
        omega = self.param("frequency", lambda key: jnp.asarray(np.tile(frequency, self.blocks), jnp.float32))
        log_step = self.param("log_step", self._draw_log_step, (kept,))
        # The clips keep products of the two finite; trained values stay far from them.
        eigenvalue = -jnp.exp(jnp.clip(log_rate, -20.0, 20.0)), omega
        step = jnp.exp(jnp.clip(log_step, -20.0, 20.0))
        lambda_bar, gain = discretise(eigenvalue, step, self.discretisation)

        B_tilde = self.param("B", self._draw_B_tilde, vectors)
        C_tilde = self.param("C", self._draw_C_tilde, vectors)
        D = self.param("D", nn.initializers.normal(1.0, jnp.float32), (self.width,))
        g_real, g_imaginary = (part[None] for part in gain)
        B_bar = (g_real * B_tilde[0] - g_imaginary * B_tilde[1], g_real * B_tilde[1] + g_imaginary * B_tilde[0])
        drive = tuple((x @ part.astype(x.dtype)).astype(jnp.float32) for part in B_bar)
        lambda_bar = tuple(part[None, None] for part in lambda_bar)
        real, imaginary = scan.linear_scan(lambda_bar, drive, start, carry, self.form)
        C_tilde = (2.0 if self.conjugate_symmetry else 1.0) * C_tilde
        y = real @ C_tilde[0] - imaginary @ C_tilde[1] + D[None, None] * x.astype(jnp.float32)
        return (real[-1], imaginary[-1]), y.astype(x.dtype)

    def _num_kept(self) -> int:
        """Return the number of states in the recurrence."""
        multiple = self.blocks * (2 if self.conjugate_symmetry else 1)
        if self.states < 1 or self.states % multiple:
            expected = f"a multiple of {multiple} at memory.blocks={self.blocks}"
            raise ValueError(f"memory.states={self.states}; expected {expected}")
        return self.states // (2 if self.conjugate_symmetry else 1)

    def _draw_log_step(self, key, shape):
        if self.init_horizon:
            step = 2.0 / time_scales.time_constants(*shape, self.init_horizon)
            return jax.random.permutation(key, jnp.log(step))
        low, high = np.log(self.minimum_step), np.log(self.maximum_step)
        return jax.random.uniform(key, shape, jnp.float32, minval=low, maxval=high)

    def _draw_B_tilde(self, key, vectors):
        """Draw Vᴴ B block by block, float32[2, width, states kept]."""
        vectors = vectors.astype(np.complex64)
        B = nn.initializers.lecun_normal()(key, (self.width, self.states), jnp.float32)
        B = B.reshape(self.width, self.blocks, -1)
        parts = [jnp.einsum("wjn,nk->wjk", B, part) for part in (vectors.real, -vectors.imag)]
        return jnp.stack(parts).reshape(2, self.width, -1).astype(jnp.float32)

    def _draw_C_tilde(self, key, vectors):
        """Draw C V block by block, transposed, float32[2, states kept, width]."""
        vectors = vectors.astype(np.complex64)
        shape = self.states, self.width
        parts = [nn.initializers.lecun_normal()(key, shape, jnp.float32) for key in jax.random.split(key)]
        real, imaginary = (part.reshape(self.blocks, -1, self.width) for part in parts)
        times = functools.partial(jnp.einsum, "nk,jnw->jkw")
        parts = [
            times(vectors.real, real) - times(vectors.imag, imaginary),
            times(vectors.real, imaginary) + times(vectors.imag, real),
        ]
        return jnp.stack(parts).reshape(2, -1, self.width).astype(jnp.float32)


@functools.cache
def hippo(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the spectrum of the normal part of HiPPO-LegS (Gu et al. 2020, arXiv 2008.07669).

        Aₙₖ = -√((2n+1)(2k+1)) below the diagonal, -(n+1) on it, 0 above        pₙ = √(n + 1/2)
        A + p pᵀ = V diag(-1/2 + i ω) Vᴴ

    Args:
      size: number of rows of A.

    Returns:
      ω float64[size], ascending, and V complex128[size, size], unitary.
    """
    n = np.arange(size)
    legendre = -np.tril(np.sqrt(np.outer(2 * n + 1, 2 * n + 1)), -1) - np.diag(n + 1.0)
    p = np.sqrt(n + 0.5)
    skew = legendre + np.outer(p, p) + 0.5 * np.eye(size)
    return np.linalg.eigh(-1j * skew)


def discretise(eigenvalue: Number, step: jax.Array, method: str) -> tuple[Number, Number]:
    """Discretise ẋ = λ x + u to xₜ = λ̄ xₜ₋₁ + g uₜ at sampling interval Δ.

        zoh         λ̄ = exp(λΔ)                        g = (λ̄ - 1) / λ
        bilinear    λ̄ = (1 + λΔ/2) / (1 - λΔ/2)        g = Δ / (1 - λΔ/2)

    Args:
      eigenvalue: λ as a pair, [N]; the real part is negative.
      step: Δ, [N].
      method: "zoh" or "bilinear".

    Returns:
      λ̄ and g as pairs, [N]; |λ̄| is at most 1 - 1e-6, which rounding could otherwise take to 1.

    Raises:
      ValueError: unknown method.
    """
    real, imaginary = eigenvalue[0] * step, eigenvalue[1] * step
    if method == "zoh":
        radius = jnp.exp(real)
        lambda_bar = radius * jnp.cos(imaginary), radius * jnp.sin(imaginary)
        # λ̄ - 1 without cancellation at small steps.
        less_one = jnp.expm1(real) * jnp.cos(imaginary) - 2.0 * jnp.sin(0.5 * imaginary) ** 2, lambda_bar[1]
        gain = _divide(less_one, eigenvalue)
    elif method == "bilinear":
        denominator = 1.0 - 0.5 * real, -0.5 * imaginary
        lambda_bar = _divide((1.0 + 0.5 * real, 0.5 * imaginary), denominator)
        gain = _divide((step, jnp.zeros_like(step)), denominator)
    else:
        raise ValueError(f"memory.discretisation={method!r}; expected one of: bilinear, zoh")
    shrink = jnp.minimum(1.0, (1.0 - 1e-6) * jax.lax.rsqrt(lambda_bar[0] ** 2 + lambda_bar[1] ** 2 + 1e-30))
    return tuple(shrink * part for part in lambda_bar), gain


def _divide(x: Number, y: Number) -> Number:
    # Scaled by the larger part first: the square of a rate of 1e-9 would lose most digits.
    largest = jnp.maximum(jnp.abs(y[0]), jnp.abs(y[1]))
    real, imaginary = y[0] / largest, y[1] / largest
    norm = (real**2 + imaginary**2) * largest
    return (x[0] * real + x[1] * imaginary) / norm, (x[1] * real - x[0] * imaginary) / norm
