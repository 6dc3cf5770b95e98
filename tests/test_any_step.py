"""The any-step student's jumps and states; its loss is in the tests of losses, its start in those of students."""

from pathlib import Path

import numpy as np
import pytest
import torch
from attrs import evolve
from torch import Tensor

from sfddm.methods import any_step
from sfddm.methods.job import distill
from sfddm.methods.sources import jump
from sfddm.methods.trajectories import Trajectories, load_or_compute
from sfddm.networks import storage
from sfddm.networks.contract import Contract
from sfddm.randomness import Purpose, generator
from sfddm.spec.students import AnyStep
from tests.gaussian import linear_teacher
from tests.parts import CACHE, CPU, FEW, METHODS, of, untrained_teacher

GRID = (0, 16, 32, 64)
ANY_STEP = METHODS["any-step"]
assert isinstance(ANY_STEP, AnyStep)


def jumps(grid: tuple[int, ...], size: int, unaligned: float) -> np.ndarray:
    return any_step.draw_jumps(generator(0, Purpose.TRAINING_BATCH, 0), grid, size, unaligned)


def test_aligned_jumps_have_lengths_of_powers_of_two_at_multiples_of_it() -> None:
    """Every length equally often, and every place of a length."""
    drawn = jumps(tuple(range(0, 65, 4)), 20_000, 0.0)
    assert drawn.dtype == np.int64 and drawn.shape == (20_000, 2)
    rows, counts = np.unique(drawn // 4, axis=0, return_counts=True)
    share = {(start, end): count / 20_000 for (start, end), count in zip(rows.tolist(), counts, strict=True)}
    expected = {
        (start, start - length): length / 16 / 5 for length in (1, 2, 4, 8, 16) for start in range(length, 17, length)
    }
    assert share == pytest.approx(expected, abs=0.01)


def test_on_a_grid_of_no_power_of_two_the_last_jump_is_shorter() -> None:
    odd = jumps((0, 10, 20, 30, 40, 50), 2000, 0.0)
    lengths = {10: [10, 20, 30, 40, 50], 20: [50, 30], 40: [50]}
    assert {tuple(row) for row in odd} == {
        (start, max(start - length, 0)) for length, starts in lengths.items() for start in starts
    } | {(10, 0)}


def test_free_jumps_go_between_any_two_levels_that_are_a_quarter_of_a_grid_step_apart() -> None:
    """Grid steps of 40 levels: at least 10, but for rounding; a quarter of them starts at the top."""
    free = jumps(tuple(range(0, 641, 40)), 20_000, 1.0)
    start, end = free.T
    assert start.max() == 640 and start.min() == 10 and end.min() == 0
    assert (start - end).min() in (9, 10)
    assert (start == 640).mean() == pytest.approx(0.25, abs=0.015)
    assert len(np.unique(start)) > 600 and len(np.unique(end)) > 600
    # Of two places, the higher one is at two thirds and the lower one at one third on average.
    below = start < 640
    assert start[below].mean() / 640 == pytest.approx(2 / 3, abs=0.01)
    assert end.mean() / 640 == pytest.approx(1 / 3, abs=0.01)


def test_places_of_free_jumps_are_uniform_in_grid_steps_and_not_in_levels() -> None:
    """On a grid of steps of 10 and 110 levels: both places are in the first step once in four times, and so on."""
    start, end = jumps((0, 10, 120), 20_000, 1.0).T
    assert (end <= 10).mean() == pytest.approx(0.75, abs=0.02)
    assert (start <= 10).mean() == pytest.approx(0.75 / 4, abs=0.02)


@pytest.mark.parametrize("grid", [(0, 1, 2), (0, 2, 4, 6), (0, 1, 5)])
def test_levels_too_close_for_the_shortest_jump_still_go_down_within_the_grid(grid: tuple[int, ...]) -> None:
    """A quarter of a grid step may round to nothing, at the top as well as above clean data."""
    free = {tuple(row) for row in jumps(grid, 2000, 1.0).tolist()}
    assert free == {(start, end) for start in range(1, grid[-1] + 1) for end in range(start)}


@pytest.mark.parametrize("unaligned", [0.25, 0.9])
def test_the_share_of_free_jumps_is_the_specs(unaligned: float) -> None:
    """Nearly none of them starts or ends on the grid by chance, but at its ends."""
    drawn = jumps(tuple(range(0, 641, 40)), 20_000, unaligned)
    off = (drawn % 40 != 0).any(axis=1)
    assert off.mean() == pytest.approx(unaligned * 0.98, abs=0.02)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Trajectories:
    cache = evolve(CACHE, solver="ddim", substeps=1, clip_sample=False)
    return load_or_compute(untrained_teacher(), "key", GRID[1:], cache, tmp_path_factory.mktemp("cache"))


def at(kept: Trajectories, level: int) -> tuple[Tensor, Tensor]:
    schedule = untrained_teacher().schedule
    return any_step.between(kept, torch.tensor(GRID), schedule, torch.arange(5), torch.full((5,), level))


def test_states_on_the_grid_are_the_cached_ones(kept: Trajectories) -> None:
    for k, level in enumerate(GRID):
        assert torch.allclose(at(kept, level)[0], kept.states[k, :5], atol=1e-6)


@pytest.mark.parametrize(("start", "level"), [(64, 41), (64, 63), (32, 20), (16, 3)])
def test_states_between_grid_levels_are_those_of_one_ddim_step(kept: Trajectories, start: int, level: int) -> None:
    passed = jump(
        untrained_teacher(), kept.states[GRID.index(start), :5], *torch.tensor([[start], [level]]).expand(2, 5)
    )
    assert torch.allclose(at(kept, level)[0], passed, atol=1e-5)


@pytest.mark.parametrize(
    ("level", "low", "high", "part"),
    [(16, 0, 1, 1.0), (32, 1, 2, 1.0), (24, 1, 2, 0.5), (20, 1, 2, 0.25), (4, 0, 1, 0.25), (0, 0, 0, 0.0),
     (48, 2, 2, 0.0), (64, 2, 2, 0.0)],
)  # fmt: skip
def test_features_are_linear_in_the_level(kept: Trajectories, level: int, low: int, high: int, part: float) -> None:
    """They are kept where jumps land: at position 0 near clean data, at 1 on level 16, at 2 on level 32, the last."""
    lower, upper = kept.features[low, :5].float(), kept.features[high, :5].float()
    assert torch.allclose(at(kept, level)[1], (1 - part) * lower + part * upper, atol=1e-6)


def test_a_batch_has_the_states_of_both_ends_and_the_features_of_the_lower_one(kept: Trajectories) -> None:
    schedule, chosen = untrained_teacher().schedule, torch.tensor([7, 3, 7])
    drawn = torch.tensor([[64, 16], [32, 0], [40, 24]])
    batch = any_step._batch(kept, torch.tensor(GRID), schedule, chosen, drawn)
    assert batch.level.tolist() == [64, 32, 40] and batch.landing_level.tolist() == [16, 0, 24]
    x, landing = kept.states[[3, 2], [7, 3]], kept.states[[1, 0], [7, 3]]
    assert torch.allclose(batch.x[:2], x, atol=1e-6) and torch.allclose(batch.landing[:2], landing, atol=1e-6)
    assert batch.landing_features is not None
    wanted = torch.stack([kept.features[1, 7], kept.features[0, 3], kept.features[1:3, 7].float().mean(0)])
    assert torch.allclose(batch.landing_features, wanted.float(), atol=1e-3)
    between = any_step.between(kept, torch.tensor(GRID), schedule, chosen, torch.tensor([64, 32, 40]))[0]
    assert torch.equal(batch.x, between)


def test_features_count_but_on_jumps_from_noise_to_image(kept: Trajectories) -> None:
    drawn = torch.tensor([[64, 0], [64, 16], [32, 0], [40, 24]])
    batch = any_step._batch(kept, torch.tensor(GRID), untrained_teacher().schedule, torch.tensor([7, 3, 7, 1]), drawn)
    assert batch.compared is not None and batch.compared.tolist() == [False, True, True, True]


def test_an_any_step_copy_learns_to_heed_the_second_time(tmp_path: Path) -> None:
    training = evolve(FEW, batch_size=16, learning_rate=5e-2)
    distill(of(tmp_path, evolve(ANY_STEP, training=training))).write(tmp_path)
    trained = storage.load(tmp_path, CPU)
    x, level = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(0)), torch.tensor([64, 20])
    after = [trained(x, level, torch.tensor(landing)).output for landing in ([0, 0], [32, 19])]
    assert not torch.allclose(after[0], after[1], atol=1e-4)


def test_states_between_the_exact_teachers_are_combinations_of_its_factors(tmp_path: Path) -> None:
    """Half-way in angle the two ends have equal weights: x_u = (x_s + x_r) / (2 cos(half the angle))."""
    contract = Contract(timesteps=64, noise_schedule="sigmoid", prediction="v")
    teacher, source = linear_teacher(contract), evolve(CACHE, solver="ddim", substeps=1, clip_sample=False)
    made = load_or_compute(teacher, "key", (64,), source, tmp_path)
    # A sigmoid schedule is at 45 degrees half-way; its last level is at nearly 90.
    grid, chosen = torch.tensor((0, 64)), torch.tensor([4])
    middle, _ = any_step.between(made, grid, teacher.schedule, chosen, torch.tensor([32]))
    assert torch.allclose(middle, (made.states[1, 4] + made.states[0, 4]) / 2**0.5, atol=0.03)
