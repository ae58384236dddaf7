"""The command `podarcade`, also as `python -m podarcade`: one subcommand for each door.

podarcade launch --config=configs/pqn_lru.py        the same as python -m podarcade.launch --config=...
"""

import importlib.util
import os
import runpy
import sys

DOORS = {
    "launch": "train the agent that a configuration describes, or resume its training",
    "compare": "train and compare several memories, games or algorithms",
    "sweep": "train tasks x memories x algorithms x seeds, on this machine or a cluster",
    "evaluate": "play whole episodes with trained agents, on both twins, levels and other tasks",
    "diagnose": "measure what the memory of trained agents does",
    "report": "write one HTML file on runs: tables, curves, what differs between them, what they remember",
    "leaderboard": "rank agents over tasks by the scores of their runs, with uncertainty",
    "export": "write an agent as safetensors or ONNX, or the metrics of runs as one table",
    "follow": "pass the metrics of a run on, to a CSV file or to Weights & Biases",
    "search": "search for hyper-parameters, and measure the winner on fresh seeds",
    "probe": "measure how many seeds one program should train on this device",
    "gallery": "draw every game, its full and its partial twin side by side",
    "doctor": "check this machine: devices, processes, checkpoints, reproducibility",
}


def main() -> None:
    """Run the door that the first argument names, with the other arguments.

    Raises:
      SystemExit: with the exit code of the door; 1 for an unknown one.
    """
    doors = {name: text for name, text in DOORS.items() if importlib.util.find_spec(f"podarcade.{name}")}
    name = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if name in ("-h", "--help", "help"):
        print("usage: podarcade COMMAND [--help | FLAGS]\n")
        print("\n".join(f"  {door:11} {text}" for door, text in doors.items()))
        return
    if name not in doors:
        raise SystemExit(f"error: unknown command {name!r}; expected one of: {', '.join(doors)}")
    sys.argv = [f"podarcade {name}", *sys.argv[2:]]
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())  # as `python -m` does, so that plug-ins may be modules of this folder
    runpy.run_module(f"podarcade.{name}", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
