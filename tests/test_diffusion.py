"""The mathematics against closed forms: for Gaussian data N(0, s^2) the exact teacher is linear."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor

from sfddm.diffusion.levels import alpha_bar
from sfddm.diffusion.prediction import to_sample, to_v, training_target
from sfddm.diffusion.process import diffuse, hidden_target, posterior, transition
from sfddm.diffusion.sampler import Sampler
from sfddm.diffusion.sampling import sample, trajectory
from sfddm.diffusion.schedule import NoiseSchedule
from sfddm.diffusion.spacing import resolve
from sfddm.diffusion.steps import ddim_step
from sfddm.spec.index_set import Uniform

S = 0.5
T = 1024
NO_NOISE = iter(())


class GaussianTeacher:
    """The exact denoiser of N(0, S^2): E[x_0 | x_t] = alpha S^2 x / (alpha^2 S^2 + sigma^2)."""

    def __init__(self, kind: str = "sigmoid") -> None:
        self.schedule = NoiseSchedule(kind, T).double()

    def predict(self, x: Tensor, level: Tensor, landing: Tensor) -> tuple[Tensor, Tensor]:
        alpha, sigma = self.schedule.at(level, x)
        return alpha * S**2 * x / (alpha**2 * S**2 + sigma**2), x


class LinearStudent:
    """A student whose x_0 at each level is a factor times x."""

    def __init__(self, schedule: NoiseSchedule, factors: dict[int, float]) -> None:
        self.schedule, self.factors = schedule, factors

    def predict(self, x: Tensor, level: Tensor, landing: Tensor) -> tuple[Tensor, Tensor]:
        return self.factors[int(level[0])] * x, x


def sampler(steps: int, solver: str = "ddim") -> Sampler:
    levels = resolve(Uniform(kind="uniform", steps=steps), "sigmoid", T)
    return Sampler(solver=solver, levels=levels, clip_sample=False)


def end_deviation(teacher: GaussianTeacher, used: Sampler) -> float:
    """Standard deviation of the samples from noise of deviation 1: every solver is linear, so one point tells."""
    return float(sample(teacher, torch.ones(1, 1, dtype=torch.float64), used, NO_NOISE))


@pytest.mark.parametrize(("steps", "expected"), [(2, 0.200), (4, 0.333), (8, 0.408), (16, 0.450), (128, 0.492)])
def test_ddim_on_gaussian_data_ends_with_the_known_deviation(steps: int, expected: float) -> None:
    assert end_deviation(GaussianTeacher(), sampler(steps)) == pytest.approx(expected, abs=6e-4)


def test_ddim_on_all_levels_recovers_the_data() -> None:
    assert end_deviation(GaussianTeacher(), sampler(T)) == pytest.approx(0.499, abs=6e-4)


@pytest.mark.parametrize("steps", [1, 2, 4, 8, 10])
def test_a_student_on_the_hidden_target_ends_where_its_teacher_does(steps: int) -> None:
    teacher, levels = GaussianTeacher(), resolve(Uniform(kind="uniform", steps=steps), "sigmoid", T)
    full = {
        state.level: float(state.x) for state in trajectory(teacher, torch.ones(1, 1).double(), sampler(T), NO_NOISE)
    }
    factors = {}
    for lower, level in zip((0, *levels), levels, strict=False):
        x_s, x_r = torch.tensor([[full[level]]]).double(), torch.tensor([[full[lower]]]).double()
        delta = teacher.schedule.angle(torch.tensor([level]), torch.tensor([lower]), x_s)
        v = hidden_target(x_s, x_r, delta)
        factors[level] = float(to_sample("v", v, x_s, *teacher.schedule.at(torch.tensor([level]), x_s)) / x_s)
    student = LinearStudent(teacher.schedule, factors)
    assert end_deviation(student, sampler(steps)) == pytest.approx(full[0], rel=1e-6)


@pytest.mark.parametrize(("solver", "order"), [("ddim", 1), ("dpm-solver", 2), ("angle-2m", 2)])
def test_solvers_converge_with_their_order(solver: str, order: int) -> None:
    """On a smooth schedule with many levels, doubling the steps divides the error by 2^order, or by more."""
    teacher = GaussianTeacher("cosine")
    # The last steps before clean data are left out: there the log-SNR, in which DPM-Solver++ works, is infinite.
    start, end = 900, 132
    errors = []
    for parts in (24, 48):
        levels = tuple(end + (start - end) * part // parts for part in range(parts + 1))
        used = Sampler(solver=solver, levels=levels, clip_sample=False)
        states = list(trajectory(teacher, torch.ones(1, 1).double(), used, NO_NOISE))
        reached = float(next(state.x for state in states if state.level == end))
        alpha, sigma = (teacher.schedule.at(torch.tensor([level]), torch.ones(1, 1).double()) for level in (start, end))
        exact = math.sqrt(_variance(sigma) / _variance(alpha))
        errors.append(abs(reached - exact))
    assert errors[0] / errors[1] > 0.75 * 2**order


def _variance(level: tuple[Tensor, Tensor]) -> float:
    return float(level[0] ** 2 * S**2 + level[1] ** 2)


def test_ancestral_sampling_keeps_the_variance_of_the_exact_posterior() -> None:
    teacher = GaussianTeacher("cosine")
    generator = torch.Generator().manual_seed(0)
    noises = iter(lambda: torch.randn(20_000, 1, generator=generator, dtype=torch.float64), None)
    start = torch.randn(20_000, 1, generator=generator, dtype=torch.float64)
    images = sample(teacher, start, sampler(512, "ancestral"), noises)
    # Using E[x_0 | x] in place of a draw of x_0 loses variance of order 1 / steps: 5 % at 64 steps.
    assert float(images.std()) == pytest.approx(S, rel=0.015)


@pytest.mark.parametrize("kind", ["linear", "cosine", "sigmoid"])
@pytest.mark.parametrize("timesteps", [64, 1000])
def test_schedules_fall_from_clean_data_to_noise(kind: str, timesteps: int) -> None:
    remaining = alpha_bar(kind, timesteps)
    assert remaining[0] == 1 and len(remaining) == timesteps + 1
    assert bool((np.diff(remaining) < 0).all())
    assert float(remaining[-1]) < 1e-3


def test_the_linear_schedule_is_ddpms() -> None:
    assert np.allclose(alpha_bar("linear", 1000)[1:], np.cumprod(1 - np.linspace(1e-4, 0.02, 1000)))


def test_the_students_forward_process_shares_the_teachers_hidden_variables() -> None:
    """Lemma A.1: the steps of an index set compose to the teacher's marginal."""
    schedule = NoiseSchedule("cosine", T).double()
    scale, variance = torch.ones(1, 1).double(), torch.zeros(1, 1).double()
    levels = (0, 37, 300, 301, 900)
    for lower, level in pairwise(levels):
        alphas = [schedule.at(torch.tensor([at]), scale)[0] for at in (lower, level)]
        factor, added = transition(*alphas)
        scale, variance = factor * scale, factor**2 * variance + added
    alpha, sigma = schedule.at(torch.tensor([900]), scale)
    assert torch.allclose(scale, alpha, rtol=1e-5) and torch.allclose(variance, sigma**2, rtol=1e-5)


