"""Students' images side by side, as one picture with their names."""

import io

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from sfddm.comparison.subject import Subject
from sfddm.errors import UserError
from sfddm.figures.style import draw

WIDTH = 5.0
"""Inches a subject."""


def side_by_side(subjects: list[Subject]) -> bytes:
    """A PNG: each subject's grid of images under its name; the same noise at the same place where noises are shared."""
    grids = [_grid(subject) for subject in subjects]
    tallest = max(grid.shape[0] / grid.shape[1] for grid in grids)

    def paint(figure: Figure) -> None:
        for axes, subject, grid in zip(figure.subplots(1, len(grids), squeeze=False)[0], subjects, grids, strict=True):
            axes.imshow(grid, interpolation="nearest")
            axes.set_title(subject.name, loc="left", parse_math=False)
            axes.set_axis_off()

    return draw(paint, (WIDTH * len(grids), WIDTH * tallest + 0.4), "side-by-side", "png")


def _grid(subject: Subject) -> np.ndarray:
    try:
        return np.asarray(Image.open(io.BytesIO(subject.picture), formats=["PNG"]).convert("RGBA"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        raise UserError(f"{subject.name}: its grid.png is no picture of ours.") from None
