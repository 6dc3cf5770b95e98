"""What is kept of the real images: moments, features, the floor between halves, and in which units."""

from pathlib import Path

import numpy as np
import pytest
import torch
from attrs import evolve
from torch import Tensor

from sfddm.errors import UserError
from sfddm.evaluation import real as module
from sfddm.evaluation.moments import Moments
from sfddm.evaluation.real import KEPT, FileMoments, Real, keep, read_real, write_real
from sfddm.networks.weights import read_tensors, write_tensors
from sfddm.randomness import Purpose, generator
from sfddm.runtime.files import read_json, write_json
from tests.judges import SHAPE, extractor, features_of, frechet, images

REAL = images(1, 29)
ORDER = generator(0, Purpose.SPLIT).permutation(29)


def stored(folder: Path, samples: int = 100, standardise: bool = False, given: FileMoments | None = None) -> Real:
    """What is stored of 29 images, read again."""
    folder.mkdir(exist_ok=True)
    write_real(folder, extractor(), REAL, samples, standardise, given)
    return read_real(folder, 3, SHAPE)


def close(wanted: np.ndarray) -> object:
    return pytest.approx(wanted, rel=1e-5, abs=1e-6)


def check(moments: Moments, features: np.ndarray) -> None:
    """They are those of features [N, D]."""
    assert moments.count == len(features)
    assert moments.mean.numpy() == close(features.mean(0))
    assert moments.covariance.numpy() == close(np.cov(features.T))


@pytest.mark.parametrize(("samples", "half"), [(100, 14), (14, 14), (13, 13), (4, 4)])
def test_the_floor_is_between_two_halves_of_as_many_images_as_a_student_has_at_most(
    tmp_path: Path, samples: int, half: int
) -> None:
    real = stored(tmp_path, samples)
    one, other = (features_of(REAL[part]) for part in (ORDER[:half], ORDER[half : 2 * half]))
    check(real.half, one)
    assert real.distance == pytest.approx(frechet(one, other), rel=1e-4)


def test_moments_are_of_all_images_and_of_their_pixels(tmp_path: Path) -> None:
    real = stored(tmp_path, 4)
    check(real.moments, features_of(REAL))
    check(real.pixels, REAL.reshape(29, 6) / 127.5 - 1)
    assert real.scale.tolist() == [1, 1, 1]


def test_features_are_those_of_all_images_in_a_random_order(tmp_path: Path) -> None:
    found = stored(tmp_path).features
    assert found.dtype == torch.float32 and found.shape == (29, 3)
    wanted = features_of(REAL)
    assert np.sort(found.numpy(), 0) == close(np.sort(wanted, 0))
    assert found.numpy() != close(wanted), "not the first ones, which may be of one class"


def test_standardised_features_are_divided_by_their_deviation_over_all_images(tmp_path: Path) -> None:
    plain, real = stored(tmp_path / "plain", 4), stored(tmp_path / "units", 4, standardise=True)
    unit = features_of(REAL).std(0, ddof=1)
    assert real.scale.numpy() == close(unit)
    check(real.moments, features_of(REAL) / unit)
    check(real.half, features_of(REAL[ORDER[:4]]) / unit)
    assert real.features.numpy() == close(plain.features.numpy() / unit)
    other = features_of(REAL[ORDER[4:8]]) / unit
    assert real.distance == pytest.approx(frechet(features_of(REAL[ORDER[:4]]) / unit, other), rel=1e-4)


def test_given_moments_take_the_place_of_the_images_own(tmp_path: Path) -> None:
    given = FileMoments(Moments(5000, torch.arange(3).double(), torch.eye(3).double()), "digest of the file")
    own, real = stored(tmp_path / "own"), stored(tmp_path / "given", given=given)
    assert real.moments.count == 5000 and torch.equal(real.moments.mean, given.moments.mean)
    assert torch.equal(real.moments.covariance, given.moments.covariance) and real.digest == "digest of the file"
    assert torch.equal(real.features, own.features) and real.distance == own.distance
    assert real.half.count == own.half.count == 14 and real.pixels.count == 29


def test_a_digest_is_of_what_distances_are_measured_to(tmp_path: Path) -> None:
    same, again, units = (stored(tmp_path / name, 100, name == "units") for name in ("same", "again", "units"))
    (tmp_path / "other").mkdir()
    write_real(tmp_path / "other", extractor(), images(2, 29), 100, False, None)
    other = read_real(tmp_path / "other", 3, SHAPE)
    assert same.digest == again.digest and len(same.digest) == 16
    assert len({same.digest, units.digest, other.digest}) == 3


