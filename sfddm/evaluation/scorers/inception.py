"""The `inception` scorer: the network of the usual FID, in torch-fidelity's port of it.

The weights of 2015 that Heusel et al. (2017) took, with TensorFlow 1's bilinear resizing to 299x299; features are the
2048 of the last pooling, classes the 1008 of its head.
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

from sfddm.evaluation.scorers.extractor import DESCRIPTION, WEIGHTS, Extractor, image_shape, rgb
from sfddm.evaluation.scorers.pretrained import load_published, read_published
from sfddm.networks.weights import load_weights
from sfddm.spec.evaluation import Inception
from sfddm.spec.fields import SHA256, Pixels
from sfddm.spec.parse import as_stored

VARIABLE = "SFDDM_INCEPTION_WEIGHTS"
FILE = "weights-inception-2015-12-05-6726825d.pth"
VERSION = "1"
"""Of what stands between images and torch-fidelity's network."""
FEATURES = 2048
BATCH = 32


def published(settings: Inception) -> nn.Module:
    """The network with the published weights.

    Raises:
        UserError: they are missing, or the file is not the one that the spec means.
    """
    state = read_published(VARIABLE, [FILE], settings.sha256)
    network = architecture()
    load_published(network, state)
    return network


@frozen(kw_only=True)
class _Described:
    """What stands beside the weights."""

    kind: Literal["inception"]
    version: str
    shape: tuple[Pixels, ...]
    sha256: SHA256


def load(folder: Path, content: Mapping[str, Any], device: torch.device) -> Extractor:
    """The extractor that is stored in a folder, of which `content` is the description.

    Raises:
        UserError: the weights are missing or damaged, or the description is.
    """
    described = as_stored(folder / DESCRIPTION, content, _Described)
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
        shape=shape, features=FEATURES, batch=BATCH, extract=extract,
    )  # fmt: skip


def architecture() -> nn.Module:
    """torch-fidelity's network, its weights still to come."""
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    class WithoutWeights(FeatureExtractorInceptionV3):  # type: ignore[misc]
        """Its constructor unpickles a file, whatever is in it: this one is given an empty one of our own."""

        def load_state_dict(self, state_dict: dict[str, Any], strict: bool = True, assign: bool = False) -> Any:
            return super().load_state_dict(state_dict or self.state_dict(), strict, assign)

    empty = io.BytesIO()
    torch.save({}, empty)
    empty.seek(0)
    network: nn.Module = WithoutWeights("inception", [str(FEATURES), "logits"], feature_extractor_weights_path=empty)
    return network
