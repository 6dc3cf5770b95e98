"""The functions of `import sfddm`: a teacher, a student, images and figures, in a folder that has nothing else."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from attrs import evolve

import sfddm
from sfddm.api import Model
from sfddm.errors import SpecError, UserError
from sfddm.runtime.fingerprint import fingerprint
from sfddm.spec.evaluation import PixelValues
from sfddm.spec.index_set import Uniform
from sfddm.spec.students import SFDDM, Student
from sfddm.spec.teacher import Trained
from tests.parts import FEW, METHODS, SOURCES, still_classifier, tiny
from tests.project import ROOT

TEACHER = tiny().teacher


def digits(count: int, first: int = 0) -> np.ndarray:
    return np.random.default_rng(first).integers(0, 256, (count, 1, 8, 8), dtype=np.uint8)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SFDDM_SCRATCH", raising=False)
    monkeypatch.setenv("SFDDM_DEVICE", "cpu")
    return tmp_path


def teacher(here: Path) -> Model:
    assert isinstance(TEACHER.source, Trained)
    few = evolve(TEACHER, source=evolve(TEACHER.source, training=FEW))
    return sfddm.train_teacher(digits(100), "teacher", few)


def few(model: Model, steps: int) -> Student:
    made = sfddm.recipe(model, steps)
    assert isinstance(made.method, SFDDM)
    return evolve(made, method=evolve(made.method, sources=SOURCES["trajectory"], training=FEW))


def test_from_images_to_figures(here: Path) -> None:
    model = teacher(here)
    assert len(model.sampler.levels) == 32 and model.sample(3).shape == (3, 1, 8, 8)
    assert str(model) == "teacher: predicts v, cosine schedule of 64 levels, drawn in 32 steps of dpm-solver"
    student = sfddm.distil(model, 2, "student", student=few(model, 2))
    images = student.sample(5, seed=1)
    assert images.shape == (5, 1, 8, 8) and images.dtype == np.uint8
    assert np.array_equal(sfddm.load("student").sample(3, seed=1), images[:3])
    assert not np.array_equal(student.sample(3, seed=2), images[:3])
    assert student.sampler.levels == (32, 64) and not np.array_equal(student.sample(3, seed=1, steps=4), images[:3])
    found = sfddm.evaluate(student, model, digits(100), digits(60, 1), samples=64)
    assert found["nfe"] == 2 and found["samples"] == 64
    assert found["scorers"]["pixels"]["real_images"] == 60 and found["scorers"]["pixels"]["train_distance"] > 0
    (drawn,) = (here / "scratch" / "references").iterdir()
    written = drawn.stat().st_mtime_ns
    same = sfddm.evaluate(model, model, digits(100), digits(60, 1), samples=64)
    assert same["mse_to_teacher"] == 0
    assert [each.stat().st_mtime_ns for each in drawn.parent.iterdir()] == [written], (
        "the teacher's images are drawn once"
    )
    sfddm.evaluate(model, model, digits(100), digits(60, 1), samples=80)
    assert len(list(drawn.parent.iterdir())) == 2
    with pytest.raises(UserError, match="-1 images: expected 1 or more"):
        student.sample(-1)
    for scorer, said in (
        (still_classifier(), "classifiers are trained by pipelines alone"),
        (PixelValues(kind="pixels", size=5), ""),
    ):
        with pytest.raises((SpecError, UserError), match=f"mine.*{said}"):
            sfddm.evaluate(model, model, digits(100), digits(60, 1), {"mine": scorer}, samples=64)
    assert {path.name for path in here.iterdir()} == {"scratch", "teacher", "student"}
    assert list((here / "scratch" / "checkpoints").iterdir()) == []


def test_a_checkpoint_is_of_the_code_of_the_method_and_of_its_terms(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, asked = teacher(here), list[str]()

    def noted(*modules: str) -> str:
        asked.extend(modules)
        return fingerprint(*modules)

    monkeypatch.setattr("sfddm.api.fingerprint", noted)
    sfddm.distil(model, 2, "student", student=few(model, 2))
    terms = ["sfddm.methods.terms.feature", "sfddm.methods.terms.hidden"]
    assert asked == ["sfddm.api", "sfddm.methods.sfddm", *terms]


def test_a_recipe_suits_the_teacher(here: Path) -> None:
    model = teacher(here)
    made = sfddm.recipe(model, 3)
    assert made.index_set == Uniform(kind="uniform", steps=3)
    with pytest.raises(SpecError, match=r"student\.index_set\.steps: 65 steps"):
        sfddm.distil(model, 65, "student")
    with pytest.raises(SpecError, match="2 steps, and 4 are asked for"):
        sfddm.distil(model, 4, "student", student=few(model, 2))
    student = few(model, 2)
    several = evolve(student, method=evolve(student.method, training=evolve(FEW, other_averages={"short": 0.5})))
    with pytest.raises(SpecError, match="other_averages: a model has one average here"):
        sfddm.distil(model, 2, "student", student=several)
    assert not Path("student").exists()


def test_a_student_that_learns_from_images_asks_for_them(here: Path) -> None:
    model = teacher(here)
    made = evolve(few(model, 2), method=evolve(METHODS["sfddm"], sources=SOURCES["data"]))
    with pytest.raises(UserError, match="give `images`"):
        sfddm.distil(model, 2, "student", student=made)
    assert not Path("student").exists()
    sfddm.distil(model, 2, "student", digits(100), made)


def test_what_is_there_is_not_overwritten(here: Path) -> None:
    model = teacher(here)
    Path("mine").mkdir()
    for call in (
        lambda: sfddm.distil(model, 2, "mine"),
        lambda: sfddm.train_teacher(digits(100), "mine", TEACHER),
    ):
        with pytest.raises(UserError, match="mine is there already"):
            call()
    assert list(Path("mine").iterdir()) == []


@pytest.mark.parametrize(
    ("images", "words"),
    [
        (digits(20).astype(np.float32) / 255, "expected uint8"),
        (digits(20)[0], "found a ndarray of 3 dimensions"),
        (digits(20).tolist(), "found a list of 4 dimensions"),
        (digits(20)[:, :, :4], "expected square ones"),
    ],
)
def test_images_of_the_wrong_kind_are_refused(here: Path, images: np.ndarray, words: str) -> None:
    with pytest.raises(UserError, match=words):
        sfddm.train_teacher(images, "teacher")
    assert not Path("teacher").exists()


@pytest.mark.process
def test_nothing_of_dvc_and_mlflow_is_imported_and_commands_import_no_torch() -> None:
    code = "import sys, sfddm; assert 'torch' not in sys.modules; sfddm.distil; print(*sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert not {"mlflow", "dvc", "typer", "matplotlib"} & set(found.stdout.split())


@pytest.mark.process
def test_an_evaluation_imports_one_network_and_one_metric_of_large_packages_and_leaves_the_rest_to_be_imported() -> (
    None
):
    code = """
import sys, sfddm.evaluation.evaluate, torch
from sfddm.evaluation.similarity import structural_similarity
from sfddm.networks.unet import UNet2DModel as ours
images = torch.rand(2, 1, 8, 8)
similarity = structural_similarity(images, -images)
early = {"torch._dynamo", "diffusers.models.transformers", "diffusers.models.unets.unet_3d_condition"}
assert not (early | {"torchmetrics.functional.audio", "torchvision", "scipy.signal"}) & set(sys.modules)
import torchmetrics
from torchmetrics.image import StructuralSimilarityIndexMeasure
measure = StructuralSimilarityIndexMeasure(sigma=1.5, reduction="none", data_range=1.0)
assert torch.equal(measure((images + 1) / 2, (1 - images) / 2), similarity)
from diffusers import FluxTransformer2DModel, UNet2DModel, UNet3DConditionModel
from diffusers.models.transformers import DualTransformer2DModel
assert UNet2DModel is ours
assert torch.compile(torch.nn.Identity(), backend="eager")(torch.ones(2)).sum() == 2
"""
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
