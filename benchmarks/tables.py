"""Write the tables of README.md and docs/ from the recorded results and from the plug-ins.

    python -m benchmarks.tables
    python -m benchmarks.tables --check

Every block between `<!-- table: NAME -->` and `<!-- end -->` is replaced by the table called NAME. With --check nothing
is written, and the exit code is 1 if a file differs from what its results give.
"""

import functools
import importlib
import json
import math
import pathlib
import re
import sys
from collections.abc import Callable, Iterable

from podarcade import plugins
from podarcade.models.memory import sizes

ROOT = pathlib.Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"
OPEN = r"^<!-- table: (?P<name>[\w-]+) -->\n"
BLOCK = re.compile(rf"(?P<open>{OPEN})(?P<body>.*?)(?P<close>^<!-- end -->)", re.DOTALL | re.MULTILINE)
WIDTH = 128  # of the layers in the table of memories

Cells = Iterable[object]


def table(head: Cells, rows: Iterable[Cells]) -> str:
    """Return a Markdown table."""
    head = list(head)
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(map(str, line))} |\n" for line in lines)


def result(name: str) -> dict:
    """Return the recorded result benchmarks/results/NAME.json."""
    return json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))


def mean(values: list[float]) -> float:
    """Return the arithmetic mean."""
    return sum(values) / len(values)


def task(row: dict) -> str:
    """Return the task of a run for display, as in `cartpole easy, partial`."""
    return "{game} {level}, {twin}".format(**row["task"])


def seeds(values: list[float]) -> str:
    """Return the value of every seed, in the order of the seeds."""
    return ", ".join(f"{value:.3f}" for value in values)


def returns(name: str) -> str:
    """Return one row per run of a comparison: its mean, every seed, the other twin and the random policy."""
    rows = (
        [
            task(row),
            row["variant"],
            f"{mean(row['end']):.3f}",
            seeds(row["end"]),
            f"{row['other_twin']:.3f}",
            f"{row['random']:.3f}",
            f"{row['frames']:,.0f}",
        ]
        for row in result(name)["runs"]
    )
    return table(["task", "configuration", "return", "each seed", "other twin", "random policy", "frames"], rows)


def learning() -> str:
    """Return the preset beside the published schedule, one row per task."""
    runs = {(task(row), row["variant"]): row for row in result("learning-cpu")["runs"]}
    rows = []
    for name in dict.fromkeys(name for name, _ in runs):
        ours, published = runs[name, "default"], runs[name, "published"]
        both = [part for row in (ours, published) for part in (f"{mean(row['end']):.3f}", seeds(row["end"]))]
        rows.append([name, *both, f"{ours['random']:.3f}"])
    return table(
        ["task", "preset `cpu`", "three seeds", "published schedule", "two seeds", "random policy"],
        rows,
    )


def variations() -> str:
    """Return one row per change to the preset and one column per partial twin, over all results that hold it."""
    files = ("learning-cpu", "carry-cpu", "sweep-cpu", "learning-cpu-breakout")
    tasks = ("cartpole", "minesweeper", "skittles", "breakout")
    found: dict[str, dict[str, str]] = {}
    for file in files:
        for row in result(file)["runs"]:
            if row["task"]["twin"] == "partial":
                name = row["variant"]
                if file == "learning-cpu-breakout":  # these runs changed the burn-in of every variant
                    name = {"default": "burn-in of 4", "published": "published"}[name] + ", five seeds"
                found.setdefault(name, {})[row["task"]["game"]] = f"{mean(row['end']):.3f} ({seeds(row['end'])})"
    rows = ([name, *(cells.get(game, "") for game in tasks)] for name, cells in found.items())
    return table(["configuration", *tasks], rows)


def algorithm_speed() -> str:
    """Return frames per second of training, the parameters and the bytes of the replay buffer of each algorithm."""
    rows = (
        [
            row["algorithm"],
            f"{row['frames_per_second']:,.0f}",
            f"{row['range'][0]:,.0f} to {row['range'][1]:,.0f}",
            f"{row['parameters']:,}",
            f"{row['replay_bytes'] / 1e6:.1f} MB" if row["replay_bytes"] else "none",
        ]
        for row in sorted(result("algorithms-speed-cpu")["rows"], key=lambda row: row["algorithm"])
    )
    return table(["algorithm", "frames/s", "lowest to highest repeat", "parameters", "replay buffer"], rows)


