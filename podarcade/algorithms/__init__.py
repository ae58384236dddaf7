"""The Algorithm contract: how to act, and which loss to minimise."""

import dataclasses
from collections.abc import Callable, Collection
from typing import Any, ClassVar

import jax
import optax

from podarcade import actions, ranges
from podarcade.algorithms import optimisers
from podarcade.algorithms.buffers import OnPolicyBuffer, ReplayBuffer
from podarcade.models.networks import ActorCritic, QNetwork
from podarcade.models.trunks import Trunk, attention, encode
from podarcade.types import Batch, TimeStep

Params = dict[str, Any]
CARRY_INITS = ("recomputed", "stored", "zero")


@dataclasses.dataclass(frozen=True)
class Algorithm:
    """Base class of algorithms; each subclass lives in a file of its own.

    The fields are the hyper-parameters, and hold their only defaults. An algorithm sees no mesh, environment or loop;
    the update owns those. All counts are global, over the whole mesh.

    Parameters are a dict of named groups, such as {"q": ...}. Target parameters, where there are any, have the same
    groups. One loss covers all groups: where a term must not train a group, the algorithm stops its gradient.

    Attributes:
      trunk: encoder and memory layers, for the action space of the environment.
      rollout_length: T, environment steps per update and environment.
      burn_in: W, slots before the T training slots that only warm up the memory: no loss, no gradient.
      carry_init: initial recurrent state of each training sequence. "recomputed": once per update, with the current
        parameters, from the rollout before; "stored": as it was when acting, one update ago; "zero": the state at
        the start of an episode.
      num_epochs: passes over the rollout per update.
      num_minibatches: gradient steps per pass; each takes whole sequences of a share of the environments.
      optimiser: "radam", "adam" or "sgd", after clipping by global norm.
      optimiser_epsilon: added to the root of the second moment by RAdam and Adam.
      learning_rate: initial learning rate.
      learning_rate_end: learning rate from `learning_rate_fraction` of the schedule on; linear in between.
      learning_rate_fraction: fraction of the schedule over which the learning rate decays.
      learning_rate_warm_up: fraction of the schedule over which the learning rate is scaled up from zero.
      max_gradient_norm: global norm that gradients are clipped to, per parameter group.
      discount: γ.

    Raises:
      ValueError: an option is out of range, or the algorithm has no policy for this action space.
    """

    GROUP: ClassVar[str] = ""  # name of the parameter group of `network`
    STOCHASTIC: ClassVar[bool] = False  # whether the learnt policy is stochastic: then it is also evaluated sampled
    ACTIONS: ClassVar[tuple[type, ...]] = (actions.Discrete,)  # action spaces that it has a policy for
    RANGES: ClassVar[dict[str, ranges.Range]] = {
        "rollout_length": ranges.COUNT,
        "num_epochs": ranges.COUNT,
        "num_minibatches": ranges.COUNT,
        "optimiser_epsilon": ranges.NON_NEGATIVE,
        "learning_rate": ranges.NON_NEGATIVE,
        "learning_rate_end": ranges.NON_NEGATIVE,
        "learning_rate_fraction": ranges.FRACTION,
        "learning_rate_warm_up": ranges.UNIT,
        "max_gradient_norm": ranges.POSITIVE,
        "discount": ranges.UNIT,
    }
    # Options that only enter the program as numbers, so that runs which differ in them can share a program.
    VALUES: ClassVar[tuple[str, ...]] = (
        "optimiser_epsilon", "learning_rate", "learning_rate_end", "max_gradient_norm", "discount"
    )  # fmt: skip
    CHOICES: ClassVar[dict[str, Collection[str]]] = {"optimiser": optimisers.KINDS, "carry_init": CARRY_INITS}

    trunk: Trunk
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

    def __post_init__(self):
        if not isinstance(self.trunk.actions, self.ACTIONS):
            given = f"{type(self).__name__} needs discrete actions, but the environment has {self.trunk.actions}"
            raise ValueError(f"{given}; use algorithm=ppo")
        for name, allowed in ranges.inherited(type(self), "RANGES").items():
            ranges.check(f"algorithm.{name}", getattr(self, name), allowed)
        for name, choices in ranges.inherited(type(self), "CHOICES").items():
            if getattr(self, name) not in choices:
                given = f"algorithm.{name}={getattr(self, name)!r}"
                raise ValueError(f"{given}; expected one of: {', '.join(choices)}")
        if not 0 <= self.burn_in <= self.rollout_length:
            raise ValueError(
                f"algorithm.burn_in={self.burn_in}; expected 0 to algorithm.rollout_length={self.rollout_length}"
            )

    # Networks and parameters.

    @property
    def network(self) -> QNetwork | ActorCritic:
        """Network of parameter group `GROUP`, called as (carry, observation, previous_action, reward, start)."""
        raise NotImplementedError

    @property
    def has_memory(self) -> bool:
        """Whether the network has any recurrent state."""
        return bool(jax.tree.leaves(jax.eval_shape(lambda: self.initial(1))))

    def init(self, key: jax.Array, timestep: TimeStep) -> Params:
        """Initialise the parameters.

        Args:
          key: typed PRNG key.
          timestep: one unbatched time step with its observation.
        """
        first = jax.tree.map(lambda x: x[None, None], timestep)
        previous_action = self.trunk.actions.none(1, 1)
        return {
            self.GROUP: self.network.init(
                key, self.initial(1), first.observation, previous_action, first.reward, first.start
            )
        }

    def initial(self, batch: int) -> Any:
        """Return the recurrent state of `batch` environments at the start of an episode."""
        return self.network.initial(batch)

    def init_target(self, params: Params) -> Params | None:
        """Return the initial target-network parameters; None for algorithms without any."""
        return None

    def update_target(self, target: Params | None, params: Params) -> Params | None:
        """Return the target-network parameters after a gradient step."""
        return target

    def make_optimiser(self, gradient_steps: int) -> optax.GradientTransformation:
        """Return one optimiser chain per parameter group, with schedules over `gradient_steps` in all."""
        return optax.partition(self.make_chains(gradient_steps), lambda params: {name: name for name in params})

    def make_chains(self, gradient_steps: int) -> dict[str, optax.GradientTransformation]:
        """Return {group: optimiser chain}: clip by global norm, then the optimiser on its learning-rate schedule."""
        return {self.GROUP: optimisers.chain(self, gradient_steps)}

    def act(
        self,
        params: Params,
        carry: Any,
        timestep: TimeStep,
        previous_action: jax.Array,
        keys: jax.Array,
        exploration: jax.Array,
    ) -> tuple[Any, jax.Array, Any]:
        """Choose actions for B environments.

        Args:
          params: parameters.
          carry: recurrent state before this time step, [B, ...].
          timestep: time steps, fields [B, ...].
          previous_action: last actions, int32[B] or float32[B, A]; -1 or zeros at a start.
          keys: PRNG key data, one per environment.
          exploration: float32[]; 0 acts greedily, 1 explores as much as training ever does and samples a stochastic
            policy as it is, infinity acts uniformly at random.

        Returns:
          The new carry, actions int32[B] or float32[B, A], and what training needs of the acting policy.
        """
        raise NotImplementedError

    def initial_extras(self, batch: int) -> Any:
        """Return placeholders for the extras that `act` returns, leaves [batch]; None for none."""
        return None

    def exploration(self, progress: jax.Array) -> jax.Array:
        """Return the `exploration` of rollouts, float32[], after a fraction `progress` of the schedule."""
        raise NotImplementedError

    def initial_action(self, batch: int) -> jax.Array:
        """Return the previous action at the very first slots, int32[batch] or float32[batch, A]."""
        return self.trunk.actions.none(batch)

    def next_previous_action(self, previous_action: jax.Array, action: jax.Array, start: jax.Array) -> jax.Array:
        """Return the previous action of the next slots: none at a start.

        Args:
          previous_action: int32[B] or float32[B, A], previous action of these slots.
          action: likewise, action chosen in these slots.
          start: bool[B], whether the next slots start an episode.
        """
        return actions.select(start, self.trunk.actions.none(len(start)), action)

    # Training sequences.

    @property
    def buffer(self) -> OnPolicyBuffer | ReplayBuffer:
        """Which sequences gradient steps train on; the latest rollout by default."""
        return OnPolicyBuffer(self.num_epochs, self.num_minibatches)

    @property
    def effective_carry_init(self) -> str:
        """`carry_init`, or "zero" for agents without memory."""
        return self.carry_init if self.has_memory else "zero"

    @property
    def buffer_carry_init(self) -> str:
        """Carry of the sequences that enter the buffer, one of `CARRY_INITS`.

        It differs from `effective_carry_init` where a buffer recomputes carries when it samples.
        """
        return self.effective_carry_init

    @property
    def history_length(self) -> int:
        """H, slots kept from before a rollout: the burn-in, and what the carry is recomputed from."""
        return self.burn_in + (self.rollout_length if self.buffer_carry_init == "recomputed" else 0)

    def apply_step(self, params: Params, carry: Any, timestep: TimeStep, previous_action: jax.Array) -> tuple[Any, Any]:
        """Return the carry after one time step of B environments, and the outputs of the network, leaves [B, ...]."""
        now = timestep.observation, previous_action, timestep.reward, timestep.start
        carry, outputs = self.network.apply(params[self.GROUP], carry, *jax.tree.map(lambda x: x[None], now))
        return carry, jax.tree.map(lambda x: x[0], outputs)

    def named_outputs(self, outputs: Any) -> dict[str, jax.Array]:
        """Return the outputs of the network by name; values in units of the reward, where the algorithm scales them."""
        return {"outputs": outputs}

    def apply(self, params: Params, batch: Batch) -> tuple[Any, Any]:
        """Return the carry after all slots of a drawn batch, and the outputs of the network, leaves [L, B, ...]."""
        return self.network.apply(params[self.GROUP], batch.carry, *_inputs(batch))

    def encode(self, params: Params, batch: Batch) -> Any:
        """Return features of all observations of a drawn batch, which `apply` takes in place of the observations."""
        return encode(self.network, params[self.GROUP], batch.carry, *_inputs(batch))

    def attention(self, params: Params, batch: Batch) -> list[jax.Array]:
        """Return the attention weights of each layer that has any, float32[L, B, L]; see `trunks.attention`."""
        return attention(self.network, params[self.GROUP], batch.carry, *_inputs(batch))

    def apply_burn_in(self, params: Params, batch: Batch) -> Batch:
        """Run the slots before the last T + 1 without gradient; return the last T + 1 with the carry before them."""
        prefix = len(batch.slots.start) - self.rollout_length - 1
        if not prefix:
            return batch
        carry, _ = self.apply(jax.lax.stop_gradient(params), batch.time_slice(0, prefix))
        return batch.time_slice(prefix, None).replace(carry=jax.lax.stop_gradient(carry))

    def training_slots(self, params: Params, batch: Batch) -> Batch:
        """Return the slots of a drawn batch that the loss weights, with the carry before them: the T training slots."""
        return self.apply_burn_in(params, batch).time_slice(0, -1)

    def prepare(self, params: Params, batch: Batch) -> Any:
        """Compute what stays fixed during the gradient steps of an update; returned in `Batch.prepared`.

        Args:
          params: the parameters that acted.
          batch: drawn, W + T + 1 slots of some of the environments.

        Returns:
          A tree of float32[T, B] over the training slots, or None.
        """
        return None

    def standardise(self, batch: Batch, mean: Callable[[jax.Array, jax.Array], jax.Array]) -> Batch:
        """Normalise the minibatch with statistics reduced over all devices; the identity by default.

        Args:
          batch: this device's share of a drawn minibatch.
          mean: (values, weights) [T, B] -> weighted mean over all shares.
        """
        return batch

    def loss(
        self, params: Params, target: Params | None, batch: Batch
    ) -> tuple[jax.Array, jax.Array, dict[str, jax.Array]]:
        """Return the elementwise loss whose weighted mean a gradient step minimises.

        The mean over the mesh is taken by `sharding.weighted_mean_gradient`.

        Args:
          params: parameters; the only argument that is differentiated.
          target: target-network parameters.
          batch: drawn, W + T + 1 slots: burn-in, training slots, one slot to bootstrap from. Replayed sequences may
            have more slots in front, to recompute their carry from.

        Returns:
          losses float32[T, B], weights float32[T, B] (0 where a transition is masked), and metrics by name,
          float32[T, B], averaged with the same weights.
        """
        raise NotImplementedError

    def training_metrics(self, counts: Any, slots: int) -> dict[str, Any]:
        """Return algorithm-specific metrics of one host call, logged as `train/NAME`.

        Args:
          counts: `anakin.rollout.Counts` summed over the call, per seed, on the host.
          slots: number of slots that they are summed over.
        """
        return {}


def _inputs(batch: Batch) -> tuple[Any, ...]:
    slots = batch.slots
    return slots.observation, slots.previous_action, slots.reward, slots.start
