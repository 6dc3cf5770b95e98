"""The distribution term in closed form: of Gaussian data every score is linear."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from attrs import evolve
from torch import Tensor

from sfddm.methods.job import distill
from sfddm.methods.scores import Fake, Scored, score
from sfddm.methods.scores import fake_of as fake_of_task
from sfddm.methods.sources import Batch
from sfddm.methods.train import task_of
from sfddm.networks import storage
from sfddm.networks.contract import Contract
from sfddm.networks.denoiser import Denoiser
from sfddm.networks.student import first_student
from sfddm.randomness import Purpose, generator
from sfddm.spec.index_set import Uniform
from sfddm.spec.students import SFDDM
from sfddm.training.batches import Rows
from tests.gaussian import S, gaussian_job, level, linear_teacher, use_linear_networks
from tests.parts import COPY, CPU, DISTRIBUTION, FEW, METHODS

T = 64
EXACT = Contract(timesteps=T, noise_schedule="cosine", prediction="v")
NOISE = Contract(timesteps=T, noise_schedule="cosine", prediction="epsilon")
LANDINGS = (0, 16, 48)


@pytest.fixture(autouse=True)
def linear_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    use_linear_networks(monkeypatch)


def deviation(landing: int, data: float = S) -> float:
    """The standard deviation of hidden variables of data N(0, data^2)."""
    alpha, sigma = level("cosine", T, landing)
    return math.hypot(alpha * data, sigma)


def fake_of(teacher: Denoiser) -> Denoiser:
    """A copy that is told landing levels, and knows the teacher's distribution for each of them."""
    return first_student(teacher, COPY, 0, two_times=True)


def scored(fake: Denoiser, landing: int, size: int = 2000, data: float = S, seed: int = 0) -> Scored:
    """Hidden variables of data N(0, data^2), scored against data N(0, S^2) by a teacher of the fake's contract."""
    teacher = linear_teacher(evolve(fake.contract, two_times=False))
    x = deviation(landing, data) * torch.randn(size, 1, 8, 8, generator=torch.Generator().manual_seed(seed))
    levels = torch.full((size,), landing)
    return score(x, levels, teacher, fake, np.random.default_rng(seed), Rows(size))


@pytest.mark.parametrize("contract", [EXACT, NOISE])
@pytest.mark.parametrize("landing", LANDINGS)
def test_equal_distributions_give_no_direction(landing: int, contract: Contract) -> None:
    direction = scored(fake_of(linear_teacher(contract)), landing, 100).direction
    assert direction.shape == (100, 1, 8, 8) and float(direction.abs().max()) < 1e-5


@pytest.mark.parametrize("landing", LANDINGS)
def test_the_fake_is_told_where_jumps_land(landing: int) -> None:
    """It knows the distribution at this landing level alone."""
    fake = fake_of(linear_teacher(EXACT))
    weights = fake.network.conv_out.weight.data
    fake.network.conv_out.weight.data = weights * (torch.arange(T + 1) == landing)
    assert float(scored(fake, landing, 100).direction.abs().max()) < 1e-5


def test_the_direction_is_where_the_average_of_the_fake_disagrees_and_the_fake_learns() -> None:
    """The fake knows another distribution; its average knows the teacher's, or the other way round."""
    exact, other = fake_of(linear_teacher(EXACT)), fake_of(other_teacher(2 * S))
    x, r = torch.randn(100, 1, 8, 8), torch.zeros(100, dtype=torch.long)
    wrong, right = (
        score(x, r, linear_teacher(EXACT), fake, np.random.default_rng(0), Rows(100), average)
        for fake, average in ((exact, other), (other, exact))
    )
    assert float(right.direction.abs().max()) < 1e-5 < 0.01 < float(wrong.direction.abs().max())
    for fake, found in ((other, right), (exact, wrong)):
        found.fake.backward()
        assert fake.network.conv_out.weight.grad is not None
    assert not wrong.direction.requires_grad


def test_states_at_the_noisiest_landing_level_are_noised_further() -> None:
    """Where it is beyond Karras' noisiest, too: at least one level further."""
    teacher = linear_teacher(Contract(timesteps=1024, noise_schedule="cosine", prediction="v"))
    x, r = torch.randn(100, 1, 8, 8), torch.full((100,), 1023)
    found = score(x, r, teacher, fake_of(teacher), np.random.default_rng(0), Rows(100))
    assert bool(found.direction.isfinite().all()) and bool(found.fake.isfinite())


@pytest.mark.parametrize("contract", [EXACT, NOISE])
@pytest.mark.parametrize("landing", LANDINGS)
def test_the_fakes_optimum_is_the_score_of_what_it_sees(landing: int, contract: Contract) -> None:
    """Its loss has no slope in the factor of any level where it sees the teacher's own hidden variables."""
    fake = fake_of(linear_teacher(contract))
    slopes = []
    for seed in range(16):
        fake.network.zero_grad()
        scored(fake, landing, seed=seed).fake.backward()
        assert fake.network.conv_out.weight.grad is not None
        slopes.append(fake.network.conv_out.weight.grad[0].sum(1))
    mean, error = torch.stack(slopes).mean(0), torch.stack(slopes).std(0) / 4
    assert bool((mean.abs() <= 4.5 * error).all())
    fake.network.conv_out.weight.data += 0.05
    fake.network.zero_grad()
    scored(fake, landing).fake.backward()
    assert float(fake.network.conv_out.weight.grad.sum()) > 0, "and has one elsewhere"


