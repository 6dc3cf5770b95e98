"""The figures of one set of images against numpy, in the features of a scorer that is known."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from attrs import evolve

from sfddm.errors import UserError
from sfddm.evaluation import real as real_module
from sfddm.evaluation import similarity as comparison_module
from sfddm.evaluation.measure import check_inputs, measure, warnings
from sfddm.evaluation.scorer import Scorer
from sfddm.evaluation.similarity import compare, structural_similarity
from sfddm.runtime import progress
from tests.clocks import Clock
from tests.judges import (
    SHAPE,
    classes_of,
    extractor,
    features_of,
    frechet,
    images,
    kernel,
    reference,
    scorer,
    share_inside,
)

BLOCKS = [(0, 5), (5, 10), (10, 15), (15, 19), (19, 23)]
"""Of 23 images."""
REAL, OWN, TEACHERS = images(1, 27), images(2, 23, brightest=200), images(3, 23)
TEACHERS[::2] = np.clip(OWN[::2].astype(int) + 9, 0, 255)


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory) -> Scorer:
    return scorer(tmp_path_factory.mktemp("scorer"), REAL, 23)


@pytest.fixture(scope="module")
def found(judge: Scorer) -> dict[str, Any]:
    """The figures of 23 images beside 27 real ones."""
    return measure(OWN, reference(TEACHERS), judge, "test")


def close(wanted: Any) -> Any:
    return pytest.approx(wanted, rel=1e-4, abs=1e-6)


def test_frechet_distances_are_of_all_images_of_each_block_and_of_the_teachers(found: dict[str, Any]) -> None:
    own, real = features_of(OWN), features_of(REAL)
    assert found["frechet_distance"] == close(frechet(own, real))
    assert found["frechet_blocks"] == close([frechet(own[low:high], real) for low, high in BLOCKS])
    assert found["teacher_frechet_distance"] == close(frechet(features_of(TEACHERS), real))


def test_kernel_distances_are_of_all_images_and_of_each_block(found: dict[str, Any]) -> None:
    own, real = features_of(OWN), features_of(REAL)
    assert found["kernel_distance"] == close(kernel(own, real))
    assert found["kernel_blocks"] == close([kernel(own[low:high], real) for low, high in BLOCKS])
    assert found["kernel_samples"] == [23, 27]


def test_the_distance_at_the_floor_is_of_as_many_images_as_the_floor(judge: Scorer, found: dict[str, Any]) -> None:
    order = np.random.Generator(np.random.Philox(key=[0, 5], counter=[0, 0, 0, 0])).permutation(27)
    one, other = features_of(REAL)[order[:13]], features_of(REAL)[order[13:26]]
    assert found["real_distance"] == close(frechet(one, other)) and found["real_distance_samples"] == 13
    assert found["frechet_distance_at_floor"] == close(frechet(features_of(OWN)[:13], one))


@pytest.mark.parametrize(("count", "equal"), [(23, 23), (27, 27), (40, 27)])
def test_precision_and_recall_are_of_equal_numbers(judge: Scorer, count: int, equal: int) -> None:
    own = images(2, count, brightest=200)
    result = measure(own, reference(own), judge, "test")
    generated, real = features_of(own), judge.real.features.double().numpy()
    wanted = [share_inside(generated[:equal], real[:equal]), share_inside(real[:equal], generated[:equal])]
    assert [result["precision"], result["recall"]] == close(wanted) and result["precision_samples"] == equal
    unequal = [share_inside(generated, real), share_inside(real, generated)]
    assert count == 27 or wanted != close(unequal), "it would show"


def test_errors_classes_and_features_are_compared_with_the_teachers(found: dict[str, Any]) -> None:
    """Image by image, of all images and of each block."""
    error = (((OWN.astype(float) - TEACHERS) / 127.5) ** 2).mean((1, 2, 3))
    same = (classes_of(OWN) == classes_of(TEACHERS)).astype(float)
    own, theirs = features_of(OWN), features_of(TEACHERS)
    cosine = (own * theirs).sum(1) / np.linalg.norm(own, axis=1) / np.linalg.norm(theirs, axis=1)
    assert 0 < same.mean() < 1
    for key, blocks, values in (
        ("mse_to_teacher", "mse_blocks", error),
        ("agreement", "agreement_blocks", same),
        ("feature_cosine", "cosine_blocks", cosine),
    ):
        assert found[key] == close(values.mean()), key
        assert found[blocks] == close([values[low:high].mean() for low, high in BLOCKS]), key
    assert found["psnr"] == close(20 * np.log10(2 / np.sqrt(error.mean())))


def test_structural_similarities_are_of_each_image_with_its_teachers(found: dict[str, Any]) -> None:
    pairs = zip(OWN, TEACHERS, strict=True)
    single = [
        float(structural_similarity(*(torch.from_numpy(one[None] / 127.5 - 1) for one in pair))) for pair in pairs
    ]
    assert found["ssim"] == close(np.mean(single))
    assert found["ssim_blocks"] == close([np.mean(single[low:high]) for low, high in BLOCKS])


def test_figures_say_what_they_are_of(judge: Scorer, found: dict[str, Any]) -> None:
    assert found["samples"] == 23 and found["real_images"] == 27
    assert found["scorer"] == "sums-3:01234567" and found["scorer_version"] == "3 of pixels"
    assert found["reference"] == "digest" and found["real"] == judge.real.digest and found["notes"] == []


def test_the_pixel_distance_is_the_frechet_distance_of_the_pixels(found: dict[str, Any]) -> None:
    own, real = (some.reshape(-1, 6) / 127.5 - 1 for some in (OWN, REAL))
    assert found["pixel_distance"] == close(frechet(own, real))


def test_the_teachers_own_images_agree_in_everything(judge: Scorer) -> None:
    same = measure(TEACHERS, reference(TEACHERS), judge, "test")
    assert (same["mse_to_teacher"], same["agreement"], same["psnr"]) == (0, 1, None)
    assert same["frechet_distance"] == same["teacher_frechet_distance"]


def test_features_are_in_units_of_the_real_ones_deviations(tmp_path: Path) -> None:
    judge = scorer(tmp_path, REAL, 23, standardise=True)
    result = measure(OWN, reference(TEACHERS), judge, "test")
    unit = features_of(REAL).std(0, ddof=1)
    own, real = features_of(OWN) / unit, features_of(REAL) / unit
    assert result["frechet_distance"] == close(frechet(own, real))
    assert result["kernel_distance"] == close(kernel(own, real))
    assert judge.real.moments.covariance.diagonal().tolist() == close([1, 1, 1])


def test_only_so_many_features_are_held_for_kernel_distance_precision_and_recall(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(real_module, "KEPT", 12)
    judge = scorer(tmp_path, REAL, 23)
    result = measure(OWN, reference(TEACHERS), judge, "test")
    own, real = features_of(OWN), judge.real.features.double().numpy()
    assert result["kernel_samples"] == [12, 12] and result["precision_samples"] == 12
    assert result["kernel_distance"] == close(kernel(own[:12], real))
    parts = [(0, 3), (3, 6), (6, 8), (8, 10), (10, 12)]
    assert result["kernel_blocks"] == close([kernel(own[low:high], real) for low, high in parts])
    assert result["precision"] == close(share_inside(own[:12], real))
    assert result["frechet_distance"] == close(frechet(own, features_of(REAL))), "which needs none of them"


def test_pixels_are_compared_a_few_images_at_a_time(judge: Scorer, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = compare(OWN, TEACHERS, judge, [23], "test")
    monkeypatch.setattr(comparison_module, "BATCH", 7)
    parts = compare(OWN, TEACHERS, judge, [23], "test")
    for name, values in whole.per_image.items():
        assert values.shape == (23,) and values.dtype == np.float64
        assert parts.per_image[name].tolist() == close(values.tolist())


def test_a_pass_has_the_sums_of_every_stretch_between_the_ends(judge: Scorer) -> None:
    made = compare(OWN, TEACHERS, judge, [10, 4, 10, 20], "test")
    assert list(made.parts) == [(0, 4), (4, 10), (10, 20), (20, 23)]
    for low, high in ((0, 23), (4, 20), (10, 20), (0, 10)):
        moments = made.sums(low, high).moments()
        assert moments.count == high - low
        assert moments.mean.tolist() == close(features_of(OWN)[low:high].mean(0).tolist())
    assert made.teachers.moments().mean.tolist() == close(features_of(TEACHERS).mean(0).tolist())
    assert made.features.numpy() == close(features_of(OWN))


def test_ends_at_the_first_and_the_last_image_add_no_stretch(judge: Scorer) -> None:
    assert list(compare(OWN, TEACHERS, judge, [0, 23], "test").parts) == [(0, 23)]


def test_images_without_a_teachers_image_are_refused(judge: Scorer) -> None:
    with pytest.raises(ValueError, match="argument 2 is shorter"):
        compare(OWN, TEACHERS[:20], judge, [23], "test")  # five batches of four, and six


def test_a_line_says_how_many_images_were_compared(
    judge: Scorer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "time", Clock(tick=11.0))
    compare(OWN, TEACHERS, judge, [10, 23], "ours: scoring")
    shown = [line.partition(",")[0] for line in capsys.readouterr().err.splitlines()]
    assert shown == [f"ours: scoring: {done}/23" for done in (4, 8, 10, 14, 18, 22, 23)]


@pytest.mark.parametrize(("side", "sigma"), [(20, 1.5), (7, 1.5), (6, 5 / 3.5), (3, 2 / 3.5), (1, 0.3 / 3.5)])
def test_the_window_of_structural_similarity_is_narrower_in_small_images(side: int, sigma: float) -> None:
    from torchmetrics.functional.image.ssim import structural_similarity_index_measure

    random = torch.Generator().manual_seed(0)
    a, b = (torch.rand(3, 2, side, side + 4, generator=random) * 2 - 1 for _ in range(2))
    wanted = structural_similarity_index_measure(
        a / 2 + 0.5, b / 2 + 0.5, sigma=sigma, reduction="none", data_range=1.0
    )
    assert structural_similarity(a, b).tolist() == close(wanted.flatten().tolist())
    assert structural_similarity(a.mT, b.mT).tolist() == close(wanted.flatten().tolist()), "its height counts likewise"


def test_blocks_need_two_images_each(judge: Scorer) -> None:
    few = evolve(judge, real=evolve(judge.real, half=evolve(judge.real.half, count=10)))
    check_inputs(SHAPE, reference(OWN[:10]), few)
    with pytest.raises(UserError, match="samples is 9: comparisons need at least 10"):
        check_inputs(SHAPE, reference(OWN[:9]), few)


def test_the_floor_may_be_of_as_many_images_as_there_are(judge: Scorer) -> None:
    assert judge.real.half.count == 13
    check_inputs(SHAPE, reference(OWN[:13]), judge)
    with pytest.raises(UserError, match="floor is of 13 images, and there are 12"):
        check_inputs(SHAPE, reference(OWN[:12]), judge)


def test_images_of_another_size_than_the_scorers_are_refused(judge: Scorer) -> None:
    wider = OWN.repeat(2, axis=3)
    with pytest.raises(UserError, match=r"judges images of \(1, 2, 3\) .* student makes \(1, 2, 6\)"):
        measure(wider, reference(wider), judge, "test")


def test_what_cannot_fill_a_covariance_is_noted(tmp_path: Path) -> None:
    """Three features: three images are too few, and four are enough."""
    judge = scorer(tmp_path, images(1, 12), 4)
    assert judge.real.half.count == 4 and warnings(4, judge) == []
    first = "3 images are fewer than the scorer's 3 features"
    assert [note[: len(first)] for note in warnings(3, judge)] == [first]
    few = evolve(judge, real=evolve(judge.real, half=evolve(judge.real.half, count=2)))
    (note,) = warnings(4, few)
    assert note.startswith("2 images at the floor are fewer than the scorer's 3 features")
    few = evolve(judge, real=evolve(judge.real, moments=evolve(judge.real.moments, count=3)))
    (note,) = warnings(4, few)
    assert note.startswith("3 real images are fewer than the scorer's 3 features and can't fill their covariance")


def test_a_scorer_gives_features_in_its_units_and_the_class_with_the_highest_score(tmp_path: Path) -> None:
    judge = scorer(tmp_path, REAL, 23, standardise=True)
    found = list(judge.batches(OWN[:9]))
    assert [len(some) for some, _ in found] == [4, 4, 1] == [len(some) for _, some in found]
    unit = features_of(REAL).std(0, ddof=1)
    assert torch.cat([some for some, _ in found]).numpy() == close(features_of(OWN[:9]) / unit)
    assert torch.cat([some for _, some in found]).tolist() == classes_of(OWN[:9]).tolist()
    assert judge.features(OWN[:9]).numpy() == close(features_of(OWN[:9]) / unit)


def test_features_that_are_not_finite_are_refused() -> None:
    broken = extractor()

    def extract(some: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        features, scores = broken.extract(some)
        return features / 0, scores

    with pytest.raises(UserError, match="sums-3:01234567 gave features with NaN or infinity"):
        list(evolve(broken, extract=extract).batches(OWN))
