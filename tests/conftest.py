"""What tests share: the environment they run in, and one small experiment's parts."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.project import CHAMPION, LEAVES, OURS, WHO, Project, commit

if TYPE_CHECKING:
    from playwright.sync_api import Browser

    from tests.experiment import Experiment

# Before torch is imported: tests run beside each other and beside DVC's stages.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("DO_NOT_TRACK", "1")
for name in ("MLFLOW_TRACKING_URI", "SFDDM_DEVICE", "SFDDM_SCRATCH", "DVC_ROOT", "DVC_STAGE"):
    os.environ.pop(name, None)


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A clone in which the whole pipeline of tiny has run; tests leave it as they found it."""
    made = Project(tmp_path_factory.mktemp("clone"))
    made.run("dvc", "repro", *LEAVES)
    return made


@pytest.fixture(scope="session")
def released(project: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A copy in a git repository, whose champion was promoted after what the first try said was typed."""
    made = project.copy(tmp_path_factory.mktemp("released") / "clone")
    made.run("dvc", "checkout", "--force")  # tests that run stages by hand leave other times
    commit(made, ".", ":!dvc.lock")
    made.run("sfddm", "track")
    refused = made.run("sfddm", "promote", OURS, code=2)
    typed = [line.strip() for line in refused.splitlines() if line.startswith("  git ")]
    assert typed[0] == "git add dvc.lock" and not (made.folder / "promotions.json").exists()
    for line in typed:
        made.run("sh", "-c", line, **WHO)
    assert f"{CHAMPION} is now version 1" in made.run("sfddm", "promote", OURS)
    commit(made, "promotions.json")
    return made


@pytest.fixture(scope="session")
def browser() -> "Iterator[Browser]":
    """A real Chromium."""
    from tests.browser import chromium

    yield from chromium()


@pytest.fixture
def experiment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> "Experiment":
    """A spec without students yet, in a folder of its own."""
    from tests.experiment import Experiment

    monkeypatch.chdir(tmp_path)
    return Experiment()
