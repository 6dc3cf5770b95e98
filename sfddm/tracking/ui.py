"""MLflow's pages, served on this machine alone."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import typer

from sfddm.errors import UserError
from sfddm.pipeline.rows import load_rows
from sfddm.runtime.machine import scratch
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
ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
PAUSE, PATIENCE = 0.2, 10.0
"""Seconds between two questions whether the server answers, and for its end."""


MOST_COMPARED = 50
"""Runs that MLflow's page of a comparison still shows side by side."""


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
        "comparison": comparison(base, number, _ids(runs)),
        "versions": f"{base}/#/models/{spec.registry.model}",
    }
    if swept:
        rest = [run for run in runs if SWEEP not in run.data.tags]
        found["sweeps"] = comparison(base, number, _ids([*rest, *swept]))
    return found


def _ids(runs: "Iterable[Run]") -> list[str]:
    return [run.info.run_id for run in runs]


def comparison(base: str, experiment: str, runs: list[str]) -> str:
    """The address of the page that compares runs, by their ids; words where it would show nothing that one can read."""
    if len(runs) > MOST_COMPARED:
        return f"{len(runs)} runs are too many for one page: on that of the charts choose some, then Compare"
    return f"{base}/#/compare-runs?runs={quote(json.dumps(runs))}&experiments={quote(json.dumps([experiment]))}"


def serve(spec: Spec, port: int) -> None:
    """Serve MLflow until interrupted, and print the links once it answers; another server is only linked to.

    Raises:
        UserError: the port is in use; the spec has no runs in MLflow; or MLflow's server ended.
    """
    uri = tracking_uri()
    if uri.startswith(("http://", "https://")):
        _print(links(connect(), spec, server_name().rstrip("/")))
        return
    if _listens(port):
        raise UserError(f"port {port} is in use: end what listens there, or name another port with --port.")
    found, log = links(connect(), spec, f"http://{HOST}:{port}"), scratch() / "ui.log"
    typer.echo("MLflow is starting ...")
    with _server(uri, port, log) as server:
        while server.poll() is None and not _listens(port):
            time.sleep(PAUSE)
        if server.poll() is None:
            _print(found)
            typer.echo(f"Ctrl-C ends it. What it prints is in {log}.")
            server.wait()
    raise UserError(f"the MLflow server ended with exit code {server.returncode}; what it printed is in {log}.")


def _print(found: dict[str, str]) -> None:
    for name, link in found.items():
        typer.echo(f"{name}: {link}")


def _listens(port: int) -> bool:
    """Whether a server does there."""
    with socket.socket() as tried:
        return tried.connect_ex((HOST, port)) == 0


@contextmanager
def _server(uri: str, port: int, log: Path) -> "Iterator[subprocess.Popen[bytes]]":
    """MLflow's server, which ends with all of its processes when the block does, or this process is told to end."""
    names = ",".join(f"{name}:{port}" for name in NAMES)
    command = [sys.executable, "-m", "mlflow", "server", "--host", HOST, "--allowed-hosts", names, "--workers", "1"]
    # The database is named by a variable, because everyone can read a command line. MLflow's jobs judge language
    # models, in eight processes more.
    environment = {name: value for name, value in os.environ.items() if not OPENING.fullmatch(name)}
    environment |= {"MLFLOW_BACKEND_STORE_URI": uri, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    for number in ENDINGS:
        signal.signal(number, lambda told, _: sys.exit(128 + told))
    with log.open("w", encoding="utf-8") as printed:
        server = subprocess.Popen(
            [*command, "--port", str(port)], env=environment, stdin=subprocess.DEVNULL, stdout=printed, stderr=printed,
            start_new_session=True,
        )  # fmt: skip
    try:
        yield server
    finally:
        for number in ENDINGS:
            signal.signal(number, signal.SIG_IGN)  # a second Ctrl-C would leave processes behind
        for number in (signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError, subprocess.TimeoutExpired):
                os.killpg(server.pid, number)
                server.wait(PATIENCE)
