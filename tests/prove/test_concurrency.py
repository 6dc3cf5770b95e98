"""Two `dvc repro` at once, on one spec and on two, and one stage started twice."""

from pathlib import Path

import pytest

from sfddm.runtime.files import digest_folder
from tests.project import LEAVES, Project

pytestmark = pytest.mark.prove


def at_once(project: Project, *targets: tuple[str, ...]) -> None:
    """Reproduce several targets at once; what DVC refuses while another DVC is at it runs again after that."""
    started = [project.start("dvc", "repro", *target) for target in targets]
    refused = []
    for target, process in zip(targets, started, strict=True):
        output, _ = process.communicate(timeout=600)
        if process.returncode:
            assert "is busy" in output or "Unable to acquire lock" in output, output
            refused.append(target)
    assert len(refused) < len(targets)
    for target in refused:
        project.run("dvc", "repro", *target)


def test_two_repros_of_one_spec(project: Project, tmp_path: Path) -> None:
    other = Project(tmp_path)
    at_once(other, LEAVES, LEAVES)
    assert other.hashes() == project.hashes()
    assert other.changed() == set()


def test_two_repros_of_two_specs(project: Project, tmp_path: Path) -> None:
    other = Project(tmp_path)
    text = (tmp_path / "specs/tiny.yaml").read_text()
    (tmp_path / "specs/twin.yaml").write_text(text.replace("name: tiny", "name: twin"))
    other.run("sfddm", "spec", "sync")
    at_once(other, LEAVES, ("track@twin", "report@twin"))
    hashes = other.hashes()
    assert {path: digest for path, digest in hashes.items() if "twin" not in path} == project.hashes()
    assert hashes["runs/twin/teacher"] == hashes["runs/tiny/teacher"]
    assert other.changed() == set()


def test_a_stage_started_twice_runs_one_after_the_other(project: Project) -> None:
    before = digest_folder(project.folder / "runs/tiny/teacher")
    command = ("python", "-m", "stages.teacher", "tiny")
    first, second = (project.start(*command, SFDDM_CHECKPOINT_SECONDS="0") for _ in range(2))
    printed = [process.communicate(timeout=300)[0] for process in (first, second)]
    assert (first.returncode, second.returncode) == (0, 0)
    pids = {first.pid, second.pid}
    assert any(f"process {pid} is making this: waiting for it to end" in text for text in printed for pid in pids)
    assert digest_folder(project.folder / "runs/tiny/teacher") == before
