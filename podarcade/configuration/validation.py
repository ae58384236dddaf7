"""Ranges of the numbers of a configuration: every one of them is finite and within a range."""

from collections.abc import Iterator

from podarcade import plugins, ranges
from podarcade.configuration import KINDS, ConfigDict
from podarcade.ranges import Range
from podarcade.runtime.differences import flatten

# Range of a plug-in's option, unless its class has another: `RANGES = {"temperature": Range(-2, 2)}`.
DEFAULT = Range(0, 1e9)
LARGEST = 1e12  # of any number of a plug-in
RANGES: dict[str, Range] = {
    "seed": Range(0, 2**31 - 1),
    "seeds": Range(1, 10_000),
    "num_envs": Range(1, 1e7),
    "frames": Range(1, 1e13),
    "schedule_frames": Range(0, 1e13),
    "updates_per_call": Range(1, 1e6),
    "evaluation.every": Range(1, 1e9),
    "evaluation.episodes": Range(1, 1e6),
    "checkpoint.every": Range(1, 1e9),
    "checkpoint.keep": Range(1, 1e9),
    "checkpoint.keep_every": Range(0, 1e9),
    "max_skipped": Range(1, 1e9),
    "mesh.seed": Range(0, 1e6),
    "mesh.data": Range(0, 1e6),
    "network.width": Range(1, 65_536),
    "network.layers": Range(1, 256),
    "network.encode_chunk": Range(0, 1e9),
    "network.dense": Range(0, 256),
}


def check(config: ConfigDict) -> None:
    """Raise ValueError unless every number of a configuration is within its range."""
    known = RANGES | dict(ranges_of_plugins(config))
    for path, value in flatten(config.to_dict()):
        if isinstance(value, int | float) and not isinstance(value, bool):
            ranges.check(path, value, known.get(path, DEFAULT))


def ranges_of_plugins(config: ConfigDict) -> Iterator[tuple[str, Range]]:
    """Yield the path and the range of every option for which the plug-ins of a configuration state one."""
    for section, kind in KINDS.items():
        for name, allowed in ranges.inherited(plugins.find(kind, config[section].name), "RANGES").items():
            yield f"{section}.{name}", allowed._replace(high=min(allowed.high, LARGEST))
