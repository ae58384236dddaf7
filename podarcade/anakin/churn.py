"""Policy churn: how many greedy decisions a change of the parameters changes (Schaul et al. 2022, arXiv 2206.00730).

    churn = mean over x of 1[ argmaxₐ y'(x, a) ≠ argmaxₐ y(x, a) ]

y and y' are action values or logits before and after the change, at the same states x: slots of a minibatch that the
loss weights. Resets, padding and burn-in do not count. Both networks are run from the carry of the minibatch, each
through the burn-in with its own parameters. A continuous action, the mean μ of a Gaussian policy, always changes: there

    churn = mean over x of Σₐ | μ'(x, a) - μ(x, a) | / σ(x, a)

is its L1 change in standard deviations. States are summed over the mesh before any division, because masks make the
counts of devices differ.

Training is the same up to rounding, and not always to the last bit: that the old parameters or the drawn batch are read
once more is enough for XLA to compile the gradient step of DQN differently, behind a barrier or in a branch as well. On
the CPU of the tests PQN and PPO keep all bits, and parameters of DQN differ by 2e-7.
"""

from typing import Any

import jax
import jax.numpy as jnp

from podarcade.actions import is_near_tie
from podarcade.algorithms import Algorithm, Params
from podarcade.anakin import sharding
from podarcade.types import Batch

Sums = dict[str, jax.Array]


def decisions(algorithm: Algorithm, params: Params, batch: Batch) -> dict[str, jax.Array]:
    """Return the named outputs of the network at the training slots of a drawn batch, leaves [T, B, ...]."""
    slots = algorithm.training_slots(params, batch)
    return algorithm.named_outputs(algorithm.apply(params, slots)[1])


def count(before: dict[str, jax.Array], after: dict[str, jax.Array], weights: jax.Array) -> Sums:
    """Count the decisions that differ.

    Args:
      before: named outputs: "q" or "logits", float32[T, B, n], or "mean" and "log_std", float32[T, B, A].
      after: the same, of the other parameters.
      weights: float32[T, B]; states of weight 0 do not count, all others count once.

    Returns:
      Discrete actions: int32[] {"states", "flips", "clear_states", "clear_flips"}; a state is clear unless its choice
      was a near-tie before, see `actions.is_near_tie`. Continuous ones: {"states", "shift": float32[], the
      sum of the changes}.

    Raises:
      ValueError: there are no such outputs, or their slots are not those of the weights.
    """
    name = next((name for name in ("q", "logits", "mean") if name in before), None)
    if name is None:
        given = f"outputs {', '.join(before)}; expected logits, q or mean"
        raise ValueError(f"churn=true: {given}: override Algorithm.named_outputs")
    one, other, counted = before[name], after[name], weights > 0
    if one.shape[:2] != weights.shape:
        given = f"outputs at slots {one.shape[:2]}, but weights of slots {weights.shape}"
        raise ValueError(f"churn=true: {given}; override Algorithm.training_slots to return the slots of the weights")
    states = {"states": _number(counted)}
    if name == "mean":
        change = jnp.sum(jnp.abs(other - one) * jnp.exp(-before["log_std"]), axis=-1)
        return states | {"shift": jnp.sum(jnp.where(counted, change, 0.0))}
    flipped = counted & (jnp.argmax(one, axis=-1) != jnp.argmax(other, axis=-1))
    clear = counted & ~is_near_tie(one)
    return states | {"flips": _number(flipped), "clear_states": _number(clear), "clear_flips": _number(flipped & clear)}


def fractions(sums: Sums) -> dict[str, jax.Array]:
    """Return churn, float32[], from sums over all devices; NaN where there is no state, or no flip.

    Returns:
      {"": churn} and, for discrete actions, {"clear": churn of clear states only, "near_ties": the fraction of flips in
      the other states}.
    """
    states = sums["states"]
    if "shift" in sums:
        return {"": sums["shift"] / states}
    flips, clear_flips = sums["flips"], sums["clear_flips"]
    clear = _ratio(clear_flips, sums["clear_states"])
    return {"": _ratio(flips, states), "clear": clear, "near_ties": _ratio(flips - clear_flips, flips)}


def metrics(update: Sums, steps: Sums, kept: jax.Array) -> dict[str, Any]:
    """Return the metrics of an update by name.

    Args:
      update: this device's counts of the probe, between the parameters before and after the update.
      steps: this device's counts of each gradient step, leaves [steps].
      kept: bool[steps], gradient steps that count.

    Returns:
      `churn`, `churn_clear`, `churn_near_ties` of the update; `churn_step`, `churn_step_clear`, `churn_step_near_ties`
      over the states of all gradient steps, which is the mean over steps where these have equally many states.
    """
    steps = jax.tree.map(lambda x: jnp.sum(jnp.where(kept, x, 0), dtype=x.dtype), steps)
    update, steps = sharding.total((update, steps))
    found = {"churn": fractions(update), "churn_step": fractions(steps)}
    return {f"{kind}_{name}".rstrip("_"): value for kind, by_name in found.items() for name, value in by_name.items()}


def _number(condition: jax.Array) -> jax.Array:
    return jnp.sum(condition, dtype=jnp.int32)


def _ratio(part: jax.Array, whole: jax.Array) -> jax.Array:
    return part.astype(jnp.float32) / whole.astype(jnp.float32)
