"""Commands of the POPGym Arcade experiments: train, measure, draw.

Experiments with the same --workdir share their runs: what one of them has trained, the others read.
"""

import itertools

from podarcade.envs.environment import environment_names

FOLDER = "runs/popgym_arcade"
DRAWN = f"{FOLDER}/figures"
V1 = "autoencode+battleship+cartpole+countrecall+minesweeper+navigator+noisycartpole"
V2 = "autoencode+battleship+breakout+cartpole+countrecall+minesweeper+navigator+noisycartpole+skittles+tetris"
SEVEN = "transformer,linear_transformer,ttt_linear,gated_deltanet,min_gru,gru,lru"
SEVEN_RUNS = f"{{{SEVEN}}}"
MEMORIES = "gru,lru"  # of figures on few memories
CONTROL = "--variant=control:memory=none,trainer=recurrent"  # of Memory Bias, see `popgym_arcade.is_recurrent`
SIZES = ((1, 512), (2, 512), (8, 512), (2, 128), (2, 256))  # layers, width
BATCHES = "2 4 8 16 32 64 128 256 512"
# Figures 9 and 10 are read off one measurement: frames 2 ... 10 are shuffled, and decisions are followed to step 30.
DISTURBANCE = (
    "--override=contamination.sigma=1 --override=contamination.length=31 --override=contamination.shuffle_from=2"
    " --override=contamination.shuffle_to=10"
)
SHOWN = "--override=saliency.length=30"


def file_name(name: str) -> str:
    """Return the name of an experiment's files in `DRAWN`, without their ends."""
    return name.replace("/", "-")


def compare(name: str, config: str, workdir: str, tasks: str, seeds: int, more: str) -> str:
    """Return the command that trains runs in FOLDER/WORKDIR, and draws returns, Gap and Bias as DRAWN/NAME-*.png."""
    return (
        f"podarcade compare --config=configs/popgym_arcade/{config} --tasks={tasks} {more} --seeds={seeds}"
        f" --workdir={FOLDER}/{workdir} --result={DRAWN}/{file_name(name)}.json"
    )


def compare_v1(name: str, tasks: str, memories: str) -> str:
    """Return `compare` with the options of version 1 that all of its figures but the long runs share."""
    more = f"--memories={memories} --override=config.churn=true"
    return compare(name, "pqn.py:version=v1", "v1", tasks, 3, more)


def compare_v2(name: str, tasks: str, more: str, algorithm: str = "pqn") -> str:
    """Return `compare` with the options of version 2; each algorithm has a folder of its own."""
    workdir = "v2" if algorithm == "pqn" else f"v2-{algorithm}"
    return compare(name, f"{algorithm}.py:version=v2", workdir, tasks, 5, more)


def diagnose(runs: str, options: str) -> str:
    """Return the command that measures the agents of runs, a pattern in `FOLDER`."""
    return f"podarcade diagnose {FOLDER}/{runs} {options}"


def report(name: str, runs: str) -> str:
    """Return the command that writes a report of runs as NAME-report.html, with its figures and data in NAME/."""
    drawn = f"{DRAWN}/{file_name(name)}"
    return f"podarcade report {FOLDER}/{runs} --output={drawn}-report.html --paper={drawn}"


def throughput(name: str, games: str, size: int) -> str:
    """Return the command that measures frames per second with each number of environments."""
    chosen = [
        spelled
        for spelled, (game, level) in environment_names().items()
        if game.__module__.rpartition(".")[2] in games.split("+") and level == "easy"
    ]
    return (
        f"for n in {BATCHES}; do python -m benchmarks.environments --games={','.join(chosen)} --sizes={size}"
        " --twins=full,partial --batches=$n --released_batch=$n --atari_batches=$n --repeats=10"
        f" --against=popgym-arcade,envpool,ale --json={DRAWN}/{file_name(name)}-$n.json; done"
    )


def sized(*memories: str) -> str:
    """Return a variant for each memory and its control, at each of `SIZES`, and the network without memory."""
    variants = ["--variant=none:memory=none"]
    kinds = [*((memory, f"memory={memory}") for memory in memories), tuple(CONTROL.partition("=")[2].split(":"))]
    for (name, arguments), (layers, width) in itertools.product(kinds, SIZES):
        size = f"config.network.layers={layers},config.network.width={width}"
        variants.append(f"--variant='{name} {layers}x{width}:{arguments},{size}'")
    return " ".join(variants)


def density(workdir: str) -> tuple[str, str]:
    """Return the commands that measure Recall Density in runs of easy levels; long episodes of three games whole."""
    long, short = (
        "autoencode,cartpole,noisycartpole",
        "battleship,breakout,countrecall,minesweeper,navigator,skittles,tetris",
    )
    return (
        diagnose(
            f"{workdir}/{{{long}}}-easy-*/{SEVEN_RUNS}",
            "--with=recall_density --override=recall_density.length=260",
        ),
        diagnose(f"{workdir}/{{{short}}}-easy-*/{SEVEN_RUNS}", "--with=recall_density"),
    )


def analysed(name: str, algorithm: str) -> tuple[str, ...]:
    """Return the commands of the whole analysis under another algorithm."""
    return (
        compare_v2(name, f"{V2}/easy/full+partial", f"--memories=none,{SEVEN} {CONTROL}", algorithm),
        *density(f"v2-{algorithm}"),
        diagnose(f"v2-{algorithm}/*/{SEVEN_RUNS}", f"--with=saliency,contamination {SHOWN} {DISTURBANCE}"),
        report(name, f"v2-{algorithm}"),
    )


def switched(name: str, old: str, new: str) -> str:
    """Return the command that trains on one twin for half a run, and then on the other."""
    variants = [f"--memories={MEMORIES}"]
    for memory in MEMORIES.split(","):
        schedule = f"config.environment.observability={old},{new}@10000000"
        variants.append(f"--variant='{memory} from {old}:memory={memory},{schedule}'")
    games = "battleship+breakout+countrecall+minesweeper+navigator+skittles+tetris"  # those of 20,000,000 frames
    return compare_v2(f"{name}-{new}", f"{games}/easy/{new}", " ".join(variants))
