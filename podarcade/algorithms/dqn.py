"""Deep Q-Network with replay and a target network (Mnih et al. 2015), double (van Hasselt et al. 2016), recurrent."""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp

from podarcade import ranges
from podarcade.algorithms import Params, returns
from podarcade.algorithms.buffers import ReplayBuffer
from podarcade.algorithms.pqn import PQN, td_loss
from podarcade.types import Batch

RETURNS = ("n_step", "lambda")


@dataclasses.dataclass(frozen=True)
class DQN(PQN):
    """ε-greedy rollouts into a replay buffer, regression on returns of a target network over replayed windows.

        L = ½ mean w ( Q(sₜ, aₜ) - h(Gₜ) )²,     vₜ = h⁻¹( Q'(sₜ, argmaxₐ Q(sₜ, a)) ),      θ' ← θ' + τ (θ - θ')

    Gₜ is the n-step return or λ-return that bootstraps from v, w the importance weight of the window, h the signed
    hyperbolic transform or the identity; θ' is updated after every gradient step. Windows are whole rollouts with W
    slots of burn-in, which both networks run from the stored carry, from zero, or, with `carry_init="recomputed"`,
    from one rollout earlier. One window is drawn per `num_minibatches` environments; `num_epochs` is the replay ratio.

    R2D2 (Kapturowski et al. 2019) is approximated by rollout_length=40, burn_in=40, carry_init=stored, n_steps=5,
    rescale_values=true, priority_exponent=0.9.

    Attributes:
      capacity: transitions in the buffer, over all environments.
      returns: "n_step" or "lambda".
      n_steps: n of the n-step returns; `td_lambda` is λ of the λ-returns.
      double: whether the online network selects the action that the target network evaluates.
      target_rate: τ.
      rescale_values: whether values are learned on the scale of `returns.signed_hyperbolic`.
      priority_exponent: α of `buffers.ReplayBuffer`, 0 for uniform sampling.
      importance_exponent: β, how far the loss corrects for priorities.
      priority_mix: η.
    """

    RANGES: ClassVar[dict[str, ranges.Range]] = {
        "capacity": ranges.COUNT,
        "n_steps": ranges.COUNT,
        "target_rate": ranges.UNIT,
        "priority_exponent": ranges.UNIT,
        "importance_exponent": ranges.UNIT,
        "priority_mix": ranges.UNIT,
    }
    VALUES: ClassVar[tuple[str, ...]] = ("target_rate",)
    CHOICES: ClassVar[dict[str, tuple[str, ...]]] = {"returns": RETURNS}

    capacity: int = 100_000
    returns: str = "n_step"
    n_steps: int = 5
    double: bool = True
    target_rate: float = 0.005
    rescale_values: bool = False
    priority_exponent: float = 0.0
    importance_exponent: float = 0.6
    priority_mix: float = 0.9

    @property
    def buffer(self) -> ReplayBuffer:
        """Replay buffer, sampled in each gradient step."""
        return ReplayBuffer(
            num_epochs=self.num_epochs,
            num_minibatches=self.num_minibatches,
            capacity=self.capacity,
            length=self.rollout_length,
            burn_in=self.burn_in,
            recompute_blocks=int(self.effective_carry_init == "recomputed"),
            stores_carry=self.buffer_carry_init == "stored",
            priority_exponent=self.priority_exponent,
            importance_exponent=self.importance_exponent,
            priority_mix=self.priority_mix,
        )

    @property
    def buffer_carry_init(self) -> str:
        """The buffer holds the carry of the actors; a recomputed one is recomputed when a window is sampled."""
        return "zero" if self.effective_carry_init == "zero" else "stored"

    def init_target(self, params: Params) -> Params | None:
        """Return a copy of the parameters."""
        return jax.tree.map(jnp.copy, params)

    def update_target(self, target: Params | None, params: Params) -> Params | None:
        """Return θ' + τ (θ - θ')."""
        return jax.tree.map(lambda target, online: target + self.target_rate * (online - target), target, params)

    def named_outputs(self, outputs: jax.Array) -> dict[str, jax.Array]:
        """Return {"q": action values in units of the reward}."""
        return super().named_outputs(returns.signed_parabolic(outputs) if self.rescale_values else outputs)

    def loss(
        self, params: Params, target: Params | None, batch: Batch
    ) -> tuple[jax.Array, jax.Array, dict[str, jax.Array]]:
        """Return squared errors to returns of the target network, over the training slots of the windows."""
        window = self.apply_burn_in(params, batch)
        values = self.values(params, window)
        losses, weights, metrics = td_loss(window.slots, values, self.targets(values, target, batch))
        return losses, weights * batch.importance[None], metrics

    def targets(self, values: jax.Array, target: Params | None, batch: Batch) -> jax.Array:
        """Return h(Gₜ) of the training slots, float32[T, B], without gradient.

        Args:
          values: Q of the training slots and the bootstrap slot by the online network, float32[T + 1, B, A].
          target: target-network parameters.
          batch: drawn, as `loss` gets it.
        """
        window = self.apply_burn_in(target, batch)
        slots, target_values = window.slots, self.values(target, window)
        selected_action = jnp.argmax(values if self.double else target_values, axis=-1, keepdims=True)
        v_t = jax.lax.stop_gradient(jnp.take_along_axis(target_values, selected_action, axis=-1)[..., 0])[1:]
        v_t = returns.signed_parabolic(v_t) if self.rescale_values else v_t
        v_t = self.bootstrap_values(v_t, slots.terminal[1:])
        path = self.reward_scale * slots.reward[1:], slots.terminal[1:], slots.truncated[1:], v_t, self.discount
        if self.returns == "lambda":
            target_return = returns.lambda_returns(*path, self.td_lambda)
        else:
            target_return = returns.n_step_returns(*path, self.n_steps)
        return returns.signed_hyperbolic(target_return) if self.rescale_values else target_return
