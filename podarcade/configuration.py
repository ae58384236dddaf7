"""Configuration: what configs/*.py are written with, how it is read from the command line, how it is kept.

Structure (which game, which memory) is chosen in the file's argument, `--config=file.py:memory=lru`; values are
overridden by `--config.algorithm.discount=0.9`. Defaults live once, in the dataclasses that have the fields.
"""

import dataclasses
import math
import pathlib
from collections.abc import Iterable
from typing import Any

import jax
import ml_collections
from absl import flags
from ml_collections import config_flags

from podarcade import plugins
from podarcade.algorithms.compat import Compat
from podarcade.models.memory import sizes
from podarcade.models.networks import TRUNKS
from podarcade.runtime.differences import flatten

ConfigDict = ml_collections.ConfigDict
NOT_OPTIONS = ("parent", "name", "width", "trunk", "num_actions", "compat")  # set by the program, not by people
CHOSEN_IN_ARGUMENT = {
    "environment.name": "game",
    "environment.level": "level",
    "memory.name": "memory",
    "encoder.name": "encoder",
    "network.trunk": "trunk",
    "network.match": "match",
    "preset": "preset",
    "preset_asked": "preset",
    "version": "version",
    "budget": "budget",
}


def parse_argument(argument: str | None, **defaults: Any) -> ml_collections.ConfigDict:
    """Reads "game=tetris,partial=false" into the types of the defaults.

    Raises:
      ValueError: a name that is not among the defaults, or a value of another type.
    """
    choice = ml_collections.ConfigDict(defaults)
    for item in filter(None, (argument or "").split(",")):
        name, equals, value = item.partition("=")
        if name not in defaults:
            raise ValueError(f"no argument {name!r} in :{argument}; {plugins.did_you_mean(name, list(defaults))}")
        if not equals:
            raise ValueError(f"argument {name!r} in :{argument} has no value; write {name}={defaults[name]}")
        if isinstance(defaults[name], bool):
            if value.lower() not in ("true", "false"):
                raise ValueError(f"{name}={value}; there are true and false")
            value = value.lower() == "true"
        choice[name] = value
    return choice


def accelerator() -> str | None:
    """The kind of accelerator there is, None on a machine with only a CPU."""
    backend = jax.default_backend()
    return None if backend == "cpu" else backend


def choose_preset(name: str, there_are: tuple[str, ...]) -> str:
    """The preset that `auto` stands for here, or the named one.

    Raises:
      ValueError: there is no such preset.
    """
    if name == "auto":
        return "gpu" if accelerator() else "cpu"
    check_choice("preset", name, ("auto", *there_are))
    return name


def check_choice(what: str, value: str, there_are: Iterable[str]) -> None:
    """Raises ValueError unless there is such a value."""
    if value not in there_are:
        raise ValueError(f"no {what} {value!r}; {plugins.did_you_mean(value, list(there_are))}")


def section(kind: str, name: str, **changes: Any) -> ml_collections.ConfigDict:
    """All options of a plug-in with their defaults, some of them changed.

    Raises:
      ValueError: no such plug-in, or it has no such option.
    """
    fields = {field.name: field for field in dataclasses.fields(plugins.find(kind, name))}
    options = {key: field.default for key, field in fields.items() if key not in NOT_OPTIONS}
    for key in changes:
        if key not in options:
            raise ValueError(f"{kind} {name} has no option {key!r}; {plugins.did_you_mean(key, list(options))}")
    return ml_collections.ConfigDict({"name": name, **options, **changes})


def root(preset: str, asked: str) -> ml_collections.ConfigDict:
    """The part of a configuration that belongs to the run as a whole. All numbers are global."""
    config = ml_collections.ConfigDict()
    config.preset = preset
    config.preset_asked = asked
    config.seed = 0  # of the first run
    config.seeds = 1  # runs side by side, with seeds seed, seed + 1, ...
    config.num_envs = 8  # of each run
    config.frames = 0  # environment steps of each run, restarts included
    config.schedule_frames = 0  # over which learning rate and exploration change; 0 for the whole run
    config.updates_per_call = 1  # updates in one program call; metrics are written once per call
    config.evaluation = ml_collections.ConfigDict({"every": 1, "episodes": 8})  # in calls; per twin and seed
    # A checkpoint `every` so many calls; the latest `keep` stay, the best, and one of `keep_every`, 0 for none. Without
    # `replay` they are smaller, and a run that goes on from one fills its replay anew.
    config.checkpoint = ml_collections.ConfigDict({"every": 1, "keep": 3, "keep_every": 10, "replay": True})
    config.max_skipped = 100  # gradient steps of a seed that may be not finite, in all, before the run stops
    config.compat = ml_collections.ConfigDict(dataclasses.asdict(Compat()))  # quirks of the released trainers
    config.mesh = ml_collections.ConfigDict({"seed": 0, "data": 0})  # devices on each axis, 0 to choose
    return config


