"""Every method's optimum on Gaussian data, where networks are linear and all jumps are known exactly."""

import math
from collections.abc import Iterator

import pytest
import torch
from sfddm.methods.closure import target
from torch import Tensor

from sfddm.diffusion.prediction import to_sample
from sfddm.diffusion.process import hidden_target
from sfddm.diffusion.sampler import Sampler
from sfddm.diffusion.sampling import sample
from sfddm.diffusion.schedule import NoiseSchedule
from sfddm.diffusion.solvers import Solver
from sfddm.diffusion.spacing import resolve
from sfddm.methods.sources import jump, walk
from sfddm.spec.index_set import Uniform
from tests.test_diffusion import NO_NOISE, GaussianTeacher, S, T

ONE = torch.ones(1, 1, 1, 1, dtype=torch.float64)


class Tabled:
    """A student whose x_0 is a factor times x, one factor for each pair of levels (from, to) that it was taught."""

    def __init__(self, schedule: NoiseSchedule, factors: dict[tuple[int, int], float]) -> None:
        self.schedule, self.factors = schedule, factors

    def predict(self, x: Tensor, level: Tensor, landing: Tensor) -> tuple[Tensor, Tensor]:
        return self.factors[int(level[0]), int(landing[0])] * x, x

    def learn(self, level: int, end: int, landing: Tensor) -> None:
        """Put the jump's optimum into the table: the factor with which it lands on `landing` from 1."""
        at, to = torch.tensor([level]), torch.tensor([end])
        v = hidden_target(ONE, landing, self.schedule.angle(at, to, ONE))
        self.factors[level, end] = float(to_sample("v", v, ONE, *self.schedule.at(at, ONE)))


def flow(schedule: NoiseSchedule, level: int, end: int) -> float:
    """Where the probability flow takes 1 from one level to another: deviations are kept in proportion."""
    deviations = []
    for at in (level, end):
        alpha, sigma = schedule.at(torch.tensor([at]), ONE)
        deviations.append(math.sqrt(float(alpha) ** 2 * S**2 + float(sigma) ** 2))
    return deviations[1] / deviations[0]


def uniform(steps: int) -> tuple[int, ...]:
    return resolve(Uniform(kind="uniform", steps=steps), "sigmoid", T)


def ends_at(network: object, levels: tuple[int, ...], solver: Solver = "ddim") -> float:
    return float(sample(network, ONE, Sampler(solver=solver, levels=levels, clip_sample=False), NO_NOISE))


@pytest.mark.parametrize("levels", [(1024,), (100, 1024), (17, 333, 700, 1024), uniform(5)])
def test_an_any_step_student_ends_where_its_teacher_does_on_any_index_set(levels: tuple[int, ...]) -> None:
    teacher = GaussianTeacher()
    student = Tabled(teacher.schedule, {})
    for end, level in zip((0, *levels), levels, strict=False):
        student.learn(level, end, flow(teacher.schedule, level, end) * ONE)
    assert ends_at(student, levels) == pytest.approx(S, abs=1e-3)


def test_progressive_folds_keep_what_the_first_sampler_reaches() -> None:
    """Each fold's optimum is two steps of the one before, so four steps end where the sixty-four ended."""
    teacher: object = GaussianTeacher()
    wanted = ends_at(teacher, uniform(64))
    for steps in (32, 16, 8, 4):
        finer, coarse = (0, *uniform(2 * steps)), (0, *uniform(steps))
        student = Tabled(GaussianTeacher().schedule, {})
        for k in range(1, steps + 1):
            path = torch.tensor([[coarse[k], finer[2 * k - 1], coarse[k - 1]]])
            landing, _ = walk(teacher, ONE, path, ahead=False)
            student.learn(coarse[k], coarse[k - 1], landing)
        teacher = student
        assert ends_at(student, uniform(steps)) == pytest.approx(wanted, abs=1e-5)
    assert wanted == pytest.approx(0.484, abs=2e-3)


@pytest.mark.parametrize("steps", [1, 2, 4])
def test_a_closure_ends_where_the_teachers_small_steps_do(steps: int) -> None:
    """TRACT's optimum, learned from each segment's end upwards; with one segment, consistency distillation's."""
    teacher = GaussianTeacher()
    grid, ends = (0, *uniform(64)), (0, *uniform(steps))
    student = Tabled(teacher.schedule, {})
    for level, lower in zip(grid[1:], grid, strict=False):
        end = max(bound for bound in ends if bound < level)
        # Where the teacher's step arrives, `target` asks for a jump of the average that it then leaves out.
        student.factors.setdefault((level, end), 1.0)
        student.learn(level, end, target(teacher, student, ONE, torch.tensor([[level, lower, end]])))
    assert ends_at(student, uniform(steps)) == pytest.approx(ends_at(teacher, uniform(64)), abs=1e-5)


def test_steps_of_the_exact_consistency_function_keep_the_data() -> None:
    """However often noise is added again, the images have the data's deviation."""
    schedule = GaussianTeacher("cosine").schedule
    levels = (100, 400, 700, 1024)
    student = Tabled(schedule, {})
    for end, level in zip((0, *levels), levels, strict=False):
        student.factors[level, end] = flow(schedule, level, 0)
    generator = torch.Generator().manual_seed(0)

    def noises() -> Iterator[Tensor]:
        while True:
            yield torch.randn(20_000, 1, 1, 1, generator=generator, dtype=torch.float64)

    start = next(noises())
    images = sample(student, start, Sampler(solver="consistency", levels=levels, clip_sample=False), noises())
    assert float(images.std()) == pytest.approx(S, rel=0.015)
    assert abs(float((images * start).mean())) < 0.5 * S, "the first noise no longer decides the image alone"


def test_a_student_with_the_teachers_own_step_as_its_target_is_the_teacher() -> None:
    """One sub-step: the optimum is DDIM, which the published loss has as its only one."""
    teacher, levels = GaussianTeacher(), uniform(4)
    student = Tabled(teacher.schedule, {})
    for end, level in zip((0, *levels), levels, strict=False):
        student.learn(level, end, jump(teacher, ONE, torch.tensor([level]), torch.tensor([end])))
    assert ends_at(student, levels) == pytest.approx(ends_at(teacher, levels), abs=1e-5)
