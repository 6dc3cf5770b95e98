"""Every term of every loss, by hand."""

import math
from typing import Any

import pytest
import torch
from attrs import evolve
from torch import Tensor

from sfddm.methods import any_step, sfddm
from sfddm.methods.sources import Batch, jump
from sfddm.methods.terms.hidden import jump_loss, v_weight
from sfddm.networks.contract import Contract
from sfddm.networks.denoiser import Denoiser, Evaluated
from sfddm.networks.student import first_student
from sfddm.spec.parts import Distance, FeatureTerm, HiddenTerm, OutputTerm, Term, Weighting
from sfddm.spec.students import SFDDM, AnyStep
from tests.gaussian import level, linear_teacher
from tests.parts import COPY, METHODS, OURS, untrained_teacher

LEVELS = torch.tensor([64, 32, 16]), torch.tensor([48, 16, 0])
"""Where three jumps of tiny's index set start and end."""
ANY_STEP = METHODS["any-step"]
assert isinstance(ANY_STEP, AnyStep)


@pytest.mark.parametrize(
    ("weighting", "expected"),
    [
        ("snr+1", [1, 1, 1]),
        ("truncated-snr", [0.36 * 16 / 9, 0.64 * 1, 0.1 * 9]),
        ("min-snr", [0.36 * 16 / 9, 0.64 * 9 / 16, 0.1 * 5]),
        ("uniform", [0.36, 0.64, 0.1]),
    ],
)
def test_weightings_of_the_images_error_as_those_of_v(weighting: Weighting, expected: list[float]) -> None:
    """sigma^2 w(SNR) at SNR 16/9, 9/16 and 9."""
    alpha, sigma = torch.tensor([0.8, 0.6, 0.9**0.5]), torch.tensor([0.6, 0.8, 0.1**0.5])
    assert v_weight(weighting, alpha, sigma).tolist() == pytest.approx(expected)


@pytest.mark.parametrize(
    ("distance", "expected"),
    [
        ("mse", [(0.09 + 0.16) / 2, (1.0 + 0.0) / 2]),
        ("l1", [0.35, 0.5]),
        ("pseudo-huber", [math.sqrt(0.125 + 0.0009) - 0.03, math.sqrt(0.5 + 0.0009) - 0.03]),
    ],
)
def test_distances_of_two_images_of_two_pixels(distance: Distance, expected: list[float]) -> None:
    """Errors of v of (.3, -.4) and (1, 0), at levels of SNR below and above 1, each image with its level's weight."""
    student = linear_teacher(Contract(timesteps=64, noise_schedule="cosine", prediction="v"))
    levels = torch.tensor([50, 20]), torch.tensor([10, 0])
    x = torch.tensor([[0.7, -1.2], [2.0, 0.1]]).view(2, 1, 1, 2)
    wanted = torch.tensor([[0.2, 0.5], [-0.4, 1.5]]).view(2, 1, 1, 2)
    output = wanted + torch.tensor([[0.3, -0.4], [1.0, 0.0]]).view(2, 1, 1, 2)
    # A jump with v* lands on cos(delta) x - sin(delta) v*.
    delta = torch.tensor([theta(50) - theta(10), theta(20)]).view(2, 1, 1, 1)
    landing = torch.cos(delta) * x - torch.sin(delta) * wanted
    own = Evaluated(output, output)
    found = {
        weighting: float(jump_loss(student, own, x, levels, landing, distance, weighting))
        for weighting in ("snr+1", "truncated-snr", "min-snr")
    }
    (alpha, sigma), (clearer, little) = level("cosine", 64, 50), level("cosine", 64, 20)
    assert found["snr+1"] == pytest.approx(sum(expected) / 2, rel=1e-4)
    assert found["truncated-snr"] == pytest.approx((sigma**2 * expected[0] + clearer**2 * expected[1]) / 2, rel=1e-4)
    at_most_5 = min(clearer**2, 5 * little**2)
    assert found["min-snr"] == pytest.approx((alpha**2 * expected[0] + at_most_5 * expected[1]) / 2, rel=1e-4)


def theta(t: int) -> float:
    alpha, sigma = level("cosine", 64, t)
    return math.atan2(sigma, alpha)


