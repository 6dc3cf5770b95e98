"""docs/shared-server.md for real: PostgreSQL, S3 and an MLflow server between two clones that share them."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.project import OURS, Project, commit
from tests.servers import KEYS, mlflow_server, postgresql, s3

if TYPE_CHECKING:
    from mlflow import MlflowClient

pytestmark = pytest.mark.process


@pytest.fixture(scope="module")
def address() -> Iterator[tuple[str, str]]:
    """The addresses of the S3 server and of the MLflow server."""
    with postgresql() as database, s3("team") as store:
        reach = {**KEYS, "MLFLOW_S3_ENDPOINT_URL": store}
        with mlflow_server(database, "s3://team/mlflow", reach) as tracking:
            yield store, tracking


@pytest.fixture(scope="module")
def clones(
    original: Project, address: tuple[str, str], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Project, Project]:
    """Two clones of one git repository; the first has run the pipeline, the second has nothing but git's files."""
    folder = tmp_path_factory.mktemp("clones")
    first = original.copy(folder / "first")
    first.run("dvc", "remote", "add", "--default", "team", "s3://team/dvc")
    first.run("dvc", "remote", "modify", "team", "endpointurl", address[0])
    commit(first, ".")
    first.run("git", "clone", "--quiet", str(first.folder), str(folder / "second"))
    return first, Project.at(folder / "second")


def client(tracking: str) -> "MlflowClient":
    import mlflow

    return mlflow.MlflowClient(tracking, tracking)


def test_two_clones_share_bytes_runs_and_a_champion(clones: tuple[Project, Project], address: tuple[str, str]) -> None:
    """Push and track here, pull, track and promote there, and draw the champion's images without any output."""
    first, second = clones
    tracking = {"MLFLOW_TRACKING_URI": address[1]}
    first.run("dvc", "push", **KEYS)
    first.run("python", "-m", "stages.track", "tiny", **tracking)
    second.run("dvc", "pull", **KEYS)
    assert (second.folder / f"runs/tiny/students/{OURS.removeprefix('tiny-')}/sampler.json").exists()
    before = len(client(address[1]).search_runs(["1"]))
    second.run("python", "-m", "stages.track", "tiny", **tracking)
    assert len(client(address[1]).search_runs(["1"])) == before > 0, "the second clone adds no run twice"
    assert "is now version 1" in second.run("sfddm", "promote", OURS, **tracking)
    shutil.rmtree(first.folder / "runs")
    first.run("sfddm", "sample", "models:/sfddm-tiny@champion", "--out", "a.npz", "--num", "3", **tracking)
    version = client(address[1]).get_model_version_by_alias("sfddm-tiny", "champion")
    assert version.tags["sfddm.run"] == OURS and version.description


def test_artifacts_go_through_the_server_and_no_clone_needs_its_keys(address: tuple[str, str]) -> None:
    import boto3

    experiment = client(address[1]).get_experiment_by_name("tiny")
    assert experiment.artifact_location.startswith("mlflow-artifacts:")
    keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test", "region_name": "us-east-1"}
    listed = boto3.client("s3", endpoint_url=address[0], **keys).list_objects_v2(Bucket="team")
    names = {Path(entry["Key"]).parts[0] for entry in listed["Contents"]}
    assert names == {"mlflow", "dvc"}


@pytest.mark.parametrize("down", [True, False], ids=["down", "refusing"])
def test_a_server_that_is_down_or_refuses_leaves_the_registry_as_it_was(
    clones: tuple[Project, Project], address: tuple[str, str], down: bool
) -> None:
    """It answers with 403 to a name that it wasn't told of."""
    other = "http://127.0.0.1:9" if down else address[1].replace("127.0.0.1", "localhost")
    for command in (("sfddm", "promote", OURS, "--to", "staging"), ("python", "-m", "stages.track", "tiny")):
        output = clones[1].run(*command, code=2, MLFLOW_TRACKING_URI=other)
        assert "refused, or does not answer" in output and ("403" in output) != down and "Traceback" not in output
    assert set(client(address[1]).get_registered_model("sfddm-tiny").aliases) == {"champion"}


def test_keys_that_are_missing_are_said_and_nothing_is_half_there(clones: tuple[Project, Project]) -> None:
    """DVC's own words: it is DVC that reaches the store."""
    second = clones[1]
    shutil.rmtree(second.folder / ".dvc/cache")
    shutil.rmtree(second.folder / "runs")
    without = dict.fromkeys(KEYS, "") | {"AWS_EC2_METADATA_DISABLED": "true"}
    output = second.run("dvc", "pull", "teacher@tiny", code=1, **without)
    assert "credentials" in output.lower()
    assert not (second.folder / "runs/tiny/teacher").exists()
