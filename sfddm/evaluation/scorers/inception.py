"""The `inception` scorer: the network of the usual FID, in torch-fidelity's port.

Weights are those of 2015 that Heusel et al. (2017) used, with TensorFlow 1's bilinear resizing to 299x299. Features are
the 2048 numbers of the last pooling, classes the 1008 of its head.
"""

import io
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sfddm.evaluation.scorers.extractor import Extractor, Job, Shape, filled, rgb
from sfddm.evaluation.scorers.published import load_published, read_published
from sfddm.spec.evaluation import Inception

VARIABLE = "SFDDM_INCEPTION_WEIGHTS"
FILE = "weights-inception-2015-12-05-6726825d.pth"
VERSION = "1"
STANDARDISE = False
FEATURES, CLASSES = 2048, 1008
BATCH = 32


def make(settings: Inception, _: Job) -> nn.Module:
    """Take the published weights.

    Raises:
        UserError: the weights are missing, or the file is not the one that the spec means.
    """
    state = read_published(VARIABLE, [FILE], settings.sha256)
    return load_published(architecture(), state)


def load(folder: Path, settings: Inception, shape: Shape, device: torch.device) -> Extractor:
    """The extractor in a folder.

    Raises:
        UserError: its weights are missing or damaged.
    """
    network = filled(architecture(), folder, device)

    def extract(images: np.ndarray) -> tuple[Tensor, Tensor]:
        features, scores = network(rgb(images).to(device))
        return features, scores

    return Extractor(
        kind="inception", version=f"{VERSION} torch-fidelity {version('torch-fidelity')}", digest=settings.sha256,
        shape=shape, features=FEATURES, classes=CLASSES, batch=BATCH, extract=extract,
    )  # fmt: skip


def architecture() -> nn.Module:
    """torch-fidelity's network with random weights."""
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    class WithoutWeights(FeatureExtractorInceptionV3):  # type: ignore[misc]
        """The constructor unpickles a file, whatever it holds; here it is an empty one of our own."""

        def load_state_dict(self, state_dict: dict[str, Any], *how: Any, **other: Any) -> Any:
            return super().load_state_dict(state_dict or self.state_dict(), *how, **other)

    empty = io.BytesIO()
    torch.save({}, empty)
    empty.seek(0)
    network: nn.Module = WithoutWeights("inception", [str(FEATURES), "logits"], feature_extractor_weights_path=empty)
    return network
