"""What a person sees of a run: a live table on a terminal, one line per record everywhere else."""

import atexit
import contextlib
import itertools
import math
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from rich.console import Console as Screen
from rich.console import Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from podarcade.runtime.metrics import seed_mean


def count(number: float) -> str:
    """A large count in three digits: 950, 131k, 2.05M."""
    for size, letter in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if number >= 0.9995 * size:
            digits = number / size
            return f"{digits:.{2 if digits < 9.995 else 1 if digits < 99.95 else 0}f}{letter}"
    return f"{number:.0f}"


def clock(seconds: float) -> str:
    """A duration: 0:21, 1:02:33, 2d 03:04."""
    minutes, second = divmod(max(round(seconds), 0), 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    if days:
        return f"{days}d {hour:02}:{minute:02}"
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"


def sparkline(values: Sequence[float], low: float, high: float, width: int = 32) -> str:
    """A curve in one line of text: ▁▂▅▇█.

    Args:
      values: the curve; more than `width` of them are averaged in groups.
      low, high: what the lowest and the highest bar stand for.
      width: the most characters it takes.
    """
    size = min(len(values), width)
    edges = [len(values) * k // size for k in range(size + 1)] if size else []
    means = [sum(values[a:b]) / (b - a) for a, b in itertools.pairwise(edges)]
    span = (high - low) or 1.0
    return "".join("▁▂▃▄▅▆▇█"[min(max(int(8 * (mean - low) / span), 0), 7)] for mean in means)


def _score(number: float) -> str:
    # Not a number here means that no episode ended.
    return "-" if math.isnan(number) else f"{number:.3f}" if abs(number) < 1000 else f"{number:.4g}"


def _loss(number: float) -> str:
    return f"{number:.4f}" if number == 0 or 1e-3 <= abs(number) < 1000 else f"{number:.2e}"


class Column(NamedTuple):
    """A column of the table: its title, the key of its metric, and how a number is shown."""

    title: str
    key: str
    show: Callable[[float], str]

    def text(self, record: dict) -> str:
        """The mean over seeds of this metric, or "-" where the record has none."""
        number = seed_mean(record.get(self.key))
        if number is None:
            return "-"
        return self.show(number) if math.isfinite(number) or self.show is _score else str(number)


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


class Console:
    """The screen of one run; a context manager, so that whatever ends the run leaves the terminal as it was.

    On a terminal it shows a progress bar, the returns so far and the last records; elsewhere, and under `CI`, it
    prints plain lines.

    Args:
      total_updates: the update count at which the run is over.
      updates: the count it continues from.
      history: the records before that, for the curves of a resumed run.
      columns: what to show of a record; a column whose metric never comes up is left out.
      screen: where to draw.
      quiet: says nothing, as all processes of a run but the first.
    """

    def __init__(
        self,
        total_updates: int,
        updates: int = 0,
        history: Iterable[dict] = (),
        columns: Sequence[Column] = columns,
        screen: Screen | None = None,
        quiet: bool = False,
    ):
        self.total_updates = total_updates
        self.updates = updates
        self.columns = columns
        self.screen = screen or Screen(quiet=quiet)
        # Lists only: the thread that redraws reads them while a row is added, and a list can bear that.
        self._newest: list[dict] = []
        self._curves = {column.key: [] for column in columns if column.key.startswith("eval/")}
        self._keys: set[str] = set()
        for record in history:
            self._keep(record)
        self._task: tuple[str, float] | None = None
        self._spinner = Spinner("dots", style="cyan")
        self._titles: tuple[Column, ...] = ()
        self._began = self._drawn = time.monotonic()
        self._first = updates
        self._live = self._start() if self._can_draw() else None

    def _can_draw(self) -> bool:
        screen = self.screen
        unicode = screen.encoding.lower().startswith("utf")
        return screen.is_terminal and screen.is_interactive and unicode and not screen.quiet and "CI" not in os.environ

    def _start(self) -> Live:
        live = Live(get_renderable=self._picture, console=self.screen, refresh_per_second=4, vertical_overflow="crop")
        live.start()
        # Live hides the cursor. Nothing could bring it back if the process were aborted, which is how jax ends one
        # that has lost a peer; so it stays visible from the start.
        self.screen.show_cursor(True)
        atexit.register(self.close)
        return live

    # What a run calls.

    def say(self, text: str, style: str = "") -> None:
        """Prints a line that stays, above the table, and flushes it.

        Args:
          text: one line or more; nothing in it is markup.
          style: how a terminal shows it, in the words of rich: "bold", "red", "dim".
        """
        if self._live is None:
            style = ""
        self.screen.print(Text(text, style=style), highlight=False, soft_wrap=True)

    @contextlib.contextmanager
    def working(self, text: str, keep: bool = True) -> Iterator[None]:
        """Shows what takes a while, with its seconds: "compiling the update ... 12.3 s".

        Args:
          text: what is being done.
          keep: whether a line about it stays; without, only a terminal shows it, and only meanwhile.
        """
        began, before = time.monotonic(), self._task
        self._task = (text, began)
        if keep and self._live is None:
            self.say(f"{text} ...")
        outcome = "stopped after "
        try:
            yield
            outcome = ""
        finally:
            self._task = before
            if keep or outcome:
                self.say(f"{text} ... {outcome}{time.monotonic() - began:.1f} s")
            self._rebase(self.updates)

    def row(self, record: dict) -> None:
        """Shows a record of metrics, the one that the writer takes."""
        self._keep(record)
        self.updates = record["updates"]
        self._drawn = time.monotonic()
        self._rebase(self.updates)
        if self._live is None:
            self._line(record)
        else:
            self._live.refresh()

    def close(self) -> None:
        """Leaves the last picture, and the terminal as it was; what is said later is printed plainly."""
        live, self._live = self._live, None
        if live is not None:
            atexit.unregister(self.close)
            live.stop()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.close()

    # How it is drawn.

    def _keep(self, record: dict) -> None:
        self._keys |= record.keys()
        self._newest.append(record)
        del self._newest[:-8]
        for key, curve in self._curves.items():
            mean = seed_mean(record.get(key))
            if mean is not None and math.isfinite(mean):
                curve.append(mean)

    def _rebase(self, updates: int) -> None:
        # What came before the first update is compiling, which must not count as the speed of training.
        if updates <= self._first:
            self._began = time.monotonic()

    def _left(self) -> float | None:
        """Seconds until the end, from the time that the updates of this process have taken."""
        if self.updates <= self._first:
            return None
        pace = (self._drawn - self._began) / (self.updates - self._first)
        return max(pace * (self.total_updates - self.updates) - (time.monotonic() - self._drawn), 0.0)

    def _shown(self) -> tuple[Column, ...]:
        """The columns that have something to show."""
        return tuple(column for column in self.columns if column.key in self._keys)

    def _line(self, record: dict) -> None:
        titles, left = self._shown(), self._left()
        if titles != self._titles:
            self._titles = titles
            self.say("  ".join(f"{column.title:>8}" for column in titles) + f"  {'left':>8}")
        cells = [f"{column.text(record):>{max(len(column.title), 8)}}" for column in titles]
        self.say("  ".join(cells) + f"  {'-' if left is None else clock(left):>8}")

    def _picture(self) -> Group:
        parts, task = [self._bar(), *self._returns()], self._task
        if self._newest:
            parts += [Text(""), self._table()]
        if task is not None:
            self._spinner.update(text=f"{task[0]} ... {time.monotonic() - task[1]:.1f} s")
            parts += [self._spinner]
        return Group(*parts)

    def _bar(self) -> Table:
        left = self._left()
        bar = Table.grid(padding=(0, 2, 0, 0), expand=True)
        for ratio in (None, 1, None, None):
            bar.add_column(ratio=ratio, no_wrap=True)
        bar.add_row(
            f"{100 * self.updates / max(self.total_updates, 1):3.0f} %",
            ProgressBar(max(self.total_updates, 1), self.updates, complete_style="cyan", finished_style="green"),
            f"update {self.updates:,} of {self.total_updates:,}",
            Text("" if left is None else f"{clock(left)} left", style="bold cyan"),
        )
        return bar

    def _returns(self) -> list[Text]:
        """A line of bars for each evaluated return, on one scale."""
        curves = {column.title: self._curves[column.key] for column in self.columns if self._curves.get(column.key)}
        numbers = [number for curve in curves.values() for number in curve]
        lines = []
        for (title, curve), colour in zip(curves.items(), itertools.cycle(("bright_blue", "yellow", "green"))):
            bars = sparkline(curve, min(numbers), max(numbers))
            last, best = f" {_score(curve[-1])}", f"   best {_score(max(curve))}"
            lines.append(Text.assemble(f"{title:<13}", (bars, colour), last, (best, "dim")))
        return lines

    def _table(self) -> Table:
        titles = self._shown()
        table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", pad_edge=False)
        for column in titles:
            title = column.title.replace(" ", "\n")
            table.add_column(title, justify="right", vertical="bottom", no_wrap=True, min_width=7)
        # A low window keeps the newest rows, below the bar, the curves and the two lines of titles.
        newest = self._newest[-min(8, max(self.screen.height - 9, 1)) :]
        for record in newest:
            style = "bold" if record is newest[-1] else ""
            table.add_row(*(column.text(record) for column in titles), style=style)
        return table
