"""Populations: members that differ in numbers only, trained side by side in one program.

    --config.seeds=2 --config.population="algorithm.learning_rate=1e-4,3e-4 algorithm.discount=0.9,0.99"

Member k has the k-th value of every list; each member has all seeds. On the seed axis of the program, member k has the
slots k S to (k + 1) S - 1 for its S seeds. Which hyper-parameters may differ, an algorithm says in `VALUES`: those that
enter its program as numbers, and shape nothing.
"""

from typing import Any

from podarcade import plugins, ranges
from podarcade.configuration import ConfigDict

Values = dict[str, float]  # path of an option -> its value

SECTION = "algorithm."
NOT_WITH = ("init_from", "diagnostics")  # options of a run that count its seeds


def values_of(algorithm: str) -> tuple[str, ...]:
    """Return the names of the hyper-parameters of an algorithm that members of a population may differ in."""
    found = plugins.find("algorithms", algorithm)
    return tuple(dict.fromkeys(name for base in reversed(found.__mro__) for name in vars(base).get("VALUES", ())))


def members(config: ConfigDict) -> list[Values]:
    """Return what each member of a configuration differs in: [{}] for a run that is no population.

    Raises:
      ValueError: a list that cannot be read, an option that members cannot differ in, lists of different lengths, a
        value out of its range, two equal members, or an option that a population cannot have.
    """
    lists = dict(_list(word, config) for word in config.population.split())
    if not lists:
        return [{}]
    lengths = {path: len(values) for path, values in lists.items()}
    if len(set(lengths.values())) > 1:
        given = ", ".join(f"{length} of {path}" for path, length in lengths.items())
        raise ValueError(f"population has {given}; expected lists of one length: member k has the k-th of each")
    found = [dict(zip(lists, values, strict=True)) for values in zip(*lists.values(), strict=True)]
    if repeated := [name(member) for index, member in enumerate(found) if member in found[:index]]:
        raise ValueError(f"population has {repeated[0]} twice; each member needs values of its own")
    for option in NOT_WITH:
        if config[option]:
            raise ValueError(f"population with {option}={config[option]}; a population has no {option}")
    return found


def slots(config: ConfigDict) -> list[int]:
    """Return the seed of every slot on the seed axis: those of the first member, those of the second, ..."""
    return list(range(config.seed, config.seed + config.seeds)) * len(members(config))


def hyper_parameters(config: ConfigDict) -> tuple[tuple[str, tuple[float, ...]], ...]:
    """Return the hyper-parameters that differ by slot: ((name, one value for each slot), ...)."""
    found = members(config)
    return tuple(
        (path.removeprefix(SECTION), tuple(member[path] for member in found for _ in range(config.seeds)))
        for path in found[0]
    )


def member(config: ConfigDict, values: Values) -> ConfigDict:
    """Return the configuration of a member alone, as if it had been trained alone."""
    alone = config.copy_and_resolve_references()
    alone.population = ""
    alone.update_from_flattened_dict(values)
    return alone


def name(values: Values) -> str:
    """Return the name of a member and of its folder, as "algorithm.learning_rate=0.0003,algorithm.discount=0.9"."""
    return ",".join(f"{path}={value!r}" for path, value in values.items())


def text(found: list[Values]) -> str:
    """Return the option `population` of members with the same paths; the inverse of `members`."""
    return " ".join(f"{path}={','.join(repr(values[path]) for values in found)}" for path in found[0])


def _list(word: str, config: ConfigDict) -> tuple[str, list[float]]:
    """Read "algorithm.discount=0.9,0.99"."""
    path, equals, listed = word.partition("=")
    known = values_of(config.algorithm.name)
    if not equals or not path.startswith(SECTION) or path.removeprefix(SECTION) not in known:
        allowed = ", ".join(f"{SECTION}{one}" for one in known)
        raise ValueError(f"population={word!r}; expected OPTION=VALUE,VALUE,... with an option among: {allowed}")
    return path, [number(config.algorithm.name, path, item, "population: ") for item in listed.split(",")]


def number(algorithm: str, path: str, text: str, where: str) -> float:
    """Read the value of a hyper-parameter.

    Args:
      algorithm: whose hyper-parameter it is.
      path: of the option.
      text: what was typed.
      where: begins the message of an error, "config." or "population: ".

    Raises:
      ValueError: it is no number, or out of its range.
    """
    try:
        value = float(text)
    except ValueError:
        raise ValueError(f"{where}{path}={text}; expected a number") from None
    kind = plugins.find("algorithms", algorithm)
    allowed: Any = ranges.inherited(kind, "RANGES").get(path.removeprefix(SECTION))
    if allowed is not None:
        ranges.check(f"{where}{path}", value, allowed)
    return value
