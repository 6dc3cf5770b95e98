"""Versions of registered models: made once for each content key, promoted by alias."""

import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from ruamel.yaml import YAML

from sfddm.errors import UserError
from sfddm.files import read_json
from sfddm.networks.layout import CONFIG
from sfddm.paths import Paths
from sfddm.results import Row, load_row, resolved
from sfddm.spec.experiment import Run, Spec
from sfddm.spec.structure import nearest
from sfddm.tracking.card import model_card
from sfddm.tracking.record import lineage
from sfddm.tracking.server import connect, users_errors, without_secrets

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.models.model import ModelInfo

REQUIREMENTS = (
    "attrs",
    "cattrs",
    "diffusers",
    "filelock",
    "numpy",
    "pillow",
    "rich",
    "ruamel.yaml",
    "safetensors",
    "torch",
)
"""What the served model imports; the library itself travels with the version."""

FOUND_OUT = ("mlflow.source.name", "mlflow.source.git.repoURL", "mlflow.user")
"""What MLflow would note of its surroundings by itself: paths, names, and the remote's address with its password."""


def register(client: "MlflowClient", spec: Spec, row: Row, run_id: str) -> str:
    """Make the run's student a version of the spec's model, and return its number; one that is there is left alone."""
    from mlflow.exceptions import MlflowException

    name = spec.registry.model
    try:
        client.get_registered_model(name)
    except MlflowException:
        client.create_registered_model(name)
    for version in client.search_model_versions(f"name='{name}'"):
        if version.tags.get("sfddm.content_key") == row.content_key:
            return str(version.version)
    logged = _log_model(spec, row, run_id)
    tags = {
        "sfddm.content_key": row.content_key,
        "sfddm.run": row.run.name,
        "sfddm.student": row.run.student,
        "sfddm.frechet_distance": f"{row.metrics['frechet_distance']:.4f}",
        "sfddm.nfe": str(row.metrics["nfe"]),
    }
    siblings = [load_row(spec, run) for run in spec.runs() if run.student == row.run.student]
    created = client.create_model_version(
        name,
        source=logged.model_uri,
        run_id=run_id,
        tags=tags,
        model_id=logged.model_id,
        description=model_card(spec, row, siblings, lineage(spec, row.run), run_id),
    )
    return str(created.version)


def promote(client: "MlflowClient", spec: Spec, run: Run, alias: str) -> str:
    """Point an alias at the version of a run as it is now, and return the version's number.

    Raises:
        UserError: the run's student isn't registered.
    """
    name, row = spec.registry.model, load_row(spec, run)
    versions = client.search_model_versions(f"name='{name}'")
    for version in versions:
        if version.tags.get("sfddm.content_key") == row.content_key:
            with users_errors():
                client.set_registered_model_alias(name, alias, version.version)
            return str(version.version)
    known = sorted({version.tags.get("sfddm.run", "") for version in versions} - {""})
    if run.student not in spec.registry.students:
        raise UserError(
            f"{run.name} isn't registered: add {run.student!r} to registry.students in specs/{spec.name}.yaml and run "
            f"`dvc repro track@{spec.name}`. Registered: {', '.join(known) or 'none'}."
        )
    raise UserError(
        f"{run.name} has no version with its present content: run `dvc repro --force --single-item track@{spec.name}`."
    )


def download(uri: str) -> Path:
    """The student's folder of a registered version, `models:/NAME@ALIAS` or `models:/NAME/VERSION`.

    Raises:
        UserError: no such model, alias or version.
    """
    import mlflow
    from mlflow.models import Model

    with _known_version(connect(), uri):
        folder = Path(mlflow.artifacts.download_artifacts(uri)).resolve()
        flavor = Model.load(folder).flavors["python_function"]
        student = (folder / str(flavor["artifacts"]["student"]["path"])).resolve()
    if not student.is_relative_to(folder):
        raise UserError(f"{uri} is no student of this project: its files would lie outside of it, in {student}.")
    return student


def download_results(uri: str, folder: Path) -> str:
    """Put what tracking has of a registered version into a folder, and return the name of its student.

    These are `metrics.json`, `timing.json`, `grid.png` and `spec.yaml`, the part of the spec that it depends on.

    Raises:
        UserError: no such model, alias or version; or it was registered by something else.
    """
    import mlflow

    client = connect()
    with _known_version(client, uri):
        name, separator, word = re.fullmatch(r"models:/([^@/]*)([@/]?)(.*)", uri).groups()  # type: ignore[union-attr]
        alias = separator == "@"
        version = client.get_model_version_by_alias(name, word) if alias else client.get_model_version(name, word)
        if "sfddm.student" not in version.tags:
            raise UserError(f"{uri} was not registered by `dvc repro track@SPEC`: there are no figures of it.")
        for file in ("metrics.json", "timing.json", "grid.png", "spec.yaml"):
            mlflow.artifacts.download_artifacts(run_id=version.run_id, artifact_path=file, dst_path=str(folder))
    return str(version.tags["sfddm.student"])


@contextmanager
def _known_version(client: "MlflowClient", uri: str) -> Iterator[None]:
    """Tell users which part of a version's name MLflow doesn't know, and what was registered by something else."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        name = uri.removeprefix("models:/").split("@")[0].split("/")[0]
        known = [model.name for model in client.search_registered_models()]
        if name not in known:
            raise UserError(f"{uri}: no registered model {name!r}{nearest(name, known)}") from None
        reason = without_secrets(str(error).splitlines()[0])
        raise UserError(f"{uri}: {reason}\n`sfddm promote RUN` sets the alias champion.") from None
    except (KeyError, TypeError, AttributeError, ValueError, RuntimeError) as error:
        raise UserError(f"{uri} is no student of this project ({without_secrets(repr(error))}).") from None


def _log_model(spec: Spec, row: Row, run_id: str) -> "ModelInfo":
    """Store the student as an MLflow model made of code and safetensors; nothing is pickled."""
    import mlflow

    folder = Paths(spec.name).student(row.run.student, row.run.seed)
    package = Path(__file__).parents[1]
    with tempfile.TemporaryDirectory() as temporary:
        about = Path(temporary) / "about"
        about.mkdir()
        for name, content in (("spec.yaml", resolved(spec, row.run)), ("lineage.yaml", lineage(spec, row.run))):
            YAML().dump(content, about / name)
        with mlflow.start_run(run_id=run_id):
            return mlflow.pyfunc.log_model(
                name="student",
                python_model=str(package / "tracking" / "served.py"),
                artifacts={"student": str(folder), "about": str(about)},
                signature=_signature(folder),
                code_paths=[str(package)],
                pip_requirements=list(REQUIREMENTS),
                tags=dict.fromkeys(FOUND_OUT, ""),
            )


def _signature(folder: Path) -> Any:
    """A request in, as `sfddm.tracking.request` reads it, images out."""
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, Schema, TensorSpec
    from mlflow.types.schema import Array

    config = read_json(folder / CONFIG)
    shape = (-1, config["in_channels"], *config["sample_size"])
    numbers = [ColSpec(DataType.long, name, required=False) for name in ("seed", "num", "steps")]
    levels = ColSpec(Array(DataType.long), "index_set", required=False)
    noise = ColSpec(Array(Array(Array(Array(DataType.double)))), "noise", required=False)
    return ModelSignature(
        inputs=Schema([*numbers, levels, noise]), outputs=Schema([TensorSpec(np.dtype(np.uint8), shape)])
    )
