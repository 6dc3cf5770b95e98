"""MLflow's database is locked, deleted or read-only while a student trains: the student does not notice."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from sfddm.runtime.files import digest_folder
from tests.processes import iterations_kept, wait_for
from tests.project import OURS, Project

pytestmark = pytest.mark.prove
TRACK = ("python", "-m", "stages.track", "tiny")


def train(project: Project, meanwhile: Callable[[], object], uri: str) -> None:
    """Distil again, with something happening in the middle: the same bytes come out."""
    student = project.folder / "runs/tiny/students/ours-t4-s0"
    before = digest_folder(student)
    process = project.start(
        "python", "-m", "stages.distill", "tiny", "ours-t4", "0", SFDDM_CHECKPOINT_SECONDS="0", MLFLOW_TRACKING_URI=uri
    )
    wait_for(lambda: iterations_kept(project.folder, OURS), "a checkpoint")
    meanwhile()
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0 and digest_folder(student) == before, output


@pytest.fixture
def database(project: Project, tmp_path: Path) -> tuple[Path, str]:
    """A database of its own that holds the project's runs, and its address."""
    path = tmp_path / "mlflow.db"
    uri = f"sqlite:///{path}"
    project.run(*TRACK, MLFLOW_TRACKING_URI=uri)
    return path, uri


def refused(project: Project, uri: str) -> None:
    output = project.run(*TRACK, code=2, MLFLOW_TRACKING_URI=uri)
    assert "run the command again: nothing was lost" in output and "Traceback" not in output


def test_locked(project: Project, database: tuple[Path, str]) -> None:
    path, uri = database
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        train(project, lambda: connection.execute("BEGIN EXCLUSIVE"), uri)
        refused(project, uri)
    project.run(*TRACK, MLFLOW_TRACKING_URI=uri)


def test_deleted(project: Project, database: tuple[Path, str]) -> None:
    path, uri = database
    train(project, path.unlink, uri)
    project.run(*TRACK, MLFLOW_TRACKING_URI=uri)
    import mlflow

    client = mlflow.MlflowClient(uri, uri)
    runs = client.search_runs([client.get_experiment_by_name("tiny").experiment_id])
    finished = [run.data.tags["sfddm.run"] for run in runs if "sfddm.content_key" in run.data.tags]
    assert sorted(finished) == ["tiny-ddim-t4-s0", OURS, "tiny-teacher-training"]


def test_read_only(project: Project, database: tuple[Path, str]) -> None:
    path, uri = database
    fresh = path.with_name("fresh.db")
    fresh.touch()
    read_only = f"sqlite:///file:{fresh}?mode=ro&uri=true"
    train(project, lambda: None, read_only)
    refused(project, read_only)
    project.run(*TRACK, MLFLOW_TRACKING_URI=uri)
