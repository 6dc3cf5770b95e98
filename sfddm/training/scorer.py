"""Training the `classifier` scorer, and the statistics of the real images in its features."""

from pathlib import Path

import numpy as np
import torch
from torch import nn

from sfddm.data.store import Split
from sfddm.evaluation.classifier import DESCRIPTION, STATISTICS, VERSION, WEIGHTS, Network, feature_batches
from sfddm.evaluation.frechet import MomentSums
from sfddm.evaluation.pixels import pixel_moments
from sfddm.files import write_json
from sfddm.images import from_bytes
from sfddm.networks.weights import write_tensors, write_weights
from sfddm.randomness import epoch_indices
from sfddm.spec.evaluation import Classifier
from sfddm.training.checkpoints import Checkpoints
from sfddm.training.curve import Curve
from sfddm.training.loop import Losses, train


def train_scorer(
    settings: Classifier,
    train_split: Split,
    test_split: Split,
    device: torch.device,
    curve: Curve,
    checkpoints: Checkpoints,
    folder: Path,
) -> None:
    """Train a classifier and store it, the real images' statistics and its accuracy in an existing folder."""
    images = from_bytes(np.array(train_split.images)).to(device)
    labels = torch.from_numpy(np.array(train_split.labels)).to(device)
    shape = (images.shape[1], images.shape[2], images.shape[3])
    classes = int(labels.max()) + 1
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        network = Network(shape, settings.channels, settings.features, classes).to(device)
    size = settings.training.batch_size

    def loss(step: int, _: Network) -> Losses:
        chosen = torch.from_numpy(epoch_indices(settings.seed, step, size, len(images))).to(device)
        return {"loss": nn.functional.cross_entropy(network(images[chosen])[1].float(), labels[chosen])}

    network = train(network, loss, settings.training, curve, checkpoints)
    write_weights(folder / WEIGHTS, network)
    _write_statistics(network, train_split.images, folder / STATISTICS)
    accuracy = float((_classes(network, test_split.images) == test_split.labels).mean())
    network_of = {"shape": list(shape), "channels": list(settings.channels), "features": settings.features}
    content = {"version": VERSION, "classes": classes, "held_out_accuracy": accuracy, **network_of}
    write_json(folder / DESCRIPTION, content)


@torch.inference_mode()
def _write_statistics(network: Network, images: np.ndarray, path: Path) -> None:
    """Moments of the real images' features, each divided by its own standard deviation, and of their pixels."""
    sums = MomentSums(network.head.in_features)
    for features, _ in feature_batches(network, images):
        sums.add(features)
    raw = sums.moments()
    scale = raw.covariance.diagonal().sqrt()
    pixels = pixel_moments(images)
    write_tensors(
        path,
        {
            "scale": scale,
            "count": torch.tensor(raw.count),
            "mean": raw.mean / scale,
            "covariance": raw.covariance / torch.outer(scale, scale),
            "pixel_mean": pixels.mean,
            "pixel_covariance": pixels.covariance,
        },
    )


@torch.inference_mode()
def _classes(network: Network, images: np.ndarray) -> np.ndarray:
    return np.concatenate([scores.argmax(1).cpu().numpy() for _, scores in feature_batches(network, images)])