def test_it_does_not_matter_how_many_images_are_looked_at_together(tmp_path: Path) -> None:
    first = stored(tmp_path / "first")
    (tmp_path / "second").mkdir()
    write_real(tmp_path / "second", extractor(batch=1000), REAL, 100, False, None)
    second = read_real(tmp_path / "second", 3, SHAPE)
    assert second.distance == pytest.approx(first.distance)
    assert torch.allclose(second.moments.covariance, first.moments.covariance)


def test_ten_images_are_enough_and_nine_are_not(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="9 real images: distances need at least 10"):
        write_real(tmp_path, extractor(), REAL[:9], 100, False, None)
    write_real(tmp_path, extractor(), REAL[:10], 100, False, None)
    assert read_real(tmp_path, 3, SHAPE).half.count == 5


def test_ten_thousand_features_are_kept() -> None:
    kept: list[Tensor] = []
    keep(kept, torch.zeros(9_998, 1, dtype=torch.float64))
    keep(kept, torch.arange(1.0, 4).view(3, 1))
    keep(kept, torch.ones(1, 1))
    assert sum(map(len, kept)) == KEPT == 10_000 and len(kept) == 2
    assert kept[1].flatten().tolist() == [1, 2] and {features.dtype for features in kept} == {torch.float32}


def test_so_many_kept_features_can_be_read_and_not_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stored(tmp_path)
    monkeypatch.setattr(module, "KEPT", 29)
    read_real(tmp_path, 3, SHAPE)
    monkeypatch.setattr(module, "KEPT", 28)
    with pytest.raises(UserError, match=r"features\.npy is damaged \(expected 3 finite features of each of 10 to 28"):
        read_real(tmp_path, 3, SHAPE)


@pytest.mark.parametrize(
    "features",
    [
        np.zeros((29, 4)),
        np.zeros((9, 3)),
        np.full((29, 3), np.inf),
        np.where(np.arange(87).reshape(29, 3) == 50, np.nan, 0),
    ],
    ids=["another number of features", "too few", "infinite", "one is NaN"],
)
def test_kept_features_that_fit_nothing_are_refused(tmp_path: Path, features: np.ndarray) -> None:
    stored(tmp_path)
    np.save(tmp_path / "features.npy", features.astype(np.float32))
    with pytest.raises(UserError, match=r"features\.npy is damaged"):
        read_real(tmp_path, 3, SHAPE)


@pytest.mark.parametrize("scale", [0.0, -1.0])
def test_a_scale_that_is_not_positive_is_refused(tmp_path: Path, scale: float) -> None:
    """Of a feature that is the same on all real images, for one."""
    stored(tmp_path)
    path = tmp_path / "statistics.safetensors"
    write_tensors(path, {**read_tensors(path), "scale": torch.tensor([1.0, scale, 1.0]).double()})
    with pytest.raises(UserError, match=r"statistics\.safetensors is damaged \(expected a positive scale\)"):
        read_real(tmp_path, 3, SHAPE)


@pytest.mark.parametrize(("features", "shape"), [(4, SHAPE), (3, (1, 2, 4))])
def test_statistics_of_another_scorer_or_of_other_images_are_refused(
    tmp_path: Path, features: int, shape: tuple[int, int, int]
) -> None:
    stored(tmp_path)
    with pytest.raises(UserError, match=r"statistics\.safetensors: its weights don't fit"):
        read_real(tmp_path, features, shape)


@pytest.mark.parametrize("key", ["count", "half", "pixel_count"])
def test_numbers_of_images_are_read_each_to_its_moments(tmp_path: Path, key: str) -> None:
    before = stored(tmp_path)
    described = read_json(tmp_path / "real.json")
    write_json(tmp_path / "real.json", {**described, key: 1000})
    after = read_real(tmp_path, 3, SHAPE)
    counts = {"count": after.moments.count, "half": after.half.count, "pixel_count": after.pixels.count}
    wanted = {"count": before.moments.count, "half": before.half.count, "pixel_count": before.pixels.count}
    assert counts == {**wanted, key: 1000}


def test_images_of_another_size_than_the_extractors_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="the real images: expected"):
        write_real(tmp_path, evolve(extractor(), shape=(1, 3, 2)), REAL, 100, False, None)
