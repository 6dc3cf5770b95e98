"""Training the `classifier` scorer."""

from pathlib import Path

import numpy as np
import torch
from torch import nn

from sfddm.data.store import Split
from sfddm.evaluation.classifier import VERSION, Network, extractor_of
from sfddm.evaluation.extractor import DESCRIPTION, WEIGHTS
from sfddm.networks.weights import write_weights
from sfddm.runtime.files import write_json
from sfddm.spec.evaluation import Classifier
from sfddm.training.batches import rows_of, stored_images, take, take_images
from sfddm.training.checkpoints import Checkpoints
from sfddm.training.curve import Curve
from sfddm.training.loop import Losses, train


def train_scorer(
    settings: Classifier,
    split: Split,
    device: torch.device,
    curve: Curve,
    checkpoints: Checkpoints,
) -> Network:
    """Train a classifier of the split's images."""
    images = stored_images(split.images, device)
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
