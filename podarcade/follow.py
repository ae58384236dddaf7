"""Pass the metrics of a run on, while it trains or afterwards: to a CSV file, or to Weights & Biases.

    python -m podarcade.follow runs/mine --log=csv
    python -m podarcade.follow runs/mine --log=wandb --once
    python -m podarcade.launch --config=configs/ppo.py --log=wandb,csv

The last one starts this program beside the run, which neither waits for it nor fails with it. `csv` is metrics.csv in
the folder of the run, with a row for each record and seed; `wandb` needs the package of that name.

Exit code 0: the run has ended, --once, or Ctrl-C; 1: an error.
"""

import functools
import pathlib
import sys
import threading
import time
from collections.abc import Callable

from absl import flags

from podarcade.configuration import check_choice, files, total_updates
from podarcade.reporting import clips
from podarcade.reporting.sinks import SINKS, Sink
from podarcade.runtime import door
from podarcade.runtime.metrics import METRICS, read_metrics
from podarcade.runtime.signals import DONE

LOOK = 1.0  # seconds between looks at the file, at least
PICTURES = 60.0  # seconds that a complete run may take to draw its pictures
REST = 10.0  # a look that took t seconds is followed by as many times t of rest


def make_flags() -> flags.FlagValues:
    """Return the flags of the command line."""
    values = flags.FlagValues()
    flags.DEFINE_list("log", ["csv"], f"where to: {', '.join(SINKS)}", flag_values=values)
    flags.DEFINE_boolean("once", False, "pass on what is there, and end", flag_values=values)
    flags.DEFINE_boolean("until_input_ends", False, "end when standard input does, as beside a run", flag_values=values)
    flags.DEFINE_boolean("help", False, "show this help", short_name="h", flag_values=values)
    return values


def main(arguments: list[str]) -> int:
    """Run one command line; return the exit code."""
    options = make_flags()
    return door.enter(__doc__, options, arguments, lambda runs: _follow_one(options, runs))


def _follow_one(options: flags.FlagValues, runs: list[str]) -> int:
    if len(runs) != 1:
        raise ValueError(f"{len(runs)} runs given; expected one folder, as in podarcade follow runs/mine")
    for name in options.log:
        check_choice("--log", name, SINKS)
    run = pathlib.Path(runs[0]).expanduser()
    if not (run / "config.json").is_file():
        raise ValueError(f"{run} holds no run: there is no config.json")
    try:
        follow(run, [SINKS[name](run) for name in options.log], _ending(options, run))
    except ModuleNotFoundError as error:
        raise ValueError(f"--log={','.join(options.log)} needs {error.name}: pip install {error.name}") from None
    except KeyboardInterrupt:
        pass  # the usual way to end it
    return DONE


def follow(run: pathlib.Path, sinks: list[Sink], ended: Callable[[], bool]) -> None:
    """Write the records of a run to sinks whenever its file has changed, until `ended` returns True; then close them.

    The file may be replaced by a shorter one, when the run resumes.
    """
    path, seen, last = run / METRICS, None, False
    try:
        while not last:
            last = ended()  # asked before the file is read, so that nothing is missed
            began = time.monotonic()
            if path.exists() and (state := _state(path)) != seen:
                records = read_metrics(path)
                for sink in sinks:
                    sink.write(records)
                seen = state
            if not last:
                _rest(max(LOOK, REST * (time.monotonic() - began)), ended)
    finally:
        for sink in sinks:
            sink.close()


def _state(path: pathlib.Path) -> tuple[int, int, int]:
    found = path.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns


def _rest(seconds: float, ended: Callable[[], bool]) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and not ended():
        time.sleep(0.1)


def _ending(options: flags.FlagValues, run: pathlib.Path) -> Callable[[], bool]:
    """Return the function that says when to end."""
    if options.once:
        return lambda: True
    return _input_ended() if options.until_input_ends else _run_ended(run)


def _run_ended(run: pathlib.Path) -> Callable[[], bool]:
    """Return a function that says whether a run has written its last record, and its pictures if it does so at all."""
    path, total = run / METRICS, total_updates(files.read_json(run / "config.json"))

    @functools.lru_cache(maxsize=1)
    def is_complete(state: tuple) -> bool:
        records = read_metrics(path)
        return bool(records) and records[-1]["updates"] >= total

    def ended() -> bool:
        if not path.exists() or not is_complete(_state(path)):
            return False
        return (run / clips.CLIP).exists() or time.time() - path.stat().st_mtime > PICTURES

    return ended


def _input_ended() -> Callable[[], bool]:
    """Return a function that says whether standard input has ended."""
    event = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.buffer.read(), event.set()), daemon=True).start()
    return event.is_set


if __name__ == "__main__":
    sys.exit(main(sys.argv))
