"""DVC's experiments over number of steps and loss weights, in the workspace and from its queue: all compare."""

import json
import shutil
from typing import TYPE_CHECKING
from urllib.parse import unquote

import pytest
from ruamel.yaml import YAML

from sfddm.tracking.live import SWEEP
from tests.processes import wait_for
from tests.project import OURS, Project, commit
from tests.registries import client_of, events
from tests.servers import free_port, printed_links, stop

if TYPE_CHECKING:
    from mlflow.entities import Run

STUDENT = "students.ours-t4"
WEIGHT = "{kind: feature, weight: 0.3, state: landing}"


@pytest.fixture(scope="module")
def committed(original: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A clone whose lock file is committed, because DVC's experiments start from a commit; it has no report yet."""
    made = original.copy(tmp_path_factory.mktemp("committed") / "clone")
    shutil.rmtree(made.folder / "reports")
    yaml, lock = YAML(), made.folder / "dvc.lock"
    locked = yaml.load(lock)
    del locked["stages"]["report@tiny"]
    yaml.dump(locked, lock)
    commit(made, ".")
    made.run("python", "-m", "stages.track", "tiny")
    return made


@pytest.mark.prove
def test_a_queue_of_experiments_is_one_comparison(committed: Project) -> None:
    before, spec = description(committed), committed.folder / "specs/tiny.yaml"
    text = spec.read_text()
    fields = f"{STUDENT}.index_set.steps=2", f"{STUDENT}.method.terms.1.weight=0.1,0.6"
    queued = committed.run("sfddm", "sweep", "tiny", *fields)
    assert "2 experiments are queued" in queued and spec.read_text() == text and committed.changed() == {"report@tiny"}
    committed.run("dvc", "queue", "start", "-j", "1")
    status = wait_for(lambda: finished(committed), "both experiments to end", seconds=600, pause=3)
    assert "Failed" not in status, committed.run("dvc", "queue", "status")
    found = [run for run in tracked(committed) if SWEEP in run.data.tags]
    params = {(run.data.params["NFE"], run.data.params["Weight.feature"]) for run in found}
    assert params == {("2", "0.1"), ("2", "0.6")}
    names = {run.data.tags[SWEEP] for run in found}
    assert len(names) == 2 and names <= listed(committed)
    assert {run.info.run_name for run in found} == {f"{OURS} ({name})" for name in names}
    assert "| ours-t4 | 4 |" in before and description(committed) == before
    everything = {run.info.run_id for run in tracked(committed)}
    assert compared(printed(committed)["sweeps"]) == everything and len(everything) == 4


def test_an_experiment_in_the_workspace_is_compared_like_those_of_the_queue(committed: Project) -> None:
    before, spec = {run.info.run_id for run in tracked(committed)}, committed.folder / "specs/tiny.yaml"
    text = spec.read_text()
    assert WEIGHT in text
    spec.write_text(text.replace(WEIGHT, WEIGHT.replace("0.3", "0.2")))
    refused = committed.run("sfddm", "sweep", "tiny", f"{STUDENT}.index_set.steps=2", code=2)
    assert "specs/tiny.yaml: not committed, and experiments start from a commit" in refused
    committed.run("dvc", "exp", "run", "track@tiny")
    (run,) = [run for run in tracked(committed) if run.info.run_id not in before]
    assert run.data.params["Weight.feature"] == "0.2" and run.data.tags[SWEEP] in listed(committed)
    links = printed(committed)
    assert run.info.run_id in compared(links["sweeps"])
    names = {run.data.tags["sfddm.run"]: run.info.run_id for run in tracked(committed)}
    assert compared(links["comparison"]) == {run.info.run_id, names["tiny-ddim-t4-s0"]}, "the spec as it stands now"


def test_an_experiment_is_kept_as_a_branch_or_left_behind(committed: Project) -> None:
    """By the commands of docs/mlflow.md; the test before this one has left its experiment in the workspace."""
    committed.run("git", "restore", "specs", "dvc.lock")
    committed.run("dvc", "checkout", "--with-deps", "track@tiny")
    assert "evaluate@tiny-ours-t4-s0" not in committed.changed()
    committed.run("dvc", "exp", "branch", min(listed(committed)), "kept")
    committed.run("git", "switch", "--quiet", "kept")
    committed.run("dvc", "checkout", "--with-deps", "track@tiny")
    assert "is now version" in committed.run("sfddm", "promote", OURS)
    (event,) = events(committed)
    assert event["commit"] == committed.run("git", "rev-parse", "kept").strip()


def description(project: Project) -> str:
    """What MLflow's page of the spec says above the charts."""
    return str(client_of(project).get_experiment_by_name("tiny").tags["mlflow.note.content"])


def tracked(project: Project) -> list["Run"]:
    """The runs of students that MLflow has."""
    return list(client_of(project).search_runs(["1"], "tags.`sfddm.student` != '' and tags.`sfddm.content_key` != ''"))


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
