"""Plug-ins: modules that hold one public subclass of a contract.

There is no registry. A plug-in is named in one of three ways, wherever a configuration asks for one:

    memory=lru                      a module in the package's own folder
    memory=layers/indrnn.py         any Python file
    game=my_package.tmaze           any importable module

Games of another library have its name in front: game=gymnax:CartPole-v1.
"""

import difflib
import functools
import hashlib
import importlib
import importlib.machinery
import importlib.util
import inspect
import os
import pathlib
import pkgutil
import sys
import types
from collections.abc import Iterable

from podarcade.tracebacks import describe

CONTRACTS = {
    "games": ("podarcade.envs.games", "Game"),
    "memory": ("podarcade.models.memory", "Memory"),
    "encoders": ("podarcade.models.encoders", "Encoder"),
    "algorithms": ("podarcade.algorithms", "Algorithm"),
    "diagnostics": ("podarcade.diagnostics", "Diagnostic"),
}
FOLDERS = {"games": ("podarcade.envs.games", "podarcade.envs.tasks")}  # kinds that do not live in one folder only
LIBRARIES = {("games", "gymnax"): ("podarcade.envs.gymnax_tasks", "task")}  # (kind, library) -> module, function
RENAMED = {
    ("encoder", "cpu"): "patch",
    ("encoder", "paper"): "popgym_cnn",
    ("trunk", "paper"): "popgym",
    ("trunk", "paper_mlp"): "popgym_mlp",
}


def names(kind: str) -> list[str]:
    """Return the sorted names of the package's own plug-ins of a kind, without those that fail to import."""
    found = []
    for name in _modules(kind):
        try:
            plugin = _plugin(kind, _own_module(kind, name))
        except ValueError:
            continue  # `find` raises it for the runs that ask for this plug-in
        if plugin is not None:
            found.append(name)
    return found


def find(kind: str, name: str) -> type:
    """Return a plug-in class.

    Args:
      kind: a key of `CONTRACTS`.
      name: name of a plug-in of the package, path of a Python file, dotted name of an importable module, or
        LIBRARY:NAME.

    Raises:
      ValueError: no such plug-in, or its file fails to import or holds no class or several.
    """
    library, colon, rest = name.partition(":")
    if colon and (kind, library) in LIBRARIES:
        module, function = LIBRARIES[kind, library]
        return getattr(importlib.import_module(module), function)(rest)
    if is_external(name):
        module = _load_file(canonical(name)) if _is_path(name) else _import(name)
        plugin = _plugin(kind, module)
        if plugin is None:
            raise ValueError(f"{name}: found no public subclass of {'.'.join(CONTRACTS[kind])}; expected one")
        return plugin
    plugin = _plugin(kind, _own_module(kind, name)) if name in _modules(kind) else None
    if plugin is None:
        raise ValueError(unknown(singular(kind), name, names(kind)))
    return plugin


def singular(kind: str) -> str:
    """Return the word for one plug-in of a kind: "game", "memory", "encoder", "algorithm", "diagnostic"."""
    return kind.removesuffix("s")


def is_external(name: str) -> bool:
    """Return whether a name is a path, a dotted module or LIBRARY:NAME, not a plug-in of the package."""
    return _is_path(name) or "." in name or ":" in name


def canonical(name: str) -> str:
    """Return a name that means the same plug-in from any working directory: paths become absolute."""
    return str(pathlib.Path(name).expanduser().resolve()) if _is_path(name) else name


def label(name: str) -> str:
    """Return a short name for display: the stem of a path, the last part of a dotted name or of LIBRARY:NAME."""
    return pathlib.Path(name).stem if _is_path(name) else name.rpartition(":")[2].rpartition(".")[2]


