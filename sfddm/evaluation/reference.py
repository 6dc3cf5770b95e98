"""The teacher's own images from the evaluation noises: what students should reproduce."""

from pathlib import Path

import numpy as np
import torch
from attrs import frozen

from sfddm.data.store import read_array
from sfddm.diffusion.sampler import Sampler
from sfddm.evaluation.interpolation import strips
from sfddm.files import digest_file, read_json, write_json
from sfddm.generation import generate
from sfddm.networks import storage
from sfddm.networks.layout import weights_digest


@frozen(kw_only=True)
class Reference:
    """The teacher's own images from the evaluation noises, and how they were made."""

    images: np.ndarray
    """uint8 [n, C, H, W], memory-mapped."""
    strips: np.ndarray
    """Along interpolations of noises, uint8 [PAIRS, STEPS, C, H, W]; see `sfddm.evaluation.interpolation`."""
    sampler: Sampler
    weights: str
    digest: str


def write_reference(
    folder: Path, teacher: Path, sampler: Sampler, seed: int, count: int, batch_size: int, device: torch.device
) -> None:
    """Draw the teacher's images and store them in an existing folder."""
    network = storage.load(teacher, device)
    np.save(folder / "images.npy", generate(network, sampler, seed, count, batch_size, "reference"))
    np.save(folder / "strips.npy", strips(network, sampler, seed, batch_size))
    write_json(folder / "reference.json", {"sampler": sampler.to_json(), "weights": weights_digest(teacher)})


def read_reference(folder: Path) -> Reference:
    """Read what `write_reference` stored.

    Raises:
        UserError: a file is missing or damaged.
    """
    content = read_json(folder / "reference.json")
    return Reference(
        images=read_array(folder / "images.npy"),
        strips=read_array(folder / "strips.npy"),
        sampler=Sampler.from_json(content["sampler"]),
        weights=content["weights"],
        digest=digest_file(folder / "images.npy")[:16],
    )
