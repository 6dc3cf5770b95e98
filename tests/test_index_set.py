"""Index sets: every spacing against its closed form, the search against brute force, and the commands."""

from itertools import combinations, pairwise
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
from torch import Tensor

from sfddm.diffusion.levels import ScheduleName, alpha_bar
from sfddm.diffusion.schedule import NoiseSchedule
from sfddm.diffusion.search import (
    Walk,
    _moves,
    cheapest,
    descend,
    jump_costs,
    mean_squared_error,
    search,
    take_walk,
)
from sfddm.diffusion.spacing import IndexSetError, _apart, _nearest, evenly_in_angle, finer, make_grid, resolve
from sfddm.networks import storage
from sfddm.spec.index_set import Explicit, IndexSet, Leading, Quadratic, Uniform, UniformAngle, UniformLogSNR
from sfddm.spec.read import load_spec
from tests.gaussian import GaussianTeacher, S
from tests.parts import TINY, untrained_teacher
from tests.typed import sfddm

SCHEDULES = get_args(ScheduleName)
T = 1024
ROOT = Path(__file__).parents[1]


def test_uniform_leading_and_explicit_sets() -> None:
    assert resolve(Uniform(kind="uniform", steps=4), "cosine", 1024) == (256, 512, 768, 1024)
    assert resolve(Uniform(kind="uniform", steps=3), "cosine", 1000) == (333, 667, 1000)
    assert resolve(Uniform(kind="uniform", steps=1024), "linear", 1024) == tuple(range(1, 1025))
    assert resolve(Leading(kind="leading", steps=4), "cosine", 1024) == (1, 257, 513, 769)
    assert resolve(Explicit(kind="explicit", levels=(1, 1024), search=0), "cosine", 1024) == (1, 1024)


def test_the_quadratic_set_grows_with_the_square() -> None:
    assert resolve(Quadratic(kind="quadratic", steps=4), "linear", 1024) == (64, 256, 576, 1024)
    # Level 0.64 would round to 1 and stay; nothing rounds to the clean level 0.
    assert resolve(Quadratic(kind="quadratic", steps=10), "linear", 40)[0] == 1


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("steps", [1, 2, 5, 16])
def test_uniform_angle_is_even_in_angle_up_to_rounding(schedule: str, steps: int) -> None:
    levels = resolve(UniformAngle(kind="uniform-angle", steps=steps), schedule, T)
    theta = np.arctan2(np.sqrt(1 - alpha_bar(schedule, T)), np.sqrt(alpha_bar(schedule, T)))
    assert len(levels) == steps and levels[-1] == T
    for k, level in enumerate(levels, 1):
        off = abs(theta[level] - k * theta[T] / steps)
        assert off <= min(abs(theta[near] - k * theta[T] / steps) for near in (level - 1, min(level + 1, T)))


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("steps", [1, 2, 4])
def test_uniform_log_snr_is_even_between_level_1_and_t(schedule: str, steps: int) -> None:
    levels = resolve(UniformLogSNR(kind="uniform-log-snr", steps=steps), schedule, T)
    remaining = alpha_bar(schedule, T)[1:]
    ratio = np.log(remaining / (1 - remaining))
    assert len(levels) == steps and levels[-1] == T
    for k, level in enumerate(levels, 1):
        wanted = ratio[0] + (ratio[-1] - ratio[0]) * k / steps
        off = abs(ratio[level - 1] - wanted)
        assert all(off <= abs(ratio[near - 1] - wanted) for near in (level - 1, min(level + 1, T)) if near)


def test_on_a_cosine_schedule_uniform_angle_is_nearly_uniform() -> None:
    even = resolve(UniformAngle(kind="uniform-angle", steps=8), "cosine", T)
    uniform = resolve(Uniform(kind="uniform", steps=8), "cosine", T)
    assert max(abs(a - b) for a, b in zip(even, uniform, strict=True)) <= 8
    # Its offset 0.008 alone keeps the two apart: by T * 0.008 levels at the clean end.
    linear = resolve(UniformAngle(kind="uniform-angle", steps=8), "linear", T)
    assert max(abs(a - b) for a, b in zip(linear, uniform, strict=True)) > 200