def environment(choice: ml_collections.ConfigDict) -> ml_collections.ConfigDict:
    """Which game, how hard, and how much of it is seen."""
    return ml_collections.ConfigDict(
        {
            "name": choice.game,
            "level": choice.level,
            "observability": "partial" if choice.partial else "full",
            "obs_size": 128,
            "rules": "strict",
        }
    )


def network(trunk: str, width: int, layers: int) -> ml_collections.ConfigDict:
    """The trunk around the memory.

    Raises:
      ValueError: there is no such trunk.
    """
    check_choice("trunk", trunk, TRUNKS)
    return ml_collections.ConfigDict(
        {"trunk": trunk, "width": width, "layers": layers, "bypass": TRUNKS[trunk].bypass, "encode_chunk": 0}
    )


def match_memory(config: ml_collections.ConfigDict, how: str) -> None:
    """Sets the size of the memory, for comparisons.

    Args:
      config: with its memory and its network.
      how: "width", where each memory has the trunk's width and its own default size; or "parameters", where
        each has the size that gives it 4 width² parameters within 5 %, so that any two are within 10 %.

    Raises:
      ValueError: there is no such way, or no such size.
    """
    check_choice("match", how, ("width", "parameters"))
    config.network.match = how
    if how == "parameters":
        options = {key: value for key, value in config.memory.items() if key != "name"}
        memory = plugins.find("memory", config.memory.name)
        config.memory[memory.SIZE] = sizes.matched_size(memory, config.network.width, **options)


def total_updates(config: ml_collections.ConfigDict) -> int:
    """Return the number of updates of a run: whole calls that make at least `config.frames` slots."""
    per_call = config.num_envs * config.algorithm.rollout_length * config.updates_per_call
    return math.ceil(config.frames / per_call) * config.updates_per_call


def check_level(game: str, level: str) -> None:
    """Raises ValueError unless the game has the level."""
    check_choice(f"level of {game}", level, plugins.find("games", game).LEVELS)


def load(flag_values: flags.FlagValues, arguments: list[str]) -> ml_collections.ConfigDict:
    """The configuration that a command line asks for.

    Args:
      flag_values: where `--config` gets defined, next to the program's own flags.
      arguments: the command line, the program's name first.

    Raises:
      ValueError: a file, field or value that does not exist; one line says which.
    """
    overrides = [item for item in arguments if item.lstrip("-").startswith("config.")]
    plain = [item for item in arguments if item not in overrides]
    _check_file(plain)
    try:
        # Parsed once without the overrides, to see which there can be.
        alone = flags.FlagValues()
        _define(alone, plain)
        alone(plain, known_only=True)
        if alone.config is None:
            raise ValueError("no --config given; try --config=configs/pqn_lru.py")
        _check_overrides(alone.config, overrides)
        _define(flag_values, arguments)
        flag_values(arguments)
    except (flags.Error, OSError, AttributeError, KeyError, TypeError) as error:
        raise ValueError(_root(error)) from error
    return flag_values.config


def _check_file(arguments: list[str]) -> None:
    for item, following in zip(arguments, [*arguments[1:], ""], strict=True):
        name, given, value = item.lstrip("-").partition("=")
        file = pathlib.Path((value if given else following).partition(":")[0])
        if name == "config" and not file.is_file():
            there_are = ", ".join(str(path) for path in sorted(file.parent.glob("*.py")))
            raise ValueError(f"no configuration file {file}; there {'are ' + there_are if there_are else 'is none'}")


def _define(flag_values: flags.FlagValues, arguments: list[str]) -> None:
    config_flags.DEFINE_config_file(
        "config", None, "configs/FILE.py:ARGUMENTS", flag_values=flag_values, sys_argv=arguments
    )


def _root(error: BaseException) -> str:
    """What went wrong, in a line: the flags wrap errors of a configuration file in their own."""
    while "parsing config file" in str(error) and (cause := error.__cause__ or error.__context__) is not None:
        error = cause
    return str(error).strip().splitlines()[0].strip("'\"")


def _check_overrides(config: ml_collections.ConfigDict, overrides: list[str]) -> None:
    """Every override has to name a value that exists and is no choice of structure."""
    for item in overrides:
        path = item.lstrip("-").partition("=")[0].removeprefix("config.")
        node = config
        for part in path.split("."):
            if not isinstance(node, ml_collections.ConfigDict) or part not in node:
                names = list(node) if isinstance(node, ml_collections.ConfigDict) else _paths(config)
                raise ValueError(f"no such field config.{path}; {plugins.did_you_mean(part, names)}")
            node = node[part]
        if isinstance(node, ml_collections.ConfigDict):
            raise ValueError(f"config.{path} is a group of fields; give one of {', '.join(node)}")
        if path in CHOSEN_IN_ARGUMENT:
            argument = CHOSEN_IN_ARGUMENT[path]
            raise ValueError(f"config.{path} is chosen in the file's argument: --config=FILE.py:{argument}=...")
        if path == "algorithm.name":
            raise ValueError("config.algorithm.name is what the configuration file is about; give another file")


def _paths(config: ml_collections.ConfigDict) -> list[str]:
    return [path for path, _ in flatten(config.to_dict())]
