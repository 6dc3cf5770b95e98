"""Everything that MLflow shows of a spec, from its results: what `track` and `sfddm sync` do."""

from typing import TYPE_CHECKING

from sfddm.pipeline.rows import Row
from sfddm.spec.experiment import Spec
from sfddm.tracking.live import CONTENT_KEY
from sfddm.tracking.record import delete_unfinished, find_runs, teacher_content_key, track_run, track_teacher
from sfddm.tracking.registry import register, versions_by_key
from sfddm.tracking.server import experiment_id, users_errors
from sfddm.tracking.start import teacher_name
from sfddm.tracking.summary import track_summary

if TYPE_CHECKING:
    from mlflow import MlflowClient


def sync_spec(client: "MlflowClient", spec: Spec, rows: list[Row]) -> int:
    """Bring all rows of a spec into MLflow, as `sync_rows`, and its comparison."""
    new = sync_rows(client, spec, rows)
    with users_errors():
        track_summary(client, spec, rows)
    return new


def sync_rows(client: "MlflowClient", spec: Spec, rows: list[Row]) -> int:
    """Bring rows and the teacher's training into MLflow, and register the students that the spec marks.

    What is there already is left alone, what killed trainings left is deleted. Returns the number of runs that are new.

    Raises:
        UserError: MLflow does not answer, or refuses; what is there by then stays, and the next call goes on from it.
    """
    with users_errors():
        experiment = experiment_id(client, spec.name)
        found = find_runs(client, experiment)
        there = {run.data.tags[CONTENT_KEY]: str(run.info.run_id) for run in found if CONTENT_KEY in run.data.tags}
        key = teacher_content_key(spec)
        if key is not None and key not in there:
            there[key] = track_teacher(client, experiment, spec, key)
        missing = [row for row in rows if row.content_key not in there]
        for row in missing:
            there[row.content_key] = track_run(client, experiment, spec, row)
        _register(client, spec, rows, there)
        left = [run for run in found if run.info.run_id not in there.values()]
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
