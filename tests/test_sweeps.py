"""DVC's experiments over number of steps and loss weights, in the workspace and from its queue: all compare."""

import json
import shutil
from pathlib import Path
from urllib.parse import unquote

import pytest

from tests.processes import wait_for
from tests.project import Project, commit
from tests.test_security import free_port, stop, wait_until_it_answers

pytestmark = pytest.mark.pipeline
STUDENT = "specs/tiny.yaml:students.ours-t4"


@pytest.fixture
def committed(project: Project, tmp_path: Path) -> Project:
    """A clone with the pipeline's outputs, its lock file committed: DVC's experiments start from a commit."""
    (tmp_path / "clone").mkdir()
    made = Project(tmp_path / "clone")
    for name in ("runs", "reports", ".dvc/cache"):
        shutil.copytree(project.folder / name, made.folder / name, symlinks=True)
    shutil.copy(project.folder / "dvc.lock", made.folder / "dvc.lock")
    commit(made, ".")
    made.run("python", "-m", "stages.track", "tiny")
    return made


def test_experiments_are_one_comparison(committed: Project) -> None:
    import mlflow

    committed.run("dvc", "exp", "run", "-S", f"{STUDENT}.index_set.steps=3", "track@tiny")  # in the workspace
    committed.run("git", "checkout", "--quiet", "--", ".")
    committed.run("dvc", "checkout", "--force")
    weights = f"{STUDENT}.method.feature.weight=0.1,0.6"
    committed.run("dvc", "exp", "run", "--queue", "-S", f"{STUDENT}.index_set.steps=2", "-S", weights, "track@tiny")
    committed.run("dvc", "queue", "start", "-j", "1")
    status = wait_for(lambda: finished(committed), "both experiments to end")
    assert "Failed" not in status, committed.run("dvc", "queue", "status")
    uri = f"sqlite:///{committed.folder / 'mlflow.db'}"
    client = mlflow.MlflowClient(uri, uri)
    found = client.search_runs(["1"], "tags.`sfddm.experiment` != '' and tags.`sfddm.content_key` != ''")
    params = {(run.data.params["NFE"], run.data.params["Weight.feature"]) for run in found}
    assert params == {("3", "0.3"), ("2", "0.1"), ("2", "0.6")}
    names = {run.data.tags["sfddm.experiment"] for run in found}
    assert len(names) == 3 and all(name in committed.run("dvc", "exp", "list", "--name-only") for name in names)
    link = printed(committed)["sweeps"]
    compared = set(json.loads(unquote(link.partition("runs=")[2].partition("&")[0])))
    tracked = client.search_runs(["1"], "tags.`sfddm.student` != '' and tags.`sfddm.content_key` != ''")
    assert compared == {run.info.run_id for run in tracked} and len(compared) == 5


def finished(project: Project) -> str | None:
    status = project.run("dvc", "queue", "status")
    return None if "Running" in status or "Queued" in status else status


def printed(project: Project) -> dict[str, str]:
    """The links that `sfddm ui` prints."""
    port = free_port()
    process = project.start("sfddm", "ui", "tiny", "--port", str(port))
    try:
        wait_until_it_answers(process, port)
    finally:
        output = stop(process)
    lines = [line.partition(": ") for line in output.splitlines() if ": http://127.0.0.1" in line]
    return {name: link for name, _, link in lines}
