"""One student's evaluation from stored folders to stored figures, and the reference that it is held against."""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from attrs import evolve, frozen

from sfddm.diffusion.sampler import Sampler
from sfddm.evaluation import evaluate as module
from sfddm.evaluation import reference as reference_module
from sfddm.evaluation.evaluate import evaluate
from sfddm.evaluation.interpolation import strips
from sfddm.evaluation.measure import Drawn, measure
from sfddm.evaluation.real import write_real
from sfddm.evaluation.reference import read_reference, write_reference
from sfddm.evaluation.scorer import load_scorer
from sfddm.evaluation.scorers.extractor import load_extractor, write_extractor
from sfddm.evaluation.scorers.networks import Network
from sfddm.images import grid, png
from sfddm.networks import storage
from sfddm.networks.generation import generate
from sfddm.networks.layout import WEIGHTS, write_sampler
from sfddm.pipeline.paths import Paths
from sfddm.runtime.files import digest_file, write_json
from sfddm.runtime.machine import machine
from sfddm.spec.evaluation import PixelValues
from stages import harness
from stages.evaluate import evaluate as stage
from tests.clocks import Clock
from tests.judges import splits
from tests.parts import convolutions, only_spec, still_classifier, untrained_teacher

CPU = torch.device("cpu")
COUNT, SEED, BATCH = 70, 3, 40
OWN = Sampler(solver="ddim", levels=(32, 64), clip_sample=True)
TEACHERS = Sampler(solver="angle-2m", levels=(16, 40, 64), clip_sample=True)
COST = {"search": 0, "cache": 1, "training": 2, "folds": 3, "total": 4}
TIMES = {"speed_up": 7.0}


@frozen
class Evaluated:
    """Where everything is."""

    folder: Path
    timed: list[tuple[Any, ...]]
    """What was timed: student, sampler and teacher."""
    printed: str

    def read(self, name: str) -> Any:
        """A JSON file of the result."""
        return json.loads((self.folder / "result" / name).read_text())


def scorers(folder: Path) -> dict[str, Path]:
    """The folders of the panel in a folder, by the scorers' names."""
    return {name: folder / "scorers" / name for name in ("untrained", "pixels")}


def judge(folder: Path, **changed: Any) -> None:
    """Evaluate the student in a folder."""
    parts = {name: folder / name for name in ("student", "teacher", "reference")}
    asked = {
        **parts,
        "scorers": scorers(folder),
        "seed": SEED,
        "batch_size": BATCH,
        "device": CPU,
        "views": folder / "views",
        "out": folder / "result",
        "label": "test",
    }
    evaluate(**{**asked, **changed})


def make_parts(folder: Path) -> None:
    """A student, its teacher, the teacher's images and two scorers, none of them trained."""
    for name in ("student", "teacher", *(f"scorers/{name}" for name in scorers(folder))):
        (folder / name).mkdir(parents=True)
    storage.write(folder / "teacher", untrained_teacher())
    storage.write(folder / "student", untrained_teacher(seed=1))
    write_sampler(folder / "student", OWN)
    write_json(folder / "student" / "cost.json", COST)
    write_reference(folder / "reference", folder / "teacher", TEACHERS, SEED, COUNT, BATCH, CPU)
    untrained, pixels = scorers(folder).values()
    torch.manual_seed(0)
    described = evolve(still_classifier(), network=convolutions(4), features=25)
    network = Network((1, 8, 8), described.network, 25, 4).eval().requires_grad_(False)
    write_extractor(untrained, network, described, (1, 8, 8))
    write_extractor(pixels, None, PixelValues(kind="pixels"), (1, 8, 8))
    images = np.random.default_rng(0).integers(0, 256, (110, 1, 8, 8), dtype=np.uint8)
    for path in (untrained, pixels):
        write_real(path, load_extractor(path, CPU), splits(images[:60], images[60:]), COUNT, path == untrained, None)


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> Evaluated:
    """A student after its evaluation; how long it takes was not measured."""
    folder, timed, clock = tmp_path_factory.mktemp("evaluated"), list[tuple[Any, ...]](), Clock(tick=4.0)

    def time_sampling(*asked: Any) -> dict[str, float]:
        timed.append(asked)
        return TIMES

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "time_sampling", time_sampling)
        make_parts(folder)
        patch.setattr(module, "time", clock)
        printed: list[str] = []
        patch.setattr(module, "print", lambda text, **_: printed.append(text), raising=False)
        judge(folder)
    return Evaluated(folder, timed, "\n".join(printed))


