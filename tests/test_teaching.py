"""Walks of the teacher from states that nothing came before, step by step by hand and by their order."""

import math
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from attrs import evolve

from sfddm.diffusion.schedule import NoiseSchedule
from sfddm.diffusion.solvers import Teaching
from sfddm.methods.job import distill
from sfddm.methods.teaching import halfway, paths, walk
from sfddm.networks import storage
from sfddm.networks.contract import Contract
from sfddm.networks.denoiser import Denoiser
from sfddm.spec.parts import TeacherSteps
from tests.gaussian import flow_factor, gaussian_job, image_factor, level, linear_teacher, use_linear_networks
from tests.parts import CPU, DDIM, FEW, HIDDEN, METHODS, OURS, data_of
from tests.solvers import Known, angle_2m, ddim, dpm_solver

EXACT = Contract(timesteps=64, noise_schedule="cosine", prediction="v")
BY_HAND: dict[Teaching, Callable[..., float]] = {"ddim": ddim, "dpm-solver": dpm_solver, "angle-2m": angle_2m}
PATHS = [(64, 32), (48, 0), (60, 40, 20), (30, 20, 10, 0), (9, 8, 6), (1, 0), (7, 7, 3), (5, 3, 3, 0)]
"""With and without clean data, levels between, and steps from a level to itself."""


def taught(solver: Teaching, **changes: bool | int) -> TeacherSteps:
    return evolve(DDIM, solver=solver, **changes)


def angle(t: int) -> float:
    alpha, sigma = level("cosine", 64, t)
    return math.atan2(sigma, alpha)


def middle(s: int, r: int) -> int:
    """The first level between whose angle is at least the middle's, else the one below s; s where none is between."""
    between = range(r + 1, s)
    if not between:
        return s
    return next((m for m in between if angle(m) >= (angle(s) + angle(r)) / 2), s - 1)


def walked(solver: Teaching, x: float, path: tuple[int, ...], clip: bool) -> float:
    """A walk of the exact teacher on plain numbers."""

    def predicted(at: float, t: int) -> float:
        image = image_factor(*level("cosine", 64, t)) * at
        return max(-1.0, min(image, 1.0)) if clip else image

    last: tuple[float, int] | None = None
    for s, r in pairwise(path):
        x0, at_s, at_r = predicted(x, s), level("cosine", 64, s), level("cosine", 64, r)
        if last is None and solver != "ddim":
            m = middle(s, r)
            last = predicted(ddim(x, x0, None, at_s, level("cosine", 64, m)), m), m
        known: Known | None = None if last is None or last[1] == s else (last[0], level("cosine", 64, last[1]))
        if r != s:
            x = BY_HAND[solver](x, x0, known, at_s, at_r)
        last = x0, s
    return max(-1.0, min(x, 1.0)) if clip and path[-1] == 0 else x


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("clip", [False, True])
@pytest.mark.parametrize("solver", BY_HAND)
def test_a_walk_is_its_solvers_steps_one_after_another(solver: Teaching, clip: bool, path: tuple[int, ...]) -> None:
    """The larger states lead to predictions beyond 1, which only a clipped walk changes."""
    x = torch.tensor([0.7, -1.3, 9.0]).view(3, 1, 1, 1).expand(3, 1, 8, 8)
    steps = taught(solver, clip_sample=clip)
    arrived, features = walk(linear_teacher(EXACT), x, torch.tensor([path] * 3), steps, ahead=False)
    expected = [walked(solver, start, path, clip) for start in (0.7, -1.3, 9.0)]
    assert features is None and arrived[:, 0, 0, 0].tolist() == pytest.approx(expected, rel=2e-4, abs=2e-5)


def test_rows_of_a_batch_walk_ways_of_their_own() -> None:
    """A row that has no middle, one that ends at clean data, and one that has repeated levels, beside each other."""
    teacher, rows = linear_teacher(EXACT), [(9, 8, 6), (60, 40, 0), (7, 7, 3), (1, 1, 0)]
    x = torch.linspace(-1, 1, 4).view(4, 1, 1, 1).expand(4, 1, 8, 8)
    for solver in BY_HAND:
        together, _ = walk(teacher, x, torch.tensor(rows), taught(solver), ahead=False)
        for at, row in enumerate(rows):
            alone, _ = walk(teacher, x[at : at + 1], torch.tensor([row]), taught(solver), ahead=False)
            assert torch.allclose(together[at], alone[0], atol=1e-6) and bool(together.isfinite().all())


