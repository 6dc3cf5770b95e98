"""TRACT and consistency distillation: a step of the teacher, then the jump of the student's average to the end."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from attrs import evolve
from torch import Tensor

from sfddm.data import store
from sfddm.methods import intervals
from sfddm.methods.job import distill
from sfddm.methods.sources import jump, noised
from sfddm.networks import storage
from sfddm.networks.contract import Contract
from sfddm.networks.denoiser import Denoiser
from sfddm.randomness import Purpose, generator
from sfddm.spec.index_set import Explicit
from sfddm.spec.students import TRACT, Consistency
from sfddm.training.batches import Rows, real_images
from tests.gaussian import ddim_factor, gaussian_job, level, linear_teacher, use_linear_networks
from tests.parts import CPU, DDIM, FEW, METHODS, SCRATCH, loss_points, untrained_teacher

EXACT = Contract(timesteps=64, noise_schedule="cosine", prediction="v")
LEVELS = (32, 64)
ROWS = {
    "tract": [(32, 16, 0), (16, 0, 0), (64, 48, 32), (48, 32, 32)],
    "consistency": [(64, 40, 0), (40, 20, 0), (20, 0, 0)],
}
"""Level, next level and end of every step: TRACT's two sub-steps in both segments, and a grid of three levels."""
FIXED = evolve(FEW, iterations=1, learning_rate=0.3, decay=0.0, batch_size=64)


def described(name: str, **training: Any) -> TRACT | Consistency:
    method = METHODS[name]
    assert isinstance(method, TRACT | Consistency)
    targets = training.pop("target_average", training.get("average", FIXED.average))
    method = evolve(method, start=SCRATCH, target_average=targets, training=evolve(FIXED, **training))
    if isinstance(method, TRACT):
        return evolve(method, substeps=2)
    return evolve(method, grid=Explicit(kind="explicit", levels=(20, 40, 64), search=0))


def trained(folder: Path, method: TRACT | Consistency) -> tuple[list[float], Denoiser]:
    """The losses of each iteration, and the student."""
    folder.mkdir()
    made = distill(gaussian_job(folder, method, LEVELS, EXACT))
    (folder / "student").mkdir()
    made.write(folder / "student")
    return loss_points(made.curve), storage.load(folder / "student", CPU)


def theta(t: int) -> float:
    alpha, sigma = level("cosine", 64, t)
    return math.atan2(sigma, alpha)


def seen(folder: Path, name: str, step: int) -> Iterator[tuple[Tensor, tuple[int, int, int]]]:
    """Every image of a batch of `trained` with its row of levels."""
    rows = Rows(64)
    real = real_images(store.read(folder / "data", "train"), rows, CPU)(0, step)
    random = generator(0, Purpose.TRAINING_BATCH, step)
    x, drawn = noised(real, torch.tensor(ROWS[name]), linear_teacher(EXACT).schedule, random, rows)
    levels = [tuple(row) for row in drawn.tolist()]
    assert set(levels) == set(ROWS[name])
    return zip(x, levels, strict=True)


def jumped(network: Denoiser, x: Tensor, start: int, end: int) -> Tensor:
    """Where a network's v = f x + b takes x: to cos(delta) x - sin(delta) v; from a level to itself it stays."""
    delta = theta(start) - theta(end)
    return math.cos(delta) * x - math.sin(delta) * v_of(network, x, start)


def v_of(network: Denoiser, x: Tensor, start: int) -> Tensor:
    factor, bias = (network.get_parameter(f"network.conv_out.{name}") for name in ("weight", "bias"))
    return factor[0, start - 1, 0] * x + bias[0]


