"""One training on two nodes of a real SLURM, queued again three times: the same bytes as two processes make here."""

from pathlib import Path

import pytest

from sfddm.runtime.files import digest_folder
from tests import slurm
from tests.project import Project
from tests.slurm import cluster

pytestmark = [pytest.mark.prove, pytest.mark.skipif(bool(slurm.missing()), reason=slurm.missing())]
STAGE = ("python", "-m", "stages.distill", "tiny", "ours-t4", "0")
TIMES = 3


def test_a_training_on_two_nodes_goes_on_after_preemptions(tmp_path: Path) -> None:
    (tmp_path / "clone").mkdir()
    project, student = Project(tmp_path / "clone"), tmp_path / "clone/runs/tiny/students/ours-t4-s0"
    (project.folder / "specs/tiny.yaml").write_text(
        (project.folder / "specs/tiny.yaml").read_text().replace("iterations: 40", "iterations: 600")
    )
    project.run("sfddm", "spec", "sync")
    for stage in ("data", "teacher"):
        project.run("python", "-m", f"stages.{stage}", "tiny")
    project.run(*STAGE, SFDDM_NPROC="2")
    wanted = digest_folder(student)
    (tmp_path / "slurm").mkdir()
    with cluster(tmp_path / "slurm") as queue:
        stage = project.start(*STAGE, SFDDM_SLURM="--nodes=2", **queue.environment)
        for _ in range(TIMES):
            job = queue.job("RUNNING", 300)
            seen = len(said(project))
            slurm.wait_until(lambda: "loss" in said(project)[seen:], 120)  # noqa: B023
            queue.run("scontrol", "requeue", job)
            queue.job("PENDING")
            queue.run("scontrol", "update", f"JobId={job}", "StartTime=now")
        output, _ = stage.communicate(timeout=600)
    assert stage.returncode == 0, output
    assert output.count("going on after iteration") == TIMES
    assert digest_folder(student) == wanted


def said(project: Project) -> str:
    return "".join(log.read_text(errors="replace") for log in (project.folder / "scratch/logs").glob("slurm-*.log"))
