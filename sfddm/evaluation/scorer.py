"""A stored scorer: a network that extracts features, and the real images in those features."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from attrs import frozen
from torch import Tensor

from sfddm.evaluation.real import Real, read_real
from sfddm.evaluation.scorers.extractor import Extractor, load_extractor


@frozen
class Scorer:
    """Turns images into features, in units of the real images' spread, and into classes."""

    extractor: Extractor
    real: Real

    def batches(self, images: np.ndarray) -> Iterator[tuple[Tensor, Tensor]]:
        """Features [B, D] and classes int64 [B] of uint8 images [N, C, H, W], a batch at a time."""
        for features, scores in self.extractor.batches(images):
            yield features / self.real.scale.to(features.device), scores.argmax(1)

    def features(self, images: np.ndarray) -> Tensor:
        """Features [N, D] of a few images."""
        return torch.cat([features for features, _ in self.batches(images)])


def load_scorer(folder: Path, device: torch.device) -> Scorer:
    """Read a stored scorer.

    Raises:
        UserError: a file is missing or damaged.
    """
    extractor = load_extractor(folder, device)
    return Scorer(extractor, read_real(folder, extractor.features, extractor.shape))