@pytest.mark.parametrize("name", ROWS)
def test_targets_come_from_the_average_and_not_from_the_student(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """An average of decay 1 stays at the weights after the first iteration, while the student moves on.

    The loss of the third iteration is worked out from that average, which is kept, and from the student after two.
    """
    use_linear_networks(monkeypatch)
    losses, average = trained(tmp_path / "average", described(name, iterations=3, average=1.0))
    two, student = trained(tmp_path / "student", described(name, iterations=2, average=0.0))
    assert losses[:2] == two
    errors = []
    for x, (t, near, end) in seen(tmp_path / "average", name, 2):
        lands = jumped(average, ddim_factor("cosine", 64, t, near) * x, near, end)
        delta = theta(t) - theta(end)
        wanted = (math.cos(delta) * x - lands) / math.sin(delta)
        errors.append(float((v_of(student, x, t) - wanted).square().mean()))
    assert losses[2] == pytest.approx(sum(errors) / 64, rel=1e-3)
    moved = [student.get_parameter("network.conv_out.weight"), average.get_parameter("network.conv_out.weight")]
    assert float((moved[0] - moved[1]).abs().max()) > 0.1


@pytest.mark.parametrize("name", ROWS)
def test_targets_have_an_average_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """The losses are those of the targets' decay, whatever is kept: here the last weights, and half of all before."""
    use_linear_networks(monkeypatch)
    losses, _ = trained(tmp_path / "one", described(name, iterations=3, average=1.0))
    weights = []
    for iterations in (1, 2, 3):
        folder = tmp_path / str(iterations)
        found, student = trained(folder, described(name, iterations=iterations, average=0.0, target_average=1.0))
        assert found == losses[:iterations]
        weights.append(student.get_parameter("network.conv_out.weight").detach())
    found, kept = trained(tmp_path / "half", described(name, iterations=3, average=0.5, target_average=1.0))
    assert found == losses
    expected = 0.25 * weights[0] + 0.25 * weights[1] + 0.5 * weights[2]
    assert torch.allclose(kept.get_parameter("network.conv_out.weight"), expected, atol=1e-6)
    assert float((expected - weights[0]).abs().max()) > 0.05


@pytest.mark.parametrize("name", ROWS)
def test_distance_and_weighting_are_the_specs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """The first loss of a student that puts out zeros, as its average does: its jumps multiply by a cosine."""
    use_linear_networks(monkeypatch)
    method = evolve(described(name), distance="l1", weighting="min-snr")
    losses, _ = trained(tmp_path / "one", method)
    errors = []
    for x, (t, near, end) in seen(tmp_path / "one", name, 0):
        lands = ddim_factor("cosine", 64, t, near) * math.cos(theta(near) - theta(end))
        delta, (alpha, sigma) = theta(t) - theta(end), level("cosine", 64, t)
        wanted = (math.cos(delta) - lands) / math.sin(delta) * x
        errors.append(min(alpha**2, 5 * sigma**2) * float(wanted.abs().mean()))
    assert losses[0] == pytest.approx(sum(errors) / 64, rel=1e-3)


@pytest.mark.parametrize("row", [(64, 56, 0), (16, 8, 0), (8, 0, 0), (64, 56, 48), (56, 48, 48)])
def test_the_target_of_a_closure_is_the_teachers_step_and_the_averages_jump(row: tuple[int, int, int]) -> None:
    teacher, average = untrained_teacher(), untrained_teacher(seed=1)
    x = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    rows = torch.tensor([row, row])
    near = jump(teacher, x, rows[:, 0], rows[:, 1])
    wanted = near if row[1] == row[2] else jump(average, near, rows[:, 1], rows[:, 2])
    assert torch.equal(intervals.target(teacher, average, x, rows, DDIM), wanted)


def test_the_average_is_never_asked_on_clean_images() -> None:
    """Where the teacher's step is the last one, the average's jump is left out of the target, at a level it knows."""

    class Asked(Denoiser):
        levels: list[int] = []  # noqa: RUF012  # the only one

        def forward(self, x: Tensor, level: Tensor, landing: Tensor | None = None) -> Any:
            self.levels.extend(level.tolist())
            return super().forward(x, level, landing)

    teacher = linear_teacher(EXACT)
    average = Asked(teacher.network, EXACT)
    x = torch.ones(3, 1, 8, 8)
    found = intervals.target(teacher, average, x, torch.tensor([(8, 0, 0), (64, 56, 0), (48, 32, 32)]), DDIM)
    expected = [ddim_factor("cosine", 64, *path) for path in ((8, 0), (64, 56, 0), (48, 32))]
    assert found[:, 0, 0, 0].tolist() == pytest.approx(expected, rel=1e-4)
    assert average.levels == [8, 56, 48]


def test_closures_step_through_every_stretch_to_its_own_end() -> None:
    stretches = torch.tensor([[4, 2, 0], [8, 6, 4]])
    assert intervals._steps(stretches, 1, EXACT).tolist() == [[4, 2, 0], [2, 0, 0], [8, 6, 4], [6, 4, 4]]
    stretches = torch.tensor([[2, 1, 1, 0]])
    assert intervals._steps(stretches, 1, EXACT).tolist() == [[2, 1, 0], [1, 0, 0]], "empty steps are left out"
    stretches = torch.tensor([[32, 16, 0]])
    assert intervals._steps(stretches, 2, EXACT).tolist() == [[32, 24, 16, 0], [16, 8, 0, 0]], "steps are cut in angle"


@pytest.mark.parametrize(("name", "solver"), [("tract", "ddim"), ("consistency", "consistency")])
def test_students_are_sampled_as_they_were_taught(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, solver: str
) -> None:
    use_linear_networks(monkeypatch)
    made = distill(gaussian_job(tmp_path, described(name), LEVELS, EXACT))
    assert (made.sampler.solver, made.sampler.levels, made.sampler.clip_sample) == (solver, LEVELS, False)
