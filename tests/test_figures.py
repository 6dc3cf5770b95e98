"""The figures of one set of images against numpy, in the features of a scorer that is known."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from attrs import evolve

from sfddm.errors import UserError
from sfddm.evaluation import distances as distances_module
from sfddm.evaluation import real as real_module
from sfddm.evaluation import similarity as similarity_module
from sfddm.evaluation.measure import measure
from sfddm.evaluation.moments import blocks
from sfddm.evaluation.scorer import Scorer
from sfddm.evaluation.similarity import pixel_similarities, structural_similarity
from sfddm.runtime import progress
from tests.clocks import Clock
from tests.judges import (
    classes_of,
    drawn,
    extractor,
    features_of,
    frechet,
    images,
    kernel,
    reference,
    scorer,
    share_inside,
)

REAL, OWN, TEACHERS = images(1, 37), images(2, 33, brightest=200), images(3, 33)
TEACHERS[::2] = np.clip(OWN[::2].astype(int) + 9, 0, 255)
FLOOR = 25
"""Images that the floor is of."""


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory) -> Scorer:
    return scorer(tmp_path_factory.mktemp("scorer"), REAL, FLOOR)


@pytest.fixture(scope="module")
def found(judge: Scorer) -> dict[str, Any]:
    """The figures of 33 images beside 37 real ones."""
    return measured(judge, OWN, TEACHERS)


def measured(judge: Scorer, own: np.ndarray, teachers: np.ndarray) -> dict[str, Any]:
    """All figures, the one scorer's among the others."""
    whole = measure(drawn(own), reference(teachers), {"sums": judge}, "test")
    return {**whole, **whole["scorers"]["sums"]}


def real_features(judge: Scorer) -> np.ndarray:
    """Those of the real images, in the order in which blocks of them are left out."""
    return judge.real.sample.features.double().numpy()


def close(wanted: Any) -> Any:
    return pytest.approx(wanted, rel=1e-4, abs=1e-6)


def without(values: np.ndarray) -> list[np.ndarray]:
    """All but one block each."""
    return [np.delete(values, block, axis=0) for block in blocks(len(values))]


def test_distances_and_those_without_blocks_are_of_all_images_and_of_the_teachers(
    judge: Scorer, found: dict[str, Any]
) -> None:
    own, teachers, real = features_of(OWN), features_of(TEACHERS), real_features(judge)
    assert sorted(map(tuple, np.round(real, 3))) == sorted(map(tuple, np.round(features_of(REAL), 3)))
    for key, seen, distance in (
        ("frechet_distance", own, frechet),
        ("teacher_frechet_distance", teachers, frechet),
        ("kernel_distance", own, kernel),
    ):
        pairs = list(zip(without(seen), without(real), strict=True))
        of_images, of_real = [distance(less, real) for less, _ in pairs], [distance(seen, less) for _, less in pairs]
        whole, bias = distance(seen, real), 0.0
        if distance is frechet:
            bias = 9 * (np.mean(of_images) + np.mean(of_real) - 2 * whole)
        assert found[key] == close(whole - bias), key
        assert found[f"{key}_jackknife"]["images"] == close(np.array(of_images) - bias), key
        assert found[f"{key}_jackknife"]["real"] == close(np.array(of_real) - bias), key
        assert found[f"{key}_jackknife"]["both"] == close(np.array([distance(*pair) for pair in pairs]) - bias), key
    assert found["frechet_distance_at_n"] == close(frechet(own, real))
    assert found["kernel_samples"] == [33, 37]


def test_the_distance_at_the_floor_is_of_as_many_images_as_the_floor(judge: Scorer, found: dict[str, Any]) -> None:
    assert found["floor_images"] == FLOOR and found["floor"] == judge.real.floor
    assert found["frechet_distance_at_floor"] == close(frechet(features_of(OWN)[:FLOOR], features_of(REAL)))


def test_the_distance_to_training_images_is_to_others_than_the_real_ones(found: dict[str, Any]) -> None:
    assert found["train_distance"] == close(frechet(features_of(OWN), features_of(images(99, 80))))


@pytest.mark.parametrize(("count", "equal"), [(33, 33), (37, 37), (50, 37)])
def test_precision_and_recall_are_of_equal_numbers(judge: Scorer, count: int, equal: int) -> None:
    own = images(2, count, brightest=200)
    result = measured(judge, own, own)
    generated, real = features_of(own), real_features(judge)
    wanted = [share_inside(generated[:equal], real[:equal]), share_inside(real[:equal], generated[:equal])]
    assert [result["precision"], result["recall"]] == close(wanted) and result["precision_samples"] == equal
    unequal = [share_inside(generated, real), share_inside(real, generated)]
    assert count == 37 or wanted != close(unequal), "it would show"