def every_memory() -> str:
    """Return the short run of every memory at an equal number of parameters, by name."""
    found = result("memories-minesweeper_easy_partial")
    runs = {name: rows[0] for name, rows in found["results"].items()}
    rows = (
        [
            f"`{name}`",
            f"{found['configs'][name]['memory_parameters']:,}",
            f"{row['frames_per_second']:,.0f}",
            f"{row['end']:.3f}",
        ]
        for name, row in sorted(runs.items())
    )
    return table(["memory", "parameters", "frames/s", "return"], rows)


def environments() -> str:
    """Return frames per second of every game and of the released benchmark's."""
    games = result("environments-cpu")["games"]
    rows = []
    for game in games:
        speed, released = game["frames_per_second"]["median"], game["released"]["frames_per_second"]["median"]
        latent = game["latent_steps_per_second"]["median"]
        rows.append([game["name"], f"{speed:,.0f}", f"{latent:,.0f}", f"{released:,.0f}", f"{speed / released:,.0f}"])
    speeds = [game["frames_per_second"]["median"] for game in games]
    factors = [game["frames_per_second"]["median"] / game["released"]["frames_per_second"]["median"] for game in games]
    rows.append(["geometric mean", f"{geometric(speeds):,.0f}", "", "", f"{geometric(factors):,.0f}"])
    return table(["game", "frames/s", "latent steps/s", "popgym-arcade 0.0.7", "factor"], rows)


def geometric(values: list[float]) -> float:
    """Return the geometric mean."""
    return math.exp(mean([math.log(value) for value in values]))


def headline_speed() -> str:
    """Return frames per second of environments and of training, ours and the released benchmark's."""
    rows = []
    for label, name, key in (("environments", "environments-cpu", "games"), ("training", "training-against", "rows")):
        found = result(name)[key]
        ours = [row["frames_per_second"]["median"] for row in found]
        theirs = [row["released"]["frames_per_second"]["median"] for row in found]
        factors = [one / other for one, other in zip(ours, theirs, strict=True)]
        cells = [f"{value:,.{0 if value > 100 else 1}f}" for value in map(geometric, (ours, theirs, factors))]
        rows.append([f"{label}, {len(found)} games", *cells, f"{min(factors):,.0f} to {max(factors):,.0f}"])
    return table(["geometric mean", "podarcade", "popgym-arcade 0.0.7", "factor", "lowest to highest game"], rows)


def atari() -> str:
    """Return frames per second of Atari through EnvPool and ALE."""
    rows = (
        [row["library"], row["view"], row["game"], row["batch"], f"{row['frames_per_second']['median']:,.0f}"]
        for row in result("environments-cpu")["atari"]
    )
    return table(["library", "observation", "game", "batch", "frames/s"], rows)


def training_against() -> str:
    """Return frames per second and peak memory of whole updates, ours and the released trainer's."""
    rows = []
    for row in result("training-against")["rows"]:
        released = row["released"]
        ours, theirs = row["frames_per_second"]["median"], released["frames_per_second"]["median"]
        peaks = [f"{part['peak_bytes'] / 2**20:,.0f} MiB" for part in (row, released)]
        rows.append([row["game"], f"{ours:.1f}", f"{theirs:.2f}", f"{ours / theirs:.1f}", *peaks])
    return table(["game", "frames/s", "released trainer", "factor", "peak memory", "released trainer"], rows)


def training() -> str:
    """Return frames per second of the `cpu` preset with one change at a time."""
    rows = []
    for row in result("training-cpu")["rows"]:
        speed = row["frames_per_second"]
        spread = f"{speed['low']:,.0f} to {speed['high']:,.0f}"
        rows.append([change(row["arguments"]), f"{speed['median']:,.0f}", spread])
    return table(["change", "frames/s", "lowest to highest repeat"], rows)


def change(arguments: list[str]) -> str:
    """Return what a benchmarked command changes in the `cpu` preset."""
    renamed = {"encoder=paper": "encoder=popgym_cnn"}  # the encoder's name when this was recorded
    choice = arguments[0].partition(":")[2].removeprefix("preset=cpu").strip(",")
    values = [item.removeprefix("--config.") for item in arguments[1:] if not item.endswith("updates_per_call=1")]
    return f"`{', '.join(filter(None, [renamed.get(choice, choice), *values]))}`" if choice or values else "none"


