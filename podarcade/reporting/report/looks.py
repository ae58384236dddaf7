"""What draws the same thing in several figures: colours of labels, returns of known policies, legends, grids."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from podarcade.reporting import figures
from podarcade.reporting.report.drawing import MUTED
from podarcade.reporting.report.reading import ReportedRun

MARKERS = "osD^vP*X"


class Look(NamedTuple):
    """How a label is drawn in all figures; `index` is its place among the labels of the report."""

    index: int
    colour: str
    style: str
    marker: str

    @property
    def gid(self) -> str:
        """The id of what the script hides with the label."""
        return f"label-{self.index}"


Looks = dict[str, Look]


def looks_of(runs: Sequence[ReportedRun]) -> Looks:
    """Return the look of each label, in the order of the runs."""
    found = {}
    for index, label in enumerate(dict.fromkeys(run.label for run in runs)):
        turn = index // len(figures.COLOURS)
        style = figures.STYLES[turn % len(figures.STYLES)]
        colour, marker = figures.COLOURS[index % len(figures.COLOURS)], MARKERS[index % len(MARKERS)]
        found[label] = Look(index, colour, style, marker)
    return found


def known_policies(run: ReportedRun, twin: str) -> dict[str, float | None]:
    """Return the returns that those on a twin are compared with; None for an unknown one.

    The best known memoryless policy is one of the partial twin; the other policies are those of both.
    """
    memoryless = run.bounds.memoryless if run.bounds and twin == "partial" else None
    values = run.random.get(twin), memoryless, run.bounds.memory if run.bounds else None
    return dict(zip(figures.REFERENCES, values, strict=True))


def draw_policies(axes: Any, policies: dict[str, float | None], vertical: bool = False) -> None:
    """Draw a grey line at each known return."""
    for name, value in policies.items():
        if value is not None:
            line, label = axes.axvline if vertical else axes.axhline, name.removeprefix("best known ")
            line(value, color=MUTED, linewidth=1.1, linestyle=figures.REFERENCES[name], label=label)


def legend(figure: Any, width: float) -> None:
    """Draw one legend for all axes below the figure, each label once."""
    handles = {}
    for axes in figure.axes:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    if handles:
        beside = max(1, int(width / (0.62 + 0.085 * max(map(len, handles)))))
        figure.legend(handles.values(), handles, loc="outside lower center", ncols=beside, fontsize=9.5)


def grid(figure: Any, panels: int, columns: int, **options: Any) -> list[Any]:
    """Return axes for panels, in rows of `columns`; places that stay empty are hidden."""
    columns = min(panels, columns)
    places = figure.subplots(-(-panels // columns), columns, squeeze=False, **options).ravel()
    for axes in places[panels:]:
        axes.set_visible(False)
    return list(places[:panels])


def panel_title(text: str, longest: int = 26) -> str:
    """Return text for a panel, in two lines where it is long: "tmaze easy, partial twin"."""
    return text.replace(", ", ",\n", 1) if len(text) > longest else text


def folded(name: str, width: int = 30) -> str:
    """Return the name of a run in two lines where it is long."""
    head, slash, tail = name.rpartition("/")
    return f"{head}/\n{tail}" if slash and len(name) > width else name