@pytest.mark.parametrize("levels", [(), (3, 3), (5, 1024, 4), (2, 7, 7, 1024), (1025,), (1, 5, 1025), (1, 1023)])
def test_bad_explicit_index_sets_are_refused(levels: tuple[int, ...]) -> None:
    with pytest.raises(IndexSetError) as caught:
        resolve(Explicit(kind="explicit", levels=levels, search=0), "cosine", 1024)
    assert caught.value.field == "levels"


@pytest.mark.parametrize(
    ("index_set", "schedule", "words"),
    [
        (Uniform(kind="uniform", steps=65), "cosine", "at most that many"),
        (Quadratic(kind="quadratic", steps=60), "cosine", "use fewer, or another spacing"),
        (UniformLogSNR(kind="uniform-log-snr", steps=60), "cosine", "use fewer, or another spacing"),
    ],
)
def test_too_many_steps_are_refused_with_the_remedy(index_set: IndexSet, schedule: str, words: str) -> None:
    with pytest.raises(IndexSetError, match=words) as caught:
        resolve(index_set, schedule, 64)
    assert caught.value.field == "steps"


@pytest.mark.parametrize("steps", [40, 63, 64])
def test_a_set_uniform_in_angle_keeps_its_levels_apart_down_to_all_of_them(steps: int) -> None:
    levels = resolve(UniformAngle(kind="uniform-angle", steps=steps), "linear", 64)
    assert len(set(levels)) == steps and levels == tuple(sorted(levels)) and (levels[0] >= 1, levels[-1]) == (True, 64)


def test_the_nearest_position_is_the_first_one_of_two() -> None:
    values, wanted = np.array([0.0, 1.0, 3.0]), np.array([-5, 0.4, 0.5, 0.6, 1, 2, 2.1, 9])
    assert _nearest(values, wanted).tolist() == [0, 0, 0, 1, 1, 1, 2, 2]


@pytest.mark.parametrize(
    ("levels", "low", "expected"),
    [
        ([2, 5, 9], 0, [2, 5, 9]),
        ([1, 1, 1, 5], 0, [1, 2, 3, 5]),
        ([3, 5, 5, 5], 0, [2, 3, 4, 5]),
        ([8, 8, 9, 12], 7, [8, 9, 10, 12]),
        ([9, 12, 12], 7, [9, 11, 12]),
        ([4], 3, [4]),
    ],
)
def test_levels_are_moved_apart_by_as_little_as_needed(levels: list[int], low: int, expected: list[int]) -> None:
    assert _apart(levels, low) == expected


@pytest.mark.parametrize(
    ("ends", "steps", "expected"),
    [
        ((0, 64), 1, [64]),
        ((16, 48), 4, [24, 32, 40, 48]),
        ((40, 43), 3, [41, 42, 43]),
        ((40, 42), 3, [41, 41, 42]),
        ((40, 41), 3, [41, 41, 41]),
        ((40, 42), 9, [41, 41, 41, 41, 41, 41, 42, 42, 42]),
    ],
)
def test_levels_between_two_ends_repeat_where_there_is_no_room(
    ends: tuple[int, int], steps: int, expected: list[int]
) -> None:
    """A cosine schedule is even in angle but near clean data; the lower end itself is never among them."""
    assert evenly_in_angle(ends, steps, "cosine", 64) == expected


def test_finer_sets_cut_every_segment_where_there_is_room() -> None:
    assert finer((16, 64), 1, "cosine", 64) == (16, 64)
    assert finer((16, 64), 2, "cosine", 64) == (8, 16, 40, 64)
    assert finer((2, 3, 64), 4, "cosine", 64) == (1, 2, 3, 18, 33, 49, 64)
    assert finer([3], 9, "cosine", 64) == (1, 2, 3)


def test_every_spacing_may_use_all_levels_or_one() -> None:
    for kind in (Uniform, Leading, UniformAngle):
        name = {Uniform: "uniform", Leading: "leading", UniformAngle: "uniform-angle"}[kind]
        assert resolve(kind(kind=name, steps=20), "cosine", 20) == tuple(range(1, 21))
    for kind, name in ((Uniform, "uniform"), (Quadratic, "quadratic"), (UniformLogSNR, "uniform-log-snr")):
        assert resolve(kind(kind=name, steps=1), "cosine", 20) == (20,)
    assert resolve(Leading(kind="leading", steps=1), "cosine", 20) == (1,)
    assert resolve(Uniform(kind="uniform", steps=2), "cosine", 5) == (3, 5), "halves are rounded up"


