"""What the samplers do between two predictions: clipping, memory, noise, and what they tell the network."""

from itertools import pairwise
from typing import get_args

import pytest
import torch
from torch import Tensor

from sfddm.diffusion.sampler import Sampler
from sfddm.diffusion.sampling import advance, sample, trajectory
from sfddm.diffusion.schedule import NoiseSchedule
from sfddm.diffusion.solvers import SOLVERS, Solver, Teaching
from sfddm.diffusion.steps import Step
from tests.gaussian import NO_NOISE, ONE, GaussianTeacher, Told, image_factor, level

LEVELS = (16, 32, 48)
"""Levels of a cosine schedule with T = 64; alpha is .91, .69 and .37 there."""


def at(t: int) -> tuple[float, float]:
    return level("cosine", 64, t)


def told(*images: float) -> Told:
    """A denoiser that predicts these images on the way down `LEVELS`, and knows no other jumps."""
    return Told(dict(zip(pairwise((*reversed(LEVELS), 0)), images, strict=True)))


def states(network: GaussianTeacher | Told, x: float, clip: bool, solver: Solver, *noises: float) -> list[float]:
    """Every state from x at the highest level down to the image."""
    drawn = (noise * ONE for noise in noises)
    sampler = Sampler(solver=solver, levels=LEVELS, clip_sample=clip)
    passed = [float(state.x) for state in trajectory(network, x * ONE, sampler, drawn)]
    assert next(drawn, None) is None, "every noise was drawn"
    return passed


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("solver", get_args(Teaching))
def test_predictions_beyond_the_range_lead_to_its_end_where_they_are_clipped(solver: Solver, sign: int) -> None:
    """Whatever is predicted counts as 1, so that the trajectory is alpha + sigma * noise with one noise throughout."""
    x, (alpha, sigma) = 12.0, at(48)
    assert image_factor(alpha, sigma) * x > 1
    noise = (x - alpha) / sigma
    expected = [alpha_t + sigma_t * noise for alpha_t, sigma_t in map(at, (48, 32, 16, 0))]
    teacher = GaussianTeacher("cosine", 64)
    clipped = states(teacher, sign * x, True, solver)
    assert clipped == pytest.approx([sign * state for state in expected], rel=1e-5)
    assert abs(states(teacher, sign * x, False, solver)[-1]) > 1.5


@pytest.mark.parametrize("solver", get_args(Solver))
def test_a_clipping_sampler_never_sees_more_than_the_range(solver: Solver) -> None:
    """Multistep solvers remember the clipped prediction as well."""
    noises = (0.3, -0.2) if SOLVERS[solver].stochastic else ()
    beyond = states(told(3.0, -2.5, 0.25), 0.7, True, solver, *noises)
    within = states(told(1.0, -1.0, 0.25), 0.7, False, solver, *noises)
    assert beyond[:-1] == within[:-1] and beyond[-1] == max(-1.0, min(within[-1], 1.0))


def test_the_angle_integrator_extrapolates_to_clean_data_and_clips_what_it_finds() -> None:
    theta = torch.atan2(*torch.tensor([at(16)[::-1], at(32)[::-1]]).T).tolist()
    extrapolated = 0.9 + (0.9 - 0.2) / (theta[1] - theta[0]) * theta[0]
    assert extrapolated > 1.1
    network = told(0.2, 0.2, 0.9)
    assert states(network, 0.7, False, "angle-2m")[-1] == pytest.approx(extrapolated, rel=1e-5)
    assert states(network, 0.7, True, "angle-2m")[-1] == 1


def test_solvers_that_students_learn_from_have_one_evaluation_and_look_back_at_most_once() -> None:
    assert all(SOLVERS[solver][:3] in ((1, 0, False), (1, 1, False)) for solver in get_args(Teaching))


def test_states_on_the_way_are_not_clipped() -> None:
    alpha, sigma = at(48)
    for solver in get_args(Teaching):
        passed = states(told(0.5, 0.5, 0.5), 3.0, True, solver)
        expected = [a * 0.5 + s * (3.0 - alpha * 0.5) / sigma for a, s in map(at, (48, 32, 16, 0))]
        assert passed == pytest.approx(expected, rel=1e-5) and min(passed[:3]) > 1


def test_a_trajectory_tells_the_network_where_it_is_and_where_it_goes_next() -> None:
    """The network knows the jumps between neighbours alone; its features stay with the state that they are of."""
    passed = list(trajectory(told(0.1, 0.2, 0.3), ONE, Sampler(solver="ddim", levels=LEVELS, clip_sample=False),
                             NO_NOISE))  # fmt: skip
    assert [state.level for state in passed] == [48, 32, 16, 0]
    assert all(torch.equal(state.features, state.x + state.level) for state in passed[:-1])
    assert passed[-1].features is None and float(passed[-1].x) == pytest.approx(0.3)


