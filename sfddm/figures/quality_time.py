"""Quality against time: each student's distance over the seconds that its images take."""

from statistics import fmean

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sfddm.figures.series import Series, series_of
from sfddm.figures.style import INK, draw, log_scale, rule_lines
from sfddm.pipeline.rows import Row
from sfddm.spec.experiment import Spec

Point = tuple[float, float]
"""Seconds a thousand images, Frechet distance."""


def quality_time_svg(spec: Spec, rows: list[Row]) -> bytes:
    """The figure as SVG: a mark a student with its number of steps, a line through those that none beats in both."""
    shown = series_of(spec, rows)

    def paint(figure: Figure) -> None:
        axes = figure.add_subplot()
        axes.set_xlabel("seconds a thousand images")
        axes.set_ylabel("Frechet distance")
        front = pareto_front([_point(seeds) for series in shown for seeds in series.students])
        seconds, distances = zip(*front, strict=True)
        axes.step(seconds, distances, where="post", color=INK, alpha=0.5, linewidth=1.1, label="none better in both")
        for series in shown:
            _draw(axes, series, front)
        log_scale(axes.xaxis)
        log_scale(axes.yaxis)
        axes.margins(y=0.1)
        rule_lines(axes)
        figure.legend(loc="outside lower center", ncols=3)

    return draw(paint, (7.2, 5.4), "quality-time")


def pareto_front(points: list[Point]) -> list[Point]:
    """The points that no other is at most as large as in both coordinates, by the first, rising."""
    front: list[Point] = []
    for point in sorted(points):
        if not front or point[1] < front[-1][1]:
            front.append(point)
    return front


def _point(seeds: list[Row]) -> Point:
    return (
        fmean(seed.timing["seconds_per_1000_images"] for seed in seeds),
        fmean(seed.metrics["frechet_distance"] for seed in seeds),
    )


def _draw(axes: Axes, series: Series, front: list[Point]) -> None:
    points = [_point(seeds) for seeds in series.students]
    seconds, distances = zip(*points, strict=True)
    axes.plot(seconds, distances, color=series.colour, alpha=0.3, linewidth=1.0)
    axes.plot(
        seconds,
        distances,
        color=series.colour,
        marker=series.marker,
        markersize=6,
        markerfacecolor="none" if series.free else series.colour,
        linestyle="none",
        label=series.label,
    )
    for seeds, point in zip(series.students, points, strict=True):
        if point in front:
            steps = f"{seeds[0].metrics['nfe']}"
            axes.annotate(steps, point, (0, -13), textcoords="offset points", ha="center", fontsize=9, color=INK)