def gaussian_walk(schedule: str, grid: int, solver: str) -> tuple[GaussianTeacher, Walk]:
    """The flow is linear, so one noise tells everything."""
    teacher = GaussianTeacher(schedule)
    noise = torch.ones(1, 1, 1, 1, dtype=torch.float64)
    return teacher, take_walk(teacher, noise, make_grid(grid, schedule, T), solver, False)


def test_a_jump_costs_its_squared_error() -> None:
    teacher, walk = gaussian_walk("linear", 8, "ddim")
    costs = jump_costs(teacher.schedule, walk)
    alpha, sigma = np.sqrt(alpha_bar("linear", T)), np.sqrt(1 - alpha_bar("linear", T))
    states = walk.states.flatten().numpy()
    for row, high in enumerate(walk.levels):
        for column, low in enumerate(walk.levels):
            if column >= row:
                assert costs[row, column] == np.inf
                continue
            image = alpha[high] * S**2 / (alpha[high] ** 2 * S**2 + sigma[high] ** 2) * states[row]
            landed = alpha[low] * image + sigma[low] * (states[row] - alpha[high] * image) / sigma[high]
            assert costs[row, column] == pytest.approx((landed - states[column]) ** 2, rel=1e-3, abs=1e-9)
    # A jump to the next level is the walk's own step.
    assert costs.diagonal(-1).max() < 1e-12 < costs.diagonal(-2).min()


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_the_dynamic_programme_finds_what_brute_force_finds(schedule: str) -> None:
    teacher, walk = gaussian_walk(schedule, 8, "dpm-solver")
    for costs in (jump_costs(teacher.schedule, walk), random_costs(9)):
        for steps in (1, 2, 3, 8):
            ways = [(*chosen, 8) for chosen in combinations(range(1, 8), steps - 1)]
            best = min(ways, key=lambda way: sum(costs[high, low] for low, high in pairwise((0, *way))))
            assert cheapest(costs, steps) == best


def random_costs(size: int) -> np.ndarray:
    drawn = np.random.default_rng(0).random((size, size))
    return np.where(np.tri(size, k=-1, dtype=bool), drawn, np.inf)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("steps", [2, 4])
def test_the_set_found_is_nearer_to_the_teacher_than_every_fixed_spacing(schedule: str, steps: int) -> None:
    teacher, walk = gaussian_walk(schedule, 64, "dpm-solver")
    found = search(teacher, walk, steps)
    fixed: list[IndexSet] = [
        Uniform(kind="uniform", steps=steps),
        UniformAngle(kind="uniform-angle", steps=steps),
        Quadratic(kind="quadratic", steps=steps),
        UniformLogSNR(kind="uniform-log-snr", steps=steps),
    ]
    assert resolve(Explicit(kind="explicit", levels=found, search=0), schedule, T) == found
    assert len(found) == steps and found[-1] == T
    others = [mean_squared_error(teacher, walk, resolve(index_set, schedule, T)) for index_set in fixed]
    assert mean_squared_error(teacher, walk, found) < min(others)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_ddim_on_all_levels_of_its_own_walk_has_no_error(schedule: str) -> None:
    teacher, walk = gaussian_walk(schedule, 8, "ddim")
    assert mean_squared_error(teacher, walk, walk.levels[1:]) < 1e-10
    assert mean_squared_error(teacher, walk, walk.levels[2:]) > 1e-6


