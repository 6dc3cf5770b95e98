"""All numbers about one set of images that repeat to the last digit, each with what it depends on."""

from itertools import pairwise
from typing import Any

import numpy as np

from sfddm.errors import UserError
from sfddm.evaluation.distances import distances
from sfddm.evaluation.moments import frechet_distance, pixel_moments
from sfddm.evaluation.reference import Reference
from sfddm.evaluation.scorer import Scorer
from sfddm.evaluation.scorers.extractor import check_images
from sfddm.evaluation.similarity import compare, similarities

BLOCKS = 5
"""Blocks of consecutive noises, for the differences between rows."""


def check_inputs(shape: tuple[int, ...], reference: Reference, scorer: Scorer) -> None:
    """Check that student, reference and scorer fit together, before anything is drawn.

    Raises:
        UserError: they have images of different sizes; or the reference holds no images, too few for every block to
            have a covariance, or fewer than the floor is based on.
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


def measure(images: np.ndarray, reference: Reference, scorer: Scorer, label: str) -> dict[str, Any]:
    """Metrics of images against the real images, and against the teacher's from the same noises.

    Args:
        images: uint8 [n, C, H, W], from the noises that the reference was drawn from.
        reference: the teacher's images.
        scorer: features, classes, and the real images.
        label: what a progress line calls them.

    Returns:
        What docs/evaluation.md lists, by key. Keys that end in `_blocks` hold a value for each fifth of the images, for
        paired differences between rows.

    Raises:
        UserError: the images don't fit the reference or the scorer, or are too few.
    """
    check_inputs(images.shape[1:], reference, scorer)
    n, floor = len(images), scorer.real.half.count
    bounds = [round(end) for end in np.cumsum([0, *(len(part) for part in np.array_split(np.arange(n), BLOCKS))])]
    compared, blocks = compare(images, reference.images, scorer, [*bounds, floor], label), list(pairwise(bounds))
    return {
        **distances(compared, scorer.real, blocks),
        **similarities(compared, blocks),
        "pixel_distance": frechet_distance(pixel_moments(images), scorer.real.pixels),
        "real_distance": scorer.real.distance,
        "real_distance_samples": floor,
        "samples": n,
        "real_images": scorer.real.moments.count,
        "scorer": scorer.extractor.name,
        "scorer_version": scorer.extractor.version,
        "reference": reference.digest,
        "real": scorer.real.digest,
        "notes": warnings(n, scorer),
    }


def warnings(n: int, scorer: Scorer) -> list[str]:
    """What readers must know before they trust the distances; empty where nothing is amiss."""
    features = scorer.extractor.features
    few = {"images": n, "real images": scorer.real.moments.count, "images at the floor": scorer.real.half.count}
    return [
        f"{count} {what} are fewer than the scorer's {features} features and can't fill their covariance: the Frechet "
        "distance is far too large, and only figures of equal numbers compare"
        for what, count in few.items()
        if count <= features
    ]
