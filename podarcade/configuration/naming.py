"""Names of runs' folders: what is trained, and what differs from the preset."""

import collections
import contextlib
import re

from podarcade import plugins
from podarcade.configuration import ConfigDict, files
from podarcade.envs.observability import NAMES
from podarcade.runtime.differences import flatten
from podarcade.runtime.run_files import ADDED, comparable, fingerprint

MAX_CHANGES = 80  # characters
PLAIN = re.compile(r"[\w.+@,=-]*", re.ASCII)  # characters that a folder's name may have in any file system


def folder_name(config: ConfigDict) -> str:
    """Return a name such as "pqn-lru-minesweeper-easy-partial-cpu-learning_rate=0.001".

    Where the differences from the preset do not fit into a name, a fingerprint of six hexadecimal digits replaces them.
    Different configurations have different names.
    """
    section = config.environment
    plugin_names = config.algorithm.name, config.memory.name, section.name, config.encoder.name
    twin = section.observability if section.observability in NAMES else "twins"
    words = [*map(plugins.label, plugin_names[:3]), section.level, twin, config.preset]
    changes = _changes(config)
    is_external = any(map(plugins.is_external, plugin_names))
    if is_external or changes is None or len(changes) > MAX_CHANGES or not PLAIN.fullmatch(changes):
        changes = fingerprint(config.to_dict())
    return "-".join([*words, changes] if changes else words)


def _changes(config: ConfigDict) -> str | None:
    """Return how a configuration differs from its preset, as "learning_rate=0.001,seeds=3"; None without a preset."""
    section, name = config.environment, config.algorithm.name
    structure = {
        "game": section.name,
        "level": section.level,
        "partial": str(section.observability != "full"),
        "memory": config.memory.name,
        "preset": config.preset,
    }
    argument = ",".join(f"{key}={value}" for key, value in structure.items())
    for file in (f"configs/{name}.py", f"configs/popgym_arcade/{name.removeprefix('popgym_')}.py"):
        with contextlib.suppress(ValueError):
            preset = files.read(f"{files.experiments().parent / file}:{argument}")
            if preset.algorithm.name == name:
                return _differences(preset, config)
    return None


def _differences(preset: ConfigDict, config: ConfigDict) -> str | None:
    """Return the options that differ, by the shortest unambiguous name; None where one of them lacks an option."""
    before, after = (ADDED | dict(flatten(comparable(item.to_dict()))) for item in (preset, config))
    if before.keys() != after.keys():
        return None
    count = collections.Counter(path.rpartition(".")[2] for path in after)
    changed = [path for path, value in after.items() if before[path] != value]
    short = {path: path.rpartition(".")[2] if count[path.rpartition(".")[2]] == 1 else path for path in changed}
    return ",".join(f"{short[path]}={after[path]}" for path in changed)