def test_errors_classes_and_features_are_compared_with_the_teachers(found: dict[str, Any]) -> None:
    """Image by image, of all images and without each block."""
    error = (((OWN.astype(float) - TEACHERS) / 127.5) ** 2).mean((1, 2, 3))
    same = (classes_of(OWN) == classes_of(TEACHERS)).astype(float)
    own, theirs = features_of(OWN), features_of(TEACHERS)
    cosine = (own * theirs).sum(1) / np.linalg.norm(own, axis=1) / np.linalg.norm(theirs, axis=1)
    single = [
        float(structural_similarity(*(torch.from_numpy(one[None] / 127.5 - 1) for one in pair)))
        for pair in zip(OWN, TEACHERS, strict=True)
    ]
    assert 0 < same.mean() < 1
    for key, values in {
        "mse_to_teacher": error, "agreement": same, "feature_cosine": cosine, "ssim": np.array(single)
    }.items():  # fmt: skip
        assert found[key] == close(values.mean()), key
        assert found[f"{key}_jackknife"] == {"images": close([less.mean() for less in without(values)])}, key
    assert found["psnr"] == close(20 * np.log10(2 / np.sqrt(error.mean())))


def test_figures_say_what_they_are_of(judge: Scorer, found: dict[str, Any]) -> None:
    assert found["samples"] == 33 and found["real_images"] == 37 and found["held_out"] is True
    assert found["scorer"] == "sums-3:01234567" and found["scorer_version"] == "3 of pixels"
    assert found["reference"] == "digest" and found["real"] == judge.real.digest and found["notes"] == []


def test_the_teachers_own_images_agree_in_everything(judge: Scorer) -> None:
    same = measured(judge, TEACHERS, TEACHERS)
    assert (same["mse_to_teacher"], same["agreement"], same["psnr"]) == (0, 1, None)
    assert same["frechet_distance"] == same["teacher_frechet_distance"]


def test_features_are_in_units_of_the_real_ones_deviations(tmp_path: Path) -> None:
    """For distances to training images as well."""
    result = measured(scorer(tmp_path, REAL, FLOOR, standardise=True), OWN, TEACHERS)
    unit = features_of(REAL).std(0, ddof=1)
    own, real, train = (features_of(some) / unit for some in (OWN, REAL, images(99, 80)))
    assert result["frechet_distance_at_n"] == close(frechet(own, real))
    assert result["kernel_distance"] == close(kernel(own, real))
    assert result["train_distance"] == close(frechet(own, train))


def test_only_so_many_features_are_held_for_kernel_distance_precision_and_recall(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (real_module, distances_module):
        monkeypatch.setattr(module, "KEPT", 24)
    judge = scorer(tmp_path, REAL, FLOOR)
    result = measured(judge, OWN, TEACHERS)
    own, real = features_of(OWN), real_features(judge)
    assert len(real) == 24, "the most real images that anything is measured to"
    assert result["kernel_samples"] == [24, 24] and result["precision_samples"] == 24
    assert result["kernel_distance"] == close(kernel(own[:24], real))
    assert result["precision"] == close(share_inside(own[:24], real))
    assert result["frechet_distance_at_n"] == close(frechet(own, real)), "of all images"


def test_pixels_are_compared_a_few_images_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = pixel_similarities(OWN, TEACHERS)
    monkeypatch.setattr(similarity_module, "BATCH", 7)
    parts = pixel_similarities(OWN, TEACHERS)
    assert parts.keys() == whole.keys()
    for key in ("mse_to_teacher", "ssim"):
        assert parts[key] == close(whole[key])
        assert parts[f"{key}_jackknife"]["images"] == close(whole[f"{key}_jackknife"]["images"])


def test_a_line_says_how_many_images_a_scorer_has_seen(
    judge: Scorer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "time", Clock(tick=11.0))
    measure(drawn(OWN[:26]), reference(TEACHERS[:26]), {"sums": judge}, "ours")
    shown = capsys.readouterr().err.splitlines()
    for of, said in {", the teacher's": shown[:7], "": shown[7:14]}.items():
        for line, done in zip(said, (4, 8, 12, 16, 20, 24, 26), strict=True):
            assert line.startswith(f"ours: scoring by sums{of}: {done}/26")


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


def test_a_scorer_gives_features_in_its_units_and_the_class_with_the_highest_score(tmp_path: Path) -> None:
    """All of them, in batches that don't divide their number; and no class where it has none."""
    judge = scorer(tmp_path, REAL, FLOOR, standardise=True)
    seen = judge.view(OWN[:9])
    assert seen.features.numpy() == close(features_of(OWN[:9]) / features_of(REAL).std(0, ddof=1))
    assert seen.classes is not None and seen.classes.tolist() == classes_of(OWN[:9]).tolist()
    without_classes = evolve(judge, extractor=evolve(judge.extractor, classes=0))
    assert without_classes.view(OWN[:9]).classes is None


def test_features_that_are_not_finite_are_refused() -> None:
    broken = extractor()

    def extract(some: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        features, scores = broken.extract(some)
        return features / 0, scores

    with pytest.raises(UserError, match="sums-3:01234567 gave features with NaN or infinity"):
        list(evolve(broken, extract=extract).batches(OWN))
