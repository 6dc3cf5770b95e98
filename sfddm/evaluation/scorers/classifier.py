"""The `classifier` scorer: a small convolutional network trained on the data alone, so that distances compare across
teachers. It gives features for distances and classes for agreement."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from attrs import frozen
from torch import Tensor, nn

from sfddm.data.store import Split
from sfddm.errors import damaged
from sfddm.evaluation.scorers.extractor import DESCRIPTION, WEIGHTS, Extractor, image_shape
from sfddm.images import from_bytes
from sfddm.networks.weights import load_weights, write_weights
from sfddm.runtime.files import digest_file, write_json
from sfddm.spec.evaluation import MOST_CONVOLUTIONS, Classifier
from sfddm.spec.fields import Pixels, Share, Width
from sfddm.spec.parse import as_stored
from sfddm.training.batches import rows_of, stored, take, take_images
from sfddm.training.checkpoints import Checkpoints
from sfddm.training.curve import Curve
from sfddm.training.loop import Losses, train

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


@frozen(kw_only=True)
class _Described:
    """What stands beside the weights."""

    kind: Literal["classifier"]
    version: str
    classes: Width
    held_out_accuracy: Share
    shape: tuple[Pixels, ...]
    channels: tuple[Width, ...]
    features: Width


def load(folder: Path, content: Mapping[str, Any], device: torch.device) -> Extractor:
    """The extractor that is stored in a folder, of which `content` is the description.

    Raises:
        UserError: the weights are missing or damaged, or the description is.
    """
    described = as_stored(folder / DESCRIPTION, content, _Described)
    if len(described.channels) > MOST_CONVOLUTIONS:
        raise damaged(folder / DESCRIPTION, f"more than {MOST_CONVOLUTIONS} convolutions")
    shape = image_shape(folder, described.shape)
    with torch.device("meta"):
        network = Network(shape, described.channels, described.features, described.classes)
    load_weights(network, folder / WEIGHTS)
    return extractor_of(network.to(device).eval(), folder, shape, device)


def extractor_of(network: Network, folder: Path, shape: tuple[int, int, int], device: torch.device) -> Extractor:
    """The extractor of a network whose weights lie in a folder already."""

    def extract(images: np.ndarray) -> tuple[Tensor, Tensor]:
        features, scores = network(from_bytes(images).to(device))
        return features, scores

    return Extractor(
        kind="classifier", version=VERSION, digest=digest_file(folder / WEIGHTS), shape=shape,
        features=network.head.in_features, batch=BATCH, extract=extract,
    )  # fmt: skip


def train_scorer(
    settings: Classifier,
    split: Split,
    device: torch.device,
    curve: Curve,
    checkpoints: Checkpoints,
) -> Network:
    """Train a classifier of the split's images."""
    images = stored(split.images, device)
    labels = torch.from_numpy(np.array(split.required_labels())).to(device)
    shape = (images.shape[1], images.shape[2], images.shape[3])
    classes = int(labels.max()) + 1
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        network = Network(shape, settings.channels, settings.features, classes).to(device)
    rows = rows_of(settings.training.batch_size)

    def loss(step: int, _: Network) -> Losses:
        scores = network(take_images(images, settings.seed, step, rows, device))[1].float()
        return {"loss": nn.functional.cross_entropy(scores, take(labels, settings.seed, step, rows))}

    return train(network, loss, settings.training, curve, checkpoints)


def write_scorer(folder: Path, settings: Classifier, network: Network, test: Split, device: torch.device) -> None:
    """Store a trained classifier and its accuracy on the `test` split in an existing folder."""
    shape = (test.images.shape[1], test.images.shape[2], test.images.shape[3])
    write_weights(folder / WEIGHTS, network)
    network_of = {"shape": list(shape), "channels": list(settings.channels), "features": settings.features}
    content = {"kind": settings.kind, "version": VERSION, "classes": network.head.out_features, **network_of}
    extractor = extractor_of(network, folder, shape, device)
    found = np.concatenate([scores.argmax(1).cpu().numpy() for _, scores in extractor.batches(test.images)])
    accuracy = float((found == test.required_labels()).mean())
    write_json(folder / DESCRIPTION, {**content, "held_out_accuracy": accuracy})
