"""Reading the command line: the program's flags, the configuration file, and overrides of its values.

    --config=FILE.py:ARGUMENT --config.algorithm.discount=0.9 --workdir=runs/mine

Nothing is ignored: an unknown flag, a stray word, a flag without its value or one that is given twice is an error.
"""

import contextlib
import decimal
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from absl import flags

from podarcade import configuration, plugins
from podarcade.configuration import ConfigDict, files
from podarcade.runtime.differences import flatten

LARGEST_EXPONENT = 30  # of an integer in scientific notation
SEPARATE_VALUE = re.compile(r"[^-].*|-?[\d.].*|-|", re.DOTALL)  # what may follow a flag as its value: "x", "-1"


class Words(NamedTuple):
    """A command line, taken apart.

    Attributes:
      config: the value of `--config`, None where it is not given.
      overrides: the text of each overridden value by its path, as {"algorithm.discount": "0.9"}.
    """

    config: str | None
    overrides: dict[str, str]


def load(flag_values: flags.FlagValues, arguments: list[str]) -> ConfigDict:
    """Return the configuration that a command line asks for, and set the program's flags.

    Args:
      flag_values: the program's flags.
      arguments: the command line, the program's name first.

    Raises:
      ValueError: a file, flag, option or value that does not exist; the message is one line.
    """
    words = parse(flag_values, arguments)
    if words.config is None:
        raise ValueError(f"no --config given; try --config={files.DEFAULT}")
    config = files.read(words.config)
    for path, text in words.overrides.items():
        override(config, path, text)
    return config


def configured(arguments: list[str]) -> ConfigDict:
    """Return the configuration that `--config` and `--config.x=y` alone describe; errors are those of `load`."""
    return load(flags.FlagValues(), ["podarcade", *arguments])


def parse(flag_values: flags.FlagValues, arguments: list[str]) -> Words:
    """Take a command line apart and set the program's flags. No configuration is read unless there is an error.

    Raises:
      ValueError: an unknown flag, a stray word, a flag without a value, or one given twice with different values.
    """
    given: dict[str, str] = {}
    for name, value in _pairs(list(arguments[1:]), flag_values):
        if given.setdefault(name, value) != value:
            raise ValueError(f"--{name} is given twice, as {given[name]} and as {value}; give it once")
    config = given.pop("config", None)
    overrides = {name.removeprefix("config."): given.pop(name) for name in list(given) if name.startswith("config.")}
    try:
        flag_values([arguments[0], *(f"--{name}={value}" for name, value in given.items())])
    except flags.Error as error:
        raise ValueError(str(error)) from error
    return Words(config, overrides)


def _pairs(queue: list[str], flag_values: flags.FlagValues) -> Iterator[tuple[str, str]]:
    """Yield name and value of each flag, however it is written; consumes the queue of arguments."""
    while queue:
        item = queue.pop(0)
        if item == "--" and queue:
            item = queue.pop(0)
        if not item.startswith("-") or not item.strip("-"):
            raise ValueError(f"unexpected argument {item!r}{_hint(*item.partition('='), flag_values)}")
        name, equals, value = item.lstrip("-").partition("=")
        is_config = name == "config" or name.startswith("config.")
        flag, negated = (None, False) if is_config else _flag(name, flag_values)
        if flag is None and not is_config:
            raise ValueError(f"unknown flag --{name}{_hint(name, equals, value, flag_values)}")
        name = name if flag is None else flag.name
        if flag is not None and flag.boolean:
            yield name, value or ("false" if negated else "true")
        elif value or (equals and not is_config):
            yield name, value
        elif queue and not equals and SEPARATE_VALUE.fullmatch(queue[0]):
            yield name, queue.pop(0)
        else:
            raise ValueError(f"--{name} needs a value, as --{name}=VALUE")


def _flag(name: str, flag_values: flags.FlagValues) -> tuple[flags.Flag | None, bool]:
    """Return the program's flag of that name, None for none, and whether it is written as `--noNAME`."""
    if name in flag_values:
        return flag_values[name], False
    positive = name.removeprefix("no")
    if positive != name and positive in flag_values and flag_values[positive].boolean:
        return flag_values[positive], True
    return None, False


def _hint(name: str, equals: str, value: str, flag_values: flags.FlagValues) -> str:
    """Return the end of an error message about a flag or a word: what was probably meant, or nothing."""
    if name.partition(":")[0].endswith((".py", ".json")):
        return f"; did you mean --config={name}{equals}{value}?"
    own = [flag for flag in flag_values if len(flag) > 1]
    path = name.removeprefix("config.")
    if path in own:
        return f"; did you mean --{path}{equals}{value}?"
    known: dict[str, Any] = {}
    with contextlib.suppress(ValueError):
        known = dict(flatten(files.read(f"{files.DEFAULT}:preset=cpu").to_dict()))
    options = [other for other in known if other == path or other.rpartition(".")[2] == path]
    if options:
        return f"; did you mean --config.{options[0]}{equals}{value}?"
    near = plugins.did_you_mean(path, [*own, "config", *(other.rpartition(".")[2] for other in known)])
    meant = near.removeprefix("did you mean '").removesuffix("'?")
    if near == meant:
        return ""
    options = [f"config.{other}" for other in known if other.rpartition(".")[2] == meant and meant not in own]
    return f"; did you mean --{(options or [meant])[0]}{equals}{value}?"


def override(config: ConfigDict, path: str, text: str) -> None:
    """Set a value of a configuration to what was typed.

    Raises:
      ValueError: no such option, one that is chosen in the file's argument, or a value of another type.
    """
    known = dict(flatten(config.to_dict()))
    argument = configuration.CHOSEN_IN_ARGUMENT.get(path, path if path in configuration.KINDS else None)
    if argument:
        raise ValueError(f"config.{path} is chosen in the file's argument: --config=FILE.py:{argument}=...")
    if options := [f"config.{other}" for other in known if other.startswith(f"{path}.")]:
        raise ValueError(f"config.{path} is a section; expected one of its options: {', '.join(options)}")
    if path not in known:
        raise ValueError(files.unknown_option(path, known))
    *sections, name = path.split(".")
    for section in sections:
        config = config[section]
    config[name] = _convert(path, text, known[path])


def _convert(path: str, text: str, current: Any) -> Any:
    """Return the value that was typed, of the type of the current one."""
    if isinstance(current, bool):
        if text.lower() not in ("true", "false"):
            raise ValueError(f"{path}={text}; expected true or false")
        return text.lower() == "true"
    if isinstance(current, int):
        return _integer(path, text)
    if isinstance(current, float):
        with contextlib.suppress(ValueError):
            return float(text)
        raise ValueError(f"{path}={text}; expected a number")
    return text


def _integer(path: str, text: str) -> int:
    """Return an integer, which may be in scientific notation: "60000", "6e4"."""
    with contextlib.suppress(ValueError):
        return int(text)
    with contextlib.suppress(decimal.InvalidOperation):
        number = decimal.Decimal(text)
        if number.is_finite() and number.adjusted() < LARGEST_EXPONENT and number == number.to_integral_value():
            return int(number)
    raise ValueError(f"{path}={text}; expected an integer, as 60000 or 6e4")
