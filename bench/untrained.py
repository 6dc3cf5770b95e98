"""Scorers with random weights, for what depends on their size and speed alone."""

from pathlib import Path

from torch import nn

from sfddm.evaluation.scorers import efficientnet, inception, torchvision
from sfddm.evaluation.scorers.extractor import Shape, write_extractor
from sfddm.evaluation.scorers.networks import Network
from sfddm.spec.evaluation import Classifier, EfficientNet, Inception, Scorer, Torchvision

CLASSES = 10
"""Of a classifier; the head is a small part of it."""


def write_untrained(folder: Path, settings: Scorer, shape: Shape) -> None:
    """Store a scorer's network with random weights, for images of `shape`, in an existing folder."""
    network: nn.Module | None = None
    match settings:
        case Classifier():
            network = Network(shape, settings.network, settings.features, CLASSES)
        case EfficientNet():
            network = efficientnet.architecture()
        case Inception():
            network = inception.architecture()
        case Torchvision():
            network = torchvision.architecture(settings.model)
    write_extractor(folder, network, settings, shape)
