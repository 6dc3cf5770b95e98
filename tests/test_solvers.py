"""Every solver's step by hand, and whole trajectories on Gaussian data, whose exact teacher is linear."""

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import torch
from diffusers import DPMSolverMultistepScheduler, UniPCMultistepScheduler
from torch import Tensor

from sfddm.diffusion.sampler import Sampler
from sfddm.diffusion.sampling import sample, trajectory
from sfddm.diffusion.schedule import NoiseSchedule
from sfddm.diffusion.solvers import Solver
from sfddm.diffusion.spacing import resolve
from sfddm.diffusion.steps import ancestral_step, angle_step, ddim_step, dpm_solver_step
from sfddm.spec.index_set import Uniform
from tests.gaussian import NO_NOISE, ONE, GaussianTeacher, S, T, ddim_factor, flow_factor, image_factor, level
from tests.solvers import angle_2m, dpm_solver

LAST, AT_S, AT_R, CLEAN = (
    tuple(torch.tensor([part], dtype=torch.float64) for part in level)
    for level in ((0.28, 0.96), (0.6, 0.8), (0.8, 0.6), (1.0, 0.0))
)
"""Levels whose alpha and sigma are short decimals."""
X, X0, LAST_X0, NOISE = (torch.tensor([value], dtype=torch.float64) for value in (1.0, 0.5, -0.25, 2.0))


def test_a_ddim_step_by_hand() -> None:
    """The noise (1 - .6 * .5) / .8 = .875 stays: .8 * .5 + .6 * .875."""
    assert float(ddim_step(X, X0, AT_S, AT_R)) == pytest.approx(0.925)
    assert float(ddim_step(X, X0, AT_S, CLEAN)) == 0.5


def test_an_ancestral_step_by_hand() -> None:
    """The posterior's mean .6953125 and variance .24609375 are worked out in the tests of the process."""
    found = ancestral_step(X, X0, NOISE, AT_S, AT_R)
    assert float(found) == pytest.approx(0.6953125 + 2 * math.sqrt(0.24609375))


@pytest.mark.parametrize(
    ("step", "by_hand", "at_r"),
    [(dpm_solver_step, dpm_solver, AT_R), (angle_step, angle_2m, AT_R), (angle_step, angle_2m, CLEAN)],
)
def test_a_multistep_solvers_step_is_that_of_its_paper(
    step: Callable[..., Tensor], by_hand: Callable[..., float], at_r: tuple[Tensor, Tensor]
) -> None:
    last, s, r = (tuple(map(float, at)) for at in (LAST, AT_S, at_r))
    found = float(step(X, X0, (LAST_X0, LAST), AT_S, at_r))
    assert found == pytest.approx(by_hand(1.0, 0.5, (-0.25, last), s, r))


@pytest.mark.parametrize("step", [dpm_solver_step, angle_step])
def test_the_first_step_of_a_multistep_solver_is_ddims(step: Callable[..., Tensor]) -> None:
    assert torch.equal(step(X, X0, None, AT_S, AT_R), ddim_step(X, X0, AT_S, AT_R))


def sampler(steps: int, solver: Solver = "ddim") -> Sampler:
    levels = resolve(Uniform(kind="uniform", steps=steps), "sigmoid", T)
    return Sampler(solver=solver, levels=levels, clip_sample=False)


def end_deviation(teacher: GaussianTeacher, used: Sampler) -> float:
    """Standard deviation of the samples from noise of deviation 1: every solver is linear, so one point tells."""
    return float(sample(teacher, ONE, used, NO_NOISE))


@pytest.mark.parametrize(("steps", "expected"), [(2, 0.200), (4, 0.333), (8, 0.408), (16, 0.450), (128, 0.492)])
def test_ddim_on_gaussian_data_ends_with_the_known_deviation(steps: int, expected: float) -> None:
    used = sampler(steps)
    found = end_deviation(GaussianTeacher(), used)
    assert found == pytest.approx(expected, abs=6e-4)
    assert found == pytest.approx(ddim_factor("sigmoid", T, *reversed(used.levels), 0), rel=1e-5)


def test_ddim_on_all_levels_recovers_the_data() -> None:
    assert end_deviation(GaussianTeacher(), sampler(T)) == pytest.approx(0.499, abs=6e-4)


