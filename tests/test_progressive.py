"""Progressive distillation: who teaches each fold, what it starts from, and how long it takes."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from attrs import evolve, frozen
from torch import Tensor

from sfddm.data import store
from sfddm.methods import progressive
from sfddm.methods.job import distill
from sfddm.methods.sources import noised
from sfddm.methods.teaching import paths
from sfddm.networks import storage
from sfddm.networks.contract import Contract
from sfddm.networks.denoiser import Denoiser
from sfddm.networks.layout import weights_digest
from sfddm.randomness import Purpose, generator
from sfddm.spec.students import Progressive
from sfddm.spec.training import Training
from sfddm.training.batches import Rows, real_images
from sfddm.training.loop import Fitted
from tests.gaussian import gaussian_job, level, linear_teacher, use_linear_networks
from tests.parts import COPY, CPU, FEW, HIDDEN, METHODS, data_of, job, loss_points, of, points, untrained_teacher

EXACT = Contract(timesteps=64, noise_schedule="cosine", prediction="v")
LEVELS = (16, 32, 48, 64)
HALVED = METHODS["progressive"]
assert isinstance(HALVED, Progressive)


@frozen
class Fold:
    """What the training loop was given."""

    student: Denoiser
    factors: Tensor
    """What the student's v is multiplied by, one factor per level, when it was handed over."""
    loss: float
    """The loss of its first iteration."""
    settings: Training
    before: int
    seed: int


class Recorder:
    """In place of the training loop: each fold ends with a student whose v is a factor of its own at every level."""

    def __init__(self, *ends: float) -> None:
        self.ends, self.folds = list(ends), list[Fold]()

    def __call__(self, network: Denoiser, loss: Callable[..., Any], settings: Training, curve: Any, checkpoints: Any,
                 before: int, seed: int) -> Fitted[Denoiser]:  # fmt: skip
        assert network.training and all(weights.requires_grad for weights in network.parameters())
        first = float(loss(before, network)["loss"].detach())
        self.folds.append(Fold(network, factors_of(network), first, settings, before, seed))
        made = linear_teacher(EXACT)
        made.get_parameter("network.conv_out.weight").data.fill_(self.ends[len(self.folds) - 1])
        return Fitted(network=made.eval().requires_grad_(False), others={})


def factors_of(network: Denoiser) -> Tensor:
    return network.get_parameter("network.conv_out.weight").detach()[0, :, 0].clone()


def theta(t: int) -> float:
    alpha, sigma = level("cosine", 64, t)
    return math.atan2(sigma, alpha)


def loss_by_hand(folder: Path, teacher: Tensor, student: Tensor, levels: tuple[int, ...], step: int) -> float:
    """Mean squared error of v = factor * x against two jumps of the teacher: each is cos(delta) - sin(delta) factor."""
    rows, walks = Rows(64), paths(levels, 2, EXACT)
    real = real_images(store.read(folder / "data", "train"), rows, CPU)(0, step)
    random = generator(0, Purpose.TRAINING_BATCH, step)
    x, drawn = noised(real, walks, linear_teacher(EXACT).schedule, random, rows)
    errors = []
    for x_s, (s, m, r) in zip(x, drawn.tolist(), strict=True):
        lands = 1.0
        for start, end in ((s, m), (m, r)):
            delta = theta(start) - theta(end)
            lands *= math.cos(delta) - math.sin(delta) * float(teacher[start - 1])
        delta = theta(s) - theta(r)
        wanted = (math.cos(delta) - lands) / math.sin(delta)
        errors.append(float(((student[s - 1] - wanted) * x_s).square().mean()))
    return sum(errors) / len(errors)


