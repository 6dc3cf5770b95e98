"""Every method's optimum on Gaussian data: real trainings of linear networks, against jumps that are known exactly."""

from pathlib import Path
from typing import Any

import pytest
import torch
from attrs import evolve
from torch import Tensor

from sfddm.diffusion.levels import Schedule
from sfddm.diffusion.sampler import Sampler
from sfddm.diffusion.sampling import sample, trajectory
from sfddm.diffusion.spacing import finer
from sfddm.methods.job import distill
from sfddm.networks import storage
from sfddm.networks.contract import Contract
from sfddm.networks.denoiser import Denoiser
from sfddm.spec.parts import FromTeacher, OutputTerm, Source
from sfddm.spec.students import AnyStep
from tests.gaussian import (
    NO_NOISE,
    S,
    ddim_factor,
    flow_factor,
    gaussian_job,
    level,
    linear_teacher,
    use_linear_networks,
)
from tests.parts import CACHE, CPU, FEW, HIDDEN, LOOK_AHEAD, METHODS, OURS, ROLLOUT, SCRATCH, data_of, points

T = 64
LEVELS = (16, 32, 48, 64)
EXACT = Contract(timesteps=T, noise_schedule="cosine", prediction="v")
SHORT = evolve(FEW, iterations=150, batch_size=16, learning_rate=0.05, decay=0.7, average=0.0)
LONG = evolve(SHORT, iterations=300, average=0.5)
FINE = evolve(CACHE, solver="ddim", substeps=16, clip_sample=False, noises=32)
"""Trajectories on all 64 levels."""
ONE = torch.ones(1, 1, 8, 8)


@pytest.fixture(autouse=True)
def linear_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    use_linear_networks(monkeypatch)


def trained(folder: Path, method: Any, contract: Contract = EXACT) -> tuple[Denoiser, Sampler]:
    made = distill(gaussian_job(folder, method, LEVELS, contract))
    (folder / "student").mkdir()
    made.write(folder / "student")
    return storage.load(folder / "student", CPU), made.sampler


def passed(student: Denoiser, sampler: Sampler) -> list[float]:
    """The student's states on the way down from 1."""
    return [float(state.x.mean()) for state in trajectory(student, ONE, sampler, NO_NOISE)]


def walked(*path: int, kind: Schedule = "cosine") -> list[float]:
    """The exact teacher's states at `LEVELS` and at the image, on its DDIM's way down from 1."""
    return [ddim_factor(kind, T, *path[: path.index(stop) + 1]) for stop in (*reversed(LEVELS), 0)]


@pytest.mark.parametrize(
    ("source", "step"),
    [(evolve(OURS.sources[0], cache=FINE), 1), (evolve(ROLLOUT, cache=FINE), 1), (data_of(substeps=4), 4)],
)
def test_the_hidden_terms_optimum_lands_on_the_teachers_hidden_variables(
    tmp_path: Path, source: Source, step: int
) -> None:
    student, sampler = trained(tmp_path, evolve(OURS, sources=(source,), terms=(HIDDEN,), training=SHORT))
    assert passed(student, sampler) == pytest.approx(walked(*range(T, -1, -step)), abs=2e-3)


def test_the_published_loss_has_the_teachers_ddim_as_its_optimum(tmp_path: Path) -> None:
    """From scratch, with a squared error: the same four steps, and none of what many steps reach."""
    published = {
        "start": SCRATCH,
        "sources": (data_of(substeps=1),),
        "terms": (OutputTerm(kind="output", weight=1.0, distance="mse"),),
        "training": evolve(SHORT, learning_rate=0.2),
    }
    student, sampler = trained(tmp_path, evolve(OURS, **published))
    assert passed(student, sampler) == pytest.approx(walked(*reversed(LEVELS), 0), abs=2e-3)
    assert abs(passed(student, sampler)[-1] - walked(*range(T, -1, -1))[-1]) > 0.1


def test_progressive_folds_keep_what_the_first_sampler_reaches(tmp_path: Path) -> None:
    """Each fold's optimum is two steps of the one before, so four steps end where sixteen ended."""
    student, sampler = trained(tmp_path, evolve(METHODS["progressive"], training=evolve(LONG, average=0.0)))
    assert passed(student, sampler) == pytest.approx(walked(*range(T, -1, -4)), abs=2e-3)
    steps = [point["step"] for point in points(tmp_path / "curve.jsonl")]
    assert steps == list(range(3, 301, 3)), "both folds share the hundred points of one curve"


