"""How long MLflow's pages take with many runs: `python -m bench.mlflow_pages [RUNS]` (100 by default).

Synthetic runs of specs/digits.yaml, with params, figures and curves like those of real ones, in a database of their
own, and the pages that `sfddm ui` links to, in a headless Chromium (`apt-get install chromium`).
"""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import numpy as np

from sfddm.pipeline.rows import flatten, resolved
from sfddm.spec.read import load_spec
from sfddm.tracking.charts import KEY, TERMS, axes, share_charts
from sfddm.tracking.logging import send_points

if TYPE_CHECKING:
    from mlflow import MlflowClient

PORT = 5099
FIGURES = ("mse_to_teacher", "speed_up", "seconds_per_1000_images", "latency_ms")
POINTS = 135
"""Points of a curve: a student of the demo has as many."""


def main(runs: int) -> None:
    """Print the seconds from opening a page to its drawn parallel coordinates."""
    import mlflow

    with TemporaryDirectory() as name:
        uri = f"sqlite:///{name}/mlflow.db"
        client = mlflow.MlflowClient(uri, uri)
        experiment = client.create_experiment("digits", artifact_location=(Path(name) / "artifacts").as_uri())
        started = time.perf_counter()
        ids = _fill(client, experiment, runs)
        print(f"{runs} runs written in {time.perf_counter() - started:.1f} s")
        command = [
            sys.executable,
            "-m",
            "mlflow",
            "server",
            "--host",
            "127.0.0.1",
            "--port",
            str(PORT),
            "--workers",
            "1",
        ]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        server = subprocess.Popen(command, env={**os.environ, "MLFLOW_BACKEND_STORE_URI": uri}, cwd=name, **quiet)  # type: ignore[call-overload]
        try:
            _time_pages(experiment, ids)
        finally:
            server.terminate()
            server.wait()


def _fill(client: "MlflowClient", experiment: str, runs: int) -> list[str]:
    from mlflow.entities import Metric, Param

    spec, random = load_spec("digits"), np.random.default_rng(0)
    run = next(run for run in spec.runs() if run.student == "ours-t4")
    content = resolved(spec, run)
    base: dict[str, Any] = {**flatten({"student": content.pop("students")["ours-t4"]}), **flatten(content)}
    scorers = list(spec.evaluation.scorers)
    share_charts(client, experiment, {"panel": scorers, "notes": []}, 1)
    figures = [*FIGURES, *(f"frechet_distance/{name}" for name in scorers)]
    ids = []
    for number in range(runs):
        run_id = client.create_run(experiment, run_name=f"digits-ours-{number}").info.run_id
        drawn = {f"Weight.{term}": round(random.random(), 3) for term in TERMS}
        own = {**base, **axes(spec, run), **drawn, "NFE": int(2 ** random.integers(0, 5))}
        metrics = [Metric(figure, float(random.random()), 0, 0) for figure in figures]
        client.log_batch(run_id, metrics=metrics, params=[Param(key, str(value)) for key, value in own.items()])
        send_points(client, run_id, [{"step": 10 * step, "loss": 1 / (1 + step)} for step in range(POINTS)])
        client.set_terminated(run_id)
        ids.append(run_id)
    return ids


def _time_pages(experiment: str, ids: list[str]) -> None:
    from playwright.sync_api import sync_playwright

    base = f"http://127.0.0.1:{PORT}/#"
    charts = f"{base}/experiments/{experiment}/runs?workflowType=machine_learning&compareRunsMode=CHART"
    pages = {
        "charts": (f"{charts}&viewStateShareKey={KEY}", ".parcoords svg text"),
        "comparison": (
            f"{base}/compare-runs?runs={quote(json.dumps(ids))}&experiments={quote(json.dumps([experiment]))}",
            ".js-plotly-plot svg text",
        ),
    }
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for name, (address, drawn) in pages.items():
            for visit in ("first", "second"):
                page = browser.new_page()
                _until_it_answers(page, f"http://127.0.0.1:{PORT}/health")
                started = time.perf_counter()
                page.goto(address)
                page.locator(drawn).filter(has_text="NFE").first.wait_for(state="attached", timeout=120_000)
                shown = time.perf_counter() - started
                print(f"{name}, {visit} visit: drawn after {shown:.1f} s")
                page.close()
        browser.close()


def _until_it_answers(page: Any, address: str) -> None:
    for _ in range(300):
        try:
            page.goto(address)
            return
        except Exception:  # not yet
            time.sleep(0.2)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100)
