"""Training the `classifier` scorer."""

from pathlib import Path

import numpy as np
import torch
from torch import nn

from sfddm.data.store import Split
from sfddm.evaluation.classifier import VERSION, Network, extractor_of
from sfddm.evaluation.extractor import DESCRIPTION, WEIGHTS
from sfddm.files import write_json
from sfddm.networks.weights import write_weights
from sfddm.randomness import epoch_indices
from sfddm.spec.evaluation import Classifier
from sfddm.training.batches import on_device
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
    """Train a classifier and store it and its accuracy in an existing folder."""
    images = on_device(train_split.images, device)
    labels = torch.from_numpy(np.array(train_split.required_labels())).to(device)
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
    network_of = {"shape": list(shape), "channels": list(settings.channels), "features": settings.features}
    content = {"kind": settings.kind, "version": VERSION, "classes": classes, **network_of}
    extractor = extractor_of(network, folder, shape, device)
    found = np.concatenate([scores.argmax(1).cpu().numpy() for _, scores in extractor.batches(test_split.images)])
    accuracy = float((found == test_split.required_labels()).mean())
    write_json(folder / DESCRIPTION, {**content, "held_out_accuracy": accuracy})
