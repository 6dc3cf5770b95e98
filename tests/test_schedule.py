"""Noise schedules against the formulas of their papers."""

import math
from collections.abc import Callable
from typing import get_args

import numpy as np
import pytest
import torch

from sfddm.diffusion.levels import Schedule, ScheduleName, alpha_bar, angles, log_snr
from sfddm.diffusion.schedule import NoiseSchedule
from sfddm.diffusion.spacing import IndexSetError, resolve
from sfddm.spec.index_set import UniformAngle, UniformLogSNR
from sfddm.spec.teacher import OwnBetas

SCHEDULES = get_args(ScheduleName)


def cosine(share: float) -> float:
    """Nichol and Dhariwal 2021, equation 17: f(t) / f(0); cos^2 is (1 + cos of twice the angle) / 2."""
    left, whole = (1 + math.cos(math.pi * (t + 0.008) / 1.008) for t in (share, 0))
    return left / whole


def sigmoid(share: float) -> float:
    """Jabri et al. 2022, algorithm 1, from -3 to 3, with the logistic function as 1/2 + tanh(x / 2) / 2."""
    return (math.tanh(1.5) - math.tanh(3 * share - 1.5)) / (2 * math.tanh(1.5))


@pytest.mark.parametrize("kind", SCHEDULES)
@pytest.mark.parametrize("timesteps", [64, 1000])
def test_schedules_fall_from_clean_data_to_noise(kind: Schedule, timesteps: int) -> None:
    remaining = alpha_bar(kind, timesteps)
    assert remaining[0] == 1 and len(remaining) == timesteps + 1
    assert bool((np.diff(remaining) < 0).all())
    # Of LDM's schedule more of the image is left than of others.
    assert float(remaining[-1]) < (5e-3 if kind == "scaled-linear" else 1e-3)


def test_the_linear_schedule_is_ddpms() -> None:
    assert np.allclose(alpha_bar("linear", 1000)[1:], np.cumprod(1 - np.linspace(1e-4, 0.02, 1000)))


def test_the_linear_schedule_of_fewer_levels_has_larger_betas() -> None:
    """With T = 64 they are 1000 / 64 = 15.625 times as large: .0015625 to .3125."""
    beta = 1 - alpha_bar("linear", 64)[1:] / alpha_bar("linear", 64)[:-1]
    assert beta == pytest.approx(np.linspace(0.0015625, 0.3125, 64))


def test_the_scaled_linear_schedule_has_even_steps_in_the_square_root_of_beta() -> None:
    """Rombach et al. 2022: from .00085 to .012 over 1000 levels; 250 levels have betas four times as large."""
    for timesteps, scale in ((1000, 1), (250, 4)):
        remaining = alpha_bar("scaled-linear", timesteps)
        root = np.sqrt(1 - remaining[1:] / remaining[:-1])
        assert root[[0, -1]] ** 2 == pytest.approx([0.00085 * scale, 0.012 * scale])
        assert np.diff(root) == pytest.approx(np.full(timesteps - 1, (root[-1] - root[0]) / (timesteps - 1)))


def betas(kind: str, start: float, end: float, rescaled: bool = False) -> OwnBetas:
    return OwnBetas(kind="betas", beta_schedule=kind, beta_start=start, beta_end=end, zero_terminal_snr=rescaled)


@pytest.mark.parametrize(("kind", "ends"), [("linear", (1e-4, 0.02)), ("scaled-linear", (8.5e-4, 0.012))])
def test_a_schedule_of_betas_is_the_named_one_where_they_are_its_own(
    kind: ScheduleName, ends: tuple[float, float]
) -> None:
    assert np.array_equal(alpha_bar(betas(kind, *ends), 1000), alpha_bar(kind, 1000))
    # Betas are taken as they are, whatever T is: one level of 0.3 leaves 0.7.
    assert alpha_bar(betas(kind, 0.3, 0.3), 2) == pytest.approx([1, 0.7, 0.49])


def test_a_zero_terminal_snr_leaves_nothing_and_the_first_level_as_it_is() -> None:
    """Lin et al. 2024, algorithm 1: with betas of .19, a = .9, .81, .729 moves to .9, .9 * .081 / .171, 0."""
    moved = np.sqrt(alpha_bar(betas("linear", 0.19, 0.19, True), 3))
    assert moved[:3] == pytest.approx([1, 0.9, 0.9 * 0.081 / 0.171])
    assert 0 < moved[3] < 1e-7 and np.isfinite(log_snr(betas("linear", 1e-4, 0.02, True), 1000)).all()
    assert angles(betas("linear", 1e-4, 0.02, True), 1000)[-1] == pytest.approx(math.pi / 2, abs=1e-7)


