"""What a student sees in one iteration: from the cache, from its own roll-out, from noised images, all by hand."""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from attrs import evolve
from torch import Tensor

from sfddm.data import store
from sfddm.diffusion.process import hidden_target
from sfddm.methods.sources import Batch, batches, join, jump, noised
from sfddm.methods.teaching import paths, walk
from sfddm.methods.trajectories import Trajectories, load_or_compute
from sfddm.networks.contract import Contract
from sfddm.randomness import Purpose, epoch_indices, generator
from sfddm.spec.parts import FeatureTerm, OutputTerm, Source, Term, split
from sfddm.training.batches import Rows, real_images
from tests.gaussian import ddim_factor, level, linear_teacher
from tests.parts import (
    CACHE,
    CPU,
    DATA,
    DDIM,
    FEW,
    HIDDEN,
    LOOK_AHEAD,
    OURS,
    ROLLOUT,
    SOURCES,
    data_of,
    task,
    untrained_teacher,
)

LEVELS = (16, 32, 48, 64)
TERMS: tuple[Term, ...] = (HIDDEN, LOOK_AHEAD)
"""They ask for a landing and for features there."""
OUTPUT = OutputTerm(kind="output", weight=1.0, distance="l1")
SAME = FeatureTerm(kind="feature", weight=0.3, state="same")
"""They ask for neither."""
WHOLE = Rows(64)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where all jobs here are made: one teacher, one data set, one cache."""
    return tmp_path_factory.mktemp("jobs")


@pytest.fixture(scope="module")
def kept(folder: Path) -> Trajectories:
    """The cache of all jobs here, which differ in nothing that decides it."""
    return load_or_compute(untrained_teacher(), "by hand", LEVELS, CACHE, folder / "by hand")


def batch_of(
    folder: Path,
    *sources: Source,
    step: int = 0,
    size: int = 64,
    terms: tuple[Term, ...] = TERMS,
    student_seed: int = 1,
) -> Batch:
    training = evolve(FEW, batch_size=size)
    draw = batches(task(folder, seed=5, sources=sources, terms=terms, training=training))
    return draw(step, untrained_teacher(seed=student_seed))


def segments(batch: Batch) -> Iterator[tuple[int, Tensor]]:
    """Every k with its rows, of which there are some: they jump from phi_k to phi_(k-1)."""
    for k, (end, start) in enumerate(pairwise((0, *LEVELS)), 1):
        rows = torch.nonzero(batch.level == start).flatten()
        assert len(rows) and batch.landing_level[rows].tolist() == [end] * len(rows)
        yield k, rows


def in_turn(step: int, size: int) -> Tensor:
    """The noises of a batch from the cache."""
    return torch.from_numpy(epoch_indices(5, step, size, CACHE.noises))


def levels_of(path: tuple[int, ...], count: int) -> Iterator[tuple[Tensor, Tensor]]:
    """The jumps of a path, for a batch of `count`."""
    for start, end in pairwise(path):
        yield torch.full((count,), start), torch.full((count,), end)


def test_a_batch_from_the_cache_is_the_cache_read_by_hand(folder: Path, kept: Trajectories) -> None:
    """States at both ends of each segment, and the features where the jump lands; the noises in turn."""
    for step in (0, 3):
        batch, numbers = batch_of(folder, *OURS.sources, step=step), in_turn(step, 64)
        assert batch.landing_features is not None
        for k, rows in segments(batch):
            chosen = numbers[rows]
            assert torch.equal(batch.x[rows], kept.states[k, chosen])
            assert torch.equal(batch.landing[rows], kept.states[k - 1, chosen])
            assert torch.equal(batch.landing_features[rows], kept.features[k - 1, chosen].float())


def test_segments_are_drawn_evenly(folder: Path) -> None:
    for source in (OURS.sources[0], data_of(substeps=1)):
        batch = batch_of(folder, source, size=2000, terms=(OUTPUT,))
        assert all(abs(len(rows) - 500) < 100 for _, rows in segments(batch))


def test_features_are_given_where_they_are_asked_for(folder: Path) -> None:
    for sources in SOURCES.values():
        assert batch_of(folder, *sources, terms=(HIDDEN,)).landing_features is None


def test_rollouts_stand_where_the_student_itself_arrives(folder: Path, kept: Trajectories) -> None:
    """From the noise down to its segment by its own jumps; its target is the cached trajectory of the same noise."""
    batch, numbers, student = batch_of(folder, ROLLOUT, step=2), in_turn(2, 64), untrained_teacher(seed=1)
    assert batch.landing_features is not None
    for k, rows in segments(batch):
        chosen = numbers[rows]
        x = kept.states[4, chosen]
        for start, end in levels_of((64, 48, 32, 16)[: 5 - k], len(rows)):
            x = jump(student, x, start, end)
        assert torch.allclose(batch.x[rows], x, atol=1e-5)
        assert torch.equal(batch.landing[rows], kept.states[k - 1, chosen])
        assert torch.equal(batch.landing_features[rows], kept.features[k - 1, chosen].float())


def test_a_rollout_of_the_teacher_itself_is_its_trajectory(folder: Path) -> None:
    cache = evolve(CACHE, solver="ddim", substeps=1, clip_sample=False)
    for step in range(3):
        rolled, kept = (
            batch_of(folder, evolve(source, cache=cache), step=step, student_seed=0)
            for source in (ROLLOUT, OURS.sources[0])
        )
        assert torch.allclose(rolled.x, kept.x, atol=1e-4) and torch.equal(rolled.landing, kept.landing)


def test_rollouts_leave_the_cache_and_the_gradients_alone(folder: Path) -> None:
    draw = batches(task(folder, sources=(ROLLOUT,), terms=TERMS, training=FEW))
    student = untrained_teacher(seed=1).requires_grad_(True)
    first, again = draw(0, student), draw(0, student)
    assert torch.equal(first.x, again.x) and not first.x.requires_grad


def test_noised_images_are_real_images_with_noise_of_their_own(folder: Path) -> None:
    batch = batch_of(folder, DATA, step=1, size=500, terms=(OUTPUT,))
    real = real_images(store.read(folder / "data", "train"), Rows(500), CPU)(5, 1)
    alpha, sigma = untrained_teacher().schedule.at(batch.level, batch.x)
    noise = (batch.x - alpha * real) / sigma
    assert abs(float(noise.mean())) < 0.02 and float(noise.std()) == pytest.approx(1, abs=0.02)
    others = noise.flatten(1) @ noise.flatten(1).T / 64
    assert float(others.fill_diagonal_(0).abs().max()) < 0.8, "no two images have the same noise"


@pytest.mark.parametrize("substeps", [1, 2, 3])
def test_the_landing_of_a_noised_image_is_the_teachers_walk(folder: Path, substeps: int) -> None:
    """Its features are the teacher's at the landing state, and before clean data those of the last state above it."""
    teacher = untrained_teacher()
    walks = [tuple(path) for path in paths(LEVELS, substeps, teacher.contract).tolist()]
    batch = batch_of(folder, data_of(substeps=substeps), size=24)
    assert batch.landing_features is not None
    for k, rows in segments(batch):
        x, path = batch.x[rows], walks[k - 1]
        before = x
        for start, end in levels_of(path, len(rows)):
            before, x = x, jump(teacher, x, start, end)
        state, at = (x, path[-1]) if path[-1] else (before, path[-2])
        features = teacher(state, torch.full((len(rows),), at)).features
        assert torch.allclose(batch.landing[rows], x, atol=1e-5)
        assert torch.allclose(batch.landing_features[rows], features, atol=1e-4)


