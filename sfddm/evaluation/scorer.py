"""A stored scorer: a network that extracts features, and the real images in those features."""

from pathlib import Path

import numpy as np
import torch
from attrs import frozen
from torch import Tensor

from sfddm.evaluation.real import Real, read_real
from sfddm.evaluation.scorers.extractor import Extractor, load_extractor
from sfddm.runtime.progress import Status


@frozen(kw_only=True)
class View:
    """Images as a scorer sees them."""

    features: Tensor
    """float32 [N, D], in units of the real images' spread."""
    classes: Tensor | None
    """int64 [N], where the scorer has classes."""


@frozen
class Scorer:
    """Turns images into features, in units of the real images' spread, and into classes."""

    extractor: Extractor
    real: Real

    def view(self, images: np.ndarray, label: str = "") -> View:
        """See uint8 images [N, C, H, W]; with a label, progress is shown under it."""
        features, classes = list[Tensor](), list[Tensor]()
        with Status(label, len(images), "img") as status:
            for found, scores in self.extractor.batches(images):
                features.append((found / self.real.scale).float())
                if self.extractor.classes:
                    classes.append(scores.argmax(1))
                if label:
                    status.update(sum(map(len, features)))
        return View(features=torch.cat(features), classes=torch.cat(classes) if classes else None)


def load_scorer(folder: Path, device: torch.device) -> Scorer:
    """Read a stored scorer.

    Raises:
        UserError: a file is missing or damaged.
    """
    return Scorer(load_extractor(folder, device), read_real(folder, device))
