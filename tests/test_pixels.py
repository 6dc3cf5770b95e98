"""The `pixels` scorer, which has neither weights nor classes."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from sfddm.errors import SpecError, UserError
from sfddm.evaluation.moments import Sample, frechet_distance
from sfddm.evaluation.real import write_real
from sfddm.evaluation.scorer import load_scorer
from sfddm.evaluation.scorers.extractor import Extractor, load_extractor, write_extractor
from sfddm.evaluation.scorers.pixels import flat_pixels
from sfddm.runtime.files import read_json
from sfddm.spec.evaluation import PixelValues
from sfddm.spec.read import parse_spec
from tests.judges import frechet, splits
from tests.parts import with_data, with_scorers

CPU = torch.device("cpu")


def stored(folder: Path, shape: tuple[int, int, int]) -> Extractor:
    """The scorer for images of this shape, written and read."""
    folder.mkdir(exist_ok=True)
    write_extractor(folder, None, PixelValues(kind="pixels"), shape)
    return load_extractor(folder, CPU)


def random(shape: tuple[int, int, int], count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, *shape)).astype(np.uint8)


def test_the_pixels_of_small_images_are_the_features_and_there_are_no_classes(tmp_path: Path) -> None:
    images, scorer = random((2, 3, 5), 7), stored(tmp_path, (2, 3, 5))
    ((features, scores),) = scorer.batches(images)
    assert torch.allclose(features, torch.from_numpy(images.reshape(7, 30) / np.float32(127.5) - 1), atol=1e-6)
    assert features.dtype == torch.float32
    assert scorer.classes == 0
    assert scores.shape == (7, 0)


def test_two_by_two_pixels_of_large_images_are_averaged_until_1024_numbers_are_left(tmp_path: Path) -> None:
    images, scorer = random((1, 64, 64), 3), stored(tmp_path, (1, 64, 64))
    ((features, _),) = scorer.batches(images)
    wanted = images.reshape(3, 32, 2, 32, 2).mean((2, 4)) / 127.5 - 1
    assert scorer.features == 1024
    assert np.allclose(features.numpy(), wanted.reshape(3, 1024), atol=1e-5)


def test_pixels_are_averaged_until_there_are_few_enough() -> None:
    large = torch.rand(2, 3, 64, 64)
    assert flat_pixels(large).shape == (2, 3 * 16 * 16), "32 x 32 in three channels are not few enough"
    assert torch.allclose(flat_pixels(large)[:, 1], large[:, 0, :4, 4:8].mean((1, 2)))
    assert flat_pixels(torch.rand(1, 1, 32, 32)).shape == (1, 1024), "1024 numbers are few enough"
    assert flat_pixels(torch.rand(1, 1, 25, 41)).shape == (1, 13 * 21), "and 1025 are not"
    odd = torch.rand(2, 1, 33, 33)
    assert torch.equal(flat_pixels(odd)[:, -1], odd[:, 0, 32, 32]), "the edge is not lost"


def test_it_has_a_name_of_its_own_for_each_shape_and_no_weights(tmp_path: Path) -> None:
    one, again, other = (stored(tmp_path / name, (1, 4, side)) for name, side in (("a", 4), ("b", 4), ("c", 8)))
    assert one.name == again.name == f"pixels-1:{one.digest[:8]}"
    assert one.digest != other.digest
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["scorer.json"]


def test_distances_in_it_are_those_of_the_pixels(tmp_path: Path) -> None:
    images = random((1, 3, 3), 100)
    scorer = stored(tmp_path, (1, 3, 3))
    write_real(tmp_path, scorer, splits(images, images[:40]), 40, False, None)
    judge = load_scorer(tmp_path, CPU)
    found = frechet_distance(Sample(judge.view(images[40:]).features).whole, judge.real.sample.whole)
    own, real = (part.reshape(-1, 9) / 127.5 - 1 for part in (images[40:], images[:40]))
    assert found == pytest.approx(frechet(own, real), rel=1e-5)


@pytest.mark.parametrize(("field", "value"), [("version", "0"), ("shape", [1, "8", 8]), ("unheard_of", 1)])
def test_another_description_is_refused(tmp_path: Path, field: str, value: object) -> None:
    stored(tmp_path, (1, 8, 8))
    content = {**read_json(tmp_path / "scorer.json"), field: value}
    (tmp_path / "scorer.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"scorer\.json"):
        load_extractor(tmp_path, CPU)


def test_it_needs_no_classes_of_the_data() -> None:
    text = with_data("{kind: lsun, category: bedroom, images: 9, crop: center, size: 8, flip: true}")
    assert parse_spec(with_scorers("{pixels: {kind: pixels}}", text), "tiny.yaml")
    with pytest.raises(SpecError, match=r"lsun has none here: use efficientnet, .* or pixels"):
        parse_spec(text, "tiny.yaml")


def test_areas_are_averaged_to_the_size_that_is_asked_for(tmp_path: Path) -> None:
    images = random((3, 12, 8), 5)
    write_extractor(tmp_path, None, PixelValues(kind="pixels", size=4), (3, 12, 8))
    scorer = load_extractor(tmp_path, CPU)
    ((features, _),) = scorer.batches(images)
    wanted = images.reshape(5, 3, 4, 3, 4, 2).mean((3, 5)) / 127.5 - 1
    assert np.allclose(features.numpy(), wanted.reshape(5, 48), atol=1e-5)
    assert scorer.features == 48
    assert scorer.digest != stored(tmp_path / "whole", (3, 12, 8)).digest


def test_without_a_size_it_is_the_scorer_that_it_was(tmp_path: Path) -> None:
    """Results that were made before it had one are of this name, and their folders hold these bytes."""
    assert stored(tmp_path, (1, 8, 8)).name == "pixels-1:8b2d047e"
    assert read_json(tmp_path / "scorer.json")["settings"] == {"kind": "pixels"}


def test_a_size_that_does_not_divide_the_images_is_refused() -> None:
    with pytest.raises(SpecError, match=r"expected a divisor of 8 and 8, .*pixels\.size"):
        parse_spec(with_scorers("{pixels: {kind: pixels, size: 3}}"), "tiny.yaml")
    with pytest.raises(SpecError, match="at least 1"):
        parse_spec(with_scorers("{pixels: {kind: pixels, size: 0}}"), "tiny.yaml")
