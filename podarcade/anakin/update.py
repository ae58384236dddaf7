"""THE update: rollout, draw again, loss, gradient, mean over the mesh, optimiser. One pure function of the state."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from podarcade.algorithms import Algorithm
from podarcade.algorithms.buffers import sequences
from podarcade.anakin import finite, rollout, sharding
from podarcade.envs.environment import Environment
from podarcade.envs.observability import Observability
from podarcade.types import Actors, Learner, State, Trajectory


@struct.dataclass
class Metrics:
    """What one update tells, per seed."""

    counts: rollout.Counts  # summed over environments and steps
    means: dict[str, jax.Array]  # float32, averaged over the gradient steps that were finite
    guard: finite.Report


@dataclasses.dataclass(frozen=True)
class Updater:
    """Everything that an update is a function of, besides the state.

    Attributes:
      algorithm: acts and says what to minimise.
      environment: is stepped and drawn.
      mesh: devices, ("seed", "data").
      num_envs: N, environments of one seed over all devices.
      total_updates: of the whole run.
      schedule_updates: over which schedules run; 0 for the whole run.
      observability: which environments show the partial twin, counted in updates; None leaves each as it was reset.
    """

    algorithm: Algorithm
    environment: Environment
    mesh: Mesh
    num_envs: int
    total_updates: int
    schedule_updates: int = 0
    observability: Observability | None = None

    def __post_init__(self):
        check_division(self.num_envs, self.algorithm.num_minibatches, self.mesh.shape["data"])
        self.algorithm.buffer.check(self.num_envs)

    @property
    def optimiser(self) -> optax.GradientTransformation:
        """The algorithm's, on a schedule over gradient steps."""
        steps = self.horizon * self.algorithm.num_epochs * self.algorithm.num_minibatches
        return self.algorithm.make_optimiser(steps)

    @property
    def horizon(self) -> int:
        """Updates over which schedules run."""
        return self.schedule_updates or self.total_updates

    def init(self, seeds: jax.Array) -> State:
        """The state of runs with these seeds, int32[S], created where it will live.

        A run depends on its own seed alone, not on the others nor on the number of devices, but for
        rounding: each environment's keys are folded from its global index.
        """
        shardings = sharding.shardings(self.mesh)
        return jax.jit(jax.vmap(self._init_one), out_shardings=shardings)(seeds)

    def abstract_state(self, seeds: int) -> State:
        """Shapes, dtypes and places of the state of so many runs; nothing is computed."""
        shapes = jax.eval_shape(jax.vmap(self._init_one), jax.ShapeDtypeStruct((seeds,), jnp.int32))
        places = sharding.shardings(self.mesh)

        def placed(part, sharding):
            return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), part)

        return State(**{name: placed(part, getattr(places, name)) for name, part in vars(shapes).items()})

    def compile(self, state: State, updates: int) -> Callable[[State], tuple[State, Metrics]]:
        """The program of `updates` updates of all seeds, compiled ahead of time; it consumes its argument.

        `state` may be abstract. Metrics come stacked: leaves [S, updates].
        """

        def many(state: State) -> tuple[State, Metrics]:
            return jax.lax.scan(lambda state, _: self._update(state), state, None, updates)

        mapped = sharding.map_over(self.mesh, many, (sharding.SPECS,), (sharding.SPECS, P("seed")))
        # Said once more, or XLA calls what it leaves untouched placed otherwise than what came in.
        places = sharding.shardings(self.mesh), None
        return jax.jit(mapped, donate_argnums=0, out_shardings=places).lower(state).compile()

    def _init_one(self, seed: jax.Array) -> State:
        learner_key, params_key, actors_key = jax.random.split(jax.random.key(seed), 3)
        keys = jax.vmap(lambda index: jax.random.key_data(jax.random.fold_in(actors_key, index)))(
            jnp.arange(self.num_envs)
        )
        actors = rollout.start_actors(self.algorithm, self.environment, keys)
        actors = actors.replace(history=rollout.start_history(actors, self.algorithm.history))
        _, timestep = self.environment.reset(params_key)
        params = self.algorithm.init(params_key, timestep)
        learner = Learner(
            params=params,
            target=self.algorithm.init_target(params),
            opt_state=self.optimiser.init(params),
            key=jax.random.key_data(learner_key),
            updates=jnp.int32(0),
        )
        replay = self.algorithm.buffer.empty(jax.eval_shape(self._abstract_window, params, actors))
        # A file keeps no weak types: the first update would be another program than a resumed one.
        state = State(learner=learner, actors=actors, replay=replay)
        return jax.tree.map(lambda x: jax.lax.convert_element_type(x, x.dtype), state)

    def _abstract_window(self, params: Any, actors: Actors) -> Trajectory:
        """A trajectory like those that are learnt from, made up."""
        window = rollout.start_history(actors, self.algorithm.burn_in + self.algorithm.rollout_length + 1)
        window = window.map_slots(lambda x: x.swapaxes(0, 1))
        return window.replace(prepared=self.algorithm.prepare(params, self._draw(window)))

    def _update(self, state: State) -> tuple[State, Metrics]:
        """One update of one seed, on this device's share of the environments."""
        learner, buffer = state.learner, self.algorithm.buffer
        exploration = self.algorithm.exploration(learner.updates / self.horizon)
        actors = self._choose_twins(state.actors, learner.updates)
        actors, trajectory, counts = rollout.rollout(
            self.algorithm, self.environment, learner.params, actors, exploration
        )
        actors, trajectory = self._prepare_sequences(learner.params, actors, trajectory)
        experience = buffer.add(state.replay, trajectory)
        key, choice_key, loss_key = jax.random.split(jax.random.wrap_key_data(learner.key), 3)
        chosen = buffer.sample(choice_key, experience, sharding.shard_index())
        steps = self.algorithm.num_epochs * self.algorithm.num_minibatches
        loss_keys = jax.random.key_data(jax.random.split(loss_key, steps))

        def gradient_step(state: tuple[Learner, finite.Report], inputs):
            before, report = state
            choice, step_key, step = inputs
            batch = buffer.gather(experience, choice)
            drawn = self.algorithm.standardise(self._draw(batch), sharding.mean)
            gradient, means, losses = sharding.weighted_mean_gradient(
                self.algorithm.loss, before.params, before.target, drawn, step_key
            )
            means |= {"gradient_norm": optax.tree.norm(gradient)}
            after = self._apply_gradient(before, gradient)
            learner, report, kept = finite.keep_finite(before, after, means, batch, report, step)
            return (learner, report), (means, kept, buffer.priorities(*losses))

        report = finite.empty(learner, buffer.gather(experience, jax.tree.map(lambda x: x[0], chosen)))
        inputs = chosen, loss_keys, jnp.arange(steps)
        (learner, report), (means, kept, errors) = jax.lax.scan(gradient_step, (learner, report), inputs)
        learner, report, kept = finite.undo_overflow(state.learner, learner, report, kept)
        errors = jax.tree.map(lambda x: jnp.where(kept[:, None], x, jnp.nan), errors)
        learner = learner.replace(key=jax.random.key_data(key), updates=learner.updates + 1)
        means = {name: finite.mean(values, kept) for name, values in means.items()} | {"exploration": exploration}
        if self.observability is not None and len(self.observability.shares) > 1:
            means["partial"] = sharding.total(jnp.sum(actors.env.latent.partial)) / self.num_envs
        metrics = Metrics(counts=sharding.total(counts), means=means, guard=finite.finish(report))
        return State(
            learner=learner, actors=actors, replay=buffer.update_priorities(experience, chosen, errors)
        ), metrics

    def _apply_gradient(self, learner: Learner, gradient: Any) -> Learner:
        """The learner after a gradient step."""
        changes, opt_state = self.optimiser.update(gradient, learner.opt_state, learner.params)
        params = optax.apply_updates(learner.params, changes)
        return learner.replace(
            params=params, target=self.algorithm.update_target(learner.target, params), opt_state=opt_state
        )

    def _choose_twins(self, actors: Actors, updates: jax.Array) -> Actors:
        """The actors, each showing the twin that it should by now."""
        if self.observability is None:
            return actors
        share = self.num_envs // self.mesh.shape["data"]
        partial = self.observability.at(updates, self.num_envs)
        partial = jax.lax.dynamic_slice_in_dim(partial, sharding.shard_index() * share, share)
        latent = actors.env.latent.replace(partial=partial)
        return actors.replace(env=actors.env.replace(latent=latent))

    def _prepare_sequences(self, params: Any, actors: Actors, trajectory: Trajectory) -> tuple[Actors, Trajectory]:
        """The trajectory that is learnt from: burn-in, rollout, one slot; the memory before them, and what is prepared.

        A recomputed memory is brought up through the T slots before those by the parameters of this update, from
        the one that the last update recomputed, and is where the next update's history begins.
        """
        algorithm = self.algorithm
        if algorithm.effective_carry_init == "zero":
            envs = trajectory.start.shape[1]
            trajectory = trajectory.replace(carry=sharding.vary(algorithm.initial(envs), sharding.AXES))
        if algorithm.effective_carry_init == "recomputed":
            before = trajectory.slots(0, algorithm.rollout_length)
            carry = self._in_groups(lambda batch: algorithm.apply(params, batch)[0], before, 0)
            actors = actors.replace(history=actors.history.replace(carry=carry))
            trajectory = trajectory.slots(algorithm.rollout_length, None).replace(carry=carry)
        prepared = self._in_groups(lambda batch: algorithm.prepare(params, batch), trajectory, 1)
        return actors, trajectory.replace(prepared=prepared)

    def _in_groups(self, function: Callable[[Trajectory], Any], trajectory: Trajectory, axis: int) -> Any:
        """`function` of as many environments at once as in a gradient step, drawn; its leaves have those at `axis`.

        No more frames are in memory than there.
        """
        groups = jnp.arange(trajectory.action.shape[1]).reshape(self.algorithm.num_minibatches, -1)
        results = jax.lax.map(lambda group: function(self._draw(sequences(trajectory, group))), groups)
        # [M, ...] with N / M environments each, to N.
        return jax.tree.map(lambda x: jax.lax.collapse(jnp.moveaxis(x, 0, axis), axis, axis + 2), results)

    def _draw(self, batch: Trajectory) -> Trajectory:
        """The batch as the actors saw it: frames are drawn again, not stored."""
        observation = jax.vmap(jax.vmap(self.environment.draw))(batch.latent)
        return batch.replace(latent=None, observation=observation)


def check_division(num_envs: int, minibatches: int, data: int) -> None:
    """Raises ValueError unless every minibatch has equally many environments on every device."""
    step = minibatches * data
    if num_envs < 1 or num_envs % step:
        near = sorted({max(num_envs // step, 1) * step, (num_envs // step + 1) * step})
        raise ValueError(
            f"num_envs={num_envs} does not divide into {minibatches} minibatches on {data} data devices; "
            f"use {' or '.join(map(str, near))}"
        )
