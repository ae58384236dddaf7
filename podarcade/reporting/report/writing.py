"""The files of a report: the page, every number in JSON, and figures and data for a paper."""

import datetime
import json
import os
import pathlib
import shlex
from collections.abc import Sequence
from typing import Any

import podarcade
from podarcade.reporting.report import Section, drawing, known, overview, page, sections
from podarcade.reporting.report.folders import Broken, find
from podarcade.reporting.report.looks import looks_of
from podarcade.reporting.report.reading import ReportedRun, named, read


def gather(given: Sequence[pathlib.Path]) -> tuple[list[ReportedRun], list[Broken]]:
    """Return the runs in folders, and the folders that hold none that can be read."""
    found = [path if isinstance(path, Broken) else read(path) for path in find(given)]
    broken = [item for item in found if isinstance(item, Broken)]
    return named([item for item in found if isinstance(item, ReportedRun)]), broken


def write_page(
    path: pathlib.Path, title: str, made: str, runs: Sequence[ReportedRun], broken: Sequence[Broken]
) -> list[Section]:
    """Write the page, and its numbers in the JSON file of the same name; return the sections.

    Args:
      path: the page to write.
      title: of the page.
      made: when, with which version, and by which command.
      runs: the runs.
      broken: what could not be read.
    """
    made_of = sections.made(runs, broken)
    subject = overview.compared(runs)
    text = page.page(page.Heading(title, subject, made), made_of, looks_of(runs))
    numbers = {"title": title, "subject": subject, "made": made}
    numbers |= {"sections": {section.name: section.content() for section in made_of}}
    path.parent.mkdir(parents=True, exist_ok=True)
    _replace(path.with_suffix(".json"), json.dumps(_strict(numbers), indent=1, allow_nan=False) + "\n")
    _replace(path, text)
    return made_of


def made(arguments: Sequence[str]) -> str:
    """Return when a page was made, with which version, and by which command."""
    when = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")
    door = pathlib.Path(arguments[0]).stem.removeprefix("podarcade ")
    return f"{when}, podarcade {podarcade.__version__}: podarcade {door} {shlex.join(arguments[1:])}"


def write_paper(folder: pathlib.Path, made_of: Sequence[Section]) -> list[pathlib.Path]:
    """Write each figure as PDF and its data as CSV; return the files."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for figure in (figure for section in made_of for figure in section.figures):
        written += [folder / f"{figure.name}.pdf", folder / f"{figure.name}.csv"]
        drawing.write_pdf(figure, written[-2])
        drawing.write_csv(figure, written[-1])
    return written


def _strict(value: Any) -> Any:
    """Return a value with null for numbers that JSON lacks."""
    if isinstance(value, dict):
        return {str(key): _strict(item) for key, item in value.items()}
    return [_strict(item) for item in value] if isinstance(value, list | tuple) else known(value)


def _replace(path: pathlib.Path, text: str) -> None:
    """Write a file at once: a reader sees either the old or the whole new one."""
    part = path.with_name(f"{path.name}.part")
    part.write_text(text, encoding="utf-8", errors="replace")
    os.replace(part, path)
