"""Returns: targets of value learning, as pure functions of [T, B] arrays."""

import jax
import jax.numpy as jnp


def lambda_returns(
    reward_t: jax.Array,
    terminal_t: jax.Array,
    truncated_t: jax.Array,
    v_t: jax.Array,
    discount: float,
    trace: float,
) -> jax.Array:
    """λ-returns that bootstrap through truncation and stop at termination.

        Gₜ₋₁ = rₜ + γ (1 - eₜ) [ (1 - λ cₜ) vₜ + λ cₜ Gₜ ],     cₜ = 1 - max(eₜ, uₜ),     G_T = v_T

    with eₜ = 1 where the step to t ended the episode and uₜ = 1 where it was cut there: vₜ is then the value of
    the episode's true last observation, which has a slot of its own. With vₜ = maxₐ Q(sₜ, a) this is the
    target of PQN (Gallici et al. 2024, Peng's form: the trace is not cut at exploratory
    actions); λ = 0 gives one-step Q-learning, λ = 1 the bootstrapped Monte-Carlo return. The recursion is
    affine in G, so it runs as a reversed associative scan.

    Args:
      reward_t: rₜ for t in 1..T, float32[T, B].
      terminal_t: eₜ, bool[T, B].
      truncated_t: uₜ, bool[T, B].
      v_t: vₜ, float32[T, B].
      discount: γ in [0, 1].
      trace: λ in [0, 1].

    Returns:
      G for t in 0..T-1, float32[T, B]. Where the observation at t is the last of its episode
      the value is meaningless: that transition is no experience.

    Raises:
      ValueError: the arrays are not of one shape [T, B].
    """
    _check_shapes("lambda_returns", reward_t, terminal_t, truncated_t, v_t)
    discount_t = discount * (1.0 - terminal_t)
    trace_t = trace * (1.0 - (terminal_t | truncated_t))
    slope = discount_t * trace_t
    offset = reward_t + discount_t * (1.0 - trace_t) * v_t
    slope, offset = jax.lax.associative_scan(_compose, (slope, offset), reverse=True)
    return offset + slope * v_t[-1:]


def gae(
    reward_t: jax.Array,
    terminal_t: jax.Array,
    truncated_t: jax.Array,
    v_tm1: jax.Array,
    discount: float,
    trace: float,
) -> jax.Array:
    """Generalised advantages (Schulman et al. 2016, arXiv 1506.02438), through truncation and up to termination.

        δₜ₋₁ = rₜ + γ (1 - eₜ) vₜ - vₜ₋₁,        Aₜ₋₁ = δₜ₋₁ + γ λ cₜ Aₜ,     cₜ = 1 - max(eₜ, uₜ),     A_T = 0

    which is the λ-return less the value.

    Args:
      reward_t: rₜ for t in 1..T, float32[T, B].
      terminal_t: eₜ, bool[T, B].
      truncated_t: uₜ, bool[T, B].
      v_tm1: vₜ for t in 0..T, float32[T + 1, B].
      discount: γ in [0, 1].
      trace: λ in [0, 1].

    Returns:
      A for t in 0..T-1, float32[T, B]; meaningless where `lambda_returns` is.

    Raises:
      ValueError: the arrays are not of these shapes.
    """
    return lambda_returns(reward_t, terminal_t, truncated_t, v_tm1[1:], discount, trace) - v_tm1[:-1]


def n_step_returns(
    reward_t: jax.Array,
    terminal_t: jax.Array,
    truncated_t: jax.Array,
    v_t: jax.Array,
    discount: float,
    steps: int,
) -> jax.Array:
    """n-step returns that bootstrap through truncation and stop at termination (Sutton and Barto 2018, section 7.1).

        Gₜ = rₜ₊₁ + γ rₜ₊₂ + ... + γᵏ⁻¹ rₜ₊ₖ + γᵏ (1 - eₜ₊ₖ) vₜ₊ₖ

    where k is n, or less: the number of steps to a termination, a truncation or the end of the arrays.

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
      ValueError: the arrays are not of one shape [T, B].
    """
    _check_shapes("n_step_returns", reward_t, terminal_t, truncated_t, v_t)
    cut = (terminal_t | truncated_t).at[-1].set(True)
    discount_t = discount * (1.0 - terminal_t)

    def longer(_, shorter: jax.Array) -> jax.Array:
        """A step, and then the return of one step less, where there is one."""
        return reward_t + discount_t * jnp.where(cut, v_t, jnp.roll(shorter, -1, axis=0))

    return jax.lax.fori_loop(1, min(steps, len(reward_t)), longer, reward_t + discount_t * v_t)


def signed_hyperbolic(x: jax.Array, epsilon: float = 1e-3) -> jax.Array:
    """h(x) = sign(x) (√(|x| + 1) - 1) + ε x: large values on a scale that is easy to learn (Pohlen et al. 2018)."""
    return jnp.sign(x) * (jnp.sqrt(jnp.abs(x) + 1) - 1) + epsilon * x


def signed_parabolic(x: jax.Array, epsilon: float = 1e-3) -> jax.Array:
    """h⁻¹(x) = sign(x) ( ((√(1 + 4 ε (|x| + 1 + ε)) - 1) / (2 ε))² - 1 ), the inverse of `signed_hyperbolic`."""
    # (√(1 + y) - 1) / 2ε with y = 4 ε (...) loses digits in float32; y / (√(1 + y) + 1) / 2ε is the same and does not.
    part = 2 * (jnp.abs(x) + 1 + epsilon) / (jnp.sqrt(1 + 4 * epsilon * (jnp.abs(x) + 1 + epsilon)) + 1)
    return jnp.sign(x) * (jnp.square(part) - 1)


def misplaced_values(v_t: jax.Array, terminal_t: jax.Array) -> jax.Array:
    """The values that the released feed-forward trainers bootstrap from: one of them is another step's.

        v'_{T-1} = (1 - e_T) v_T,     v'ₜ = vₜ elsewhere

    With them the recursion begins as in purejaxql's Gymnax and MinAtar trainers and POPGym Arcade's PQN and DQN:
    the target of the last but one transition errs by γ (1 - e_{T-1}) (1 - λ) (v'_{T-1} - v_{T-1}), and earlier ones by
    γλ of the one after them. It is here for comparisons.

    Args:
      v_t: vₜ for t in 1..T, float32[T, B].
      terminal_t: eₜ, bool[T, B].

    Returns:
      float32[T, B].
    """
    if len(v_t) < 2:
        return v_t
    return v_t.at[-2].set((1.0 - terminal_t[-1]) * v_t[-1])


def _check_shapes(name: str, *arrays: jax.Array) -> None:
    shapes = {x.shape for x in arrays}
    if len(shapes) != 1 or arrays[0].ndim != 2:
        raise ValueError(f"{name} takes arrays of one shape [T, B]; got {sorted(shapes)}")


def _compose(later, earlier):
    """(a, b) stands for G ↦ a G + b; the reversed scan hands over the later stretch first."""
    (slope_later, offset_later), (slope, offset) = later, earlier
    return slope * slope_later, slope * offset_later + offset
