"""THE update: rollout, redraw, loss, gradient, mean over the mesh, optimiser. One pure function of the state."""

import copy
import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import struct
from jax.sharding import AbstractMesh, Mesh
from jax.sharding import PartitionSpec as P

from podarcade.algorithms import Algorithm, Params
from podarcade.algorithms.buffers import select_sequences
from podarcade.anakin import churn, finite, freezing, sharding
from podarcade.anakin.rollout import Counts, init_actors, init_history, rollout
from podarcade.envs.environment import Environment
from podarcade.envs.observability import Observability
from podarcade.types import Actors, Batch, Learner, State


@struct.dataclass
class Metrics:
    """Results of one update, per seed."""

    counts: Counts  # summed over environments and steps
    means: dict[str, jax.Array]  # float32, averaged over the gradient steps that were finite
    non_finite: finite.Report


@dataclasses.dataclass(frozen=True)
class Program:
    """A compiled update, state -> (state, metrics).

    Attributes:
      compiled: the program, which also takes the hyper-parameters that differ between seeds.
      values: these, {name: float32[S]}.
    """

    compiled: jax.stages.Compiled
    values: dict[str, jax.Array]

    def __call__(self, state: State) -> tuple[State, Metrics]:
        """Run it; the state is donated."""
        return self.compiled(state, self.values)


