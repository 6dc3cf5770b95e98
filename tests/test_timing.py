"""How long images take, by a clock that networks turn forward themselves."""

from typing import Any

import pytest
import torch
from attrs import frozen
from torch import Tensor

from sfddm.diffusion.sampler import Sampler
from sfddm.evaluation import timing
from sfddm.evaluation.timing import BATCH, time_sampling
from sfddm.networks.contract import Contract
from sfddm.runtime.memory import peak_memory_mb
from tests.clocks import Clock

WARMING_UP = 1000.0
"""Seconds that a network's first evaluation of a batch of some size takes beside all else."""


@frozen
class Shown:
    """One evaluation that a network was asked for."""

    network: str
    level: int
    landing: int
    batch: int


class Slow:
    """A network whose evaluations take `start` seconds and `each` an image; it predicts the noise that it is given."""

    def __init__(self, name: str, clock: Clock, seen: list[Shown], start: float, each: float) -> None:
        self.name, self.clock, self.seen, self.start, self.each = name, clock, seen, start, each
        self.contract = Contract(timesteps=64, noise_schedule="cosine", prediction="v")
        self.image_shape, self.device = (1, 2, 2), torch.device("cpu")
        self.schedule = self
        self.warm: set[int] = set()

    def given(self, _: Tensor | None) -> "Slow":
        """It is told no classes."""
        return self

    def at(self, level: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        """The same alpha and sigma at every level."""
        return (torch.full((len(level), 1, 1, 1), 0.5),) * 2

    def predict(self, x: Tensor, level: Tensor, landing: Tensor) -> tuple[Tensor, None]:
        """Time passes."""
        self.seen.append(Shown(self.name, int(level[0]), int(landing[0]), len(x)))
        self.clock.now += self.start + self.each * len(x)
        if len(x) not in self.warm:
            self.warm.add(len(x))
            self.clock.now += WARMING_UP
        return x, None


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock that measurements look at."""
    made = Clock()
    monkeypatch.setattr(timing, "time", made)
    return made


def sampler(*levels: int) -> Sampler:
    return Sampler(solver="ddim", levels=levels, clip_sample=True)


def timed(clock: Clock, levels: tuple[int, ...]) -> tuple[dict[str, Any], list[Shown]]:
    """A student of 30 ms an evaluation and 1 ms an image; its teacher of 20 ms and 2 ms."""
    seen: list[Shown] = []
    student, teacher = Slow("student", clock, seen, 0.03, 0.001), Slow("teacher", clock, seen, 0.02, 0.002)
    return time_sampling(student, sampler(*levels), teacher), seen


def test_seconds_of_a_thousand_images_without_the_warm_up(clock: Clock) -> None:
    found, _ = timed(clock, (16, 32, 48, 64))
    # 4 evaluations of 250 images take 4 (.03 + .25) s, and 1000 images four times that; the teacher's are 64.
    assert found["seconds_per_1000_images"] == pytest.approx(4 * 4 * 0.28)
    assert found["teacher_seconds_per_1000_images"] == pytest.approx(4 * 64 * 0.52)
    assert found["speed_up"] == pytest.approx(64 * 0.52 / (4 * 0.28))
    assert found["latency_ms"] == pytest.approx(1000 * 4 * 0.031), "alone in its batch"
    assert found["nfe"] == 4 and found["device"] == "cpu"
    assert found["peak_memory_mb"] == pytest.approx(peak_memory_mb("cpu"), rel=0.1)


def test_the_time_of_a_long_sampler_is_scaled_up_from_its_four_highest_levels(clock: Clock) -> None:
    found, seen = timed(clock, tuple(range(2, 36, 2)))
    assert found["nfe"] == 17
    assert found["seconds_per_1000_images"] == pytest.approx(4 * 17 * 0.28)
    assert found["latency_ms"] == pytest.approx(1000 * 17 * 0.031)
    steps = [(shown.level, shown.landing) for shown in seen if shown.network == "student"]
    assert set(steps) == {(34, 32), (32, 30), (30, 28), (28, 0)}


def test_a_sampler_of_sixteen_levels_is_timed_as_it_is(clock: Clock) -> None:
    found, seen = timed(clock, tuple(range(2, 34, 2)))
    assert found["seconds_per_1000_images"] == pytest.approx(4 * 16 * 0.28)
    assert {shown.level for shown in seen if shown.network == "student"} == set(range(2, 34, 2))


def test_the_teacher_is_timed_under_ddim_on_all_levels_in_turn_with_the_student(clock: Clock) -> None:
    _, seen = timed(clock, (32, 64))
    of_a_batch = [shown for shown in seen if shown.batch == BATCH]
    student = [Shown("student", 64, 32, 250), Shown("student", 32, 0, 250)]
    teacher = [Shown("teacher", level, lower, 250) for level, lower in ((64, 63), (63, 62), (62, 61), (61, 0))]
    assert of_a_batch == 4 * [*student, *teacher], "a warm-up, and three times"
    assert [shown for shown in seen if shown.batch != BATCH] == 10 * [
        Shown("student", 64, 32, 1), Shown("student", 32, 0, 1)
    ]  # fmt: skip


def test_the_teachers_sampler_clips_as_the_one_that_the_speed_up_is_against(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Sampler] = []

    def sampled(network: Any, noise: Tensor, sampler: Sampler, step_noise: Any) -> Tensor:
        seen.append(sampler)
        clock.now += 1.0
        return noise

    monkeypatch.setattr(timing, "sample", sampled)
    timed(clock, (32, 64))
    assert set(seen) == {sampler(32, 64), Sampler(solver="ddim", levels=(61, 62, 63, 64), clip_sample=True)}


def test_a_measurement_is_the_median_of_its_repeats() -> None:
    alone = iter([50, 8, 1, 3])  # the first is the warm-up
    assert timing._medians([lambda: next(alone)], 3) == [3]
    alone = iter([50, 9, 8, 7, 6, 1, 2, 3, 4, 5])
    assert timing._medians([lambda: next(alone)], 9) == [5]
    several = iter([0, 0, 5, 50, 1, 70, 4, 10])
    assert timing._medians([lambda: next(several), lambda: next(several)], 3) == [4, 50]


def test_all_measurements_of_a_sampler_start_from_the_same_noises(clock: Clock) -> None:
    seen: list[Tensor] = []

    class Watched(Slow):
        def predict(self, x: Tensor, level: Tensor, landing: Tensor) -> tuple[Tensor, None]:
            seen.append(x.clone())
            return super().predict(x, level, landing)

    network = Watched("student", clock, [], 0.01, 0.01)
    measure = timing._measure(network, sampler(64), 3)
    measure()
    measure()
    assert len(seen) == 2 and torch.equal(*seen) and seen[0].shape == (3, 1, 2, 2)
    assert not torch.equal(seen[0][0], seen[0][1])


def test_a_stochastic_sampler_is_timed_with_noise_that_costs_nothing(clock: Clock) -> None:
    seen: list[Shown] = []
    student = Slow("student", clock, seen, 0.01, 0.0)
    ancestral = Sampler(solver="consistency", levels=(32, 64), clip_sample=True)
    assert timing._measure(student, ancestral, 5)() == pytest.approx((WARMING_UP + 0.02) / 5)
    assert [shown.level for shown in seen] == [64, 32]