def test_ancestral_steps_draw_from_the_posterior_and_end_in_the_prediction() -> None:
    x, passed = 0.7, states(told(0.5, -0.5, 0.25), 0.7, False, "ancestral", 2.0, -1.0)
    for (s, r), image, noise, found in zip(((48, 32), (32, 16)), (0.5, -0.5), (2.0, -1.0), passed[1:], strict=False):
        (alpha_s, sigma_s), (alpha_r, sigma_r) = at(s), at(r)
        added = 1 - (alpha_s / alpha_r) ** 2
        mean = (alpha_r * added * image + alpha_s / alpha_r * sigma_r**2 * x) / sigma_s**2
        x = mean + noise * (added * sigma_r**2 / sigma_s**2) ** 0.5
        assert found == pytest.approx(x, rel=1e-5)
    assert passed[-1] == 0.25


def test_consistency_steps_noise_the_predicted_image_afresh() -> None:
    passed = states(told(0.5, -0.5, 0.25), 0.7, False, "consistency", 2.0, -1.0)
    (alpha_32, sigma_32), (alpha_16, sigma_16) = at(32), at(16)
    expected = [0.7, alpha_32 * 0.5 + sigma_32 * 2.0, alpha_16 * -0.5 - sigma_16, 0.25]
    assert passed == pytest.approx(expected, rel=1e-5)


def test_every_image_of_a_batch_goes_its_own_way() -> None:
    teacher, sampler = GaussianTeacher("cosine", 64), Sampler(solver="angle-2m", levels=LEVELS, clip_sample=True)
    noise = torch.randn(5, 2, 3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    together = sample(teacher, noise, sampler, NO_NOISE)
    alone = [sample(teacher, noise[at : at + 1], sampler, NO_NOISE) for at in range(5)]
    assert torch.allclose(together, torch.cat(alone)) and together.shape == noise.shape


@pytest.mark.parametrize("solver", get_args(Solver))
def test_solvers_are_sorted_by_memory_and_noise(solver: Solver) -> None:
    sampler = Sampler(solver=solver, levels=LEVELS, clip_sample=False)
    level_48, level_32, level_16 = (tuple(part * ONE for part in at(t)) for t in (48, 32, 16))

    def step(last: float | None, noise: float) -> Tensor:
        before = () if last is None else ((last * ONE, level_48),)
        taken = Step(ONE, 0.5 * ONE, level_32, level_16, before, iter([noise * ONE]), lambda x: x)
        return advance(sampler, taken, final=False)

    assert bool(step(-0.5, 0) != step(None, 0)) == bool(SOLVERS[solver].memory)
    assert bool(step(None, 1) != step(None, 0)) == SOLVERS[solver].stochastic


class Placed:
    """A denoiser that keeps where the levels are that it is told."""

    def __init__(self, device: torch.device) -> None:
        self.schedule = NoiseSchedule("cosine", 64).to(device)
        self.seen: set[torch.device] = set()

    def predict(self, x: Tensor, level: Tensor, landing: Tensor) -> tuple[Tensor, None]:
        self.seen |= {level.device, landing.device}
        return x, None


def test_levels_are_told_on_the_device_of_the_states() -> None:
    device = torch.device("meta")  # it has no memory, and stands for a GPU
    network = Placed(device)
    sampler = Sampler(solver="dpm-solver", levels=LEVELS, clip_sample=False)
    assert sample(network, torch.empty(2, 1, 1, 1, device=device), sampler, NO_NOISE).device == device
    assert network.seen == {device}


def test_solvers_have_the_traits_that_exports_and_specs_go_by() -> None:
    assert {name: traits.memory for name, traits in SOLVERS.items() if traits.memory} == {
        "dpm-solver": 1,
        "unipc": 2,
        "angle-2m": 1,
    }
    assert {name for name, traits in SOLVERS.items() if traits.last_step} == {"angle-2m"}
    assert {name for name, traits in SOLVERS.items() if traits.stochastic} == {"ancestral", "consistency"}
    assert {traits.evaluations for traits in SOLVERS.values()} == {1}


def test_a_sampler_counts_its_evaluations_and_is_stored_as_plain_data() -> None:
    sampler = Sampler(solver="ddim", levels=(3, 7, 9), clip_sample=True)
    assert sampler.nfe == 3
    assert sampler.to_json() == {"solver": "ddim", "levels": [3, 7, 9], "clip_sample": True}
