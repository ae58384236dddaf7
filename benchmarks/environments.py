"""Throughput of the games in frames per second, next to the released benchmark and to Atari.

    python -m benchmarks.environments
    python -m benchmarks.environments --games=TetrisHard --sizes=128,256 --batches=64,256 --twins=full,partial
    python -m benchmarks.environments --against=popgym-arcade,envpool,ale --json=benchmarks/results/environments.json
    python -m benchmarks.environments --tasks --against=gymnax --json=benchmarks/results/tasks.json

Actions are random and restarts are included. Each game has two figures: the latent step alone, and step plus drawing
with a checksum over every byte of every frame, which keeps the compiler from leaving any out. Compilation is reported
separately. Repeats of ours and of the released benchmark take turns, so that other load on the machine affects both;
medians are compared as ratios. A frame is what an agent receives: an Atari step that emulates four frames counts as
one. With --tasks it measures the tasks without pixels, as `benchmarks.task_speed` says.
"""

import datetime
import itertools
import math
import pathlib
import statistics
import sys

import jax
from absl import app, flags

from benchmarks import measure, names, peers, task_speed
from benchmarks.training_report import rates
from podarcade.envs import environment
from podarcade.runtime import provenance
from podarcade.runtime.run_files import write_json

ATARI_GAMES = ("Pong", "Breakout")

GAMES = flags.DEFINE_list("games", [], "names such as TetrisHard; empty: the first level of every game")
TASKS = flags.DEFINE_bool("tasks", False, "measure the tasks without pixels instead")
SIZES = flags.DEFINE_list("sizes", ["128"], "frame sizes in pixels: 128, 256")
BATCHES = flags.DEFINE_list("batches", [], "numbers of environments, the fastest of a game counts; 256, of tasks 1024")
RELEASED_BATCH = flags.DEFINE_integer(
    "released_batch", 32, "environments of the released benchmark, which compiles for minutes with 256"
)
ATARI_BATCHES = flags.DEFINE_list(
    "atari_batches", ["16", "64", "256"], "numbers of Atari environments; the fastest is reported"
)
TWINS = flags.DEFINE_list("twins", ["full"], "twins: full, partial")
REPEATS = flags.DEFINE_integer("repeats", 5, "repeats of each measurement", lower_bound=1)
SECONDS = flags.DEFINE_float("seconds", 0.5, "approximate duration of a repeat", lower_bound=0.01)
STEPS = flags.DEFINE_integer("steps", 16, "steps per call of a compiled program", lower_bound=1)
AGAINST = flags.DEFINE_list("against", [], "peers: popgym-arcade, envpool, ale; with --tasks: gymnax")
PEERS = flags.DEFINE_string("peers", ".peers", "folder of the peers' virtual environments")
JSON = flags.DEFINE_string("json", "", "results file; a bar chart of games is drawn beside it")


class Ours:
    """One of our environments, compiled."""

    def __init__(self, name: str, size: int, partial: bool, batch: int):
        made = environment.make(name, partial, size)

        def step(key, state, action):
            state, time_step = made.step(state, action)
            return state, time_step.observation

        def reset(key):
            return made.reset(key)[0]

        self.about = {"name": name, "size": size, "twin": "partial" if partial else "full", "batch": batch}
        self.programs = {
            what: measure.Program(reset, step, batch, STEPS.value, what == "frames") for what in ("latent", "frames")
        }
        self.calls = {what: program.calls_for(SECONDS.value) for what, program in self.programs.items()}
        self.compile_seconds = {what: program.compile_seconds for what, program in self.programs.items()}
        self.compile_seconds["step"] = measure.step_compile_seconds(reset, step, batch)
        self.measured = {what: [] for what in self.programs}

    def repeat(self) -> None:
        """Measure each program once more."""
        for what, program in self.programs.items():
            seconds = program.seconds(self.calls[what])
            frames = self.calls[what] * program.frames_per_call
            self.measured[what].append({"frames": frames, "seconds": seconds})

    def result(self) -> dict:
        """Return the row of results."""
        frames = self.programs["frames"]
        return self.about | {
            "frames_per_second": rates(self.measured["frames"]),
            "latent_steps_per_second": rates(self.measured["latent"]),
            "compile_seconds": self.compile_seconds,
            "bytes_per_environment": frames.bytes / self.about["batch"],
            "checksum": frames.checksum,
        }