@pytest.fixture(scope="module")
def own() -> Drawn:
    """What the student draws."""
    student = untrained_teacher(seed=1)
    images = generate(student, OWN, SEED, COUNT, BATCH, "test")
    return Drawn(images=images, strips=strips(student, OWN, SEED, BATCH))


@pytest.fixture(scope="module")
def teachers() -> Drawn:
    """What its teacher draws."""
    teacher = untrained_teacher()
    images = generate(teacher, TEACHERS, SEED, COUNT, BATCH, "test")
    return Drawn(images=images, strips=strips(teacher, TEACHERS, SEED, BATCH))


def test_figures_are_of_the_students_images_from_the_evaluation_noises(evaluated: Evaluated, own: Drawn) -> None:
    found, folder = evaluated.read("metrics.json"), evaluated.folder
    panel = {name: load_scorer(path, CPU) for name, path in scorers(folder).items()}
    wanted = measure(own, read_reference(folder / "reference"), panel, "test")
    assert wanted["mse_to_teacher"] > 0.01 and {key: found[key] for key in wanted} == wanted
    assert (found["nfe"], found["levels"], found["noise_seed"], found["cost"]) == (2, [32, 64], SEED, COST)
    assert found["weights"] == digest_file(folder / "student" / WEIGHTS)[:16]
    assert set(found) == {*wanted, "path_pairs", "nfe", "levels", "noise_seed", "weights", "cost"}


def test_each_scorer_has_a_view_of_its_own(evaluated: Evaluated) -> None:
    pixels, untrained = (evaluated.read("metrics.json")["scorers"][name] for name in ("pixels", "untrained"))
    assert untrained["frechet_distance"] != pixels["frechet_distance"]
    assert "agreement" in untrained and "agreement" not in pixels, "pixels have no classes"
    assert untrained["scorer"].startswith("classifier:convolutions-") and pixels["scorer"].startswith("pixels-")
    assert (untrained["real_images"], pixels["real_images"]) == (50, 50)


def test_the_summary_has_every_scorers_distance(evaluated: Evaluated) -> None:
    found = evaluated.read("metrics.json")
    distances = {name: found["scorers"][name]["frechet_distance"] for name in ("untrained", "pixels")}
    wanted = {"nfe": 2, "mse_to_teacher": found["mse_to_teacher"], "distance": distances, "cost": 4}
    assert evaluated.read("summary.json") == wanted


def test_paths_are_as_long_as_the_ways_between_their_images_features(
    evaluated: Evaluated, own: Drawn, teachers: Drawn
) -> None:
    found = evaluated.read("metrics.json")
    for name, path in scorers(evaluated.folder).items():
        scorer = load_scorer(path, CPU)
        for key, between in (("path_length", own.strips), ("teacher_path_length", teachers.strips)):
            features = scorer.view(between.reshape(-1, 1, 8, 8)).features.double().view(64, 8, -1)
            steps = (features[:, 1:] - features[:, :-1]).square().sum(2).sqrt()
            assert found["scorers"][name][key] == pytest.approx(float(steps.sum() / 64), rel=1e-5)
    assert found["path_pairs"] == 64


def test_some_images_are_stored_for_people(evaluated: Evaluated, own: Drawn, teachers: Drawn) -> None:
    result = evaluated.folder / "result"
    assert np.array_equal(np.load(result / "shown.npy"), own.images[:64])
    assert (result / "grid.png").read_bytes() == png(grid(own.images[:64], 16))
    assert np.array_equal(np.load(result / "interpolation.npy"), [teachers.strips[:4], own.strips[:4]])


def test_the_student_is_timed_beside_its_teacher(evaluated: Evaluated) -> None:
    ((student, sampler, teacher),) = evaluated.timed
    for network, seed in ((student, 1), (teacher, 0)):
        wanted = untrained_teacher(seed=seed).network.conv_in.weight
        assert torch.equal(network.network.conv_in.weight, wanted)
    assert sampler == OWN
    assert evaluated.read("timing.json") == {**TIMES, "evaluation_seconds": 4.0, "machine": machine(1)}


