"""Heat maps of results: a panel for each setting, a row and a column for each case, the value in each cell."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np


class Panel(NamedTuple):
    """One heat map.

    Attributes:
      title: what all its values have in common.
      rows: names of the rows.
      columns: names of the columns.
      values: float[rows, columns]; NaN leaves a cell empty.
    """

    title: str
    rows: Sequence[str]
    columns: Sequence[str]
    values: np.ndarray


def draw(path: Path, panels: Sequence[Panel], low: float, high: float, label: str) -> None:
    """Draw panels side by side.

    Args:
      path: file to write.
      panels: what to draw.
      low: value of the darkest colour; lower ones have it too.
      high: value of the lightest colour; higher ones have it too.
      label: what the values are.
    """
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    widths = [max(len(panel.columns), 3) for panel in panels]
    size = 1.5 + 0.62 * sum(widths) + 1.7 * len(panels)
    height = 1.9 + 0.36 * max(len(panel.rows) for panel in panels)
    figure, axes = pyplot.subplots(
        1, len(panels), figsize=(size, height), layout="constrained", squeeze=False, width_ratios=widths
    )
    for panel, axis in zip(panels, axes[0], strict=True):
        image = axis.imshow(panel.values, vmin=low, vmax=high, cmap="viridis", aspect="auto")
        for (y, x), value in np.ndenumerate(panel.values):
            if np.isfinite(value):
                colour = "white" if value < low + 0.65 * (high - low) else "black"
                axis.text(x, y, f"{value:.2f}", ha="center", va="center", color=colour, fontsize=8)
        axis.set_xticks(range(len(panel.columns)), panel.columns, rotation=35, ha="right", rotation_mode="anchor")
        axis.set_yticks(range(len(panel.rows)), panel.rows)
        axis.set_title(panel.title, fontsize=10)
    figure.colorbar(image, ax=axes, label=label)
    figure.savefig(path, dpi=90)
    pyplot.close(figure)
