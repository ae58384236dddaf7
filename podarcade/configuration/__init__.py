"""Configuration: the sections that experiment files (configs/*.py) are written with.

The structure (which game, which memory) is chosen in the argument of the file, `--config=FILE.py:memory=lru`; values
are overridden by `--config.algorithm.discount=0.9`. Defaults live once, in the dataclasses that own the fields.
"""

import dataclasses
import math
from collections.abc import Iterable
from typing import Any

import ml_collections

from podarcade import plugins
from podarcade.envs.games import Game
from podarcade.models.memory import sizes
from podarcade.models.networks import TRUNKS
from podarcade.runtime import backend

ConfigDict = ml_collections.ConfigDict
FrozenConfigDict = ml_collections.FrozenConfigDict
NOT_OPTIONS = ("parent", "name", "width", "trunk", "actions")  # set by the program, not by the user
KINDS = {"memory": "memory", "encoder": "encoders", "algorithm": "algorithms"}  # section -> kind of plug-in
MATCHES = ("width", "parameters")
INITS = ("paper", "matched")
MATCHED_HORIZON = 256.0  # steps; `memory.init_horizon` of init=matched: two rollouts of the preset `cpu`
CHOSEN_IN_ARGUMENT = {
    "environment.name": "game",
    "environment.level": "level",
    "memory.name": "memory",
    "encoder.name": "encoder",
    "network.trunk": "trunk",
    "network.match": "match",
    "network.init": "init",
    "algorithm.name": "algorithm",
    "preset": "preset",
    "preset_asked": "preset",
    "version": "version",
    "budget": "budget",
}


def parse_argument(argument: str | None, **defaults: Any) -> ConfigDict:
    """Read an argument such as "game=tetris,partial=false" into the types of the defaults.

    Raises:
      ValueError: a name that is not among the defaults, or a value of another type.
    """
    choice = ConfigDict(defaults)
    for item in filter(None, (argument or "").split(",")):
        name, equals, value = item.partition("=")
        if name not in defaults:
            raise ValueError(f"unknown argument {name!r} in :{argument}; {plugins.did_you_mean(name, defaults)}")
        if not equals or not value:
            raise ValueError(f"argument {name!r} in :{argument} needs a value, as {name}={defaults[name]}")
        if isinstance(defaults[name], bool):
            if value.lower() not in ("true", "false"):
                raise ValueError(f"{name}={value}; expected true or false")
            value = value.lower() == "true"
        choice[name] = value
    return choice


def choose_preset(name: str, known: Iterable[str]) -> str:
    """Return the named preset; for `auto`, `gpu` where there is an accelerator and `cpu` otherwise.

    Raises:
      ValueError: unknown preset.
    """
    if name == "auto":
        return "gpu" if backend.accelerator() else "cpu"
    check_choice("preset", name, ("auto", *known))
    return name


def check_choice(what: str, value: str, known: Iterable[str]) -> None:
    """Raise ValueError unless `value` is among the known ones."""
    if value not in known:
        raise ValueError(plugins.unknown(what, value, known))


def section(kind: str, name: str, **changes: Any) -> ConfigDict:
    """Return the options of a plug-in with their defaults, some of them changed.

    Args:
      kind: a key of `plugins.CONTRACTS`.
      name: of the plug-in, in any form that `plugins.find` takes; paths are stored as absolute ones.
      **changes: option -> value.

    Raises:
      ValueError: unknown plug-in, unknown option, or an option without a default.
    """
    found = plugins.find(kind, name)
    options = {field.name: field.default for field in dataclasses.fields(found) if field.name not in NOT_OPTIONS}
    for key, value in options.items():
        if not isinstance(value, bool | int | float | str):
            given = "missing" if value is dataclasses.MISSING else repr(value)
            raise ValueError(
                f"{plugins.singular(kind)} {plugins.label(name)}: the default of option {key!r} is {given}; "
                "expected a number, a string, True or False"
            )
    for key in changes:
        if key not in options:
            what = f"option of {plugins.singular(kind)} {plugins.label(name)}"
            raise ValueError(plugins.unknown(what, key, options))
    return ConfigDict({"name": plugins.canonical(name), **options, **changes})


