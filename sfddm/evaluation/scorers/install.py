"""Published networks as scorers: from the file that others distribute to a folder of our own."""

from pathlib import Path
from typing import Any

from torch import nn

from sfddm.evaluation.scorers import inception
from sfddm.evaluation.scorers import torchvision as torchvision_model
from sfddm.evaluation.scorers.extractor import DESCRIPTION, WEIGHTS
from sfddm.networks.weights import write_weights
from sfddm.runtime.files import write_json
from sfddm.spec.evaluation import Inception, Torchvision


def install(settings: Inception | Torchvision, shape: tuple[int, int, int], folder: Path) -> None:
    """Store a published network and its description, for images of `shape`, in an existing folder.

    Raises:
        UserError: its weights are missing, or the file is not the one that the spec means.
    """
    module = inception if isinstance(settings, Inception) else torchvision_model
    write(settings, module.published(settings), shape, folder)


def write(settings: Inception | Torchvision, network: nn.Module, shape: tuple[int, int, int], folder: Path) -> None:
    """Store a network that `settings` describe, whatever its weights, in an existing folder."""
    content: dict[str, Any] = {"kind": settings.kind, "shape": list(shape), "sha256": settings.sha256}
    if isinstance(settings, Inception):
        content["version"] = inception.VERSION
    else:
        content |= {"version": torchvision_model.VERSION, "model": settings.model, "size": settings.size}
    write_weights(folder / WEIGHTS, network)
    write_json(folder / DESCRIPTION, content)
