"""`sfddm clean`: what it offers, what it deletes, and what it leaves."""

import re
from pathlib import Path

import pytest

from sfddm.pipeline.cleaning import PARTS
from sfddm.runtime.locks import locked
from tests.project import ROOT
from tests.typed import sfddm


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SFDDM_SCRATCH", "scratch")
    for name in ("trajectories/a/states.npy", "checkpoints/b/1", "datasets/photos/1.png", "curves/c.jsonl"):
        (tmp_path / "scratch" / name).parent.mkdir(parents=True)
        (tmp_path / "scratch" / name).write_bytes(bytes(2**20))
    return tmp_path


def kept(here: Path) -> set[str]:
    return {file.relative_to(here / "scratch").parts[0] for file in (here / "scratch").rglob("*") if file.is_file()}


def test_nothing_is_deleted_without_being_asked_for(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sfddm(monkeypatch, "clean") == 0
    said = capsys.readouterr().out
    assert "trajectories" in said and "datasets" not in said and "`sfddm clean --yes` frees 3.0 MiB" in said
    assert kept(here) == {"trajectories", "checkpoints", "datasets", "curves"}
    assert sfddm(monkeypatch, "clean", "curves", "--yes") == 0
    assert "1.0 MiB deleted" in capsys.readouterr().out
    assert kept(here) == {"trajectories", "checkpoints", "datasets"}
    assert sfddm(monkeypatch, "clean", "--yes") == 0
    assert kept(here) == {"datasets"}
    assert sfddm(monkeypatch, "clean", "--yes") == 0
    assert "nothing to delete" in capsys.readouterr().out


def test_what_runs_keeps_all(here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with locked(here / "scratch/locks/stages.distill-digits.lock"):
        assert sfddm(monkeypatch, "clean", "--yes") == 2
    assert "is doing the same" in capsys.readouterr().err and "trajectories" in kept(here)
    (here / ".dvc/tmp").mkdir(parents=True)
    (here / ".dvc/tmp/rwlock").write_text('{"/a": {"write": {"pid": 1, "cmd": "dvc repro"}}}')
    assert sfddm(monkeypatch, "clean", "--yes") == 2
    assert "DVC is at work here" in capsys.readouterr().err and "trajectories" in kept(here)
    assert sfddm(monkeypatch, "clean", "photos") == 2
    assert "nothing here is called 'photos'" in capsys.readouterr().err


def test_every_folder_in_scratch_that_the_code_names_can_be_deleted_or_is_meant_to_stay() -> None:
    named = {
        name
        for path in (ROOT / "sfddm").rglob("*.py")
        for name in re.findall(r'scratch\(\) / "(\w+)"', path.read_text())
    }
    assert named and named <= {*PARTS, "locks", "datasets"}, "sfddm/pipeline/cleaning.py lists them"
