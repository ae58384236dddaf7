"""From a configuration to a run: the only reader of configurations."""

import functools
import math

import jax

from podarcade import plugins
from podarcade.algorithms import Algorithm
from podarcade.algorithms.compat import Compat
from podarcade.anakin import sharding
from podarcade.anakin.evaluate import Evaluator
from podarcade.anakin.update import Updater, check_division
from podarcade.envs.environment import Environment
from podarcade.envs.observability import NAMES, Observability, parse
from podarcade.models.memory import Memory, sizes
from podarcade.models.networks import TRUNKS
from podarcade.runtime.provenance import versions
from podarcade.runtime.run import Run
from podarcade.runtime.run_files import comparable


def build(config) -> Run:
    """The run that a configuration describes, on the devices there are.

    Raises:
      ValueError: values that do not fit each other; says which would.
    """
    _check_positive(config)
    environment = build_environment(config)
    algorithm = build_algorithm(config, environment)
    mesh = _build_mesh(config)
    per_update, per_call = config.num_envs * algorithm.rollout_length, config.updates_per_call
    total_updates = math.ceil(config.frames / (per_update * per_call)) * per_call
    observability = parse(config.environment.observability).every(per_update * per_call)
    if observability.since[-1] * per_call >= total_updates:
        raise ValueError(
            f"environment.observability={config.environment.observability} has a switch after the last update; "
            f"give one before frame {config.frames}"
        )
    observability = Observability(tuple(calls * per_call for calls in observability.since), observability.shares)
    updater = Updater(
        algorithm,
        environment,
        mesh,
        config.num_envs,
        total_updates,
        config.schedule_frames // per_update,
        observability,
    )
    return Run(
        updater=updater,
        evaluator=Evaluator(algorithm, environment, mesh, config.evaluation.episodes),
        seeds=tuple(range(config.seed, config.seed + config.seeds)),
        updates_per_call=per_call,
        evaluate_every=config.evaluation.every,
        switches=observability.since[1:],
        save_every=config.checkpoint.every,
        keep=config.checkpoint.keep,
        keep_every=config.checkpoint.keep_every,
        keep_replay=config.checkpoint.replay,
        max_skipped=config.max_skipped,
        score=_score(observability.shares[-1]),
        origin={"config": comparable(config.to_dict()), "versions": versions()},
        title=title(config),
    )


def _score(share: float) -> dict[str, float]:
    """What makes a checkpoint the best: the return on the twin that is trained on, or on both as they are mixed."""
    return {name: weight for name, weight in (("return_full", 1 - share), ("return_partial", share)) if weight}


def build_environment(config) -> Environment:
    """The environment of a configuration, as its episodes begin."""
    section = config.environment
    game = plugins.find("games", section.name)
    rules = game(**game.LEVELS[section.level], obs_size=section.obs_size, rules=section.rules)
    partial = parse(section.observability).shares[0] == 1
    return Environment(rules, partial=partial, limit_is_terminal=config.compat.limit_is_terminal)


def build_algorithm(config, environment: Environment) -> Algorithm:
    """The algorithm of a configuration, with the network inside."""
    num_actions = environment.game.NUM_ACTIONS
    options = {key: value for key, value in config.network.items() if key not in ("trunk", "match")}
    memory = _constructor("memory", config.memory)
    _check_memory(memory(width=config.network.width), config.network.match)
    encoder = _constructor("encoders", config.encoder)
    encoder()  # An option that does not fit is found before anything is written.
    trunk = TRUNKS[config.network.trunk](encoder=encoder, memory=memory, num_actions=num_actions, **options)
    compat = Compat(**config.compat)
    return _constructor("algorithms", config.algorithm)(trunk=trunk, num_actions=num_actions, compat=compat)


def title(config) -> str:
    """What a run is, in a line."""
    section = config.environment
    game = plugins.find("games", section.name).__name__
    memory, seen = config.memory.name, section.observability
    return f"{config.algorithm.name} {memory} on {game}{section.level.capitalize()}, {twins(seen)}"


def twins(observability: str) -> str:
    """Which twins are played, in words: "partial twin", "twins full,partial@250000"."""
    return f"{observability} twin" if observability in NAMES else f"twins {observability}"


def _check_positive(config) -> None:
    evaluation, checkpoint = config.evaluation, config.checkpoint
    values = {
        "seeds": config.seeds,
        "frames": config.frames,
        "updates_per_call": config.updates_per_call,
        "evaluation.every": evaluation.every,
        "evaluation.episodes": evaluation.episodes,
        "checkpoint.every": checkpoint.every,
        "checkpoint.keep": checkpoint.keep,
        "max_skipped": config.max_skipped,
    }
    for name, value in values.items():
        if value < 1:
            raise ValueError(f"{name}={value}; give at least 1")
    if checkpoint.keep_every < 0:
        raise ValueError(f"checkpoint.keep_every={checkpoint.keep_every}; give 0 for none, or how many apart")
    per_update = config.num_envs * config.algorithm.rollout_length
    if config.schedule_frames and config.schedule_frames < per_update:
        raise ValueError(
            f"schedule_frames={config.schedule_frames}; give one update, {per_update}, or more, or 0 for all"
        )


def _check_memory(memory: Memory, match: str) -> None:
    """Makes the layer once, in shapes only: an option that does not fit is found before anything is written."""
    size, count, goal = memory.SIZE, sizes.parameters(memory), sizes.budget(memory.width)
    if match == "parameters" and not sizes.is_matched(memory):
        raise ValueError(
            f"match=parameters, but memory.{size}={getattr(memory, size)} at width {memory.width} makes {count} "
            f"parameters, not {goal}; set memory.{size}, or choose match=width"
        )


def _constructor(kind: str, section) -> functools.partial:
    options = {key: value for key, value in section.items() if key != "name"}
    return functools.partial(plugins.find(kind, section.name), **options)


def _build_mesh(config):
    devices, seeds = jax.device_count(), config.seeds
    minibatches = config.algorithm.num_minibatches
    check_division(config.num_envs, minibatches, 1)
    shards = math.gcd(config.num_envs // minibatches, 2 * config.evaluation.episodes)
    seed, data = config.mesh.seed, config.mesh.data
    if min(seed, data) < 0:
        raise ValueError(f"mesh.seed={seed}, mesh.data={data}; give numbers of devices, or 0 to have them chosen")
    needed = max(seed, 1) * max(data, 1)
    if needed > devices:
        raise ValueError(f"mesh.seed={seed} x mesh.data={data} needs {needed} devices; there are {devices}")
    if not (seed or data):
        seed, data = sharding.choose_shape(devices, seeds, shards)
    seed = seed or sharding.choose_shape(devices // data, seeds, 1)[0]
    data = data or sharding.choose_shape(devices // seed, 1, shards)[1]
    if seeds % seed:
        raise ValueError(f"seeds={seeds} does not divide by mesh.seed={seed}; use {seeds // seed * seed or seed}")
    mesh = sharding.make_mesh(seed, data)
    if idle := sharding.idle_processes(mesh):
        raise ValueError(
            f"a mesh of {seed} seed x {data} data devices leaves none for process {idle[0]} of {jax.process_count()}; "
            f"start fewer processes, or change seeds={seeds}, num_envs={config.num_envs}, "
            f"algorithm.num_minibatches={minibatches} or evaluation.episodes={config.evaluation.episodes}"
        )
    return mesh
