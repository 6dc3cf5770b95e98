"""What is kept of the real images: which ones distances go to, which ones the floor is of, and in which units."""

from pathlib import Path

import numpy as np
import pytest
import torch
from attrs import evolve

from sfddm.errors import UserError
from sfddm.evaluation import real as module
from sfddm.evaluation.moments import Moments
from sfddm.evaluation.real import FEWEST, KEPT, FileMoments, Real, Splits, read_real, write_real
from sfddm.runtime.files import read_json, write_json
from sfddm.spec.checks import HELD_OUT
from tests.judges import SHAPE, extractor, features_of, frechet, images, splits

TRAIN, TEST = images(1, 130, brightest=200), images(2, 53)
SEEN = 70
"""Training images that the scorer was trained with, the first ones."""
BOTH = splits(TRAIN, TEST, SEEN)
"""Real images of which some are held out."""
ALONE = splits(TRAIN, seen=40)
"""Real images of which none are; the scorer has not seen 90."""


def stored(
    folder: Path,
    real: Splits = BOTH,
    samples: int = 1000,
    standardise: bool = False,
    given: FileMoments | None = None,
    batch: int = 4,
) -> Real:
    """What is stored of real images, read again."""
    folder.mkdir(parents=True, exist_ok=True)
    write_real(folder, extractor(batch), real, samples, standardise, given)
    return read_real(folder)


def close(wanted: np.ndarray) -> object:
    return pytest.approx(wanted, rel=1e-5, abs=1e-6)


def check(moments: Moments | None, features: np.ndarray) -> None:
    """They are those of features [N, D]."""
    assert moments is not None
    assert moments.count == len(features)
    assert moments.mean.numpy() == close(features.mean(0))
    assert moments.covariance.numpy() == close(np.cov(features.T))


def places(found: np.ndarray, some: np.ndarray) -> set[int]:
    """Which of some images these features are of."""
    gaps = np.abs(found[:, None] - features_of(some)[None]).max(2)
    assert (gaps.min(1) < 1e-5).all(), "each is one of them"
    return set(gaps.argmin(1).tolist())


def test_distances_go_to_all_held_out_images_in_a_random_order(tmp_path: Path) -> None:
    real = stored(tmp_path)
    found = real.sample.features
    assert found.dtype == torch.float32
    assert real.held_out
    assert len(found) == len(TEST) and places(found.numpy(), TEST) == set(range(len(TEST)))
    assert found.numpy() != close(features_of(TEST)), "the first ones may be of one class"
    check(real.sample.whole, features_of(TEST))


def test_training_images_change_nothing_that_distances_go_to(tmp_path: Path) -> None:
    """Nor the units, where features are standardised."""
    for standardise in (False, True):
        one = stored(tmp_path / "one", standardise=standardise)
        other = stored(tmp_path / "other", splits(images(7, 100), TEST, 10), standardise=standardise)
        assert torch.equal(one.sample.features, other.sample.features)
        assert one.digest == other.digest
        assert one.floor != other.floor


@pytest.mark.parametrize(("samples", "count"), [(1000, 60), (60, 60), (59, 59), (20, 20)])
def test_the_floor_is_of_training_images_that_the_scorer_was_not_trained_with(
    tmp_path: Path, samples: int, count: int
) -> None:
    """At most as many as a student has."""
    floor = BOTH.divided(samples)[1][:]
    assert len(floor) == count
    chosen = places(features_of(floor), TRAIN)
    assert len(chosen) == count and min(chosen) >= SEEN
    assert count == 60 or chosen != set(range(SEEN, SEEN + count)), "not the first ones, which may be of one class"
    real = stored(tmp_path, samples=samples)
    assert real.floor_images == count
    assert real.floor == pytest.approx(frechet(features_of(floor), features_of(TEST)), rel=1e-4)


def test_there_is_no_floor_where_the_scorer_has_seen_all_or_all_but_19(tmp_path: Path) -> None:
    for seen, count in ((130, 0), (111, 0), (110, 20)):
        real = stored(tmp_path / str(seen), splits(TRAIN, TEST, seen))
        assert real.floor_images == count
        assert (real.floor is None) == (count == 0)
        assert real.train is not None and real.train.count == 130


def test_training_images_have_a_distance_of_their_own(tmp_path: Path) -> None:
    check(stored(tmp_path / "all").train, features_of(TRAIN))
    check(stored(tmp_path / "few", samples=20).train, features_of(TRAIN))


def test_without_a_test_split_distances_go_to_half_of_what_the_scorer_has_not_seen(tmp_path: Path) -> None:
    real = stored(tmp_path, ALONE)
    floor = ALONE.divided(1000)[1][:]
    own, other = places(real.sample.features.numpy(), TRAIN), places(features_of(floor), TRAIN)
    assert not real.held_out
    assert len(own) == len(other) == real.floor_images == 45
    assert own | other == set(range(40, 130)), "each image on one side alone"
    assert real.train is None, "distances go to training images anyway"
    assert real.floor == pytest.approx(frechet(features_of(floor), real.sample.features.double().numpy()), rel=1e-4)
    few = stored(tmp_path / "few", ALONE, samples=41)
    assert few.floor_images == 41 and torch.equal(few.sample.features, real.sample.features)


