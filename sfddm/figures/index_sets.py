"""Where on the log-SNR axis each student stops."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sfddm.diffusion.levels import log_snr
from sfddm.figures.style import COLOURS, INK, Format, draw
from sfddm.spec.teacher import Schedule

MOST_NAMED = 6
"""Levels of a set that still have room for their numbers."""
INCHES = 0.42
"""Height of one set's line."""


def index_sets_figure(
    sets: dict[str, tuple[int, ...]], schedule: Schedule, timesteps: int, file_format: Format
) -> bytes:
    """The figure as a file's bytes, the same for the same arguments.

    Args:
        sets: the levels phi_1 < ... < phi_T' under each name, drawn from top to bottom.
        schedule: the teacher's noise schedule.
        timesteps: T.
        file_format: png or svg.
    """
    ratios = log_snr(schedule, timesteps)

    def paint(figure: Figure) -> None:
        axes = figure.add_subplot()
        axes.set_title(f"{schedule} schedule, T = {timesteps}")
        axes.set_xlabel("log-SNR: noise on the left, image on the right")
        for row, levels in enumerate(sets.values()):
            _draw(axes, row, levels, ratios)
        axes.set_yticks(range(len(sets)), [f"{name}, T' = {len(levels)}" for name, levels in sets.items()])
        axes.set_ylim(len(sets) - 0.5, -0.6)
        axes.set_xlim(ratios[-1] - 2, ratios[0] + 1)

    return draw(paint, (7.2, 1.2 + INCHES * len(sets)), "index-sets", file_format)


def _draw(axes: Axes, row: int, levels: tuple[int, ...], ratios: np.ndarray) -> None:
    """One set: a line from the noisiest level of the schedule to level 1, a dot a level."""
    axes.plot([ratios[-1], ratios[0]], [row, row], color=INK, alpha=0.15, linewidth=1.2, zorder=1)
    at = ratios[np.array(levels) - 1]
    axes.plot(at, [row] * len(at), color=COLOURS[0], marker="o", markersize=4.5, linestyle="none", zorder=2)
    if len(levels) <= MOST_NAMED:
        for level, ratio in zip(levels, at, strict=True):
            axes.annotate(f"{level}", (ratio, row), (0, 5), textcoords="offset points", ha="center", fontsize=7)
