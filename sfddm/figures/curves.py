"""Training curves: the loss of every trained run, one panel a series of students."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sfddm.figures.series import series_name
from sfddm.figures.style import COLOURS, draw, log_scale, rule_lines
from sfddm.pipeline.rows import Row

Curve = list[dict[str, float]]
"""Points of a training, each with its `step` and `loss`."""
WINDOW = 9
"""Points that a line is the median of; the points themselves lie faintly behind it."""
COLUMNS = 3


def curves_svg(curves: list[tuple[Row, Curve]]) -> bytes:
    """The figure as SVG; `curves` has every trained run with its points, at least one."""
    panels: dict[str, list[tuple[Row, Curve]]] = {}
    for row, curve in curves:
        panels.setdefault(series_name(row.run.student), []).append((row, curve))
    lines = -(-len(panels) // COLUMNS)

    def paint(figure: Figure) -> None:
        grid = figure.subplots(lines, COLUMNS, squeeze=False)
        for axes in grid.flat[len(panels) :]:
            axes.set_axis_off()
        for axes, (name, members) in zip(grid.flat, panels.items(), strict=False):
            axes.set_title(name, loc="left")
            _panel(axes, members)
        figure.supxlabel("iteration", fontsize=10)
        figure.supylabel("loss", fontsize=10)

    return draw(paint, (7.2, 2.3 * lines + 0.3), "curves")


def _panel(axes: Axes, members: list[tuple[Row, Curve]]) -> None:
    """A colour for each number of steps, many first; seeds share it."""
    steps = sorted({row.metrics["nfe"] for row, _ in members}, reverse=True)
    labelled = set()
    for row, curve in sorted(members, key=lambda member: -int(member[0].metrics["nfe"])):
        nfe = row.metrics["nfe"]
        colour = COLOURS[steps.index(nfe) % len(COLOURS)]
        at, loss = [point["step"] for point in curve], [point["loss"] for point in curve]
        axes.plot(at, loss, color=colour, alpha=0.25, linewidth=0.6)
        axes.plot(at, _smooth(loss), color=colour, linewidth=1.3, label=None if nfe in labelled else f"T' = {nfe}")
        labelled.add(nfe)
    # A student that starts at its optimum, as the published loss on the teacher's weights, has losses of 0 alone.
    if any(point["loss"] > 0 for _, curve in members for point in curve):
        log_scale(axes.yaxis)
    rule_lines(axes)
    axes.tick_params(labelsize=8)
    axes.legend(fontsize=8, handlelength=1.2)


def _smooth(values: list[float]) -> np.ndarray:
    """Medians of `WINDOW` neighbours; the ends repeat."""
    padded = np.pad(np.array(values), WINDOW // 2, mode="edge")
    smoothed: np.ndarray = np.median(np.lib.stride_tricks.sliding_window_view(padded, WINDOW), axis=1)
    return smoothed
