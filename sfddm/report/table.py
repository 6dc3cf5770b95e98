"""The comparison's rows, grouped by number of steps, seeds of one student together."""

from statistics import fmean

from attrs import frozen

from sfddm.evaluation.paired import Difference, Distances, paired_difference
from sfddm.results import Row, load_rows
from sfddm.spec.experiment import Spec

COLUMNS = (
    "student", "T'", "distance", "vs best", "ratio", "pixel", "agrees", "MSE", "s/1000", "speed-up", "cost"
)  # fmt: skip
BEST, NO_DIFFERENCE = "best", "≈"

Cells = dict[str, str]
"""A row's text in each of the columns."""


@frozen(kw_only=True)
class Table:
    """Cells as text, and what the figures rest on."""

    groups: list[list[Cells]]
    """One list of rows for each number of steps, falling."""
    notes: dict[str, str]
    """What columns mean; a note that several share stands at the first of them."""
    basis: str
    """What all figures rest on."""

    def caption(self, columns: tuple[str, ...]) -> str:
        """The notes of these columns, and the basis."""
        notes = [self.notes[column] for column in columns if column in self.notes]
        return " ".join([*notes, self.basis])


def make_table(spec: Spec) -> Table:
    """The comparison of one spec.

    Raises:
        UserError: a run has not been evaluated yet.
    """
    students = by_student(load_rows(spec))
    groups: dict[int, dict[str, list[Row]]] = {}
    for name, rows in students.items():
        groups.setdefault(rows[0].metrics["nfe"], {})[name] = rows
    some = next(iter(students.values()))[0]
    return Table(
        groups=[_group(groups[nfe]) for nfe in sorted(groups, reverse=True)], notes=_notes(some), basis=_basis(spec)
    )


def by_student(rows: list[Row]) -> dict[str, list[Row]]:
    """The rows of each student, one a seed, in the spec's order."""
    students: dict[str, list[Row]] = {}
    for row in rows:
        students.setdefault(row.run.student, []).append(row)
    return students


def mean_distance(rows: list[Row]) -> float:
    """Of a student's seeds."""
    return fmean(row.metrics["frechet_distance"] for row in rows)


def _group(students: dict[str, list[Row]]) -> list[Cells]:
    """The rows of equal number of steps, each against the best of them."""
    best = min(students, key=lambda name: mean_distance(students[name]))
    cells = []
    for name, rows in students.items():
        compared = BEST if name == best else _against(rows, students[best])
        cells.append(_cells(name, rows, compared if len(students) > 1 else ""))
    return cells


def _against(rows: list[Row], best: list[Row]) -> str:
    found: Difference = paired_difference(_distances(rows), _distances(best))
    if not found.different:
        return NO_DIFFERENCE
    return f"{found.estimate:+.3f} ± {f'{found.half_width:.3f}'.removeprefix('0')}"


def _distances(rows: list[Row]) -> list[Distances]:
    return [
        Distances(whole=row.metrics["frechet_distance"], blocks=tuple(row.metrics["frechet_blocks"])) for row in rows
    ]


def _cells(name: str, rows: list[Row], compared: str) -> Cells:
    first = rows[0].metrics
    total = first["cost"]["total"]
    texts = (
        name + (f" ({len(rows)} seeds)" if len(rows) > 1 else ""),
        str(first["nfe"]),
        _spread([row.metrics["frechet_distance"] for row in rows]),
        compared,
        f"{mean_distance(rows) / first['teacher_frechet_distance']:.2f} x",
        f"{fmean(row.metrics['pixel_distance'] for row in rows):.3f}",
        f"{100 * fmean(row.metrics['agreement'] for row in rows):.1f} %",
        f"{fmean(row.metrics['mse_to_teacher'] for row in rows):.4f}",
        f"{fmean(row.timing['seconds_per_1000_images'] for row in rows):.2f}",
        f"{fmean(row.timing['speed_up'] for row in rows):.0f} x",
        f"{total / 1000:.0f} k" if total else "free",
    )
    return dict(zip(COLUMNS, texts, strict=True))


def _spread(values: list[float]) -> str:
    """The mean, and the lowest and highest of several seeds."""
    mean = f"{fmean(values):.3f}"
    return mean if len(values) == 1 else f"{mean} [{min(values):.3f}, {max(values):.3f}]"


def _notes(row: Row) -> dict[str, str]:
    metrics = row.metrics
    return {
        "distance": f"distance: Frechet distance to {metrics['real_images']} real images in the features of "
        f"{metrics['scorer']} (not Inception), n = {metrics['samples']} images from the same noises (seed "
        f"{metrics['noise_seed']}) a row; mean [lowest, highest] over training seeds.",
        "vs best": "vs best: distance above the best row of the same T' with its 95 % interval, from "
        f"{len(metrics['frechet_blocks'])} blocks of the same noises, and from training seeds where there are several; "
        f"{NO_DIFFERENCE}: the interval holds 0.",
        "ratio": "ratio: to the teacher's own distance.",
        "pixel": "pixel: Frechet distance of the pixels themselves.",
        "agrees": "agrees: share of images in the class of the teacher's image from the same noise.",
        "MSE": "MSE: mean squared error to the teacher's images from the same noises.",
        "s/1000": "s/1000: seconds a thousand images on this machine.",
        "speed-up": "speed-up: against DDIM on all of the teacher's levels, timed on a few of them.",
        "cost": "cost in forward-equivalents: a forward pass of one image is 1, forward and backward 3.",
    }


def _basis(spec: Spec) -> str:
    timesteps, reference = spec.teacher.timesteps, spec.evaluation.reference
    levels = len(spec.levels_of(reference.index_set))
    return f"The teacher has {timesteps} levels, and its {reference.solver} on {levels} of them stands for all."
