"""Returns: targets of value learning, as pure functions of [T, B] arrays."""

import jax


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
    shapes = {x.shape for x in (reward_t, terminal_t, truncated_t, v_t)}
    if len(shapes) != 1 or reward_t.ndim != 2:
        raise ValueError(f"lambda_returns takes arrays of one shape [T, B]; got {sorted(shapes)}")
    discount_t = discount * (1.0 - terminal_t)
    trace_t = trace * (1.0 - (terminal_t | truncated_t))
    slope = discount_t * trace_t
    offset = reward_t + discount_t * (1.0 - trace_t) * v_t
    slope, offset = jax.lax.associative_scan(_compose, (slope, offset), reverse=True)
    return offset + slope * v_t[-1:]


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


def _compose(later, earlier):
    """(a, b) stands for G ↦ a G + b; the reversed scan hands over the later stretch first."""
    (slope_later, offset_later), (slope, offset) = later, earlier
    return slope * slope_later, slope * offset_later + offset
