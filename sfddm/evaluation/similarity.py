"""A student's images and its teacher's from the same noises, side by side: one pass that holds one batch at a time."""

from collections.abc import Sequence
from functools import reduce
from itertools import pairwise
from operator import add

import numpy as np
import torch
from attrs import frozen
from torch import Tensor
from torch.nn.functional import cosine_similarity

from sfddm.errors import UserError
from sfddm.evaluation.distances import MomentSums
from sfddm.evaluation.real import keep
from sfddm.evaluation.scorers.scorer import Scorer
from sfddm.images import from_bytes
from sfddm.runtime.progress import Status

BATCH = 100
"""Images whose pixels are compared at a time: the convolutions of structural similarity take far more than these."""
SIGMA = 1.5
"""Of the window of structural similarity, in pixels (Wang et al. 2004)."""


@frozen(kw_only=True)
class Comparison:
    """What one pass leaves of n images and of the teacher's."""

    parts: dict[tuple[int, int], MomentSums]
    """Sums of the features of the images from one position up to another, for consecutive stretches of all images."""
    teachers: MomentSums
    features: Tensor
    """Of the first images, float32 [at most `sfddm.evaluation.real.KEPT`, D]."""
    per_image: dict[str, np.ndarray]
    """`mse_to_teacher`, `ssim`, `feature_cosine` and `agreement` (0 or 1) of each image, float64 [n]."""

    def sums(self, start: int, stop: int) -> MomentSums:
        """Of the images from `start` up to `stop`, both of them ends of stretches."""
        return reduce(add, [sums for (low, high), sums in self.parts.items() if start <= low and high <= stop])


def compare(images: np.ndarray, teachers: np.ndarray, scorer: Scorer, ends: Sequence[int], label: str) -> Comparison:
    """Go through uint8 images [n, C, H, W] and the teacher's from the same noises; stretches end at `ends`."""
    parts: dict[tuple[int, int], MomentSums] = {}
    teachers_sums, kept = MomentSums(scorer.extractor.features), list[Tensor]()
    cosines: list[np.ndarray] = []
    same: list[np.ndarray] = []
    with Status(label, len(images), "img") as status:
        for low, high in pairwise(sorted({0, len(images), *ends})):
            sums = MomentSums(scorer.extractor.features)
            both = zip(scorer.batches(images[low:high]), scorer.batches(teachers[low:high]), strict=True)
            for (own, own_classes), (theirs, their_classes) in both:
                sums.add(own)
                teachers_sums.add(theirs)
                keep(kept, own)
                cosines.append(cosine_similarity(own, theirs).double().cpu().numpy())
                same.append((own_classes == their_classes).double().cpu().numpy())
                status.update(sum(map(len, same)))
            parts[low, high] = sums
    per_image = {"feature_cosine": np.concatenate(cosines), "agreement": np.concatenate(same)}
    return Comparison(
        parts=parts,
        teachers=teachers_sums,
        features=torch.cat(kept),
        per_image={**per_image, **_pixels(images, teachers)},
    )


def _pixels(images: np.ndarray, teachers: np.ndarray) -> dict[str, np.ndarray]:
    errors, similarities = [], []
    for start in range(0, len(images), BATCH):
        own, theirs = (from_bytes(np.array(some[start : start + BATCH])) for some in (images, teachers))
        errors.append((own - theirs).double().square().flatten(1).mean(1).numpy())
        similarities.append(structural_similarity(own, theirs).double().numpy())
    return {"mse_to_teacher": np.concatenate(errors), "ssim": np.concatenate(similarities)}


def structural_similarity(a: Tensor, b: Tensor) -> Tensor:
    """SSIM [B] of images [B, C, H, W] in [-1, 1], as torchmetrics computes it, 1 for equal ones (Wang et al. 2004).

    The images are reflected at their edges; the window is narrower where an image is too small for its usual width.
    """
    from torchmetrics.functional.image.ssim import structural_similarity_index_measure

    sigma = min(SIGMA, max(min(a.shape[2:]) - 1, 0.3) / 3.5)
    # The measure is of intensities, which start at 0.
    similarity: Tensor = structural_similarity_index_measure(
        (a + 1) / 2, (b + 1) / 2, sigma=sigma, reduction="none", data_range=1.0
    )
    return similarity.reshape(len(a))


def check_images(images: np.ndarray, shape: tuple[int, ...], what: str) -> None:
    """Say what is wrong with images that should be uint8 [N, *shape].

    Raises:
        UserError: no bytes (NaN and the range are named), another shape, or 0 and 1 alone, which are no bytes' range.
    """
    if images.dtype != np.uint8:
        raise UserError(f"{what}: expected uint8 from 0 to 255, found {images.dtype}{_range(images)}.")
    if images.shape[1:] != shape or not len(images):
        raise UserError(f"{what}: expected [N, {', '.join(map(str, shape))}] (N, channels, height, width), found "
                        f"{list(images.shape)}.")  # fmt: skip
    if images.max() <= 1:
        raise UserError(f"{what}: no value above {images.max()}, as if they were in [0, 1]: expected bytes, 0 to 255.")


def _range(images: np.ndarray) -> str:
    if not np.issubdtype(images.dtype, np.number) or not images.size:
        return ""
    broken = int(np.isnan(images).sum()) if np.issubdtype(images.dtype, np.inexact) else 0
    if broken:
        return f" with {broken} values that are NaN"
    return f" from {images.min():g} to {images.max():g}"
