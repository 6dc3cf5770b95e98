"""A full disk in every stage's writers: exit code 2, a sentence, and the outputs as they were."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from sfddm.runtime.files import digest_folder
from tests.processes import STAGES
from tests.project import Project

pytestmark = pytest.mark.prove
TRAINING = tuple(stage for stage in STAGES if stage.endswith(("convolutional", "teacher tiny", "ours-t4 0")))
PAGE = 4096


def fails(project: Project, stage: str, before: str = "", **environment: str) -> None:
    """Run a stage without room: it ends with 2, and its output is what it was (a report's pages are three files)."""
    kept = digest_folder(project.folder / "runs")
    name, *arguments = stage.split()
    command = f"{before} exec python -m stages.{name} {' '.join(arguments)}"
    output = project.run("bash", "-c", command, code=2, **environment)
    assert "Traceback" not in output and ("could not write" in output or "disk" in output), output
    assert digest_folder(project.folder / "runs") == kept
    assert not list(project.folder.glob("r*/**/*.partial")), output


@pytest.mark.parametrize("stage", STAGES)
def test_no_file_may_grow(project: Project, tmp_path: Path, stage: str) -> None:
    database = f"sqlite:///{tmp_path / 'mlflow.db'}"
    fails(project, stage, "ulimit -f 4;", SFDDM_SCRATCH=str(tmp_path), MLFLOW_TRACKING_URI=database)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of its own; unmounted afterwards."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount a tmpfs")
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", folder], capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"mounting a tmpfs is not permitted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)  # what follows a training may still look for MLflow


def fill(folder: Path, room: int) -> None:
    """Leave so many bytes on a disk."""
    found = os.statvfs(folder)
    (folder / "filler").write_bytes(bytes(found.f_bavail * found.f_frsize - room))


@pytest.mark.parametrize("stage", [stage for stage in STAGES if not stage.startswith(("track", "report"))])
def test_the_disk_of_the_outputs_is_full(project: Project, disk: Path, stage: str) -> None:
    own = project.folder / "runs"
    shutil.copytree(own, disk / "runs")
    fill(disk, PAGE)
    own.rename(project.folder / "kept")
    own.symlink_to(disk / "runs")
    try:
        fails(project, stage)
    finally:
        own.unlink()
        (project.folder / "kept").rename(own)


@pytest.mark.parametrize("stage", TRAINING)
def test_the_disk_of_the_checkpoints_is_full(project: Project, disk: Path, stage: str) -> None:
    for name in ("locks", "curves", "live"):
        (disk / name).mkdir()
    if "distill" in stage:
        if not (project.folder / "scratch/trajectories").exists():
            project.run("python", "-m", "stages.distill", "tiny", "ours-t4", "0")
        shutil.copytree(project.folder / "scratch/trajectories", disk / "trajectories")
    fill(disk, 8 * PAGE)
    fails(
        project, stage, SFDDM_SCRATCH=str(disk), SFDDM_CHECKPOINT_SECONDS="0", MLFLOW_TRACKING_URI="http://127.0.0.1:9"
    )