def training_seeds() -> str:
    """Return frames per second of several seeds vectorised in one program, with the published encoder."""
    rows = ([row["seeds"], f"{row['frames_per_second']['median']:.1f}"] for row in result("training-seeds-cpu")["rows"])
    return table(["seeds in one program", "frames/s"], rows)


def scaling() -> str:
    """Return weak and strong scaling as measured on devices of one CPU."""
    rows = (
        [
            scaling,
            row["devices"],
            f"{row['num_envs']:,}",
            f"{row['frames_per_second']['median']:,.0f}",
            f"{row['ratio']:.2f}",
            row["ideal_ratio"],
            f"{row['efficiency']:.0%}",
        ]
        for scaling in ("weak", "strong")
        for row in result("scaling-cpu")["rows"]
        if scaling in row["scalings"]
    )
    return table(["scaling", "devices", "environments", "frames/s", "of one device", "ideal", "efficiency"], rows)


def scaling_predicted() -> str:
    """Return the predicted time of all reductions of an update, and the efficiency that follows from it."""
    rows = (
        [
            row["fabric"],
            row["devices"],
            f"{1e3 * row['communication_seconds']:.1f} ms",
            f"{row['weak_efficiency']:.1%}",
            "" if row["strong_efficiency"] is None else f"{row['strong_efficiency']:.1%}",
        ]
        for row in result("scaling-cpu")["prediction"]["rows"]
    )
    return table(["links", "devices", "all-reduces of an update", "weak efficiency", "strong efficiency"], rows)


def memory_speed() -> str:
    """Return forward plus backward time of each form of every memory at 128 steps."""
    forms, found = ("sequential", "associative", "chunked"), {}
    for row in result("memory-cpu")["rows"]:
        if row["length"] == 128:
            found.setdefault(row["memory"], {})[row["form"]] = 1e3 * row["forward_backward"]["median"]
    rows = []
    for name, times in sorted(found.items()):
        if name == "none":
            continue
        alone = times.get("sequential", next(iter(times.values())))
        cells = [f"{alone:.0f}"]
        for form in forms[1:]:
            cells.append(f"{times[form]:.0f} ({alone / times[form]:.2f} x)" if form in times else "")
        rows.append([name if " " in name else f"`{name}`", *cells])
    return table(["memory", "sequential, or the only form", "associative", "chunked"], rows)


def checkpoints() -> str:
    """Return what saving and restoring a checkpoint costs, by size of the state."""
    rows = (
        [
            f"{row['megabytes']:,.0f} MB",
            f"{1e3 * row['blocked_seconds']:,.0f} ms",
            f"{1e3 * row['longest_blocked_seconds']:,.0f} ms",
            f"{1e3 * row['first_blocked_seconds']:,.0f} ms",
            f"{row['written_seconds']:.2f} s",
            f"{row['restored_seconds']:.1f} s",
        ]
        for row in result("checkpoints-cpu")["rows"]
    )
    head = ["state", "training blocked", "longest", "first save", "written in the background", "restored, verified"]
    return table(head, rows)


def staleness() -> str:
    """Return the error of Q after some slots of burn-in, relative to the root mean square advantage."""
    slots = (0, 4, 16, 32, 64)
    rows = []
    for row in result("staleness-cpu")["rows"]:
        for name, errors in row["staleness"].items():
            cells = [f"{mean([seed[slot] for seed in errors]):.2g}" for slot in slots]
            rows.append([row["game"], f"{row['share']:.0%}", name, *cells])
    return table(["game, partial twin", "of the run", "initial carry", *(f"{slot} slots" for slot in slots)], rows)


def parity() -> str:
    """Return how many comparisons with the released games were made, and how many passed."""
    rows = []
    found = result("parity")["rows"]
    for kind in dict.fromkeys(row["actions"] for row in found):
        chosen = [row for row in found if row["actions"] == kind]
        steps = sum(row.get("transitions", 0) for row in chosen)
        passed = sum(row["verdict"] for row in chosen)
        rows.append([kind, len(chosen), passed, f"{steps:,}" if steps else ""])
    return table(["comparison", "tasks", "passed", "transitions compared"], rows)


