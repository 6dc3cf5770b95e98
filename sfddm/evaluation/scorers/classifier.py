"""The `classifier` scorer: a small convolutional network trained on the data alone, so that distances compare across
teachers."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from attrs import frozen
from torch import Tensor, nn

from sfddm.data import store
from sfddm.data.store import Split
from sfddm.errors import damaged
from sfddm.evaluation.scorers.extractor import (
    DESCRIPTION,
    WEIGHTS,
    Extractor,
    Job,
    Write,
    image_shape,
    write_extractor,
)
from sfddm.images import from_bytes
from sfddm.networks.weights import load_weights, write_weights
from sfddm.runtime.files import digest_file, write_json
from sfddm.spec.evaluation import MOST_CONVOLUTIONS, Classifier
from sfddm.spec.fields import Pixels, Share, Width
from sfddm.spec.parse import as_stored, unstructure
from sfddm.training.batches import rows_of, stored, take, take_images
from sfddm.training.checkpoints import Checkpoints
from sfddm.training.curve import Curve
from sfddm.training.loop import Losses, train

VERSION = "2"
STANDARDISE = True
BATCH = 1000
RANDOM_CLASSES = 10
"""Classes of a network with random weights; the head is a small part of it."""


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


def make(settings: Classifier, job: Job) -> Write:
    """Train the classifier on the training split; several processes share the work."""
    train_split, test = (store.read(job.data, split) for split in ("train", "test"))
    with Curve(job.curve, "scorer", settings.training.iterations, settings.training.batch_size) as curve:
        network = _train(settings, train_split, job.device, curve, job.checkpoints)
    return lambda folder: _write(folder, settings, network, test, job.device)


def write_random(folder: Path, settings: Classifier, shape: tuple[int, int, int]) -> None:
    """Store a network with random weights, for images of `shape`, in an existing folder."""
    network = Network(shape, settings.channels, settings.features, RANDOM_CLASSES)
    write_extractor(folder, network, _describe(settings, network, shape, 0.0))


@frozen(kw_only=True)
class _Description:
    """scorer.json."""

    kind: Literal["classifier"]
    version: str
    classes: Width
    held_out_accuracy: Share
    shape: tuple[Pixels, ...]
    channels: tuple[Width, ...]
    features: Width


def load(folder: Path, content: Mapping[str, Any], device: torch.device) -> Extractor:
    """The extractor in a folder whose description has this content.

    Raises:
        UserError: its weights or its description are missing or damaged.
    """
    described = as_stored(folder / DESCRIPTION, content, _Description)
    if len(described.channels) > MOST_CONVOLUTIONS:
        raise damaged(folder / DESCRIPTION, f"more than {MOST_CONVOLUTIONS} convolutions")
    shape = image_shape(folder, described.shape)
    with torch.device("meta"):
        network = Network(shape, described.channels, described.features, described.classes)
    load_weights(network, folder / WEIGHTS)
    return _extractor(network.to(device).eval(), folder, shape, device)


def _extractor(network: Network, folder: Path, shape: tuple[int, int, int], device: torch.device) -> Extractor:
    """The extractor of a network whose weights are stored in a folder."""

    def extract(images: np.ndarray) -> tuple[Tensor, Tensor]:
        features, scores = network(from_bytes(images).to(device))
        return features, scores

    return Extractor(
        kind="classifier", version=VERSION, digest=digest_file(folder / WEIGHTS), shape=shape,
        features=network.head.in_features, classes=network.head.out_features, batch=BATCH, extract=extract,
    )  # fmt: skip


def _train(settings: Classifier, split: Split, device: torch.device, curve: Curve, checkpoints: Checkpoints) -> Network:
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


def _write(folder: Path, settings: Classifier, network: Network, test: Split, device: torch.device) -> None:
    """Store a trained classifier, and its accuracy on images that it was not trained with, in an existing folder."""
    shape = (test.images.shape[1], test.images.shape[2], test.images.shape[3])
    write_weights(folder / WEIGHTS, network)
    batches = _extractor(network, folder, shape, device).batches(test.images)
    classes = np.concatenate([scores.argmax(1).cpu().numpy() for _, scores in batches])
    accuracy = float((classes == test.required_labels()).mean())
    write_json(folder / DESCRIPTION, unstructure(_describe(settings, network, shape, accuracy)))


def _describe(settings: Classifier, network: Network, shape: tuple[int, int, int], accuracy: float) -> _Description:
    return _Description(
        kind=settings.kind,
        version=VERSION,
        classes=network.head.out_features,
        held_out_accuracy=accuracy,
        shape=shape,
        channels=settings.channels,
        features=settings.features,
    )
