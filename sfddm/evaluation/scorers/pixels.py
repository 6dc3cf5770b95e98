"""The `pixels` scorer: no network and no classes, the pixels themselves or means of areas are the features."""

from hashlib import sha256
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from sfddm.evaluation.scorers.extractor import Extractor, Job, Shape
from sfddm.images import from_bytes
from sfddm.spec.evaluation import PixelValues

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


def architecture(_: PixelValues, __: Shape) -> None:
    """There is none."""


def make(_: PixelValues, __: Job) -> None:
    """There is nothing to train or to take."""


def load(_: Path, settings: PixelValues, shape: Shape, device: torch.device) -> Extractor:
    """The extractor of images of a shape."""
    size = settings.size

    def features(images: Tensor) -> Tensor:
        return flat_pixels(avg_pool2d(images, (shape[1] // size, shape[2] // size)) if size else images)

    def extract(images: np.ndarray) -> tuple[Tensor, Tensor]:
        pixels = from_bytes(torch.from_numpy(images).to(device))
        return features(pixels), pixels.new_empty(len(pixels), 0)

    described = repr((*shape, size) if size else shape)
    return Extractor(
        kind="pixels", version=VERSION, digest=sha256(described.encode()).hexdigest(), shape=shape,
        features=features(torch.empty(1, *shape, device="meta")).shape[1], classes=0, batch=BATCH, extract=extract,
    )  # fmt: skip
