"""Where the time of an update goes: its parts, measured apart from each other in the update's own shapes. No flags.

Parts are differences between programs that have a stage and such that lack it: frames of zeros instead of drawn ones,
an encoder without products, a layer without memory. Programs take turns, so that other load on the machine affects all
of them. XLA fuses each program in its own way: a part of a few percent may be an artefact.
"""

import dataclasses
import functools
import statistics
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import PartitionSpec as P

from benchmarks import flops, layers
from benchmarks.roofline import Free
from podarcade import plugins
from podarcade.anakin import sharding
from podarcade.anakin.rollout import rollout
from podarcade.anakin.update import Updater
from podarcade.envs.games import Game
from podarcade.types import Actors, Batch, Learner, State

EXPLORATION = 0.1
WITHOUT_ENCODER, WITHOUT_MEMORY = " without encoder", " without encoder and memory"
# One seed on one device: its axis of length 1 is split over both axes of the mesh.
SPLIT = P(sharding.AXES)


class Sample(NamedTuple):
    """What the stages of an update take.

    Attributes:
      state: before the update.
      acted: the actors after a rollout.
      rolled: what the rollout gave.
      minibatch: what the first gradient step learns from.
      gradient: of the shape of the parameters.
    """

    state: State
    acted: Actors
    rolled: Batch
    minibatch: Batch
    gradient: Any


def measure(updater: Updater, seconds: float, repeats: int) -> dict[str, dict[str, float]]:
    """Measure the parts of an update of one seed on one device.

    Args:
      updater: the update.
      seconds: approximate duration of a repeat of a program.
      repeats: repeats of each program, of which the median counts.

    Returns:
      For each part, and for the whole as "update": "seconds", and "operations" in products.
    """
    updater = dataclasses.replace(updater, mesh=sharding.make_mesh(1, 1))
    timed: dict[str, layers.Program] = {}
    operations: dict[str, int] = {}
    variants = {"": updater, WITHOUT_ENCODER: _free(updater), WITHOUT_MEMORY: _bare(updater)}
    for variant, one in variants.items():
        for name, (function, arguments) in _stages(one, variant).items():
            mapped = _on_one_device(one, function, len(arguments))
            timed[name + variant] = layers.Program(mapped, *arguments)
            operations[name + variant] = flops.products(mapped, *arguments)
    calls = {name: program.calls_for(seconds) for name, program in timed.items()}
    each = [{name: program.seconds(calls[name]) for name, program in timed.items()} for _ in range(repeats)]
    cost = {
        name: np.array([statistics.median(one[name] for one in each), operations[name]], np.float64) for name in timed
    }
    found = parts(cost, updater.gradient_steps)
    return {name: {"seconds": float(one[0]), "operations": float(one[1])} for name, one in found.items()}


def parts(cost: dict[str, np.ndarray], steps: int) -> dict[str, np.ndarray]:
    """Return the parts of an update of some gradient steps, by the costs of programs; they sum to "update"."""
    acting, preparing, all_looking = (
        cost[stage] - cost[stage + WITHOUT_ENCODER] for stage in ("act", "prepare", "update")
    )
    drawing = steps * cost["draw to learn"]
    bare = cost["update" + WITHOUT_MEMORY]
    return {
        "environment": cost["environment"],
        "draw to act": cost["draw to act"],
        "encode to act": acting - cost["draw to act"],
        "draw and encode to prepare": preparing,
        "draw to learn": drawing,
        "encode to learn": all_looking - acting - preparing - drawing,
        "memory": cost["update" + WITHOUT_ENCODER] - bare,
        "optimiser": cost["optimiser"],
        "heads, loss and the rest": bare - cost["environment"] - cost["optimiser"],
        "update": cost["update"],
    }


def _stages(updater: Updater, variant: str) -> dict[str, tuple[Callable, tuple]]:
    """Return the stages of a variant that are timed, each with its arguments."""
    sample = _sample(updater)
    learner, actors = sample.state.learner, sample.state.actors
    stages: dict[str, tuple[Callable, tuple]] = {"update": (updater._update, (sample.state,))}
    if variant == WITHOUT_MEMORY:
        return stages
    stages["act"] = functools.partial(_act, updater), (learner, actors)
    stages["prepare"] = functools.partial(_prepare, updater), (learner, sample.acted, sample.rolled)
    if variant == WITHOUT_ENCODER:
        return stages
    latent = jax.tree.map(lambda x: x[:, -updater.algorithm.rollout_length :], sample.rolled.slots.latent)
    return stages | {
        "environment": (functools.partial(_environment, updater), (actors,)),
        "draw to act": (functools.partial(_draw_steps, updater), (latent,)),
        "draw to learn": (lambda batch: updater._draw(batch).slots.observation, (sample.minibatch,)),
        "optimiser": (functools.partial(_optimise, updater), (learner, sample.gradient)),
    }


