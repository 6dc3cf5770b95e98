"""`sfddm new`: every way to begin an experiment gives a valid spec, which is part of the pipeline at once."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sfddm.pipeline.params import CODE, PARAMS, active, expand
from sfddm.spec.read import load_spec, spec_names
from sfddm.spec.teacher import Trained
from tests.parts import TINY, only_spec
from tests.project import ROOT
from tests.typed import sfddm

EXAMPLE = "digits-folds"


@pytest.fixture
def specs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder specs of a project whose one active spec is tiny, and which has two examples."""
    project = tmp_path / "project"
    project.mkdir()
    only_spec(project)
    (project / "specs/gallery").mkdir()
    for name in (EXAMPLE, "cifar10"):
        shutil.copy(ROOT / f"specs/gallery/{name}.yaml", project / "specs/gallery")
    monkeypatch.chdir(project)
    monkeypatch.delenv("SFDDM_DATA_ROOT", raising=False)
    return project / "specs"


def draw(folder: Path, count: int, mode: str = "RGB", side: int = 20) -> None:
    """Images without a meaning."""
    folder.mkdir(parents=True)
    for number in range(count):
        pixels = np.full((side, side + 3, 3), number, dtype=np.uint8)
        Image.fromarray(pixels).convert(mode).save(folder / f"{number}.png")


def test_an_example_is_copied_as_it_is_and_listed(
    specs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sfddm(monkeypatch, "new", EXAMPLE) == 0
    printed = capsys.readouterr().out
    assert f"sfddm run {EXAMPLE}" in printed and "params.yaml: written anew" in printed
    assert spec_names() == [EXAMPLE, "tiny"]
    assert PARAMS.read_text() == expand(active()[0])
    assert "progressive" in CODE.read_text(), "tiny has no student of that method"
    first, *rest = (specs / f"{EXAMPLE}.yaml").read_text().splitlines()
    assert first.endswith("=schema.json"), "the schema is beside it now"
    assert rest == (specs / "gallery" / f"{EXAMPLE}.yaml").read_text().splitlines()[1:]


@pytest.mark.parametrize("origin", ["tiny", "cifar10"])
def test_a_copy_has_a_name_and_a_model_of_its_own(specs: Path, monkeypatch: pytest.MonkeyPatch, origin: str) -> None:
    folder = specs if origin == "tiny" else specs / "gallery"
    assert sfddm(monkeypatch, "new", "mine", "--from", origin) == 0
    copied, before = (specs / "mine.yaml").read_text().splitlines(), (folder / f"{origin}.yaml").read_text()
    assert copied[0].startswith("# yaml-language-server") and copied[1] == f"# Begun from {origin} by `sfddm new`."
    changed = {"name: mine", "  model: sfddm-mine"}
    assert [line for line in copied[2:] if line not in before.splitlines()] == sorted(changed, reverse=True)
    spec = load_spec("mine")
    assert (spec.name, spec.registry.model) == ("mine", "sfddm-mine")
    assert spec.students == load_spec(str(folder / f"{origin}.yaml")).students


def test_a_folder_without_classes_gets_scorers_that_need_none(
    specs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    draw(tmp_path / "photos", 30)
    assert sfddm(monkeypatch, "new", "mine", "--images", str(tmp_path / "photos")) == 0
    assert "scratch/datasets/mine: a link to" in capsys.readouterr().out
    assert Path("scratch/datasets/mine").resolve() == tmp_path / "photos"
    spec = load_spec("mine")
    data = spec.data
    assert (data.kind, data.shape, data.labelled, data.held_out) == ("folder", (3, 16, 16), False, 20)
    assert isinstance(spec.teacher.source, Trained)
    assert {scorer.kind for scorer in spec.evaluation.scorers.values()} <= {"efficientnet", "pixels"}
    assert "pixels" in spec.evaluation.scorers
    assert "mine-ours-t4-s0" in PARAMS.read_text()


def test_a_folder_of_classes_where_data_sets_are_is_judged_by_classifiers(
    specs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SFDDM_DATA_ROOT", str(tmp_path / "sets"))
    for name in ("cats", "dogs"):
        draw(tmp_path / "sets/small/pets" / name, 60, "L", side=9)
    assert sfddm(monkeypatch, "new", "mine", "--images", str(tmp_path / "sets/small/pets")) == 0
    spec = load_spec("mine")
    assert (spec.data.path, spec.data.shape, spec.data.labelled, spec.data.held_out) == (
        "small/pets",
        (1, 8, 8),
        True,
        24,
    )
    assert [scorer.kind for scorer in spec.evaluation.scorers.values()] == ["classifier", "classifier", "pixels"]
    assert not list((tmp_path / "sets").glob("mine"))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("mine", "--from", "digits-fold"), "no spec is called 'digits-fold', did you mean 'digits-folds'? There are"),
        (("mine", "--from", "xyz"), "no spec is called 'xyz'. There are cifar10, digits-folds, tiny."),
        (("mine", "--from", "../tiny"), "no spec is called '../tiny'"),
        (("../mine",), "the name of a spec"),
        (("tiny",), "specs/tiny.yaml is there already"),
        (("mine", "--images", "none"), "none is not a folder"),
        (("mine", "--images", "specs"), "specs has no images"),
        (("mine", "--images", "{dots}"), "has 4 pixels on a side, and at least 8 are needed"),
        (("mine", "--images", "{dots}", "--from", "tiny"), "leave out --images"),
        (("gallery", "--images", "{photos}"), "scratch/datasets/gallery is there already and is not"),
    ],
)
def test_what_can_not_be_begun_changes_nothing(
    specs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...], words: str,
) -> None:  # fmt: skip
    draw(tmp_path / "dots", 2, side=4)
    draw(tmp_path / "photos", 2)
    Path("scratch/datasets/gallery").mkdir(parents=True)
    before = PARAMS.read_text()
    folders = {name: str(tmp_path / name) for name in ("dots", "photos")}
    assert sfddm(monkeypatch, "new", *(argument.format(**folders) for argument in arguments)) == 2
    assert words in capsys.readouterr().err
    assert spec_names() == ["tiny"] and PARAMS.read_text() == before


def test_a_faulty_spec_does_not_keep_the_others_out(
    specs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (specs / "tiny.yaml").write_text(TINY.replace("timesteps: 64", "timesteps: none"))
    assert sfddm(monkeypatch, "new", EXAMPLE) == 0
    assert "left out until it is mended: specs/tiny.yaml:" in capsys.readouterr().err
    assert f"  {EXAMPLE}:" in PARAMS.read_text() and "  tiny:" not in PARAMS.read_text()
    (specs / "tiny.yaml").write_text(TINY)
    assert sfddm(monkeypatch, "spec", "check", "tiny") == 0
    assert "params.yaml does not list the runs" in capsys.readouterr().out
    assert sfddm(monkeypatch, "spec", "sync") == 0
    assert "  tiny:" in PARAMS.read_text()
