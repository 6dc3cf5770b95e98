"""Metrics of a student's images against its teacher's from the same noises, image by image."""

from collections.abc import Callable
from functools import cache
from logging import getLogger
from math import log10
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from sfddm.evaluation.metrics import JACKKNIFE
from sfddm.evaluation.moments import blocks
from sfddm.evaluation.real import CPU
from sfddm.evaluation.scorer import View
from sfddm.images import from_bytes
from sfddm.runtime.alone import alone

BATCH = 100
"""Images whose pixels are compared at a time; the convolutions of structural similarity take far more memory."""
RANGE = 2
"""Pixels are in [-1, 1]."""
TORCHMETRICS = {
    "torchmetrics": {"_logger": getLogger("torchmetrics")},
    "torchmetrics.functional": {},
    "torchmetrics.functional.image": {},
}
"""Packages that would import all metrics, for audio and text too, which takes longer than an evaluation of digits."""
SIGMA = 1.5
"""Width of the window of structural similarity, in pixels (Wang et al. 2004)."""


def squared_error(a: Tensor, b: Tensor) -> Tensor:
    """Mean squared error [B] of the pixels of images [B, C, H, W]."""
    return (a - b).double().square().flatten(1).mean(1)


def structural_similarity(a: Tensor, b: Tensor) -> Tensor:
    """SSIM [B] of images [B, C, H, W] in [-1, 1], as torchmetrics computes it, 1 for equal ones (Wang et al. 2004).

    The images are reflected at their edges; the window is narrower where an image is too small for its usual width.
    """
    sigma = min(SIGMA, max(min(a.shape[2:]) - 1, 0.3) / 3.5)
    # The measure takes intensities, which start at 0.
    similarity: Tensor = _torchmetrics_ssim()((a + 1) / 2, (b + 1) / 2, sigma=sigma, reduction="none", data_range=1.0)
    return similarity.reshape(len(a))


@cache
def _torchmetrics_ssim() -> Callable[..., Tensor]:
    with alone(TORCHMETRICS):
        from torchmetrics.functional.image.ssim import structural_similarity_index_measure as measure
    found: Callable[..., Tensor] = measure
    return found


def pixel_similarities(images: np.ndarray, teachers: np.ndarray, device: torch.device = CPU) -> dict[str, Any]:
    """What the pixels of uint8 images [n, C, H, W] have in common with the teacher's, by the metrics' keys.

    They are compared on `device`.
    """
    measures = {"mse_to_teacher": squared_error, "ssim": structural_similarity}
    values: dict[str, list[Tensor]] = {key: [] for key in measures}
    for start in range(0, len(images), BATCH):
        batches = (torch.from_numpy(np.array(some[start : start + BATCH])) for some in (images, teachers))
        own, theirs = (from_bytes(batch.to(device)) for batch in batches)
        for key, measure in measures.items():
            values[key].append(measure(own, theirs).double())
    found = _means({key: torch.cat(parts) for key, parts in values.items()})
    error = found["mse_to_teacher"]
    # Infinite for the teacher's own images, and JSON has no such number.
    return {**found, "psnr": 10 * log10(RANGE**2 / error) if error else None}


def feature_similarities(own: View, teachers: View) -> dict[str, Any]:
    """What a scorer sees in common, by the metrics' keys; it has to have classes to say whether they agree."""
    values = {"feature_cosine": cosine_similarity(own.features, teachers.features).double()}
    if own.classes is not None and teachers.classes is not None:
        values["agreement"] = (own.classes == teachers.classes).double()
    return _means(values)


def _means(values: dict[str, Tensor]) -> dict[str, Any]:
    """The mean of each metric [n], and those without one block of images each."""
    values = {key: of.cpu() for key, of in values.items()}
    means: dict[str, Any] = {key: float(of.mean()) for key, of in values.items()}
    return means | {JACKKNIFE[key]: {"images": _without_blocks(of)} for key, of in values.items()}


def _without_blocks(values: Tensor) -> list[float]:
    total, places = values.sum(), blocks(len(values))
    sums, counts = [values[place].sum() for place in places], [place.stop - place.start for place in places]
    return [float((total - part) / (len(values) - count)) for part, count in zip(sums, counts, strict=True)]