def games() -> str:
    """Return the best known policies on the partial twin of every game, without and with memory."""
    head = ["game", "the player", "the partial twin hides", "memoryless", "with memory", "memory needed"]
    rows = []
    for name, row in result("known_policies")["games"].items():
        low, high = (row[kind]["return"] for kind in ("memoryless", "best"))
        cells = ["unknown" if value is None else f"{value:.3g}" for value in (low, high)]
        rows.append([f"`{name}`", row["player"], row["hidden"], *cells, row["separates"]])
    return table(head, rows)


def known_policies() -> str:
    """Return what the policies behind the table of games do."""
    rows = []
    for name, row in result("known_policies")["games"].items():
        rows.append([f"`{name}`", row["memoryless"]["policy"], row["best"]["policy"]])
    return table(["game", "best known memoryless policy", "best known policy"], rows)


def memories() -> str:
    """Return every memory with its source, its size, and how far back it sees at initialisation."""
    rows, horizon = [], result("horizon-cpu")
    at = [horizon["steps"].index(steps) for steps in (32, 128)]
    for name in plugins.names("memory"):
        layer = plugins.find("memory", name)(width=WIDTH)
        text = importlib.import_module(type(layer).__module__).__doc__.partition("\n")[0].rstrip(".")
        text = text.removeprefix("The ")
        text = text[:1].upper() + text[1:]
        seen = [f"{horizon['rows'][name][index]:.0e}" if horizon["rows"][name][index] else "0" for index in at]
        rows.append([f"`{name}`", text, f"{sizes.carry_bytes(layer):,}", f"{sizes.parameters(layer):,}", *seen])
    return table(["`memory`", "layer", "carry, bytes", "parameters", "g(32)", "g(128)"], rows)


COMPARISONS = (
    "learning-cpu",
    "learning-cpu-short_rollouts",
    "learning-cpu-epyc",
    "learning-cpu-breakout",
    "algorithms-cpu",
    "algorithms-full-cpu",
    "algorithms-hard-cpu",
    "ablation-cpu",
    "ablation-feed_forward-cpu",
)
TABLES: dict[str, Callable[[], str]] = {
    "learning": learning,
    "variations": variations,
    "algorithm-speed": algorithm_speed,
    "every-memory": every_memory,
    "environments": environments,
    "headline-speed": headline_speed,
    "atari": atari,
    "training-against": training_against,
    "training": training,
    "training-seeds": training_seeds,
    "scaling": scaling,
    "scaling-predicted": scaling_predicted,
    "memory-speed": memory_speed,
    "checkpoints": checkpoints,
    "staleness": staleness,
    "parity": parity,
    "games": games,
    "known-policies": known_policies,
    "memories": memories,
}


@functools.cache
def make(name: str) -> str:
    """Return the table called `name`: one of `TABLES`, or the rows of one of `COMPARISONS`.

    Raises:
      ValueError: unknown table.
    """
    if name in COMPARISONS:
        return returns(name)
    if name not in TABLES:
        raise ValueError(f"unknown table {name!r}; {plugins.did_you_mean(name, [*TABLES, *COMPARISONS])}")
    return TABLES[name]()


def render(text: str) -> str:
    """Return a document with every marked block replaced by its table.

    Raises:
      ValueError: a block that is not closed, or an unknown table.
    """
    if len(re.findall(OPEN, text, re.MULTILINE)) != len(BLOCK.findall(text)):
        raise ValueError("a block <!-- table: NAME --> is not closed by <!-- end -->")
    return BLOCK.sub(lambda block: block["open"] + make(block["name"]) + block["close"], text)


def documents() -> list[pathlib.Path]:
    """Return README.md and all of docs/*.md."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def main(arguments: list[str]) -> int:
    """Write or check all documents; return the exit code."""
    check = "--check" in arguments
    if unknown := [item for item in arguments[1:] if item != "--check"]:
        print(f"error: unknown argument {unknown[0]!r}; expected --check or nothing", file=sys.stderr)
        return 1
    stale = []
    for path in documents():
        text = path.read_text(encoding="utf-8")
        new = render(text)
        if new == text:
            continue
        stale.append(path)
        if not check:
            path.write_text(new, encoding="utf-8")
        print(f"{path.relative_to(ROOT)}: {'stale; run python -m benchmarks.tables' if check else 'written'}")
    return int(check and bool(stale))


if __name__ == "__main__":
    sys.exit(main(sys.argv))
