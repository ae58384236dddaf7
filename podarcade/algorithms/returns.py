"""Returns: targets of value learning, as pure functions of time-major [T, B] arrays."""

import jax
import jax.numpy as jnp


def lambda_returns(
    reward_t: jax.Array,
    terminal_t: jax.Array,
    truncated_t: jax.Array,
    v_t: jax.Array,
    discount: float,
    lambda_: float,
) -> jax.Array:
    """Return λ-returns that bootstrap through truncation and stop at termination.

        Gₜ₋₁ = rₜ + γ (1 - eₜ) [ (1 - λ cₜ) vₜ + λ cₜ Gₜ ],     cₜ = 1 - max(eₜ, uₜ),     G_T = v_T

    with eₜ = 1 where the step to t terminated the episode and uₜ = 1 where it truncated it: vₜ is then the value of the
    episode's true final observation, which has a slot of its own. With vₜ = maxₐ Q(sₜ, a) this is the target of PQN
    (Gallici et al. 2024; Peng's form: traces are not cut at exploratory actions); λ = 0 gives one-step Q-learning,
    λ = 1 the bootstrapped Monte-Carlo return. The recursion is affine in G, so it runs as a reversed associative scan.

    Args:
      reward_t: rₜ for t in 1..T, float32[T, B].
      terminal_t: eₜ, bool[T, B].
      truncated_t: uₜ, bool[T, B].
      v_t: vₜ, float32[T, B].
      discount: γ in [0, 1].
      lambda_: λ in [0, 1].

    Returns:
      G for t in 0..T-1, float32[T, B]. Where slot t is the final slot of an episode the value is meaningless, and the
      transition has to be masked.

    Raises:
      ValueError: the arrays do not share one shape [T, B].
    """
    _check_shapes("lambda_returns", reward_t, terminal_t, truncated_t, v_t)
    discount_t = discount * _complement(terminal_t)
    lambda_t = lambda_ * _complement(terminal_t | truncated_t)
    slope = discount_t * lambda_t
    offset = reward_t + discount_t * (1.0 - lambda_t) * v_t
    slope, offset = jax.lax.associative_scan(_compose, (slope, offset), reverse=True)
    return offset + slope * v_t[-1:]


def gae(
    reward_t: jax.Array,
    terminal_t: jax.Array,
    truncated_t: jax.Array,
    v_tm1: jax.Array,
    discount: float,
    lambda_: float,
) -> jax.Array:
    """Return generalised advantage estimates that bootstrap through truncation and stop at termination.

        δₜ₋₁ = rₜ + γ (1 - eₜ) vₜ - vₜ₋₁,        Aₜ₋₁ = δₜ₋₁ + γ λ cₜ Aₜ,     cₜ = 1 - max(eₜ, uₜ),     A_T = 0

    the λ-return minus the value (Schulman et al. 2016, arXiv 1506.02438).

    Args:
      reward_t: rₜ for t in 1..T, float32[T, B].
      terminal_t: eₜ, bool[T, B].
      truncated_t: uₜ, bool[T, B].
      v_tm1: vₜ for t in 0..T, float32[T + 1, B].
      discount: γ in [0, 1].
      lambda_: λ in [0, 1].

    Returns:
      A for t in 0..T-1, float32[T, B]; meaningless where `lambda_returns` is.

    Raises:
      ValueError: the arrays do not have these shapes.
    """
    return lambda_returns(reward_t, terminal_t, truncated_t, v_tm1[1:], discount, lambda_) - v_tm1[:-1]


def n_step_returns(
    reward_t: jax.Array,
    terminal_t: jax.Array,
    truncated_t: jax.Array,
    v_t: jax.Array,
    discount: float,
    steps: int,
) -> jax.Array:
    """Return n-step returns that bootstrap through truncation and stop at termination (Sutton and Barto 2018, 7.1).

        Gₜ = rₜ₊₁ + γ rₜ₊₂ + ... + γᵏ⁻¹ rₜ₊ₖ + γᵏ (1 - eₜ₊ₖ) vₜ₊ₖ

    where k is n, or the number of steps to the next termination, truncation or the end of the arrays if that is less.

    Args:
      reward_t: rₜ for t in 1..T, float32[T, B].
      terminal_t: eₜ, bool[T, B].
      truncated_t: uₜ, bool[T, B].
      v_t: vₜ, float32[T, B].
      discount: γ in [0, 1].
      steps: n, at least 1.

    Returns:
      G for t in 0..T-1, float32[T, B]; meaningless where `lambda_returns` is.

    Raises:
      ValueError: the arrays do not share one shape [T, B].
    """
    _check_shapes("n_step_returns", reward_t, terminal_t, truncated_t, v_t)
    cut = (terminal_t | truncated_t).at[-1].set(True)
    discount_t = discount * _complement(terminal_t)

    def extend(_, shorter: jax.Array) -> jax.Array:
        """Extend a k-step return to k + 1 steps where the path continues."""
        return reward_t + discount_t * jnp.where(cut, v_t, jnp.roll(shorter, -1, axis=0))

    return jax.lax.fori_loop(1, min(steps, len(reward_t)), extend, reward_t + discount_t * v_t)


def signed_hyperbolic(x: jax.Array, epsilon: float = 1e-3) -> jax.Array:
    """Return h(x) = sign(x) (√(|x| + 1) - 1) + ε x, which compresses large values (Pohlen et al. 2018)."""
    return jnp.sign(x) * (jnp.sqrt(jnp.abs(x) + 1) - 1) + epsilon * x


def signed_parabolic(x: jax.Array, epsilon: float = 1e-3) -> jax.Array:
    """Return h⁻¹(x) = sign(x) ( ((√(1 + 4 ε (|x| + 1 + ε)) - 1) / (2 ε))² - 1 ), the inverse of `signed_hyperbolic`."""
    # (√(1 + y) - 1) / 2ε with y = 4 ε (...) cancels in float32; the equal y / (√(1 + y) + 1) / 2ε does not.
    part = 2 * (jnp.abs(x) + 1 + epsilon) / (jnp.sqrt(1 + 4 * epsilon * (jnp.abs(x) + 1 + epsilon)) + 1)
    return jnp.sign(x) * (jnp.square(part) - 1)


def _check_shapes(name: str, *arrays: jax.Array) -> None:
    shapes = {x.shape for x in arrays}
    if len(shapes) != 1 or arrays[0].ndim != 2:
        raise ValueError(f"{name} got arrays of shapes {sorted(shapes)}; expected one shape [T, B]")


def _complement(flags: jax.Array) -> jax.Array:
    """Return 1 - x of bool flags, as float32."""
    return (~flags).astype(jnp.float32)


def _compose(later, earlier):
    """Compose affine maps G ↦ a G + b, given as (a, b); the reversed scan passes the later one first."""
    (slope_later, offset_later), (slope, offset) = later, earlier
    return slope * slope_later, slope * offset_later + offset
