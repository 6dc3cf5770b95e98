"""A machine with a GPU and without DVC and MLflow makes the outputs; the desk machine takes them over."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sfddm.runtime.files import digest_folder
from tests.project import LEAVES, Project

ABSENT = (
    "dvc", "mlflow", "scmrepo", "typer", "jinja2", "matplotlib", "scipy", "sklearn", "torchvision", "torch_fidelity",
    "pandas", "sqlalchemy",
)  # fmt: skip
"""What the bare machine lacks. torch and diffusers bring what else is imported; docs/gpu.md lists what to install."""
SITE = f"""
from importlib.machinery import PathFinder
from importlib.metadata import Distribution, PackageNotFoundError

found, described = PathFinder.find_spec, Distribution.from_name
PathFinder.find_spec = lambda name, *more: None if name.split(".")[0] in {ABSENT} else found(name, *more)

def from_name(name):
    if name.replace("-", "_") in {ABSENT}:
        raise PackageNotFoundError(name)
    return described(name)

Distribution.from_name = from_name
"""


STAGES = ("teacher tiny", "scorer tiny convolutional", "scorer tiny pixels", "reference tiny", *(
    f"{stage} tiny {student} 0" for stage in ("distill", "evaluate") for student in ("ddim-t4", "ours-t4")
))  # fmt: skip
BY_HAND = f"""
import runpy, sys

for stage in {STAGES}:
    name, *sys.argv[1:] = stage.split()
    runpy.run_module(f"stages.{{name}}", run_name="__main__", alter_sys=True)
import dvc
"""
"""All stages in one process, which imports torch once; DVC at last, which must fail."""


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone without what the desk machine has, in which tiny was made by hand from the data on."""
    folder, site = tmp_path_factory.mktemp("bare"), tmp_path_factory.mktemp("site")
    made = Project(folder)
    made.run("python", "-m", "stages.data", "tiny")
    (site / "sitecustomize.py").write_text(SITE)
    environment = {**os.environ, "PYTHONPATH": str(site), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", BY_HAND]
    ended = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert ended.stderr.endswith("No module named 'dvc'\n"), ended.stderr
    return folder


@pytest.mark.process
def test_the_desk_machine_takes_over_what_a_bare_machine_made(bare: Path, tmp_path: Path) -> None:
    import mlflow

    desk = Project(tmp_path / "desk")
    shutil.copytree(bare / "runs", desk.folder / "runs")
    before = digest_folder(desk.folder / "runs/tiny/students/ours-t4-s0")
    upstream = [f"evaluate@tiny-{student}-t4-s0" for student in ("ddim", "ours")]
    desk.run("dvc", "commit", "--force", "--with-deps", *upstream)
    assert desk.changed() == set(LEAVES)
    printed = desk.run("dvc", "repro", *LEAVES)
    assert [line for line in printed.splitlines() if line.startswith("Running stage")] == [
        "Running stage 'track@tiny':",
        "Running stage 'report@tiny':",
    ]
    assert digest_folder(desk.folder / "runs/tiny/students/ours-t4-s0") == before
    uri = f"sqlite:///{desk.folder / 'mlflow.db'}"
    versions = mlflow.MlflowClient(uri, uri).search_model_versions("name='sfddm-tiny'")
    assert [version.tags["sfddm.run"] for version in versions] == ["tiny-ours-t4-s0"]


def test_a_bare_machine_makes_the_bytes_of_the_desk_machine(bare: Path, original: Project) -> None:
    for output in ("teacher", "scorers", "reference", "students/ours-t4-s0"):
        assert digest_folder(bare / "runs/tiny" / output) == digest_folder(original.folder / "runs/tiny" / output)
