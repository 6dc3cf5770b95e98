"""The teacher's cached trajectories against the same walk by hand."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from attrs import evolve
from torch import Tensor

from sfddm.diffusion.solvers import Teaching
from sfddm.diffusion.spacing import finer
from sfddm.diffusion.steps import ddim_step
from sfddm.errors import UserError
from sfddm.methods import trajectories
from sfddm.methods.trajectories import Trajectories, load_or_compute
from sfddm.networks.contract import Contract
from sfddm.randomness import Purpose, normals
from sfddm.runtime.machine import machine
from sfddm.spec.parts import Cache
from sfddm.spec.teacher import UNet2D
from tests.gaussian import ddim_factor, linear_teacher
from tests.parts import CACHE, PATCHED, untrained_teacher

LEVELS = (16, 32, 64)
PLAIN = evolve(CACHE, solver="ddim", substeps=2, clip_sample=False, noises=6, seed=4)


def noises(source: Cache) -> Tensor:
    return torch.from_numpy(normals(source.seed, Purpose.TRAJECTORY_NOISE, range(source.noises), (1, 8, 8)))


@pytest.mark.parametrize(("network", "clip", "places"), [(None, False, 8), (None, True, 8), (PATCHED, True, 4)])
def test_states_and_features_are_those_of_the_walk_by_hand(
    tmp_path: Path, network: UNet2D | None, clip: bool, places: int
) -> None:
    """Features are kept where jumps land; the last jump's are those of the lowest level that the solver stops at."""
    teacher, source = untrained_teacher(network=network), evolve(PLAIN, clip_sample=clip)
    solver_levels = finer(LEVELS, 2, "cosine", 64)
    assert set(LEVELS) < set(solver_levels) and len(solver_levels) == 6 and solver_levels[0] < 16
    x, states, features = noises(source), {}, {}
    for level, lower in zip(solver_levels[::-1], (*solver_levels[-2::-1], 0), strict=True):
        at, to = torch.full((6,), level), torch.full((6,), lower)
        x0, features[level] = teacher.predict(x, at, to)
        states[level] = x
        x = ddim_step(x, x0.clamp(-1, 1) if clip else x0, teacher.schedule.at(at, x), teacher.schedule.at(to, x))
    states[0] = x
    found = load_or_compute(teacher, "key", LEVELS, source, tmp_path)
    assert found.states.shape == (4, 6, 1, 8, 8) and found.states.dtype == torch.float32
    assert found.features.shape == (3, 6, 8, places, places) and found.features.dtype == torch.float16
    for k, level in enumerate((0, *LEVELS)):
        assert torch.allclose(found.states[k], states[level], atol=1e-5)
    for k, level in enumerate((solver_levels[0], 16, 32)):
        assert torch.allclose(found.features[k].float(), features[level], atol=2e-3)


def test_the_exact_teachers_trajectories_are_known_factors_of_the_noise(tmp_path: Path) -> None:
    teacher = linear_teacher(Contract(timesteps=64, noise_schedule="cosine", prediction="v"))
    path = (*reversed(finer(LEVELS, 2, "cosine", 64)), 0)
    found = load_or_compute(teacher, "key", LEVELS, PLAIN, tmp_path)
    for k, level in enumerate((0, *LEVELS)):
        passed = path[: path.index(level) + 1]
        assert torch.allclose(found.states[k], ddim_factor("cosine", 64, *passed) * noises(PLAIN), atol=1e-5)
    at_lowest = ddim_factor("cosine", 64, *path[:-1]) * noises(PLAIN)
    assert torch.allclose(found.features[0].float(), at_lowest, atol=2e-3)


@pytest.mark.parametrize(("batch", "numbers", "most"), [(4, 2**20, 4), (250, 2**20, 6), (250, 140, 2), (250, 1, 1)])
def test_trajectories_do_not_depend_on_how_many_are_computed_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch: int, numbers: int, most: int
) -> None:
    """An image has 64 numbers, so that batches of 140 have two."""
    drawn = set[int]()
    monkeypatch.setattr(trajectories, "BATCH", batch)
    monkeypatch.setattr(trajectories, "NUMBERS", numbers)
    monkeypatch.setattr(trajectories, "normals", lambda *given: drawn.add(len(given[2])) or normals(*given))
    teacher = linear_teacher(Contract(timesteps=64, noise_schedule="cosine", prediction="v"))
    found = load_or_compute(teacher, "key", LEVELS, PLAIN, tmp_path)
    assert torch.equal(found.states[3], noises(PLAIN))
    assert torch.allclose(found.features[2].float(), found.states[2], atol=2e-3)
    assert max(drawn) == most


def test_a_second_student_reads_what_the_first_has_computed(tmp_path: Path) -> None:
    first = load_or_compute(untrained_teacher(), "key", LEVELS, PLAIN, tmp_path)
    again = load_or_compute(untrained_teacher(seed=9), "key", LEVELS, PLAIN, tmp_path)
    assert torch.equal(first.states, again.states) and torch.equal(first.features, again.features)
    assert len(list(tmp_path.glob("*/states.npy"))) == 1