def test_a_level_moves_by_one_two_or_four_places_between_its_neighbours() -> None:
    states = torch.zeros(10, 1, 1, 1, 1)
    walk = Walk(levels=tuple(range(0, 100, 10)), states=states, samples=states[1:], clip_sample=False)
    assert [moved[0] for moved in _moves(walk, (30, 50, 90), 0)] == [10, 20, 40]
    assert [moved[1] for moved in _moves(walk, (30, 50, 90), 1)] == [40, 60, 70]
    assert [moved[1] for moved in _moves(walk, (10, 50, 90), 1)] == [30, 40, 60, 70]
    assert list(_moves(walk, (10, 20, 90), 0)) == []
    assert [moved[1] for moved in _moves(walk, (10, 80, 90), 1)] == [40, 60, 70], "there is nothing above the noisiest"
    finest = Walk(levels=tuple(range(10)), states=states, samples=states[1:], clip_sample=False)
    assert list(_moves(finest, (2, 9), 0)) == [(1, 9), (3, 9), (4, 9), (6, 9)], "the cleanest level is one to stop at"


class Kinked:
    """A denoiser whose images go in waves, so that descents end in more than one place."""

    def __init__(self) -> None:
        self.schedule = NoiseSchedule("cosine", T).double()

    def predict(self, x: Tensor, level: Tensor, landing: Tensor) -> tuple[Tensor, Tensor]:
        share = level.view(-1, *(1,) * (x.dim() - 1)) / T
        return torch.sin(5 * share + 3 * x), x


def kinked_walk(grid: int) -> tuple[Kinked, Walk]:
    """Two noises of two pixels."""
    noise = torch.tensor([[1.0, -0.4], [0.2, -1.3]], dtype=torch.float64).view(2, 1, 1, 2)
    teacher = Kinked()
    return teacher, take_walk(teacher, noise, make_grid(grid, "cosine", T), "ddim", True)


def plain_descent(teacher: Kinked, walk: Walk, levels: tuple[int, ...]) -> tuple[int, ...]:
    """Coordinate descent on the error of whole ways, from the noisiest level to the cleanest until nothing moves."""
    before: tuple[int, ...] = ()
    while levels != before:
        before = levels
        for index in reversed(range(len(levels) - 1)):
            tried = [levels, *_moves(walk, levels, index)]
            levels = min(tried, key=lambda each: mean_squared_error(teacher, walk, each))
    return levels


@pytest.mark.parametrize("start", [(1, 2, 3, 4, 16), (12, 13, 14, 15, 16), (2, 9, 16), (8, 16), (16,)])
def test_a_descent_moves_one_level_after_another_until_none_has_a_gain(start: tuple[int, ...]) -> None:
    teacher, walk = kinked_walk(16)
    begun = tuple(walk.levels[position] for position in start)
    found = descend(teacher, walk, begun)
    assert found == plain_descent(teacher, walk, begun)
    assert len(found) == len(start) and found[-1] == T and (found != begun or start in ((8, 16), (16,)))


def test_a_search_starts_at_the_best_of_three_sets() -> None:
    """The error itself for 3 steps, its root for 4, and the spacing of the grid for 5."""
    teacher, walk = kinked_walk(16)
    costs = jump_costs(teacher.schedule, walk)
    for steps, best in ((3, 0), (4, 1), (5, 2)):
        even = tuple(int(np.floor(k * 16 / steps + 0.5)) for k in range(1, steps + 1))
        starts = [
            tuple(walk.levels[position] for position in positions)
            for positions in (cheapest(costs, steps), cheapest(np.sqrt(costs), steps), even)
        ]
        assert min(starts, key=lambda levels: mean_squared_error(teacher, walk, levels)) == starts[best]
        ends = [descend(teacher, walk, start) for start in starts]
        assert search(teacher, walk, steps) == ends[best]
        assert ends.count(ends[best]) < 3, "another start leads elsewhere"


