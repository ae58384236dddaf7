"""Tables of what is timed."""

import statistics

from benchmarks import markdown
from podarcade.runtime.console import count


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
        for row in sorted(markdown.result("algorithms-speed-cpu")["rows"], key=lambda row: row["algorithm"])
    )
    return markdown.table(["algorithm", "frames/s", "lowest to highest repeat", "parameters", "replay buffer"], rows)


def environments() -> str:
    """Return frames per second of every game and of the released benchmark's."""
    games = markdown.result("environments-cpu")["games"]
    rows = []
    for game in games:
        speed, released = game["frames_per_second"]["median"], game["released"]["frames_per_second"]["median"]
        latent = game["latent_steps_per_second"]["median"]
        rows.append([game["name"], f"{speed:,.0f}", f"{latent:,.0f}", f"{released:,.0f}", f"{speed / released:,.0f}"])
    speeds = [game["frames_per_second"]["median"] for game in games]
    factors = [game["frames_per_second"]["median"] / game["released"]["frames_per_second"]["median"] for game in games]
    rows.append(["geometric mean", f"{markdown.geometric(speeds):,.0f}", "", "", f"{markdown.geometric(factors):,.0f}"])
    return markdown.table(["game", "frames/s", "latent steps/s", "popgym-arcade 0.0.7", "factor"], rows)


def task_speed() -> str:
    """Return transitions per second of every task without pixels, and of its counterpart in gymnax if it has one."""
    rows = []
    for row in markdown.result("tasks-cpu")["tasks"]:
        speed, theirs = row["transitions_per_second"], row.get("gymnax")
        rows.append(
            [
                f"`{row['name']}`",
                f"{speed['median']:,.0f}",
                f"{speed['low']:,.0f} to {speed['high']:,.0f}",
                f"{row['bytes_per_environment']:,.0f}",
                f"{row['compile_seconds']:.1f} s",
                f"{theirs['environment']}: {theirs['transitions_per_second']['median']:,.0f}" if theirs else "",
                f"{theirs['times']:.1f}" if theirs else "",
            ]
        )
    head = ["task", "transitions/s", "lowest to highest repeat", "bytes/environment", "compilation", "gymnax", "factor"]
    return markdown.table(head, rows)


def task_speed_levels() -> str:
    """Return transitions per second of the tasks without pixels at their other levels."""
    found: dict[str, dict[str, str]] = {}
    for row in markdown.result("tasks-levels-cpu")["tasks"]:
        level = next(level for level in ("Medium", "Hard") if row["name"].endswith(level))
        speed = f"{row['transitions_per_second']['median']:,.0f}"
        found.setdefault(row["name"].removesuffix(level), {})[level] = speed
    rows = ([f"`{task}`", *(speeds.get(level, "") for level in ("Medium", "Hard"))] for task, speeds in found.items())
    return markdown.table(["task", "medium, transitions/s", "hard, transitions/s"], rows)


def headline_speed() -> str:
    """Return frames per second of environments and of training, ours and the released benchmark's."""
    rows = []
    for label, name, key in (("environments", "environments-cpu", "games"), ("training", "training-against", "rows")):
        found = markdown.result(name)[key]
        ours = [row["frames_per_second"]["median"] for row in found]
        theirs = [row["released"]["frames_per_second"]["median"] for row in found]
        factors = [one / other for one, other in zip(ours, theirs, strict=True)]
        cells = [f"{value:,.{0 if value > 100 else 1}f}" for value in map(markdown.geometric, (ours, theirs, factors))]
        rows.append([f"{label}, {len(found)} games", *cells, f"{min(factors):,.0f} to {max(factors):,.0f}"])
    return markdown.table(
        ["geometric mean", "podarcade", "popgym-arcade 0.0.7", "factor", "lowest to highest game"], rows
    )


def atari() -> str:
    """Return frames per second of Atari through EnvPool and ALE."""
    rows = (
        [row["library"], row["view"], row["game"], row["batch"], f"{row['frames_per_second']['median']:,.0f}"]
        for row in markdown.result("environments-cpu")["atari"]
    )
    return markdown.table(["library", "observation", "game", "batch", "frames/s"], rows)


def training_against() -> str:
    """Return frames per second and peak memory of whole updates, ours and the released trainer's."""
    rows = []
    for row in markdown.result("training-against")["rows"]:
        released = row["released"]
        ours, theirs = row["frames_per_second"]["median"], released["frames_per_second"]["median"]
        peaks = [f"{part['peak_bytes'] / 2**20:,.0f} MiB" for part in (row, released)]
        rows.append([row["game"], f"{ours:.1f}", f"{theirs:.2f}", f"{ours / theirs:.1f}", *peaks])
    return markdown.table(["game", "frames/s", "released trainer", "factor", "peak memory", "released trainer"], rows)


