"""The `classifier` scorer: a small convolutional network trained on the data alone, so that distances compare across
teachers. It gives features for distances and classes for agreement."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from attrs import frozen
from torch import Tensor, nn

from sfddm.errors import UserError, damaged
from sfddm.evaluation.frechet import Moments, MomentSums
from sfddm.evaluation.pixels import flat_pixels
from sfddm.files import digest_file
from sfddm.images import from_bytes
from sfddm.networks.weights import load_weights, read_tensors
from sfddm.spec.evaluation import MOST_CONVOLUTIONS
from sfddm.spec.fields import Share, Width
from sfddm.spec.stored import as_stored, read_mapping

WEIGHTS = "classifier.safetensors"
STATISTICS = "statistics.safetensors"
DESCRIPTION = "scorer.json"
VERSION = 2
"""Of the network, of how its features are normalised and of the stored moments: different versions don't compare."""
BATCH = 1000


class Network(nn.Module):
    """3x3 convolutions with group normalisation, then one hidden layer, whose activations are the features."""

    def __init__(self, shape: tuple[int, int, int], channels: tuple[int, ...], features: int, classes: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before, (_, height, width) = shape[0], shape
        for position, after in enumerate(channels):
            stride = 1 if position == 0 else 2
            layers += [nn.Conv2d(before, after, 3, stride, 1), nn.GroupNorm(1, after), nn.SiLU()]
            height, width = -(-height // stride), -(-width // stride)
            before = after
        # SiLU never dies: a feature that is constant on real images would make every distance meaningless.
        self.body = nn.Sequential(*layers, nn.Flatten(), nn.Linear(before * height * width, features), nn.SiLU())
        self.head = nn.Linear(features, classes)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Features [B, D] and class scores [B, classes] of images [B, C, H, W] in [-1, 1]."""
        features = self.body(images)
        return features, self.head(features)


@frozen
class Scorer:
    """A trained classifier, and the moments of the real images."""

    network: Network
    shape: tuple[int, int, int]
    """Channels, height and width of the images that it scores."""
    scale: Tensor
    """Standard deviations of the real images' features: their units."""
    real: Moments
    """Of the real images' features, in those units."""
    real_pixels: Moments
    digest: str
    """Of weights and statistics: figures of different scorers don't compare."""

    @property
    def name(self) -> str:
        """What figures call the scorer."""
        return f"classifier-{VERSION}:{self.digest[:8]}"

    @torch.inference_mode()
    def score(self, images: np.ndarray) -> tuple[MomentSums, np.ndarray]:
        """Sums of the features and classes (int64 [N]) of uint8 images [N, C, H, W]."""
        sums, classes = MomentSums(len(self.scale)), []
        for features, scores in feature_batches(self.network, images):
            sums.add(features / self.scale)
            classes.append(scores.argmax(1).cpu().numpy())
        return sums, np.concatenate(classes)


@frozen(kw_only=True)
class _Described:
    """What stands beside the weights."""

    version: int
    classes: Width
    held_out_accuracy: Share
    shape: tuple[Width, ...]
    channels: tuple[Width, ...]
    features: Width


def load_scorer(folder: Path, device: torch.device) -> Scorer:
    """Read a stored classifier.

    Raises:
        UserError: a file is missing or damaged, or of another version.
    """
    path = folder / DESCRIPTION
    content = read_mapping(path)
    if content.get("version") != VERSION:
        raise UserError(f"{folder}: a scorer of version {content.get('version')}, expected {VERSION}: run `dvc repro`.")
    described = as_stored(path, content, _Described)
    if len(described.shape) != 3 or len(described.channels) > MOST_CONVOLUTIONS:
        raise damaged(path, "it describes no network")
    shape = (described.shape[0], described.shape[1], described.shape[2])
    with torch.device("meta"):
        network = Network(shape, described.channels, described.features, described.classes)
    load_weights(network, folder / WEIGHTS)
    statistics = _read_statistics(folder / STATISTICS, shape, described.features)
    count = int(statistics["count"])
    real = Moments(count, statistics["mean"], statistics["covariance"])
    real_pixels = Moments(count, statistics["pixel_mean"], statistics["pixel_covariance"])
    digest = digest_file(folder / WEIGHTS)[:16] + digest_file(folder / STATISTICS)[:16]
    return Scorer(network.to(device).eval(), shape, statistics["scale"].to(device), real, real_pixels, digest)


def _read_statistics(path: Path, shape: tuple[int, int, int], features: int) -> dict[str, Tensor]:
    pixels = flat_pixels(torch.empty(1, *shape, device="meta")).shape[1]
    expected = {
        "scale": (torch.float64, (features,)),
        "count": (torch.int64, ()),
        "mean": (torch.float64, (features,)),
        "covariance": (torch.float64, (features, features)),
        "pixel_mean": (torch.float64, (pixels,)),
        "pixel_covariance": (torch.float64, (pixels, pixels)),
    }
    statistics = read_tensors(path, expected)
    if statistics["count"] < 2 or (statistics["scale"] <= 0).any():
        raise damaged(path, "expected the statistics of several images")
    return statistics


def feature_batches(network: Network, images: np.ndarray) -> Iterator[tuple[Tensor, Tensor]]:
    """Features [B, D] and class scores [B, classes] of uint8 images, a batch at a time."""
    device = network.head.weight.device
    for start in range(0, len(images), BATCH):
        yield network(from_bytes(np.array(images[start : start + BATCH])).to(device))
