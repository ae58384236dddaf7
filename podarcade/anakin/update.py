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
from podarcade.anakin import guard
from podarcade.anakin import mesh as meshes
from podarcade.anakin import rollout as rollouts
from podarcade.environment import Environment
from podarcade.observability import Observability
from podarcade.types import Actors, Learner, State, Trajectory


@struct.dataclass
class Metrics:
    """What one update tells, per seed."""

    counts: rollouts.Counts  # summed over environments and steps
    means: dict[str, jax.Array]  # float32, averaged over the gradient steps that were finite
    guard: guard.Report


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
        check_division(self.num_envs, self.algorithm.minibatches, self.mesh.shape["data"])

    @property
    def optimiser(self) -> optax.GradientTransformation:
        """The algorithm's, on a schedule over gradient steps."""
        steps = self.horizon * self.algorithm.epochs * self.algorithm.minibatches
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
        shardings = meshes.shardings(self.mesh)
        return jax.jit(jax.vmap(self._init_one), out_shardings=shardings)(seeds)

    def abstract_state(self, seeds: int) -> State:
        """Shapes, dtypes and places of the state of so many runs; nothing is computed."""
        shapes = jax.eval_shape(jax.vmap(self._init_one), jax.ShapeDtypeStruct((seeds,), jnp.int32))
        places = meshes.shardings(self.mesh)

        def placed(part, sharding):
            return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), part)

        return State(learner=placed(shapes.learner, places.learner), actors=placed(shapes.actors, places.actors))

    def compile(self, state: State, updates: int) -> Callable[[State], tuple[State, Metrics]]:
        """The program of `updates` updates of all seeds, compiled ahead of time; it consumes its argument.

        `state` may be abstract. Metrics come stacked: leaves [S, updates].
        """

        def many(state: State) -> tuple[State, Metrics]:
            return jax.lax.scan(lambda state, _: self._update(state), state, None, updates)

        mapped = meshes.map_over(self.mesh, many, (meshes.SPECS,), (meshes.SPECS, P("seed")))
        # Said once more, or XLA calls what it leaves untouched placed otherwise than what came in.
        places = meshes.shardings(self.mesh), None
        return jax.jit(mapped, donate_argnums=0, out_shardings=places).lower(state).compile()

    def _init_one(self, seed: jax.Array) -> State:
        learner_key, params_key, actors_key = jax.random.split(jax.random.key(seed), 3)
        keys = jax.vmap(lambda index: jax.random.key_data(jax.random.fold_in(actors_key, index)))(
            jnp.arange(self.num_envs)
        )
        actors = rollouts.start_actors(self.algorithm, self.environment, keys)
        actors = actors.replace(history=rollouts.start_history(actors, self.algorithm.history))
        _, timestep = self.environment.reset(params_key)
        params = self.algorithm.init(params_key, timestep)
        learner = Learner(
            params=params,
            opt_state=self.optimiser.init(params),
            key=jax.random.key_data(learner_key),
            updates=jnp.int32(0),
        )
        # A file keeps no weak types: the first update would be another program than a resumed one.
        return jax.tree.map(lambda x: jax.lax.convert_element_type(x, x.dtype), State(learner=learner, actors=actors))

    def _update(self, state: State) -> tuple[State, Metrics]:
        """One update of one seed, on this device's share of the environments."""
        learner = state.learner
        exploration = self.algorithm.exploration(learner.updates / self.horizon)
        actors = self._choose_twins(state.actors, learner.updates)
        actors, trajectory, counts = rollouts.rollout(
            self.algorithm, self.environment, learner.params, actors, exploration
        )
        actors, trajectory = self._begin(learner.params, actors, trajectory)
        key, shuffle_key, loss_key = jax.random.split(jax.random.wrap_key_data(learner.key), 3)
        chosen = self._minibatches(shuffle_key, trajectory.action.shape[1])
        loss_keys = jax.random.key_data(jax.random.split(loss_key, chosen.shape[0]))

        def improve(state: tuple[Learner, guard.Report], inputs):
            before, report = state
            index, step_key, step = inputs
            batch = _take(trajectory, index)
            gradient, means = meshes.weighted_mean_gradient(
                self.algorithm.loss, before.params, self._draw(batch), step_key
            )
            means |= {"gradient_norm": optax.tree.norm(gradient)}
            changes, opt_state = self.optimiser.update(gradient, before.opt_state, before.params)
            after = before.replace(params=optax.apply_updates(before.params, changes), opt_state=opt_state)
            learner, report, kept = guard.keep_finite(before, after, means, batch, report, step)
            return (learner, report), (means, kept)

        report = guard.empty(learner, _take(trajectory, chosen[0]))
        inputs = chosen, loss_keys, jnp.arange(len(chosen))
        (learner, report), (means, kept) = jax.lax.scan(improve, (learner, report), inputs)
        learner, report, kept = guard.undo_overflow(state.learner, learner, report, kept)
        learner = learner.replace(key=jax.random.key_data(key), updates=learner.updates + 1)
        means = {name: guard.mean(values, kept) for name, values in means.items()} | {"epsilon": exploration}
        if self.observability is not None and len(self.observability.shares) > 1:
            means["partial"] = meshes.total(jnp.sum(actors.env.latent.partial)) / self.num_envs
        metrics = Metrics(counts=meshes.total(counts), means=means, guard=guard.finish(report))
        return State(learner=learner, actors=actors), metrics

    def _choose_twins(self, actors: Actors, updates: jax.Array) -> Actors:
        """The actors, each showing the twin that it should by now."""
        if self.observability is None:
            return actors
        share = self.num_envs // self.mesh.shape["data"]
        partial = self.observability.at(updates, self.num_envs)
        partial = jax.lax.dynamic_slice_in_dim(partial, meshes.shard_index() * share, share)
        latent = actors.env.latent.replace(partial=partial)
        return actors.replace(env=actors.env.replace(latent=latent))

    def _begin(self, params: Any, actors: Actors, trajectory: Trajectory) -> tuple[Actors, Trajectory]:
        """The trajectory as it is learnt from: burn-in, rollout, one slot, and the memory before the first of them.

        A recomputed memory is brought up through the T slots before those by the parameters of this update, from
        the one that the last update recomputed, and is where the next update's history begins.
        """
        algorithm, envs = self.algorithm, trajectory.start.shape[1]
        if algorithm.first_carry == "zero":
            trajectory = trajectory.replace(carry=meshes.vary(algorithm.initial(envs), meshes.AXES))
        if algorithm.compat.feed_forward:
            return actors, self._loosen(params, trajectory)
        if algorithm.first_carry != "recomputed":
            return actors, trajectory
        carry = self._in_groups(lambda batch: algorithm.remember(params, batch), trajectory.slots(0, algorithm.rollout))
        carry = jax.tree.map(lambda x: x.reshape(envs, *x.shape[2:]), carry)
        actors = actors.replace(history=actors.history.replace(carry=carry))
        return actors, trajectory.slots(algorithm.rollout, None).replace(carry=carry)

    def _in_groups(self, function: Callable[[Trajectory], Any], trajectory: Trajectory) -> Any:
        """`function` of as many environments at once as in a gradient step, drawn: leaves [M, ...].

        No more frames are in memory than there.
        """
        groups = jnp.arange(trajectory.action.shape[1]).reshape(self.algorithm.minibatches, -1)
        return jax.lax.map(lambda group: function(self._draw(_take(trajectory, group))), groups)

    def _loosen(self, params: Any, trajectory: Trajectory) -> Trajectory:
        """Every transition as a sequence of its own, with its target: [1, B T], environment by environment."""
        target = self._in_groups(lambda batch: self.algorithm.targets(params, batch), trajectory)
        target = target.swapaxes(0, 1).reshape(self.algorithm.rollout, -1)
        slots = trajectory.slots(0, -1).replace(target=target, carry=None)
        slots = jax.tree.map(lambda x: x.swapaxes(0, 1).reshape(1, -1, *x.shape[2:]), slots)
        return slots.replace(carry=trajectory.carry)

    def _minibatches(self, key: jax.Array, sequences: int) -> jax.Array:
        """Indices of this device's sequences in each gradient step, int32[epochs * minibatches, share].

        The sequences, one per environment as a rule, are cut in blocks of M neighbours, and each of the M minibatches
        takes one of every block. Blocks are shuffled by their global index: a minibatch has the same members on any
        mesh.
        """
        minibatches, epochs = self.algorithm.minibatches, self.algorithm.epochs
        blocks = sequences // minibatches
        first = meshes.shard_index() * blocks

        def shuffle(epoch: jax.Array, block: jax.Array) -> jax.Array:
            block_key = jax.random.fold_in(jax.random.fold_in(key, epoch), first + block)
            return block * minibatches + jax.random.permutation(block_key, minibatches)

        index = jax.vmap(jax.vmap(shuffle, (None, 0)), (0, None))(jnp.arange(epochs), jnp.arange(blocks))
        return index.swapaxes(1, 2).reshape(epochs * minibatches, blocks)

    def _draw(self, batch: Trajectory) -> Trajectory:
        """The batch as the actors saw it: frames are drawn again, not stored."""
        observation = jax.vmap(jax.vmap(self.environment.draw))(batch.latent)
        return batch.replace(latent=None, observation=observation)


def _take(trajectory: Trajectory, index: jax.Array) -> Trajectory:
    """The sequences of some environments."""
    slots = jax.tree.map(lambda x: x[:, index], trajectory.replace(carry=None))
    return slots.replace(carry=jax.tree.map(lambda x: x[index], trajectory.carry))


def check_division(num_envs: int, minibatches: int, data: int) -> None:
    """Raises ValueError unless every minibatch has equally many environments on every device."""
    step = minibatches * data
    if num_envs < 1 or num_envs % step:
        near = sorted({max(num_envs // step, 1) * step, (num_envs // step + 1) * step})
        raise ValueError(
            f"num_envs={num_envs} does not divide into {minibatches} minibatches on {data} data devices; "
            f"use {' or '.join(map(str, near))}"
        )