def measure_game(name: str, size: int, twin: str, arcade: peers.Peer | None) -> dict:
    """Measure a game in turns with the released benchmark and a copy of frames; return the row of the best batch."""
    best = []
    for batch in batches():
        ours = Ours(name, size, twin == "partial", batch)
        copy = measure.copy_program(batch, size, STEPS.value)
        copied, theirs, about = [], [], {}
        if arcade:
            setting = {
                "partial": twin == "partial",
                "size": size,
                "batch": RELEASED_BATCH.value,
                "steps": 1,
                "frames": True,
            }
            about = arcade.ask("prepare", name=name, seconds=SECONDS.value, **setting)
        for _ in range(REPEATS.value):
            ours.repeat()
            copied.append({"frames": batch * STEPS.value, "seconds": copy()})
            if arcade:
                theirs.append(arcade.ask("run"))
        row = ours.result() | {"copied_frames_per_second": rates(copied), "frame_bytes": size * size * 3}
        if arcade:
            row["released"] = about | {"batch": RELEASED_BATCH.value, "frames_per_second": rates(theirs)}
            row["released"]["checksum"] = theirs[-1]["checksum"]
        best.append(row)
        print(line(row), flush=True)
    chosen = max(best, key=lambda row: row["frames_per_second"]["median"])
    if arcade:
        chosen["released"] = max((row["released"] for row in best), key=lambda row: row["frames_per_second"]["median"])
    return chosen


def measure_atari(libraries: list[str], home: pathlib.Path) -> list[dict]:
    """Measure every Atari library, view and game; return rows of the best batches."""
    peer, rows = peers.Peer("atari", home), []
    for library, view, game in itertools.product(libraries, peer.ask("views"), ATARI_GAMES):
        best = None
        for batch in map(int, ATARI_BATCHES.value):
            about = peer.ask("prepare", library=library, game=game, batch=batch, view=view)
            speed = rates([peer.ask("run", seconds=SECONDS.value) for _ in range(REPEATS.value)])
            row = {"library": library, "view": view, "game": game, "batch": batch, **about, "frames_per_second": speed}
            if best is None or speed["median"] > best["frames_per_second"]["median"]:
                best = row
        rows.append(best)
        print(f"{library:8} {view:38} {game:14} {best['batch']:5}  {spread(best['frames_per_second'])}", flush=True)
    peer.close()
    return rows


HEADER = (
    f"{'game':20} {'twin':8}{'size':>4}{'batch':>6}  {'frames/s (low to high)':32}{'latent steps/s':>15}"
    f"{'of a copy':>10}{'GB/s':>7}{'compile s':>10}{'KB/env':>8}{'released/s':>12}{'times':>7}"
)


def spread(rate: dict) -> str:
    """Return a rate as text: median (low to high)."""
    return f"{rate['median']:12,.0f} ({rate['low']:,.0f} to {rate['high']:,.0f})"


def line(row: dict) -> str:
    """Return a row of the table."""
    speed, copied = (row[key]["median"] for key in ("frames_per_second", "copied_frames_per_second"))
    released = row["released"]["frames_per_second"]["median"] if "released" in row else math.nan
    return (
        f"{row['name']:20} {row['twin']:8}{row['size']:4}{row['batch']:6}  {spread(row['frames_per_second']):32}"
        f"{row['latent_steps_per_second']['median']:15,.0f}{speed / copied:10.2f}"
        f"{speed * row['frame_bytes'] / 1e9:7.2f}"
        f"{row['compile_seconds']['step']:10.1f}{row['bytes_per_environment'] / 1024:8.0f}"
        + (f"{released:12,.0f}{speed / released:7.0f}" if "released" in row else "")
    )


def summary(rows: list[dict]) -> list[dict]:
    """Return geometric means over games for each twin and size."""
    found = []
    for twin, size in sorted({(row["twin"], row["size"]) for row in rows}):
        group = [row for row in rows if (row["twin"], row["size"]) == (twin, size)]
        speeds = [row["frames_per_second"]["median"] for row in group]
        entry = {"twin": twin, "size": size, "games": len(group), "slowest": min(speeds)}
        entry["frames_per_second"] = statistics.geometric_mean(speeds)
        times = [
            row["frames_per_second"]["median"] / row["released"]["frames_per_second"]["median"]
            for row in group
            if "released" in row
        ]
        if times:
            entry |= {"times_released": statistics.geometric_mean(times), "minimum_times_released": min(times)}
        found.append(entry)
    return found


