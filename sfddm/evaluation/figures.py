"""All figures of one set of images that repeat to the last digit, each with what it rests on."""

from itertools import pairwise
from math import log10
from typing import Any

import numpy as np

from sfddm.errors import UserError
from sfddm.evaluation.distances import frechet_distance, kernel_distances, pixel_moments, precision_recall
from sfddm.evaluation.reference import Reference
from sfddm.evaluation.scorers.scorer import Scorer
from sfddm.evaluation.similarity import Comparison, check_images, compare

BLOCKS = 5
"""Of consecutive noises, for the differences between rows."""
RANGE = 2
"""Of pixels, which are in [-1, 1]."""
BLOCK_NAMES = {
    "mse_to_teacher": "mse_blocks", "ssim": "ssim_blocks", "feature_cosine": "cosine_blocks",
    "agreement": "agreement_blocks",
}  # fmt: skip


def check_inputs(shape: tuple[int, ...], reference: Reference, scorer: Scorer) -> None:
    """What has to fit together before anything is drawn.

    Raises:
        UserError: student, reference and scorer are of images of different sizes; the reference holds no images, too
            few for every block to have a covariance, or fewer than the floor is of.
    """
    check_images(reference.images, shape, "the teacher's images in the reference")
    if scorer.extractor.shape != shape:
        raise UserError(
            f"the scorer judges images of {scorer.extractor.shape} (channels, height, width), "
            f"the student makes {shape}."
        )
    if len(reference.images) < 2 * BLOCKS:
        raise UserError(
            f"evaluation.samples is {len(reference.images)}: comparisons need at least {2 * BLOCKS}, better thousands."
        )
    if len(reference.images) < scorer.real.half.count:
        raise UserError(
            f"the scorer's floor is of {scorer.real.half.count} images, and there are {len(reference.images)} of the "
            "teacher: one of the two is of another version of the spec. Run `dvc repro`."
        )


def figures(images: np.ndarray, reference: Reference, scorer: Scorer, label: str) -> dict[str, Any]:
    """Distances to the real images, and agreement with the teacher's images from the same noises.

    Args:
        images: uint8 [n, C, H, W], from the noises that the reference was drawn from.
        reference: the teacher's images.
        scorer: features, classes, and the real images.
        label: what a progress line calls them.

    Returns:
        The figures that docs/evaluation.md lists. Names that end in `_blocks` hold a figure for each fifth of the
        images, for paired differences between rows.

    Raises:
        UserError: the images don't fit the reference or the scorer, or are too few.
    """
    check_inputs(images.shape[1:], reference, scorer)
    n, floor = len(images), scorer.real.half.count
    bounds = [round(end) for end in np.cumsum([0, *(len(part) for part in np.array_split(np.arange(n), BLOCKS))])]
    found = compare(images, reference.images, scorer, [*bounds, floor], label)
    blocks = list(pairwise(bounds))
    return {
        **_distances(found, scorer, n, blocks),
        **_agreement(found, blocks),
        "pixel_distance": frechet_distance(pixel_moments(images), scorer.real.pixels),
        "real_distance": scorer.real.distance,
        "real_distance_samples": floor,
        "frechet_distance_at_floor": frechet_distance(found.sums(0, floor).moments(), scorer.real.half),
        "samples": n,
        "real_images": scorer.real.moments.count,
        "scorer": scorer.extractor.name,
        "scorer_version": scorer.extractor.version,
        "reference": reference.digest,
        "real": scorer.real.digest,
        "notes": notes(n, scorer),
    }


def notes(n: int, scorer: Scorer) -> list[str]:
    """What a reader of the distances has to know; empty where nothing is amiss."""
    features = scorer.extractor.features
    few = {"images": n, "real images": scorer.real.moments.count, "images at the floor": scorer.real.half.count}
    return [
        f"{count} {what} are fewer than the scorer's {features} features and can't fill their covariance: the Frechet "
        "distance is far too large, and only figures of equal numbers compare"
        for what, count in few.items()
        if count <= features
    ]


def _distances(found: Comparison, scorer: Scorer, n: int, blocks: list[tuple[int, int]]) -> dict[str, Any]:
    real, own = scorer.real, found.features
    kept = np.array_split(np.arange(len(own)), BLOCKS)
    kernel, *kernel_blocks = kernel_distances([own, *(own[part] for part in kept)], real.features)
    equal = min(len(own), len(real.features))
    precision, recall = precision_recall(own[:equal], real.features[:equal])
    return {
        "frechet_distance": frechet_distance(found.sums(0, n).moments(), real.moments),
        "frechet_blocks": [frechet_distance(found.sums(*block).moments(), real.moments) for block in blocks],
        "teacher_frechet_distance": frechet_distance(found.teachers.moments(), real.moments),
        "kernel_distance": kernel,
        "kernel_blocks": kernel_blocks,
        "kernel_samples": [len(own), len(real.features)],
        "precision": precision,
        "recall": recall,
        "precision_samples": equal,
    }


def _agreement(found: Comparison, blocks: list[tuple[int, int]]) -> dict[str, Any]:
    means: dict[str, Any] = {name: float(values.mean()) for name, values in found.per_image.items()}
    for name, values in found.per_image.items():
        means[BLOCK_NAMES[name]] = [float(values[low:high].mean()) for low, high in blocks]
    error = means["mse_to_teacher"]
    # Of the teacher's own images it is infinite, which JSON has no number for.
    return {**means, "psnr": 10 * log10(RANGE**2 / error) if error else None}
