"""The `torchvision` scorer: any of torchvision's classification networks with published weights."""

from importlib.metadata import version
from pathlib import Path, PurePosixPath

import torch
from torch import nn

from sfddm.errors import UserError
from sfddm.evaluation.scorers.extractor import Extractor, Job, Shape, filled
from sfddm.evaluation.scorers.published import at_a_time, features_before, load_published, read_published
from sfddm.spec.evaluation import Torchvision
from sfddm.spec.parse import nearest

VARIABLE = "SFDDM_TORCHVISION_WEIGHTS"
VERSION = "1"
STANDARDISE = False
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Mean and standard deviation of ImageNet's channels in [0, 1], which torchvision's published weights were trained
with."""


def make(settings: Torchvision, _: Job) -> nn.Module:
    """Take the published weights.

    Raises:
        UserError: torchvision has no such network, the weights are missing, or the file is not what the spec means.
    """
    from torchvision.models import get_model_weights  # type: ignore[import-untyped]

    network = architecture(settings.model)
    names = [PurePosixPath(weights.url).name for weights in get_model_weights(settings.model)]
    return load_published(network, read_published(VARIABLE, names, settings.sha256))


def load(folder: Path, settings: Torchvision, shape: Shape, device: torch.device) -> Extractor:
    """The extractor in a folder.

    Raises:
        UserError: its weights are missing or damaged.
    """
    network = filled(architecture(settings.model), folder, device)
    head = _head(network, settings.model)
    return Extractor(
        kind=f"torchvision:{settings.model}", version=f"{VERSION} torchvision {version('torchvision')}",
        digest=settings.sha256, shape=shape, features=head.in_features, classes=head.out_features,
        batch=at_a_time(settings.size), extract=features_before(head, network, settings.size, MEAN, DEVIATION),
    )  # fmt: skip


def architecture(model: str) -> nn.Module:
    """torchvision's network of that name, with random weights.

    Raises:
        UserError: there is none, or it has no linear layer whose input could be the features.
    """
    from torchvision import models  # type: ignore[import-untyped]

    known = models.list_models(module=models)
    if model not in known:
        raise UserError(f"evaluation.scorers: torchvision has no classification network {model!r}"
                        f"{nearest(model, known)[:300]}")  # fmt: skip
    network: nn.Module = models.get_model(model)
    _head(network, model)
    return network


def _head(network: nn.Module, model: str) -> nn.Linear:
    linear = [module for module in network.modules() if isinstance(module, nn.Linear)]
    if not linear:
        raise UserError(f"evaluation.scorers: {model} has no linear layer to take features before: use another.")
    return linear[-1]
