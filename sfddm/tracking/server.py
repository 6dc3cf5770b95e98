"""Reaching MLflow: the server that MLFLOW_TRACKING_URI names, or a database in the repository's root."""

import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, unquote, urlsplit, urlunsplit

from filelock import FileLock

from sfddm.errors import UserError
from sfddm.runtime.files import atomic_file
from sfddm.runtime.machine import scratch

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Experiment

TIMEOUT_SECONDS = "30"
RETRIES = "1"


def repository() -> Path:
    """The repository's root; DVC names the real one to stages that it runs in a temporary copy."""
    return Path(os.environ.get("DVC_ROOT", ".")).resolve()


def tracking_uri() -> str:
    """MLFLOW_TRACKING_URI, or the database in the repository's root.

    A server's address comes without user and password: MLflow prints and stores addresses. `connect` hands them over.
    """
    named = os.environ.get("MLFLOW_TRACKING_URI")
    return _without_login(named) if named else _own_database()


def connect() -> "MlflowClient":
    """A client of the tracking server; the database in the repository is created under a lock.

    Raises:
        UserError: mlflow is not installed, or the server does not answer.
    """
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("DO_NOT_TRACK", "1")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", TIMEOUT_SECONDS)
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", RETRIES)
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    try:
        import mlflow
    except ImportError:
        raise UserError('mlflow is not installed: `pip install "sfddm[pipeline]"`.') from None
    logging.getLogger("mlflow").setLevel(logging.WARNING)  # it tells of every new database and its tables
    uri = tracking_uri()
    _hand_over_login()
    mlflow.set_tracking_uri(uri)
    mlflow.set_registry_uri(_without_login(os.environ.get("MLFLOW_REGISTRY_URI", uri)))
    locks = scratch() / "locks"
    locks.mkdir(parents=True, exist_ok=True)
    # The first processes to open a new database would all create its tables; a client does that when it is made.
    with users_errors(), FileLock(locks / "mlflow.lock"):
        if uri == _own_database() and not _own_path().exists():
            # Under another name first: a database whose creation was cut off can never be opened again.
            with atomic_file(_own_path()) as partial:
                mlflow.MlflowClient(f"sqlite:///{partial}")
        client = mlflow.MlflowClient()
        client.search_experiments(max_results=1)
    return client


@contextmanager
def users_errors() -> Iterator[None]:
    """Turn errors of MLflow and its database within a `with` block into errors that a user can act on."""
    from alembic.util.exc import CommandError
    from mlflow.exceptions import MlflowException
    from requests.exceptions import RequestException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (CommandError, MlflowException, RequestException, SQLAlchemyError) as error:
        reason = without_secrets(str(error).splitlines()[0])[:200]
        anew = tracking_uri() == _own_database()
        raise UserError(
            f"MLflow at {server_name()} refused, or does not answer: {reason}\n"
            "Mend that, or correct MLFLOW_TRACKING_URI, then run the command again: nothing was lost."
            + (" If the file is damaged, delete it: `sfddm track` fills a new one." if anew else "")
        ) from None


def experiment_id(client: "MlflowClient", name: str) -> str:
    """The experiment of a spec, created when there is none; its artifacts are next to the database, if that is ours."""
    from mlflow.exceptions import MlflowException

    experiment = find_experiment(client, name)
    if experiment is not None:
        return str(experiment.experiment_id)
    try:
        return str(client.create_experiment(name, artifact_location=_own_artifacts(name)))
    except MlflowException:
        experiment = client.get_experiment_by_name(name)  # another process was faster
        if experiment is None:
            raise
        return str(experiment.experiment_id)


def _own_artifacts(name: str) -> str | None:
    """Where an experiment's artifacts are, if the database is this clone's own."""
    return (repository() / "mlartifacts" / name).as_uri() if tracking_uri() == _own_database() else None


def find_experiment(client: "MlflowClient", name: str) -> "Experiment | None":
    """The experiment of a spec, if there is one.

    Raises:
        UserError: it was deleted, but not for good, so that there can be no other of that name; or the clone was moved.
    """
    experiment = client.get_experiment_by_name(name)
    if experiment is not None and experiment.lifecycle_stage != "active":
        raise UserError(
            f"the experiment {name!r} was deleted in MLflow. Restore it: MLFLOW_TRACKING_URI={server_name()} "
            f"mlflow experiments restore --experiment-id {experiment.experiment_id}"
        )
    if experiment is not None and (own := _own_artifacts(name)) and experiment.artifact_location != own:
        raise UserError(
            f"{_own_path()} was made in another folder, and looks for artifacts at {experiment.artifact_location}. "
            "Delete it, then run `sfddm track`, which fills a new one."
        )
    return experiment


def _without_login(uri: str) -> str:
    """The address of a server without user and password; a database's as it is, because it needs them."""
    parts = _parts(uri)
    if parts.scheme not in ("http", "https"):
        return uri
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def _hand_over_login() -> None:
    """Give MLflow the user and the password of the server's address in the variables that it sends them from."""
    parts = _parts(os.environ.get("MLFLOW_TRACKING_URI", ""))
    if parts.scheme in ("http", "https") and parts.username is not None:
        os.environ["MLFLOW_TRACKING_USERNAME"] = unquote(parts.username)
        os.environ["MLFLOW_TRACKING_PASSWORD"] = unquote(parts.password or "")


def _parts(uri: str) -> SplitResult:
    try:
        return urlsplit(uri)
    except ValueError as error:
        raise UserError(f"MLFLOW_TRACKING_URI is not an address ({error}): correct it.") from None


def _own_path() -> Path:
    return repository() / "mlflow.db"


def _own_database() -> str:
    return f"sqlite:///{_own_path()}"


def server_name() -> str:
    """The tracking server's address as it may be shown and stored."""
    return without_secrets(tracking_uri())


def without_secrets(text: str) -> str:
    """The text without the parts of addresses that can have a password: before an @, and behind a question mark."""
    return re.sub(r"(://[^\s?]*)\?\S*", r"\1", re.sub(r"://\S*@", "://", text))
