"""Reading a configuration from a file: an experiment in Python, or the config.json that a run left behind."""

import dataclasses
import json
import pathlib
from typing import Any

import podarcade
from podarcade import configuration, plugins
from podarcade.configuration import ConfigDict
from podarcade.models.networks import TRUNKS
from podarcade.runtime.differences import flatten
from podarcade.runtime.run_files import ADDED
from podarcade.tracebacks import describe

DEFAULT = "configs/pqn_lru.py"  # the experiment that help and error messages point to
STRUCTURE = (
    "environment.name", "environment.level", "memory.name", "encoder.name", "network.trunk", "algorithm.name",
)  # fmt: skip
MOVED = {"ppo_lru.py": "configs/ppo.py", "dqn_lru.py": "configs/dqn.py"}
RENAMED = {
    "algorithm.trace": ("algorithm.td_lambda", "algorithm.gae_lambda"),
    "algorithm.rollout": ("algorithm.rollout_length",),
    "algorithm.epochs": ("algorithm.num_epochs",),
    "algorithm.minibatches": ("algorithm.num_minibatches",),
    "algorithm.carry": ("algorithm.carry_init",),
    "algorithm.steps": ("algorithm.n_steps",),
    "algorithm.rescale": ("algorithm.rescale_values",),
    "memory.chrono": ("memory.init_horizon",),
    "compat.limit_is_terminal": ("environment.limit_is_terminal",),
}


def read(text: str) -> ConfigDict:
    """Read what `--config` names.

    Args:
      text: "FILE.py", "FILE.py:ARGUMENT" or "FILE.json". A relative path is resolved in the working directory first,
        then among the experiments that are installed with the package.

    Raises:
      ValueError: no such file, or it does not make a configuration; the message has file and line.
    """
    name, colon, argument = text.partition(":")
    file = resolve(name)
    if file.suffix == ".json":
        if colon:
            raise ValueError(f"--config={text}; a JSON file takes no argument: give --config={name} and overrides")
        return read_json(file)
    config = _run_python(file, argument if colon else None)
    _check(config, file)
    return config


def read_json(file: pathlib.Path) -> ConfigDict:
    """Read the config.json of a run.

    Raises:
      ValueError: the file does not hold a configuration of this version; the message is one line.
    """
    config = _read_json(file)
    for name, value in ADDED.items():
        if name not in config:
            config[name] = value
    _check(config, file)
    return config


def resolve(name: str) -> pathlib.Path:
    """Return the path of a configuration file.

    Raises:
      ValueError: no such file.
    """
    path = pathlib.Path(name).expanduser()
    if path.is_file():
        return path
    shipped = experiments()
    if path.parts[:1] == ("configs",) and (shipped.parent / path).is_file():
        return shipped.parent / path
    if path.name in MOVED:
        raise ValueError(f"{name} was renamed; use --config={MOVED[path.name]}")
    if path.parent.name == "paper":
        raise ValueError(f"{name} was renamed; use --config=configs/popgym_arcade/{path.name}")
    here = [str(file) for file in path.parent.glob("*.py")] if path.parent.name else []
    known = sorted({*here, *(str(file.relative_to(shipped.parent)) for file in shipped.rglob("*.py"))})
    raise ValueError(f"found no configuration file {name}; {plugins.did_you_mean(name, known)}")


def experiments() -> pathlib.Path:
    """Return the folder of the experiments that come with the package: inside it, or beside it in a checkout."""
    package = pathlib.Path(podarcade.__file__).parent
    inside, beside = package / "configs", package.parent / "configs"
    return inside if inside.is_dir() else beside


def _run_python(file: pathlib.Path, argument: str | None) -> Any:
    """Return what `get_config` of a file returns.

    Raises:
      ValueError: the file fails. A wrong argument of an experiment of ours is reported as it is, any other error with
        file and line.
    """
    module = plugins.load_module("podarcade_experiment", file)
    if not callable(getattr(module, "get_config", None)):
        raise ValueError(f"{file} has no function get_config; expected `def get_config(argument=None)`")
    try:
        return module.get_config(argument) if argument is not None else module.get_config()
    except Exception as error:
        if isinstance(error, ValueError) and file.resolve().is_relative_to(experiments().resolve()):
            raise
        raise ValueError(describe(error, (str(file), None))) from error


def _read_json(file: pathlib.Path) -> ConfigDict:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{file} is not valid JSON: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{file} holds a {type(content).__name__}; expected the config.json of a run")
    return ConfigDict(content)


def _check(config: Any, file: pathlib.Path) -> None:
    """Raise ValueError unless a configuration has all options, with values of their types, and no others."""
    if not isinstance(config, ConfigDict):
        raise ValueError(f"{file}: get_config() returned a {type(config).__name__}; expected a ConfigDict")
    found = dict(flatten(config.to_dict()))
    for path in STRUCTURE:
        if not isinstance(found.get(path), str):
            raise ValueError(f"{file}: {path} is missing; expected a name, as in configs/pqn.py")
    expected = dict(flatten(_defaults(config).to_dict()))
    for path in found.keys() - expected.keys() - configuration.CHOSEN_IN_ARGUMENT.keys():
        raise ValueError(f"{file}: {unknown_option(path, expected)}")
    for path, default in expected.items():
        if path not in found:
            raise ValueError(f"{file}: {path} is missing; expected a value such as {default!r}")
        if not _fits(found[path], default):
            raise ValueError(f"{file}: {path}={found[path]!r}; expected a value of type {type(default).__name__}")


def _defaults(config: ConfigDict) -> ConfigDict:
    """Return a configuration of the same structure with every field at its default."""
    expected = configuration.root("", "")
    choice = ConfigDict({"game": config.environment.name, "level": config.environment.level, "partial": True})
    expected.environment = configuration.environment(choice)
    for name, kind in configuration.KINDS.items():
        expected[name] = configuration.section(kind, config[name].name)
    trunk = config.network.trunk
    expected.network = configuration.network(trunk, config.memory.name, width=1, layers=1)
    for field in dataclasses.fields(TRUNKS[trunk]):
        if field.name in config.network and field.name not in configuration.NOT_OPTIONS:
            expected.network[field.name] = field.default
    return expected


def _fits(value: Any, default: Any) -> bool:
    if isinstance(default, float) and not isinstance(value, bool):
        return isinstance(value, int | float)
    return type(value) is type(default)


def unknown_option(path: str, known: dict[str, Any]) -> str:
    """Return the error message for a path that is no option of a configuration.

    Args:
      path: such as "algorithm.dscount".
      known: the options of the configuration by path.
    """
    section, _, name = path.rpartition(".")
    new = RENAMED.get(path, (f"algorithm.{name}",) if section == "compat" else ())
    for candidate in new:
        if candidate in known:
            return f"config.{path} was renamed; use config.{candidate}"
    if new and section == "compat":
        return f"config.{path} was renamed to config.{new[0]}, which algorithm={known_name(known)} does not have"
    same_name = [other for other in known if other.rpartition(".")[2] == name]
    beside = [other for other in known if other.rpartition(".")[0] == section]
    if same_name:
        hint = f"did you mean {f'config.{same_name[0]}'!r}?"
    else:
        hint = plugins.did_you_mean(f"config.{path}", [f"config.{other}" for other in beside or known])
    return f"unknown option config.{path}; {hint}"


def known_name(known: dict[str, Any]) -> str:
    """Return the name of the algorithm of a configuration, for display."""
    return plugins.label(str(known.get("algorithm.name", "")))
