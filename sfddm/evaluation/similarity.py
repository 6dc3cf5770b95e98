"""Metrics of a student's images against its teacher's from the same noises, image by image.

One pass goes through both, one batch at a time, and leaves what `distances` needs as well.
"""

from collections.abc import Callable, Sequence
from functools import reduce
from itertools import pairwise
from math import log10
from operator import add
from typing import Any

import numpy as np
import torch
from attrs import frozen
from torch import Tensor
from torch.nn.functional import cosine_similarity

from sfddm.evaluation.metrics import BLOCKS
from sfddm.evaluation.moments import MomentSums
from sfddm.evaluation.real import keep
from sfddm.evaluation.scorer import Scorer
from sfddm.images import from_bytes
from sfddm.runtime.progress import Status

BATCH = 100
"""Images whose pixels are compared at a time; the convolutions of structural similarity take far more memory."""
RANGE = 2
"""Pixels are in [-1, 1]."""
SIGMA = 1.5
"""Width of the window of structural similarity, in pixels (Wang et al. 2004)."""


def squared_error(a: Tensor, b: Tensor) -> Tensor:
    """Mean squared error [B] of the pixels of images [B, C, H, W]."""
    return (a - b).double().square().flatten(1).mean(1)


def structural_similarity(a: Tensor, b: Tensor) -> Tensor:
    """SSIM [B] of images [B, C, H, W] in [-1, 1], as torchmetrics computes it, 1 for equal ones (Wang et al. 2004).

    The images are reflected at their edges; the window is narrower where an image is too small for its usual width.
    """
    from torchmetrics.functional.image.ssim import structural_similarity_index_measure

    sigma = min(SIGMA, max(min(a.shape[2:]) - 1, 0.3) / 3.5)
    # The measure takes intensities, which start at 0.
    similarity: Tensor = structural_similarity_index_measure(
        (a + 1) / 2, (b + 1) / 2, sigma=sigma, reduction="none", data_range=1.0
    )
    return similarity.reshape(len(a))


Measure = Callable[[Tensor, Tensor], Tensor]
PIXELS: dict[str, Measure] = {"mse_to_teacher": squared_error, "ssim": structural_similarity}
"""Metrics [B] of images [B, C, H, W] in [-1, 1] and the teacher's."""
FEATURES: dict[str, Measure] = {"feature_cosine": cosine_similarity}
"""Metrics [B] of features [B, D] and those of the teacher's images."""
CLASSES: dict[str, Measure] = {"agreement": torch.eq}
"""Metrics [B] of classes [B] and those of the teacher's images."""


@frozen(kw_only=True)
class Comparison:
    """What one pass over n images and the teacher's leaves."""

    parts: dict[tuple[int, int], MomentSums]
    """Sums of the features of the images from one position up to another, for consecutive stretches of all images."""
    teachers: MomentSums
    features: Tensor
    """Features of the first images, float32 [at most `sfddm.evaluation.real.KEPT`, D]."""
    per_image: dict[str, np.ndarray]
    """Every metric of each image by its key, float64 [n]."""

    def sums(self, start: int, stop: int) -> MomentSums:
        """Sums of the images from `start` up to `stop`, both of them ends of stretches."""
        return reduce(add, [sums for (low, high), sums in self.parts.items() if start <= low and high <= stop])


def compare(images: np.ndarray, teachers: np.ndarray, scorer: Scorer, ends: Sequence[int], label: str) -> Comparison:
    """Go through uint8 images [n, C, H, W] and the teacher's from the same noises; stretches end at `ends`."""
    parts: dict[tuple[int, int], MomentSums] = {}
    teachers_sums, kept = MomentSums(scorer.extractor.features), list[Tensor]()
    values: dict[str, list[np.ndarray]] = {key: [] for key in (*FEATURES, *CLASSES)}
    with Status(label, len(images), "img") as status:
        for low, high in pairwise(sorted({0, len(images), *ends})):
            sums = MomentSums(scorer.extractor.features)
            both = zip(scorer.batches(images[low:high]), scorer.batches(teachers[low:high]), strict=True)
            for (own, own_classes), (theirs, their_classes) in both:
                sums.add(own)
                teachers_sums.add(theirs)
                keep(kept, own)
                _measure(values, FEATURES, own, theirs)
                _measure(values, CLASSES, own_classes, their_classes)
                status.update(sum(map(len, values["agreement"])))
            parts[low, high] = sums
    values |= _pixels(images, teachers)
    per_image = {key: np.concatenate(batches) for key, batches in values.items()}
    return Comparison(parts=parts, teachers=teachers_sums, features=torch.cat(kept), per_image=per_image)


def _pixels(images: np.ndarray, teachers: np.ndarray) -> dict[str, list[np.ndarray]]:
    values: dict[str, list[np.ndarray]] = {key: [] for key in PIXELS}
    for start in range(0, len(images), BATCH):
        _measure(values, PIXELS, *(from_bytes(np.array(some[start : start + BATCH])) for some in (images, teachers)))
    return values


def _measure(values: dict[str, list[np.ndarray]], measures: dict[str, Measure], own: Tensor, theirs: Tensor) -> None:
    """Add a batch to the values of these metrics."""
    for key, measure in measures.items():
        values[key].append(measure(own, theirs).double().cpu().numpy())


def similarities(compared: Comparison, blocks: Sequence[tuple[int, int]]) -> dict[str, Any]:
    """Every metric of this module by its key: the means over all images, and over each block."""
    values = compared.per_image
    means: dict[str, Any] = {key: float(of.mean()) for key, of in values.items()}
    means |= {BLOCKS[key]: [float(of[low:high].mean()) for low, high in blocks] for key, of in values.items()}
    error = means["mse_to_teacher"]
    # Infinite for the teacher's own images, and JSON has no such number.
    return {**means, "psnr": 10 * log10(RANGE**2 / error) if error else None}
