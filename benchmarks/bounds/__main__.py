"""Play the scripted players of all tasks, and record their returns beside the environments.

    python -m benchmarks.bounds
    python -m benchmarks.bounds --tasks=tmaze,repeat_first --episodes=4000

Each level is played under strict rules by the uniformly random policy and by the players of benchmarks/bounds. Where
results/known_policies.json has a better return, or the only one, that is recorded. Finished tasks are kept in the
record: the command can be stopped and run again, and plays what is missing, or what --tasks names.
"""

import argparse
import importlib
import importlib.util
import json
import sys
import time

from benchmarks import bounds, markdown
from podarcade import plugins
from podarcade.envs.bounds import RECORD
from podarcade.envs.contract import make_game
from podarcade.runtime import backend, provenance
from podarcade.runtime.run_files import write_json

KINDS = ("memoryless", "with_action", "memory")


def players(name: str):
    """Return the module of the players of a task, None where there is none."""
    module = f"benchmarks.bounds.{name}"
    return importlib.import_module(module) if importlib.util.find_spec(module) else None


def play_level(module, game, episodes: int) -> dict[str, dict]:
    """Return mean, standard error and policy of every player on a level."""
    found = {"random": (bounds.random, "uniformly random")}
    for kind in KINDS:
        if hasattr(module, kind):
            found[kind] = getattr(module, kind), getattr(module, kind).__doc__.strip()
    row = {}
    for kind, (make, about) in found.items():
        played = bounds.play(game, make(game), episodes)
        policy, numbers = " ".join(about.split()), {"mean": round(played.mean, 5), "error": round(played.error, 5)}
        row[kind] = numbers | {"episodes": episodes, "policy": policy}
    return row


def known_games() -> dict[str, dict]:
    """Return what is known of games from elsewhere, at the easy level."""
    rows = {}
    for name, row in markdown.result("known_policies")["games"].items():
        policies = {"memoryless": row["memoryless"], "memory": row["best"]}
        rows[f"{name}Easy"] = {
            kind: {"mean": policy["return"], "policy": policy["policy"]}
            for kind, policy in policies.items()
            if policy["return"] is not None
        }
    return rows


def with_known(row: dict[str, dict], known: dict[str, dict]) -> dict[str, dict]:
    """Return the bounds of a level, with the known ones where they are better by more than two standard errors.

    Known memoryless policies may have seen their previous action, so beside a player that does not, they count as such.
    """
    row = dict(row)
    for kind, policy in known.items():
        if kind == "memoryless" and kind in row:
            kind = "with_action" if policy["mean"] > row[kind]["mean"] + 2 * row[kind]["error"] else kind
        if kind not in row or policy["mean"] > row[kind]["mean"] + 2 * row[kind]["error"]:
            row[kind] = policy
    return row


def main(arguments: list[str]) -> None:
    """Play what is missing, and write the record after every level."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", default="", help="comma-separated names of files, played again; empty: the missing")
    parser.add_argument("--episodes", type=int, default=4000, help="episodes of each player")
    options = parser.parse_args(arguments[1:])
    backend.configure(0)
    known = known_games()
    rows = dict(known)
    if RECORD.exists():
        rows |= json.loads(RECORD.read_text(encoding="utf-8"))["environments"]
    chosen = options.tasks.split(",") if options.tasks else plugins.names("games")
    for name in chosen:
        game_class, module = plugins.find("games", name), players(name)
        for level in game_class.LEVELS if module else ():
            environment, started = game_class.__name__ + level.capitalize(), time.monotonic()
            if any("error" in played for played in rows.get(environment, {}).values()) and not options.tasks:
                continue
            row = play_level(module, make_game(game_class, level), options.episodes)
            rows[environment] = with_known(row, known.get(environment, {}))
            returns = ", ".join(f"{kind} {played['mean']:.3f}" for kind, played in rows[environment].items())
            print(f"{environment}: {returns} ({time.monotonic() - started:.0f} s)", flush=True)
            about = provenance.collect(arguments) | {"rules": "strict"}
            write_json(RECORD, about | {"environments": dict(sorted(rows.items()))})


if __name__ == "__main__":
    main(sys.argv)
