"""The `classifier` scorer: a small convolutional network trained on the data alone, so that distances compare across
teachers. It gives features for distances and classes for agreement."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sfddm.evaluation.extractor import Extractor
from sfddm.files import digest_file
from sfddm.images import from_bytes
from sfddm.networks.weights import load_weights

VERSION = "2"
"""Of the network and of how its features are normalised."""
BATCH = 1000


class Network(nn.Module):
    """3x3 convolutions with group normalisation, then one hidden layer, whose activations are the features."""

    def __init__(self, shape: tuple[int, int, int], channels: tuple[int, ...], features: int, classes: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before, (_, height, width) = shape[0], shape
        for position, after in enumerate(channels):
            stride = 1 if position == 0 else 2
            layers += [nn.Conv2d(before, after, 3, stride, 1), nn.GroupNorm(1, after), nn.SiLU()]
            height, width = -(-height // stride), -(-width // stride)
            before = after
        # SiLU never dies: a feature that is constant on real images would make every distance meaningless.
        self.body = nn.Sequential(*layers, nn.Flatten(), nn.Linear(before * height * width, features), nn.SiLU())
        self.head = nn.Linear(features, classes)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Features [B, D] and class scores [B, classes] of images [B, C, H, W] in [-1, 1]."""
        features = self.body(images)
        return features, self.head(features)


def load(weights: Path, content: dict[str, Any], device: torch.device) -> Extractor:
    """The extractor of stored weights and of what `scorer.json` says of them.

    Raises:
        UserError: the weights are missing or damaged.
    """
    shape = content["shape"]
    size = shape[0], shape[1], shape[2]
    network = Network(size, content["channels"], content["features"], content["classes"])
    load_weights(network, weights)
    network = network.to(device).eval()

    def extract(images: np.ndarray) -> tuple[Tensor, Tensor]:
        features, scores = network(from_bytes(images).to(device))
        return features, scores

    return Extractor(
        kind="classifier", version=VERSION, digest=digest_file(weights), shape=size, features=content["features"],
        batch=BATCH, extract=extract,
    )  # fmt: skip