def test_transitive_closure_lands_where_the_teachers_small_steps_do(tmp_path: Path) -> None:
    student, sampler = trained(tmp_path, evolve(METHODS["tract"], training=LONG))
    assert passed(student, sampler) == pytest.approx(walked(*range(T, -1, -4)), abs=2e-3)


def test_consistency_distillation_jumps_to_the_image_of_the_teachers_grid(tmp_path: Path) -> None:
    """From every level of the grid of eight; between them it adds the noise that it is given."""
    student, sampler = trained(tmp_path, evolve(METHODS["consistency"], training=LONG))
    for start in range(8, T + 1, 8):
        found = student.predict(ONE, torch.tensor([start]), torch.tensor([0]))[0]
        assert float(found.mean()) == pytest.approx(ddim_factor("cosine", T, *range(start, -1, -8)), abs=5e-3)
    noises = (0.5, -1.0, 2.0)
    x, expected = 1.0, 0.0
    for start, end, noise in zip(reversed(LEVELS), (*LEVELS[-2::-1], 0), (*noises, 0.0), strict=True):
        (alpha, sigma), expected = level("cosine", T, end), x * ddim_factor("cosine", T, *range(start, -1, -8))
        x = alpha * expected + sigma * noise
    images = sample(student, ONE, sampler, iter(noise * ONE for noise in noises))
    assert float(images.mean()) == pytest.approx(expected, abs=5e-3)


def test_steps_of_the_exact_consistency_function_keep_the_data() -> None:
    """However often noise is added again; images are linear in all noises, so one at a time tells the deviation."""
    student = linear_teacher(evolve(EXACT, prediction="sample"))
    exact = [flow_factor("cosine", T, start, 0) for start in range(1, T + 1)]
    student.get_parameter("network.conv_out.weight").data[0, :, 0] = torch.tensor(exact)
    first, *later = torch.eye(4)[:, :, None, None, None]
    sampler = Sampler(solver="consistency", levels=LEVELS, clip_sample=False)
    shares: Tensor = sample(student, first, sampler, iter(later)).detach()
    assert float(shares.square().sum().sqrt()) == pytest.approx(S, rel=1e-4)
    assert float(shares[0].abs()) < 0.5 * S, "the first noise no longer decides the image alone"


def test_an_any_step_student_ends_where_its_teacher_does_on_any_index_set_of_its_grid(tmp_path: Path) -> None:
    method = METHODS["any-step"]
    assert isinstance(method, AnyStep)
    training = evolve(LONG, average=0.0, batch_size=32)
    cache, terms = evolve(CACHE, solver="ddim", substeps=4, clip_sample=False), (HIDDEN, evolve(LOOK_AHEAD, weight=0.1))
    student, sampler = trained(
        tmp_path, evolve(method, start=SCRATCH, cache=cache, terms=terms, unaligned=0.0, training=training)
    )
    assert sampler.levels == LEVELS
    wanted = dict(zip((*reversed(LEVELS), 0), walked(*range(T, -1, -4)), strict=True))
    for levels in (LEVELS, (32, 64), (64,)):
        found = passed(student, evolve(sampler, levels=levels))
        assert found == pytest.approx([wanted[stop] for stop in (*reversed(levels), 0)], abs=2e-3)


@pytest.mark.parametrize("prediction", ["v", "epsilon-sample"])
def test_a_student_of_a_noise_predictor_may_predict_otherwise(tmp_path: Path, prediction: Any) -> None:
    """On a linear schedule, where noise alone is badly conditioned at the top."""
    source = data_of(substeps=4)
    start = FromTeacher(kind="teacher", prediction=prediction)
    contract = Contract(timesteps=T, noise_schedule="linear", prediction="epsilon")
    student, sampler = trained(
        tmp_path, evolve(OURS, start=start, sources=(source,), terms=(HIDDEN,), training=SHORT), contract
    )
    assert student.contract.prediction == prediction
    path = (*reversed(finer(LEVELS, 4, "linear", T)), 0)
    assert passed(student, sampler) == pytest.approx(walked(*path, kind="linear"), abs=2e-3)


def test_a_student_told_its_own_index_learns_the_same(tmp_path: Path) -> None:
    """Its first four times are its own four levels; the rest of the network is never asked."""
    method = evolve(OURS, time_input="index", start=SCRATCH, terms=(HIDDEN,), training=evolve(SHORT, learning_rate=0.2),
                    sources=(evolve(OURS.sources[0], cache=FINE),))  # fmt: skip
    student, sampler = trained(tmp_path, method)
    assert not student.get_parameter("network.conv_out.weight")[0, 4:].any()
    assert passed(student, sampler) == pytest.approx(walked(*range(T, -1, -1)), abs=2e-3)
