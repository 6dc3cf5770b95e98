"""A stored scorer: an extractor, and the real images in its features."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from attrs import frozen
from torch import Tensor

from sfddm.errors import UserError
from sfddm.evaluation.real import Real, read_real
from sfddm.evaluation.scorers import classifier, inception
from sfddm.evaluation.scorers import torchvision as torchvision_model
from sfddm.evaluation.scorers.extractor import DESCRIPTION, Extractor
from sfddm.spec.parse import read_mapping

MODULES: dict[str, Any] = {"classifier": classifier, "inception": inception, "torchvision": torchvision_model}
"""Of each kind."""


@frozen
class Scorer:
    """What judges: features in the units of the real images, and classes."""

    extractor: Extractor
    real: Real

    def batches(self, images: np.ndarray) -> Iterator[tuple[Tensor, Tensor]]:
        """Features [B, D] and classes int64 [B] of uint8 images [N, C, H, W], a batch at a time."""
        for features, scores in self.extractor.batches(images):
            yield features / self.real.scale.to(features.device), scores.argmax(1)

    def features(self, images: np.ndarray) -> Tensor:
        """The features [N, D] of a few images."""
        return torch.cat([features for features, _ in self.batches(images)])


def load_scorer(folder: Path, device: torch.device) -> Scorer:
    """Read a stored scorer.

    Raises:
        UserError: a file is missing or damaged.
    """
    extractor = load_extractor(folder, device)
    return Scorer(extractor, read_real(folder, extractor.features, extractor.shape))


def load_extractor(folder: Path, device: torch.device) -> Extractor:
    """Read a stored scorer's network.

    Raises:
        UserError: a file is missing or damaged, or of another version.
    """
    content = read_mapping(folder / DESCRIPTION)
    module = MODULES.get(str(content.get("kind")))
    if module is None or content.get("version") != module.VERSION:
        raise UserError(f"{folder / DESCRIPTION} is of another version of this program: run `dvc repro`.")
    extractor: Extractor = module.load(folder, content, device)
    return extractor
