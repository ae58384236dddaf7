"""What the four stages of `benchmarks.accelerator` measure, and at which size. Defines no flags."""

import dataclasses
import pathlib
from collections.abc import Iterator
from typing import NamedTuple

from benchmarks import names


class Measurement(NamedTuple):
    """A command of a benchmark that writes one JSON file.

    Attributes:
      name: unique.
      command: module and arguments, without the file.
      seconds: it is not started with less time left.
      output: flag that takes the file.
    """

    name: str
    command: tuple[str, ...]
    seconds: float
    output: str = "--json"


@dataclasses.dataclass(frozen=True)
class Scale:
    """Sizes of all measurements.

    Attributes:
      games: of the environments.
      pixels: sizes of frames.
      batches: numbers of environments that play at random.
      layers: memories whose forms are timed.
      lengths, widths, sequences: of the layers.
      preset: of training.
      algorithms: that are trained with every encoder and precision.
      repeated: configurations whose runs must repeat bit for bit; a toy has none, each is trained four times.
      encoders, dtypes: of training.
      envs, minibatches: of PQN, one changed at a time; empty for none.
      seeds: in one program.
      learning: games that are learnt.
      learners: memories of the agents.
      learning_seeds, learning_frames: of each of them.
      short_frames: of the runs that must repeat bit for bit.
      megabytes: of checkpoints.
      seconds: of one repeat.
      repeats: of each measurement.
      longest: factor on the seconds that measurements are expected to take.
    """

    games: tuple[str, ...]
    pixels: str
    batches: str
    layers: str
    lengths: tuple[int, ...]
    width: int
    sequences: tuple[int, ...]
    preset: str
    algorithms: tuple[str, ...]
    repeated: tuple[str, ...]
    encoders: str
    dtypes: str
    envs: str
    minibatches: tuple[int, ...]
    seeds: str
    learning: tuple[str, ...]
    learners: str
    learning_seeds: int
    learning_frames: int
    short_frames: int
    megabytes: str
    seconds: float
    repeats: int
    longest: float


FULL = Scale(
    games=tuple(names.environments(tasks=False)),
    pixels="128,256",
    batches="1024,8192,65536",
    layers="lru,min_gru,gru,mamba,gated_deltanet,transformer",
    lengths=(128, 1024),
    width=256,
    sequences=(256, 2048),
    preset="gpu",
    algorithms=("pqn", "ppo", "dqn"),
    repeated=("pqn.py:preset=gpu,encoder=patch", "ppo.py:preset=gpu,encoder=patch"),
    encoders="popgym_cnn,patch",
    dtypes="float32,bfloat16",
    envs="1024,4096,16384",
    minibatches=(16, 256),
    seeds="1,4,16",
    learning=("minesweeper", "cartpole", "skittles", "tetris"),
    learners="lru,none",
    learning_seeds=4,
    learning_frames=10_000_000,
    short_frames=4_000_000,
    megabytes="100,1000",
    seconds=0.3,
    repeats=5,
    longest=1.0,
)
TOY = Scale(
    games=("CartPoleEasy",),
    pixels="128",
    batches="2",
    layers="min_gru",
    lengths=(4,),
    width=8,
    sequences=(2,),
    preset="smoke",
    algorithms=("ppo",),
    repeated=(),
    encoders="patch",
    dtypes="float32",
    envs="",
    minibatches=(),
    seeds="1",
    learning=("cartpole",),
    learners="none",
    learning_seeds=1,
    learning_frames=256,
    short_frames=256,
    megabytes="1",
    seconds=0.01,
    repeats=1,
    longest=0.0,
)


