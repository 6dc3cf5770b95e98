"""Versions of MLflow's registered models: one per content key."""

import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import frozen

from sfddm.errors import UserError
from sfddm.pipeline.rows import Row
from sfddm.report.compare import Subject, fields_of
from sfddm.spec.experiment import Spec
from sfddm.spec.parse import nearest, read_mapping
from sfddm.spec.read import plain_data
from sfddm.tracking.server import connect, users_errors, without_secrets

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion


def versions_by_key(client: "MlflowClient", model: str) -> dict[str, str]:
    """The number of each version of a model by its content key; none where there is no such model."""
    found = client.search_model_versions(f"name='{model}'")
    keys = {version.tags.get("sfddm.content_key", ""): str(version.version) for version in found}
    return {key: number for key, number in keys.items() if key}


def require_version(spec: Spec, row: Row) -> str:
    """The number of the version that is a run's student as it is now.

    Raises:
        UserError: there is none.
    """
    client = connect()
    with users_errors():
        number = versions_by_key(client, spec.registry.model).get(row.content_key)
    if number is None:
        raise UserError(f"{row.run.name} has no version with its present content: run `sfddm track {spec.name}`.")
    return number


@frozen(kw_only=True)
class Downloaded:
    """A registered version's files, on this machine."""

    uri: str
    """As the user gave it."""
    content_key: str
    """Empty if it was registered by something else."""
    student: Path
    """The folder with its network and sampler."""
    provenance: Path
    """The folder with what `sfddm.tracking.register` wrote about it."""


def download(uri: str) -> Downloaded:
    """The files of a registered version, `models:/NAME@ALIAS` or `models:/NAME/VERSION`.

    Raises:
        UserError: no such model, alias or version; or it is not a student of this project.
    """
    import mlflow
    from mlflow.models import Model

    with _found(uri) as (_, version):
        folder = Path(mlflow.artifacts.download_artifacts(uri)).resolve()
        listed = Model.load(folder).flavors["python_function"]["artifacts"]
        student, described = ((folder / str(listed[part]["path"])).resolve() for part in ("student", "provenance"))
    if not (student.is_relative_to(folder) and described.is_relative_to(folder)):
        raise UserError(f"{uri} is not a student of this project: its files would be outside of it, in {student}.")
    key = version.tags.get("sfddm.content_key", "")
    return Downloaded(uri=uri, content_key=key, student=student, provenance=described)


def registered(uri: str) -> Subject:
    """A registered version, `models:/NAME@ALIAS` or `models:/NAME/VERSION`, for `sfddm compare`.

    Raises:
        UserError: no such model, alias or version; or it was registered by something else.
    """
    import mlflow

    with tempfile.TemporaryDirectory() as temporary, _found(uri) as (_, version):
        if "sfddm.student" not in version.tags:
            raise UserError(f"{uri} was not registered by `dvc repro track@SPEC`: there are no results of it.")
        for file in ("metrics.json", "timing.json", "spec.yaml"):
            mlflow.artifacts.download_artifacts(run_id=version.run_id, artifact_path=file, dst_path=temporary)
        folder = Path(temporary)
        content = plain_data((folder / "spec.yaml").read_text(encoding="utf-8"), f"{uri}, spec.yaml")
        return Subject(
            name=uri,
            fields=fields_of(content, version.tags["sfddm.student"]),
            metrics=dict(read_mapping(folder / "metrics.json")),
            timing=dict(read_mapping(folder / "timing.json")),
        )


def content_key(uri: str) -> str:
    """The content key of a registered version; empty if it was registered by something else.

    Raises:
        UserError: no such version, or MLflow does not answer.
    """
    with _found(uri) as (_, version):
        return str(version.tags.get("sfddm.content_key", ""))


def set_version_tag(uri: str, name: str, text: str) -> None:
    """Set one tag of a registered version.

    Raises:
        UserError: no such version, or MLflow does not answer.
    """
    with _found(uri) as (client, version):
        client.set_model_version_tag(version.name, version.version, name, text)


@contextmanager
def _found(uri: str) -> Iterator[tuple["MlflowClient", "ModelVersion"]]:
    """A version that `models:/NAME@ALIAS` or `models:/NAME/VERSION` names, and the server's client.

    What goes wrong in the block is put down to the version: MLflow doesn't know it, or something else registered it.
    """
    from mlflow.exceptions import MlflowException

    client = connect()
    name, separator, word = re.fullmatch(r"models:/([^@/]*)([@/]?)(.*)", uri, re.DOTALL).groups()  # type: ignore[union-attr]
    by_alias = separator == "@"
    get = client.get_model_version_by_alias if by_alias else client.get_model_version
    remedy = "`sfddm track` sets the aliases of promotions.json, `sfddm promote RUN` the alias champion."
    try:
        version = get(name, word)
        remedy = "If its files are gone, delete its run and the version in MLflow: `sfddm track` makes both anew."
        yield client, version
    except MlflowException as error:
        said = without_secrets(str(error).splitlines()[0])
        reason = _unknown(client, name, word if by_alias else None) or f": {said}"
        raise UserError(f"{uri}{reason}\n{remedy}") from None
    except (KeyError, TypeError, AttributeError, ValueError, RuntimeError) as error:
        raise UserError(f"{uri} is not a student of this project ({without_secrets(repr(error))}).") from None


def _unknown(client: "MlflowClient", name: str, alias: str | None) -> str:
    """Which part of a version's name MLflow doesn't know, and what is nearest; empty if it knows all."""
    with users_errors():
        models = {model.name: model for model in client.search_registered_models()}
    if name not in models:
        return f": no registered model {name!r}{nearest(name, models)}"
    if alias is not None and alias not in models[name].aliases:
        return f": no alias {alias!r}{nearest(alias, models[name].aliases)}"
    return ""