@pytest.mark.parametrize(
    ("terms", "walks", "features"),
    [((OUTPUT,), False, False), ((SAME,), False, False), ((HIDDEN,), True, False), ((LOOK_AHEAD,), True, True)],
)
def test_the_teacher_walks_only_where_it_is_asked_for(
    folder: Path, terms: tuple[Term, ...], walks: bool, features: bool
) -> None:
    batch = batch_of(folder, DATA, terms=terms)
    assert torch.equal(batch.landing, batch.x) == (not walks)
    assert (batch.landing_features is not None) == features


def test_one_substep_gives_the_teachers_own_output_as_the_target(folder: Path) -> None:
    batch, teacher = batch_of(folder, data_of(substeps=1)), untrained_teacher()
    target = hidden_target(batch.x, batch.landing, teacher.schedule.angle(batch.level, batch.landing_level, batch.x))
    assert torch.allclose(target, teacher(batch.x, batch.level).output, atol=1e-3)


def test_a_batch_is_shared_out_among_its_sources(folder: Path, kept: Trajectories) -> None:
    """Each source's rows follow the one's before; a share that rounds to nothing has none."""
    sources = (evolve(OURS.sources[0], share=1.0), evolve(ROLLOUT, share=2.0), evolve(DATA, share=0.01))
    assert split(sources, 64) == [21, 43, 0]
    assert sum(split(SOURCES["mix"], 64)) == 64
    batch, numbers = batch_of(folder, *sources), torch.cat([in_turn(0, 21), in_turn(0, 43)])
    assert len(batch.x) == len(batch.level) == 64 and batch.landing_features is not None
    for k, rows in segments(batch):
        first = rows < 21
        assert torch.equal(batch.landing[rows], kept.states[k - 1, numbers[rows]])
        assert torch.equal(batch.x[rows[first]], kept.states[k, numbers[rows[first]]])
        assert torch.equal(batch.x[rows[~first]], kept.states[k, numbers[rows[~first]]]) == (k == 4)


