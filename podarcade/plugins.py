"""Plug-ins: a module in a folder, holding one class that keeps the folder's contract.

There is no registry: a new file is a new plug-in, and `names` lists it.
"""

import difflib
import importlib
import inspect
import pkgutil

CONTRACTS = {
    "games": ("podarcade.envs.games", "Game"),
    "memory": ("podarcade.models.memory", "Memory"),
    "encoders": ("podarcade.models.encoders", "Encoder"),
    "algorithms": ("podarcade.algorithms", "Algorithm"),
}


def _plugin(kind: str, module_name: str) -> type | None:
    folder, name = CONTRACTS[kind]
    package = importlib.import_module(folder)
    contract = getattr(package, name)
    module = importlib.import_module(f"{package.__name__}.{module_name}")
    found = [
        value
        for _, value in inspect.getmembers(module, inspect.isclass)
        if issubclass(value, contract) and value.__module__ == module.__name__ and not value.__name__.startswith("_")
    ]
    if len(found) > 1:
        raise TypeError(f"{module.__name__} holds {len(found)} plug-ins; keep one public {contract.__name__} in a file")
    return found[0] if found else None


def names(kind: str) -> list[str]:
    """Names of all plug-ins of a kind, sorted: the modules that hold one."""
    package = importlib.import_module(CONTRACTS[kind][0])
    modules = sorted(info.name for info in pkgutil.iter_modules(package.__path__))
    return [name for name in modules if _plugin(kind, name) is not None]


def did_you_mean(name: str, there_are: list[str]) -> str:
    """The end of an error: the nearest name, or all there are."""
    near = difflib.get_close_matches(name, there_are, n=1, cutoff=0.6)
    return f"did you mean {near[0]}?" if near else f"there are {', '.join(sorted(there_are))}"


def find(kind: str, name: str) -> type:
    """The plug-in class called `name`.

    Raises:
      ValueError: there is none; says which is near, or which there are.
    """
    if name not in names(kind):
        raise ValueError(f"no {kind.removesuffix('s')} {name!r}; {did_you_mean(name, names(kind))}")
    return _plugin(kind, name)
