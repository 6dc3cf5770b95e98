"""One student's evaluation from stored folders to stored figures, and the reference that it is held against."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from attrs import evolve, frozen

from sfddm.diffusion.sampler import Sampler
from sfddm.errors import UserError
from sfddm.evaluation import evaluate as module
from sfddm.evaluation import reference as reference_module
from sfddm.evaluation.evaluate import evaluate
from sfddm.evaluation.interpolation import strips
from sfddm.evaluation.measure import measure
from sfddm.evaluation.real import write_real
from sfddm.evaluation.reference import read_reference, write_reference
from sfddm.evaluation.scorer import load_scorer
from sfddm.evaluation.scorers.classifier import _write
from sfddm.evaluation.scorers.extractor import load_extractor
from sfddm.evaluation.scorers.networks import Network
from sfddm.images import grid, png
from sfddm.networks import storage
from sfddm.networks.generation import generate
from sfddm.networks.layout import WEIGHTS, write_sampler
from sfddm.runtime.files import digest_file, write_json
from sfddm.runtime.machine import machine
from tests.clocks import Clock
from tests.parts import convolutions, random_split, still_classifier, untrained_teacher

CPU = torch.device("cpu")
COUNT, SEED, BATCH = 70, 3, 40
OWN = Sampler(solver="ddim", levels=(32, 64), clip_sample=True)
TEACHERS = Sampler(solver="angle-2m", levels=(16, 40, 64), clip_sample=True)
COST = {"cache": 1, "training": 2, "folds": 3, "total": 4}
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


def judge(folder: Path, **changed: Any) -> None:
    """Evaluate the student in a folder."""
    parts = {name: folder / name for name in ("student", "teacher", "reference", "scorer")}
    asked = {**parts, "seed": SEED, "batch_size": BATCH, "device": CPU, "out": folder / "result", "label": "test"}
    evaluate(**{**asked, **changed})


def make_parts(folder: Path) -> None:
    """A student, its teacher, the teacher's images and a scorer, none of them trained."""
    for name in ("student", "teacher", "scorer"):
        (folder / name).mkdir()
    storage.write(folder / "teacher", untrained_teacher())
    storage.write(folder / "student", untrained_teacher(seed=1))
    write_sampler(folder / "student", OWN)
    write_json(folder / "student" / "cost.json", COST)
    write_reference(folder / "reference", folder / "teacher", TEACHERS, SEED, COUNT, BATCH, CPU)
    torch.manual_seed(0)
    described = evolve(still_classifier(), network=convolutions(4), features=25)
    network = Network((1, 8, 8), described.network, 25, 4).eval().requires_grad_(False)
    _write(folder / "scorer", described, network, random_split(), CPU)
    images = np.random.default_rng(0).integers(0, 256, (40, 1, 8, 8), dtype=np.uint8)
    write_real(folder / "scorer", load_extractor(folder / "scorer", CPU), images, COUNT, True, None)


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


@frozen
class Drawn:
    """What a network draws under a sampler."""

    images: np.ndarray
    strips: np.ndarray


@pytest.fixture(scope="module")
def own() -> Drawn:
    """What the student draws."""
    student = untrained_teacher(seed=1)
    return Drawn(generate(student, OWN, SEED, COUNT, BATCH, "test"), strips(student, OWN, SEED, BATCH))


@pytest.fixture(scope="module")
def teachers() -> Drawn:
    """What its teacher draws."""
    teacher = untrained_teacher()
    return Drawn(generate(teacher, TEACHERS, SEED, COUNT, BATCH, "test"), strips(teacher, TEACHERS, SEED, BATCH))


def test_figures_are_of_the_students_images_from_the_evaluation_noises(evaluated: Evaluated, own: Drawn) -> None:
    found, folder = evaluated.read("metrics.json"), evaluated.folder
    wanted = measure(own.images, read_reference(folder / "reference"), load_scorer(folder / "scorer", CPU), "test")
    assert wanted["mse_to_teacher"] > 0.01 and {key: found[key] for key in wanted} == wanted
    assert (found["nfe"], found["levels"], found["noise_seed"], found["cost"]) == (2, [32, 64], SEED, COST)
    assert found["weights"] == digest_file(folder / "student" / WEIGHTS)[:16]
    said = {"path_length", "teacher_path_length", "path_pairs", "nfe", "levels", "noise_seed", "weights", "cost"}
    assert set(found) == {*wanted, *said}


def test_paths_are_as_long_as_the_ways_between_their_images_features(
    evaluated: Evaluated, own: Drawn, teachers: Drawn
) -> None:
    found, scorer = evaluated.read("metrics.json"), load_scorer(evaluated.folder / "scorer", CPU)
    for key, between in (("path_length", own.strips), ("teacher_path_length", teachers.strips)):
        features = scorer.features(between.reshape(-1, 1, 8, 8)).double().view(64, 8, 25)
        steps = (features[:, 1:] - features[:, :-1]).square().sum(2).sqrt()
        assert found[key] == pytest.approx(float(steps.sum() / 64), rel=1e-5)
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
    (note,) = evaluated.read("metrics.json")["notes"]
    assert evaluated.printed == f"warning: {note}." and note.startswith("20 images at the floor are fewer")


def test_the_reference_has_the_teachers_images_and_says_how_they_were_made(
    evaluated: Evaluated, teachers: Drawn
) -> None:
    found = read_reference(evaluated.folder / "reference")
    assert np.array_equal(found.images, teachers.images) and np.array_equal(found.strips, teachers.strips)
    assert found.sampler == TEACHERS and found.weights == digest_file(evaluated.folder / "teacher" / WEIGHTS)
    assert found.digest == digest_file(evaluated.folder / "reference" / "images.npy")[:16]


def test_strips_of_other_images_are_refused(tmp_path: Path, evaluated: Evaluated) -> None:
    for name in ("images.npy", "reference.json"):
        (tmp_path / name).write_bytes((evaluated.folder / "reference" / name).read_bytes())
    between = np.load(evaluated.folder / "reference" / "strips.npy")
    for wrong in (between[:63], between[:, :7], between[..., :7]):
        np.save(tmp_path / "strips.npy", wrong)
        with pytest.raises(UserError, match=r"strips\.npy is damaged \(expected 64 strips of 8 images like those"):
            read_reference(tmp_path)


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
    assert (found["path_length"] == found["teacher_path_length"]) == (not drawn)


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


def test_a_student_of_images_that_the_scorer_does_not_take_is_refused_before_it_draws(
    evaluated: Evaluated, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "generate", lambda *_: pytest.fail("it drew"))
    reference = tmp_path / "reference"
    reference.mkdir()
    for path in (evaluated.folder / "reference").iterdir():
        (reference / path.name).write_bytes(path.read_bytes())
    np.save(reference / "images.npy", np.load(reference / "images.npy")[:19])
    with pytest.raises(UserError, match="the scorer's floor is of 20 images, and there are 19"):
        judge(evaluated.folder, reference=reference, out=tmp_path / "result")
    assert not (tmp_path / "result").exists()
