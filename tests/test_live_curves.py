"""Curves in MLflow while a training runs: through an outage of the server, and from a machine that reaches only it."""

import json
import shutil
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from sfddm.tracking.live import KEY, LiveRun, start_follower
from tests.processes import wait_for
from tests.project import OURS, Project
from tests.servers import mlflow_server
from tests.test_security import free_port

THIRD = 10
"""Points between two events of an outage."""


def steps(client: MlflowClient, run: Run) -> list[int]:
    return sorted(point.step for point in client.get_metric_history(run.info.run_id, "train/loss"))


def write(curve: Path, third: int) -> None:
    """What a training writes in a third of its time."""
    with curve.open("a") as file:
        for step in range(third * THIRD + 1, (third + 1) * THIRD + 1):
            file.write(json.dumps({"step": step, "loss": 1 / step}) + "\n")


def test_a_curve_is_whole_after_an_outage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server is gone for the second third of a training, and knows the run when it is back."""
    monkeypatch.chdir(tmp_path)
    port, curve = free_port(), tmp_path / "curve.jsonl"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{port}")
    server = f"sqlite:///{tmp_path / 'server.db'}", str(tmp_path / "artifacts"), {}, port
    start_follower(LiveRun(experiment="e", name="r", curve=str(curve), iterations=3 * THIRD, key="k", tags={KEY: "k"}))
    log = tmp_path / "scratch" / "live" / "r.log"
    with mlflow_server(*server) as address:
        client = MlflowClient(address, address)
        write(curve, 0)
        run = wait_for(lambda: next(iter(client.search_runs(["1"])), None), "a live run")
        wait_for(lambda: len(steps(client, run)) == THIRD, "its first points")
    write(curve, 1)
    wait_for(lambda: "does not answer" in log.read_text(), "the follower to miss the server")
    with mlflow_server(*server):
        write(curve, 2)
        wait_for(lambda: client.get_run(run.info.run_id).info.status == "FINISHED", "the follower to end")
        assert steps(client, run) == list(range(1, 3 * THIRD + 1)), "every point once"
        assert len(client.search_runs(["1"])) == 1


@pytest.mark.pipeline
def test_the_desk_adopts_the_curve_of_a_machine_that_reaches_only_the_server(project: Project, tmp_path: Path) -> None:
    machine, desk = project.copy(tmp_path / "machine"), project.copy(tmp_path / "desk")
    with mlflow_server(f"sqlite:///{tmp_path / 'server.db'}", str(tmp_path / "artifacts"), {}) as address:
        server = {"MLFLOW_TRACKING_URI": address}
        machine.run("python", "-m", "stages.distill", "tiny", "ours-t4", "0", **server)
        client = MlflowClient(address, address)

        def complete() -> Run | None:
            if client.get_experiment_by_name("tiny") is None:
                return None
            found = client.search_runs(["1"], f"tags.`sfddm.run` = '{OURS}'")
            return next((run for run in found if run.info.status == "FINISHED"), None)

        live = wait_for(complete, "the curve")
        assert "sfddm.content_key" not in live.data.tags and steps(client, live) == list(range(1, 41))
        trained = "runs/tiny/students/ours-t4-s0"
        shutil.rmtree(desk.folder / trained)
        shutil.copytree(machine.folder / trained, desk.folder / trained)
        desk.run("dvc", "commit", "--force", f"distill@{OURS}")
        desk.run("python", "-m", "stages.track", "tiny", **server)
        (adopted,) = client.search_runs(["1"], f"tags.`sfddm.run` = '{OURS}'")
        assert adopted.info.run_id == live.info.run_id and adopted.data.tags["sfddm.content_key"]
        assert steps(client, adopted) == list(range(1, 41))
