"""Finished runs in MLflow: one flat run for each, recognised by its content key."""

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from sfddm.evaluation.metrics import figures
from sfddm.networks.layout import weights_digest
from sfddm.pipeline.lock import lineage
from sfddm.pipeline.paths import Paths
from sfddm.pipeline.rows import Row, flatten, resolved
from sfddm.runtime.files import digest
from sfddm.spec.experiment import Run, Spec
from sfddm.spec.parse import read_mapping, unstructure
from sfddm.tracking.cards import DESCRIPTION, run_description
from sfddm.tracking.charts import axes
from sfddm.tracking.live import (
    CONTENT_KEY,
    FOLLOWED_BY,
    follower_lock,
    follower_name,
    live_run,
    tags,
    teacher_key,
    teacher_name,
    teacher_tags,
    training_key,
)
from sfddm.tracking.logging import log_datasets, log_pictures, send_metrics, send_points, steps_sent
from sfddm.training.curve import read_points

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run as Tracked

FOLLOWER_SECONDS = 60.0
"""How long a follower may take to send its last points."""
PAGE = 1000
"""Runs per page of MLflow's list."""
PARAMS = 100
"""Params per call; MLflow takes no more."""


def find_runs(client: "MlflowClient", experiment: str) -> list["Tracked"]:
    """All runs of an experiment, followed trainings included."""
    found, token = list["Tracked"](), None
    while True:
        page = client.search_runs([experiment], max_results=PAGE, page_token=token)
        found, token = [*found, *page], page.token
        if not token:
            return found


def track_run(client: "MlflowClient", experiment: str, spec: Spec, row: Row) -> str:
    """Bring one row into MLflow and return its run's id."""
    run_id = _adopt(client, experiment, row.run.name, training_key(spec, row.run)) or _create(
        client, experiment, row.run.name, tags(spec, row.run, str(row.timing["device"]))
    )
    _log_params(client, run_id, spec, row.run)
    _log_metrics(client, run_id, row)
    _log_curve(client, run_id, Paths(spec.name).student(row.run.student, row.run.seed))
    _log_artifacts(client, run_id, spec, row)
    client.set_tag(run_id, DESCRIPTION, run_description(spec, row))
    _finish(client, run_id, row.content_key)
    return run_id


def track_teacher(client: "MlflowClient", experiment: str, spec: Spec, key: str) -> str:
    """Bring the teacher's training into MLflow and return its run's id."""
    from mlflow.entities import Param

    timing = read_mapping(Paths(spec.name).teacher_timing)
    run_id = _adopt(client, experiment, teacher_name(spec), teacher_key(spec)) or _create(
        client, experiment, teacher_name(spec), teacher_tags(spec, str(timing["device"]))
    )
    flat = flatten({"data": unstructure(spec.data), "teacher": unstructure(spec.teacher)})
    client.log_batch(run_id, params=[Param(name, str(value)) for name, value in flat.items()])
    send_metrics(client, run_id, [("training_seconds", float(timing["seconds"]), 0)])
    _log_curve(client, run_id, Paths(spec.name).teacher)
    _finish(client, run_id, key)
    return run_id


def teacher_content_key(spec: Spec) -> str | None:
    """Hash of the teacher's sections and weights; None where it was not trained here, so that there is no curve."""
    folder = Paths(spec.name).teacher
    if not (folder / "curve.jsonl").exists():
        return None
    return digest({"training": teacher_key(spec), "weights": weights_digest(folder)})[:16]


def delete_unfinished(client: "MlflowClient", found: list["Tracked"], names: set[str]) -> None:
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


def _adopt(client: "MlflowClient", experiment: str, name: str, key: str) -> str | None:
    """The live run of this training, once its follower is done with it."""
    with suppress(Timeout), FileLock(follower_lock(name), timeout=FOLLOWER_SECONDS):
        run_id = live_run(client, experiment, key)
        if run_id is not None:
            client.set_tag(run_id, FOLLOWED_BY, follower_name())
        return run_id
    return None


def _create(client: "MlflowClient", experiment: str, name: str, tags: dict[str, str]) -> str:
    return str(client.create_run(experiment, run_name=name, tags=tags).info.run_id)


def _log_params(client: "MlflowClient", run_id: str, spec: Spec, run: Run) -> None:
    from mlflow.entities import Param

    content = resolved(spec, run)
    student = content.pop("students")[run.student]
    flat = {**flatten({"student": student}), **flatten(content)}
    flat |= axes(spec, run)
    params = [Param(name, str(value)) for name, value in flat.items()]
    for start in range(0, len(params), PARAMS):
        client.log_batch(run_id, params=params[start : start + PARAMS])


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
