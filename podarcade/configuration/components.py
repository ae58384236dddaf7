"""The components that a configuration names: its environment, and its algorithm with encoder, memory and network."""

import functools

from podarcade import configuration, plugins
from podarcade.algorithms import Algorithm
from podarcade.algorithms.contract import check_algorithm
from podarcade.envs.contract import make_game
from podarcade.envs.environment import Environment
from podarcade.envs.observability import NAMES, parse
from podarcade.models.contract import check_encoder, check_memory
from podarcade.models.encoders import Encoder
from podarcade.models.memory import Memory, sizes
from podarcade.models.networks import TRUNKS


def make_environment(config) -> Environment:
    """Return the environment of a configuration, with the twin that its first episodes show."""
    section = config.environment
    kind = plugins.find("games", section.name)
    own = {name: section[name] for name in configuration.game_fields(section.name, section.level)}
    game = make_game(kind, section.level, obs_size=section.obs_size, rules=section.rules, **own)
    partial = parse(section.observability).shares[0] == 1
    return Environment(game, partial=partial, limit_is_terminal=section.limit_is_terminal)


def make_algorithm(config, environment: Environment) -> Algorithm:
    """Return the algorithm of a configuration, including its network.

    Raises:
      ValueError: an option that does not fit, or an algorithm, a memory or an encoder that breaks its contract.
    """
    actions = environment.game.actions
    options = {key: value for key, value in config.network.items() if key not in ("trunk", "match", "init")}
    memory, encoder = _constructor("memory", config.memory), _constructor("encoders", config.encoder)
    _check_modules(memory(width=config.network.width), encoder(), config)
    trunk = TRUNKS[config.network.trunk](encoder=encoder, memory=memory, actions=actions, **options)
    check_algorithm(plugins.find("algorithms", config.algorithm.name))
    return _constructor("algorithms", config.algorithm)(trunk=trunk)


def title(config) -> str:
    """Return the one-line title of a run: "pqn lru on MineSweeperEasy, partial twin"."""
    section = config.environment
    game = plugins.find("games", section.name).__name__
    level = configuration.game_fields(section.name, section.level)
    changed = ", ".join(f"{name}={section[name]}" for name, value in level.items() if section[name] != value)
    algorithm, memory = plugins.label(config.algorithm.name), plugins.label(config.memory.name)
    task = f"{game}{section.level.capitalize()}{f' ({changed})' if changed else ''}"
    return f"{algorithm} {memory} on {task}, {twins(section.observability)}"


def twins(observability: str) -> str:
    """Return which twins are played, for display: "partial twin", "twins full,partial@250000"."""
    return f"{observability} twin" if observability in NAMES else f"twins {observability}"


def _check_modules(memory: Memory, encoder: Encoder, config) -> None:
    """Raise ValueError where a memory or an encoder of these options cannot work, before anything is written."""
    check_memory(memory)
    check_encoder(encoder, config.environment.obs_size)
    if config.network.match == "parameters" and not sizes.is_matched(memory):
        size, count, goal = memory.SIZE, sizes.parameters(memory), sizes.budget(memory.width)
        raise ValueError(
            f"match=parameters, but memory.{size}={getattr(memory, size)} at width {memory.width} makes {count} "
            f"parameters; expected {goal}: set memory.{size}, or choose match=width"
        )


def _constructor(kind: str, section) -> functools.partial:
    options = {key: value for key, value in section.items() if key != "name"}
    return functools.partial(plugins.find(kind, section.name), **options)
