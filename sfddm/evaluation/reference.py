"""The teacher's own images from the evaluation noises: what students should reproduce."""

from pathlib import Path

import numpy as np
import torch
from attrs import frozen

from sfddm.data.store import read_array
from sfddm.diffusion.sampler import Sampler
from sfddm.files import digest_file, write_json
from sfddm.generation import generate
from sfddm.networks import storage
from sfddm.networks.layout import weights_digest
from sfddm.spec.stored import read_stored


@frozen(kw_only=True)
class Reference:
    """The teacher's own images from the evaluation noises, uint8 [n, C, H, W], and how they were made."""

    images: np.ndarray
    sampler: Sampler
    weights: str
    digest: str


@frozen(kw_only=True)
class _Described:
    """What stands beside the images."""

    sampler: Sampler
    weights: str


def write_reference(
    folder: Path, teacher: Path, sampler: Sampler, seed: int, count: int, batch_size: int, device: torch.device
) -> None:
    """Draw the teacher's images and store them in an existing folder."""
    images = generate(storage.load(teacher, device), sampler, seed, count, batch_size, "reference")
    np.save(folder / "images.npy", images)
    write_json(folder / "reference.json", {"sampler": sampler.to_json(), "weights": weights_digest(teacher)})


def read_reference(folder: Path) -> Reference:
    """Read what `write_reference` stored."""
    described = read_stored(folder / "reference.json", _Described)
    return Reference(
        images=read_array(folder / "images.npy", np.dtype(np.uint8), 4),
        sampler=described.sampler,
        weights=described.weights,
        digest=digest_file(folder / "images.npy")[:16],
    )