def test_processes_share_a_batch_of_all_sources_row_by_row(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Row i of what one process alone would draw goes to process i mod 3."""
    sources = (evolve(data_of(substeps=1), share=3.0), evolve(data_of(substeps=2), share=4.0))
    alone = batch_of(folder, *sources, size=14)
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "test")
    monkeypatch.setenv("WORLD_SIZE", "3")
    for rank in range(3):
        monkeypatch.setenv("RANK", str(rank))
        shared = batch_of(folder, *sources, size=14)
        assert shared.level.tolist() == alone.level[rank::3].tolist()
        for found, wanted in ((shared.x, alone.x), (shared.landing, alone.landing)):
            assert torch.allclose(found, wanted[rank::3], atol=1e-5)


def test_joined_batches_follow_each_other() -> None:
    def of(value: int, features: bool) -> Batch:
        at = torch.full((2,), value)
        states = at.view(2, 1, 1, 1).float()
        return Batch(x=states, level=at + 1, landing_level=at + 2, landing=states + 3,
                     landing_features=states + 4 if features else None)  # fmt: skip

    joined = join([of(0, True), of(10, True)])
    parts = (joined.x, joined.level, joined.landing_level, joined.landing, joined.landing_features)
    for offset, part in enumerate(parts):
        assert part is not None and part.flatten().tolist() == [offset, offset, 10 + offset, 10 + offset]
    assert join([of(0, False), of(1, False)]).landing_features is None


def test_walks_cut_every_segment_evenly_in_angle() -> None:
    """On a cosine schedule of 64 levels that is even in levels, but for its offset of half a level at the clean end."""
    contract = untrained_teacher().contract
    assert paths((16, 64), 1, contract).tolist() == [[16, 0], [64, 16]]
    assert paths((16, 64), 4, contract).tolist() == [[16, 12, 8, 4, 0], [64, 52, 40, 28, 16]]


def test_segments_narrower_than_the_substeps_are_walked_without_a_clean_evaluation() -> None:
    walked = paths((1, 2, 64), 4, untrained_teacher().contract)
    assert bool((walked[:, :-1] > 0).all()) and walked[:, -1].tolist() == [0, 1, 2]


def test_noise_goes_up_to_the_first_level_of_the_row_that_is_drawn() -> None:
    schedule, walks = untrained_teacher().schedule, torch.tensor([[16, 8, 0], [64, 40, 16]])
    x0 = torch.full((64, 1, 2, 2), 0.5)
    random = generator(3, Purpose.TRAINING_BATCH, 7)
    x, chosen = noised(x0, walks, schedule, random, WHOLE)
    again = generator(3, Purpose.TRAINING_BATCH, 7)
    rows = again.integers(0, 2, 64)
    noise = again.standard_normal((64, 1, 2, 2), dtype=np.float32)
    assert chosen.tolist() == [walks[row].tolist() for row in rows] and set(rows) == {0, 1}
    for at, row in enumerate(rows):
        alpha, sigma = level("cosine", 64, int(walks[row, 0]))
        assert x[at].numpy() == pytest.approx(alpha * 0.5 + sigma * noise[at], rel=1e-4, abs=1e-6)


@pytest.fixture(scope="module")
def exact() -> Contract:
    return Contract(timesteps=64, noise_schedule="cosine", prediction="v")


@pytest.mark.parametrize("path", [(64, 0), (48, 16), (60, 40, 20), (32, 21, 10, 0), (7, 7, 3)])
def test_a_walk_of_the_exact_teacher_multiplies_by_known_factors(exact: Contract, path: tuple[int, ...]) -> None:
    """From a level to itself nothing changes."""
    x = torch.tensor([0.7, -1.3]).view(2, 1, 1, 1).expand(2, 1, 8, 8)
    arrived, features = walk(linear_teacher(exact), x, torch.tensor([path, path]), DDIM, ahead=False)
    assert features is None
    assert torch.allclose(arrived, ddim_factor("cosine", 64, *path) * x, atol=1e-5)


def test_a_walk_looks_ahead_at_the_landing_or_before_clean_data(exact: Contract) -> None:
    """The linear teacher's features are its input; each row of a batch has a path of its own."""
    x, rows = torch.ones(3, 1, 8, 8), ((64, 40, 20), (40, 20, 0), (20, 20, 0))
    arrived, features = walk(linear_teacher(exact), x, torch.tensor(rows), DDIM, ahead=True)
    factors = [[ddim_factor("cosine", 64, *row[:length]) for row in rows] for length in (1, 2, 3)]
    assert arrived[:, 0, 0, 0].tolist() == pytest.approx(factors[2], rel=1e-4)
    assert features is not None
    assert features[:, 0, 0, 0].tolist() == pytest.approx([factors[2][0], factors[1][1], factors[1][2]], rel=1e-4)


def test_features_ahead_are_asked_for_at_the_level_of_their_state() -> None:
    teacher, x = untrained_teacher(), torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    arrived, features = walk(teacher, x, torch.tensor([(64, 40, 20), (40, 20, 0)]), DDIM, ahead=True)
    middle = jump(teacher, x[1:], torch.tensor([40]), torch.tensor([20]))
    wanted: list[Tensor] = [teacher(arrived[:1], torch.tensor([20])).features,
                            teacher(middle, torch.tensor([20])).features]  # fmt: skip
    assert features is not None and torch.allclose(features, torch.cat(wanted), atol=1e-4)
