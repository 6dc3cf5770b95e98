"""DVC's experiments over number of steps and loss weights, in the workspace and from its queue: all compare."""

import json
from typing import TYPE_CHECKING
from urllib.parse import unquote

import pytest

from sfddm.tracking.live import SWEEP
from tests.processes import wait_for
from tests.project import Project, commit
from tests.servers import free_port, printed_links, stop

if TYPE_CHECKING:
    from mlflow.entities import Run

STUDENT = "specs/tiny.yaml:students.ours-t4"


@pytest.fixture(scope="module")
def committed(original: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A clone with the pipeline's outputs, its lock file committed: DVC's experiments start from a commit."""
    made = original.copy(tmp_path_factory.mktemp("committed") / "clone")
    commit(made, ".")
    made.run("python", "-m", "stages.track", "tiny")
    return made


def test_a_queue_of_experiments_is_one_comparison(committed: Project) -> None:
    weights = f"{STUDENT}.method.terms.1.weight=0.1,0.6"
    committed.run("dvc", "exp", "run", "--queue", "-S", f"{STUDENT}.index_set.steps=2", "-S", weights, "track@tiny")
    committed.run("dvc", "queue", "start", "-j", "1")
    status = wait_for(lambda: finished(committed), "both experiments to end", seconds=600, pause=3)
    assert "Failed" not in status, committed.run("dvc", "queue", "status")
    found = [run for run in tracked(committed) if SWEEP in run.data.tags]
    params = {(run.data.params["NFE"], run.data.params["Weight.feature"]) for run in found}
    assert params == {("2", "0.1"), ("2", "0.6")}
    names = {run.data.tags[SWEEP] for run in found}
    assert len(names) == 2 and names <= listed(committed)
    everything = {run.info.run_id for run in tracked(committed)}
    assert compared(printed(committed)["sweeps"]) == everything and len(everything) == 4


def test_an_experiment_in_the_workspace_is_compared_like_those_of_the_queue(committed: Project) -> None:
    before = {run.info.run_id for run in tracked(committed)}
    committed.run("dvc", "exp", "run", "-S", f"{STUDENT}.method.terms.1.weight=0.2", "track@tiny")
    (run,) = [run for run in tracked(committed) if run.info.run_id not in before]
    assert run.data.params["Weight.feature"] == "0.2" and run.data.tags[SWEEP] in listed(committed)
    links = printed(committed)
    assert run.info.run_id in compared(links["sweeps"])
    names = {run.data.tags["sfddm.run"]: run.info.run_id for run in tracked(committed)}
    assert compared(links["comparison"]) == {run.info.run_id, names["tiny-ddim-t4-s0"]}, "the spec as it stands now"


def tracked(project: Project) -> list["Run"]:
    """The runs of students that MLflow has."""
    import mlflow

    uri = f"sqlite:///{project.folder / 'mlflow.db'}"
    client = mlflow.MlflowClient(uri, uri)
    return list(client.search_runs(["1"], "tags.`sfddm.student` != '' and tags.`sfddm.content_key` != ''"))


def listed(project: Project) -> set[str]:
    """The names of DVC's experiments."""
    return set(project.run("dvc", "exp", "list", "--name-only").split())


def compared(link: str) -> set[str]:
    """The runs that a page compares."""
    return set(json.loads(unquote(link.partition("runs=")[2].partition("&")[0])))


def finished(project: Project) -> str | None:
    status = project.run("dvc", "queue", "status")
    return None if "Running" in status or "Queued" in status else status


def printed(project: Project) -> dict[str, str]:
    """The links that `sfddm ui` prints."""
    process = project.start("sfddm", "ui", "tiny", "--port", str(free_port()))
    try:
        return printed_links(process)
    finally:
        stop(process)
