"""What turns images into features, in which distances are measured, and, where it can, into classes.

Each kind of scorer has a module next to this one, named after it, with:

- `VERSION`, which changes with the code between images and features: other versions don't compare;
- `STANDARDISE`, whether each feature is divided by its standard deviation over the real images;
- `make`, which takes the spec's section and a `Job`, and returns a function that writes the network, where there is
  one, and its description into a folder;
- `write_random`, which writes one with random weights, for what depends on its size and speed alone;
- `load`, which takes such a folder and the content of its description, and returns an `Extractor`.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from attrs import frozen
from torch import Tensor, nn

from sfddm.errors import UserError, damaged
from sfddm.networks.weights import write_weights
from sfddm.runtime.files import write_json
from sfddm.runtime.kinds import import_kind, kinds_of
from sfddm.runtime.machine import ieee
from sfddm.spec.evaluation import Scorer
from sfddm.spec.fields import Pixels
from sfddm.spec.parse import read_mapping, unstructure
from sfddm.training.checkpoints import Checkpoints

WEIGHTS, DESCRIPTION = "weights.safetensors", "scorer.json"
"""The files of a stored scorer's network."""


@frozen(kw_only=True)
class Job:
    """What a scorer can be made from, for the kinds that are trained."""

    data: Path
    """The folder with the splits."""
    shape: tuple[int, int, int]
    """Channels, height and width of the images."""
    device: torch.device
    curve: Path
    """Where a training writes its points."""
    checkpoints: Checkpoints


Write = Callable[[Path], None]
"""Writes a scorer's network and its description into an existing folder."""


@frozen(kw_only=True)
class Extractor:
    """What a scorer judges by, whichever kind it is of, as metrics see it."""

    kind: str
    version: str
    """Version of the code that its features depend on: different versions don't compare."""
    digest: str
    """Hash of its weights, or of its description where it has none, in hexadecimal."""
    shape: tuple[int, int, int]
    """Channels, height and width of the images that it takes."""
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

    def batches(self, images: np.ndarray) -> Iterator[tuple[Tensor, Tensor]]:
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


def write_extractor(folder: Path, network: nn.Module, description: object) -> None:
    """Store a scorer's network and its description, an attrs class of its kind, in an existing folder."""
    write_weights(folder / WEIGHTS, network)
    write_json(folder / DESCRIPTION, unstructure(description))


def load_extractor(folder: Path, device: torch.device) -> Extractor:
    """Read a stored scorer's network.

    Raises:
        UserError: a file is missing or damaged, or was written by another version.
    """
    content = read_mapping(folder / DESCRIPTION)
    module = import_kind("scorer", content["kind"]) if content.get("kind") in kinds_of(Scorer) else None
    if module is None or content.get("version") != module.VERSION:
        raise UserError(f"{folder / DESCRIPTION} was written by another version of this program: run `dvc repro`.")
    extractor: Extractor = module.load(folder, content, device)
    return extractor


def image_shape(folder: Path, shape: tuple[Pixels, ...]) -> tuple[int, int, int]:
    """Channels, height and width, from a stored scorer's description.

    Raises:
        UserError: they are not three numbers.
    """
    if len(shape) != 3:
        raise damaged(folder / DESCRIPTION, "expected channels, height and width as its shape")
    return shape[0], shape[1], shape[2]


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
