"""The measures against torch-fidelity, torchmetrics and closed forms, on features of our own making."""

import numpy as np
import pytest
import torch
from attrs import evolve
from torch import Tensor

from sfddm.diffusion.sampler import Sampler
from sfddm.evaluation.distances import kernel_distances, precision_recall
from sfddm.evaluation.interpolation import PAIRS, STEPS, path_length, paths, strips
from sfddm.evaluation.metrics import JACKKNIFE, METRICS
from sfddm.evaluation.moments import MomentSums, Sample, frechet_distance
from sfddm.evaluation.real import Real
from sfddm.evaluation.scorer import Scorer
from sfddm.evaluation.similarity import structural_similarity
from sfddm.images import to_bytes
from sfddm.networks.generation import draw_from, generate
from sfddm.randomness import Purpose, normals
from tests.judges import extractor, frechet, kernel
from tests.parts import untrained_teacher
from tests.project import ROOT


def features(seed: int, count: int, dimensions: int, shift: float = 0.0, scale: float = 1.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    mixed = torch.randn(count, dimensions, generator=generator, dtype=torch.float64)
    mixing = torch.randn(dimensions, dimensions, generator=torch.Generator().manual_seed(99), dtype=torch.float64)
    return scale * mixed @ mixing / dimensions**0.5 + shift


def distance(a: Tensor, b: Tensor) -> float:
    return frechet_distance(*(MomentSums(x.shape[1]).add(x[:7]).add(x[7:]).moments() for x in (a, b)))


def kernel_distance(a: Tensor, b: Tensor) -> float:
    return kernel_distances(a, b)[0]


def test_the_frechet_distance_is_torch_fidelitys() -> None:
    from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric

    for shift, scale in ((0.0, 1.0), (0.5, 1.3), (100.0, 1.0)):
        a, b = features(1, 700, 40), features(2, 500, 40, shift, scale)
        theirs = fid_statistics_to_metric(*(fid_features_to_statistics(x) for x in (a, b)), False)
        assert distance(a, b) == pytest.approx(theirs["frechet_inception_distance"], rel=1e-6)
    assert distance(a, a) == pytest.approx(0, abs=1e-7)


def test_the_frechet_distance_of_shifted_gaussians_tends_to_its_closed_form() -> None:
    a, b = (torch.randn(200_000, 3, generator=torch.Generator().manual_seed(seed)) for seed in (1, 2))
    assert distance(a, 3 * b + 2) == pytest.approx(3 * (2**2 + (3 - 1) ** 2), rel=0.01)


def test_features_far_from_0_lose_no_digits() -> None:
    """As float32 they have some, and their squares would have none to spare."""
    a, b = (features(seed, 400, 3, 3000.0).float() for seed in (1, 2))
    assert distance(a, b) == pytest.approx(frechet(a.double().numpy(), b.double().numpy()), rel=1e-5)


@pytest.mark.parametrize("both", [False, True])
def test_the_frechet_distance_of_covariances_without_full_rank(both: bool) -> None:
    """Features that are always equal, and fewer images than features."""
    few = features(1, 5, 30)
    other = features(2, 5, 30) if both else features(2, 700, 30)
    found = distance(few.repeat(1, 2), other.repeat(1, 2))
    assert found == pytest.approx(2 * distance(few, other), rel=1e-6) and np.isfinite(found)


def test_the_kernel_distance_is_torch_fidelitys_on_the_same_subsets() -> None:
    from torch_fidelity.metric_kid import kid_features_to_metric

    a, b = features(1, 1300, 20), features(2, 1300, 20, 0.2, 1.1)  # more rows than are held at a time
    whole = kid_features_to_metric(a, b, kid_subsets=1, kid_subset_size=1300, rng_seed=3, verbose=False)
    assert kernel_distance(a, b) == pytest.approx(whole["kernel_inception_distance_mean"], rel=1e-6)
    subsets = kid_features_to_metric(a, b, kid_subsets=4, kid_subset_size=100, rng_seed=5, verbose=False)
    drawn = np.random.RandomState(5)
    pairs = [[x[drawn.choice(1300, 100, replace=False)] for x in (a, b)] for _ in range(4)]
    ours = [kernel_distance(x, y) for x, y in pairs]
    assert np.mean(ours) == pytest.approx(subsets["kernel_inception_distance_mean"], rel=1e-6)
    assert np.std(ours) == pytest.approx(subsets["kernel_inception_distance_std"], rel=1e-6)


def test_the_kernel_distance_by_hand() -> None:
    # k(x, y) = (x y + 1)^3. Within 0, 1: (0 + 1)^3 = 1. Within 1, 2: (2 + 1)^3 = 27. Across: 1, 1, 8, 27; mean 37/4.
    a, b = torch.tensor([[0.0], [1.0]]), torch.tensor([[1.0], [2.0]])
    assert kernel_distance(a, b) == pytest.approx(1 + 27 - 2 * 37 / 4)


def test_the_kernel_distance_of_float32_features_is_taken_in_float64() -> None:
    a, b = (features(seed, 300, 8, 3.0).float() for seed in (1, 2))
    wanted = kernel(a.double().numpy(), b.double().numpy())
    assert kernel_distance(a, b) == pytest.approx(wanted, abs=1e-9), "of sums of thousands"


def test_the_kernel_distance_is_not_biased_by_few_images() -> None:
    real, many = features(1, 1500, 5), features(2, 1500, 5, 0.5)
    whole, unshifted = kernel_distance(many, real), kernel_distance(features(3, 1500, 5), real)
    few = [kernel_distance(some, real) for some in many.split(30)]
    assert abs(np.mean(few) - whole) < 4 * np.std(few) / len(few) ** 0.5
    assert abs(unshifted) < 0.1 * whole


def test_precision_and_recall_are_torch_fidelitys() -> None:
    from torch_fidelity.metric_prc import prc_features_to_metric

    generated, real = features(1, 1100, 6, 0.5, 0.7), features(2, 1200, 6)
    theirs = prc_features_to_metric(generated, real, verbose=False)
    precision, recall = precision_recall(generated, real)
    assert 0.1 < recall < precision < 1
    assert (precision, recall) == pytest.approx((theirs["precision"], theirs["recall"]), abs=1e-6)


def test_precision_and_recall_of_equal_disjoint_and_nested_sets() -> None:
    real = features(1, 300, 4)
    assert precision_recall(real, real) == (1, 1)
    assert precision_recall(real + 1000, real) == (0, 0)
    narrow = real[:1] + 1e-6 * features(2, 300, 4)
    precision, recall = precision_recall(narrow, real)
    assert precision == 1 and recall < 0.01, "one image again and again is all quality and no coverage"
    same = real[:1].repeat(300, 1)
    assert precision_recall(same, real) == (1, 1 / 300), "images that are equal are at distance 0"


@pytest.mark.parametrize("unit", [1.0, 1e-6])
def test_precision_and_recall_on_a_line_by_hand(unit: float) -> None:
    """Real features at 0, 1, 2, 3 and 4 reach to the third nearest: 3, 2, 2, 2 and 3 far, from -3 to 7 together."""
    real, generated = (
        1 + unit * torch.tensor([positions], dtype=torch.float64).T
        for positions in ([0, 1, 2, 3, 4], [-3.01, -2.99, 6.99, 7.01, 20])
    )
    precision, recall = precision_recall(generated, real)
    # Generated ones reach 10, 9.98, 9.98, 10 and 13.01 far: from the left to 7.01 + 10, over all real ones.
    assert precision == pytest.approx(2 / 5) and recall == 1
    assert precision_recall(real, generated) == (1, pytest.approx(2 / 5))


def test_a_feature_at_the_edge_of_the_region_is_inside() -> None:
    real = torch.tensor([[0.0], [1.0], [2.0], [3.0]])
    generated = torch.tensor([[6.0], [6.0], [6.0], [6.125]])
    assert precision_recall(generated, real)[0] == 0.75


def test_structural_similarity_is_torchmetrics_and_one_for_equal_images() -> None:
    from torchmetrics.functional.image import structural_similarity_index_measure

    generator = torch.Generator().manual_seed(0)
    a = torch.rand(4, 3, 16, 16, generator=generator) * 2 - 1
    b = (a + 0.2 * torch.randn(a.shape, generator=generator)).clamp(-1, 1)
    theirs = structural_similarity_index_measure((b + 1) / 2, (a + 1) / 2, data_range=1.0)
    assert float(structural_similarity(a, b).mean()) == pytest.approx(float(theirs), rel=1e-5)
    assert torch.allclose(structural_similarity(a, a), torch.ones(4), atol=1e-5)
    for side in (1, 2, 4):
        small = a[:, :1, :side, :side]
        assert torch.allclose(structural_similarity(small, small), torch.ones(4), atol=1e-5)
        assert bool((structural_similarity(0 * small + 1, 0 * small - 1) < 0.01).all())


def test_the_noises_of_a_path_are_as_likely_as_its_ends() -> None:
    noises = normals(1, Purpose.EVALUATION_NOISE, range(8), (3, 16, 16))
    points = paths(noises)
    assert points.shape == (4, STEPS, 3, 16, 16)
    assert np.allclose(points[:, 0], noises[::2], atol=1e-6) and np.allclose(points[:, -1], noises[1::2], atol=1e-6)
    assert np.allclose(points.reshape(4, STEPS, -1).std(-1), 1, atol=0.05), "a straight line's middle has .71"
    steps = np.linalg.norm(np.diff(points.reshape(4, STEPS, -1), axis=1), axis=-1)
    assert np.allclose(steps, steps[:, :1], rtol=0.05), "equal angles, between ends of not quite equal length"


def test_a_path_between_noises_at_a_right_angle_is_a_quarter_of_an_ellipse() -> None:
    noises = np.array([[[3.0, 0.0]], [[0.0, 2.0]], [[0.0, 1.0]], [[0.5**0.5, 0.5**0.5]]], dtype=np.float32)
    quarter, eighth = (np.arange(8) / 7 * angle for angle in (np.pi / 2, np.pi / 4))
    points = paths(noises)
    assert points.shape == (2, 8, 1, 2) and points.dtype == np.float32
    assert np.allclose(points[0, :, 0], np.stack([3 * np.cos(quarter), 2 * np.sin(quarter)], 1), atol=1e-6)
    assert np.allclose(points[1, :, 0], np.stack([np.sin(eighth), np.cos(eighth)], 1), atol=1e-6)


def test_the_length_of_a_path_in_closed_form() -> None:
    # The feature of a strip's s-th image is (3 s, 4 s): each step is 5 long.
    images = np.arange(STEPS, dtype=np.uint8).reshape(1, STEPS, 1, 1, 1).repeat(2, axis=0)
    judge = _slope(1.0)
    assert path_length(images, judge) == pytest.approx(5 * (STEPS - 1))
    assert path_length(np.zeros_like(images), judge) == 0
    twice = np.concatenate([images, 3 * images[:1]])
    assert path_length(twice, judge) == pytest.approx((5 + 5 + 15) / 3 * (STEPS - 1))
    assert path_length(images, _slope(2.0)) == pytest.approx(5 / 2 * (STEPS - 1)), "in units of the real images"


def _slope(unit: float) -> Scorer:
    def extract(images: np.ndarray) -> tuple[Tensor, Tensor]:
        position = torch.from_numpy(images.reshape(-1, 1).astype(np.float32))
        return torch.cat([3 * position, 4 * position], 1), torch.zeros(len(images), 0)

    judge = evolve(extractor(), shape=(1, 1, 1), features=2, classes=0, extract=extract)
    scale = torch.full((2,), unit, dtype=torch.float64)
    nothing = Sample(torch.zeros(2, 2))
    return Scorer(
        judge, Real(scale=scale, sample=nothing, held_out=True, train=None, floor=None, floor_images=0, digest="digest")
    )


def test_strips_end_in_the_images_of_their_noises() -> None:
    teacher, sampler = untrained_teacher(), Sampler(solver="ddim", levels=(32, 64), clip_sample=True)
    found = strips(teacher, sampler, 5, 100)
    other = strips(teacher, sampler, 5, 37).astype(int)  # batches that cut strips
    assert np.abs(found.astype(int) - other).max() <= 1
    assert found.shape == (PAIRS, STEPS, 1, 8, 8) == (64, 8, 1, 8, 8) and found.dtype == np.uint8
    images = generate(teacher, sampler, 5, 2 * PAIRS, 100, "test").astype(int)
    assert np.abs(found[:, 0] - images[::2]).max() <= 1 and np.abs(found[:, -1] - images[1::2]).max() <= 1


def test_a_stochastic_sampler_adds_the_same_noise_along_a_strip() -> None:
    teacher, sampler = untrained_teacher(), Sampler(solver="ancestral", levels=(32, 64), clip_sample=True)
    noise = normals(5, Purpose.EVALUATION_NOISE, range(2), (1, 8, 8))[[0, 0, 0, 1]]
    same, again, other, end = to_bytes(draw_from(teacher, sampler, noise, 5, [0, 0, 1, 0])).astype(int)
    assert np.abs(same - again).max() <= 1 and np.abs(same - other).max() > 10
    found = strips(teacher, sampler, 5, 100).astype(int)
    assert np.abs(found[0, 0] - same).max() <= 1 and np.abs(found[0, -1] - end).max() <= 1
    ends = to_bytes(
        draw_from(teacher, sampler, normals(5, Purpose.EVALUATION_NOISE, range(126, 128), (1, 8, 8)), 5, [63] * 2)
    )
    assert np.abs(found[63, [0, -1]] - ends).max() <= 1, "every pair has a stream of its own"


def test_the_documentation_has_every_metric_and_its_jackknife() -> None:
    text = (ROOT / "docs/evaluation.md").read_text()
    assert [key for key in (*(metric.key for metric in METRICS), *JACKKNIFE.values()) if f"`{key}`" not in text] == []
