"""The `classifier` scorer: a small network trained on the data alone, so that distances compare across teachers."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from sfddm.data import store
from sfddm.data.store import Split
from sfddm.errors import UserError
from sfddm.evaluation.scorers.extractor import WEIGHTS, Extractor, Job, Shape, filled, seen_by
from sfddm.evaluation.scorers.networks import Network
from sfddm.images import from_bytes
from sfddm.networks.weights import read_tensors
from sfddm.runtime.files import digest_file
from sfddm.spec.evaluation import Classifier
from sfddm.training.batches import Rows, gathered, stored, take
from sfddm.training.checkpoints import Checkpoints
from sfddm.training.curve import Curve
from sfddm.training.loop import Losses, train

VERSION = "3"
STANDARDISE = True
BATCH = 1000


def architecture(settings: Classifier, shape: Shape, classes: int = 10) -> Network:
    """The network with random weights."""
    return Network(shape, settings.network, settings.features, classes)


def make(settings: Classifier, job: Job) -> Network:
    """Train the classifier on the training split; several processes share the work."""
    split = store.read(job.data, "train")
    with Curve(job.curve, "scorer", settings.training.iterations, settings.training.batch_size) as curve:
        return _train(settings, split, job.device, curve, job.checkpoints)


def load(folder: Path, settings: Classifier, shape: Shape, device: torch.device) -> Extractor:
    """The extractor in a folder.

    Raises:
        UserError: its weights are missing or damaged.
    """
    classes = len(read_tensors(folder / WEIGHTS)["head.bias"])
    network = filled(architecture(settings, shape, classes), folder, device)

    def extract(images: np.ndarray) -> tuple[Tensor, Tensor]:
        features, scores = network(from_bytes(torch.from_numpy(images).to(device)))
        return features, scores

    return Extractor(
        kind=f"classifier:{settings.network.kind}", version=VERSION, digest=digest_file(folder / WEIGHTS), shape=shape,
        features=settings.features, classes=classes, batch=BATCH, extract=extract,
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
        network = architecture(settings, shape, classes).to(device)
    rows = Rows(settings.training.batch_size)

    def loss(step: int, _: Network) -> Losses:
        batch = take(seen, settings.seed, step, rows)
        scores = network(from_bytes(gathered(images, (batch,), device)))[1].float()
        return {"loss": nn.functional.cross_entropy(scores, gathered(labels, (batch,), device))}

    return train(network, loss, settings.training, curve, checkpoints, seed=settings.seed).network