def training_tasks() -> str:
    """Return frames per second, memory and compile time of training on tasks, ours and other trainers'."""
    rows = []
    for row in markdown.result("training-tasks-cpu")["rows"]:
        sides, cells = (row, row["theirs"]), []
        for side in sides:
            speed = side["frames_per_second"]
            cells.append(f"{speed['median']:,.0f} ({speed['low']:,.0f} to {speed['high']:,.0f})")
        rows.append(
            [
                f"`{row['task']}`",
                f"{row['algorithm']}, {row['memory']}",
                cells[0],
                f"{row['peer']}, {row['theirs']['memory']}",
                cells[1],
                f"{row['times']:.2f}",
                " / ".join(f"{side['parameters']:,}" for side in sides),
                " / ".join(f"{side['peak_bytes'] / 2**20:,.0f} MiB" for side in sides),
                " / ".join(f"{side['compile_seconds']:.0f} s" for side in sides),
            ]
        )
    head = ["task", "podarcade", "frames/s", "peer", "frames/s", "factor", "parameters", "peak memory", "compilation"]
    return markdown.table(head, rows)


def training() -> str:
    """Return frames per second of the `cpu` preset with one change at a time."""
    rows = []
    for row in markdown.result("training-cpu")["rows"]:
        speed = row["frames_per_second"]
        spread = f"{speed['low']:,.0f} to {speed['high']:,.0f}"
        rows.append([change(row["arguments"]), f"{speed['median']:,.0f}", spread])
    return markdown.table(["change", "frames/s", "lowest to highest repeat"], rows)


def change(arguments: list[str]) -> str:
    """Return what a benchmarked command changes in the `cpu` preset."""
    renamed = {"encoder=paper": "encoder=popgym_cnn"}  # the encoder's name when this was recorded
    choice = arguments[0].partition(":")[2].removeprefix("preset=cpu").strip(",")
    values = [item.removeprefix("--config.") for item in arguments[1:] if not item.endswith("updates_per_call=1")]
    return f"`{', '.join(filter(None, [renamed.get(choice, choice), *values]))}`" if choice or values else "none"


def training_seeds() -> str:
    """Return frames per second of several seeds vectorised in one program, with the published encoder."""
    rows = (
        [row["seeds"], f"{row['frames_per_second']['median']:.1f}"]
        for row in markdown.result("training-seeds-cpu")["rows"]
    )
    return markdown.table(["seeds in one program", "frames/s"], rows)


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
        for row in markdown.result("scaling-cpu")["rows"]
        if scaling in row["scalings"]
    )
    return markdown.table(
        ["scaling", "devices", "environments", "frames/s", "of one device", "ideal", "efficiency"], rows
    )


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
        for row in markdown.result("scaling-cpu")["prediction"]["rows"]
    )
    return markdown.table(
        ["links", "devices", "all-reduces of an update", "weak efficiency", "strong efficiency"], rows
    )


def memory_speed() -> str:
    """Return forward plus backward time of each form of every memory at 128 steps."""
    forms, found = ("sequential", "associative", "chunked"), {}
    for row in markdown.result("memory-cpu")["rows"]:
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
    return markdown.table(["memory", "sequential, or the only form", "associative", "chunked"], rows)


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
        for row in markdown.result("checkpoints-cpu")["rows"]
    )
    head = ["state", "training blocked", "longest", "first save", "written in the background", "restored, verified"]
    return markdown.table(head, rows)


def side_by_side() -> str:
    """Return the seconds of sweeps whose agents share programs, and of those with a program for each agent."""
    lines = []
    for row in markdown.result("side_by_side-cpu")["rows"]:
        seconds = {arm: statistics.median(values) for arm, values in row["seconds"].items()}
        arms = ("one each", "in turn")
        cells = [f"{seconds[arm]:.0f} ({row['ratio'][arm]:.2f})" if arm in seconds else "-" for arm in arms]
        lines.append([f"`{row['grid']}`", count(row["frames"]), f"{seconds['planned']:.0f}", *cells])
    heads = ["as planned, s", "a program each, two at a time, s (ratio)", "a program each, in turn, s (ratio)"]
    return markdown.table(["grid", "frames of each agent", *heads], lines)
