"""What students cost, counted by hand: forward 1, forward and backward 3."""

from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from sfddm.diffusion.solvers import Teaching
from sfddm.methods.job import distill
from sfddm.networks.contract import Contract
from sfddm.networks.size import share
from sfddm.spec.index_set import Uniform
from sfddm.spec.parts import Cost, FeatureTerm, OutputTerm, Source, Term
from sfddm.spec.students import Consistency, Free, Method, Progressive, Resampled
from sfddm.spec.teacher import UNet2D
from tests.gaussian import LinearNetwork, gaussian_job, use_linear_networks
from tests.parts import (
    CACHE,
    COPY,
    DATA,
    DDIM,
    FEW,
    HIDDEN,
    LOOK_AHEAD,
    METHODS,
    OURS,
    PATCHED,
    PUBLISHED,
    ROLLOUT,
    SCRATCH,
    data_of,
    of,
    tiny,
    untrained_teacher,
)

LEVELS = (16, 32, 48, 64)
IMAGES = 4 * 64
"""That four iterations train on."""
TRAJECTORY = OURS.sources[0]
OTHER = evolve(CACHE, noises=100, substeps=3)
OUTPUT = OutputTerm(kind="output", weight=1.0, distance="l1")
SAME = FeatureTerm(kind="feature", weight=0.3, state="same")


def found(method: Method, levels: tuple[int, ...] = LEVELS) -> Cost:
    return method.cost(levels, "cosine", 64)


def ours(*sources: Source, **changes: Any) -> Method:
    return evolve(OURS, **{"sources": sources, "training": FEW, **changes})


@pytest.mark.parametrize(
    "method",
    [
        Free(kind="free", solver="ddim"),
        Free(kind="free", solver="dpm-solver"),
        Free(kind="free", solver="angle-2m"),
        Free(kind="free", solver="ancestral"),
        Resampled(kind="resampled", student="ours"),
    ],
)
def test_what_trains_nothing_costs_nothing(method: Method) -> None:
    assert found(method) == Cost() == Cost(cache=0, training=0, folds=0)


def test_a_cost_is_stored_with_its_total() -> None:
    made = Cost(cache=5, training=7, folds=2)
    assert made.total == 12
    assert made.to_json() == {"search": 0, "cache": 5, "training": 7, "folds": 2, "total": 12}


@pytest.mark.parametrize(("solver", "more"), [("ddim", 0), ("dpm-solver", 1), ("angle-2m", 1)])
def test_a_teachers_steps_cost_their_substeps_and_a_look_ahead_of_multistep_solvers(
    solver: Teaching, more: int
) -> None:
    """One look ahead a walk; two folds of progressive, of which the second is taught by two jumps of the first."""
    steps = evolve(DDIM, solver=solver, substeps=3)
    for name in ("consistency", "tract"):
        assert found(evolve(METHODS[name], teacher_steps=steps)).training == IMAGES * (3 + 3 + more + 1)
    halved = found(evolve(METHODS["progressive"], teacher_steps=steps)).training
    assert halved == IMAGES // 2 * (3 + 6 + more) + IMAGES // 2 * (3 + 2)
    assert found(ours(data_of(solver=solver), terms=(HIDDEN,))).training == IMAGES * (3 + 3 + more)


def test_closures_ask_the_teacher_and_the_average_once_an_image() -> None:
    for name in ("consistency", "tract"):
        assert found(METHODS[name]) == Cost(cache=0, training=IMAGES * 5, folds=1)


@pytest.mark.parametrize(
    ("start_steps", "iterations", "folds", "each"), [(8, 4, 1, 4), (16, 4, 2, 2), (64, 4, 4, 1), (64, 11, 4, 2)]
)
def test_progressive_folds_share_the_iterations(start_steps: int, iterations: int, folds: int, each: int) -> None:
    """Two steps of the fold's teacher an image; what the folds do not divide is left out."""
    method = METHODS["progressive"]
    assert isinstance(method, Progressive)
    described = evolve(method, start_steps=start_steps, training=evolve(FEW, iterations=iterations))
    assert found(described) == Cost(cache=0, training=folds * each * 64 * 5, folds=folds)


