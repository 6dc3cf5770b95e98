"""What each method's training does to a student, on tiny's network."""

from pathlib import Path

import numpy as np
import pytest
from attrs import evolve

from sfddm.diffusion.sampler import Sampler
from sfddm.errors import UserError
from sfddm.methods.job import distill
from sfddm.networks import storage
from sfddm.networks.layout import weights_digest
from sfddm.spec.parts import FeatureTerm, FromScratch, OutputTerm, Term
from sfddm.spec.teacher import UNet2D
from tests.parts import (
    CPU,
    FEW,
    HIDDEN,
    LOOK_AHEAD,
    METHODS,
    OURS,
    PUBLISHED,
    SCRATCH,
    SOURCES,
    draw,
    job,
    loss_points,
    of,
    untrained_teacher,
)

TERMS: dict[str, tuple[Term, ...]] = {
    "output": (OutputTerm(kind="output", weight=1.0, distance="mse"), LOOK_AHEAD),
    "hidden": (HIDDEN,),
    "huber": (evolve(HIDDEN, distance="pseudo-huber", weighting="min-snr"), LOOK_AHEAD),
    "same features": (FeatureTerm(kind="feature", weight=1.0, state="same"),),
    "look-ahead": (HIDDEN, evolve(LOOK_AHEAD, weight=1.0)),
}


@pytest.mark.parametrize("name", METHODS)
def test_every_method_trains_a_student_that_samples_its_index_set(tmp_path: Path, name: str) -> None:
    made = distill(of(tmp_path, METHODS[name]))
    (tmp_path / "student").mkdir()
    made.write(tmp_path / "student")
    student = storage.load(tmp_path / "student", CPU)
    assert made.sampler.levels == (16, 32, 48, 64)
    images = draw(student, made.sampler, 0, range(3))
    assert images.shape == (3, 1, 8, 8) and bool(images.isfinite().all())
    assert weights_digest(tmp_path / "student") != weights_digest(tmp_path / "teacher")
    assert all(np.isfinite(loss_points(made.curve)))
    assert made.cost == METHODS[name].cost(made.sampler.levels, "cosine", 64).to_json()


@pytest.mark.parametrize("terms", TERMS)
def test_training_lowers_every_term(tmp_path: Path, terms: str) -> None:
    """On batches that come from all sources."""
    training = evolve(OURS.training, iterations=32, batch_size=16, average=0.0, learning_rate=8e-3)
    chosen = {"start": SCRATCH, "training": training, "sources": SOURCES["mix"], "terms": TERMS[terms]}
    points = loss_points(distill(job(tmp_path, **chosen)).curve)
    assert np.mean(points[-10:]) < 0.8 * np.mean(points[:5])


@pytest.mark.parametrize("name", ["progressive", "consistency", "tract", "any-step"])
def test_training_lowers_the_loss_of_every_other_method(tmp_path: Path, name: str) -> None:
    training = evolve(OURS.training, iterations=40, batch_size=16, average=0.9, learning_rate=8e-3)
    changes = {"start_steps": 8} if name == "progressive" else {}
    points = loss_points(
        distill(of(tmp_path, evolve(METHODS[name], start=SCRATCH, training=training, **changes))).curve
    )
    assert np.mean(points[-20:]) < 0.8 * np.mean(points[:10])


def test_the_published_loss_of_a_teacher_copy_is_exactly_zero(tmp_path: Path) -> None:
    made = distill(job(tmp_path, **PUBLISHED))
    assert set(loss_points(made.curve)) == {0.0}
    made.write(tmp_path)
    assert weights_digest(tmp_path) == weights_digest(tmp_path / "teacher"), "training must not move the optimum"


@pytest.mark.parametrize("name", [*METHODS, "published"])
def test_the_same_job_gives_the_same_bytes_and_another_seed_does_not(tmp_path: Path, name: str) -> None:
    method = METHODS[name] if name in METHODS else evolve(OURS, **PUBLISHED)
    digests = []
    for attempt, seed in enumerate((0, 0, 1)):
        folder = tmp_path / str(attempt)
        folder.mkdir()
        made = distill(of(folder, evolve(method, start=SCRATCH, training=FEW), seed=seed))
        made.write(folder)
        digests.append(weights_digest(folder))
    assert digests[0] == digests[1] != digests[2]


def test_a_student_told_its_own_index_is_evaluated_with_it(tmp_path: Path) -> None:
    made = distill(job(tmp_path, **{**PUBLISHED, "start": SCRATCH, "time_input": "index"}))
    made.write(tmp_path)
    student = storage.load(tmp_path, CPU)
    assert student.time_input[[16, 32, 48, 64]].tolist() == [0, 1, 2, 3]
    assert made.sampler == Sampler(solver="ddim", levels=(16, 32, 48, 64), clip_sample=True)


@pytest.mark.parametrize("name", ["sfddm", "any-step"])
def test_a_smaller_student_has_no_features_to_compare(tmp_path: Path, name: str) -> None:
    """With a feature term it is refused before anything is computed; without one it is trained."""
    network = UNet2D(
        kind="unet2d", channels=(4, 4), attention=(False, False), middle_attention=False, layers_per_block=1,
        head_channels=4, norm_groups=4,
    )  # fmt: skip
    start = FromScratch(kind="scratch", prediction="v", network=network)
    method = evolve(METHODS[name], start=start, training=evolve(FEW, iterations=1, batch_size=2))
    with pytest.raises(UserError, match="has 4x8x8 features and the teacher's 8x8x8: give the student's network 8 as"):
        distill(of(tmp_path, method))
    assert not (tmp_path / "cache").exists()
    distill(of(tmp_path, evolve(method, terms=(HIDDEN,)))).write(tmp_path)
    student = storage.load(tmp_path, CPU)
    assert sum(p.numel() for p in student.parameters()) < sum(p.numel() for p in untrained_teacher().parameters())
