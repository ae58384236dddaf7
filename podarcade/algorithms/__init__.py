"""The Algorithm contract: how to act, and what to minimise."""

import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import optax

from podarcade.algorithms import schedules
from podarcade.algorithms.buffers import OnPolicyBuffer, ReplayBuffer, TransitionBuffer
from podarcade.algorithms.compat import Compat
from podarcade.models.networks import ActorCritic, QNetwork, Trunk
from podarcade.types import TimeStep, Trajectory

NO_QUIRKS = Compat()
COMMON_QUIRKS = ("stale_carry", "action_leak", "limit_is_terminal", "held_return")
CARRY_INITS = ("recomputed", "stored", "zero")
OPTIMISERS = {"radam": optax.radam, "adam": optax.adam, "sgd": lambda rate, eps: optax.sgd(rate)}


@dataclasses.dataclass(frozen=True)
class Algorithm:
    """One algorithm; a subclass lives in a file of its own.

    Its fields are the hyper-parameters, and their only defaults. It sees no mesh, no environment and no loop: the
    update owns those. All counts are global, over the whole mesh.

    Attributes:
      trunk: encoder and memory.
      num_actions: of the environment.
      rollout_length: T, environment steps per update and environment.
      burn_in: W, slots before the T that only warm the memory up: no gradient, no loss.
      carry_init: the memory that a sequence begins with: "recomputed", once per update, by the current parameters from the
        rollout before; "stored", as the actors had it, an update ago; or "zero", as at the start of an episode.
      num_epochs: passes over the rollout per update.
      num_minibatches: gradient steps per pass; each takes whole sequences of a share of the environments.
      optimiser: "radam", "adam" or "sgd", after clipping by global norm.
      optimiser_epsilon: what RAdam and Adam add to the root of the second moment.
      learning_rate: at the start of the schedule, which is the whole run unless the configuration says otherwise.
      learning_rate_end: from `learning_rate_fraction` of the schedule on; linear in between.
      learning_rate_fraction: see above.
      learning_rate_warm_up: fraction of the schedule over which the rate first rises from zero.
      max_gradient_norm: global norm that gradients are clipped to.
      discount: γ.
      compat: quirks of the released trainers.
    """

    QUIRKS: ClassVar[tuple[str, ...]] = ()  # names of those in `compat` that it has, besides the common ones

    trunk: Trunk
    num_actions: int = 5
    rollout_length: int = 64
    burn_in: int = 4
    carry_init: str = "recomputed"
    num_epochs: int = 2
    num_minibatches: int = 4
    optimiser: str = "radam"
    optimiser_epsilon: float = 1e-8
    learning_rate: float = 5e-4
    learning_rate_end: float = 5e-5
    learning_rate_fraction: float = 1.0
    learning_rate_warm_up: float = 0.0
    max_gradient_norm: float = 0.5
    discount: float = 0.99
    compat: Compat = NO_QUIRKS

    def __post_init__(self):
        for name in ("rollout_length", "num_epochs", "num_minibatches"):
            if getattr(self, name) < 1:
                raise ValueError(f"algorithm.{name}={getattr(self, name)}; give at least 1")
        if not 0 <= self.burn_in <= self.rollout_length:
            raise ValueError(f"algorithm.burn_in={self.burn_in}; give 0 to rollout_length={self.rollout_length}")
        self.check_choices(optimiser=OPTIMISERS, carry_init=CARRY_INITS)
        self.check_between(0, 1, "discount")
        has = (*COMMON_QUIRKS, *self.QUIRKS)
        for name, is_on in vars(self.compat).items():
            if is_on and name not in has:
                kind = type(self).__module__.rpartition(".")[2]
                raise ValueError(f"compat.{name} is no quirk of {kind}; it has {', '.join(has)}")
        if self.compat.stale_carry and self.carry_init == "zero":
            raise ValueError("compat.stale_carry begins sequences with a stored memory; turn it off for carry=zero")
        if self.compat.feed_forward and (self.burn_in or self.has_memory):
            raise ValueError("compat.feed_forward is of agents without memory; use memory=none and algorithm.burn_in=0")

    def check_choices(self, **choices: Any) -> None:
        """Raises ValueError unless each of these fields has one of its values."""
        for name, there_are in choices.items():
            if getattr(self, name) not in there_are:
                raise ValueError(f"algorithm.{name}={getattr(self, name)!r}; there are {', '.join(there_are)}")

    def check_between(self, low: float, high: float, *names: str) -> None:
        """Raises ValueError unless each of these fields lies between two numbers."""
        for name in names:
            if not low <= getattr(self, name) <= high:
                raise ValueError(f"algorithm.{name}={getattr(self, name)}; give {low} to {high}")

    @property
    def network(self) -> QNetwork | ActorCritic:
        """What the parameters are of: (carry, observation, previous, start), as `Trunk`, to a new carry and outputs."""
        raise NotImplementedError

    @property
    def buffer(self) -> OnPolicyBuffer | ReplayBuffer:
        """Which sequences gradient steps learn from: those of the rollout just made, unless said otherwise."""
        kind = TransitionBuffer if self.compat.feed_forward else OnPolicyBuffer
        return kind(self.num_epochs, self.num_minibatches)

    @property
    def effective_carry_init(self) -> str:
        """What sequences begin with, one of `CARRY_INITS`: nothing is kept for an agent that remembers nothing."""
        if not self.has_memory:
            return "zero"
        return "stored" if self.compat.stale_carry else self.carry_init

    @property
    def history(self) -> int:
        """Slots that are kept from before a rollout: the burn-in, and what the memory is recomputed from."""
        return self.burn_in + (self.rollout_length if self.effective_carry_init == "recomputed" else 0)

    @property
    def has_memory(self) -> bool:
        """Whether there is anything to carry from step to step."""
        return bool(jax.tree.leaves(jax.eval_shape(lambda: self.initial(1))))

    def init(self, key: jax.Array, timestep: TimeStep) -> Any:
        """Parameters, from a key and one unbatched time step."""
        observation, start = timestep.observation[None, None], timestep.start[None, None]
        return self.network.init(key, self.initial(1), observation, jnp.full((1, 1), -1), start)

    def initial(self, batch: int) -> Any:
        """The memory of `batch` fresh environments."""
        return self.network.initial(batch)

    def act(
        self, params: Any, carry: Any, timestep: TimeStep, previous: jax.Array, keys: jax.Array, exploration: jax.Array
    ) -> tuple[Any, jax.Array]:
        """Chooses actions for a batch.

        Args:
          params: parameters.
          carry: memory before this time step, [B, ...].
          timestep: fields [B, ...].
          previous: int32[B], the last actions, -1 at a start.
          keys: uint32[B, 2], one per environment.
          exploration: float32[], 0 acts greedily, 1 as randomly as the algorithm ever does, infinity evenly at random.

        Returns:
          The new carry and int32[B].
        """
        raise NotImplementedError

    def exploration(self, progress: jax.Array) -> jax.Array:
        """The `exploration` of rollouts after a fraction `progress` of the run, float32[]."""
        raise NotImplementedError

    def apply(self, params: Any, batch: Trajectory) -> tuple[Any, Any]:
        """The memory after all slots of a drawn batch, starting from `batch.carry`, and the outputs of the network."""
        return self.network.apply(params, batch.carry, batch.observation, batch.previous, batch.start)

    def warm_up(self, params: Any, batch: Trajectory) -> Trajectory:
        """The T + 1 last slots of a drawn batch, its carry brought up to them, without gradient."""
        first = len(batch.start) - self.rollout_length - 1
        if not first:
            return batch
        carry, _ = self.apply(jax.lax.stop_gradient(params), batch.slots(0, first))
        return batch.slots(first, None).replace(carry=jax.lax.stop_gradient(carry))

    def prepare(self, params: Any, batch: Trajectory) -> Any:
        """What is fixed before the gradient steps of an update, and comes back as `batch.prepared` in each of them.

        Args:
          params: that have acted.
          batch: drawn, W + T + 1 slots of some of the environments.

        Returns:
          A tree of float32[T, B], of the T slots that are learnt from.
        """
        return None

    def standardise(self, batch: Trajectory, mean: Callable[[jax.Array, jax.Array], jax.Array]) -> Trajectory:
        """The drawn batch of a gradient step, with what takes numbers of all devices' shares of it.

        Args:
          batch: this device's share.
          mean: (values, weights) [T, B] -> the weighted mean over all shares.
        """
        return batch

    def init_target(self, params: Any) -> Any:
        """What trails behind the parameters, to begin with; None where nothing does."""
        return None

    def update_target(self, target: Any, params: Any) -> Any:
        """What trails behind the parameters, after a gradient step."""
        return target

    def loss(
        self, params: Any, target: Any, batch: Trajectory, key: jax.Array
    ) -> tuple[jax.Array, jax.Array, dict[str, jax.Array]]:
        """What a gradient step minimises the mean of, weighted: `mesh.weighted_mean_gradient`.

        Args:
          params: parameters, the only argument that is differentiated.
          target: what trails behind them.
          batch: drawn, W + T + 1 slots long: burn-in, rollout, and one slot to bootstrap from. A replayed one may have
            more slots for its memory before those.
          key: uint32[2] for noise inside the loss.

        Returns:
          losses float32[T, B], weights float32[T, B] (0 where a transition is no experience), and
          metrics by name, float32[T, B], which are averaged with the same weights. With `compat.window_loss` there
          are W + T - 1 of them.
        """
        raise NotImplementedError

    def make_optimiser(self, gradient_steps: int) -> optax.GradientTransformation:
        """Clip by global norm, then the optimiser, on a schedule over `gradient_steps` in all."""

        def rate(step):
            progress = step / max(gradient_steps, 1)
            value = schedules.linear(progress, self.learning_rate, self.learning_rate_end, self.learning_rate_fraction)
            if self.learning_rate_warm_up:
                value *= schedules.linear(progress, 0.0, 1.0, self.learning_rate_warm_up)
            return value

        # One vector instead of a tree of small leaves: fewer operations to compile, and to launch.
        optimiser = optax.flatten(OPTIMISERS[self.optimiser](rate, eps=self.optimiser_epsilon))
        return optax.chain(optax.clip_by_global_norm(self.max_gradient_norm), optimiser)