def test_a_cache_costs_an_evaluation_for_each_noise_and_solver_level() -> None:
    """128 noises on 4 * 2 levels; 300 segments of 64 levels have room for 64."""
    assert found(METHODS["any-step"]) == Cost(cache=128 * 8, training=IMAGES * 3, folds=1)
    assert found(ours(TRAJECTORY)) == Cost(cache=128 * 8, training=IMAGES * 3, folds=1)
    narrow = evolve(TRAJECTORY, cache=evolve(CACHE, substeps=300))
    assert found(ours(narrow)).cache == 128 * 64


@pytest.mark.parametrize(
    ("terms", "each"),
    [
        ((HIDDEN, LOOK_AHEAD), 3 + 3 + 1),
        ((HIDDEN,), 3 + 3),
        ((HIDDEN, SAME), 3 + 1 + 3),
        ((OUTPUT, HIDDEN, LOOK_AHEAD), 3 + 1 + 3 + 1),
        ((LOOK_AHEAD,), 3 + 3 + 1),
        ((OUTPUT, SAME), 3 + 1),
    ],
)
def test_noised_images_cost_the_teachers_walk_where_a_term_asks_for_it(terms: tuple[Term, ...], each: int) -> None:
    """Three sub-steps, one evaluation at the landing, one where the student stands."""
    assert found(ours(DATA, terms=terms)) == Cost(cache=0, training=IMAGES * each, folds=1)


