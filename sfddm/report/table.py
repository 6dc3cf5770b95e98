"""The comparison's rows, grouped by number of steps, seeds of one student together."""

from statistics import fmean

from attrs import frozen

from sfddm.results import Row, load_rows
from sfddm.spec.experiment import Spec

COLUMNS = ("student", "T'", "distance", "ratio", "agrees", "MSE", "s/1000", "speed-up", "cost")


@frozen(kw_only=True)
class Table:
    """Cells as text, and what the figures rest on."""

    groups: list[list[list[str]]]
    """One list of rows for each number of steps, falling."""
    caption: str


def make_table(spec: Spec) -> Table:
    """The comparison of one spec.

    Raises:
        UserError: a run has not been evaluated yet.
    """
    students: dict[str, list[Row]] = {}
    for row in load_rows(spec):
        students.setdefault(row.run.student, []).append(row)
    own = _teachers_distance(students)
    groups: dict[int, list[list[str]]] = {}
    for name, rows in students.items():
        groups.setdefault(rows[0].metrics["nfe"], []).append(_cells(name, rows, own))
    return Table(groups=[groups[nfe] for nfe in sorted(groups, reverse=True)], caption=_caption(spec, students))


def _teachers_distance(students: dict[str, list[Row]]) -> float | None:
    """Distance of the row that draws exactly the reference images, if the spec has one."""
    for rows in students.values():
        if rows[0].metrics["mse_to_teacher"] == 0:
            return float(rows[0].metrics["frechet_distance"])
    return None


def _cells(name: str, rows: list[Row], teachers: float | None) -> list[str]:
    distances = [row.metrics["frechet_distance"] for row in rows]
    timing = {key: fmean(row.timing[key] for row in rows) for key in ("seconds_per_1000_images", "speed_up")}
    cost = rows[0].metrics["cost"]["total"]
    return [
        name + (f" ({len(rows)} seeds)" if len(rows) > 1 else ""),
        str(rows[0].metrics["nfe"]),
        _spread(distances, 3),
        _spread([distance / teachers for distance in distances], 2) + " x" if teachers else "",
        f"{100 * fmean(row.metrics['agreement'] for row in rows):.1f} %",
        f"{fmean(row.metrics['mse_to_teacher'] for row in rows):.4f}",
        f"{timing['seconds_per_1000_images']:.2f}",
        f"{timing['speed_up']:.0f} x",
        f"{cost / 1000:.0f} k" if cost else "free",
    ]


def _spread(values: list[float], digits: int) -> str:
    """The mean, and the lowest and highest of several seeds."""
    mean = f"{fmean(values):.{digits}f}"
    return mean if len(values) == 1 else f"{mean} [{min(values):.{digits}f}, {max(values):.{digits}f}]"


def _caption(spec: Spec, students: dict[str, list[Row]]) -> str:
    metrics = next(iter(students.values()))[0].metrics
    timesteps, reference = spec.teacher.timesteps, spec.evaluation.reference
    levels = len(spec.levels_of(reference.index_set))
    return (
        f"distance: Frechet distance to {metrics['real_images']} real images in the features of {metrics['scorer']} "
        f"(not Inception), n = {metrics['samples']} images from the same noises (seed {metrics['noise_seed']}) a row; "
        "mean [lowest, highest] over training seeds. ratio: to the teacher's own distance. agrees, MSE: "
        "share of images in the class of the teacher's image from the same noise, mean squared error to it. s/1000: "
        "seconds a thousand images on this machine. speed-up: against DDIM on all of the teacher's levels, timed on a "
        "few of them. cost in forward-equivalents: a forward pass of one image is 1, forward and backward 3. The "
        "teacher has "
        f"{timesteps} levels, and its {reference.solver} on {levels} of them stands for all."
    )
