"""The teacher's own images from the evaluation noises: what students should reproduce."""

from pathlib import Path

import numpy as np
import torch
from attrs import frozen

from sfddm.data.store import read_array
from sfddm.diffusion.sampler import Sampler
from sfddm.files import digest_file, read_json, write_json
from sfddm.generation import generate
from sfddm.networks import storage
from sfddm.networks.layout import weights_digest


@frozen(kw_only=True)
class Reference:
    """The teacher's own images from the evaluation noises, uint8 [n, C, H, W], and how they were made."""

    images: np.ndarray
    sampler: Sampler
    weights: str
    digest: str


def write_reference(
    folder: Path, teacher: Path, sampler: Sampler, seed: int, count: int, batch_size: int, device: torch.device
) -> None:
    """Draw the teacher's images and store them in an existing folder."""
    images = generate(storage.load(teacher, device), sampler, seed, count, batch_size, "reference")
    np.save(folder / "images.npy", images)
    write_json(folder / "reference.json", {"sampler": sampler.to_json(), "weights": weights_digest(teacher)})


def read_reference(folder: Path) -> Reference:
    """Read what `write_reference` stored."""
    content = read_json(folder / "reference.json")
    return Reference(
        images=read_array(folder / "images.npy"),
        sampler=Sampler.from_json(content["sampler"]),
        weights=content["weights"],
        digest=digest_file(folder / "images.npy")[:16],
    )