@dataclasses.dataclass(frozen=True)
class Updater:
    """The training update of a run: `compile` returns the program `State -> (State, Metrics)`.

    The fields are the static inputs of that program.

    Attributes:
      algorithm: policy and loss.
      environment: environment to step and draw.
      mesh: device mesh ("seed", "data"); an abstract one to trace only.
      num_envs: N, environments of one seed over all devices.
      total_updates: updates of the whole run.
      schedule_updates: updates over which schedules run; 0 for the whole run.
      observability: which environments show the partial twin, over time in updates; None leaves them as reset.
      frozen: names of modules whose parameters are not trained.
      churn: whether policy churn is measured, see `anakin.churn`; the training is the same.
      values: hyper-parameters that differ between the seeds, ((name, one value for each seed), ...); see
        `Algorithm.VALUES`.

    Raises:
      ValueError: `num_envs` does not fit the minibatches, the mesh or the buffer, or there is no such module.
    """

    algorithm: Algorithm
    environment: Environment
    mesh: Mesh | AbstractMesh
    num_envs: int
    total_updates: int
    schedule_updates: int = 0
    observability: Observability | None = None
    frozen: tuple[str, ...] = ()
    churn: bool = False
    values: tuple[tuple[str, tuple[float, ...]], ...] = ()

    def __post_init__(self):
        sharding.check_divisible(self.num_envs, self.algorithm.num_minibatches, self.mesh.shape["data"])
        self.algorithm.buffer.check(self.num_envs)
        if self.frozen:
            freezing.check(self.abstract_state(1).learner.params, self.frozen)

    @property
    def optimiser(self) -> optax.GradientTransformation:
        """Optimiser of the algorithm, on a schedule over gradient steps."""
        return self.algorithm.make_optimiser(self.schedule_length * self.gradient_steps)

    @property
    def gradient_steps(self) -> int:
        """Gradient steps of one update."""
        return self.algorithm.num_epochs * self.algorithm.num_minibatches

    @property
    def schedule_length(self) -> int:
        """Number of updates over which schedules run."""
        return self.schedule_updates or self.total_updates

    def init(self, seeds: jax.Array) -> State:
        """Create the state of runs with the given seeds, int32[S], directly in its final placement.

        A run depends on its own seed only, not on other seeds nor on the number of devices, up to rounding: the keys of
        each environment are folded from its global index.
        """
        shardings = sharding.shardings(self.mesh)
        return jax.jit(jax.vmap(self._init_one), out_shardings=shardings)(seeds)

    def abstract_state(self, seeds: int) -> State:
        """Return shapes, dtypes and shardings of the state of `seeds` runs without computing it."""
        shapes = jax.eval_shape(jax.vmap(self._init_one), jax.ShapeDtypeStruct((seeds,), jnp.int32))
        shardings = sharding.shardings(self.mesh)

        def place(part, placement):
            return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=placement), part)

        return State(**{name: place(part, getattr(shardings, name)) for name, part in vars(shapes).items()})

    def compile(self, state: State, updates: int) -> "Program":
        """Compile ahead of time the program of `updates` updates of all seeds. It donates its argument.

        Args:
          state: concrete or abstract state.
          updates: updates per call.

        Returns:
          state -> (state, metrics with leaves [S, updates]).
        """
        values = sharding.put_by_seed(self.mesh, {name: np.float32(value) for name, value in self.values})
        return Program(self.trace(state, updates).lower().compile(), values)

    def trace(self, state: State, updates: int) -> jax.stages.Traced:
        """Trace that program: (state, values {name: float32[S]}) -> (state, metrics).

        On a mesh of `sharding.abstract_mesh` it can be lowered for a platform that is not available.
        """

        def many(state: State, values: dict[str, jax.Array]) -> tuple[State, Metrics]:
            updater = self._with(values)
            return jax.lax.scan(lambda state, _: updater._update(state), state, None, updates)

        values = sharding.abstract_by_seed(self.mesh, {name: np.float32(value) for name, value in self.values})
        mapped = sharding.map_over(self.mesh, many, (sharding.SPECS, P("seed")), (sharding.SPECS, P("seed")))
        # Without explicit output shardings XLA places untouched leaves differently from the input.
        shardings = sharding.shardings(self.mesh), None
        return jax.jit(mapped, donate_argnums=0, out_shardings=shardings).trace(state, values)

    def _with(self, values: dict[str, jax.Array]) -> "Updater":
        """Return this updater with hyper-parameters that are traced numbers, float32[]."""
        if not values:
            return self
        # Copies, not `dataclasses.replace`: that would check ranges, and no traced number can be compared.
        algorithm, updater = copy.copy(self.algorithm), copy.copy(self)
        for name, value in values.items():
            object.__setattr__(algorithm, name, value)
        object.__setattr__(updater, "algorithm", algorithm)
        return updater

    def _init_one(self, seed: jax.Array) -> State:
        learner_key, params_key, actors_key = jax.random.split(jax.random.key(seed), 3)
        keys = jax.vmap(lambda index: jax.random.key_data(jax.random.fold_in(actors_key, index)))(
            jnp.arange(self.num_envs, dtype=jnp.int32)
        )
        actors = init_actors(self.algorithm, self.environment, keys)
        actors = actors.replace(history=init_history(self.algorithm, actors, self.algorithm.history_length))
        _, timestep = self.environment.reset(params_key)
        # One seed after the other: batches of matrices to factorise, as of orthogonal initialisations, can deadlock a
        # CPU of few cores (jaxlib 0.10): each holds one of XLA's threads while it waits for others to help.
        params = jax.custom_batching.sequential_vmap(self.algorithm.init)(params_key, timestep)
        learner = Learner(
            params=params,
            target=self.algorithm.init_target(params),
            opt_state=self.optimiser.init(params),
            key=jax.random.key_data(learner_key),
            updates=jnp.int32(0),
        )
        replay = self.algorithm.buffer.empty(jax.eval_shape(self._abstract_window, params, actors))
        # Checkpoints keep no weak types: with them, a new run would compile another program than a resumed one.
        state = State(learner=learner, actors=actors, replay=replay)
        return jax.tree.map(lambda x: jax.lax.convert_element_type(x, x.dtype), state)

    def _abstract_window(self, params: Params, actors: Actors) -> Batch:
        """Return a batch shaped like those the buffer gets; for abstract evaluation only."""
        length = self.algorithm.burn_in + self.algorithm.rollout_length + 1
        window = init_history(self.algorithm, actors, length)
        window = window.replace(slots=window.slots.map(lambda x: x.swapaxes(0, 1)))
        return window.replace(prepared=self.algorithm.prepare(params, self._draw(window)))

    def _update(self, state: State) -> tuple[State, Metrics]:
        """Run one update of one seed, on this device's share of the environments."""
        learner, buffer = state.learner, self.algorithm.buffer
        exploration = self.algorithm.exploration(learner.updates.astype(jnp.float32) / self.schedule_length)
        actors = self._select_twins(state.actors, learner.updates)
        actors, batch, counts = rollout(self.algorithm, self.environment, learner.params, actors, exploration)
        actors, batch = self._prepare_sequences(learner.params, actors, batch)
        experience = buffer.add(state.replay, batch)
        # Split in three, of which one is unused, so that streams equal those of recorded results.
        key, sample_key, _ = jax.random.split(jax.random.wrap_key_data(learner.key), 3)
        selection = buffer.sample(sample_key, experience, sharding.shard_index())

        def gradient_step(state: tuple[Learner, finite.Report], inputs):
            before, report = state
            selected, step = inputs
            batch = buffer.gather(experience, selected)
            drawn = self.algorithm.standardise(self._draw(batch), sharding.mean)
            gradient, means, losses = sharding.weighted_mean_gradient(self._loss, before.params, before.target, drawn)
            means |= {"gradient_norm": optax.tree.norm(gradient)}
            after = self._apply_gradient(before, gradient)
            learner, report, kept = finite.keep_finite(before, after, means, batch, report, step)
            changes = self._count_changes(before, learner.params, drawn)
            return (learner, report), (means, kept, buffer.priorities(*losses), changes)

        first = jax.tree.map(lambda x: x[0], selection)
        report = finite.empty(learner, jax.eval_shape(buffer.gather, experience, first))
        inputs = selection, jnp.arange(self.gradient_steps, dtype=jnp.int32)
        (learner, report), (means, kept, priorities, changes) = jax.lax.scan(gradient_step, (learner, report), inputs)
        learner, report, kept = finite.undo_overflow(state.learner, learner, report, kept)
        priorities = jax.tree.map(lambda x: jnp.where(kept[:, None], x, jnp.nan), priorities)
        learner = learner.replace(key=jax.random.key_data(key), updates=learner.updates + 1)
        means = {name: finite.mean(values, kept) for name, values in means.items()} | {"exploration": exploration}
        if self.observability is not None and len(self.observability.shares) > 1:
            partial = jnp.sum(actors.env.latent.partial, dtype=jnp.float32)
            means["partial"] = sharding.total(partial) / self.num_envs
        if self.churn:
            probe = self._draw(buffer.gather(experience, jax.tree.map(lambda x: x[-1], selection)))
            means |= churn.metrics(self._count_changes(state.learner, learner.params, probe), changes, kept)
        metrics = Metrics(counts=sharding.total(counts), means=means, non_finite=finite.finish(report))
        replay = buffer.update_priorities(experience, selection, priorities)
        return State(learner=learner, actors=actors, replay=replay), metrics

    def _loss(self, params: Params, target: Params | None, batch: Batch):
        return self.algorithm.loss(freezing.stop_gradient(params, self.frozen), target, batch)

    def _count_changes(self, before: Learner, params: Params, batch: Batch) -> dict[str, jax.Array]:
        """Count the decisions that other parameters change in this device's share of a drawn minibatch, if `churn`."""
        if not self.churn:
            return {}
        # No forward pass is shared with the loss: that would round the training differently.
        old, new, batch = jax.lax.optimization_barrier((before.params, params, batch))
        # The compiler drops the loss, of which the weights do not need the network.
        _, weights, _ = self._loss(old, before.target, batch)
        decided = (churn.decisions(self.algorithm, params, batch) for params in (old, new))
        return churn.count(*decided, weights)

    def _apply_gradient(self, learner: Learner, gradient: Params) -> Learner:
        """Return the learner after an optimiser step."""
        updates, opt_state = self.optimiser.update(gradient, learner.opt_state, learner.params)
        params = optax.apply_updates(learner.params, freezing.zero(updates, self.frozen))
        target = self.algorithm.update_target(learner.target, params)
        return learner.replace(params=params, target=target, opt_state=opt_state)

    def _select_twins(self, actors: Actors, updates: jax.Array) -> Actors:
        """Return the actors with the twin that each environment shows at this update."""
        if self.observability is None:
            return actors
        share = self.num_envs // self.mesh.shape["data"]
        partial = self.observability.at(updates, self.num_envs)
        partial = jax.lax.dynamic_slice_in_dim(partial, sharding.shard_index() * share, share)
        latent = actors.env.latent.replace(partial=partial)
        return actors.replace(env=actors.env.replace(latent=latent))

    def _prepare_sequences(self, params: Params, actors: Actors, batch: Batch) -> tuple[Actors, Batch]:
        """Return the training sequences of a rollout: burn-in, rollout, bootstrap slot; with carry and prepared values.

        A recomputed carry is run through the T slots before those with the parameters of this update, from the carry
        that the last update recomputed; the next update's history starts from it.
        """
        algorithm = self.algorithm
        if algorithm.buffer_carry_init == "zero":
            num_envs = batch.slots.start.shape[1]
            batch = batch.replace(carry=sharding.vary(algorithm.initial(num_envs), sharding.AXES))
        if algorithm.buffer_carry_init == "recomputed":
            before = batch.time_slice(0, algorithm.rollout_length)
            carry = self._in_groups(lambda batch: algorithm.apply(params, batch)[0], before, 0)
            actors = actors.replace(history=actors.history.replace(carry=carry))
            batch = batch.time_slice(algorithm.rollout_length, None).replace(carry=carry)
        prepared = self._in_groups(lambda batch: algorithm.prepare(params, batch), batch, 1)
        return actors, batch.replace(prepared=prepared)

    def _in_groups(self, function: Callable[[Batch], Any], batch: Batch, axis: int) -> Any:
        """Apply a function to drawn batches of as many environments as a gradient step has, to bound memory.

        Args:
          function: drawn batch -> tree whose leaves have environments at `axis`.
          batch: latent, of all environments.
          axis: see above.
        """
        groups = jnp.arange(batch.slots.action.shape[1], dtype=jnp.int32)
        groups = groups.reshape(self.algorithm.num_minibatches, -1)
        results = jax.lax.map(lambda group: function(self._draw(select_sequences(batch, group))), groups)
        # [M, ...] with N / M environments each, to N.
        return jax.tree.map(lambda x: jax.lax.collapse(jnp.moveaxis(x, 0, axis), axis, axis + 2), results)

    def _draw(self, batch: Batch) -> Batch:
        """Return the batch with observations instead of latent states: frames are redrawn, not stored."""
        observation = jax.vmap(jax.vmap(self.environment.draw))(batch.slots.latent)
        return batch.replace(slots=batch.slots.replace(latent=None, observation=observation))
