"""The forward process, and what a step back draws from."""

from itertools import pairwise

import pytest
import torch

from sfddm.diffusion.process import diffuse, posterior, transition
from sfddm.diffusion.schedule import NoiseSchedule

T = 1024
A, B, C, D = (torch.tensor([[value]], dtype=torch.float64) for value in (0.6, 0.8, 1.0, 0.5))


def test_noise_is_added_in_the_schedules_proportion() -> None:
    assert float(diffuse(x0=D, noise=-C, alpha=A, sigma=B)) == pytest.approx(0.6 * 0.5 - 0.8)


def test_a_transition_by_hand() -> None:
    """From alpha = .8 to .6: three quarters of the state and 1 - 9/16 of variance."""
    factor, variance = transition(alpha_r=B, alpha_s=A)
    assert (float(factor), float(variance)) == pytest.approx((0.75, 0.4375))


def test_a_posterior_by_hand() -> None:
    """(.8 * .4375 * .5 + .75 * .36 * 1) / .64 and .4375 * .36 / .64."""
    mean, variance = posterior(x_s=C, x0=D, at_s=(A, B), at_r=(B, A))
    assert (float(mean), float(variance)) == pytest.approx((0.6953125, 0.24609375))


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
