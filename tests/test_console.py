"""The console shows the metrics of a record, as plain lines or on a live display, and restores the terminal."""

import io
import time

import numpy as np
import pytest
from rich.console import Console as Screen

from podarcade.runtime import console as console_module
from podarcade.runtime.console import Console, clock, count, sparkline


@pytest.fixture(autouse=True)
def no_ci(monkeypatch):
    for name in ("CI", "NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "COLUMNS", "LINES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")


@pytest.fixture
def now(monkeypatch):
    """A clock set by the test."""

    class Clock:
        seconds = 0.0

    monkeypatch.setattr(console_module.time, "monotonic", lambda: Clock.seconds)
    return Clock


def plain(width=200):
    return Screen(file=io.StringIO(), width=width)


class Terminal(io.StringIO):
    encoding = "utf-8"


def terminal(height=40):
    return Screen(file=Terminal(), force_terminal=True, force_interactive=True, width=100, height=height)


def rendered(console):
    """Return the live display as text, without colours."""
    screen = Screen(file=io.StringIO(), width=100)
    screen.print(console._render())
    return screen.file.getvalue()


def record(updates, **more):
    return {
        "updates": updates,
        "frames": [updates * 1000, updates * 1000],
        "seconds": updates * 1.5,
        "frames_per_second": 8123.4,
        "train/loss": np.array([0.03, 0.05], np.float32),
        "train/return": [0.25, float("nan")],
    } | more


def test_a_plain_line_shows_the_metrics(now):
    screen = plain()
    console = Console(10, screen=screen)
    console.add_row(record(0, **{"eval/return_full": 0.5, "train/exploration": 0.9}))
    now.seconds = 8.0
    console.add_row(record(2, **{"eval/return_full": [0.75, 0.25], "train/exploration": 0.1}))
    now.seconds = 16.0
    console.add_row(record(4, **{"eval/return_full": None, "train/loss": float("nan")}))
    titles, first, second, third = screen.file.getvalue().splitlines()
    assert titles.split("  ")[0].strip() == "" and "train return" in titles and "eval partial" not in titles
    assert first.split() == ["0", "0:00", "8.12k", "0.250", "0.500", "0.0400", "0.900", "0%", "-"]
    assert second.split() == ["2.00k", "0:03", "8.12k", "0.250", "0.500", "0.0400", "0.100", "20%", "-"]
    assert third.split() == ["4.00k", "0:06", "8.12k", "0.250", "-", "nan", "-", "40%", "0:24"]
    assert len({len(line) for line in (titles, first, second, third)}) == 1, "the columns are aligned"


def test_titles_are_repeated_when_a_column_appears():
    screen = plain()
    console = Console(10, screen=screen)
    console.add_row(record(1))
    console.add_row(record(2, **{"eval/return_partial": 1.0}))
    lines = screen.file.getvalue().splitlines()
    assert [("loss" in line, "eval partial" in line) for line in lines] == [
        (True, False), (False, False), (True, True), (False, False),
    ]  # fmt: skip


def test_time_left_excludes_compilation_and_earlier_processes(now):
    screen = plain()
    console = Console(100, updates=40, screen=screen)
    with console.status("compiling the update"):
        now.seconds = 500.0
    for updates in (50, 60):
        now.seconds += 10.0
        console.add_row(record(updates))
    assert screen.file.getvalue().split()[-2:] == ["60%", "0:40"]


def test_lines_are_flushed_at_once(monkeypatch):
    class Flushed(io.StringIO):
        flushed = 0

        def flush(self):
            self.flushed = len(self.getvalue())

    file = Flushed()
    console = Console(10, screen=Screen(file=file, width=200))
    for act in (lambda: console.log("hello"), lambda: console.add_row(record(1))):
        act()
        assert file.flushed == len(file.getvalue()) > 0


def test_a_status_is_timed(now):
    screen = plain()
    console = Console(10, screen=screen)
    with console.status("compiling the update"):
        assert screen.file.getvalue() == "compiling the update ...\n"
        now.seconds = 12.3
    with console.status("evaluating", keep=False):
        now.seconds = 13.3
    with pytest.raises(KeyboardInterrupt), console.status("saving"):
        raise KeyboardInterrupt
    assert screen.file.getvalue().splitlines()[1:] == [
        "compiling the update ... 12.3 s",
        "saving ...",
        "saving ... stopped after 0.0 s",
    ]


def test_text_is_not_markup_and_is_not_broken():
    screen = plain(width=20)
    Console(10, screen=screen).log("best 0.83 [0.79, 0.86] [bold]runs/a/very/long/path[/bold]", style="bold")
    assert screen.file.getvalue() == "best 0.83 [0.79, 0.86] [bold]runs/a/very/long/path[/bold]\n"


def test_the_live_display_shows_the_metrics(now):
    with Console(10, screen=terminal()) as console:
        for updates in range(6):
            now.seconds = 2.0 * updates
            console.add_row(record(updates, **{"eval/return_full": updates / 5, "eval/return_partial": [0.0, 0.2]}))
        display = rendered(console)
        assert "50 %" in display and "update 5 of 10" in display and "0:10 left" in display
        assert "▁▂▄▅▇█ 1.000" in display
        assert all(word in display for word in ("5.00k", "8.12k", "0.0400", "0.250", "0.800", "0.100", "0:08"))
        with console.status("evaluating"):
            now.seconds = 13.4
            assert "evaluating ... 3.4 s" in rendered(console)
            assert console.activity == "evaluating"
        assert "evaluating" not in rendered(console) and console.activity == ""


def test_the_terminal_is_restored():
    screen = terminal()
    with pytest.raises(KeyboardInterrupt), Console(10, screen=screen) as console:
        console.log("podarcade 0.1", style="bold")
        console.add_row(record(3))
        time.sleep(0.3)  # long enough for the thread that redraws
        raise KeyboardInterrupt
    drawn = screen.file.getvalue()
    assert "podarcade 0.1" in drawn and "3.00k" in drawn
    assert drawn.rfind("\x1b[?25h") > drawn.rfind("\x1b[?25l"), "the cursor is visible"
    assert console._live is None
    console.log("done")
    console.close()
    assert screen.file.getvalue().endswith("done\n")


def test_an_abort_leaves_the_cursor_visible():
    screen = terminal()
    console = Console(10, screen=screen)
    console.add_row(record(1))
    drawn = screen.file.getvalue()
    console.close()
    assert drawn.rfind("\x1b[?25h") > drawn.rfind("\x1b[?25l") >= 0


def test_a_low_window_keeps_the_newest_row():
    with Console(100, screen=terminal(height=12)) as console:
        for updates in range(20):
            console.add_row(record(updates))
        display = rendered(console)
    assert "19.0k" in display and "16.0k" not in display
    assert len(display.splitlines()) <= 12


def test_a_resumed_run_shows_its_history():
    with Console(
        10, updates=2, history=[record(k, **{"eval/return_full": k / 2}) for k in range(3)], screen=terminal()
    ) as console:
        assert "▁▅█ 1.000" in rendered(console)
        assert "update 2 of 10" in rendered(console) and "left" not in rendered(console)


@pytest.mark.parametrize("change", ["CI", "dumb", "encoding", "quiet"])
def test_plain_lines_where_a_live_display_is_impossible(monkeypatch, change):
    screen = terminal()
    if change == "CI":
        monkeypatch.setenv("CI", "true")
    elif change == "dumb":
        screen = Screen(file=Terminal(), force_terminal=True, width=100, _environ={"TERM": "dumb"})
    elif change == "encoding":
        screen.file.encoding = "latin-1"
    else:
        screen.quiet = True
    with Console(10, screen=screen) as console:
        assert console._live is None
        console.add_row(record(1))
    assert ("1.00k" in screen.file.getvalue()) == (change != "quiet")
    assert "\x1b[?25" not in screen.file.getvalue()


@pytest.mark.parametrize(
    "number, text",
    [
        (0, "0"),
        (999, "999"),
        (1000, "1.00k"),
        (131072, "131k"),
        (999_900, "1.00M"),
        (2_050_000, "2.05M"),
        (1.5e9, "1.50B"),
        (12_345, "12.3k"),
    ],
)
def test_counts(number, text):
    assert count(number) == text


@pytest.mark.parametrize(
    "seconds, text",
    [
        (0, "0:00"),
        (21.4, "0:21"),
        (59.6, "1:00"),
        (3753, "1:02:33"),
        (2 * 86400 + 3 * 3600 + 240, "2d 03:04"),
        (-3, "0:00"),
    ],
)
def test_clock(seconds, text):
    assert clock(seconds) == text


def test_sparkline():
    assert sparkline([0, 1, 2, 3, 4, 5, 6, 7], 0, 7) == "▁▂▃▄▅▆▇█"
    assert sparkline([0] * 50 + [7] * 50, 0, 7, width=4) == "▁▁██"
    assert sparkline([], 0, 1) == ""
    assert sparkline([3, 3], 3, 3) == "▁▁"
    assert len(sparkline(list(range(100)), 0, 99, width=32)) == 32
