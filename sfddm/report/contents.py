"""All that a report shows, gathered once for its page and for `dvc plots`."""

from statistics import fmean
from typing import Any

from attrs import frozen

from sfddm.evaluation.metrics import main_scorer, part
from sfddm.pipeline.paths import Paths
from sfddm.pipeline.rows import Row, load_rows
from sfddm.report.charts import curves_svg, distance_svg, index_sets_svg
from sfddm.report.gallery import Gallery, galleries_of
from sfddm.report.style import series_name, series_of
from sfddm.report.table import Table, make_table
from sfddm.spec.experiment import Spec
from sfddm.spec.students import Trained
from sfddm.training.curve import read_points


@frozen(kw_only=True)
class Chart:
    """A chart as SVG."""

    name: str
    title: str
    caption: str
    """What to see."""
    svg: bytes


def charts_of(spec: Spec, rows: list[Row]) -> list[Chart]:
    """The charts of a comparison, those that have nothing to show left out; `rows` are in the spec's order."""
    charts = [
        Chart(
            name="distance",
            title="Distance against number of steps",
            caption="A panel per scorer; lower is better. A band spans the training seeds. Dotted lines are free "
            "samplers of the teacher: training pays where a line is below them, and the teacher is reached at the "
            "dashed line. All axes are logarithmic, so a distance that is not above 0 is not on them.",
            svg=distance_svg(spec, rows),
        ),
        Chart(
            name="index-sets",
            title="Where each student stops",
            caption="A dot is a level that the sampler visits, on the axis of log-SNR; it starts on the left.",
            svg=index_sets_svg(_index_sets(spec), spec.teacher.noise_schedule, spec.teacher.timesteps),
        ),
    ]
    curves = trainings(spec, rows)
    if curves:
        trained = Chart(
            name="curves",
            title="Training",
            caption="Loss of every training: medians of nine points, and faintly the points. Losses of different "
            "methods measure different things: compare within a panel, and look for lines that still fall at the end.",
            svg=curves_svg(curves),
        )
        charts.insert(1, trained)
    return charts


def trainings(spec: Spec, rows: list[Row]) -> list[tuple[Row, list[dict[str, float]]]]:
    """Every run that trained weights of its own, with the points of its curve."""
    trained = [row for row in rows if isinstance(spec.students[row.run.student].method, Trained)]
    paths = Paths(spec.name)
    return [(row, read_points(paths.student(row.run.student, row.run.seed) / "curve.jsonl")) for row in trained]


def _index_sets(spec: Spec) -> dict[str, tuple[int, ...]]:
    """Each different set once, under the names of the students that have it."""
    names: dict[tuple[int, ...], list[str]] = {}
    for student in spec.students:
        names.setdefault(spec.levels(student), []).append(student)
    ordered = sorted(names.items(), key=lambda item: -len(item[0]))
    return {f"{', '.join(found[:2])}{' …' if len(found) > 2 else ''}": levels for levels, found in ordered}


@frozen(kw_only=True)
class Contents:
    """A comparison with its figures."""

    spec: Spec
    rows: list[Row]
    """In the spec's order."""
    table: Table
    charts: list[Chart]
    galleries: list[Gallery]


def contents_of(spec: Spec) -> Contents:
    """Read the results of a spec and draw its figures.

    Raises:
        UserError: a run has not been evaluated yet.
    """
    rows = load_rows(spec)
    table = make_table(spec, rows)
    charts, galleries = charts_of(spec, rows), galleries_of(spec, table.groups)
    return Contents(spec=spec, rows=rows, table=table, charts=charts, galleries=galleries)


def distance_points(spec: Spec, rows: list[Row]) -> list[dict[str, Any]]:
    """What `dvc plots` draws and compares across revisions: a point per student, to the main scorer.

    It has the mean, the lowest and the highest distance of its seeds, and the teacher's.
    """
    points, scorer = [], main_scorer(rows[0].metrics)
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
    """The same for every point of every training curve."""
    return [
        {"run": row.run.name, "series": series_name(row.run.student), "step": point["step"], "loss": point["loss"]}
        for row, curve in trainings(spec, rows)
        for point in curve
    ]