def test_the_posterior_is_bayes_rule() -> None:
    """Product of q'(x_s | x_r) and q(x_r | x_0), as Gaussians in x_r."""
    schedule = NoiseSchedule("cosine", T).double()
    x_s, x0 = torch.tensor([[0.7]]).double(), torch.tensor([[-0.4]]).double()
    at_s, at_r = (schedule.at(torch.tensor([level]), x_s) for level in (600, 350))
    factor, variance = transition(at_r[0], at_s[0])
    precision = factor**2 / variance + 1 / at_r[1] ** 2
    mean = (factor * x_s / variance + at_r[0] * x0 / at_r[1] ** 2) / precision
    found_mean, found_variance = posterior(x_s, x0, at_s, at_r)
    assert torch.allclose(found_mean, mean, rtol=1e-4) and torch.allclose(found_variance, 1 / precision, rtol=1e-4)


def test_the_hidden_target_of_one_teacher_step_is_the_teachers_own_output() -> None:
    schedule = NoiseSchedule("cosine", T)
    x, v = torch.randn(4, 1, 2, 2), torch.randn(4, 1, 2, 2)
    start, end = torch.tensor([1024, 700, 30, 1]), torch.tensor([512, 100, 29, 0])
    at_s, at_r = schedule.at(start, x), schedule.at(end, x)
    landing = ddim_step(x, to_sample("v", v, x, *at_s), at_s, at_r)
    found = hidden_target(x, landing, schedule.angle(start, end, x))
    # Levels that lie close together cost digits: the angle between levels 30 and 29 is 0.0015.
    assert torch.allclose(found, v, atol=1e-3)


