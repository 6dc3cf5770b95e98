"""The `torchvision` scorer: any of torchvision's classification networks with published weights."""

from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import torch
from attrs import frozen
from torch import nn

from sfddm.errors import UserError
from sfddm.evaluation.scorers.extractor import (
    DESCRIPTION,
    WEIGHTS,
    Extractor,
    Job,
    Write,
    image_shape,
    write_extractor,
)
from sfddm.evaluation.scorers.photographs import at_a_time, features_before
from sfddm.evaluation.scorers.published import load_published, read_published
from sfddm.networks.weights import load_weights
from sfddm.spec.evaluation import Torchvision
from sfddm.spec.fields import SHA256, ModelName, Pixels
from sfddm.spec.parse import as_stored, nearest

VARIABLE = "SFDDM_TORCHVISION_WEIGHTS"
VERSION = "1"
STANDARDISE = False
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Mean and standard deviation of ImageNet's channels in [0, 1], which torchvision's published weights were trained
with."""


def make(settings: Torchvision, job: Job) -> Write:
    """Take the published weights.

    The function that is returned raises:
        UserError: torchvision has no such network, the weights are missing, or the file is not what the spec means.
    """
    from torchvision.models import get_model_weights  # type: ignore[import-untyped]

    def write(folder: Path) -> None:
        network = architecture(settings.model)
        names = [PurePosixPath(weights.url).name for weights in get_model_weights(settings.model)]
        load_published(network, read_published(VARIABLE, names, settings.sha256))
        write_extractor(folder, network, _describe(settings, job.shape))

    return write


def write_random(folder: Path, settings: Torchvision, shape: tuple[int, int, int]) -> None:
    """Store the network with random weights, for images of `shape`, in an existing folder.

    Raises:
        UserError: torchvision has no such network.
    """
    write_extractor(folder, architecture(settings.model), _describe(settings, shape))


@frozen(kw_only=True)
class _Description:
    """scorer.json."""

    kind: Literal["torchvision"]
    version: str
    shape: tuple[Pixels, ...]
    sha256: SHA256
    model: ModelName
    size: Pixels


def _describe(settings: Torchvision, shape: tuple[int, int, int]) -> _Description:
    return _Description(
        kind=settings.kind,
        version=VERSION,
        shape=shape,
        sha256=settings.sha256,
        model=settings.model,
        size=settings.size,
    )


def load(folder: Path, content: Mapping[str, Any], device: torch.device) -> Extractor:
    """The extractor in a folder whose description has this content.

    Raises:
        UserError: its weights or its description are missing or damaged.
    """
    described = as_stored(folder / DESCRIPTION, content, _Description)
    model, size, shape = described.model, described.size, image_shape(folder, described.shape)
    # Not on the meta device: RegNets compute their widths as tensors. The list of names bounds how large it can get.
    network = architecture(model)
    load_weights(network, folder / WEIGHTS)
    network = network.to(device).eval()
    head = _head(network, model)
    return Extractor(
        kind=f"torchvision:{model}", version=f"{VERSION} torchvision {version('torchvision')}",
        digest=described.sha256, shape=shape, features=head.in_features,
        classes=head.out_features, batch=at_a_time(size),
        extract=features_before(head, network, size, MEAN, DEVIATION),
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