def draw(rows: list[dict], atari: list[dict], path: pathlib.Path) -> None:
    """Draw bars for one twin and size: ours and the released benchmark's, with the best of Atari as lines."""
    from matplotlib.figure import Figure

    twin, size = rows[0]["twin"], rows[0]["size"]
    rows = [row for row in rows if (row["twin"], row["size"]) == (twin, size)]
    figure = Figure(figsize=(8, 0.5 * len(rows) + 1.8), layout="constrained")
    axes = figure.subplots()
    places = range(len(rows))[::-1]
    series = [("podarcade", "#0072b2", [row["frames_per_second"] for row in rows], 0.19)]
    if "released" in rows[0]:
        series.append(("popgym-arcade 0.0.7", "#e69f00", [row["released"]["frames_per_second"] for row in rows], -0.19))
    least = 0.5 * min(speed["low"] for _, _, speeds, _ in series for speed in speeds)
    for label, colour, speeds, shift in series:
        middle = [speed["median"] for speed in speeds]
        errors = [[s["median"] - s["low"] for s in speeds], [s["high"] - s["median"] for s in speeds]]
        at = [place + (shift if len(series) > 1 else 0) for place in places]
        axes.barh(at, middle, 0.36, xerr=errors, label=label, color=colour, error_kw={"lw": 0.8})
        for place, speed in zip(at, middle, strict=True):
            axes.text(least * 1.1, place, f"{speed:,.0f}", va="center", fontsize=7, color="white", weight="bold")
    shades = {"envpool": "#009e73", "ale": "#cc79a7"}
    for (library, view), group in itertools.groupby(atari, lambda row: (row["library"], row["view"])):
        speed = max(row["frames_per_second"]["median"] for row in group)
        style = {"g": "-", "R": "--"}[view[0]] if "128" not in view else ":"
        axes.axvline(speed, color=shades[library], ls=style, lw=1.2, label=f"{library}, {view.split(',')[0]}")
    axes.set(xscale="log", yticks=list(places), yticklabels=[row["name"] for row in rows], xlabel="frames per second")
    axes.set_title(f"Step, drawing and a checksum of every frame, {size} px, {twin} twin", fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_xlim(left=least)
    figure.legend(fontsize=7, loc="outside lower center", ncols=3, frameon=False)
    figure.savefig(path, dpi=130)


def batches() -> list[int]:
    """Return the numbers of environments."""
    return list(map(int, BATCHES.value)) or [1024 if TASKS.value else 256]


def main(_) -> None:
    """Measure, print, write."""
    try:
        games = names.chosen(GAMES.value, TASKS.value, AGAINST.value)
    except ValueError as error:
        raise SystemExit(f"error: {error}") from None
    home = pathlib.Path(PEERS.value)
    if TASKS.value:
        measure_tasks(games, home)
        return
    arcade = peers.Peer("arcade", home) if "popgym-arcade" in AGAINST.value else None
    print(f"{jax.devices()[0].device_kind}, jax {jax.__version__}\n{HEADER}")
    settings = itertools.product(map(int, SIZES.value), TWINS.value, games)
    rows = [measure_game(name, size, twin, arcade) for size, twin, name in settings]
    if arcade:
        arcade.close()
    for entry in summary(rows):
        times = f", {entry['times_released']:.0f} times the released benchmark's" if "times_released" in entry else ""
        speed = f"{entry['frames_per_second']:,.0f} frames/s{times}; slowest {entry['slowest']:,.0f}"
        print(f"geometric mean, {entry['twin']} twin, {entry['size']} px: {speed}")
    if JSON.value:
        write(pathlib.Path(JSON.value), rows, [])
    libraries = [name for name in ("envpool", "ale") if name in AGAINST.value]
    if libraries:
        atari = measure_atari(libraries, home)
        if JSON.value:
            write(pathlib.Path(JSON.value), rows, atari)


def measure_tasks(tasks: list[str], home: pathlib.Path) -> None:
    """Measure the tasks, in turns with gymnax if that is asked for; print and write."""
    print(f"{jax.devices()[0].device_kind}, jax {jax.__version__}")
    gymnax = peers.Peer("gymnax_tasks", home) if "gymnax" in AGAINST.value else None
    rows = []
    for batch, twin in itertools.product(batches(), TWINS.value):
        setting = (twin == "partial", batch, STEPS.value, SECONDS.value, gymnax)
        rows += task_speed.measure([task_speed.Pair(name, *setting) for name in tasks], REPEATS.value)
    if gymnax:
        gymnax.close()
    if JSON.value:
        write_rows(pathlib.Path(JSON.value), {"tasks": rows})


def write(path: pathlib.Path, rows: list[dict], atari: list[dict]) -> None:
    """Write the results with their provenance, and draw them."""
    write_rows(path, {"summary": summary(rows), "games": rows, "atari": atari})
    draw(rows, atari, path.with_suffix(".png"))


def write_rows(path: pathlib.Path, rows: dict) -> None:
    """Write rows of results with their provenance."""
    path.parent.mkdir(parents=True, exist_ok=True)
    device = jax.local_devices()[0]
    content = {"date": datetime.date.today().isoformat(), **provenance.collect(sys.argv)}
    content |= {"repeats": REPEATS.value, "seconds": SECONDS.value, "steps": STEPS.value}
    content |= {"peak_bytes": (device.memory_stats() or {}).get("peak_bytes_in_use")}
    write_json(path, content | rows)
    print(f"written to {path}")


if __name__ == "__main__":
    app.run(main)
