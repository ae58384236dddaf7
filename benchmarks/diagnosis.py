"""What memory does, against what is known: every diagnostic of trained agents, in one result.

    python -m benchmarks.needs_memory --json=benchmarks/results/needs_memory-cpu.json
    python -m benchmarks.diagnosis --runs=runs/needs_memory --json=benchmarks/results/diagnosis-cpu.json

Runs `podarcade diagnose` on every complete run below a folder, all seeds, and gathers the summaries with the final
returns. What a run has been measured on before is not measured again. Two pictures:

    -needed.png   partial twins: the share of Recall Density at the time when the answer was shown, which is known
    -early.png    full twins: the share before the last third of the episode, where nothing has to be remembered

beside those of untrained networks, which are the control.
"""

import argparse
import functools
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import heat_map
from benchmarks.tables_of_tasks import HEADLINE
from podarcade import diagnose
from podarcade.diagnostics.choice import ALL, choose
from podarcade.reporting.results import per_seed, seeds_of
from podarcade.runtime import backend, provenance
from podarcade.runtime.metrics import METRICS, read_metrics
from podarcade.runtime.run_files import write_json

LEFT_OUT = {"recall_density": ("l2", "spread"), "contamination": ("noise", "shuffle", "shuffle_moved")}
NOT_SHOWN = (
    "curve", "distance", "horizon", "within", "r2", "near_tie_flips", "variation", "kl", "value_size", "clear_flips",
)  # fmt: skip
Reader = Callable[[dict], Any]  # summary of one seed -> a number, or None
PANELS = (  # what is shown, whether of trained agents, and how it is read
    ("gradient (L1), trained", "seeds", "l1"),
    ("gradient (L1), untrained", "untrained", "l1"),
    ("occlusion, trained", "seeds", "occlusion"),
    ("occlusion, untrained", "untrained", "occlusion"),
)


def complete(runs: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yield folder and configuration of the runs below a folder that have been trained to their end."""
    for path in sorted(runs.rglob("config.json")):
        config = json.loads(path.read_text(encoding="utf-8"))
        if (path.parent / "learning_curve.svg").exists():
            yield path.parent, config


def row(folder: Path, config: dict[str, Any], chosen: dict[str, Any]) -> dict[str, Any]:
    """Return what is known of a run: task, variant, final returns by seed, and the summaries of its diagnostics."""
    section, last = config["environment"], read_metrics(folder / METRICS)[-1]
    found = json.loads((folder / diagnose.RESULTS).read_text(encoding="utf-8"))
    updates = str(last["updates"])
    return {
        "task": {"game": section["name"], "level": section["level"], "twin": section["observability"]},
        "variant": config["memory"]["name"] + (", matched" if config["network"]["init"] == "matched" else ""),
        "seeds": seeds_of(config),
        "returns": per_seed(last[f"final/return_{section['observability']}"]),
        "diagnostics": {name: _kept(name, found[name][updates]) for name in chosen if updates in found.get(name, {})},
    }


def _kept(name: str, entry: dict[str, Any]) -> dict[str, Any]:
    """Return options and summaries of a diagnostic without what no table or picture has."""
    kinds = [kind for kind in ("seeds", "untrained") if kind in entry]
    short = {kind: {seed: _short(name, summary) for seed, summary in entry[kind].items()} for kind in kinds}
    return {"options": entry["options"], **short}


def _short(name: str, summary: dict[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in summary.items() if name != "probes" or key.startswith("needed.")}
    return _rounded({key: value for key, value in kept.items() if key not in LEFT_OUT.get(name, ())})


def _rounded(value: Any) -> Any:
    """Return numbers with four decimals, and none that no table has."""
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items() if key not in NOT_SHOWN}
    if isinstance(value, list):
        return [_rounded(item) for item in value]
    return round(value, 4) if isinstance(value, float) else value


def grid(rows: Sequence[dict], diagnostic: str, kind: str, read: Reader) -> tuple[list[str], list[str], np.ndarray]:
    """Return tasks, variants and means over seeds, NaN where no seed has a number.

    Args:
      rows: of one twin.
      diagnostic: its name.
      kind: "seeds" for trained agents, "untrained" for the control.
      read: summary of one seed -> a number, or None.
    """
    tasks = sorted({row["task"]["game"] for row in rows}, key=lambda name: (name not in HEADLINE, name))
    variants = list(dict.fromkeys(row["variant"] for row in rows))
    values = np.full((len(tasks), len(variants)), np.nan)
    for one in rows:
        summaries = one["diagnostics"].get(diagnostic, {}).get(kind, {}).values()
        known = [number for number in map(read, summaries) if number is not None]
        place = tasks.index(one["task"]["game"]), variants.index(one["variant"])
        values[place] = np.mean(known) if known else np.nan
    return tasks, variants, values


def early(measure: str) -> Reader:
    """Return a reader of the density before the last third of the episode."""

    def read(summary: dict) -> float | None:
        thirds = summary.get(measure, {}).get("thirds")
        return None if thirds is None else sum(thirds[:2])

    return read


def needed(measure: str) -> Reader:
    """Return a reader of the density at the time that the last decision needs."""
    return lambda summary: summary.get(measure, {}).get("needed")


def draw(rows: Sequence[dict], path: Path) -> None:
    """Draw the pictures whose rows are there, beside the result."""
    for name, twin, reader, label, top in (
        ("needed", "partial", needed, "share of the density\nat the needed time", 1.0),
        ("early", "full", early, "share of the density\nbefore the last third", 0.5),
    ):
        chosen = [one for one in rows if one["task"]["twin"] == twin]
        if chosen:
            panels = [
                heat_map.Panel(title, *grid(chosen, "recall_density", kind, reader(measure)))
                for title, kind, measure in PANELS
            ]
            heat_map.draw(path.with_name(f"{path.stem}-{name}.png"), panels, 0.0, top, label)


def main(arguments: Sequence[str]) -> int:
    """Measure what is missing, gather, draw; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", default="runs/needs_memory", help="folder of the trained runs")
    parser.add_argument("--tasks", default="", help="comma-separated names; empty for all that were trained")
    parser.add_argument("--with", default=ALL, help="comma-separated diagnostics", dest="chosen")
    parser.add_argument("--override", action="append", default=[], help="DIAGNOSTIC.OPTION=VALUE; may be repeated")
    parser.add_argument("--json", default="", help="file of the results, pictures beside it; empty: measure only")
    options = parser.parse_args(arguments[1:])
    backend.configure(0)
    chosen, rows = choose(options.chosen.split(","), options.override), []
    about = functools.cache(lambda: provenance.collect(list(arguments)))
    for folder, config in complete(Path(options.runs)):
        if options.tasks and config["environment"]["name"] not in options.tasks.split(","):
            continue
        diagnose.diagnose(folder, chosen, "latest")
        rows.append(row(folder, config, chosen))
        if options.json:
            write_json(Path(options.json), about() | {"rows": rows})
    if options.json and rows:
        draw(rows, Path(options.json))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
