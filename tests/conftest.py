"""What tests share: the environment they run in, what markers say of them, and one small experiment's parts."""

import os
import shutil
import sys
from collections.abc import Callable, Generator, Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from filelock import FileLock

from tests.project import CHAMPION, LEAVES, OURS, WHO, Project, commit

if TYPE_CHECKING:
    from playwright.sync_api import Browser

    from tests.experiment import Experiment

# Before torch is imported: tests run beside each other and beside DVC's stages.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("DO_NOT_TRACK", "1")
# A follower imports MLflow, which takes longer than the trainings of most tests: those that are about it turn it on.
os.environ["SFDDM_LIVE_CURVES"] = "off"
for name in ("MLFLOW_TRACKING_URI", "SFDDM_DEVICE", "SFDDM_SCRATCH", "DVC_ROOT", "DVC_STAGE"):
    os.environ.pop(name, None)

IMPLIED = {"original": "pipeline", "browser": "browser"}
"""Fixtures, and the marker of all tests that use them."""
SLOW = ("python", "sfddm", "dvc", "mlflow")
"""How names of programs begin whose start takes seconds."""
QUIET: ContextVar[bool] = ContextVar("QUIET", default=False)
"""Whether a test runs that starts no process."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what fixtures imply, and put files first that take long, so that no worker ends long after the others.

    Those that need the pipeline and those that just start processes alternate: one worker makes the pipeline's results,
    and another has something else to do.
    """
    kinds: dict[str, list[Path]] = {"pipeline": [], "process": []}
    for item in items:
        implied = [IMPLIED[name] for name in item.fixturenames if name in IMPLIED]  # type: ignore[attr-defined]
        for marker in [*implied, "process"] if implied or item.get_closest_marker("prove") else []:
            item.add_marker(marker)
        for kind, paths in kinds.items():
            if item.get_closest_marker(kind) and item.path not in paths:
                paths.append(item.path)
    order = {path: number for kind in ("process", "pipeline") for number, path in enumerate(kinds[kind])}
    last = len(items)  # a list has no length while it is sorted
    items.sort(key=lambda item: order.get(item.path, last))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    QUIET.set(item.get_closest_marker("process") is None)
    try:
        return (yield)
    finally:
        QUIET.set(False)


def _hear(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "subprocess.Popen" and QUIET.get() and Path(os.fsdecode(arguments[0])).name.startswith(SLOW):
        raise AssertionError(
            f"the test starts {arguments[1]}: mark it with `process`, so that `make check` leaves it out"
        )


sys.addaudithook(_hear)


def _once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """A folder that is made by the first worker that asks for it; the others wait."""
    own = factory.getbasetemp()
    folder = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / name
    whole = folder.with_suffix(".whole")
    with FileLock(folder.with_suffix(".lock")):
        if not whole.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            make(folder)
            whole.touch()
    return folder


@pytest.fixture(scope="session")
def original(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A clone in which the whole pipeline of tiny has run, MLflow included: all workers read it, none changes it."""

    def make(folder: Path) -> None:
        made = Project(folder)
        made.run("dvc", "repro", *LEAVES, SFDDM_LIVE_CURVES="on")

    return Project.at(_once(tmp_path_factory, "original", make))


@pytest.fixture(scope="session")
def project(original: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A copy of it, without MLflow, for one worker alone; tests leave it as they found it."""
    return original.copy(tmp_path_factory.mktemp("project") / "clone")


@pytest.fixture(scope="module")
def released(original: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A copy in a git repository, whose champion was promoted after what the first try said was typed."""
    made = original.copy(tmp_path_factory.mktemp("released") / "clone")
    commit(made, ".", ":!dvc.lock")
    made.run("sfddm", "track")
    refused = made.run("sfddm", "promote", OURS, code=2)
    typed = [line.strip() for line in refused.splitlines() if line.startswith("  git ")]
    assert typed[0] == "git add dvc.lock"
    assert not (made.folder / "promotions.json").exists()
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