def test_every_fold_is_taught_by_the_student_of_the_fold_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three folds, 32 -> 16 -> 8 -> 4 steps; eleven iterations leave three for each."""
    use_linear_networks(monkeypatch)
    recorder, started = Recorder(0.5, -0.25, 0.125), []
    monkeypatch.setattr(progressive, "train", recorder)
    method = evolve(HALVED, start_steps=32, training=evolve(FEW, iterations=11))
    made = distill(evolve(gaussian_job(tmp_path, method, LEVELS, EXACT), training_starts=started.append))
    assert started == [9] and [fold.before for fold in recorder.folds] == [0, 3, 6]
    assert all(fold.settings == evolve(method.training, iterations=3) for fold in recorder.folds)
    exact = factors_of(linear_teacher(EXACT))
    taught_by = [exact, torch.full((64,), 0.5), torch.full((64,), -0.25)]
    for fold, teacher, steps in zip(recorder.folds, taught_by, (16, 8, 4), strict=True):
        assert torch.equal(fold.factors, teacher), "it starts as its teacher"
        levels = tuple(range(64 // steps, 65, 64 // steps))
        expected = loss_by_hand(tmp_path, teacher, fold.factors, levels, fold.before)
        assert fold.loss == pytest.approx(expected, rel=1e-3, abs=1e-9)
    (tmp_path / "student").mkdir()
    made.write(tmp_path / "student")
    kept = storage.load(tmp_path / "student", CPU)
    assert torch.equal(factors_of(kept), torch.full((64,), 0.125)), "the last fold's student is kept"
    assert (made.sampler.solver, made.sampler.levels) == ("ddim", LEVELS)


def test_a_fold_has_the_specs_distance_and_weighting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_linear_networks(monkeypatch)
    found = []
    for folder, changes in (("mse", {}), ("l1", {"distance": "l1"}), ("weighted", {"weighting": "truncated-snr"})):
        recorder = Recorder(0.0)
        monkeypatch.setattr(progressive, "train", recorder)
        (tmp_path / folder).mkdir()
        distill(gaussian_job(tmp_path / folder, evolve(HALVED, start_steps=8, **changes), LEVELS, EXACT))
        found.append(recorder.folds[0].loss)
    assert len(set(found)) == 3


def test_folds_have_the_students_seed_and_only_the_last_one_keeps_other_averages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = Recorder(0.5, -0.25)
    use_linear_networks(monkeypatch)
    monkeypatch.setattr(progressive, "train", recorder)
    method = evolve(HALVED, training=evolve(FEW, iterations=8, other_averages={"short": 0.5}))
    distill(evolve(gaussian_job(tmp_path, method, LEVELS, EXACT), seed=4))
    assert [(fold.seed, list(fold.settings.other_averages)) for fold in recorder.folds] == [(4, []), (4, ["short"])]


def test_the_learning_rate_rises_and_falls_in_every_fold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two folds of four iterations, two of them warm-up and half of them decay: .5, 1, 1, .5 of the highest rate."""
    use_linear_networks(monkeypatch)
    training = evolve(FEW, iterations=8, learning_rate=0.02, warmup=2, decay=0.5)
    made = distill(gaussian_job(tmp_path, evolve(HALVED, training=training), LEVELS, EXACT))
    curve = points(made.curve)
    assert [point["step"] for point in curve] == list(range(1, 9))
    assert [point["learning_rate"] for point in curve] == pytest.approx([0.01, 0.02, 0.02, 0.01] * 2)


def test_one_fold_of_progressive_is_two_data_substeps(tmp_path: Path) -> None:
    """The same loss at every iteration, and the same weights at the end."""
    fold = distill(of(tmp_path, evolve(HALVED, start_steps=8)))
    first = loss_points(fold.curve)
    fold.write(tmp_path)
    digest = weights_digest(tmp_path)
    single = distill(job(tmp_path, sources=(data_of(substeps=2),), terms=(HIDDEN,), training=FEW, start=COPY))
    single.write(tmp_path)
    assert loss_points(single.curve) == first and weights_digest(tmp_path) == digest


def test_folds_halve_the_steps_down_to_the_students_own_set() -> None:
    """On a cosine schedule of 64 levels a set of its own is cut into halves and quarters, in places by one level."""

    def sets(start_steps: int, levels: tuple[int, ...]) -> list[tuple[int, ...]]:
        return progressive._levels_of_folds(evolve(HALVED, start_steps=start_steps), levels, untrained_teacher())

    assert sets(8, LEVELS) == [LEVELS]
    assert sets(16, LEVELS) == [(8, 16, 24, 32, 40, 48, 56, 64), LEVELS]
    assert sets(4, (40, 64)) == [(40, 64)]
    assert sets(16, (64,)) == [(8, 16, 24, 32, 40, 48, 56, 64), (16, 32, 48, 64), (32, 64), (64,)]
