"""Everything that MLflow shows of a spec's rows: runs, the comparison, registered versions."""

from typing import TYPE_CHECKING

from sfddm.pipeline.rows import Row
from sfddm.spec.experiment import Spec
from sfddm.tracking.live import CONTENT_KEY, teacher_name
from sfddm.tracking.record import delete_unfinished, find_runs, teacher_content_key, track_run, track_teacher
from sfddm.tracking.server import experiment_id, users_errors
from sfddm.tracking.summary import track_summary
from sfddm.tracking.versions import register, versions_by_key

if TYPE_CHECKING:
    from mlflow import MlflowClient


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
    with users_errors():
        experiment = experiment_id(client, spec.name)
        tracked = find_runs(client, experiment)
        known = {run.data.tags[CONTENT_KEY]: str(run.info.run_id) for run in tracked if CONTENT_KEY in run.data.tags}
        key = teacher_content_key(spec)
        if key is not None and key not in known:
            known[key] = track_teacher(client, experiment, spec, key)
        missing = [row for row in rows if row.content_key not in known]
        for row in missing:
            known[row.content_key] = track_run(client, experiment, spec, row)
        _register(client, spec, rows, known)
        left = [run for run in tracked if run.info.run_id not in known.values()]
        delete_unfinished(client, left, {row.run.name for row in rows} | {teacher_name(spec)})
    return len(missing)


def _register(client: "MlflowClient", spec: Spec, rows: list[Row], runs: dict[str, str]) -> None:
    marked = [row for row in rows if row.run.student in spec.registry.students]
    if not marked:
        return
    versions = versions_by_key(client, spec.registry.model)
    for row in marked:
        if row.content_key not in versions:
            register(client, spec, row, runs[row.content_key])
