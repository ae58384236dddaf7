"""Run folders written by tests of the report, without training, and pages read back."""

import functools
import html.parser
import json

import numpy as np
import pytest
from running import ROOT, load

from podarcade import report


@functools.cache
def _config(arguments, overrides):
    return json.dumps(load(f"--config={ROOT}/configs/ppo.py:{arguments},preset=smoke", *overrides).to_dict())


def config(game="tmaze", memory="gru", partial="true", seeds=2, **overrides):
    """The configuration of a run, as config.json has it."""
    return json.loads(
        _config(
            f"game={game},memory={memory},partial={partial}",
            (f"--config.seeds={seeds}", *(f"--config.{key}={value}" for key, value in overrides.items())),
        )
    )


def records(about, evaluations=3, complete=True, shift=0.0):
    """Lines of metrics.jsonl; returns rise with the frames, and differ by seed and twin."""
    seeds = about["seeds"]
    updates = about["frames"] // (about["num_envs"] * about["algorithm"]["rollout_length"])
    found = []
    for k in range(evaluations):
        value = [round(shift + k / evaluations + 0.01 * seed, 6) for seed in range(seeds)]
        line = {
            "updates": updates * k // (evaluations - 1) if complete else k,
            "frames": [1000 * k] * seeds,
            "seconds": 2.0 * k,
            "eval/return_full": value,
            "eval/return_partial": [-item for item in value],
            "eval/seconds": 0.5,
        }
        found.append({name: item[0] if isinstance(item, list) and seeds == 1 else item for name, item in line.items()})
    found[0] |= {"random/return_full": [-0.5] * seeds, "random/return_partial": [-0.25] * seeds}
    if complete:
        final = {"final/return_full": 0.5, "final/return_partial": 0.75}
        found[-1] |= {key: [shift + value + 0.01 * seed for seed in range(seeds)] for key, value in final.items()}
    return found


def write(folder, about=None, lines=None, **start):
    """Write the folder of a run; return it."""
    about = config() if about is None else about
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(about))
    lines = records(about) if lines is None else lines
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    begun = {"arguments": ["--config=configs/ppo.py", f"--workdir={folder.name}"], "started": "2026-01-02T03:04:05"}
    machine = {"devices": ["cpu", "cpu"], "processor": "2 x Nova", "versions": {"jax": "0.10.2"}}
    (folder / "run.json").write_text(json.dumps([begun | machine | start]))
    return folder


def diagnose(folder, name, summaries, arrays=None, updates=7, untrained=None):
    """Write what a diagnostic found, as podarcade diagnose does; return the path of the arrays."""
    path = folder / "diagnostics.json"
    known = json.loads(path.read_text()) if path.exists() else {}
    known[name] = {str(updates): {"options": {"episodes": 4}, "seeds": summaries}}
    known[name][str(updates)] |= {"untrained": untrained} if untrained else {}
    path.write_text(json.dumps(known))
    if arrays is not None:
        (folder / "diagnostics").mkdir(exist_ok=True)
        np.savez(folder / "diagnostics" / f"{name}-{updates}.npz", **arrays)
    return folder / "diagnostics" / f"{name}-{updates}.npz"


class Page(html.parser.HTMLParser):
    """A page read back: every element with its attributes; raises for tags that do not close each other."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.elements, self.text, self.open, self.rows = [], [], [], []
        self.feed(text)
        self.close()
        assert not self.open, self.open

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in ("meta", "img", "br", "input"):
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open and self.open.pop() == tag, tag

    def handle_data(self, data):
        self.text.append(data)
        if {"td", "th"} & set(self.open):
            self.rows[-1][-1] += data

    def row(self, name):
        """The first row of a table whose heading is `name`."""
        return next(row for row in self.rows if row[0] == name)


def command(*arguments):
    return report.main(["report", *map(str, arguments)])


def made(folder, *runs, code=0, flags=()):
    """The page of a report, and its numbers."""
    assert command(*runs, f"--output={folder}/report.html", *flags) == code
    numbers = json.loads((folder / "report.json").read_text(), parse_constant=lambda word: pytest.fail(word))
    return Page((folder / "report.html").read_text(encoding="utf-8")), numbers["sections"]