@pytest.mark.parametrize("landing", LANDINGS)
@pytest.mark.parametrize("data", [0.8 * S, 1.25 * S])
def test_the_direction_brings_the_deviation_nearer(landing: int, data: float) -> None:
    """With a fake that knows what the student makes, x_r - g is smaller where its spread is too large."""
    fake = fake_of(other_teacher(data))
    found = scored(fake, landing, data=data)
    moved = float((found.direction * found.landed).mean())
    assert moved * (data - S) > 0


def test_the_spread_is_that_of_the_images_in_units_of_the_teachers() -> None:
    """Pixels of eight images are 3 above or below a common image; the teacher's are 2 above or below another."""
    common = torch.linspace(-9, 9, 64).view(1, 8, 8)
    signs = torch.tensor([1.0, -1.0]).repeat(4).view(8, 1, 1, 1).expand(8, 1, 8, 8)
    found = Scored(landed=common + 3 * signs, direction=signs, fake=torch.tensor(0.5)).beside(1 - 2 * signs)
    assert {name: float(value) for name, value in found.items()} == pytest.approx({"fake": 0.5, "spread": 1.5})
    one = Scored(landed=signs[:1], direction=signs[:1], fake=torch.tensor(0.5)).beside(signs[:1])
    assert float(one["spread"]) == 1.0


@pytest.mark.parametrize(("step", "share"), [(24, None), (25, 0.1), (29, 0.5), (34, 1.0), (99, 1.0)])
def test_the_weight_rises_from_the_first_iteration_that_has_the_term(step: int, share: float | None) -> None:
    """A quarter of a hundred iterations go without it, and in ten it rises."""
    teacher = linear_teacher(EXACT)
    made = Fake(
        term=evolve(DISTRIBUTION, begin=0.25, ramp=0.1),
        network=fake_of(other_teacher(2 * S)),
        average=None,
        teacher=teacher,
        seed=0,
        iterations=100,
        rows=Rows(4),
    )
    x, level = torch.randn(4, 1, 8, 8), torch.zeros(4, dtype=torch.long)
    scoring = made.at(step)
    if share is None:
        assert scoring is None
        return
    assert scoring is not None
    whole = score(x, level, teacher, made.network, generator(0, Purpose.SCORE_NOISE, step), Rows(4))
    batch = Batch(x=x, level=level + 1, landing_level=level, landing=x, landing_features=None)
    assert torch.allclose(scoring(x, batch).direction, share * whole.direction)


def other_teacher(data: float) -> Denoiser:
    """The exact teacher of data N(0, data^2)."""
    teacher = linear_teacher(EXACT)
    for t in range(1, T + 1):
        alpha, sigma = level("cosine", T, t)
        image = alpha * data**2 / (alpha**2 * data**2 + sigma**2)
        teacher.network.conv_out.weight.data[0, t - 1, 0] = (alpha - image) / sigma
    return teacher


@pytest.mark.parametrize(("steps", "told"), [(1, False), (2, True)])
def test_the_fake_of_several_steps_is_told_which(tmp_path: Path, steps: int, told: bool) -> None:
    levels = tuple(T * k // steps for k in range(1, steps + 1))
    fake = fake_of_task(task_of(gaussian_job(tmp_path, METHODS["distribution"], levels, EXACT), SFDDM))
    assert fake is not None and fake.network.contract.two_times is told
    own = fake.companion
    assert own.average is fake.average is not fake.network and own.decay == DISTRIBUTION.average


@pytest.mark.parametrize(
    ("kind", "steps", "average"), [("distribution", 1, 0.0), ("distribution", 2, 0.9), ("any-step", 1, 0.9)]
)
def test_alone_it_gives_every_hidden_variable_the_teachers_deviation(
    tmp_path: Path, kind: str, steps: int, average: float
) -> None:
    levels = tuple(T * k // steps for k in range(1, steps + 1))
    term = evolve(DISTRIBUTION, begin=0.0, ramp=0.0, learning_rate=0.1, average=average)
    training = evolve(FEW, iterations=500, batch_size=64, learning_rate=0.01, decay=0.7, average=0.9, clip_norm=0.0)
    method = evolve(METHODS[kind], terms=(term,), training=training)
    if kind == "any-step":
        method = evolve(method, unaligned=0.0)  # linear networks don't hear where jumps land
    described = gaussian_job(tmp_path, method, levels, EXACT)
    student = evolve(described.student, index_set=Uniform(kind="uniform", steps=steps))
    made = distill(evolve(described, student=student))
    (tmp_path / "student").mkdir()
    made.write(tmp_path / "student")
    network = storage.load(tmp_path / "student", CPU)
    for start, landing in zip(levels, (0, *levels), strict=False):
        assert jumped(network, start, landing) == pytest.approx(deviation(landing), rel=0.05)


def jumped(network: Denoiser, start: int, landing: int) -> float:
    """The deviation where the student lands from the teacher's hidden variables at `start`."""
    x, at = torch.full((1, 1, 8, 8), deviation(start)), torch.tensor([start])
    delta = network.schedule.angle(at, torch.tensor([landing]), x)
    evaluated = network(x, at, torch.tensor([landing]))
    moved: Tensor = torch.cos(delta) * x - torch.sin(delta) * network.v(evaluated, x, at)
    return float(moved.mean().abs())
