"""The `pixels` scorer: no network and no classes, the pixels themselves are the features."""

from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from attrs import frozen
from torch import Tensor
from torch.nn.functional import avg_pool2d

from sfddm.evaluation.scorers.extractor import DESCRIPTION, Extractor, Job, Write, image_shape
from sfddm.images import from_bytes
from sfddm.runtime.files import write_json
from sfddm.spec.evaluation import PixelValues
from sfddm.spec.fields import Pixels
from sfddm.spec.parse import as_stored, unstructure

VERSION = "1"
STANDARDISE = False
MOST = 1024
"""Numbers per image; the covariance of more is larger than n images can fill."""
BATCH = 1000


def flat_pixels(images: Tensor) -> Tensor:
    """[B, D] of images [B, C, H, W]; while D is above `MOST`, every 2x2 pixels (fewer at an odd edge) are averaged."""
    while images[0].numel() > MOST:
        images = avg_pool2d(images, 2, ceil_mode=True)
    return images.flatten(1)


@frozen(kw_only=True)
class _Description:
    """scorer.json."""

    kind: Literal["pixels"]
    version: str
    shape: tuple[Pixels, ...]


def make(settings: PixelValues, job: Job) -> Write:
    """There is nothing to train or to take."""
    return lambda folder: write_random(folder, settings, job.shape)


def write_random(folder: Path, settings: PixelValues, shape: tuple[int, int, int]) -> None:
    """Store the description for images of `shape` in an existing folder; there are no weights."""
    described = _Description(kind=settings.kind, version=VERSION, shape=shape)
    write_json(folder / DESCRIPTION, unstructure(described))


def load(folder: Path, content: Mapping[str, Any], device: torch.device) -> Extractor:
    """The extractor in a folder whose description has this content.

    Raises:
        UserError: its description is damaged.
    """
    described = as_stored(folder / DESCRIPTION, content, _Description)
    shape = image_shape(folder, described.shape)

    def extract(images: np.ndarray) -> tuple[Tensor, Tensor]:
        pixels = from_bytes(torch.from_numpy(images).to(device))
        return flat_pixels(pixels), pixels.new_empty(len(pixels), 0)

    return Extractor(
        kind=described.kind, version=VERSION, digest=sha256(repr(described).encode()).hexdigest(), shape=shape,
        features=flat_pixels(torch.empty(1, *shape, device="meta")).shape[1], classes=0, batch=BATCH, extract=extract,
    )  # fmt: skip
