"""A spec's comparison in MLflow: the table as the experiment's description, and a line per series, distance against T'.

A line in MLflow's charts is a run, so each series of students (`NAME-tN`) becomes a small run of its own, next to the
runs of its students. The steps of its metrics are T'.
"""

import time
from statistics import fmean
from typing import TYPE_CHECKING

from sfddm.pipeline.rows import Row
from sfddm.report.style import Series, series_of
from sfddm.runtime.files import digest
from sfddm.spec.experiment import Spec
from sfddm.tracking.cards import DESCRIPTION, comparison_description
from sfddm.tracking.charts import AGREEMENT, DISTANCE, share_charts
from sfddm.tracking.live import SWEEP, sweep_tags
from sfddm.tracking.server import experiment_id

if TYPE_CHECKING:
    from mlflow import MlflowClient

TAG = "sfddm.series_key"
"""The tag with the hash of a series' content keys; only complete runs have it."""
Points = list[tuple[int, float, float]]
"""T', mean distance and mean agreement over training seeds."""


def track_summary(client: "MlflowClient", spec: Spec, rows: list[Row]) -> None:
    """Bring the comparison of all rows into MLflow; what is there already is left alone.

    The experiment's description and charts are those of the rows that were tracked last.
    """
    experiment = experiment_id(client, spec.name)
    share_charts(client, experiment)
    client.set_experiment_tag(experiment, DESCRIPTION, comparison_description(spec, rows))
    shown = series_of(spec, rows)
    for series in shown:
        key = digest({row.run.name: row.content_key for seeds in series.students for row in seeds})[:16]
        _track_line(client, experiment, spec, series.name, key, _points(series))
    metrics = rows[0].metrics
    distance = float(metrics["teacher_frechet_distance"])
    steps = sorted({point[0] for series in shown for point in _points(series)})
    teacher = [(count, distance, 1.0) for count in steps]
    key = digest({"reference": metrics["reference"], "distance": distance, "steps": steps})[:16]
    _track_line(client, experiment, spec, "teacher", key, teacher)


def _points(series: Series) -> Points:
    return [
        (
            int(seeds[0].metrics["nfe"]),
            fmean(seed.metrics["frechet_distance"] for seed in seeds),
            fmean(seed.metrics["agreement"] for seed in seeds),
        )
        for seeds in series.students
    ]


def _track_line(client: "MlflowClient", experiment: str, spec: Spec, name: str, key: str, points: Points) -> None:
    from mlflow.entities import Metric, RunTag

    if client.search_runs([experiment], f"tags.`{TAG}` = '{key}'", max_results=1):
        return
    tags = {"sfddm.spec": spec.name, "sfddm.series": name, **sweep_tags()}
    swept = f" ({tags[SWEEP]})" if SWEEP in tags else ""
    run_id = client.create_run(experiment, run_name=f"{spec.name}-{name}{swept}", tags=tags).info.run_id
    now = int(time.time() * 1000)
    metrics = [
        Metric(metric, value, now, steps)
        for steps, *values in points
        for metric, value in zip((DISTANCE, AGREEMENT), values, strict=True)
    ]
    # In one call, so that a run with the key is complete.
    client.log_batch(run_id, metrics=metrics, tags=[RunTag(TAG, key)])
    client.set_terminated(run_id, "FINISHED")
