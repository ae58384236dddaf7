"""Which diagnostics are made, with which options."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from podarcade import plugins
from podarcade.diagnostics import Diagnostic

ALL = "all"


def choose(names: Sequence[str], overrides: Sequence[str] = ()) -> dict[str, Diagnostic]:
    """Return diagnostics by name.

    Args:
      names: of diagnostics, which may be files or modules; "all" stands for all of the package.
      overrides: "NAME.OPTION=VALUE".

    Raises:
      ValueError: unknown diagnostic or option, or a value of the wrong type or that the diagnostic refuses.
    """
    names = [
        plugins.canonical(one) for name in names for one in (plugins.names("diagnostics") if name == ALL else [name])
    ]
    kinds = {name: plugins.find("diagnostics", name) for name in dict.fromkeys(names)}
    options: dict[str, dict[str, Any]] = {name: {} for name in kinds}
    for text in overrides:
        path, equals, value = text.partition("=")
        label, _, field = path.rpartition(".")
        if not (equals and label):
            raise ValueError(f"--override={text}; expected DIAGNOSTIC.OPTION=VALUE, as in recall_density.episodes=16")
        chosen = {plugins.label(name): name for name in kinds}
        if label not in chosen:
            raise ValueError(f"--override={text}: {plugins.unknown('diagnostic', label, chosen)}")
        options[chosen[label]][field] = _read(kinds[chosen[label]], field, value, text)
    return {name: kind(**options[name]) for name, kind in kinds.items()}


def _read(kind: type[Diagnostic], name: str, value: str, text: str) -> Any:
    """Return the value of an option as its default's type."""
    defaults = {field.name: field.default for field in dataclasses.fields(kind)}
    if name not in defaults:
        raise ValueError(f"--override={text}: {plugins.unknown('option', name, defaults)}")
    expected = type(defaults[name])
    if expected is bool:
        if value.lower() not in ("true", "false"):
            raise ValueError(f"--override={text}; expected true or false")
        return value.lower() == "true"
    try:
        return expected(value)
    except ValueError:
        raise ValueError(f"--override={text}; expected a value of type {expected.__name__}") from None
