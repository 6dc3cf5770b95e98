"""Everything that MLflow shows of a spec's rows: runs, the comparison, registered versions.

Every row is one flat run, recognised by its content key.
"""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from sfddm.evaluation.metrics import figures
from sfddm.networks.layout import weights_digest
from sfddm.pipeline.lock import lineage
from sfddm.pipeline.paths import Paths
from sfddm.pipeline.rows import Row, flatten, resolved
from sfddm.runtime.files import digest
from sfddm.spec.experiment import Spec
from sfddm.spec.parse import read_mapping, unstructure
from sfddm.tracking.cards import DESCRIPTION, run_description
from sfddm.tracking.charts import axes
from sfddm.tracking.live import (
    CONTENT_KEY,
    FOLLOWED_BY,
    Training,
    create_run,
    follower_lock,
    follower_name,
    live_run,
    student_training,
    teacher_key,
    teacher_name,
    teacher_training,
)
from sfddm.tracking.logging import log_datasets, log_pictures, send_metrics, send_points, steps_sent
from sfddm.tracking.register import register
from sfddm.tracking.server import experiment_id, users_errors
from sfddm.tracking.summary import track_summary
from sfddm.tracking.versions import versions_by_key
from sfddm.training.curve import read_points

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run as Tracked

FOLLOWER_SECONDS = 60.0
"""How long a follower may take to send its last points."""


def track_spec(client: "MlflowClient", spec: Spec, rows: list[Row]) -> int:
    """Bring all rows of a spec into MLflow, as `track_rows`, and its comparison."""
    new = track_rows(client, spec, rows)
    with users_errors():
        track_summary(client, spec, rows)
    return new


def track_rows(client: "MlflowClient", spec: Spec, rows: list[Row]) -> int:
    """Bring rows and the teacher's training into MLflow, and register the students that the spec marks.

    What is there already is left alone; what killed trainings left is deleted. Returns the number of runs that are new.

    Raises:
        UserError: MLflow does not answer, or refuses; what is there by then stays, and the next call goes on from it.
    """
    import mlflow

    with users_errors():
        experiment = experiment_id(client, spec.name)
        tracked = mlflow.search_runs([experiment], output_format="list")  # followed trainings included
        known = {run.data.tags[CONTENT_KEY]: str(run.info.run_id) for run in tracked if CONTENT_KEY in run.data.tags}
        key = _teacher_content_key(spec)
        if key is not None and key not in known:
            known[key] = _track_teacher(client, experiment, spec, key)
        missing = [row for row in rows if row.content_key not in known]
        for row in missing:
            known[row.content_key] = _track_run(client, experiment, spec, row)
        _register(client, spec, rows, known)
        left = [run for run in tracked if run.info.run_id not in known.values()]
        _delete_unfinished(client, left, {row.run.name for row in rows} | {teacher_name(spec)})
    return len(missing)


def _register(client: "MlflowClient", spec: Spec, rows: list[Row], runs: dict[str, str]) -> None:
    marked = [row for row in rows if row.run.student in spec.registry.students]
    if not marked:
        return
    versions = versions_by_key(client, spec.registry.model)
    for row in marked:
        if row.content_key not in versions:
            register(client, spec, row, runs[row.content_key])


def _track_run(client: "MlflowClient", experiment: str, spec: Spec, row: Row) -> str:
    """Bring one row into MLflow and return its run's id."""
    run_id = _run_of(client, experiment, student_training(spec, row.run, str(row.timing["device"])))
    content = resolved(spec, row.run)
    student = content.pop("students")[row.run.student]
    _log_params(client, run_id, {**flatten({"student": student}), **flatten(content), **axes(spec, row.run)})
    _log_metrics(client, run_id, row)
    _log_curve(client, run_id, Paths(spec.name).student(row.run.student, row.run.seed))
    _log_artifacts(client, run_id, spec, row)
    client.set_tag(run_id, DESCRIPTION, run_description(spec, row))
    _finish(client, run_id, row.content_key)
    return run_id


