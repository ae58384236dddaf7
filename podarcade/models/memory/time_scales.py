"""Time constants of memory layers at initialisation: one distribution for all layers.

A state with decay λ per step keeps the part |λ|ᵏ = exp(-k / τ) of its content for k steps, where τ = -1 / log|λ| is its
time constant in steps. A layer whose option `init_horizon` is h > 0 gives its n states the time constants

    τᵢ = h (2 / h)^(i / (n - 1))        i = 0 .. n - 1        τ₀ = h for n = 1

from h down to 2, evenly spaced on a logarithmic scale: every octave gets the same share of the states, so the slowest
keep a token for h steps and a third of the states stays below 16 steps even at h = 1000. Of times spaced evenly, which
chrono initialisation draws from, it would be one in seventy. Time constants do not depend on the seed.

Time constants become parameters as follows.

    radius        |λ| = exp(-r)                     r = 1 / τ
    step size     |λ| = exp(Re(λ_c) Δ)              Δ = -1 / (Re(λ_c) τ)
    forget gate   λ = sigmoid(u + b)                b = -log(exp(1 / τ) - 1), about log(τ - 1/2)

The gate has this decay at an input of u = 0. The bias is that of chrono initialisation, log(τ - 1) (Tallec and Ollivier
2018, arXiv 1804.11188, section 2), up to half a step: there the time constant of a gate is 1 / (1 - λ). As in that
paper, the bias of a separate input gate is -b.
"""

import numpy as np

MINIMUM, MAXIMUM = 2.0, 1e6  # steps; beyond, decays are not told apart from 1 in float32


def time_constants(size: int, horizon: float) -> np.ndarray:
    """Return the time constants of `size` states in steps, float32[size], from the longest to the shortest.

    Args:
      size: number of states, n.
      horizon: longest time constant, h.

    Raises:
      ValueError: `horizon` is out of range.
    """
    if not MINIMUM <= horizon <= MAXIMUM:
        raise ValueError(
            f"memory.init_horizon={horizon}; expected 0 (the layer's own initialisation) or >= 2 and <= 1e6 steps"
        )
    return np.geomspace(horizon, MINIMUM, size).astype(np.float32)


def forget_bias(size: int, horizon: float) -> np.ndarray:
    """Return the biases of forget gates, whose decays at zero input have `time_constants`, float32[size].

    Args:
      size: number of gates.
      horizon: longest time constant in steps.

    Raises:
      ValueError: `horizon` is out of range.
    """
    return -np.log(np.expm1(1.0 / time_constants(size, horizon)))
