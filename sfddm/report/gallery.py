"""Images of the students side by side: strips of images from the same noises, under headings."""

import numpy as np
from attrs import frozen

from sfddm.data.store import BYTES, read_array
from sfddm.evaluation.metrics import main_scorer, part
from sfddm.images import grid, png, reduced
from sfddm.pipeline.paths import Paths
from sfddm.report.style import series_name
from sfddm.report.table import Entry, best_trained
from sfddm.spec.experiment import Spec

MOST_PIXELS = 32
"""The largest side of an image in the report; larger ones are reduced, so that the page stays small."""
SAMPLES = 10
"""Noises per strip of samples."""


@frozen(kw_only=True)
class Strip:
    """A row of images."""

    label: str
    """The words next to it."""
    detail: str
    """A number that belongs to it; may be empty."""
    png: bytes


@frozen(kw_only=True)
class Gallery:
    """Strips about one question."""

    name: str
    title: str
    caption: str
    """What to see."""
    groups: list[tuple[str, list[Strip]]]
    """Headings, and the strips below each."""


def galleries_of(spec: Spec, groups: list[list[Entry]]) -> list[Gallery]:
    """The galleries of a comparison, those without strips left out."""
    galleries = [make(spec, groups) for make in (_samples, _interpolations)]
    return [gallery for gallery in galleries if gallery.groups]


def strip(spec: Spec, entry: Entry, count: int, label: str, detail: str = "") -> Strip:
    """The student's images, of its first training seed, from the first `count` noises."""
    row = entry.rows[0]
    images = read_array(Paths(spec.name).result(row.run.student, row.run.seed) / "shown.npy", BYTES, 4)
    return _strip(images[:count], label, detail)


def _samples(spec: Spec, groups: list[list[Entry]]) -> Gallery:
    """Every student, series by series."""
    teachers = read_array(Paths(spec.name).reference / "images.npy", BYTES, 4)
    found = [("the teacher's reference", [_strip(teachers[:SAMPLES], "teacher", "")])]
    series: dict[str, list[Strip]] = {}
    for entry in (entry for group in groups for entry in group):
        distance = f"distance {entry.shown_ratio(main_scorer(entry.rows[0].metrics))} x"
        shown = strip(spec, entry, SAMPLES, f"T' = {entry.rows[0].metrics['nfe']}", distance)
        series.setdefault(series_name(entry.student), []).append(shown)
    return Gallery(
        name="samples",
        title="Samples at every number of steps",
        caption="A column is one noise, so every column should show one image. With fewer steps images first blur, "
        "then turn into others.",
        groups=[*found, *series.items()],
    )


def _interpolations(spec: Spec, groups: list[list[Entry]]) -> Gallery:
    """The first pair of noises, for the best trained student of every number of steps."""
    found = []
    for best in filter(None, map(best_trained, groups)):
        run = best.rows[0].run
        teachers, own = read_array(Paths(spec.name).result(run.student, run.seed) / "interpolation.npy", BYTES, 6)
        seen = part(best.rows[0].metrics, main_scorer(best.rows[0].metrics))
        strips = [
            _strip(teachers[0], "teacher", f"path {seen['teacher_path_length']:.2f}"),
            _strip(own[0], best.student, f"path {seen['path_length']:.2f}"),
        ]
        found.append((best.student, strips))
    return Gallery(
        name="interpolation",
        title="Between two noises",
        caption="Images along the arc between two noises, the teacher's above the student's. A student that has kept "
        "the teacher's map changes where the teacher changes, and its path in features, the mean over all pairs, is "
        "about as long.",
        groups=found,
    )


def _strip(images: np.ndarray, label: str, detail: str) -> Strip:
    shown = reduced(np.asarray(images), MOST_PIXELS)
    return Strip(label=label, detail=detail, png=png(grid(shown, len(shown))))
