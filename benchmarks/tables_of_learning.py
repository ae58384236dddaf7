"""Tables of what is learnt, of the games and of the memories."""

import importlib

from benchmarks import markdown
from podarcade import plugins
from podarcade.envs.environment import find
from podarcade.envs.tasks import Task
from podarcade.models.memory import sizes

WIDTH = 128  # of the layers in the table of memories

SMALLEST = 1e-37  # of a float32 gradient that is not rounding

SOLVED = 0.9  # accuracy above which a seed keeps the token


def returns(name: str) -> str:
    """Return one row per run of a comparison: its mean, every seed, the other twin and the random policy."""
    rows = (
        [
            markdown.task(row),
            row["variant"],
            f"{markdown.mean(row['end']):.3f}",
            markdown.seeds(row["end"]),
            f"{row['other_twin']:.3f}",
            f"{row['random']:.3f}",
            f"{row['frames']:,.0f}",
        ]
        for row in markdown.result(name)["runs"]
    )
    return markdown.table(
        ["task", "configuration", "return", "each seed", "other twin", "random policy", "frames"], rows
    )


def variations() -> str:
    """Return one row per change to the preset and one column per partial twin, over all results that hold it."""
    files = ("learning-cpu", "carry-cpu", "sweep-cpu", "learning-cpu-breakout")
    tasks = ("cartpole", "minesweeper", "skittles", "breakout")
    found: dict[str, dict[str, str]] = {}
    for file in files:
        for row in markdown.result(file)["runs"]:
            if row["task"]["twin"] == "partial":
                name = row["variant"]
                if file == "learning-cpu-breakout":  # these runs changed the burn-in of every variant
                    name = {"default": "burn-in of 4", "published": "published"}[name] + ", five seeds"
                found.setdefault(name, {})[row["task"]["game"]] = (
                    f"{markdown.mean(row['end']):.3f} ({markdown.seeds(row['end'])})"
                )
    rows = ([name, *(cells.get(game, "") for game in tasks)] for name, cells in found.items())
    return markdown.table(["configuration", *tasks], rows)


def every_memory() -> str:
    """Return the short run of every memory at an equal number of parameters, by name."""
    found = markdown.result("memories-minesweeper_easy_partial")
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
    return markdown.table(["memory", "parameters", "frames/s", "return"], rows)


def staleness() -> str:
    """Return the error of Q after some slots of burn-in, relative to the root mean square advantage."""
    slots = (0, 4, 16, 32, 64)
    rows = []
    for row in markdown.result("staleness-cpu")["rows"]:
        for name, errors in row["staleness"].items():
            cells = [f"{markdown.mean([seed[slot] for seed in errors]):.2g}" for slot in slots]
            rows.append([row["game"], f"{row['share']:.0%}", name, *cells])
    return markdown.table(
        ["game, partial twin", "of the run", "initial carry", *(f"{slot} slots" for slot in slots)], rows
    )


def channel() -> str:
    """Return the free bits of actions on the games with pixels, the most first."""
    rows = markdown.result("channel")["rows"]
    found = [(row["bits"], row["share"], name) for name, row in rows.items() if not issubclass(find(name)[0], Task)]
    return markdown.table(
        ["game", "free bits", "in states"],
        [[name, f"{bits:.2f}", f"{share:.0%}"] for bits, share, name in sorted(found)[::-1]],
    )


def memories() -> str:
    """Return every memory with its source, its size, and how far back it sees at initialisation."""
    rows, horizon = [], markdown.result("horizon-cpu")
    at = [horizon["steps"].index(steps) for steps in (32, 128)]
    for name in plugins.names("memory"):
        layer = plugins.find("memory", name)(width=WIDTH)
        text = importlib.import_module(type(layer).__module__).__doc__.partition("\n")[0].rstrip(".")
        text = text.removeprefix("The ")
        text = text[:1].upper() + text[1:]
        seen = [_relative_gradient(horizon["rows"]["paper"][name][index]) for index in at]
        matched = horizon["rows"]["matched"].get(name)
        seen.append(_relative_gradient(matched[at[1]]) if matched else "")
        rows.append([f"`{name}`", text, f"{sizes.carry_bytes(layer):,}", f"{sizes.parameters(layer):,}", *seen])
    head = ["`memory`", "layer", "carry, bytes", "parameters", "g(32)", "g(128)", "matched g(128)"]
    return markdown.table(head, rows)


def keep() -> str:
    """Return the study of benchmarks.keep: a row per memory and initialisation, a column per number of steps.

    Cells hold the mean accuracy over seeds, and how many seeds are above `SOLVED`.
    """
    rows = markdown.result("keep-cpu")["rows"]
    lags = sorted({row["lag"] for row in rows})
    cells: dict[tuple[str, str], dict[int, str]] = {}
    for row in rows:
        solved = sum(accuracy > SOLVED for accuracy in row["accuracy"])
        text = f"{markdown.mean(row['accuracy']):.2f} ({solved})"
        cells.setdefault((row["memory"], row["init"]), {})[row["lag"]] = text
    lines = [[f"`{memory}`", init, *(found.get(lag, "") for lag in lags)] for (memory, init), found in cells.items()]
    return markdown.table(["`memory`", "`init`", *map(str, lags)], lines)


def _relative_gradient(value: float) -> str:
    return f"{value:.0e}" if value > SMALLEST else "0"


def parity() -> str:
    """Return how many comparisons with the released games were made, and how many passed."""
    rows = []
    found = markdown.result("parity")["rows"]
    for kind in dict.fromkeys(row["actions"] for row in found):
        chosen = [row for row in found if row["actions"] == kind]
        steps = sum(row.get("transitions", 0) for row in chosen)
        passed = sum(row["verdict"] for row in chosen)
        rows.append([kind, len(chosen), passed, f"{steps:,}" if steps else ""])
    return markdown.table(["comparison", "tasks", "passed", "transitions compared"], rows)