def _act(updater: Updater, learner: Learner, actors: Actors):
    exploration = jnp.float32(EXPLORATION)
    return rollout(updater.algorithm, updater.environment, learner.params, actors, exploration)


def _environment(updater: Updater, actors: Actors):
    """Step without looking: XLA leaves out the drawing."""

    def step(env, _):
        env, timestep = jax.vmap(updater.environment.step)(env, jnp.zeros_like(actors.previous_action))
        return env, timestep.replace(observation=None)

    return jax.lax.scan(step, actors.env, None, updater.algorithm.rollout_length)


def _draw_steps(updater: Updater, latent: Any) -> jax.Array:
    """Draw a step after the other, as in a rollout; return a sum of each frame, which takes reading it."""

    def draw(latent):
        frames = jax.vmap(updater.environment.draw)(latent)
        return jnp.sum(jax.lax.optimization_barrier(frames).astype(jnp.float32), axis=tuple(range(1, frames.ndim)))

    return jax.lax.map(draw, latent)


def _prepare(updater: Updater, learner: Learner, actors: Actors, batch: Batch):
    return updater._prepare_sequences(learner.params, actors, batch)


def _optimise(updater: Updater, learner: Learner, gradient: Any) -> Learner:
    """Take all steps of an update: a single one would spend its time on new memory for its results."""
    step = lambda learner, _: (updater._apply_gradient(learner, gradient), None)  # noqa: E731
    return jax.lax.scan(step, learner, None, updater.gradient_steps)[0]


def _sample(updater: Updater) -> Sample:
    """Run the stages of an update once."""

    def run(state: State) -> Sample:
        actors, rolled, _ = _act(updater, state.learner, state.actors)
        buffer, key = updater.algorithm.buffer, jax.random.wrap_key_data(state.learner.key)
        experience = buffer.add(state.replay, _prepare(updater, state.learner, actors, rolled)[1])
        selection = buffer.sample(key, experience, sharding.shard_index())
        minibatch = buffer.gather(experience, jax.tree.map(lambda x: x[0], selection))
        gradient = jax.tree.map(lambda x: 1e-3 + 0.01 * x, state.learner.params)
        return Sample(state, actors, rolled, minibatch, gradient)

    return jax.jit(_on_one_device(updater, run, 1))(updater.init(jnp.zeros(1, jnp.int32)))


def _on_one_device(updater: Updater, function: Callable, arguments: int) -> Callable:
    """Return a function of trees with an axis of one seed, on the mesh of one device."""

    def varying(*trees):
        return sharding.vary(function(*trees), sharding.AXES)

    return sharding.map_over(updater.mesh, varying, (SPLIT,) * arguments, SPLIT)


def _free(updater: Updater) -> Updater:
    """Return an update that neither draws nor encodes."""
    features = jax.eval_shape(functools.partial(_features, updater)).shape[-1]
    trunk = updater.algorithm.trunk.clone(encoder=functools.partial(Free, features=features))
    environment = dataclasses.replace(updater.environment, game=_undrawn(updater.environment.game))
    return dataclasses.replace(
        updater, environment=environment, algorithm=dataclasses.replace(updater.algorithm, trunk=trunk)
    )


def _bare(updater: Updater) -> Updater:
    """Return an update that has no memory either."""
    free = _free(updater)
    trunk = free.algorithm.trunk.clone(memory=plugins.find("memory", "none"))
    return dataclasses.replace(free, algorithm=dataclasses.replace(free.algorithm, trunk=trunk))


def _features(updater: Updater) -> jax.Array:
    _, timestep = updater.environment.reset(jax.random.key(0))
    frames = timestep.observation[None]
    if frames.ndim < 3:  # no pixels, no encoder
        return frames
    return updater.algorithm.trunk.encoder().init_with_output(jax.random.key(0), frames)[0]


def _undrawn(game: Game) -> Game:
    """Return the game with frames of zeros."""
    state = jax.eval_shape(game.reset, jax.random.key(0))
    frame = jax.eval_shape(game.draw, state, jax.ShapeDtypeStruct((), bool))

    class Undrawn(type(game)):
        def draw(self, state, partial):
            return jnp.broadcast_to(jnp.asarray(partial).astype(frame.dtype) * 0, frame.shape)

    fields = {field.name: getattr(game, field.name) for field in dataclasses.fields(game) if field.init}
    return Undrawn(**fields)
