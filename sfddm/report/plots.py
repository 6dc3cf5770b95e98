"""The data behind the two charts that `dvc plots` draws and compares across revisions (`.dvc/plots`)."""

from statistics import fmean
from typing import Any

from sfddm.evaluation.metrics import panel, part
from sfddm.pipeline.rows import Row
from sfddm.report.contents import trainings
from sfddm.report.style import series_name, series_of
from sfddm.spec.experiment import Spec


def distance_points(spec: Spec, rows: list[Row]) -> list[dict[str, Any]]:
    """A point per student: mean, lowest and highest distance of its seeds to the first scorer, and the teacher's."""
    points, scorer = [], panel(rows[0].metrics)[0]
    for series in series_of(spec, rows):
        for seeds in series.students:
            distances = [part(seed.metrics, scorer)["frechet_distance"] for seed in seeds]
            points.append(
                {
                    "series": series.label,
                    "student": seeds[0].run.student,
                    "steps": seeds[0].metrics["nfe"],
                    "distance": fmean(distances),
                    "lowest": min(distances),
                    "highest": max(distances),
                    "teacher": part(seeds[0].metrics, scorer)["teacher_frechet_distance"],
                }
            )
    return points


def curve_points(spec: Spec, rows: list[Row]) -> list[dict[str, Any]]:
    """Every point of every training curve."""
    return [
        {"run": row.run.name, "series": series_name(row.run.student), "step": point["step"], "loss": point["loss"]}
        for row, curve in trainings(spec, rows)
        for point in curve
    ]
