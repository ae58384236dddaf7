"""The text of `--help`."""

import textwrap
from collections.abc import Iterable, Mapping
from typing import Any

from absl import flags

from podarcade import configuration, plugins
from podarcade.configuration import files
from podarcade.models.networks import TRUNKS
from podarcade.runtime.differences import flatten

WIDTH = 119
KINDS = {"game": "games", "memory": "memory", "encoder": "encoders"}  # argument -> kind of plug-in
ARGUMENTS = """\
arguments of an experiment, as --config=configs/pqn.py:memory=gru,partial=false, with their defaults. A game, a memory,
an encoder or an algorithm may also be a file (memory=layers/indrnn.py) or an importable module (game=my_package.tmaze);
algorithm=sarsa.py replaces the algorithm of the experiment:"""
REST = """\
What an option means, and the options of other plug-ins: the docstring of its class, as PQN in
podarcade/algorithms/pqn.py and LRU in podarcade/models/memory/lru.py. All options of a run: its config.json."""


def text(introduction: str, flag_values: flags.FlagValues, arguments: Mapping[str, Any], presets: Iterable[str]) -> str:
    """Return the help: flags, arguments of the experiments, plug-ins, and options with their defaults.

    Args:
      introduction: printed first.
      flag_values: the program's flags.
      arguments: of the experiments, with their defaults.
      presets: names of the sizes.
    """
    experiments = files.experiments()
    shipped = sorted(str(path.relative_to(experiments.parent)) for path in experiments.rglob("*.py"))
    lines = [introduction.strip(), "", "flags:"]
    lines += _row("--config=", f"FILE.py:ARGUMENTS, or the config.json of a run; shipped are {', '.join(shipped)}")
    lines += _row("--config.x.y=", "override an option; integers may be written as 6e4")
    for name in (name for name in flag_values if len(name) > 1):
        flag = flag_values[name]
        default = "" if flag.boolean or flag.default in ("", None) else f" ({flag.default})"
        lines += _row(f"--{name}" if flag.boolean else f"--{name}=", f"{flag.help}{default}")
    lines += ["", ARGUMENTS]
    choices = {name: plugins.names(kind) for name, kind in KINDS.items()}
    choices |= {"trunk": TRUNKS, "match": configuration.MATCHES, "init": configuration.INITS, "preset": presets}
    for name, default in arguments.items():
        known = f": {', '.join(choices[name])}" if name in choices else ""
        lines += _row(name, f"{str(default).lower()}{known}")
    lines += ["", f"options, as --config.algorithm.discount=0.9, with the defaults of {files.DEFAULT}:preset=cpu:"]
    for section, options in _sections(files.read(f"{files.DEFAULT}:preset=cpu").to_dict()).items():
        lines += _row(section, " ".join(f"{key}={value}" for key, value in options.items()))
    lines += ["", REST]
    return "\n".join(lines)


def _sections(config: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the options that `--config.x.y` may override, by section."""
    found: dict[str, dict[str, Any]] = {"": {}}
    for path, value in flatten(config):
        section, dot, name = path.rpartition(".")
        if path not in configuration.CHOSEN_IN_ARGUMENT:
            found.setdefault(f"{section}{dot}", {})[name] = value
    return found


def _row(name: str, meaning: str) -> list[str]:
    """Return a row of a table: the name, and its meaning wrapped in a column of its own."""
    return textwrap.wrap(
        meaning,
        WIDTH,
        initial_indent=f"  {name:<18} ",
        subsequent_indent=" " * 21,
        break_long_words=False,
        break_on_hyphens=False,
    )
