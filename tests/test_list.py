"""`sfddm list`: what is made, out of date or missing, without DVC and without reading what was made."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sfddm.cli import main
from sfddm.cli.models import student_folder
from sfddm.errors import SpecError, UserError
from sfddm.pipeline.lock import LOCK, stages_of
from sfddm.pipeline.params import sync
from sfddm.pipeline.promotions import History, Promotion, write_history
from sfddm.spec.read import load_spec
from tests import forks
from tests.parts import TINY, only_spec

WITH_A_SEED = TINY.replace("seeds: [0]\n\nevaluation", "seeds: [0, 5]\n\nevaluation")
"""tiny with a run more."""
Entries = dict[str, dict[str, Any]]


@pytest.fixture
def locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Entries:
    """The entries of a dvc.lock by which both runs of tiny are made, and files for all of their outputs."""
    only_spec(tmp_path)
    monkeypatch.chdir(tmp_path)
    spec = load_spec("tiny")
    entries: Entries = {}
    for run in spec.runs():
        for name in stages_of(spec, run):
            out = Path("runs", name)
            out.parent.mkdir(exist_ok=True)
            out.touch()
            entries[name] = {"cmd": "x", "outs": [{"path": out.as_posix(), "md5": "0"}]}
    folder = Path("runs/evaluate@tiny-ours-t4-s0")
    folder.unlink()
    folder.mkdir()
    for file in ("a", "b"):
        (folder / file).touch()
    entries[folder.name]["outs"][0] |= {"md5": "0.dir", "nfiles": 2}
    entries["teacher@tiny"]["params"] = {"specs/tiny.yaml": {"teacher.prediction": "v"}}
    entries["reference@tiny"]["deps"] = [{"path": "runs/teacher@tiny", "md5": "0"}]
    return entries


def listed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[str, str]:
    """What the command prints, without its layout, and what it says beside that."""
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr("sys.argv", ["sfddm", "list", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code
    printed = capsys.readouterr()
    return " ".join(printed.out.split()), printed.err


def write(entries: Entries) -> None:
    """As DVC has it: a block for each stage."""
    blocks = (f"  {name}:\n    {json.dumps(entry)}\n" for name, entry in entries.items())
    LOCK.write_text(f"schema: '2.0'\nstages:\n{''.join(blocks)}")


CHANGES: dict[str, tuple[Callable[[Entries], object], str, str]] = {
    "nothing": (lambda _: None, "tiny 2 2 0 0", "made"),
    "no lock": (lambda _: LOCK.unlink(), "tiny 2 0 0 2", "not made from data@tiny on"),
    "a run": (
        lambda entries: (entries.pop("evaluate@tiny-ours-t4-s0"), write(entries)),
        "tiny 2 1 0 1",
        "not made from evaluate@tiny-ours-t4-s0 on",
    ),
    "an output": (
        lambda _: Path("runs/distill@tiny-ours-t4-s0").unlink(),
        "tiny 2 1 1 0",
        "out of date runs/distill@tiny-ours-t4-s0 is missing",
    ),
    "a file of an output": (
        lambda _: Path("runs/evaluate@tiny-ours-t4-s0/b").unlink(),
        "tiny 2 1 1 0",
        "out of date runs/evaluate@tiny-ours-t4-s0 has 1 of 2 files",
    ),
    "the spec": (
        lambda _: Path("specs/tiny.yaml").write_text(TINY.replace("prediction: v", "prediction: sample")),
        "tiny 2 0 2 0",
        "out of date specs/tiny.yaml: teacher.prediction is not what teacher@tiny was run with",
    ),
    "a teacher that came later": (
        lambda entries: write({**entries, "teacher@tiny": {"outs": [{"path": "runs/teacher@tiny", "md5": "1"}]}}),
        "tiny 2 0 2 0",
        "out of date reference@tiny was run with another runs/teacher@tiny",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", CHANGES)
def test_each_run_is_listed_with_where_it_stands(
    locked: Entries, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], what: str
) -> None:
    change, counts, state = CHANGES[what]
    write(locked)
    change(locked)
    printed, _ = listed(monkeypatch, capsys)
    assert counts in printed
    assert ("`dvc repro report@tiny` makes" in printed) == (state != "made")
    assert f"tiny-ours-t4-s0 {state}" in listed(monkeypatch, capsys, "tiny")[0]


def test_a_faulty_spec_hides_no_other_and_a_forgotten_sync_is_said(
    locked: Entries, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write(locked)
    Path("specs/half.yaml").write_text("name: half\n")
    printed, said = listed(monkeypatch, capsys)
    assert "tiny 2 2 0 0" in printed and "until it is mended: specs/half.yaml:1: missing key 'version'" in said
    assert "does not list the runs" not in said
    Path("specs/half.yaml").write_text(TINY.replace("name: tiny", "name: half"))
    printed, said = listed(monkeypatch, capsys)
    assert "half 2 0 0 2" in printed and "params.yaml does not list the runs of specs/*.yaml" in said
    sync()
    assert listed(monkeypatch, capsys)[1] == ""


def test_a_champion_is_named(
    locked: Entries, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    promotion = Promotion(
        kind="promotion", time="2026-01-01", model="sfddm-tiny", alias="champion", spec="tiny", run="tiny-ours-t4-s0",
        content_key="0", commit="0", figures={}, gates=(),
    )  # fmt: skip
    write_history(History(events=(promotion,)))
    assert "tiny-ours-t4-s0: champion of sfddm-tiny" in listed(monkeypatch, capsys)[0]


def test_a_student_that_dvc_does_not_know_of_is_told_from_one_that_is_not_made(
    locked: Entries, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match="has not been made: run `sfddm run tiny`"):
        student_folder("tiny-ours-t4-s0")
    Path("specs/tiny.yaml").write_text(WITH_A_SEED)
    with pytest.raises(SpecError, match="does not list the runs"):
        student_folder("tiny-ours-t4-s5")


@pytest.mark.process
def test_a_stage_says_that_a_run_is_not_listed(tmp_path: Path) -> None:
    """It goes on: a spec may be edited while its stages run."""
    command = ("python", "-m", "stages.data", "tiny")
    only_spec(tmp_path)
    code, printed = forks.run(tmp_path, command, dict(os.environ))
    assert code == 0 and "note:" not in printed
    (tmp_path / "specs/tiny.yaml").write_text(WITH_A_SEED)
    code, printed = forks.run(tmp_path, command, dict(os.environ))
    assert code == 0 and "note: params.yaml does not list the runs of specs/*.yaml" in printed