def root(preset: str, asked: str) -> ConfigDict:
    """Return the part of a configuration that belongs to the run as a whole. All counts are global."""
    config = ConfigDict()
    config.preset = preset
    config.preset_asked = asked
    config.seed = 0  # of the first run
    config.seeds = 1  # runs trained side by side, with seeds seed, seed + 1, ...
    config.population = ""  # members that differ in numbers, in the same program, as algorithm.discount=0.9,0.99
    config.num_envs = 8  # of each run
    config.frames = 0  # environment steps of each run, including the steps that reset an episode
    config.schedule_frames = 0  # length of the learning rate's and the exploration's schedules; 0: the whole run
    config.updates_per_call = 1  # updates in one call of the compiled program; metrics are written once per call
    config.evaluation = ConfigDict({"every": 1, "episodes": 8})  # in calls; per twin and seed
    # A checkpoint is saved `every` this many calls. Kept are the latest `keep`, the best, and one of each `keep_every`
    # (0: none). Without `replay` they are smaller, and a resumed run fills its replay buffer again.
    config.checkpoint = ConfigDict({"every": 1, "keep": 3, "keep_every": 10, "replay": True})
    config.init_from = ""  # folder of a run whose parameters this one starts from, or FOLDER:STEP; "": none
    config.keep_optimiser = False  # start from the state of that run's optimiser too
    config.freeze = ""  # comma-separated names of modules that are not trained, as encoder
    config.churn = False  # log how many greedy decisions each update and gradient step changes
    config.diagnostics = ""  # comma-separated names of diagnostics that evaluations include, as recall_density
    config.max_skipped = 100  # skipped (non-finite) gradient steps of a seed at which the run stops
    config.mesh = ConfigDict({"seed": 0, "data": 0})  # devices along each axis; 0: chosen
    return config


def environment(choice: ConfigDict) -> ConfigDict:
    """Return the section that chooses the game and how much of it is observed.

    The game's own fields, with the values of the level, stand beside the options that all games have.
    """
    options = {
        "name": plugins.canonical(choice.game),
        "level": choice.level,
        "observability": "partial" if choice.partial else "full",
        "obs_size": 128,
        "rules": "strict",
        "limit_is_terminal": False,
    }
    return ConfigDict(game_fields(choice.game, choice.level) | options)


def game_fields(game: str, level: str) -> dict[str, bool | int | float | str]:
    """Return the fields of a game of its own, numbers and strings, with their values at a level."""
    found = plugins.find("games", game)
    values = found.LEVELS.get(level, {})
    fields = {field.name: values.get(field.name, field.default) for field in dataclasses.fields(found)}
    shared = {field.name for field in dataclasses.fields(Game)}
    return {
        name: value
        for name, value in fields.items()
        if name not in shared and isinstance(value, bool | int | float | str)
    }


def network(trunk: str, memory: str, width: int, layers: int) -> ConfigDict:
    """Return the section of the trunk around the memory layers.

    The control `memory=none` sees the observation only: with its previous action it would have a memory of one step.

    Raises:
      ValueError: unknown trunk.
    """
    check_choice("trunk", trunk, TRUNKS)
    kind = TRUNKS[trunk]
    inputs = "o" if memory == "none" else kind.inputs
    options = {"width": width, "layers": layers, "bypass": kind.bypass, "inputs": inputs, "encode_chunk": 0}
    return ConfigDict({"trunk": trunk, **options})


def match_memory(config: ConfigDict, match: str) -> None:
    """Set the size of the memory, so that memories can be compared.

    Args:
      config: with its memory and network sections.
      match: "width": each memory has the trunk's width and its own default size; "parameters": each has the size that
        gives it 4 width² parameters within 5 %, so that any two are within 10 % of each other.

    Raises:
      ValueError: unknown `match`, or the memory has no such size.
    """
    check_choice("match", match, MATCHES)
    config.network.match = match
    if match == "parameters":
        options = {key: value for key, value in config.memory.items() if key != "name"}
        memory = plugins.find("memory", config.memory.name)
        config.memory[memory.SIZE] = sizes.matched_size(memory, config.network.width, **options)


def initialise_memory(config: ConfigDict, init: str) -> None:
    """Set the initial time scale of the memory, so that memories can be compared.

    Args:
      config: with its memory and network sections.
      init: "paper": each memory has its own initialisation; "matched": each memory with an option `init_horizon` has
        time constants up to MATCHED_HORIZON steps, the others are unchanged.

    Raises:
      ValueError: unknown `init`.
    """
    check_choice("init", init, INITS)
    config.network.init = init
    if init == "matched" and "init_horizon" in config.memory:
        config.memory.init_horizon = MATCHED_HORIZON


def total_updates(config: ConfigDict) -> int:
    """Return the number of updates of a run: whole calls of the program that make at least `config.frames` slots."""
    per_call = config.num_envs * config.algorithm.rollout_length * config.updates_per_call
    return math.ceil(config.frames / per_call) * config.updates_per_call


def check_level(game: str, level: str) -> None:
    """Raise ValueError unless the game has the level."""
    check_choice(f"level of {plugins.label(game)}", level, plugins.find("games", game).LEVELS)
