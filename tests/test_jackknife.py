"""Metrics without one block of images, of real images or of both, against the same computed anew from what is left."""

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
import torch

from sfddm.evaluation import distances as module
from sfddm.evaluation.distances import Jackknife, frechet_distances, kernel_distances
from sfddm.evaluation.moments import Sample, blocks, frechet_distance
from sfddm.evaluation.real import FEWEST
from sfddm.evaluation.scorer import View
from sfddm.evaluation.similarity import feature_similarities, pixel_similarities, structural_similarity
from sfddm.evaluation.statistics import Measured, with_bias
from sfddm.images import from_bytes
from tests.judges import frechet, images, kernel

ENDS = {
    20: range(0, 21, 2),
    47: (0, 5, 9, 14, 19, 24, 28, 33, 38, 42, 47),
    60: range(0, 61, 6),
}
"""Where the ten blocks of so many images begin and end, by hand."""
SIZES = [(20, 20), (47, 60), (60, 47)]
"""Images and real images; not all blocks of 47 are equally large."""


def features(count: int, seed: int, scale: float = 1.0) -> np.ndarray:
    random = np.random.default_rng(seed)
    return scale * random.normal(size=(count, 3)) @ random.normal(size=(3, 3)) + random.normal(size=3)


def less(values: np.ndarray, block: int) -> np.ndarray:
    """What is left without one block."""
    ends = ENDS[len(values)]
    return np.delete(values, np.s_[ends[block] : ends[block + 1]], axis=0)


def from_scratch(a: np.ndarray, b: np.ndarray, metric: Callable[[np.ndarray, np.ndarray], float]) -> Jackknife:
    return {
        "images": [metric(less(a, block), b) for block in range(10)],
        "real": [metric(a, less(b, block)) for block in range(10)],
        "both": [metric(less(a, block), less(b, block)) for block in range(10)],
    }


def close(wanted: Jackknife) -> Jackknife:
    return {draw: pytest.approx(values, rel=1e-6, abs=1e-9) for draw, values in wanted.items()}


@pytest.mark.parametrize("count", ENDS)
def test_blocks_are_consecutive_and_have_every_image_once(count: int) -> None:
    ends = list(ENDS[count])
    assert [(block.start, block.stop) for block in blocks(count)] == list(pairwise(ends))


def test_the_fewest_images_leave_two_in_every_block() -> None:
    assert {block.stop - block.start for block in blocks(FEWEST)} == {2}
    assert min(block.stop - block.start for block in blocks(FEWEST - 1)) == 1


@pytest.mark.parametrize(("count", "real"), SIZES)
def test_the_frechet_distance_without_blocks(count: int, real: int) -> None:
    a, b = features(count, 1), features(real, 2, 1.5)
    found = frechet_distances(Sample(torch.from_numpy(a)), Sample(torch.from_numpy(b)))
    assert found.at_n == pytest.approx(frechet(a, b))
    wanted = from_scratch(a, b, frechet)
    grows = sum(np.mean(wanted[draw]) - frechet(a, b) for draw in ("images", "real"))
    assert found.unbiased == pytest.approx(frechet(a, b) - 9 * grows)
    less_bias = {draw: [value - 9 * grows for value in values] for draw, values in wanted.items()}
    assert found.jackknife == close(less_bias)


@pytest.mark.parametrize("scale", [1.0, 0.9])
def test_the_frechet_distance_of_few_images_is_that_of_endless_ones(scale: float) -> None:
    """For 32 features of Gaussians with standard deviations 1 and `scale` and means .1 apart that is 32 (.01 + (1 -
    scale)^2). The usual estimate is far above it."""
    random = torch.Generator().manual_seed(0)
    true, found = 32 * (0.01 + (1 - scale) ** 2), []
    for _ in range(20):
        own, real = (torch.randn(count, 32, generator=random) for count in (2000, 500))
        found.append(frechet_distances(Sample(scale * own + 0.1), Sample(real)))
    assert np.mean([each.unbiased for each in found]) == pytest.approx(true, abs=0.04)
    assert np.mean([each.at_n for each in found]) > true + 0.5
    assert np.std([each.unbiased for each in found]) < 1.25 * np.std([each.at_n for each in found])


def test_the_bias_of_fewer_images_follows_from_that_of_many() -> None:
    random = torch.Generator().manual_seed(0)
    own, real = torch.randn(8000, 32, generator=random), Sample(torch.randn(500, 32, generator=random))
    found = frechet_distances(Sample(own), real)
    of = Measured(whole=found.unbiased, images=tuple(found.jackknife["images"]), real=tuple(found.jackknife["real"]))
    assert with_bias(of, 1) == pytest.approx(found.at_n)
    few = np.mean([frechet_distance(Sample(part).whole, real.whole) for part in own.split(400)])
    assert few > 1.5 * found.at_n
    assert with_bias(of, 20) == pytest.approx(few, rel=0.05)


def test_features_far_from_0_lose_no_digits_without_blocks() -> None:
    """Sums are subtracted, and what is left of them is small beside them."""
    a, b = ((features(count, 1) + 3000).astype(np.float32) for count in (47, 60))
    found = frechet_distances(*(Sample(torch.from_numpy(of)) for of in (a, b)))
    wanted = from_scratch(a.astype(np.float64), b.astype(np.float64), frechet)
    biased = {draw: np.array(of) + found.at_n - found.unbiased for draw, of in found.jackknife.items()}
    assert all(biased[draw] == pytest.approx(wanted[draw], rel=1e-4, abs=1e-4) for draw in wanted)


@pytest.mark.parametrize(("count", "real"), SIZES)
def test_the_kernel_distance_without_blocks(count: int, real: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHUNK", 2)  # fewer rows than the larger blocks have
    a, b = features(count, 1), features(real, 2, 1.5)
    whole, found = kernel_distances(torch.from_numpy(a), torch.from_numpy(b))
    assert whole == pytest.approx(kernel(a, b))
    assert found == close(from_scratch(a, b, kernel))


def test_means_over_images_without_blocks() -> None:
    own, teachers = images(1, 47), images(2, 47)
    errors = (((own.astype(float) - teachers) / 127.5) ** 2).mean((1, 2, 3))
    found = pixel_similarities(own, teachers)
    assert found["mse_to_teacher_jackknife"] == {
        "images": pytest.approx([less(errors, block).mean() for block in range(10)])
    }
    similar = structural_similarity(from_bytes(own), from_bytes(teachers)).numpy()
    assert found["ssim_jackknife"]["images"] == pytest.approx([less(similar, block).mean() for block in range(10)])


def test_similarities_of_features_and_classes_without_blocks() -> None:
    one, other = (features(47, seed) for seed in (1, 2))
    classes = [np.random.default_rng(seed).integers(0, 2, 47) for seed in (3, 4)]
    views = [
        View(features=torch.from_numpy(of), classes=torch.from_numpy(seen))
        for of, seen in zip((one, other), classes, strict=True)
    ]
    found = feature_similarities(*views)
    cosines = (one * other).sum(1) / np.linalg.norm(one, axis=1) / np.linalg.norm(other, axis=1)
    same = (classes[0] == classes[1]).astype(float)
    for key, values in (("feature_cosine", cosines), ("agreement", same)):
        assert found[key] == pytest.approx(values.mean())
        assert found[f"{key}_jackknife"]["images"] == pytest.approx([less(values, block).mean() for block in range(10)])
    without = feature_similarities(*(View(features=view.features, classes=None) for view in views))
    assert set(without) == {"feature_cosine", "feature_cosine_jackknife"}, "nothing is said of classes"
