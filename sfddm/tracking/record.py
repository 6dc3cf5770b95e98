"""From finished runs to MLflow: one flat run for each, recognised by its content key."""

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from sfddm.errors import UserError
from sfddm.paths import Paths
from sfddm.results import Row, flatten, resolved
from sfddm.spec.experiment import Run, Spec
from sfddm.tracking.curves import send_points, steps_sent
from sfddm.tracking.datasets import log_datasets
from sfddm.tracking.live import follower_lock, read_followed
from sfddm.tracking.note import NOTE, run_note
from sfddm.tracking.pictures import log_pictures
from sfddm.tracking.server import experiment_id, server_name
from sfddm.tracking.start import tags, training_key
from sfddm.tracking.view import axes
from sfddm.training.curve import read_points

if TYPE_CHECKING:
    from mlflow import MlflowClient

LOCK = Path("dvc.lock")
FIGURES = (
    "frechet_distance", "agreement", "mse_to_teacher", "pixel_distance", "nfe", "samples",
    "kernel_distance", "precision", "recall", "ssim", "feature_cosine", "path_length",
)  # fmt: skip
"""In this order: MLflow's compare page starts with the metric that was logged first."""
FOLLOWER_SECONDS = 60.0
"""How long a follower may take to send its last points."""
PARAMS = 100
"""MLflow takes so many params a call at most."""


def track_run(client: "MlflowClient", spec: Spec, row: Row) -> str:
    """Bring one row into MLflow and return its run's id; a row that is there already is left alone."""
    experiment = experiment_id(client, spec.name)
    found = client.search_runs([experiment], f"tags.`sfddm.content_key` = '{row.content_key}'", max_results=1)
    if found:
        return str(found[0].info.run_id)
    run_id = _adopt(client, spec, row.run) or _create(client, experiment, spec, row)
    _log_params(client, run_id, spec, row.run)
    _log_figures(client, run_id, row)
    _log_curve(client, run_id, spec, row.run)
    _log_artifacts(client, run_id, spec, row)
    client.set_tag(run_id, NOTE, run_note(spec, row))
    client.set_terminated(run_id, "FINISHED")
    # Last: a run without the key is one that tracking did not finish.
    client.set_tag(run_id, "sfddm.content_key", row.content_key)
    _delete_unfinished(client, experiment, row.run)
    return run_id


def lineage(spec: Spec, run: Run) -> dict[str, Any]:
    """What dvc.lock says of the stages that the run rests on.

    Raises:
        UserError: dvc.lock has no entry for one of them.
    """
    shared = ["data", "scorer", "teacher", "reference"]
    parent = spec.parent(run)
    made_from = [f"distill@{spec.name}-{parent}"] if parent else []
    names = [
        *(f"{stage}@{spec.name}" for stage in shared), *made_from, f"distill@{run.name}", f"evaluate@{run.name}"
    ]  # fmt: skip
    stages = _locked_stages()
    missing = [name for name in names if name not in stages]
    if missing:
        raise UserError(f"dvc.lock has no entry for {', '.join(missing)}: run `dvc repro`, or `dvc commit` for outputs "
                        "that were made elsewhere.")  # fmt: skip
    return {name: stages[name] for name in names}


def _locked_stages() -> dict[str, Any]:
    return _parsed(LOCK.read_bytes()) if LOCK.exists() else {}


@lru_cache(maxsize=1)
def _parsed(content: bytes) -> dict[str, Any]:
    """The stages in dvc.lock's content, which takes a second to parse and is asked for once a run."""
    try:
        return dict(YAML(typ="safe", pure=True).load(content.decode())["stages"])
    except (YAMLError, ValueError, TypeError, KeyError, RecursionError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(f"{LOCK} is damaged ({reason}): `git checkout {LOCK}`, or delete it and `dvc repro`.") from None


def _adopt(client: "MlflowClient", spec: Spec, run: Run) -> str | None:
    """The live run of this very training, once its follower is done with it."""
    from mlflow.exceptions import MlflowException

    run_id = read_followed(run.name, training_key(spec, run), server_name())
    if run_id is None:
        return None
    with FileLock(follower_lock(run.name), timeout=FOLLOWER_SECONDS):
        try:
            live = client.get_run(run_id)
        except MlflowException:
            return None  # deleted since
    # A run with params is one that tracking has begun to fill: params can't be changed, so another is made.
    usable = live.info.lifecycle_stage == "active" and not live.data.params
    return run_id if usable else None


def _create(client: "MlflowClient", experiment: str, spec: Spec, row: Row) -> str:
    created = client.create_run(experiment, run_name=row.run.name, tags=tags(spec, row.run, str(row.timing["device"])))
    return str(created.info.run_id)


def _delete_unfinished(client: "MlflowClient", experiment: str, run: Run) -> None:
    """Delete what killed or repeated trainings of a run left, unless one of them is being followed right now."""
    try:
        with FileLock(follower_lock(run.name), timeout=0):
            for left in client.search_runs([experiment], f"tags.`sfddm.run` = '{run.name}'"):
                if "sfddm.content_key" not in left.data.tags:
                    client.delete_run(left.info.run_id)
    except Timeout:
        pass


def _log_params(client: "MlflowClient", run_id: str, spec: Spec, run: Run) -> None:
    from mlflow.entities import Param

    content = resolved(spec, run)
    student = content.pop("students")[run.student]
    flat = {**flatten({"student": student}), **flatten(content)}
    flat |= axes(spec, run)
    params = [Param(name, str(value)) for name, value in flat.items()]
    for start in range(0, len(params), PARAMS):
        client.log_batch(run_id, params=params[start : start + PARAMS])


def _log_figures(client: "MlflowClient", run_id: str, row: Row) -> None:
    for name in FIGURES:
        client.log_metric(run_id, name, float(row.metrics[name]))
    client.log_metric(run_id, "cost_forward_equivalents", float(row.metrics["cost"]["total"]))
    client.log_metric(run_id, "training_seconds", float(row.training["seconds"]))
    for name in ("seconds_per_1000_images", "latency_ms", "speed_up", "peak_memory_mb"):
        client.log_metric(run_id, name, float(row.timing[name]))


def _log_curve(client: "MlflowClient", run_id: str, spec: Spec, run: Run) -> None:
    points = read_points(Paths(spec.name).student(run.student, run.seed) / "curve.jsonl")
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
