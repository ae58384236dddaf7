"""Build a run from its configuration."""

import math

import jax

from podarcade import configuration
from podarcade.anakin import sharding
from podarcade.anakin.evaluate import Evaluator
from podarcade.anakin.update import Updater
from podarcade.configuration import population, validation
from podarcade.configuration.components import make_algorithm, make_environment, title
from podarcade.envs.observability import Observability, parse
from podarcade.runtime import warm_start
from podarcade.runtime.provenance import versions
from podarcade.runtime.run import Run
from podarcade.runtime.run_files import comparable


def build(config) -> Run:
    """Return the run that a configuration describes, on the devices of this machine or job.

    Every value is validated here; no program is run and no file is written.

    Raises:
      ValueError: a value out of its range, or values that do not fit each other; the message says which would.
    """
    validation.check(config)
    environment = make_environment(config)
    algorithm = make_algorithm(config, environment)
    slots = population.slots(config)
    mesh = _build_mesh(config, len(slots))
    per_update, per_call = config.num_envs * algorithm.rollout_length, config.updates_per_call
    total_updates = configuration.total_updates(config)
    observability = _build_observability(config, total_updates)
    schedule_updates = config.schedule_frames // per_update
    frozen = tuple(filter(None, config.freeze.split(",")))
    updater = Updater(
        algorithm,
        environment,
        mesh,
        config.num_envs,
        total_updates,
        schedule_updates=schedule_updates,
        observability=observability,
        frozen=frozen,
        churn=config.churn,
        values=population.hyper_parameters(config),
    )
    return Run(
        updater=updater,
        evaluator=Evaluator(algorithm, environment, mesh, config.evaluation.episodes),
        seeds=tuple(slots),
        members=len(population.members(config)),
        updates_per_call=per_call,
        evaluate_every=config.evaluation.every,
        switches=observability.since[1:],
        save_every=config.checkpoint.every,
        keep=config.checkpoint.keep,
        keep_every=config.checkpoint.keep_every,
        keep_replay=config.checkpoint.replay,
        max_skipped=config.max_skipped,
        warm_start=warm_start.parse(config.init_from, config.keep_optimiser),
        score=_score(observability.shares[-1]),
        origin={"config": comparable(config.to_dict()), "versions": versions()},
        title=title(config),
    )


def _build_observability(config, total_updates: int) -> Observability:
    """Return which twin is shown when, with its switches counted in updates, at the ends of calls."""
    per_call = config.updates_per_call
    frames_per_call = config.num_envs * config.algorithm.rollout_length * per_call
    in_calls = parse(config.environment.observability).in_units_of(frames_per_call)
    if in_calls.since[-1] * per_call >= total_updates:
        last = (total_updates // per_call - 1) * frames_per_call
        raise ValueError(
            f"environment.observability={config.environment.observability} switches at the end of the run; "
            f"expected the last one at frame <= {last} (switches move to the nearest multiple of {frames_per_call})"
        )
    return Observability(tuple(calls * per_call for calls in in_calls.since), in_calls.shares)


def _score(share: float) -> dict[str, float]:
    """Return the weights of the returns that choose the best checkpoint: those of the twins as they are mixed last."""
    return {name: weight for name, weight in (("return_full", 1 - share), ("return_partial", share)) if weight}


def _build_mesh(config, seeds: int):
    """Return the mesh: the axes that the configuration sets, the others chosen to use as many devices as possible.

    Args:
      config: configuration.
      seeds: length of the seed axis: the seeds of all members of a population.

    Raises:
      ValueError: too few devices, a number of seeds or environments that does not divide, or an idle process.
    """
    devices = jax.device_count()
    minibatches = config.algorithm.num_minibatches
    sharding.check_divisible(config.num_envs, minibatches, 1)
    shards = math.gcd(config.num_envs // minibatches, 2 * config.evaluation.episodes)
    seed, data = config.mesh.seed, config.mesh.data
    needed = max(seed, 1) * max(data, 1)
    if needed > devices:
        raise ValueError(f"mesh.seed={seed} x mesh.data={data} needs {needed} devices; expected at most {devices}")
    if not (seed or data):
        seed, data = sharding.choose_shape(devices, seeds, shards)
    seed = seed or sharding.choose_shape(devices // data, seeds, 1)[0]
    data = data or sharding.choose_shape(devices // seed, 1, shards)[1]
    if seeds % seed:
        usable = seeds // seed * seed or seed
        raise ValueError(f"seeds={seeds} is not divisible by mesh.seed={seed}; use seeds={usable} or mesh.seed=1")
    mesh = sharding.make_mesh(seed, data)
    if idle := sharding.idle_processes(mesh):
        raise ValueError(
            f"a mesh of {seed} seed x {data} data devices leaves process {idle[0]} without any; "
            f"start fewer processes, or change seeds={seeds}, num_envs={config.num_envs}, "
            f"algorithm.num_minibatches={minibatches} or evaluation.episodes={config.evaluation.episodes}"
        )
    return mesh
