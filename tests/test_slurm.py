"""Stages that queue themselves with SLURM: a real one, where it is installed."""

import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from sfddm.runtime.files import digest_folder
from tests import slurm
from tests.project import BIN, Project
from tests.slurm import Cluster, cluster, wait_until

pytestmark = pytest.mark.process
STAGE = ("python", "-m", "stages.reference", "tiny")
needs_slurm = pytest.mark.skipif(bool(slurm.missing()), reason=slurm.missing())


def test_without_slurm_a_stage_says_so(project: Project) -> None:
    said = project.run(*STAGE, code=2, SFDDM_SLURM="", PATH=str(BIN))
    assert "SFDDM_SLURM is set, and there is no sbatch here" in said


@pytest.fixture(scope="module")
def queue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with cluster(tmp_path_factory.mktemp("slurm")) as made:
        yield made


@needs_slurm
def test_a_stage_runs_as_a_job_and_writes_what_it_writes_here(project: Project, queue: Cluster) -> None:
    folder = project.folder / "runs/tiny/reference"
    before = digest_folder(folder)
    shutil.rmtree(folder)
    said = project.run(*STAGE, SFDDM_SLURM="--nodes=1", **queue.environment)
    assert "SLURM job 1 is queued" in said
    assert digest_folder(folder) == before


@needs_slurm
def test_what_slurm_refuses_is_told(project: Project, queue: Cluster) -> None:
    said = project.run(*STAGE, code=2, SFDDM_SLURM="--partition=other", **queue.environment)
    assert "sbatch refused" in said and "invalid partition" in said


@needs_slurm
def test_a_job_that_slurm_ends_is_told_and_ctrl_c_cancels_it(project: Project, queue: Cluster) -> None:
    held = {"SFDDM_SLURM": "--hold", **queue.environment}
    stage = project.start(*STAGE, **held)
    queue.run("scancel", queue.job("PENDING"))
    said, _ = stage.communicate(timeout=60)
    assert stage.returncode == 2
    assert "ended as CANCELLED" in said and "goes on from the last checkpoint" in said
    stage = project.start(*STAGE, **held)
    queue.job("PENDING")
    stage.send_signal(signal.SIGINT)
    said, _ = stage.communicate(timeout=60)
    assert stage.returncode == 130 and "was cancelled" in said
    assert queue.run("squeue", "--noheader") == ""


@needs_slurm
def test_ctrl_c_while_a_job_is_being_queued_cancels_it(project: Project, queue: Cluster, tmp_path: Path) -> None:
    """An sbatch that takes its time, and then is SLURM's own."""
    path = queue.environment["PATH"]
    (tmp_path / "sbatch").write_text(
        f'#!/bin/sh\ntouch {tmp_path}/asked\nsleep 2\nexec {shutil.which("sbatch", path=path)} "$@"\n'
    )
    (tmp_path / "sbatch").chmod(0o755)
    slow = {**queue.environment, "SFDDM_SLURM": "--hold", "PATH": f"{tmp_path}:{path}"}
    stage = project.start(*STAGE, **slow)
    wait_until((tmp_path / "asked").exists, 60)
    stage.send_signal(signal.SIGINT)
    said, _ = stage.communicate(timeout=60)
    assert stage.returncode == 130 and "was cancelled" in said
    assert queue.run("squeue", "--noheader") == ""