@pytest.mark.parametrize(("steps", "each"), [(1, 3.0), (2, 3.5), (4, 4.5)])
def test_rollouts_cost_half_the_way_on_average(steps: int, each: float) -> None:
    levels = tuple(64 * k // steps for k in range(1, steps + 1))
    assert found(ours(ROLLOUT), levels).training == IMAGES * each


def test_sources_cost_by_their_share_and_a_common_cache_counts_once() -> None:
    """16 rows of 3, 16 of 4.5 and 32 of 7 in each of four iterations."""
    mixed = (TRAJECTORY, ROLLOUT, evolve(DATA, share=2.0))
    assert found(ours(*mixed)) == Cost(cache=128 * 8, training=4 * (16 * 3 + 72 + 32 * 7), folds=1)
    two = (TRAJECTORY, evolve(ROLLOUT, cache=OTHER))
    assert found(ours(*two)) == Cost(cache=128 * 8 + 100 * 12, training=4 * (32 * 3 + 144), folds=1)


def test_halves_of_an_evaluation_are_rounded_at_the_end() -> None:
    """Five images an iteration, four rolled out over two steps: 3 + 4 * 3.5 = 17, and three iterations."""
    method = ours(TRAJECTORY, evolve(ROLLOUT, share=4.0), training=evolve(FEW, iterations=3, batch_size=5))
    assert found(method, (32, 64)).training == 51
    assert found(ours(ROLLOUT, training=evolve(FEW, iterations=1, batch_size=1)), (32, 64)).training == 4


def test_a_smaller_students_network_counts_by_its_share() -> None:
    """A quarter: of its own passes and its average's, not of the teacher's steps, nor of trajectories."""

    def quarter(method: Method) -> int:
        return method.cost(LEVELS, "cosine", 64, 0.25).training

    assert quarter(ours(TRAJECTORY)) == quarter(METHODS["any-step"]) == IMAGES * 3 / 4
    assert quarter(ours(ROLLOUT)) == IMAGES * (3 + 1.5) / 4
    assert quarter(ours(DATA, terms=(OUTPUT, HIDDEN, LOOK_AHEAD))) == IMAGES * (3 / 4 + 1 + 3 + 1)
    assert quarter(METHODS["tract"]) == quarter(METHODS["consistency"]) == IMAGES * ((3 + 1) / 4 + 1)
    assert quarter(METHODS["progressive"]) == IMAGES / 2 * ((3 + 3 + 2) / 4 + 2)


def test_a_networks_share_is_that_of_multiply_adds(capfd: pytest.CaptureFixture[str]) -> None:
    """Twice the channels everywhere make four times as many in a convolution, but twice in the first and the last."""
    teacher, small = untrained_teacher().config, unet((4, 8))
    assert share(COPY, teacher) == share(SCRATCH, teacher) == 1
    assert share(evolve(SCRATCH, network=unet((8, 16))), teacher) == 1
    assert 1 / 4 < share(evolve(SCRATCH, network=small), teacher) < 1 / 3
    assert 1 / 4 < share(evolve(SCRATCH, network=PATCHED), teacher) < 1 / 3, "a quarter of the places"
    assert capfd.readouterr() == ("", ""), "counting says nothing"


def unet(channels: tuple[int, int]) -> UNet2D:
    """tiny's network with other channels."""
    network = tiny().teacher.source.network  # type: ignore[union-attr]
    assert isinstance(network, UNet2D)
    return evolve(network, channels=channels)


def test_a_students_own_network_is_in_what_it_cost(tmp_path: Path) -> None:
    start = evolve(SCRATCH, network=unet((4, 8)))
    method = evolve(OURS, start=start, terms=(HIDDEN,), training=evolve(FEW, iterations=1))
    small = distill(of(tmp_path, method)).cost
    assert small["training"] == round(64 * 3 * share(start, untrained_teacher().config)) < 64
    assert small["cache"] == 128 * 8


def test_a_consistency_grid_costs_nothing_by_itself() -> None:
    method = METHODS["consistency"]
    assert isinstance(method, Consistency) and method.start == COPY
    assert found(evolve(method, grid=Uniform(kind="uniform", steps=64))) == found(method)


EVALUATED = {
    **METHODS,
    "any-step": evolve(METHODS["any-step"], start=SCRATCH),
    "published": evolve(OURS, **{**PUBLISHED, "training": FEW}),
    "rollout": ours(ROLLOUT),
    "data": ours(DATA),
    "data without features": ours(DATA, terms=(HIDDEN,)),
    "data for features alone": ours(DATA, terms=(OUTPUT, LOOK_AHEAD)),
    "angle data": ours(data_of(solver="angle-2m")),
    "angle progressive": evolve(METHODS["progressive"], teacher_steps=evolve(DDIM, solver="angle-2m", substeps=2)),
    "angle tract": evolve(METHODS["tract"], teacher_steps=evolve(DDIM, solver="angle-2m", substeps=2)),
    "same features": ours(TRAJECTORY, terms=(HIDDEN, SAME)),
}


@pytest.mark.parametrize("name", EVALUATED)
def test_costs_are_the_evaluations_that_are_really_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Every image that passes a network once, plus two more for each that is trained on."""
    use_linear_networks(monkeypatch)
    evaluated: list[int] = []
    monkeypatch.setattr(LinearNetwork, "evaluated", lambda _, images: evaluated.append(images))
    started: list[int] = []
    method = EVALUATED[name]
    described = gaussian_job(tmp_path, method, LEVELS, Contract(timesteps=64, noise_schedule="cosine", prediction="v"))
    made = distill(evolve(described, training_starts=started.append))
    assert made.cost == found(method).to_json() and started == [4]
    # Of random depth are rollouts; of closures some steps end where the average has nothing to add.
    slack = 0.1 if name in ("rollout", "tract", "consistency", "angle tract") else 0
    fakes = 3 * IMAGES // 4 if name == "distribution" else 0
    assert sum(evaluated) + 2 * (IMAGES + fakes) == pytest.approx(made.cost["total"], rel=slack)
