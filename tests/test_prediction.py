"""What a network's output means, and where a jump should point."""

from typing import get_args

import pytest
import torch
from torch import Tensor

from sfddm.diffusion.prediction import Output, Prediction, to_sample, to_v, training_target
from sfddm.diffusion.process import diffuse, hidden_target
from sfddm.diffusion.schedule import NoiseSchedule
from sfddm.diffusion.steps import ddim_step

ALPHA, SIGMA, X0, NOISE = 0.6, 0.8, 0.5, -1.0
X, V = -0.5, -1.0
"""alpha x_0 + sigma noise = .3 - .8, and alpha noise - sigma x_0 = -.6 - .4."""


Q = (SIGMA**2 + (ALPHA / 2) ** 2) ** 0.5
F = (0.75 * ALPHA * SIGMA / Q * X - Q * V) / 0.5
"""EDM's, of the same image and noise: (x_0 - c_skip x) / c_out for x / alpha."""


def plane(*values: float) -> Tensor:
    """One image of one pixel, with a channel for each value."""
    return torch.tensor(values, dtype=torch.float64).view(1, -1, 1, 1)


@pytest.mark.parametrize(
    ("kind", "output"),
    [("sample", [X0]), ("epsilon", [NOISE]), ("v", [V]), ("edm", [F]), ("epsilon-sample", [NOISE, X0])],
)
def test_every_output_stands_for_the_same_image_and_v(kind: Output, output: list[float]) -> None:
    given = plane(*output), plane(X), plane(ALPHA), plane(SIGMA)
    assert float(to_sample(kind, *given)) == pytest.approx(X0)
    assert float(to_v(kind, *given)) == pytest.approx(V)


@pytest.mark.parametrize(
    ("kind", "output", "image", "v"),
    [
        ("sample", [0.25], 0.25, (0.6 * 2 - 0.25) / 0.8),
        ("epsilon", [0.25], (2 - 0.8 * 0.25) / 0.6, (0.25 - 0.8 * 2) / 0.6),
        ("v", [0.25], 0.6 * 2 - 0.8 * 0.25, 0.25),
        ("epsilon-sample", [0.25, -3.0], 0.6 * 2 - 0.8 * 2.55, 0.6 * 0.25 + 0.8 * 3),
    ],
)
def test_an_output_that_fits_no_image_is_converted_by_hand(
    kind: Output, output: list[float], image: float, v: float
) -> None:
    """At x = 2, alpha = .6 and sigma = .8; two outputs need not agree with each other."""
    given = plane(*output), plane(2.0), plane(ALPHA), plane(SIGMA)
    assert float(to_sample(kind, *given)) == pytest.approx(image)
    assert float(to_v(kind, *given)) == pytest.approx(v)


def test_two_outputs_are_noise_and_image_of_the_same_channels() -> None:
    """Three channels of noise first, then three of the image."""
    noise, image = plane(1.0, 2.0, 3.0), plane(-4.0, 0.0, 5.0)
    found = to_v("epsilon-sample", torch.cat([noise, image], dim=1), 0 * noise, plane(ALPHA), plane(SIGMA))
    assert torch.allclose(found, 0.6 * noise - 0.8 * image)


@pytest.mark.parametrize(("kind", "expected"), [("sample", X0), ("epsilon", NOISE), ("v", V), ("edm", F)])
def test_what_a_network_is_trained_to_put_out(kind: Prediction, expected: float) -> None:
    assert float(training_target(kind, *map(plane, (X0, NOISE, ALPHA, SIGMA)))) == pytest.approx(expected)


@pytest.mark.parametrize("kind", get_args(Prediction))
def test_predictions_convert_into_each_other(kind: Prediction) -> None:
    schedule = NoiseSchedule("linear", 1000)
    x0, noise, level = torch.randn(3, 1, 2, 2), torch.randn(3, 1, 2, 2), torch.tensor([1, 500, 900])
    alpha, sigma = schedule.at(level, x0)
    x = diffuse(x0, noise, alpha, sigma)
    output = training_target(kind, x0, noise, alpha, sigma)
    assert torch.allclose(to_sample(kind, output, x, alpha, sigma), x0, atol=1e-3)
    assert torch.allclose(to_v(kind, output, x, alpha, sigma), alpha * noise - sigma * x0, atol=1e-3)


def test_the_hidden_target_by_hand() -> None:
    """A jump of 30 degrees: (cos 30 x_s - x_r) / sin 30."""
    found = hidden_target(plane(2.0), plane(-0.25), plane(torch.pi / 6))
    assert float(found) == pytest.approx(2 * (3**0.5 / 2 * 2 + 0.25))


def test_the_hidden_target_of_one_teacher_step_is_the_teachers_own_output() -> None:
    schedule = NoiseSchedule("cosine", 1024)
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