def test_a_jump_on_the_hidden_target_lands_where_it_should() -> None:
    schedule = NoiseSchedule("linear", 1000)
    x, goal = torch.randn(3, 1, 2, 2), torch.randn(3, 1, 2, 2)
    start, end = torch.tensor([1000, 600, 5]), torch.tensor([500, 0, 2])
    v = hidden_target(x, goal, schedule.angle(start, end, x))
    at_s, at_r = schedule.at(start, x), schedule.at(end, x)
    landed = ddim_step(x, to_sample("v", v, x, *at_s), at_s, at_r)
    assert torch.allclose(landed, goal, atol=2e-4)


@pytest.mark.parametrize("kind", ["epsilon", "v", "sample"])
def test_predictions_convert_into_each_other(kind: str) -> None:
    schedule = NoiseSchedule("linear", 1000)
    x0, noise, level = torch.randn(3, 1, 2, 2), torch.randn(3, 1, 2, 2), torch.tensor([1, 500, 900])
    alpha, sigma = schedule.at(level, x0)
    x = diffuse(x0, noise, alpha, sigma)
    output = training_target(kind, x0, noise, alpha, sigma)
    assert torch.allclose(to_sample(kind, output, x, alpha, sigma), x0, atol=1e-3)
    assert torch.allclose(to_v(kind, output, x, alpha, sigma), alpha * noise - sigma * x0, atol=1e-3)


def test_equal_index_sets_give_equal_images_however_they_are_written() -> None:
    teacher = GaussianTeacher("cosine")
    explicit = Sampler(solver="ddim", levels=(256, 512, 768, 1024), clip_sample=False)
    assert end_deviation(teacher, explicit) == end_deviation(teacher, sampler(4))


class LinearInAngle:
    """A denoiser whose image depends on the level alone: x_0 = 1 + 2 theta."""

    def __init__(self) -> None:
        self.schedule = NoiseSchedule("cosine", T).double()

    def predict(self, x: Tensor, level: Tensor, landing: Tensor) -> tuple[Tensor, Tensor]:
        return (1 + 2 * self.schedule.theta[level]).reshape(-1, 1).expand_as(x), x


def test_the_angle_integrator_is_exact_where_the_image_is_linear_in_the_angle() -> None:
    """x / sigma is the integral of x_0 d cot(theta), so few steps land where many do, at clean data x_0(0) = 1."""
    teacher = LinearInAngle()
    # The first step is DDIM's; a start from level 600 with two predictions behind it is what the second one has.
    few, many = (
        {state.level: float(state.x) for state in trajectory(teacher, torch.ones(1, 1).double(), used, NO_NOISE)}
        for used in (
            Sampler(solver="angle-2m", levels=(200, 1023, 1024), clip_sample=False),
            Sampler(solver="angle-2m", levels=tuple(range(1, T + 1)), clip_sample=False),
        )
    )
    assert few[0] == pytest.approx(1, abs=1e-6) and many[0] == pytest.approx(1, abs=1e-6)
    assert few[200] == pytest.approx(many[200], abs=1e-5)