def environments(scale: Scale, folder: pathlib.Path) -> Iterator[Measurement]:
    """Stage 1: games, drawn and not drawn, and the forms of memory layers."""
    for game in scale.games:
        yield Measurement(
            f"environment {game}",
            (
                "benchmarks.environments", f"--games={game}", f"--sizes={scale.pixels}", f"--batches={scale.batches}",
                "--twins=partial", *_repeats(scale),
            ),
            20 * scale.longest,
        )  # fmt: skip
    for sequences in scale.sequences:
        for length in scale.lengths:
            yield Measurement(
                f"memory {length} steps x {sequences}",
                (
                    "benchmarks.memory", f"--memories={scale.layers}", f"--lengths={length}",
                    f"--batches={sequences}", f"--widths={scale.width}", *_repeats(scale),
                ),
                30 * scale.longest,
            )  # fmt: skip


def training(scale: Scale, folder: pathlib.Path) -> Iterator[Measurement]:
    """Stage 2: whole updates of every algorithm, by encoder, precision, environments, minibatches and seeds."""
    for algorithm in scale.algorithms:
        yield _training(
            f"{algorithm}, encoders and precisions", scale, algorithm,
            f"--encoders={scale.encoders}", f"--dtypes={scale.dtypes}",
        )  # fmt: skip
    fast = "encoder=patch"
    if scale.envs:
        yield _training("pqn, environments", scale, "pqn", f"--envs={scale.envs}", argument=fast)
    for number in scale.minibatches:
        minibatches = f"--override=config.algorithm.num_minibatches={number}"
        yield _training(f"pqn, {number} minibatches", scale, "pqn", minibatches, argument=fast)
    if "," in scale.seeds:
        yield _training("pqn, seeds in one program", scale, "pqn", f"--seeds={scale.seeds}", argument=fast)


def _training(name: str, scale: Scale, algorithm: str, *options: str, argument: str = "") -> Measurement:
    config = ",".join(filter(None, [f"configs/{algorithm}.py:preset={scale.preset}", argument]))
    command = ("benchmarks.training", f"--config={config}", *options, *_repeats(scale))
    return Measurement(f"training {name}", command, 60 * scale.longest)


def learning(scale: Scale, folder: pathlib.Path) -> Iterator[Measurement]:
    """Stage 3: what agents with and without memory learn."""
    for game in scale.learning:
        command = (
            "podarcade.compare", f"--config=configs/pqn.py:preset={scale.preset},encoder=patch",
            f"--tasks={game}/partial", f"--memories={scale.learners}", f"--seeds={scale.learning_seeds}",
            f"--override=config.frames={scale.learning_frames}", f"--workdir={folder / game}",
        )  # fmt: skip
        yield Measurement(f"learning {game}", command, 60 * scale.longest, "--result")


def reliability(scale: Scale, folder: pathlib.Path) -> Iterator[Measurement]:
    """Stage 4: whether runs repeat bit for bit and what that costs, checkpoints, tasks without pixels."""
    for config in scale.repeated:
        yield Measurement(
            f"determinism {config.partition('.')[0]}",
            ("benchmarks.determinism", f"--config=configs/{config}", f"--override=config.frames={scale.short_frames}"),
            90 * scale.longest,
        )
    yield Measurement(
        "checkpoints",
        ("benchmarks.checkpoints", f"--megabytes={scale.megabytes}", f"--repeats={scale.repeats}"),
        20 * scale.longest,
    )
    games = [] if scale.longest else ["--games=TMazeEasy"]
    yield Measurement(
        "tasks",
        ("benchmarks.environments", "--tasks", *games, f"--batches={scale.batches}", *_repeats(scale)),
        60 * scale.longest,
    )
    config = f"configs/ppo.py:game=repeat_previous,memory=gru,preset={scale.preset}"
    yield Measurement(
        "seeds of a task",
        ("podarcade.probe", f"--config={config}", f"--sizes={scale.seeds}", f"--repeats={scale.repeats}"),
        60 * scale.longest,
    )


def _repeats(scale: Scale) -> tuple[str, str]:
    return f"--seconds={scale.seconds}", f"--repeats={scale.repeats}"


STAGES = {1: environments, 2: training, 3: learning, 4: reliability}
