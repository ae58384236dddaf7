"""Stands in for `podarcade.launch` in tests of sweeps: four updates, MODE says how it goes.

python sweep_child.py --mode=MODE --workdir=FOLDER
"""

import json
import os
import pathlib
import signal
import sys
import time

options = dict(item.lstrip("-").split("=", 1) for item in sys.argv[1:])
folder, mode = pathlib.Path(options["workdir"]), options["mode"]
stopped = []
signal.signal(signal.SIGTERM, lambda *_: stopped.append(True))
with (folder / "starts.txt").open("a") as file:
    file.write(f"{os.getpid()}\n")
if mode == "fail":
    print("a line before\nerror: no such thing\na line after", flush=True)
    sys.exit(1)
if mode == "crash":
    os.kill(os.getpid(), signal.SIGKILL)
for updates in range(5):
    with (folder / "metrics.jsonl").open("a") as file:
        file.write(json.dumps({"updates": updates, "eval/return_partial": [0.0, updates / 4]}) + "\n")
    print(f"update {updates}", flush=True)
    while mode in ("wait", "deaf") and updates == 1:
        time.sleep(0.01)
        if stopped and mode == "wait":
            (folder / "saved").touch()
            sys.exit(75)
        if os.getppid() != int(os.environ["PODARCADE_SUPERVISOR"]):
            (folder / "orphan").touch()
            sys.exit(75)
(folder / "learning_curve.svg").touch()
