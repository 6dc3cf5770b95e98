"""A source tree that can't be written to: the pipeline writes to its outputs and to scratch alone."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.project import LEAVES, Project

pytestmark = pytest.mark.prove
SOURCE = ("bench", "docs", "sfddm", "specs", "stages", "tests")


def read_only(project: Project) -> tuple[str, ...]:
    """What to put before a command so that it finds the source tree read-only."""
    if os.geteuid() != 0:
        for name in SOURCE:
            subprocess.run(["chmod", "-R", "a-w", project.folder / name], check=True)
        return ()
    mounts = "".join(f"mount --bind {name} {name} && mount -o remount,ro,bind {name} && " for name in SOURCE)
    command = ("unshare", "-m", "bash", "-c", f'{mounts} exec "$@"', "bash")
    tried = subprocess.run([*command, "touch", "sfddm/new"], cwd=project.folder, capture_output=True, text=True)
    if "Read-only file system" not in tried.stderr:
        pytest.skip(f"root can't be kept from writing here: {tried.stderr.strip()}")
    return command


def test_the_pipeline_writes_nothing_into_the_source_tree(project: Project, tmp_path: Path) -> None:
    other = Project(tmp_path)
    other.run(*read_only(other), "dvc", "repro", *LEAVES)
    assert other.hashes() == project.hashes()
