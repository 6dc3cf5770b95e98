"""MLflow's pages, served on this machine alone."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING
from urllib.parse import quote

import typer

from sfddm.errors import UserError
from sfddm.pipeline.rows import load_rows
from sfddm.spec.experiment import Spec
from sfddm.tracking.charts import opened_with_charts
from sfddm.tracking.live import SWEEP
from sfddm.tracking.server import connect, find_experiment, server_name, tracking_uri

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

HOST = "127.0.0.1"
NAMES = (HOST, "localhost")
"""Host names that a browser on this machine may use; requests with another one are refused."""
OPENING = re.compile("MLFLOW_(SERVER_.*|HOST|.*_OPTS)")
"""Variables that would make MLflow listen on other interfaces, or answer others."""


def links(client: "MlflowClient", spec: Spec, base: str) -> dict[str, str]:
    """Addresses of the pages that show a spec's comparison.

    Raises:
        UserError: the spec has no runs in MLflow.
    """
    experiment = find_experiment(client, spec.name)
    if experiment is None:
        raise UserError(f"MLflow has no runs of {spec.name}: run `sfddm track {spec.name}`.")
    number = str(experiment.experiment_id)
    current = {row.content_key for row in load_rows(spec)}
    tracked = client.search_runs([number], "tags.`sfddm.content_key` != ''")
    swept = [run for run in tracked if SWEEP in run.data.tags]
    runs = [run for run in tracked if run.data.tags["sfddm.content_key"] in current]
    charts = f"{base}/#/experiments/{number}/runs?workflowType=machine_learning&compareRunsMode=CHART"
    found = {
        "charts": charts + opened_with_charts(experiment),
        "comparison": _comparison(base, number, runs),
        "versions": f"{base}/#/models/{spec.registry.model}",
    }
    if swept:
        rest = [run for run in runs if SWEEP not in run.data.tags]
        found["sweeps"] = _comparison(base, number, [*rest, *swept])
    return found


def _comparison(base: str, experiment: str, runs: "Iterable[Run]") -> str:
    ids = json.dumps([run.info.run_id for run in runs])
    return f"{base}/#/compare-runs?runs={quote(ids)}&experiments={quote(json.dumps([experiment]))}"


def serve(spec: Spec, port: int) -> None:
    """Print the links and serve MLflow until interrupted; a server that is already there is only linked to."""
    uri = tracking_uri()
    remote = uri.startswith(("http://", "https://"))
    base = server_name().rstrip("/") if remote else f"http://{HOST}:{port}"
    for name, link in links(connect(), spec, base).items():
        typer.echo(f"{name}: {link}")
    if remote:
        return
    names = ",".join(f"{name}:{port}" for name in NAMES)
    command = [sys.executable, "-m", "mlflow", "server", "--host", HOST, "--allowed-hosts", names, "--workers", "1"]
    ended = subprocess.run([*command, "--port", str(port)], env=_environment(uri), check=False)
    if ended.returncode > 0:
        raise UserError(
            f"the MLflow server ended with exit code {ended.returncode}: is port {port} in use? Try --port."
        )


def _environment(uri: str) -> dict[str, str]:
    """The server's environment, which names its database, because everyone can read a command line."""
    kept = {name: value for name, value in os.environ.items() if not OPENING.fullmatch(name)}
    # MLflow's jobs judge language models, in eight processes more that import all of it.
    return {**kept, "MLFLOW_BACKEND_STORE_URI": uri, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
