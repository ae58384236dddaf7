"""Stands in for `podarcade.launch` in tests of sweeps: four updates, MODE says how it goes.

python sweep_child.py --mode=MODE --workdir=FOLDER
python sweep_child.py --config=ANYTHING --workdir=FOLDER [--config.population=... --members=FOLDER]

The second form takes what a sweep's plan says, and the modes of runs from MODES, a folder with one file for each run
folder's name. Like the trainer, it locks its folder, resumes after its last update, and does nothing when complete.
"""

import contextlib
import importlib.util
import json
import os
import pathlib
import signal
import sys
import time

options = dict(item.lstrip("-").split("=", 1) for item in sys.argv[1:])
folder, mode = pathlib.Path(options["workdir"]), options.get("mode", "good")
members = pathlib.Path(options["members"]) if "members" in options else None
UPDATES = int(os.environ.get("UPDATES", "4"))
stopped = []
for number in (signal.SIGTERM, signal.SIGINT):
    signal.signal(number, lambda number, _: stopped.append(number))
folder.mkdir(parents=True, exist_ok=True)
with (folder / "starts.txt").open("a") as file:
    file.write(f"{os.getpid()}\n")


def load_lock():
    """podarcade.runtime.lock without the package, which would import jax."""
    file = pathlib.Path(__file__).parent.parent / "podarcade" / "runtime" / "lock.py"
    spec = importlib.util.spec_from_file_location("lock", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def names():
    """Names of the members of a population: the k-th value of every list."""
    lists = [word.split("=") for word in options["config.population"].split()]
    columns = [[f"{path}={float(item)!r}" for item in values.split(",")] for path, values in lists]
    return [",".join(row) for row in zip(*columns, strict=True)]


def lines(path):
    return path.read_text().splitlines() if path.exists() else []


def finish(target):
    """Leave a complete run."""
    target.mkdir(parents=True, exist_ok=True)
    if target != folder:
        (target / "metrics.jsonl").write_text((folder / "metrics.jsonl").read_text())
    (target / "learning_curve.svg").touch()


def train():
    for updates in range(len(lines(folder / "metrics.jsonl")), UPDATES + 1):
        with (folder / "metrics.jsonl").open("a") as file:
            record = {"updates": updates, "frames": 64 * updates, "seconds": 0.1 * updates}
            file.write(json.dumps(record | {"eval/return_partial": [0.0, updates / UPDATES]}) + "\n")
        print(f"update {updates}", flush=True)
        time.sleep(float(os.environ.get("SECONDS_EACH", "0")))
        if updates == 1:
            misbehave()
        stop_if_orphan()
        if stopped and mode != "deaf":
            stop()


def stop():
    sys.exit(0 if stopped[0] == signal.SIGINT else 75)


def misbehave():
    """What the mode says to do after the first update."""
    is_first = not (folder / "once").exists()
    (folder / "once").touch()
    if mode == "killed once" and is_first:
        os.kill(os.getpid(), signal.SIGKILL)
    if mode == "lost once" and is_first:
        sys.exit(75)
    while mode in ("wait", "deaf"):
        time.sleep(0.01)
        if stopped and mode == "wait":
            (folder / "saved").touch()
            stop()
        stop_if_orphan()


def stop_if_orphan():
    if os.getppid() != int(os.environ["PODARCADE_SUPERVISOR"]):
        (folder / "orphan").touch()
        sys.exit(75)


if "MODES" in os.environ:
    file = pathlib.Path(os.environ["MODES"]) / folder.name
    mode = file.read_text() if file.exists() else "good"
if mode == "fail":
    print("a line before\nerror: no such thing\na line after", flush=True)
    sys.exit(1)
if mode == "diverge":
    print("error: every seed diverged", flush=True)
    sys.exit(70)
if mode == "crash":
    os.kill(os.getpid(), signal.SIGKILL)

with contextlib.ExitStack() as stack:
    if "MODES" in os.environ:
        lock = load_lock()
        try:
            stack.enter_context(lock.Lock(folder, beat=0.2))
        except lock.WorkdirInUse as error:
            print(f"error: {error}", flush=True)
            sys.exit(1)
    train()
    if members is None:
        finish(folder)
    else:
        diverged = {name: "not finite" for name in names() if (folder / f"diverge {name}").exists()}
        complete = [name for name in names() if name not in diverged]
        for name in complete:
            finish(members / name)
        (folder / "members.json").write_text(json.dumps({"diverged": diverged, "complete": complete}))
        sys.exit(70 if diverged else 0)
