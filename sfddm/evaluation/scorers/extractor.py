"""What turns images into features, in which distances are measured, and, where it can, into classes.

Each kind of scorer has a module next to this one, named after it, with:

- `VERSION`, which changes with the code between images and features: other versions don't compare;
- `STANDARDISE`, whether each feature is divided by its standard deviation over the real images;
- `architecture`, which takes the spec's section and the shape of images, and returns the network with random weights;
- `make`, which takes the spec's section and a `Job`, and returns the network, None where there is none;
- `load`, which takes a stored scorer's folder, section and shape of images, and a device, and returns an `Extractor`.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from attrs import frozen
from torch import Tensor, nn

from sfddm.errors import UserError
from sfddm.networks.weights import load_weights, write_weights
from sfddm.randomness import Purpose, generator
from sfddm.runtime.files import write_json
from sfddm.runtime.kinds import import_kind
from sfddm.runtime.machine import ieee
from sfddm.spec.evaluation import Classifier, Scorer
from sfddm.spec.fields import Pixels
from sfddm.spec.parse import read_stored, unstructure
from sfddm.training.checkpoints import Checkpoints

WEIGHTS, DESCRIPTION = "weights.safetensors", "scorer.json"
"""The files of a stored scorer's network."""
Shape = tuple[int, int, int]
"""Channels, height and width of images."""
HALVES = 1
"""Position of the halves in the stream of splits."""


@frozen(kw_only=True)
class Job:
    """What a scorer can be made from, for the kinds that are trained."""

    data: Path
    """The folder with the splits."""
    shape: Shape
    device: torch.device
    curve: Path
    """Where a training writes its points."""
    checkpoints: Checkpoints


@frozen
class Chosen:
    """A selection of stored images, uint8 [N, C, H, W], read only when used: a large set would fill the memory."""

    images: np.ndarray
    places: np.ndarray
    """int64 [n]."""

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, rows: slice) -> np.ndarray:
        found: np.ndarray = self.images[self.places[rows]]
        return found


@frozen(kw_only=True)
class Extractor:
    """What a scorer judges by, whichever kind it is of, as metrics see it."""

    kind: str
    version: str
    """Version of the code that its features depend on: different versions don't compare."""
    digest: str
    """Hash of its weights, or of its description where it has none, in hexadecimal."""
    shape: Shape
    """Of the images that it takes."""
    features: int
    """D, the number of features per image."""
    classes: int
    """How many classes it tells apart; 0 where it has features alone."""
    batch: int
    """Images at a time, as many as the largest layer leaves room for in memory."""
    extract: Callable[[np.ndarray], tuple[Tensor, Tensor]]
    """Features [B, D] and class scores [B, classes], float32, of uint8 images [B, C, H, W]."""

    @property
    def name(self) -> str:
        """What results call it."""
        return f"{self.kind}-{self.version.split()[0]}:{self.digest[:8]}"

    def batches(self, images: np.ndarray | Chosen) -> Iterator[tuple[Tensor, Tensor]]:
        """Features and class scores of uint8 images [N, C, H, W], a batch at a time.

        Raises:
            UserError: some are not finite.
        """
        for start in range(0, len(images), self.batch):
            with ieee(), torch.inference_mode():
                features, scores = self.extract(np.array(images[start : start + self.batch]))
            if not bool(features.isfinite().all()):
                raise UserError(f"{self.name} gave features with NaN or infinity: its weights are probably corrupt.")
            yield features, scores


@frozen(kw_only=True)
class _Description:
    """scorer.json."""

    version: str
    settings: Scorer
    shape: tuple[Pixels, Pixels, Pixels]


def write_extractor(folder: Path, network: nn.Module | None, settings: Scorer, shape: Shape) -> None:
    """Store a scorer's network and what it was made by, for images of `shape`, in an existing folder."""
    if network is not None:
        write_weights(folder / WEIGHTS, network)
    version = import_kind("scorer", settings.kind).VERSION
    write_json(folder / DESCRIPTION, unstructure(_Description(version=version, settings=settings, shape=shape)))


def write_untrained(folder: Path, settings: Scorer, shape: Shape) -> None:
    """The same with random weights, for what depends on a network's size and speed alone."""
    write_extractor(folder, import_kind("scorer", settings.kind).architecture(settings, shape), settings, shape)


def load_extractor(folder: Path, device: torch.device) -> Extractor:
    """Read a stored scorer's network.

    Raises:
        UserError: a file is missing or damaged, or was written by another version.
    """
    described = read_stored(folder / DESCRIPTION, _Description)
    module = import_kind("scorer", described.settings.kind)
    if described.version != module.VERSION:
        raise UserError(f"{folder / DESCRIPTION} was written by another version of this program: run `dvc repro`.")
    extractor: Extractor = module.load(folder, described.settings, described.shape, device)
    return extractor


def filled(network: nn.Module, folder: Path, device: torch.device) -> nn.Module:
    """The network with the weights that are stored in a scorer's folder, on a device."""
    load_weights(network, folder / WEIGHTS)
    return network.to(device).eval()


def seen_by(scorer: Scorer, count: int) -> np.ndarray:
    """The indices, ascending, of those of `count` training images that a scorer learns from: for some kinds none.

    The two halves have no image in common and are the same for every scorer. An odd image belongs to the second.
    """
    if not isinstance(scorer, Classifier):
        return np.empty(0, dtype=np.int64)
    order, half = generator(0, Purpose.SPLIT, HALVES).permutation(count), count // 2
    parts = {"all": order, "first-half": order[:half], "second-half": order[half:]}
    return np.sort(parts[scorer.trained_on])


def unseen_by(scorer: Scorer, count: int) -> np.ndarray:
    """The indices, ascending, of the other training images: real ones that judge a scorer's floor fairly."""
    return np.setdiff1d(np.arange(count), seen_by(scorer, count), assume_unique=True)


def rgb(images: np.ndarray) -> Tensor:
    """uint8 [B, 3, H, W] of grey or coloured images, as networks of photographs take them.

    Raises:
        UserError: they have neither one channel nor three.
    """
    if images.shape[1] not in (1, 3):
        raise UserError(f"images of {images.shape[1]} channels: this scorer takes grey (1) and coloured (3) ones.")
    return torch.from_numpy(images.repeat(3 // images.shape[1], axis=1))


def check_images(images: np.ndarray, shape: tuple[int, ...], what: str) -> None:
    """Check that images are uint8 [N, *shape].

    Raises:
        UserError: not bytes (NaN and the range are named); another shape; or 0 and 1 alone, which bytes rarely are.
    """
    if images.dtype != np.uint8:
        raise UserError(f"{what}: expected uint8 from 0 to 255, found {images.dtype}{_range(images)}.")
    if images.shape[1:] != shape or not len(images):
        raise UserError(f"{what}: expected [N, {', '.join(map(str, shape))}] (N, channels, height, width), found "
                        f"{list(images.shape)}.")  # fmt: skip
    if images.max() <= 1:
        raise UserError(f"{what}: no value above {images.max()}, as if they were in [0, 1]: expected bytes, 0 to 255.")


def _range(images: np.ndarray) -> str:
    if not np.issubdtype(images.dtype, np.number) or not images.size:
        return ""
    broken = int(np.isnan(images).sum()) if np.issubdtype(images.dtype, np.inexact) else 0
    if broken:
        return f" with {broken} values that are NaN"
    return f" from {images.min():g} to {images.max():g}"