@pytest.mark.parametrize(("solver", "order"), [("ddim", 1), ("dpm-solver", 2), ("unipc", 3), ("angle-2m", 2)])
def test_solvers_converge_with_their_order(solver: Solver, order: int) -> None:
    """On a smooth schedule with many levels, doubling the steps divides the error by 2^order, or by more."""
    teacher = GaussianTeacher("cosine")
    # The last steps before clean data are left out: there the log-SNR, in which DPM-Solver++ works, is infinite.
    start, end = 900, 132
    errors = []
    for parts in (24, 48):
        levels = tuple(end + (start - end) * part // parts for part in range(parts + 1))
        used = Sampler(solver=solver, levels=levels, clip_sample=False)
        passed = {state.level: float(state.x) for state in trajectory(teacher, ONE, used, NO_NOISE)}
        errors.append(abs(passed[end] - flow_factor("cosine", T, start, end)))
    assert errors[0] / errors[1] > 0.75 * 2**order


@pytest.mark.parametrize("noise", [1.0, 12.0])
@pytest.mark.parametrize(("solver", "by_hand"), [("dpm-solver", dpm_solver), ("angle-2m", angle_2m)])
def test_multistep_trajectories_are_their_steps_one_after_another(
    solver: Solver, by_hand: Callable[..., float], noise: float
) -> None:
    """With clipping on; the larger noise leads to predictions beyond 1 and back."""
    kind, timesteps, levels = "cosine", 64, (5, 16, 32, 48, 60)
    used = Sampler(solver=solver, levels=levels, clip_sample=True)
    x, last, expected, clipped = noise, None, [noise], 0
    for s, r in pairwise((*reversed(levels), 0)):
        at_s, at_r = level(kind, timesteps, s), level(kind, timesteps, r)
        predicted = image_factor(*at_s) * x
        x0 = max(-1.0, min(predicted, 1.0))
        clipped += predicted != x0
        x, last = by_hand(x, x0, last, at_s, at_r), (x0, at_s)
        expected.append(x)
    expected[-1] = max(-1.0, min(expected[-1], 1.0))
    found = [float(state.x) for state in trajectory(GaussianTeacher(kind, timesteps), noise * ONE, used, NO_NOISE)]
    assert found == pytest.approx(expected, rel=1e-5)
    assert (clipped > 1) == (noise > 1)


class Bent:
    """A denoiser that is neither linear in the state nor in anything of the level."""

    def __init__(self) -> None:
        self.schedule = NoiseSchedule("cosine", T).double()

    def predict(self, x: Tensor, level: Tensor, landing: Tensor) -> tuple[Tensor, Tensor]:
        return torch.tanh(x * (1 + level.view_as(x) / T)) + torch.sin(level.view_as(x) / 100), x


SCHEDULER = {"num_train_timesteps": T, "solver_order": 2, "prediction_type": "sample", "final_sigmas_type": "zero"}


@pytest.mark.parametrize("levels", [(700,), (300, 1000), (1, 200, 1024), (5, 100, 350, 420, 800, 1000)])
@pytest.mark.parametrize(
    ("solver", "scheduler"),
    [
        ("unipc", UniPCMultistepScheduler(**SCHEDULER, solver_type="bh2", predict_x0=True)),
        ("dpm-solver", DPMSolverMultistepScheduler(**SCHEDULER, algorithm_type="dpmsolver++", solver_type="midpoint")),
    ],
)
def test_solvers_that_diffusers_has_as_well_are_the_same(
    solver: Solver, scheduler: Any, levels: tuple[int, ...]
) -> None:
    network = Bent()
    alpha, sigma = network.schedule.alpha, network.schedule.sigma
    scheduler.set_timesteps(len(levels))
    falling = torch.tensor(levels[::-1])
    scheduler.timesteps = falling - 1
    scheduler.sigmas = torch.cat([sigma[falling] / alpha[falling], torch.zeros(1)])
    x = expected = torch.tensor([0.3, -1.7], dtype=torch.float64).view(2, 1)
    for t in falling.tolist():
        image, _ = network.predict(expected, torch.full((2,), t), torch.zeros(2))
        expected = scheduler.step(image, t - 1, expected).prev_sample
    found = sample(network, x, Sampler(solver=solver, levels=levels, clip_sample=False), NO_NOISE)
    assert found.flatten().tolist() == pytest.approx(expected.flatten().tolist(), abs=1e-6)


def test_ancestral_sampling_keeps_the_variance_of_the_exact_posterior() -> None:
    """Images are linear in the first noise and in those of all steps: one of them at a time tells their share."""
    steps = 512
    first, *later = torch.eye(steps, dtype=torch.float64)
    shares = sample(
        GaussianTeacher("cosine"), first[:, None], sampler(steps, "ancestral"), iter(n[:, None] for n in later)
    )
    # Using E[x_0 | x] in place of a draw of x_0 loses variance of order 1 / steps: 5 % at 64 steps.
    assert float(shares.square().sum().sqrt()) == pytest.approx(S, rel=0.01)


class LinearInAngle:
    """A denoiser whose image depends on the level alone: x_0 = 1 + 2 theta."""

    def __init__(self) -> None:
        self.schedule = NoiseSchedule("cosine", T).double()

    def predict(self, x: Tensor, level: Tensor, landing: Tensor) -> tuple[Tensor, Tensor]:
        return (1 + 2 * self.schedule.theta[level]).view_as(x), x


def test_the_angle_integrator_is_exact_where_the_image_is_linear_in_the_angle() -> None:
    """x / sigma is the integral of x_0 d cot(theta), so few steps land where many do, at clean data x_0(0) = 1."""
    teacher = LinearInAngle()
    # The first step is DDIM's; a start from level 600 with two predictions behind it is what the second one has.
    few, many = (
        {state.level: float(state.x) for state in trajectory(teacher, ONE, used, NO_NOISE)}
        for used in (
            Sampler(solver="angle-2m", levels=(200, 1023, 1024), clip_sample=False),
            Sampler(solver="angle-2m", levels=tuple(range(1, T + 1)), clip_sample=False),
        )
    )
    assert few[0] == pytest.approx(1, abs=1e-6) and many[0] == pytest.approx(1, abs=1e-6)
    assert few[200] == pytest.approx(many[200], abs=1e-5)
