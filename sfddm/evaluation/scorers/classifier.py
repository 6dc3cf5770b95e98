"""The `classifier` scorer: a small network trained on the data alone, so that distances compare across teachers."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from attrs import frozen
from torch import Tensor, nn

from sfddm.data import store
from sfddm.data.store import Split
from sfddm.errors import UserError, damaged
from sfddm.evaluation.scorers.extractor import (
    DESCRIPTION,
    WEIGHTS,
    Extractor,
    Job,
    Write,
    image_shape,
    write_extractor,
)
from sfddm.evaluation.scorers.networks import Network
from sfddm.evaluation.scorers.seen import seen_by
from sfddm.images import from_bytes
from sfddm.networks.weights import load_weights, write_weights
from sfddm.runtime.files import digest_file, write_json
from sfddm.spec.evaluation import Classifier, Convolutions, Part, Transformer
from sfddm.spec.fields import Pixels, Share, Width
from sfddm.spec.parse import as_stored, unstructure
from sfddm.training.batches import Rows, gathered, stored, take
from sfddm.training.checkpoints import Checkpoints
from sfddm.training.curve import Curve
from sfddm.training.loop import Losses, train

VERSION = "3"
STANDARDISE = True
BATCH = 1000
RANDOM_CLASSES = 10
"""Classes of a network with random weights; the head is a small part of it."""


def make(settings: Classifier, job: Job) -> Write:
    """Train the classifier on the training split; several processes share the work."""
    train_split, test = (store.read(job.data, split) for split in ("train", "test"))
    with Curve(job.curve, "scorer", settings.training.iterations, settings.training.batch_size) as curve:
        network = _train(settings, train_split, job.device, curve, job.checkpoints)
    return lambda folder: _write(folder, settings, network, test, job.device)


def write_random(folder: Path, settings: Classifier, shape: tuple[int, int, int]) -> None:
    """Store a network with random weights, for images of `shape`, in an existing folder."""
    network = Network(shape, settings.network, settings.features, RANDOM_CLASSES)
    write_extractor(folder, network, _describe(settings, network, shape, 0.0))


@frozen(kw_only=True)
class _Description:
    """scorer.json."""

    kind: Literal["classifier"]
    version: str
    classes: Width
    held_out_accuracy: Share
    shape: tuple[Pixels, ...]
    network: Convolutions | Transformer
    features: Width
    trained_on: Part


def load(folder: Path, content: Mapping[str, Any], device: torch.device) -> Extractor:
    """The extractor in a folder whose description has this content.

    Raises:
        UserError: its weights or its description are missing or damaged.
    """
    described = as_stored(folder / DESCRIPTION, content, _Description)
    shape = image_shape(folder, described.shape)
    for fault in described.network.check(shape, ()):
        raise damaged(folder / DESCRIPTION, fault.message)
    with torch.device("meta"):
        network = Network(shape, described.network, described.features, described.classes)
    load_weights(network, folder / WEIGHTS)
    return _extractor(described.network.kind, network.to(device).eval(), folder, shape, device)


def _extractor(
    kind: str, network: Network, folder: Path, shape: tuple[int, int, int], device: torch.device
) -> Extractor:
    """The extractor of a network whose weights are stored in a folder."""

    def extract(images: np.ndarray) -> tuple[Tensor, Tensor]:
        features, scores = network(from_bytes(torch.from_numpy(images).to(device)))
        return features, scores

    return Extractor(
        kind=f"classifier:{kind}", version=VERSION, digest=digest_file(folder / WEIGHTS), shape=shape,
        features=network.head.in_features, classes=network.head.out_features, batch=BATCH, extract=extract,
    )  # fmt: skip


def _train(settings: Classifier, split: Split, device: torch.device, curve: Curve, checkpoints: Checkpoints) -> Network:
    images = stored(split.images, device)
    labels = torch.from_numpy(np.array(split.required_labels())).to(device)
    shape = (images.shape[1], images.shape[2], images.shape[3])
    classes = int(labels.max()) + 1
    seen = torch.from_numpy(seen_by(settings, len(images)))
    if not len(seen):
        raise UserError(f"trained_on: {settings.trained_on} of {len(images)} images is none.")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        network = Network(shape, settings.network, settings.features, classes).to(device)
    rows = Rows(settings.training.batch_size)

    def loss(step: int, _: Network) -> Losses:
        batch = take(seen, settings.seed, step, rows)
        scores = network(from_bytes(gathered(images, (batch,), device)))[1].float()
        return {"loss": nn.functional.cross_entropy(scores, gathered(labels, (batch,), device))}

    return train(network, loss, settings.training, curve, checkpoints)


def _write(folder: Path, settings: Classifier, network: Network, test: Split, device: torch.device) -> None:
    """Store a trained classifier, and its accuracy on images that it was not trained with, in an existing folder."""
    shape = (test.images.shape[1], test.images.shape[2], test.images.shape[3])
    write_weights(folder / WEIGHTS, network)
    batches = _extractor(settings.network.kind, network, folder, shape, device).batches(test.images)
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
        network=settings.network,
        features=settings.features,
        trained_on=settings.trained_on,
    )