def test_what_is_amiss_with_the_figures_is_said_and_kept(evaluated: Evaluated) -> None:
    notes = evaluated.read("metrics.json")["notes"]
    assert evaluated.printed == "\n".join(f"warning: {note}." for note in notes)
    assert [note[: note.index("features")] for note in notes] == [
        "untrained: 70 images are few for 25 ",
        "untrained: 50 real images are few for 25 ",
        "pixels: 70 images are few for 64 ",
        "pixels: 50 real images are fewer than the 64 ",
    ]


def test_the_reference_has_the_teachers_images_and_says_how_they_were_made(
    evaluated: Evaluated, teachers: Drawn
) -> None:
    found = read_reference(evaluated.folder / "reference")
    assert np.array_equal(found.images, teachers.images) and np.array_equal(found.strips, teachers.strips)
    assert found.sampler == TEACHERS and found.weights == digest_file(evaluated.folder / "teacher" / WEIGHTS)
    assert found.digest == digest_file(evaluated.folder / "reference" / "images.npy")[:16]


@pytest.mark.parametrize(
    ("weights_of", "sampler", "drawn"), [(0, TEACHERS, False), (0, OWN, True), (1, TEACHERS, True)]
)
def test_the_reference_stands_for_its_own_network_under_its_own_sampler_alone(
    evaluated: Evaluated,
    own: Drawn,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    weights_of: int,
    sampler: Sampler,
    drawn: bool,
) -> None:
    monkeypatch.setattr(module, "time_sampling", lambda *_: TIMES)
    student = tmp_path / "student"
    student.mkdir()
    storage.write(student, untrained_teacher(seed=weights_of))
    write_sampler(student, sampler)
    write_json(student / "cost.json", COST)
    asked: list[tuple[Any, ...]] = []

    def draws(network: Any, *arguments: Any) -> np.ndarray:
        asked.append(arguments)
        return own.images

    monkeypatch.setattr(module, "generate", draws)
    monkeypatch.setattr(module, "strips", lambda *_: own.strips)
    judge(evaluated.folder, student=student, out=tmp_path / "result")
    found = json.loads((tmp_path / "result" / "metrics.json").read_text())
    assert asked == ([(sampler, SEED, COUNT, BATCH, "test")] if drawn else [])
    assert (found["mse_to_teacher"] == 0) == (not drawn)
    for of in found["scorers"].values():
        assert (of["path_length"] == of["teacher_path_length"]) == (not drawn)


def test_of_several_processes_the_first_judges(
    evaluated: Evaluated, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for each in (module, reference_module):
        monkeypatch.setattr(each, "is_main", lambda: False)
        for name in ("generate", "strips"):
            monkeypatch.setattr(each, name, lambda *_: np.empty(0))  # as the others have
    judge(evaluated.folder, out=tmp_path / "result")
    write_reference(tmp_path / "reference", evaluated.folder / "teacher", OWN, SEED, 2, BATCH, CPU)
    assert not list(tmp_path.iterdir())


def test_a_panel_that_does_not_fit_ends_the_stage_before_anything_is_drawn(
    evaluated: Evaluated, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2, and what is to be done."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(module, "generate", lambda *_: pytest.fail("it drew"))
    only_spec(tmp_path)
    paths = Paths("tiny")
    shutil.copytree(evaluated.folder / "student", paths.student("ddim-t4", 0))
    shutil.copytree(evaluated.folder / "reference", paths.reference)
    shutil.copytree(scorers(evaluated.folder)["untrained"], paths.scorer("convolutional"))
    paths.scorer("pixels").mkdir()
    write_extractor(paths.scorer("pixels"), None, PixelValues(kind="pixels"), (1, 8, 4))
    images = np.random.default_rng(0).integers(0, 256, (40, 1, 8, 4), dtype=np.uint8)
    judge = load_extractor(paths.scorer("pixels"), CPU)
    write_real(paths.scorer("pixels"), judge, splits(images, images), COUNT, False, None)
    monkeypatch.setattr(sys, "argv", ["stages.evaluate", "tiny", "ddim-t4", "0"])
    with pytest.raises(SystemExit) as ended:
        harness.main(stage, "spec", "student", "seed", shares=True)
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith("error: the scorer pixels judges images of (1, 8, 4) (channels, height, width)")
    assert said.endswith("Run `dvc repro`.\n")
    assert not paths.result("ddim-t4", 0).exists()