def _track_teacher(client: "MlflowClient", experiment: str, spec: Spec, key: str) -> str:
    """Bring the teacher's training into MLflow and return its run's id."""
    timing = read_mapping(Paths(spec.name).teacher_timing)
    run_id = _run_of(client, experiment, teacher_training(spec, str(timing["device"])))
    _log_params(client, run_id, flatten({"data": unstructure(spec.data), "teacher": unstructure(spec.teacher)}))
    send_metrics(client, run_id, [("training_seconds", float(timing["seconds"]), 0)])
    _log_curve(client, run_id, Paths(spec.name).teacher)
    _finish(client, run_id, key)
    return run_id


def _teacher_content_key(spec: Spec) -> str | None:
    """Hash of the teacher's sections and weights; None where it was not trained here, so that there is no curve."""
    folder = Paths(spec.name).teacher
    if not (folder / "curve.jsonl").exists():
        return None
    return digest({"training": teacher_key(spec), "weights": weights_digest(folder)})[:16]


def _delete_unfinished(client: "MlflowClient", found: list["Tracked"], names: set[str]) -> None:
    """Delete what killed or repeated trainings of these names left, unless one of them is being followed right now.

    What another clone or machine follows is left alone: its locks can't be asked.
    """
    own = follower_name()
    for left in found:
        tags = left.data.tags
        name = tags.get("sfddm.run")
        if name in names and CONTENT_KEY not in tags and tags.get(FOLLOWED_BY, own) == own:
            with suppress(Timeout), FileLock(follower_lock(name), timeout=0):
                client.delete_run(left.info.run_id)


def _finish(client: "MlflowClient", run_id: str, key: str) -> None:
    client.set_terminated(run_id, "FINISHED")
    # Last, because runs without the key count as unfinished.
    client.set_tag(run_id, CONTENT_KEY, key)


def _run_of(client: "MlflowClient", experiment: str, training: Training) -> str:
    """The live run of this training, once its follower is done with it, or else a new one."""
    with suppress(Timeout), FileLock(follower_lock(training.name), timeout=FOLLOWER_SECONDS):
        run_id = live_run(client, experiment, training.key)
        if run_id is not None:
            client.set_tag(run_id, FOLLOWED_BY, follower_name())
            return run_id
    return create_run(client, experiment, training)


def _log_params(client: "MlflowClient", run_id: str, values: Mapping[str, Any]) -> None:
    from mlflow.entities import Param

    client.log_batch(run_id, params=[Param(name, str(value)) for name, value in values.items()])


def _log_metrics(client: "MlflowClient", run_id: str, row: Row) -> None:
    logged = {
        figure.name: figure.value
        for figure in figures(row.metrics, row.timing)
        if figure.metric.tracked and figure.value is not None
    }
    logged |= {
        "samples": row.metrics["samples"],
        "cost_forward_equivalents": row.metrics["cost"]["total"],
        "training_seconds": row.training["seconds"],
    }
    send_metrics(client, run_id, [(name, float(value), 0) for name, value in logged.items()])


def _log_curve(client: "MlflowClient", run_id: str, folder: Path) -> None:
    points = read_points(folder / "curve.jsonl")
    sent = steps_sent(client, run_id)
    send_points(client, run_id, [point for point in points if point["step"] not in sent])


def _log_artifacts(client: "MlflowClient", run_id: str, spec: Spec, row: Row) -> None:
    folder = Paths(spec.name).result(row.run.student, row.run.seed)
    for name in ("metrics.json", "timing.json", "grid.png"):
        client.log_artifact(run_id, str(folder / name))
    log_pictures(client, run_id, row)
    client.log_dict(run_id, resolved(spec, row.run), "spec.yaml")
    lock = lineage(spec, row.run)
    client.log_dict(run_id, lock, "lineage.yaml")
    log_datasets(client, run_id, spec.name, spec.data.kind, lock)
