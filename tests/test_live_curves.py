"""Curves that grow in MLflow: through an outage of its server, and from a machine that reaches nothing else."""

import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from attrs import frozen
from filelock import FileLock

from sfddm.runtime.files import digest_folder
from sfddm.tracking.live import CONTENT_KEY, KEY, Training, start_follower
from sfddm.training.curve import Curve, read_points
from tests.processes import wait_for
from tests.project import OURS, Project
from tests.servers import free_port, mlflow_server

if TYPE_CHECKING:
    import subprocess

    from mlflow import MlflowClient
    from mlflow.entities import Run

OTHER = "of other settings"
"""The key of a training that this test plays, of the same name as the real one."""
POINTS = 30
"""Points of its curve."""


@frozen
class Outage:
    """A server that was away for a while, and what went on meanwhile."""

    client: "MlflowClient"
    environment: dict[str, str]
    """With which the server is found."""
    far: Project
    """The machine that trained the student."""
    ended: tuple[int, str]
    """Exit code and output of that training."""
    live: str
    """The run that shows it."""
    shown: list[int]
    """The iterations that it had when the server went."""
    curve: Curve
    """A third machine's training, which goes on."""
    other: str
    """The run that shows that one."""


@pytest.fixture(scope="module")
def outage(
    project: Project, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Outage]:
    """MLflow's server goes in the middle of two trainings: one ends while it is away, the other outlasts that."""
    import mlflow

    folder, port = tmp_path_factory.mktemp("mlflow"), free_port()
    server = (f"sqlite:///{folder / 'mlflow.db'}", str(folder / "artifacts"), {}, port)
    environment = {"MLFLOW_TRACKING_URI": f"http://127.0.0.1:{port}", "SFDDM_LIVE_CURVES": "on"}
    client = mlflow.MlflowClient(environment["MLFLOW_TRACKING_URI"])
    far, third = Project(tmp_path_factory.mktemp("far")), folder / "scratch"
    for name in ("data", "teacher"):
        shutil.copytree(project.folder / "runs/tiny" / name, far.folder / "runs/tiny" / name)
    with mlflow_server(*server):
        process = stopped_in_the_middle(far, environment)
        request.addfinalizer(process.kill)  # whatever fails, nothing is left stopped
        curve = followed_curve(third, environment)
        write(curve, 1, 10)
        other = wait_for(lambda: next(iter(runs(client, other=True)), None), "the played training's run").info.run_id
        live = wait_for(lambda: next(iter(runs(client)), None), "the student's run").info.run_id
        wait_for(lambda: len(steps(client, other)) == 10 and steps(client, live), "both curves")
        shown = steps(client, live)
    write(curve, 11, 20)
    process.send_signal(signal.SIGCONT)
    output, _ = process.communicate(timeout=240)
    with FileLock(far.folder / "scratch/live" / f"{OURS}.lock", timeout=120):
        pass  # its follower has given up
    log = third / "live" / f"{OURS}.log"
    wait_for(lambda: "does not answer" in log.read_text(), "the other follower to notice")
    with mlflow_server(*server):
        yield Outage(client, environment, far, (process.returncode, output), live, shown, curve, other)


def stopped_in_the_middle(far: Project, environment: dict[str, str]) -> "subprocess.Popen[str]":
    """The student's training after its first iterations; checkpoints after each make it last longer."""
    slow = {**environment, "SFDDM_CHECKPOINT_SECONDS": "0"}
    process = far.start("python", "-m", "stages.distill", "tiny", "ours-t4", "0", **slow)
    curve = far.folder / f"scratch/curves/{OURS}.jsonl"
    wait_for(lambda: read_points(curve), "the student's training to begin")
    process.send_signal(signal.SIGSTOP)
    return process


def followed_curve(scratch: Path, environment: dict[str, str]) -> Curve:
    """A curve that this process writes and that is followed, of a machine with scratch files of its own."""
    path = scratch / "curves" / f"{OURS}.jsonl"
    tags = {"sfddm.run": OURS, KEY: OTHER}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**environment, "SFDDM_SCRATCH": str(scratch)}.items():
            patch.setenv(name, value)
        start_follower(Training(experiment="tiny", name=OURS, key=tags[KEY], tags=tags), path, POINTS)
    return Curve(path, OURS, POINTS, 1)


def write(curve: Curve, first: int, last: int) -> None:
    for number in range(first, last + 1):
        curve.write(number - 1, {"loss": 1 / number, "learning_rate": 0.1})


def runs(client: "MlflowClient", other: bool = False) -> list["Run"]:
    """The runs of the student's training, or of the one that is played."""
    experiment = client.get_experiment_by_name("tiny")
    query = f"tags.`sfddm.run` = '{OURS}' and tags.`{KEY}` {'=' if other else '!='} '{OTHER}'"
    return list(client.search_runs([experiment.experiment_id], query)) if experiment else []


def steps(client: "MlflowClient", run_id: str) -> list[int]:
    """The iterations of a run's points, one twice where it is there twice."""
    return sorted(point.step for point in client.get_metric_history(run_id, "train/loss"))


def test_a_training_whose_server_goes_ends_as_if_nothing_were(outage: Outage, project: Project) -> None:
    code, output = outage.ended
    assert code == 0 and "MLflow" not in output, output
    assert 0 < len(outage.shown) < 40, "the server went in the middle"
    student = "runs/tiny/students/ours-t4-s0"
    assert len(read_points(outage.far.folder / student / "curve.jsonl")) == 40
    assert digest_folder(outage.far.folder / student) == digest_folder(project.folder / student)
    (run,) = runs(outage.client)
    assert run.info.status == "RUNNING" and steps(outage.client, outage.live) == outage.shown


def test_the_desk_machine_adopts_the_run_of_a_machine_that_shares_the_server_alone(
    outage: Outage, project: Project, tmp_path: Path
) -> None:
    desk = project.copy(tmp_path / "desk")
    for name in ("students/ours-t4-s0", "timings/ours-t4-s0"):
        shutil.rmtree(desk.folder / "runs/tiny" / name)
        shutil.copytree(outage.far.folder / "runs/tiny" / name, desk.folder / "runs/tiny" / name)
    desk.run("dvc", "commit", "--force", "distill@tiny-ours-t4-s0")
    desk.run("dvc", "repro", "--single-item", "track@tiny", **outage.environment)
    (run,) = runs(outage.client)
    assert run.info.run_id == outage.live and run.info.status == "FINISHED" and run.data.tags[CONTENT_KEY]
    assert run.data.metrics["frechet_distance/pixels"] > 0 and run.data.params["NFE"] == "4"
    assert steps(outage.client, outage.live) == list(range(1, 41)), "every point once"


def test_a_follower_goes_on_when_its_server_is_back(outage: Outage) -> None:
    """In its own run, which the desk machine's tracking has left alone."""
    write(outage.curve, 21, POINTS)
    wait_for(lambda: outage.client.get_run(outage.other).info.status == "FINISHED", "the follower to finish", 90)
    assert steps(outage.client, outage.other) == list(range(1, POINTS + 1)), "every point once"
    assert [run.info.run_id for run in runs(outage.client, other=True)] == [outage.other]
