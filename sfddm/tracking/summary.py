"""A spec's comparison in MLflow: the table as the experiment's description, and a line per series, distance against T'.

A line in MLflow's charts is a run, so each series of students (`NAME-tN`) becomes a small run of its own, next to the
runs of its students. The steps of its metrics are T'.
"""

import time
from statistics import fmean
from typing import TYPE_CHECKING

from sfddm.evaluation.metrics import panel, part
from sfddm.pipeline.rows import Row
from sfddm.report.style import Series, series_of
from sfddm.runtime.files import digest
from sfddm.spec.experiment import Spec
from sfddm.tracking.cards import DESCRIPTION, comparison_description
from sfddm.tracking.charts import BY_STEPS, SAMPLES_BY_STEPS, by_steps, share_charts
from sfddm.tracking.live import sweep_suffix, sweep_tags
from sfddm.tracking.logging import log_samples
from sfddm.tracking.server import experiment_id

if TYPE_CHECKING:
    from mlflow import MlflowClient

TAG = "sfddm.series_key"
"""The tag with the hash of a series' content keys; only complete runs have it."""
Points = list[tuple[int, dict[str, float]]]
"""T', and means over training seeds by the names of MLflow's metrics."""


def track_summary(client: "MlflowClient", spec: Spec, rows: list[Row]) -> None:
    """Bring the comparison of all rows into MLflow; what is there already is left alone.

    The experiment's description and charts are those of the rows that were tracked last. A sweep's leave the
    description as it is, because each has other settings than the spec itself.
    """
    experiment = experiment_id(client, spec.name)
    share_charts(client, experiment, rows[0].metrics, min(row.metrics["nfe"] for row in rows))
    if not sweep_tags() or DESCRIPTION not in client.get_experiment(experiment).tags:
        client.set_experiment_tag(experiment, DESCRIPTION, comparison_description(spec, rows))
    shown = series_of(spec, rows)
    for series in shown:
        key = digest({row.run.name: row.content_key for seeds in series.students for row in seeds})[:16]
        _track_line(
            client, experiment, spec, series.name, key, _points(series), [seeds[0] for seeds in series.students]
        )
    metrics = rows[0].metrics
    distances = {
        by_steps("frechet_distance", name): float(part(metrics, name)["teacher_frechet_distance"])
        for name in panel(metrics)
    }
    steps = sorted({point[0] for series in shown for point in _points(series)})
    teacher = [(count, distances) for count in steps]
    key = digest({"reference": metrics["reference"], "distances": distances, "steps": steps})[:16]
    _track_line(client, experiment, spec, "teacher", key, teacher, [])


def _points(series: Series) -> Points:
    return [(int(seeds[0].metrics["nfe"]), _means(seeds)) for seeds in series.students]


def _means(seeds: list[Row]) -> dict[str, float]:
    means = {}
    for scorer in panel(seeds[0].metrics):
        for key in BY_STEPS:
            values = [part(seed.metrics, scorer)[key] for seed in seeds if key in part(seed.metrics, scorer)]
            if values:
                means[by_steps(key, scorer)] = fmean(values)
    return means


def _track_line(
    client: "MlflowClient", experiment: str, spec: Spec, name: str, key: str, points: Points, pictured: list[Row]
) -> None:
    """A run with these points, and the images of these rows at their numbers of steps."""
    from mlflow.entities import Metric, RunTag

    if client.search_runs([experiment], f"tags.`{TAG}` = '{key}'", max_results=1):
        return
    tags = {"sfddm.spec": spec.name, "sfddm.series": name, **sweep_tags()}
    named = f"{spec.name}-{name}{sweep_suffix(tags)}"
    run_id = client.create_run(experiment, run_name=named, tags=tags).info.run_id
    for row in pictured:
        log_samples(client, run_id, row, SAMPLES_BY_STEPS, row.metrics["nfe"])
    now = int(time.time() * 1000)
    metrics = [Metric(metric, value, now, steps) for steps, values in points for metric, value in values.items()]
    # In one call, so that a run with the key is complete.
    client.log_batch(run_id, metrics=metrics, tags=[RunTag(TAG, key)])
    client.set_terminated(run_id, "FINISHED")
