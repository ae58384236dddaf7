"""Display of a run: a live table on a terminal, one line per record everywhere else."""

import atexit
import contextlib
import itertools
import math
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import rich.console
from rich.console import Group
from rich.live import Live
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from podarcade.runtime.metrics import seed_mean


def count(number: float) -> str:
    """Format a large count with three digits: 950, 131k, 2.05M."""
    for size, letter in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if number >= 0.9995 * size:
            digits = number / size
            return f"{digits:.{2 if digits < 9.995 else 1 if digits < 99.95 else 0}f}{letter}"
    return f"{number:.0f}"


def clock(seconds: float) -> str:
    """Format a duration: 0:21, 1:02:33, 2d 03:04."""
    minutes, second = divmod(max(round(seconds), 0), 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    if days:
        return f"{days}d {hour:02}:{minute:02}"
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"


def sparkline(values: Sequence[float], low: float, high: float, width: int = 32) -> str:
    """Draw a curve as one line of text: ▁▂▅▇█.

    Args:
      values: points of the curve; more than `width` of them are averaged in groups.
      low, high: values of the lowest and the highest bar.
      width: maximum number of characters.
    """
    size = min(len(values), width)
    edges = [len(values) * k // size for k in range(size + 1)] if size else []
    means = [sum(values[a:b]) / (b - a) for a, b in itertools.pairwise(edges)]
    span = (high - low) or 1.0
    return "".join("▁▂▃▄▅▆▇█"[min(max(int(8 * (mean - low) / span), 0), 7)] for mean in means)


def _score(number: float) -> str:
    # NaN means that no episode ended.
    return "-" if math.isnan(number) else f"{number:.3f}" if abs(number) < 1000 else f"{number:.4g}"


def _loss(number: float) -> str:
    return f"{number:.4f}" if number == 0 or 1e-3 <= abs(number) < 1000 else f"{number:.2e}"


class Column(NamedTuple):
    """A column of the table: its title, the key of its metric, and the format of a value."""

    title: str
    key: str
    format: Callable[[float], str]

    def text(self, record: dict) -> str:
        """Return the mean over seeds of this metric, or "-" if the record lacks it."""
        number = seed_mean(record.get(self.key))
        if number is None:
            return "-"
        return self.format(number) if math.isfinite(number) or self.format is _score else str(number)


columns = (
    Column("frames", "frames", count),
    Column("time", "seconds", clock),
    Column("frames/s", "frames_per_second", count),
    Column("train return", "train/return", _score),
    Column("eval full", "eval/return_full", _score),
    Column("eval partial", "eval/return_partial", _score),
    Column("loss", "train/loss", _loss),
    Column("explore", "train/exploration", "{:.3f}".format),
)


class _TimeLeft(ProgressColumn):
    """Time until the run is complete; empty until two calls of the update have been timed."""

    def render(self, task: Task) -> Text:
        left = task.time_remaining
        return Text("" if left is None else f"{clock(left)} left", style="bold cyan")


class Console:
    """Display of one run; a context manager that restores the terminal however the run ends.

    On a terminal it shows a progress bar, the returns so far and the latest records; elsewhere, and if the environment
    variable `CI` is set, it prints plain lines.

    Args:
      total_updates: number of updates after which the run is complete.
      updates: number of updates to continue from.
      history: earlier records, for the curves of a resumed run.
      columns: columns of the table; a column whose metric never occurs is omitted.
      screen: where to draw.
      quiet: print nothing, as in all processes but the first.
    """

    def __init__(
        self,
        total_updates: int,
        updates: int = 0,
        history: Iterable[dict] = (),
        columns: Sequence[Column] = columns,
        screen: rich.console.Console | None = None,
        quiet: bool = False,
    ):
        self.columns = columns
        self.screen = screen or rich.console.Console(quiet=quiet)
        # Lists only: the thread that redraws reads them while a row is added, which is safe for a list.
        self._latest: list[dict] = []
        self._curves = {column.key: [] for column in columns if column.key.startswith("eval/")}
        self._keys: set[str] = set()
        for record in history:
            self._append(record)
        self._status: tuple[str, float] | None = None
        self._spinner = Spinner("dots", style="cyan")
        self._titles: tuple[Column, ...] = ()
        self._progress = Progress(
            TextColumn("{task.percentage:3.0f} %"),
            BarColumn(None, complete_style="cyan", finished_style="green"),
            TextColumn("update {task.completed:,} of {task.total:,}"),
            _TimeLeft(),
            console=self.screen,
            expand=True,
            get_time=lambda: time.monotonic(),
            speed_estimate_period=math.inf,  # seconds: one call of the update may take minutes
        )
        self._progress.add_task("", total=max(total_updates, 1), completed=updates)
        (self._task,) = self._progress.tasks
        self._live = self._start() if self._can_draw() else None

    def _can_draw(self) -> bool:
        screen = self.screen
        unicode = screen.encoding.lower().startswith("utf")
        return screen.is_terminal and screen.is_interactive and unicode and not screen.quiet and "CI" not in os.environ

    def _start(self) -> Live:
        live = Live(get_renderable=self._render, console=self.screen, refresh_per_second=4, vertical_overflow="crop")
        live.start()
        # Live hides the cursor, and nothing would restore it if jax aborted the process, as it does when a peer is
        # lost; so it stays visible from the start.
        self.screen.show_cursor(True)
        atexit.register(self.close)
        return live

    @property
    def activity(self) -> str:
        """Text that `status` is showing; empty if none."""
        return self._status[0] if self._status else ""

    def log(self, text: str, style: str = "") -> None:
        """Print permanent text above the table, and flush it.

        Args:
          text: one line or more, printed verbatim (no markup).
          style: style on a terminal, in the terms of rich: "bold", "red", "dim".
        """
        if self._live is None:
            style = ""
        self.screen.print(Text(text, style=style), highlight=False, soft_wrap=True)

    @contextlib.contextmanager
    def status(self, text: str, keep: bool = True) -> Iterator[None]:
        """Show what is being done and for how long: "compiling the update ... 12.3 s".

        Args:
          text: the activity.
          keep: whether to leave a line about it; without, only a live display shows it, while it lasts.
        """
        began, outer = time.monotonic(), self._status
        self._status = (text, began)
        if keep and self._live is None:
            self.log(f"{text} ...")
        outcome = "stopped after "
        try:
            yield
            outcome = ""
        finally:
            self._status = outer
            if keep or outcome:
                self.log(f"{text} ... {outcome}{time.monotonic() - began:.1f} s")

    def add_row(self, record: dict) -> None:
        """Show a record of metrics, as `Writer.write` takes it."""
        self._append(record)
        self._progress.update(self._task.id, completed=record["updates"])
        if self._live is None:
            self._print_row(record)
        else:
            self._live.refresh()

    def close(self) -> None:
        """Draw the display a last time and restore the terminal; later messages are printed plainly."""
        live, self._live = self._live, None
        if live is not None:
            atexit.unregister(self.close)
            live.stop()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.close()

    def _append(self, record: dict) -> None:
        self._keys |= record.keys()
        self._latest.append(record)
        del self._latest[:-8]
        for key, curve in self._curves.items():
            mean = seed_mean(record.get(key))
            if mean is not None and math.isfinite(mean):
                curve.append(mean)

    def _visible_columns(self) -> tuple[Column, ...]:
        """Return the columns whose metric has occurred."""
        return tuple(column for column in self.columns if column.key in self._keys)

    def _print_row(self, record: dict) -> None:
        titles, left = self._visible_columns(), self._task.time_remaining
        if titles != self._titles:
            self._titles = titles
            self.log("  ".join(f"{column.title:>8}" for column in titles) + f"  {'done':>5}  {'left':>8}")
        cells = [f"{column.text(record):>{max(len(column.title), 8)}}" for column in titles]
        ending = f"  {self._task.percentage:4.0f}%  {'-' if left is None else clock(left):>8}"
        self.log("  ".join(cells) + ending)

    def _render(self) -> Group:
        parts, status = [self._progress.get_renderable(), *self._return_curves()], self._status
        if self._latest:
            parts += [Text(""), self._table()]
        if status is not None:
            self._spinner.update(text=f"{status[0]} ... {time.monotonic() - status[1]:.1f} s")
            parts += [self._spinner]
        return Group(*parts)

    def _return_curves(self) -> list[Text]:
        """Return a sparkline for each evaluated return, all on the same scale."""
        curves = {column.title: self._curves[column.key] for column in self.columns if self._curves.get(column.key)}
        numbers = [number for curve in curves.values() for number in curve]
        lines = []
        for (title, curve), colour in zip(curves.items(), itertools.cycle(("bright_blue", "yellow", "green"))):
            bars = sparkline(curve, min(numbers), max(numbers))
            last, best = f" {_score(curve[-1])}", f"   best {_score(max(curve))}"
            lines.append(Text.assemble(f"{title:<13}", (bars, colour), last, (best, "dim")))
        return lines

    def _table(self) -> Table:
        titles = self._visible_columns()
        table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", pad_edge=False)
        for column in titles:
            title = column.title.replace(" ", "\n")
            table.add_column(title, justify="right", vertical="bottom", no_wrap=True, min_width=7)
        # A low window keeps the latest rows, below the bar, the curves and the two lines of titles.
        latest = self._latest[-min(8, max(self.screen.height - 9, 1)) :]
        for record in latest:
            style = "bold" if record is latest[-1] else ""
            table.add_row(*(column.text(record) for column in titles), style=style)
        return table
