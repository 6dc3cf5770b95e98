"""`sfddm new`: every way to begin an experiment gives a valid spec, which is part of the pipeline at once."""

import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sfddm.pipeline.params import CODE, PARAMS, active, expand
from sfddm.spec.data import Folder
from sfddm.spec.evaluation import Classifier, EfficientNet, PixelValues
from sfddm.spec.experiment import Spec
from sfddm.spec.read import load_spec, parse_spec, spec_names
from sfddm.spec.starter import FEW, PER_FEATURE, folder_of, starter
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
    draw(tmp_path / "photos", 34)
    assert sfddm(monkeypatch, "new", "mine", "--images", str(tmp_path / "photos")) == 0
    printed = capsys.readouterr().out
    assert "scratch/datasets/mine: a link to" in printed
    assert "34 images: 20 are held out" in printed and "pixels averaged to 1x1 (3 features)" in printed
    assert "warning: 34 images are too few" in printed and "the other 14 by heart" in printed
    assert Path("scratch/datasets/mine").resolve() == tmp_path / "photos"
    spec = load_spec("mine")
    data = spec.data
    assert (data.kind, data.shape, data.labelled, data.held_out) == ("folder", (3, 16, 16), False, 20)
    assert isinstance(spec.teacher.source, Trained)
    assert spec.evaluation.scorers == {"pixels": PixelValues(kind="pixels", size=1)}
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
        32,
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
        (("mine", "--images", "{dots}"), "dots/0.png has 4 pixels on a side, and at least 8 are needed"),
        (("mine", "--images", "{few}"), "few has 20 images: distances are measured to at least 20"),
        (("mine", "--images", "params.yaml"), "params.yaml is a file, and images are taken from folders alone."),
        (("mine", "--images", "{dots}", "--from", "tiny"), "leave out --images"),
        (("gallery", "--images", "{photos}"), "scratch/datasets/gallery is there already and is not"),
    ],
)
def test_what_can_not_be_begun_changes_nothing(
    specs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...], words: str,
) -> None:  # fmt: skip
    draw(tmp_path / "dots", 2, side=4)
    draw(tmp_path / "photos", 21)
    draw(tmp_path / "few", 20)
    Path("scratch/datasets/gallery").mkdir(parents=True)
    before = PARAMS.read_text()
    folders = {name: str(tmp_path / name) for name in ("dots", "few", "photos")}
    assert sfddm(monkeypatch, "new", *(argument.format(**folders) for argument in arguments)) == 2
    assert words in capsys.readouterr().err
    assert spec_names() == ["tiny"] and PARAMS.read_text() == before


def begun(size: int, images: int, channels: int = 3, labelled: bool = False) -> Spec:
    """The spec that a folder of so many images begins with."""
    data = folder_of("own", channels, size, labelled, images)
    return parse_spec(starter("own", data, images, None, large=False), "own.yaml")


@pytest.mark.parametrize("labelled", [False, True], ids=["flat", "classes"])
@pytest.mark.parametrize("images", [100, 300, 400, 2500, 16_000])
def test_scorers_have_no_more_features_than_the_held_out_images_carry(images: int, labelled: bool) -> None:
    spec = begun(16, images, labelled=labelled)
    assert isinstance(spec.data, Folder)
    for scorer in spec.evaluation.scorers.values():
        if isinstance(scorer, PixelValues):
            features = 3 * (scorer.size or 16) ** 2
        else:
            assert isinstance(scorer, Classifier)
            features = scorer.features
        assert PER_FEATURE * features <= spec.data.held_out <= images / 2


def test_a_network_of_photos_judges_many_images_that_it_can_see(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sfddm.spec.starter.find_spec", lambda _: "the package is there")
    imagenet = EfficientNet(kind="efficientnet")
    assert imagenet in begun(32, 30_000).evaluation.scorers.values()
    assert imagenet not in begun(32, 20_000).evaluation.scorers.values()
    assert imagenet not in begun(16, 30_000).evaluation.scorers.values()


def test_few_images_begin_with_a_short_run() -> None:
    short, long = begun(16, FEW - 1), begun(16, FEW)
    assert 3 * cost(short) < cost(long)
    assert 3 * short.evaluation.samples < long.evaluation.samples


def cost(spec: Spec) -> int:
    """What the students of a spec cost."""
    teacher = spec.teacher
    return sum(
        student.cost(spec.levels(name), teacher.noise_schedule, teacher.timesteps).total
        for name, student in spec.students.items()
    )


def test_the_rows_of_the_readme_can_be_added() -> None:
    data = folder_of("own", 3, 16, labelled=False, images=300)
    text = starter("own", data, 300, None, large=False)
    (rows,) = re.findall(r"```yaml\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    spec = parse_spec(text.replace("\nevaluation:\n", f"{rows}\nevaluation:\n"), "own.yaml")
    assert {len(spec.levels(name)) for name in ("ours-t4", "ours-t3", "ours-t2", "ours-t1")} == {4, 3, 2, 1}
    assert len(spec.levels("angle-t3")) == 3
    assert spec.registry.students == ("ours-t4", "ours-t2", "ours-t1")


def test_an_npz_is_unpacked_by_the_command_that_is_named(
    specs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    images = np.random.default_rng(0).integers(0, 256, (40, 3, 8, 8)).astype(np.uint8)
    np.savez("real.npz", images=images)
    assert sfddm(monkeypatch, "new", "mine", "--images", "real.npz") == 2
    command = shlex.split(capsys.readouterr().err.splitlines()[-1])
    assert command[:2] == ["python", "-c"]
    exec(command[2], {})
    with Image.open("images/000039.png") as last:
        assert np.array_equal(np.asarray(last), images[39].transpose(1, 2, 0))
    assert sfddm(monkeypatch, "new", "mine", "--images", "images") == 0


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
