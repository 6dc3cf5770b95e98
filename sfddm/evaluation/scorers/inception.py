"""The `inception` scorer: the network of the usual FID, in torch-fidelity's port.

Weights are those of 2015 that Heusel et al. (2017) used, with TensorFlow 1's bilinear resizing to 299x299. Features are
the 2048 numbers of the last pooling, classes the 1008 of its head.
"""

import io
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from attrs import frozen
from torch import Tensor, nn

from sfddm.evaluation.scorers.extractor import (
    DESCRIPTION,
    WEIGHTS,
    Extractor,
    Job,
    Write,
    image_shape,
    rgb,
    write_extractor,
)
from sfddm.evaluation.scorers.published import load_published, read_published
from sfddm.networks.weights import load_weights
from sfddm.spec.evaluation import Inception
from sfddm.spec.fields import SHA256, Pixels
from sfddm.spec.parse import as_stored

VARIABLE = "SFDDM_INCEPTION_WEIGHTS"
FILE = "weights-inception-2015-12-05-6726825d.pth"
VERSION = "1"
STANDARDISE = False
FEATURES, CLASSES = 2048, 1008
BATCH = 32


def make(settings: Inception, job: Job) -> Write:
    """Take the published weights.

    The function that is returned raises:
        UserError: the weights are missing, or the file is not the one that the spec means.
    """

    def write(folder: Path) -> None:
        state = read_published(VARIABLE, [FILE], settings.sha256)
        network = architecture()
        load_published(network, state)
        write_extractor(folder, network, _describe(settings, job.shape))

    return write


def write_random(folder: Path, settings: Inception, shape: tuple[int, int, int]) -> None:
    """Store the network with random weights, for images of `shape`, in an existing folder."""
    write_extractor(folder, architecture(), _describe(settings, shape))


@frozen(kw_only=True)
class _Description:
    """scorer.json."""

    kind: Literal["inception"]
    version: str
    shape: tuple[Pixels, ...]
    sha256: SHA256


def _describe(settings: Inception, shape: tuple[int, int, int]) -> _Description:
    return _Description(kind=settings.kind, version=VERSION, shape=shape, sha256=settings.sha256)


def load(folder: Path, content: Mapping[str, Any], device: torch.device) -> Extractor:
    """The extractor in a folder whose description has this content.

    Raises:
        UserError: its weights or its description are missing or damaged.
    """
    described = as_stored(folder / DESCRIPTION, content, _Description)
    shape = image_shape(folder, described.shape)
    with torch.device("meta"):
        network = architecture()
    load_weights(network, folder / WEIGHTS)
    network = network.to(device).eval()

    def extract(images: np.ndarray) -> tuple[Tensor, Tensor]:
        features, scores = network(rgb(images).to(device))
        return features, scores

    return Extractor(
        kind="inception", version=f"{VERSION} torch-fidelity {version('torch-fidelity')}", digest=described.sha256,
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
