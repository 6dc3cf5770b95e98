"""The charts: distance against steps, training curves, index sets."""

from math import nan
from statistics import fmean

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sfddm.diffusion.levels import Schedule, log_snr
from sfddm.evaluation.metrics import panel, part
from sfddm.evaluation.statistics import measured, relative
from sfddm.pipeline.rows import Row
from sfddm.report.style import COLOURS, INK, Series, draw, log_scale, rule_lines, series_name, series_of
from sfddm.spec.experiment import Spec


def distance_svg(spec: Spec, rows: list[Row]) -> bytes:
    """The figure as SVG, the same bytes for the same rows: a panel per scorer with means and bands over training seeds,
    as shares of the teacher's distance."""
    shown, scorers = series_of(spec, rows), panel(rows[0].metrics)
    steps = sorted({seeds[0].metrics["nfe"] for series in shown for seeds in series.students})

    def paint(figure: Figure) -> None:
        for scorer, axes in zip(scorers, figure.subplots(1, len(scorers), squeeze=False)[0], strict=True):
            axes.set_title(scorer, loc="left")
            axes.set_xlabel("T', network evaluations per image")  # one for all would be below the legend
            for series in shown:
                _draw(axes, series, scorer)
            axes.axhline(1, color=INK, alpha=0.6, linestyle="--", linewidth=1.1, label="teacher")
            log_scale(axes.xaxis, steps)
            log_scale(axes.yaxis)
            rule_lines(axes)
        figure.supylabel("Frechet distance, times the teacher's", fontsize=10)
        drawn = {line.get_label(): line for axes in figure.axes for line in axes.get_legend_handles_labels()[0]}
        figure.legend(handles=drawn.values(), loc="outside lower center", ncols=4)

    return draw(paint, (max(7.2, 3.6 * len(scorers)), 4.8), "distance")


def _draw(axes: Axes, series: Series, scorer: str) -> None:
    """Means, and the band from the lowest to the highest seed."""
    steps = [seeds[0].metrics["nfe"] for seeds in series.students]
    ratios = [[_ratio(seed, scorer) for seed in seeds] for seeds in series.students]
    low, high = ([pick(seeds) for seeds in ratios] for pick in (min, max))
    if len(steps) == 1:
        axes.vlines(steps, low, high, color=series.colour, alpha=0.5, linewidth=4)
    else:
        axes.fill_between(steps, low, high, color=series.colour, alpha=0.25, linewidth=0)
    axes.plot(
        steps,
        [fmean(seeds) for seeds in ratios],
        color=series.colour,
        marker=series.marker,
        markersize=5.5,
        linewidth=1.7,
        linestyle="none" if len(steps) == 1 else ":" if series.free else "-",
        label=series.label,
    )


def _ratio(row: Row, scorer: str) -> float:
    teachers = measured(row.metrics, "teacher_frechet_distance", scorer)
    assert teachers is not None
    ratio = relative(part(row.metrics, scorer)["frechet_distance"], teachers)
    return nan if ratio is None else ratio


Curve = list[dict[str, float]]
"""Points of a training, each with its `step` and `loss`."""
WINDOW = 9
"""Points of each median in a line; the points themselves are drawn faintly behind it."""
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


MOST_NAMED = 6
"""Levels of a set that still have room for their numbers."""
INCHES = 0.42
"""Height of one set's line."""


def index_sets_svg(sets: dict[str, tuple[int, ...]], schedule: Schedule, timesteps: int) -> bytes:
    """The figure as SVG, the same bytes for the same arguments: the levels of each set, from top to bottom."""
    ratios = log_snr(schedule, timesteps)

    def paint(figure: Figure) -> None:
        axes = figure.add_subplot()
        axes.set_title(f"{schedule} schedule, T = {timesteps}")
        axes.set_xlabel("log-SNR: noise on the left, image on the right")
        for row, levels in enumerate(sets.values()):
            _draw_index_sets(axes, row, levels, ratios)
        axes.set_yticks(range(len(sets)), [f"{name}, T' = {len(levels)}" for name, levels in sets.items()])
        axes.set_ylim(len(sets) - 0.5, -0.6)
        axes.set_xlim(ratios[-1] - 2, ratios[0] + 1)

    return draw(paint, (7.2, 1.2 + INCHES * len(sets)), "index-sets")


def _draw_index_sets(axes: Axes, row: int, levels: tuple[int, ...], ratios: np.ndarray) -> None:
    """One set: a line from the noisiest level of the schedule to level 1, with a dot per level."""
    axes.plot([ratios[-1], ratios[0]], [row, row], color=INK, alpha=0.15, linewidth=1.2, zorder=1)
    at = ratios[np.array(levels) - 1]
    axes.plot(at, [row] * len(at), color=COLOURS[0], marker="o", markersize=4.5, linestyle="none", zorder=2)
    if len(levels) <= MOST_NAMED:
        for level, ratio in zip(levels, at, strict=True):
            axes.annotate(f"{level}", (ratio, row), (0, 5), textcoords="offset points", ha="center", fontsize=7)