@pytest.mark.parametrize(
    "changed",
    [
        {"teacher_digest": "other"},
        {"levels": (16, 48, 64)},
        {"levels": (16, 64)},
        {"source": evolve(PLAIN, noises=5)},
        {"source": evolve(PLAIN, seed=5)},
        {"source": evolve(PLAIN, solver="angle-2m")},
        {"source": evolve(PLAIN, substeps=1)},
        {"source": evolve(PLAIN, clip_sample=True)},
    ],
)
def test_everything_that_decides_a_trajectory_makes_another_cache(tmp_path: Path, changed: dict[str, Any]) -> None:
    teacher = linear_teacher(Contract(timesteps=64, noise_schedule="cosine", prediction="v"))
    same: dict[str, Any] = {"teacher_digest": "key", "levels": LEVELS, "source": PLAIN, "cache": tmp_path}
    for _ in range(2):
        load_or_compute(teacher, **same)
        load_or_compute(teacher, **{**same, **changed})
    assert len(list(tmp_path.glob("*/states.npy"))) == 2


def test_another_kind_of_machine_makes_another_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many processes share them: each batch is one process's."""
    teacher = linear_teacher(Contract(timesteps=64, noise_schedule="cosine", prediction="v"))
    asked: list[int] = []

    def described(processes: int, processor: str) -> dict[str, Any]:
        asked.append(processes)
        return {**machine(processes), "processor": processor}

    for processor in ("this", "other", "this"):
        monkeypatch.setattr(trajectories, "machine", partial(described, processor=processor))
        load_or_compute(teacher, "key", LEVELS, PLAIN, tmp_path)
    assert len(list(tmp_path.glob("*/states.npy"))) == 2 and asked == [1, 1, 1]


def test_other_code_makes_another_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    teacher = linear_teacher(Contract(timesteps=64, noise_schedule="cosine", prediction="v"))
    for code in ("this", "other", "this"):
        monkeypatch.setattr(trajectories, "fingerprint", lambda _, code=code: code)
        load_or_compute(teacher, "key", LEVELS, PLAIN, tmp_path)
    assert len(list(tmp_path.glob("*/states.npy"))) == 2


def test_index_sets_that_share_the_solvers_levels_are_kept_apart(tmp_path: Path) -> None:
    """(16, 64) with two sub-steps and its own finer set with one have the same solver steps, and other states."""
    teacher = linear_teacher(Contract(timesteps=64, noise_schedule="cosine", prediction="v"))
    coarse, fine = (16, 64), finer((16, 64), 2, "cosine", 64)
    two = load_or_compute(teacher, "key", coarse, PLAIN, tmp_path)
    one = load_or_compute(teacher, "key", fine, evolve(PLAIN, substeps=1), tmp_path)
    assert len(two.states) == 3 and len(one.states) == 5
    assert torch.equal(two.states, one.states[[0, 2, 4]])


@pytest.mark.parametrize("file", ["states.npy", "features.npy"])
def test_a_damaged_cache_is_computed_again(tmp_path: Path, file: str) -> None:
    first = load_or_compute(untrained_teacher(), "key", LEVELS, PLAIN, tmp_path)
    (path,) = tmp_path.glob(f"*/{file}")
    path.write_bytes(path.read_bytes()[:1000])
    again = load_or_compute(untrained_teacher(), "key", LEVELS, PLAIN, tmp_path)
    assert torch.equal(first.states, again.states) and torch.equal(first.features, again.features)


def test_features_that_half_precision_cant_hold_are_kept_as_its_largest(tmp_path: Path) -> None:
    teacher = untrained_teacher()
    teacher.network.up_blocks[-1].resnets[-1].conv2.bias.data[:2] = torch.tensor([1e6, -1e6])
    found = load_or_compute(teacher, "key", LEVELS, PLAIN, tmp_path).features
    assert (found[:, :, 0] == 65504).all() and (found[:, :, 1] == -65504).all() and found[:, :, 2:].abs().max() < 100


def test_a_teacher_whose_trajectories_are_no_numbers_is_named_and_nothing_is_kept(tmp_path: Path) -> None:
    teacher = untrained_teacher()
    teacher.network.conv_out.bias.data.fill_(torch.nan)
    with pytest.raises(UserError, match="NaN or infinite"):
        load_or_compute(teacher, "key", LEVELS, PLAIN, tmp_path)
    assert [path.suffix for path in tmp_path.iterdir()] == [".lock"]


@pytest.mark.parametrize("solver", ["dpm-solver", "angle-2m"])
def test_other_solvers_are_used_where_they_are_asked_for(tmp_path: Path, solver: Teaching) -> None:
    """Second order: nearer to many steps than as many of DDIM's."""
    teacher = linear_teacher(Contract(timesteps=64, noise_schedule="cosine", prediction="v"))

    def found(used: Teaching, substeps: int) -> Trajectories:
        return load_or_compute(teacher, "key", LEVELS, evolve(PLAIN, solver=used, substeps=substeps), tmp_path)

    many, few, ddim = found("ddim", 16), found(solver, 4), found("ddim", 4)
    for k in (1, 2):
        errors = [float((some.states[k] - many.states[k]).abs().mean()) for some in (few, ddim)]
        assert errors[0] < 0.5 * errors[1]