def unknown(what: str, name: str, known: Iterable[str]) -> str:
    """Return the error message for a name that is not among the known ones."""
    if (what, name) in RENAMED:
        return f"{what}={name} was renamed; use {what}={RENAMED[what, name]}"
    return f"unknown {what} {name!r}; {did_you_mean(name, known)}"


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return the end of an error message: the closest known name, in any case of letters, or all known names."""
    by_lower = {item.lower(): item for item in known}
    near = difflib.get_close_matches(name.lower(), by_lower, n=1, cutoff=0.6)
    if near:
        return f"did you mean {by_lower[near[0]]!r}?"
    return f"expected one of: {', '.join(sorted(by_lower.values()))}"


def _is_path(name: str) -> bool:
    return name.endswith(".py") or "/" in name or "\\" in name


def _modules(kind: str) -> dict[str, str]:
    """Return the modules in the folders of a kind: name -> dotted name, sorted by name."""
    folders = FOLDERS.get(kind, CONTRACTS[kind][:1])
    paths = [path for folder in folders for path in importlib.import_module(folder).__path__]
    return _listed(folders, tuple(os.stat(path).st_mtime_ns for path in paths))


@functools.cache
def _listed(folders: tuple[str, ...], times: tuple[int, ...]) -> dict[str, str]:
    """Return the modules in folders, listed again when a folder has changed: a sweep asks thousands of times."""
    del times
    found = {
        info.name: f"{folder}.{info.name}"
        for folder in folders
        for info in pkgutil.iter_modules(importlib.import_module(folder).__path__)
    }
    return dict(sorted(found.items()))


def _own_module(kind: str, name: str) -> types.ModuleType:
    return _import(_modules(kind)[name])


def _import(name: str) -> types.ModuleType:
    """Import a module.

    Raises:
      ValueError: there is no such module, or it fails to import.
    """
    try:
        spec = importlib.util.find_spec(name)
    except Exception as error:  # a parent package is missing, or fails to import
        spec = None
        if not isinstance(error, ModuleNotFoundError) or not name.startswith(error.name or name):
            raise ValueError(f"{name}: {type(error).__name__}: {error}".splitlines()[0]) from error
    if spec is None:
        raise ValueError(f"found no module {name}; expected an importable module, or the path of a file")
    try:
        return importlib.import_module(name)
    except Exception as error:
        raise ValueError(describe(error, (spec.origin or name, None))) from error


@functools.cache
def _load_file(path: str) -> types.ModuleType:
    """Execute a Python file once per process, and return it as a module.

    Raises:
      ValueError: there is no such file, or it fails to import.
    """
    file = pathlib.Path(path)
    if not file.is_file():
        raise ValueError(f"found no file {path}; expected a Python file with a plug-in")
    name = f"podarcade_plugin_{hashlib.sha256(path.encode()).hexdigest()[:8]}.{file.stem}"
    return load_module(name, file)


def load_module(name: str, file: pathlib.Path) -> types.ModuleType:
    """Execute a Python file as the module `name`, whatever the file is called.

    Raises:
      ValueError: the file raises; the message has file, line and error.
    """
    loader = importlib.machinery.SourceFileLoader(name, str(file))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(name, loader))
    sys.modules[name] = module  # dataclasses look their module up
    try:
        loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise ValueError(describe(error, (str(file), None))) from error
    return module


def _plugin(kind: str, module: types.ModuleType) -> type | None:
    """Return the one public subclass of the contract that a module defines, None where it defines none.

    Raises:
      ValueError: the module defines several.
    """
    package, contract_name = CONTRACTS[kind]
    contract = getattr(importlib.import_module(package), contract_name)
    found = [
        value
        for _, value in inspect.getmembers(module, inspect.isclass)
        if issubclass(value, contract) and value.__module__ == module.__name__ and not value.__name__.startswith("_")
    ]
    if len(found) > 1:
        raise ValueError(
            f"{module.__file__}: found {len(found)} public subclasses of {contract_name} "
            f"({', '.join(value.__name__ for value in found)}); expected one: prefix the others with an underscore"
        )
    return found[0] if found else None
