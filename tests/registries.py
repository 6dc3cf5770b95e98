"""What a project's MLflow registry and promotions.json hold, and how they are lost."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.project import Project

if TYPE_CHECKING:
    from mlflow import MlflowClient

MODEL = "sfddm-tiny"
REFILLED: list[Path] = []
"""Databases that were lost and made anew."""


def client_of(project: Project) -> "MlflowClient":
    import mlflow

    # MLflow keeps a database open under its address: one that was made anew needs another.
    uri = f"sqlite:///{project.folder / 'mlflow.db'}?timeout={30 + len(REFILLED)}"
    return mlflow.MlflowClient(uri, uri)


@contextmanager
def kept(project: Project, *names: str) -> Iterator[None]:
    """Put files of the project back afterwards."""
    before = {project.folder / name: (project.folder / name).read_bytes() for name in names}
    try:
        yield
    finally:
        for path, content in before.items():
            path.unlink(missing_ok=True)  # it may be a link of DVC's, or read-only
            path.write_bytes(content)


def events(project: Project) -> list[dict[str, Any]]:
    return list(json.loads((project.folder / "promotions.json").read_text())["events"])


def champion(project: Project) -> str:
    version = client_of(project).get_model_version_by_alias(MODEL, "champion")
    return str(version.tags["sfddm.content_key"])


def refilled(project: Project) -> str:
    """MLflow is lost, and filled again; returns what that printed."""
    (project.folder / "mlflow.db").unlink()
    REFILLED.append(project.folder)
    shutil.rmtree(project.folder / "mlartifacts")
    return project.run("sfddm", "track")
