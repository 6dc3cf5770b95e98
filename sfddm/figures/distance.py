"""The figure `reports/SPEC-distance.svg`: distance against number of steps, one line a series of students.

Students named NAME-tN form the series NAME: `ours-t4` and `ours-t8` are points of `ours`, as is a student `ours`.
"""

import io
import re
from itertools import cycle

from attrs import frozen
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullFormatter, NullLocator

from sfddm.results import Row
from sfddm.spec.experiment import Spec
from sfddm.spec.methods import FREE

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Of Okabe and Ito (2008), which colour-blind people tell apart; without the yellow, which white swallows."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
"""As many more than colours that 56 series look different."""
STYLE = {
    "svg.hashsalt": "sfddm",  # element ids: otherwise drawn by chance
    "svg.fonttype": "none",
    "font.family": ["DejaVu Sans", "sans-serif"],
    "font.size": 9.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


@frozen(kw_only=True)
class Series:
    """The distances of one series of students: for each number of steps those of all training seeds."""

    name: str
    points: list[tuple[int, list[float]]]
    """By number of steps, rising."""
    free: bool
    """Whether all of it is the teacher under other samplers."""


def series_of(spec: Spec, rows: list[Row]) -> list[Series]:
    """The series of a spec, in its order.

    The teacher's own rows are left out: free samplers on at least as many levels as the reference. Their distance is
    the figure's dashed line, and their many steps would push the students together.
    """
    most = len(spec.levels_of(spec.evaluation.reference.index_set))
    found: dict[str, dict[str, list[Row]]] = {}
    for row in rows:
        if not (_is_free(spec, row) and row.metrics["nfe"] >= most):
            name = re.sub(r"-t\d+$", "", row.run.student)
            found.setdefault(name, {}).setdefault(row.run.student, []).append(row)
    return [
        Series(
            name=name,
            points=sorted(
                (seeds[0].metrics["nfe"], [seed.metrics["frechet_distance"] for seed in seeds])
                for seeds in students.values()
            ),
            free=all(_is_free(spec, seed) for seeds in students.values() for seed in seeds),
        )
        for name, students in found.items()
    ]


def distance_svg(spec: Spec, rows: list[Row]) -> str:
    """The figure as SVG, the same bytes for the same rows."""
    metrics = rows[0].metrics
    with style.context(["default", STYLE], after_reset=True):
        figure = Figure(figsize=(7.5, 4.5), layout="constrained", facecolor="white")
        axes = figure.add_subplot()
        axes.set_title(f"{spec.name}: n = {metrics['samples']}, {metrics['real_images']} real images")
        axes.set_xlabel("T', network evaluations an image")
        axes.set_ylabel(f"Frechet distance, {metrics['scorer']}")
        shown = series_of(spec, rows)
        for series, colour, marker in zip(shown, cycle(COLOURS), cycle(MARKERS), strict=False):
            _draw(axes, series, colour, marker)
        axes.axhline(metrics["teacher_frechet_distance"], color="0.35", linestyle="--", linewidth=1.2, label="teacher")
        _scale(axes, sorted({steps for series in shown for steps, _ in series.points}))
        figure.legend(loc="outside right upper", frameon=False)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return buffer.getvalue()


def _is_free(spec: Spec, row: Row) -> bool:
    return isinstance(spec.students[row.run.student].method, FREE)


def _draw(axes: Axes, series: Series, colour: str, marker: str) -> None:
    """Means, and the band from the lowest to the highest seed."""
    steps = [steps for steps, _ in series.points]
    means = [sum(seeds) / len(seeds) for _, seeds in series.points]
    low, high = ([pick(seeds) for _, seeds in series.points] for pick in (min, max))
    if len(steps) == 1:
        axes.vlines(steps, low, high, color=colour, alpha=0.4, linewidth=4)
    else:
        axes.fill_between(steps, low, high, color=colour, alpha=0.2, linewidth=0)
    line = "none" if len(steps) == 1 else ":" if series.free else "-"
    label = f"{series.name} (free)" if series.free else series.name
    axes.plot(steps, means, color=colour, marker=marker, markersize=5.5, linewidth=1.6, linestyle=line, label=label)


def _scale(axes: Axes, steps: list[int]) -> None:
    """Logarithmic axes with plain numbers: every number of steps that occurs, and 1, 2, 5 of each decade."""
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.xaxis.set_major_locator(FixedLocator(steps))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.yaxis.set_minor_formatter(NullFormatter())
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.grid(axis="y", color="0.9", linewidth=0.8)
    axes.set_axisbelow(True)