def test_a_walk_is_the_same_in_batches_of_any_size(monkeypatch: pytest.MonkeyPatch) -> None:
    teacher, noise = untrained_teacher(), torch.randn(5, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    whole = take_walk(teacher, noise, (16, 32, 64), "dpm-solver", True)
    monkeypatch.setattr("sfddm.diffusion.search.BATCH", 2)
    parts = take_walk(teacher, noise, (16, 32, 64), "dpm-solver", True)
    assert torch.allclose(whole.states, parts.states, atol=1e-5)
    assert torch.allclose(whole.samples, parts.samples, atol=1e-5)
    assert whole.samples.abs().max() <= 1 and bool((whole.states[-1] == noise).all())
    # The last predicted image is where the walk ends.
    assert torch.equal(whole.samples[0], whole.states[0])
    assert mean_squared_error(teacher, whole, (16, 64)) == pytest.approx(
        mean_squared_error(teacher, parts, (16, 64)), rel=1e-3
    )


@pytest.fixture
def specs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with tiny and digits in specs/, and a teacher of tiny's kind that nobody has trained."""
    (tmp_path / "specs").mkdir()
    for path in (ROOT / "tests/tiny.yaml", ROOT / "specs/digits.yaml"):
        (tmp_path / "specs" / path.name).write_bytes(path.read_bytes())
    (tmp_path / "runs" / "tiny" / "teacher").mkdir(parents=True)
    storage.write(tmp_path / "runs" / "tiny" / "teacher", untrained_teacher())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "160")
    return tmp_path / "specs"


QUICK = ("--grid", "12", "--noises", "8")


def test_a_search_prints_lines_that_a_spec_takes(
    specs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sfddm(monkeypatch, "index-set", "search", "tiny", "3", *QUICK) == 0
    shown = capsys.readouterr().out
    assert all(f"{kind} " in shown for kind in ("uniform", "uniform-angle", "quadratic", "uniform-log-snr", "found"))
    assert "then run `sfddm run tiny`" in shown
    *_, comment, line = shown.splitlines()
    old = "    index_set: {kind: uniform, steps: 4}\n"
    (specs / "tiny.yaml").write_text(TINY.replace(old, f"{comment}\n{line}\n"))
    levels = load_spec("tiny").levels("ours-t4")
    assert len(levels) == 3
    assert levels[-1] == 64
    command = comment.partition("# Found by: sfddm ")[2]
    assert sfddm(monkeypatch, *command.split()) == 0
    assert capsys.readouterr().out == shown, "the same search finds the same"


def test_a_search_says_what_it_took(
    specs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where there is nothing to choose: the walk, the error of each start and of the descent's, and its two jumps."""
    assert sfddm(monkeypatch, "index-set", "search", "tiny", "3", "--grid", "3", "--noises", "8") == 0
    assert f"search: {8 * (3 + 3 * 3 + 3 + 2)}}}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("search", "tiny", "13", "--grid", "12"), "13 steps can't be chosen from a grid of 12 levels"),
        (("search", "tiny", "3", "--grid", "65"), "the teacher has 64 levels"),
        (("search", "tinny", "3"), "did you mean 'tiny'?"),
        (("search", "digits", "3"), "dvc repro teacher@digits"),
        (("show", "tiny", "our-t4"), "did you mean 'ours-t4'?"),
    ],
)
def test_errors_end_with_code_2_and_what_to_do(
    specs: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    words: str,
) -> None:
    assert sfddm(monkeypatch, "index-set", *arguments) == 2
    assert words in capsys.readouterr().err


def test_a_teacher_of_another_schedule_than_the_specs_is_refused(
    specs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (specs / "tiny.yaml").write_text(TINY.replace("noise_schedule: cosine", "noise_schedule: linear"))
    assert sfddm(monkeypatch, "index-set", "search", "tiny", "2", *QUICK) == 2
    assert "dvc repro teacher@tiny" in capsys.readouterr().err


def test_show_prints_levels_angles_and_log_snr(
    specs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ours = TINY.index("  ours-t4:")
    own = TINY[ours:].replace("{kind: uniform, steps: 4}", "{kind: explicit, levels: [7, 64], search: 500}", 1)
    (specs / "tiny.yaml").write_text(TINY[:ours] + own)
    assert sfddm(monkeypatch, "index-set", "show", "tiny") == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    remaining = alpha_bar("cosine", 64)[[7, 64]]
    degrees = np.degrees(np.arccos(np.sqrt(remaining)))
    at = lines.index(["ours-t4", "2", "level", "7", "64"])
    assert lines[at + 1] == ["angle", *(f"{value:.2f}" for value in degrees)]
    assert lines[at + 2] == ["log-SNR", *(f"{value:.2f}" for value in np.log(remaining / (1 - remaining)))]
    assert ["ddim-t4", "4", "level", "16", "32", "48", "64"] in lines
