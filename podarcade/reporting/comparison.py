"""What a comparison ends in: its result file, the table, pictures, and what both twins show."""

import datetime
import pathlib

from podarcade.reporting import figures, gap_bias, gap_figures, gap_tables, published, switch, tables
from podarcade.runtime import provenance
from podarcade.runtime.run_files import write_json


def write(path: pathlib.Path, rows: list[dict], last: float, arguments: list[str]) -> None:
    """Write the result file.

    Args:
      path: the file.
      rows: as `results` makes them.
      last: share of the frames whose evaluations are averaged.
      arguments: the command line.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    about = {"date": datetime.date.today().isoformat(), **provenance.collect(arguments), "last": last}
    write_json(path, about | {"runs": rows})


def show(path: pathlib.Path, rows: list[dict], dropped: list[str], last: float, folder: pathlib.Path) -> None:
    """Print the table, draw the pictures beside the result file, and analyse twins where there are both.

    Args:
      path: the result file.
      rows: as `results.pooled` returns them.
      dropped: lines on rows that were left out.
      last: share of the frames whose evaluations are averaged.
      folder: of the runs, whose training curves the published estimator of Gap and Bias needs.
    """
    print("\n" + "\n".join([tables.table(rows, last), *dropped]))
    _draw(path, rows)
    _twins(path, rows, last, folder)


def _draw(path: pathlib.Path, rows: list[dict]) -> None:
    curves, returns = path.with_suffix(".png"), path.with_name(f"{path.stem}-returns.png")
    figures.comparison_curves(rows, curves)
    figures.comparison_returns(rows, returns)
    print(f"results: {path}\ncurves: {curves}\nfinal returns: {returns}")


def _twins(path: pathlib.Path, rows: list[dict], last: float, folder: pathlib.Path) -> None:
    """Print and draw what rows of both twins show; training curves are read from the runs in `folder`, where it has."""
    if gap_bias.applies(rows):
        report = gap_bias.analyse(rows, published.training_curves(folder))
        print("\n" + gap_tables.table(report))
        if any(entry.is_complete for entry in report.entries):
            picture = path.with_name(f"{path.stem}-gap_bias.png")
            gap_figures.gap_bias(report, picture)
            print(f"Gap and Bias: {picture}")
    if gap_figures.varies_in_size(rows):
        picture = path.with_name(f"{path.stem}-pareto.png")
        gap_figures.pareto(rows, picture)
        print(f"returns over parameters: {picture}")
    found, lines = switch.analyse(rows, last)
    if found or lines:
        print("\n" + switch.table(found, lines))
