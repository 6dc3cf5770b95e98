"""Distance against number of steps, one line a series of students (figures 2 and 3 of arXiv 2405.14961)."""

from statistics import fmean

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sfddm.figures.series import Series, series_of
from sfddm.figures.style import INK, draw, log_scale, rule_lines
from sfddm.pipeline.rows import Row
from sfddm.spec.experiment import Spec


def distance_svg(spec: Spec, rows: list[Row]) -> bytes:
    """The figure as SVG, the same bytes for the same rows: means, bands over training seeds, teacher and floor."""
    shown, metrics = series_of(spec, rows), rows[0].metrics

    def paint(figure: Figure) -> None:
        axes = figure.add_subplot()
        axes.set_xlabel("T', network evaluations an image")
        axes.set_ylabel("Frechet distance")
        for series in shown:
            _draw(axes, series)
        lines = {"teacher": ("teacher_frechet_distance", "--"), "real images": ("real_distance", "-.")}
        for label, (key, dashes) in lines.items():
            axes.axhline(metrics[key], color=INK, alpha=0.6, linestyle=dashes, linewidth=1.1, label=label)
        log_scale(axes.xaxis, sorted({seeds[0].metrics["nfe"] for series in shown for seeds in series.students}))
        log_scale(axes.yaxis)
        rule_lines(axes)
        figure.legend(loc="outside lower center", ncols=3)

    return draw(paint, (7.2, 5.4), "distance")


def _draw(axes: Axes, series: Series) -> None:
    """Means, and the band from the lowest to the highest seed."""
    steps = [seeds[0].metrics["nfe"] for seeds in series.students]
    distances = [[seed.metrics["frechet_distance"] for seed in seeds] for seeds in series.students]
    low, high = ([pick(seeds) for seeds in distances] for pick in (min, max))
    if len(steps) == 1:
        axes.vlines(steps, low, high, color=series.colour, alpha=0.5, linewidth=4)
    else:
        axes.fill_between(steps, low, high, color=series.colour, alpha=0.25, linewidth=0)
    axes.plot(
        steps,
        [fmean(seeds) for seeds in distances],
        color=series.colour,
        marker=series.marker,
        markersize=5.5,
        linewidth=1.7,
        linestyle="none" if len(steps) == 1 else ":" if series.free else "-",
        label=series.label,
    )