@pytest.mark.parametrize("prediction", ["epsilon", "v", "sample"])
def test_the_jump_loss_is_zero_where_the_jump_lands(prediction: str) -> None:
    student = untrained_teacher(prediction)
    x = torch.randn(3, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    levels = torch.tensor([60, 40, 9]), torch.tensor([32, 0, 3])
    landing = jump(student, x, *levels)
    assert float(jump_loss(student, student(x, levels[0]), x, levels, landing, "mse", "snr+1")) < 1e-6


def random_batch(level: Tensor = LEVELS[0], landing_level: Tensor = LEVELS[1]) -> Batch:
    """Jumps between these levels, from anywhere to anywhere."""
    generator = torch.Generator().manual_seed(0)
    x, landing, features = (torch.randn(len(level), channels, 8, 8, generator=generator) for channels in (1, 1, 8))
    return Batch(x=x, level=level, landing_level=landing_level, landing=landing, landing_features=features)


def hidden_error(student: Denoiser, batch: Batch) -> Tensor:
    """The error of v, from x0* = (x_r - (sigma_r / sigma_s) x_s) / (alpha_r - (sigma_r / sigma_s) alpha_s)."""
    x, landing = batch.x.double(), batch.landing.double()
    at_s, at_r = (student.schedule.at(at, x) for at in (batch.level, batch.landing_level))
    (alpha_s, sigma_s), (alpha_r, sigma_r) = ((alpha.double(), sigma.double()) for alpha, sigma in (at_s, at_r))
    image = (landing - sigma_r / sigma_s * x) / (alpha_r - sigma_r / sigma_s * alpha_s)
    return student(batch.x, batch.level, batch.landing_level).output.detach() - (alpha_s * x - image) / sigma_s


def with_terms(output: float, hidden: float, feature: float, **changes: Any) -> SFDDM:
    """The method with these terms; those of weight 0 are left out."""
    terms: tuple[Term, ...] = (
        OutputTerm(kind="output", weight=output, distance=changes.get("distance", "l1")),
        HiddenTerm(kind="hidden", weight=hidden, distance="mse", weighting="snr+1"),
        FeatureTerm(kind="feature", weight=feature, state=changes.get("state", "landing")),
    )
    return evolve(OURS, terms=tuple(term for term in terms if term.weight))


@pytest.mark.parametrize("distance", ["l1", "mse"])
@pytest.mark.parametrize("state", ["same", "landing"])
@pytest.mark.parametrize(
    "weights", [(2.0, 0.5, 0.3), (0.0, 0.5, 3.0), (0.25, 0.0, 0.5), (2.0, 4.0, 0.0), (0.0, 3.0, 0.0), (0.0, 0.0, 2.0)]
)
def test_the_loss_is_the_weighted_sum_of_its_terms(
    weights: tuple[float, float, float], state: str, distance: str
) -> None:
    teacher, student, batch = untrained_teacher(), untrained_teacher(seed=1), random_batch()
    there, own = teacher(batch.x, batch.level), student(batch.x, batch.level)
    apart = (own.output - there.output).abs()
    assert batch.landing_features is not None
    wanted = there.features if state == "same" else batch.landing_features
    terms = {
        "output": float((apart if distance == "l1" else apart**2).mean()),
        "hidden": float(hidden_error(student, batch).square().mean()),
        "feature": float((own.features - wanted).abs().mean()),
    }
    used = {name: weight for name, weight in zip(terms, weights, strict=True) if weight}
    method = with_terms(*weights, state=state, distance=distance)
    found = {name: float(value) for name, value in sfddm.losses(method, student, teacher, batch).items()}
    assert found.pop("loss") == pytest.approx(sum(weight * terms[name] for name, weight in used.items()), rel=1e-4)
    assert found == pytest.approx({name: terms[name] for name in used}, rel=1e-4)


def test_distance_and_weighting_of_the_hidden_term_are_the_specs() -> None:
    student, batch = untrained_teacher(seed=1), random_batch()
    method = evolve(OURS, terms=(HiddenTerm(kind="hidden", weight=1.0, distance="l1", weighting="min-snr"),))
    alpha, sigma = student.schedule.at(batch.level, batch.x)
    weight = torch.minimum(alpha**2, 5 * sigma**2)
    expected = (weight * hidden_error(student, batch).abs()).mean()
    found = sfddm.losses(method, student, untrained_teacher(), batch)
    assert float(found["hidden"]) == pytest.approx(float(expected), rel=1e-4)


def test_the_teacher_learns_nothing() -> None:
    teacher, student = untrained_teacher().requires_grad_(True), untrained_teacher(seed=1).requires_grad_(True)
    sfddm.losses(with_terms(1, 1, 1, state="same"), student, teacher, random_batch())["loss"].backward()
    assert all(weights.grad is None for weights in teacher.parameters())
    assert all(weights.grad is not None for weights in student.parameters())


@pytest.mark.parametrize(("hidden", "feature"), [(2.0, 0.5), (3.0, 0.0)])
def test_an_any_step_students_features_count_where_the_batch_says_so(hidden: float, feature: float) -> None:
    """On three of four jumps; the mean is over all four."""
    method = evolve(ANY_STEP, terms=with_terms(0.0, hidden, feature).terms)
    student = first_student(untrained_teacher(seed=1), COPY, 0, two_times=True)
    torch.nn.init.normal_(student.get_parameter("network.class_embedding.linear_2.weight"))
    batch = random_batch(torch.tensor([64, 64, 32, 48]), torch.tensor([0, 32, 0, 16]))
    assert batch.landing_features is not None
    batch = evolve(batch, compared=torch.tensor([False, True, True, True]))
    own = student(batch.x, batch.level, batch.landing_level).features.detach()
    apart = [float((own[at] - batch.landing_features[at]).abs().mean()) for at in (1, 2, 3)]
    terms = {"hidden": float(hidden_error(student, batch).square().mean()), "feature": sum(apart) / 4}
    found = {name: float(value) for name, value in any_step.losses(method, student, batch).items()}
    expected = hidden * terms["hidden"] + feature * terms["feature"]
    assert found.pop("loss") == pytest.approx(expected, rel=1e-4)
    assert found == pytest.approx(terms if feature else {"hidden": terms["hidden"]}, rel=1e-4)
