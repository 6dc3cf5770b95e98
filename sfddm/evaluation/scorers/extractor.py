"""A network that turns images into features, in which distances are taken, and into classes."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from attrs import frozen
from torch import Tensor

from sfddm.errors import UserError, damaged
from sfddm.spec.fields import Pixels

WEIGHTS, DESCRIPTION = "weights.safetensors", "scorer.json"
"""The files of a stored one."""


@frozen(kw_only=True)
class Extractor:
    """One network, whichever it is, as the figures see it."""

    kind: str
    version: str
    """Of the code that its features depend on: different versions don't compare."""
    digest: str
    """Of its weights, in hexadecimal."""
    shape: tuple[int, int, int]
    """Channels, height and width of the images that it takes."""
    features: int
    """D, how many numbers an image."""
    batch: int
    """Images at a time: what the largest layer leaves room for in memory."""
    extract: Callable[[np.ndarray], tuple[Tensor, Tensor]]
    """Features [B, D] and class scores [B, classes], float32, of uint8 images [B, C, H, W]."""

    @property
    def name(self) -> str:
        """What figures call it."""
        return f"{self.kind}-{self.version.split()[0]}:{self.digest[:8]}"

    def batches(self, images: np.ndarray) -> Iterator[tuple[Tensor, Tensor]]:
        """Features and class scores of uint8 images [N, C, H, W], a batch at a time.

        Raises:
            UserError: some are not finite.
        """
        for start in range(0, len(images), self.batch):
            with torch.inference_mode():
                features, scores = self.extract(np.array(images[start : start + self.batch]))
            if not bool(features.isfinite().all()):
                raise UserError(f"{self.name} gave features with NaN or infinity: its weights are no good.")
            yield features, scores


def image_shape(folder: Path, shape: tuple[Pixels, ...]) -> tuple[int, int, int]:
    """Channels, height and width as a stored scorer's description has them.

    Raises:
        UserError: they are no three numbers.
    """
    if len(shape) != 3:
        raise damaged(folder / DESCRIPTION, "expected channels, height and width as its shape")
    return shape[0], shape[1], shape[2]


def rgb(images: np.ndarray) -> Tensor:
    """uint8 [B, 3, H, W] of grey or coloured images, as networks of photographs take them.

    Raises:
        UserError: neither one channel nor three.
    """
    if images.shape[1] not in (1, 3):
        raise UserError(f"images of {images.shape[1]} channels: this scorer takes grey (1) and coloured (3) ones.")
    return torch.from_numpy(images.repeat(3 // images.shape[1], axis=1))
