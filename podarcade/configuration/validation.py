"""What can be said of the values of a configuration without a device: ranges of its numbers, and whether they fit."""

from collections.abc import Iterator

from podarcade import configuration, plugins, ranges
from podarcade.configuration import KINDS, ConfigDict
from podarcade.envs import observability
from podarcade.ranges import Range
from podarcade.runtime.differences import flatten

# Range of a plug-in's option, unless its class has another: `RANGES = {"temperature": Range(-2, 2)}`.
DEFAULT = Range(0, 1e9)
LARGEST = 1e12  # of any number of a plug-in
MAX_STEPS = 2**31 - 1  # updates and gradient steps are counted in int32
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
    """Check every number of a configuration, its twins, and its lengths.

    Raises:
      ValueError: a number out of its range, or numbers that do not fit each other; the message is one line.
    """
    known = RANGES | dict(ranges_of_plugins(config))
    for path, value in flatten(config.to_dict()):
        if isinstance(value, int | float) and not isinstance(value, bool):
            ranges.check(path, value, known.get(path, DEFAULT))
    observability.parse(config.environment.observability)
    check_seeds(config.seed, config.seeds)
    _check_lengths(config)


def check_seeds(first: int, number: int) -> None:
    """Raise ValueError unless consecutive seeds fit into int32."""
    if first + number > 2**31:
        raise ValueError(f"seed={first} with seeds={number}; expected a last seed below 2**31")


def ranges_of_plugins(config: ConfigDict) -> Iterator[tuple[str, Range]]:
    """Yield the path and the range of every option for which the plug-ins of a configuration state one."""
    for section, kind in KINDS.items():
        for name, allowed in ranges.inherited(plugins.find(kind, config[section].name), "RANGES").items():
            yield f"{section}.{name}", allowed._replace(high=min(allowed.high, LARGEST))


def _check_lengths(config: ConfigDict) -> None:
    """Raise ValueError where a schedule is shorter than an update, or a count would overflow."""
    algorithm = config.algorithm
    per_update = config.num_envs * algorithm.rollout_length
    if config.schedule_frames and config.schedule_frames < per_update:
        raise ValueError(
            f"schedule_frames={config.schedule_frames}; expected 0 (the whole run) "
            f"or >= {per_update}, the frames of an update"
        )
    updates = max(configuration.total_updates(config), config.schedule_frames // per_update)
    steps = updates * algorithm.num_epochs * algorithm.num_minibatches
    if steps > MAX_STEPS:
        max_frames = MAX_STEPS // (algorithm.num_epochs * algorithm.num_minibatches) * per_update
        raise ValueError(
            f"frames={config.frames}, schedule_frames={config.schedule_frames}: {steps:.1e} gradient steps exceed "
            f"2**31 - 1; use at most {max_frames:.1e} frames, or more environments"
        )