def test_the_number_of_images_that_is_needed_is_named(tmp_path: Path) -> None:
    needs = r"distances need at least 20 real images, better thousands, and there are"
    with pytest.raises(UserError, match=rf"{needs} 19 held out\. Give the section `data` of the spec more"):
        stored(tmp_path, splits(TRAIN, TEST[:19], SEEN))
    with pytest.raises(UserError, match=rf"{needs} 19: half of the 39 training images that the scorer has not seen"):
        stored(tmp_path, splits(TRAIN, seen=91))
    assert not list(tmp_path.iterdir())
    assert len(stored(tmp_path, splits(TRAIN, TEST[:20], SEEN)).sample.features) == 20
    assert len(stored(tmp_path, splits(TRAIN, seen=90)).sample.features) == 20


def test_specs_are_checked_for_as_many_as_distances_need() -> None:
    assert HELD_OUT == FEWEST == 20


def test_standardised_features_are_divided_by_their_deviation_over_held_out_images(tmp_path: Path) -> None:
    plain, real = stored(tmp_path / "plain"), stored(tmp_path / "units", standardise=True)
    unit = features_of(TEST).std(0, ddof=1)
    assert plain.scale.tolist() == [1, 1, 1]
    assert real.scale.numpy() == close(unit)
    assert real.sample.features.numpy() == close(plain.sample.features.numpy() / unit)
    check(real.train, features_of(TRAIN) / unit)
    floor = BOTH.divided(1000)[1][:]
    assert real.floor == pytest.approx(frechet(features_of(floor) / unit, features_of(TEST) / unit), rel=1e-4)


GIVEN = FileMoments(Moments(5000, torch.arange(3).double(), torch.eye(3).double()), "digest of the file")


@pytest.mark.parametrize("real", [BOTH, ALONE], ids=["some held out", "none held out"])
def test_given_moments_take_the_place_of_the_training_images_and_of_nothing_else(tmp_path: Path, real: Splits) -> None:
    own, given = stored(tmp_path / "own", real), stored(tmp_path / "given", real, given=GIVEN)
    assert given.train is not None and given.train.count == 5000
    assert torch.equal(given.train.mean, GIVEN.moments.mean)
    assert torch.equal(given.train.covariance, GIVEN.moments.covariance)
    assert torch.equal(given.sample.features, own.sample.features)
    assert (given.digest, given.floor, given.held_out) == (own.digest, own.floor, own.held_out)


def test_a_digest_is_of_what_distances_are_measured_to(tmp_path: Path) -> None:
    same, again, units = (stored(tmp_path / name, standardise=name == "units") for name in ("same", "again", "units"))
    other = stored(tmp_path / "other", splits(TRAIN, images(3, 53), SEEN))
    assert same.digest == again.digest and len(same.digest) == 16
    assert len({same.digest, units.digest, other.digest}) == 3


def test_it_does_not_matter_how_many_images_are_looked_at_together(tmp_path: Path) -> None:
    first, second = (stored(tmp_path / str(batch), batch=batch) for batch in (4, 1000))
    assert first.train is not None and second.train is not None
    assert second.floor == pytest.approx(first.floor)
    assert torch.allclose(second.train.covariance, first.train.covariance)


def test_so_many_images_are_kept_and_can_be_read_and_not_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert KEPT == 10_000
    monkeypatch.setattr(module, "KEPT", 50)
    real = stored(tmp_path)
    assert len(real.sample.features) == 50
    assert places(real.sample.features.numpy(), TEST) != set(range(50)), "not the first ones"
    assert real.floor_images == 50, "nor is the floor of more"
    many = splits(images(8, 300))
    assert [len(part) for part in many.divided(1000)] == [50, 50]


def test_a_feature_that_is_the_same_for_all_real_images_is_refused(tmp_path: Path) -> None:
    dark = np.where(np.arange(6).reshape(SHAPE) == 0, TEST, 9).astype(np.uint8)
    judge = evolve(extractor(), extract=lambda images: (torch.from_numpy(images.reshape(-1, 6)[:, :3]).float(), None))
    with pytest.raises(UserError, match="the same for all real images"):
        write_real(tmp_path, judge, splits(TRAIN, dark), 50, True, None)


@pytest.mark.parametrize(("key", "value"), [("floor_images", 1000), ("train_images", 1000), ("floor", 9.0)])
def test_what_describes_them_is_read_each_to_its_place(tmp_path: Path, key: str, value: float) -> None:
    def described(real: Real) -> dict[str, object]:
        assert real.train is not None
        return {"floor_images": real.floor_images, "train_images": real.train.count, "floor": real.floor}

    before = described(stored(tmp_path))
    write_json(tmp_path / "real.json", {**read_json(tmp_path / "real.json"), key: value})
    assert described(read_real(tmp_path)) == {**before, key: value}


@pytest.mark.parametrize("real", [BOTH, splits(images(5, 90)[:, :, :, :2], TEST), splits(TRAIN, TEST[:, :, :, :2])])
def test_images_of_another_size_than_the_extractors_are_refused(tmp_path: Path, real: Splits) -> None:
    judge = evolve(extractor(), shape=(1, 3, 2)) if real is BOTH else extractor()
    with pytest.raises(UserError, match="the real images: expected"):
        write_real(tmp_path, judge, real, 100, False, None)
    assert extractor().shape == SHAPE
