"""Ranges: every number of a configuration is finite and lies between two others."""

import dataclasses
from collections.abc import Iterator, Mapping

from podarcade import plugins
from podarcade.configuration import KINDS, ConfigDict
from podarcade.runtime.differences import flatten

Range = tuple[float, float]

# Range of a plug-in's option, unless the metadata of its field has another: `metadata={"range": (-2, 2)}`.
DEFAULT: Range = (0, 1e9)
RANGES: dict[str, Range] = {
    "seed": (0, 2**31 - 1),
    "seeds": (1, 10_000),
    "num_envs": (1, 1e7),
    "frames": (1, 1e13),
    "schedule_frames": (0, 1e13),
    "updates_per_call": (1, 1e6),
    "evaluation.every": (1, 1e9),
    "evaluation.episodes": (1, 1e6),
    "checkpoint.every": (1, 1e9),
    "checkpoint.keep": (1, 1e9),
    "checkpoint.keep_every": (0, 1e9),
    "max_skipped": (1, 1e9),
    "mesh.seed": (0, 1e6),
    "mesh.data": (0, 1e6),
    "environment.obs_size": (1, 4096),
    "network.width": (1, 65_536),
    "network.layers": (1, 256),
    "network.encode_chunk": (0, 1e9),
    "network.dense": (0, 256),
}


def check(config: ConfigDict) -> None:
    """Raise ValueError unless every number of a configuration is within its range."""
    known = RANGES | dict(_ranges_of_plugins(config))
    for path, value in flatten(config.to_dict()):
        if isinstance(value, bool) or not isinstance(value, int | float):
            continue
        low, high = known.get(path, DEFAULT)
        if not low <= value <= high:  # false for NaN too
            kind = "an integer" if isinstance(value, int) else "a number"
            raise ValueError(f"{path}={value}; expected {kind} in [{_text(low)}, {_text(high)}]")


def _ranges_of_plugins(config: ConfigDict) -> Iterator[tuple[str, Range]]:
    for section, kind in KINDS.items():
        for field in dataclasses.fields(plugins.find(kind, config[section].name)):
            if isinstance(field.metadata, Mapping) and "range" in field.metadata:
                yield f"{section}.{field.name}", field.metadata["range"]


def _text(number: float) -> str:
    return str(int(number)) if float(number).is_integer() and abs(number) < 1e6 else f"{number:g}"
