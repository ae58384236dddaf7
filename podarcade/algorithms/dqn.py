"""Deep Q-Network with replay and a target network (Mnih et al. 2015), double (van Hasselt et al. 2016), recurrent."""

import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from podarcade.algorithms import returns
from podarcade.algorithms.buffers import ReplayBuffer
from podarcade.algorithms.pqn import PQN, transition_errors
from podarcade.types import Trajectory

RETURNS = ("n_step", "lambda")


@dataclasses.dataclass(frozen=True)
class DQN(PQN):
    """ε-greedy rollouts into a ring, regression on returns by a slow copy of the network, over replayed windows.

        L = ½ mean w ( Q(sₜ, aₜ) - h(Gₜ) )²,     vₜ = h⁻¹( Q'(sₜ, argmaxₐ Q(sₜ, a)) ),      θ' ← θ' + τ (θ - θ')

    Gₜ is the n-step or the λ-return that bootstraps from v; w are the importances of the windows, h rescales values
    or is the identity, and θ' follows after every gradient step. Windows are whole rollouts with W slots of burn-in,
    which both networks run from the memory that actors had there, from zero, or, `recomputed`, from a rollout earlier
    (as R2D2: Kapturowski et al. 2019; rollout_length=40, burn_in=40, carry=stored, steps=5, rescale and priority_exponent=0.9
    come near it). A window is drawn for every `minibatches` environments, and `epochs` is the replay ratio.

    Attributes:
      capacity: of the ring, in transitions of all environments together.
      returns: "n_step" or "lambda".
      n_steps: n of the n-step returns; `td_lambda` is λ of the others.
      double: whether the trained network chooses the action that the slow one values, or that one by itself.
      target_rate: τ.
      rescale_values: whether values are trained on the scale of `returns.signed_hyperbolic`.
      priority_exponent: α of `replay.ReplayBuffer`, 0 for even sampling.
      importance_exponent: β, how far the loss makes up for priorities.
      priority_mix: η.
    """

    QUIRKS: ClassVar[tuple[str, ...]] = ("epsilon_horizon", "off_by_one", "frozen_targets")

    capacity: int = 100_000
    returns: str = "n_step"
    n_steps: int = 5
    double: bool = True
    target_rate: float = 0.005
    rescale_values: bool = False
    priority_exponent: float = 0.0
    importance_exponent: float = 0.6
    priority_mix: float = 0.9

    def __post_init__(self):
        super().__post_init__()
        self.check_choices(returns=RETURNS)
        self.check_between(0, 1, "target_rate", "priority_exponent", "importance_exponent", "priority_mix")
        if self.n_steps < 1:
            raise ValueError(f"algorithm.n_steps={self.n_steps}; give at least 1")
        if self.compat.frozen_targets and (self.rescale_values or self.returns != "lambda"):
            raise ValueError("compat.frozen_targets has λ-returns as they are: returns=lambda, rescale_values=false")

    @property
    def buffer(self) -> ReplayBuffer:
        """A ring, drawn from anew in each gradient step."""
        return ReplayBuffer(
            num_epochs=self.num_epochs,
            num_minibatches=self.num_minibatches,
            capacity=self.capacity,
            length=self.rollout_length,
            burn_in=self.burn_in,
            recompute_blocks=int(super().effective_carry_init == "recomputed"),
            stores_carry=self.effective_carry_init == "stored",
            priority_exponent=self.priority_exponent,
            importance_exponent=self.importance_exponent,
            priority_mix=self.priority_mix,
        )

    @property
    def effective_carry_init(self) -> str:
        """As the ring keeps it: what is recomputed is so when a window is drawn, from the actors' memory."""
        return "zero" if super().effective_carry_init == "zero" else "stored"

    def init_target(self, params: Any) -> Any:
        """A copy of the parameters; none where targets are frozen."""
        return None if self.compat.frozen_targets else jax.tree.map(jnp.copy, params)

    def update_target(self, target: Any, params: Any) -> Any:
        """θ' + τ (θ - θ'); nothing where targets are frozen."""
        if self.compat.frozen_targets:
            return None
        return jax.tree.map(lambda slow, fast: slow + self.target_rate * (fast - slow), target, params)

    def prepare(self, params: Any, batch: Trajectory) -> Any:
        """With `compat.frozen_targets` the λ-returns, by the network that acted, that are never computed anew."""
        if not self.compat.frozen_targets:
            return None
        batch = self.warm_up(params, batch)
        return {"target": self.lambda_returns(batch, self.values(params, batch))}

    def loss(
        self, params: Any, target: Any, batch: Trajectory, key: jax.Array
    ) -> tuple[jax.Array, jax.Array, dict[str, jax.Array]]:
        """Squared error to returns of the slow network, over the T slots of the windows' own rollouts."""
        window = self.warm_up(params, batch)
        values = self.values(params, window)
        goal = self._goal(values, target, batch) if batch.prepared is None else batch.prepared["target"]
        losses, weights, metrics = transition_errors(window, values, goal)
        return losses, weights * batch.importance[None], metrics

    def _goal(self, values: jax.Array, target: Any, batch: Trajectory) -> jax.Array:
        window = self.warm_up(target, batch)
        slow = self.values(target, window)
        chosen = jnp.argmax(values if self.double else slow, axis=-1, keepdims=True)
        best = jax.lax.stop_gradient(jnp.take_along_axis(slow, chosen, axis=-1)[..., 0])[1:]
        best = returns.signed_parabolic(best) if self.rescale_values else best
        best = returns.misplaced_values(best, window.terminal[1:]) if self.compat.off_by_one else best
        path = self.reward_scale * window.reward[1:], window.terminal[1:], window.truncated[1:], best, self.discount
        if self.returns == "lambda":
            goal = returns.lambda_returns(*path, self.td_lambda)
        else:
            goal = returns.n_step_returns(*path, self.n_steps)
        return returns.signed_hyperbolic(goal) if self.rescale_values else goal