@pytest.mark.parametrize(("solver", "order"), [("ddim", 1), ("dpm-solver", 2), ("angle-2m", 2)])
@pytest.mark.parametrize("substeps", [1, 3])
def test_walks_one_after_another_converge_with_their_solvers_order(solver: Teaching, order: int, substeps: int) -> None:
    """Each starts anew, as from noised images; twice as many divide the error by 2^order."""
    contract = Contract(timesteps=1024, noise_schedule="cosine", prediction="v")
    teacher, errors = linear_teacher(contract), []
    teacher.double()
    start, end = 900, 132
    for parts in (8, 16):
        x = torch.ones(1, 1, 8, 8, dtype=torch.float64)
        levels = [end + (start - end) * part // parts for part in range(parts, -1, -1)]
        for s, r in pairwise(levels):
            way = [s - (s - r) * step // substeps for step in range(substeps + 1)]
            x, _ = walk(teacher, x, torch.tensor([way]), taught(solver), ahead=False)
        errors.append(abs(float(x.mean()) - flow_factor("cosine", 1024, start, end)))
    assert 0.75 * 2**order < errors[0] / errors[1] < 1.5 * 2 ** (order + 1)


def test_the_middle_is_between_or_nowhere() -> None:
    schedule = NoiseSchedule("linear", 100)
    pairs = torch.tensor([(s, r) for s in range(1, 101) for r in range(s + 1)])
    found = halfway(schedule, *pairs.unbind(1))
    assert bool(((found > pairs[:, 1]) | (found == pairs[:, 0])).all() and (found <= pairs[:, 0]).all())
    assert torch.equal(found == pairs[:, 0], pairs[:, 0] - pairs[:, 1] < 2)
    assert int(halfway(NoiseSchedule("cosine", 64), torch.tensor([48]), torch.tensor([16]))) == 32


def ends(network: Denoiser, levels: tuple[int, ...]) -> list[float]:
    """What a student's own jumps between levels make of 1: cos(delta) - sin(delta) f, its v being f times its input."""
    factors = network.get_parameter("network.conv_out.weight")[0, :, 0]
    deltas = [(s, angle(s) - angle(r)) for s, r in pairwise(levels)]
    return [math.cos(delta) - math.sin(delta) * float(factors[s - 1]) for s, delta in deltas]


LEVELS = (32, 64)
SHORT = evolve(FEW, iterations=150, batch_size=16, learning_rate=0.05, decay=0.7, average=0.0)
FINE = TeacherSteps(solver="angle-2m", substeps=2, clip_sample=False)
TAUGHT = {
    "data": evolve(OURS, sources=(data_of(solver="angle-2m", substeps=4),), terms=(HIDDEN,), training=SHORT),
    "progressive": evolve(METHODS["progressive"], start_steps=4, teacher_steps=FINE, training=SHORT),
    "tract": evolve(
        METHODS["tract"], substeps=2, teacher_steps=FINE, training=evolve(SHORT, iterations=300, average=0.5)
    ),
}
"""Each learns from four steps of angle-2m in every segment of two: the first two are at the top of the walk."""


@pytest.mark.parametrize("name", TAUGHT)
def test_students_learn_what_their_teachers_solver_reaches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """TRACT's walk starts anew at the middle of each segment."""
    use_linear_networks(monkeypatch)
    made = distill(gaussian_job(tmp_path, TAUGHT[name], LEVELS, EXACT))
    (tmp_path / "student").mkdir()
    made.write(tmp_path / "student")
    found = ends(storage.load(tmp_path / "student", CPU), (64, 32, 0))
    expected = []
    for row in reversed(paths(LEVELS, 4, EXACT).tolist()):
        pieces = [tuple(row[:3]), tuple(row[2:])] if name == "tract" else [tuple(row)]
        expected.append(math.prod(walked("angle-2m", 1.0, piece, clip=False) for piece in pieces))
    assert found == pytest.approx(expected, abs=2e-3)


def test_later_folds_halve_plain_jumps_of_the_student_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two folds, 8 -> 4 -> 2 steps: the second composes what the first learnt of angle-2m."""
    use_linear_networks(monkeypatch)
    method = evolve(METHODS["progressive"], start_steps=8, teacher_steps=FINE, training=evolve(SHORT, iterations=300))
    made = distill(gaussian_job(tmp_path, method, LEVELS, EXACT))
    (tmp_path / "student").mkdir()
    made.write(tmp_path / "student")
    expected = []
    for segment in ((64, 48, 32), (32, 16, 0)):
        rows = [tuple(row) for row in paths((16, 32, 48, 64), 4, EXACT).tolist() if row[0] in segment[:2]]
        expected.append(math.prod(walked("angle-2m", 1.0, row, clip=False) for row in rows))
    found = ends(storage.load(tmp_path / "student", CPU), (64, 32, 0))
    assert found == pytest.approx(expected, abs=2e-3)