@pytest.mark.parametrize(
    ("given", "timesteps"),
    [
        (betas("linear", 1e-4, 0.02, True), 1),
        (betas("linear", 1e-17, 1e-17), 10),
        (betas("linear", 1e-4, 0.02, True), 4000),
        (betas("linear", 0.01, 0.5), 1000),
        (betas("linear", 0.05, 0.9), 1000),
    ],
)
def test_betas_that_float32_can_not_tell_apart_are_refused(given: OwnBetas, timesteps: int) -> None:
    (found,) = given.check(timesteps, ("noise_schedule",))
    assert "levels can't be told apart" in found.message
    assert not list(betas("scaled-linear", 0.0015, 0.0195, True).check(1000, ()))


def test_a_zero_terminal_snr_has_no_even_steps_in_its_logarithm() -> None:
    with pytest.raises(IndexSetError, match="no logarithm"):
        resolve(UniformLogSNR(kind="uniform-log-snr", steps=4), betas("linear", 1e-4, 0.02, True), 1000)
    assert resolve(UniformAngle(kind="uniform-angle", steps=2), betas("linear", 1e-4, 0.02, True), 1000)[-1] == 1000


@pytest.mark.parametrize(("kind", "left"), [("cosine", cosine), ("sigmoid", sigmoid)])
@pytest.mark.parametrize("timesteps", [4, 50])
def test_schedules_given_by_what_is_left(kind: Schedule, left: Callable[[float], float], timesteps: int) -> None:
    remaining = alpha_bar(kind, timesteps)
    assert remaining[:-1] == pytest.approx([left(t / timesteps) for t in range(timesteps)])


@pytest.mark.parametrize(("kind", "timesteps"), [("linear", 16), ("cosine", 8), ("sigmoid", 8)])
def test_no_level_destroys_more_than_999_of_1000(kind: Schedule, timesteps: int) -> None:
    """A linear schedule of 16 levels would end with beta = 1.25; the others leave nothing at level T."""
    remaining = alpha_bar(kind, timesteps)
    assert remaining[-1] / remaining[-2] == pytest.approx(0.001)


def test_a_schedule_is_computed_once_and_cannot_be_changed() -> None:
    assert alpha_bar("cosine", 12) is alpha_bar("cosine", 12)
    with pytest.raises(ValueError, match="read-only"):
        alpha_bar("cosine", 12)[1] = 0


def test_angles_and_log_snr_of_known_levels() -> None:
    """Half-way a sigmoid schedule has left half of the variance: 45 degrees, and a log-SNR of 0."""
    theta = angles("sigmoid", 4)
    assert theta[0] == 0 and theta[2] == pytest.approx(math.pi / 4)
    assert np.cos(theta) ** 2 == pytest.approx(alpha_bar("sigmoid", 4))
    ratio = log_snr("sigmoid", 4)
    left = sigmoid(0.25)
    assert len(ratio) == 4 and ratio[:2] == pytest.approx([math.log(left / (1 - left)), 0], abs=1e-12)
    assert ratio[3] == pytest.approx(math.log(sigmoid(0.75) / (1000 - sigmoid(0.75))))


@pytest.mark.parametrize("kind", SCHEDULES)
def test_a_schedule_on_tensors_is_gathered_for_a_batch_of_levels(kind: Schedule) -> None:
    schedule, like = NoiseSchedule(kind, 10), torch.zeros(3, 2, 5, 5)
    alpha, sigma = schedule.at(torch.tensor([7, 0, 10]), like)
    left = alpha_bar(kind, 10)[[7, 0, 10]]
    assert alpha.shape == sigma.shape == (3, 1, 1, 1) and alpha.dtype == sigma.dtype == torch.float32
    assert alpha.flatten().numpy() == pytest.approx(np.sqrt(left))
    assert sigma.flatten().numpy() == pytest.approx(np.sqrt(1 - left))
    assert [part.shape for part in schedule.at(torch.tensor([1, 2]), torch.zeros(2))] == [(2,), (2,)]


def test_the_angle_between_levels_is_rounded_after_the_difference() -> None:
    """Its error is that of float32 relative to itself, however close the levels are."""
    schedule, theta = NoiseSchedule("linear", 1000), angles("linear", 1000)
    start, end = torch.tensor([2, 1000, 600]), torch.tensor([1, 0, 599])
    delta = schedule.angle(start, end, torch.zeros(3, 1, 2, 2))
    assert delta.shape == (3, 1, 1, 1) and delta.dtype == torch.float32
    assert delta.flatten().double().numpy() == pytest.approx(theta[start] - theta[end], rel=1e-7)
    assert schedule.angle(start, end, torch.zeros(3, dtype=torch.float64)).dtype == torch.float64


def test_a_schedule_is_no_part_of_the_weights() -> None:
    assert not NoiseSchedule("cosine", 10).state_dict()
